"""The estimator VaDE."""

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from deepmixture import engine, schedules
from deepmixture.batches import ScaledRows
from deepmixture.cluster.pretrained import STARTS, Pretrained, full
from deepmixture.docstrings import shares_docstring
from deepmixture.models import vade
from deepmixture.priors import DiagonalMixture, FullMixture, Mixture


@shares_docstring
@dataclass(eq=False, repr=False)
class VaDE(Pretrained):
    """VaDE: a variational autoencoder with a Gaussian-mixture prior (Jiang 2017).

    Trained in three stages: a representation; the start of the mixture, held while the networks
    take its shape; and the evidence lower bound of the paper (equation 12).

    Parameters
    ----------
    %(shared parameters)s
    epochs : int or "auto", default="auto"
        Passes over the rows while the bound is maximised. Automatically 28 for large data, more
        for small.
    hold_epochs : int or "auto", default="auto"
        First of these passes, in which the responsibilities are held at those of the start.
        Automatically two thirds.
    pretraining : {"autoencoder", "stacked", "vae", None}, default="autoencoder"
        Least squares end to end; the same after layer-wise denoising pretraining (DEC, VaDE;
        fully connected networks only); a variational autoencoder; or nothing.
    start : {"graph", "gmm"}, default="graph"
        Start from a mixture on a UMAP embedding of the neighbour graph of the latent means, which
        finds better clusters more often, or from a Gaussian mixture on the latent means
        themselves, as the paper does.
    n_samples : int, default=1
        Monte Carlo samples of z a row.
    clusters_from : {"posterior", "latent"}, default="posterior"
        Read clusters from q(y|x), or from a full-covariance Gaussian mixture fitted on the
        latent means after training.

    Attributes
    ----------
    %(shared attributes)s

    References
    ----------
    Z. Jiang, Y. Zheng, H. Tan, B. Tang & H. Zhou (2017), "Variational deep embedding: an
    unsupervised and generative approach to clustering", IJCAI.
    """

    _: KW_ONLY
    epochs: int | Literal["auto"] = "auto"
    hold_epochs: int | Literal["auto"] = "auto"
    pretraining: str | None = "autoencoder"
    start: str = "graph"
    n_samples: int = 1
    clusters_from: str = "posterior"

    name: ClassVar[str] = "vade"

    def _build(self) -> None:
        prior = DiagonalMixture(self.n_clusters_, self.n_latent)
        self.model_ = vade.VaDE(*self._networks(), prior, self.n_samples)
        self.latent_mixture_ = FullMixture(self.n_clusters_, self.n_latent)

    def _train(self, x: ScaledRows) -> None:
        few = self._few(x)
        self._pretrain(x, few, self.pretraining)
        start = self._start(few, STARTS[self.start])
        device = self.hardware_.device
        self._start_prior(start)
        if self.pretraining != "vae":
            # The noise of q(z|x) starts small next to the latent, or it would undo the start.
            spread = torch.from_numpy(0.1 * start.total_scale).float().to(device)
            self.model_.head.start_scale(spread)

        epochs = self._epochs(self.epochs, len(x), at_least=28, steps=2500)
        held = 2 * epochs // 3 if self.hold_epochs == "auto" else min(self.hold_epochs, epochs)
        rate = schedules.constant(self.learning_rate)
        first = engine.Stage("taking shape", self._as_long(held, x, few), rate, self.batch_size)
        responsibilities = torch.from_numpy(start.responsibilities).float().to(device)
        self._run_stage(vade.HeldVaDE(self.model_), [few, responsibilities], first)
        # Let go at full rate, and the first noisy steps undo part of the start.
        rate = schedules.cosine(0.3 * self.learning_rate, 0.003 * self.learning_rate)
        second = engine.Stage("evidence", epochs - held, rate, self.batch_size)
        self._run_stage(self.model_, [x], second)

        if self.clusters_from == "latent":
            after = self._start(few)
            self.latent_mixture_.start(*full(after))

    def _mixture(self) -> Mixture:
        if self.clusters_from == "latent":
            return self.latent_mixture_
        return super()._mixture()

    def _log_q_y(self, x: ScaledRows) -> Tensor:
        if self.clusters_from == "latent":
            latent = self._evaluate(self.model_.latent, x)
            return self.latent_mixture_.cpu().log_responsibilities(latent)
        return super()._log_q_y(x)
