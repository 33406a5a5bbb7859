"""The estimator GMVAE."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from deepmixture import engine, schedules
from deepmixture.batches import ScaledRows
from deepmixture.cluster.pretrained import STARTS, Pretrained
from deepmixture.docstrings import shares_docstring
from deepmixture.models import gmvae
from deepmixture.nets import NormalHead
from deepmixture.noise_mixture import NoiseMixture


@shares_docstring
@dataclass(eq=False, repr=False)
class GMVAE(Pretrained):
    """GMVAE: each cluster a shape of its own, drawn by a network from noise (Dilokthanakul 2016).

    By default a representation comes first, then the start of the clusters, held while the
    networks take its shape, and then the evidence lower bound of the paper. Its own recipe is
    `pretraining=None, start=None`: the bound alone, from random networks.

    Parameters
    ----------
    %(shared parameters)s
    epochs : int or "auto", default="auto"
        Passes over the rows while the bound is maximised. Automatically 28 for large data, more
        for small.
    hold_epochs : int or "auto", default="auto"
        First of these passes, in which the responsibilities are held at those of the start.
        Automatically two thirds; without a start there are none.
    pretraining : {"autoencoder", "stacked", "vae", None}, default="autoencoder"
        Least squares end to end; the same after layer-wise denoising pretraining (fully connected
        networks only); a variational autoencoder; or nothing.
    start : {"graph", "gmm", None}, default="graph"
        Start from a mixture on a UMAP embedding of the neighbour graph of the latent means, from a
        Gaussian mixture on the latent means themselves, or, as the paper does, from nothing.
    n_noise : int, default=10
        Dimensions of the noise w, the variety within a cluster.
    prior_width : int, default=500
        Units of the hidden layer between w and the means and deviations of p(z|w, y).
    n_samples : int, default=1
        Monte Carlo samples of z and w a row.
    kl_annealing : float, default=0.0
        Share of the passes with free responsibilities in which the weight of all divergences
        grows from 0 to 1.
    min_information : float, default=0.5
        Minimum information constraint, in nats: the cluster prior, which draws all clusters into
        one, has no effect while KL(q(y) || p(y)) is below.
    learn_weights : bool, default=False
        Whether the weights p(y) are learned; else they are uniform, as in the paper.

    Attributes
    ----------
    %(shared attributes)s

    Notes
    -----
    A cluster is no normal here. `means_` and `covariances_` are the moments of p(z|y), the average
    of p(z|w, y) over 256 fixed draws of the noise w.

    References
    ----------
    N. Dilokthanakul, P. A. M. Mediano, M. Garnelo, M. C. H. Lee, H. Salimbeni, K. Arulkumaran &
    M. Shanahan (2016), "Deep unsupervised clustering with Gaussian mixture variational
    autoencoders", arXiv:1611.02648.
    """

    _: KW_ONLY
    epochs: int | Literal["auto"] = "auto"
    hold_epochs: int | Literal["auto"] = "auto"
    pretraining: str | None = "autoencoder"
    start: str | None = "graph"
    n_noise: int = 10
    prior_width: int = 500
    n_samples: int = 1
    kl_annealing: float = 0.0
    min_information: float = 0.5
    learn_weights: bool = False

    name: ClassVar[str] = "gmvae"
    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {"start": ("graph", "gmm", None)}

    def _build(self) -> None:
        encoder, head, decoder, likelihood = self._networks()
        # q(w|x) starts as wide as p(w): noise that nothing has asked for costs nothing.
        noise_head = NormalHead(head.mean.in_features, self.n_noise, initial_log_scale=0.0)
        sizes = (self.n_clusters_, self.n_latent, self.n_noise, self.prior_width)
        prior = NoiseMixture(*sizes, learn_weights=self.learn_weights)
        options = (self.n_samples, self.min_information)
        parts = (encoder, head, noise_head, decoder, likelihood, prior)
        self.model_ = gmvae.GMVAE(*parts, *options)

    def _noise_width(self) -> int:
        return self.n_latent + self.n_noise

    def _train(self, x: ScaledRows) -> None:
        if self.pretraining == "stacked" and self.network_ != "mlp":
            raise ValueError(
                "pretraining='stacked' goes layer by layer through network='mlp'; got "
                f"network={self.network_!r}"
            )
        few = self._few(x)
        self._pretrain(x, few, self.pretraining)
        epochs = self._epochs(self.epochs, len(x), at_least=28, steps=2500)
        rate = schedules.constant(self.learning_rate)
        if self.start is not None:
            held = 2 * epochs // 3 if self.hold_epochs == "auto" else min(self.hold_epochs, epochs)
            self._take_shape(few, self.start, self._as_long(held, x, few))
            epochs -= held
            # Let go at full rate, and the first noisy steps undo part of the start.
            rate = schedules.cosine(0.3 * self.learning_rate, 0.003 * self.learning_rate)
        whole = schedules.constant(1.0)
        grows = schedules.linear(0.0, 1.0, until=self.kl_annealing) if self.kl_annealing else whole
        stage = engine.Stage("evidence", epochs, rate, self.batch_size, {"kl_weight": grows})
        self._run_stage(self.model_, [x], stage)

    def _take_shape(self, x: Tensor, name: str, epochs: int) -> None:
        """Start the clusters and train with the responsibilities of the start held."""
        start = self._start(x, STARTS[name])
        device = self.hardware_.device
        responsibilities = torch.from_numpy(start.responsibilities).float().to(device)
        self._start_prior(start)
        if self.pretraining != "vae":
            # The noise of q(z|x) starts small next to the latent, or it would undo the start.
            spread = torch.from_numpy(0.1 * start.total_scale).float().to(device)
            self.model_.head.start_scale(spread)
        rate, whole = schedules.constant(self.learning_rate), schedules.constant(1.0)
        stage = engine.Stage("taking shape", epochs, rate, self.batch_size, {"kl_weight": whole})
        held = gmvae.HeldGMVAE(self.model_)
        self._run_stage(held, [x, responsibilities], stage)
