"""The public estimators: each one model, in the stages in which its paper trains it."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Literal, cast

import numpy as np
import torch
from sklearn import config_context
from torch import Tensor, nn

from deepmixture import engine, presets, schedules, starts
from deepmixture.estimator import LatentMixtureEstimator, shares_docstring
from deepmixture.likelihoods import Gaussian
from deepmixture.models import autoencoder, vade
from deepmixture.priors import DiagonalMixture, FullMixture, Mixture

Find = Callable[..., starts.Start]
STARTS: dict[str, Find] = {"gmm": starts.gaussian_mixture, "graph": starts.neighbour_graph}


class _Pretrained(LatentMixtureEstimator):
    """Pretraining of encoder and decoder, and the start on their latent."""

    encoder_: nn.Module

    def _pretrain(self, x: Tensor, method: str | None) -> None:
        """Train the networks of `model_` as a representation of the rows x (N, F)."""
        model = self.model_
        parts = (model.encoder, model.head, model.decoder, model.likelihood)
        epochs = self._epochs(self.pretrain_epochs, len(x), at_least=25, steps=2500)
        rate = schedules.one_cycle(self.learning_rate)
        if method == "vae":
            warm_up = {"kl_weight": schedules.linear(0.0, 1.0, until=0.3)}
            stage = engine.Stage("pretraining", epochs, rate, self.batch_size, warm_up)
            self._run_stage(autoencoder.VAE(*parts), [x], stage)
            return
        if method == "stacked":
            self._pretrain_layers(x, max(1, epochs // 4))
        if method is not None:
            stage = engine.Stage("pretraining", epochs, rate, self.batch_size)
            self._run_stage(autoencoder.Autoencoder(*parts), [x], stage)
        self._fit_deviations(x)

    def _pretrain_layers(self, x: Tensor, epochs: int) -> None:
        """Train a fully connected pair layer by layer, each on the layers below it."""
        encoder = [*_linear_layers(self.model_.encoder), self.model_.head.mean]
        decoder = _linear_layers(self.model_.decoder)
        rate = schedules.one_cycle(self.learning_rate)
        last = len(encoder) - 1
        below = nn.Sequential()
        for depth, (layer, mirror) in enumerate(zip(encoder, reversed(decoder), strict=True)):
            # The latent and the reconstruction of x itself are linear, what lies between is not.
            up = nn.Sequential(layer, nn.ReLU()) if depth < last else layer
            down = nn.Sequential(mirror, nn.ReLU()) if depth > 0 else mirror
            if depth == 0 and self.likelihood_ == "bernoulli":
                down = nn.Sequential(mirror, nn.Sigmoid())
            stage = engine.Stage(f"layer {depth + 1}", epochs, rate, self.batch_size)
            self._run_stage(autoencoder.DenoisingLayer(below, up, down), [x], stage)
            below.append(up)
        below.requires_grad_(True)

    def _fit_deviations(self, x: Tensor) -> None:
        """Start a learned Gaussian likelihood at the deviations that the decoder leaves."""
        likelihood = self.model_.likelihood
        if not isinstance(likelihood, Gaussian) or not likelihood.raw_scale.requires_grad:
            return
        model = self.model_
        left = x.cpu() - self._evaluate(lambda part: model.decode(model.latent(part)), x)
        likelihood.start(left.square().mean(0).sqrt().to(x.device))

    def _start(self, x: Tensor, find: Find = starts.gaussian_mixture) -> starts.Start:
        latent = self._evaluate(self.model_.latent, x).double().numpy()
        seed = engine.derive_seed(self.seed_, "start")
        self._callback.begin("start", 1, 1)
        # The latent is a numpy array, whatever scikit-learn was told to expect of its callers.
        with config_context(array_api_dispatch=False):
            return find(latent, self.n_clusters, seed, self.n_init)

    def _epochs(self, given: int | Literal["auto"], n_rows: int, at_least: int, steps: int) -> int:
        if given != "auto":
            return given
        return presets.epochs_for(n_rows, self.batch_size, at_least, steps, at_most=400)


@shares_docstring
@dataclass(eq=False, repr=False)
class VaDE(_Pretrained):
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
        prior = DiagonalMixture(self.n_clusters, self.n_latent)
        self.model_ = vade.VaDE(*self._networks(), prior, self.n_samples)
        self.latent_mixture_ = FullMixture(self.n_clusters, self.n_latent)

    def _train(self, x: Tensor) -> None:
        if self.pretraining == "stacked" and self.network_ != "mlp":
            raise ValueError(
                "pretraining='stacked' goes layer by layer through network='mlp'; got "
                f"network={self.network_!r}"
            )
        self._pretrain(x, self.pretraining)
        start = self._start(x, STARTS[self.start])
        device = self.hardware_.device
        weights, means, scales = (
            torch.from_numpy(part).float().to(device)
            for part in (start.weights, start.means, start.scales)
        )
        self.model_.prior.start(weights, means, scales)
        if self.pretraining != "vae":
            # The noise of q(z|x) starts small next to the latent, or it would undo the start.
            spread = torch.from_numpy(0.1 * start.total_scale).float().to(device)
            self.model_.head.start_scale(spread)

        epochs = self._epochs(self.epochs, len(x), at_least=28, steps=2500)
        held = 2 * epochs // 3 if self.hold_epochs == "auto" else min(self.hold_epochs, epochs)
        rate = schedules.constant(self.learning_rate)
        first = engine.Stage("taking shape", held, rate, self.batch_size)
        responsibilities = torch.from_numpy(start.responsibilities).float().to(device)
        self._run_stage(vade.HeldVaDE(self.model_), [x, responsibilities], first)
        # Let go at full rate, and the first noisy steps undo part of the start.
        rate = schedules.cosine(0.3 * self.learning_rate, 0.003 * self.learning_rate)
        second = engine.Stage("evidence", epochs - held, rate, self.batch_size)
        self._run_stage(self.model_, [x], second)

        if self.clusters_from == "latent":
            after = self._start(x)
            self.latent_mixture_.start(*_full(after))

    def _mixture(self) -> Mixture:
        if self.clusters_from == "latent":
            return self.latent_mixture_
        return super()._mixture()

    def _log_q_y(self, x: Tensor) -> Tensor:
        if self.clusters_from == "latent":
            latent = self._evaluate(self.model_.latent, x)
            return self.latent_mixture_.cpu().log_responsibilities(latent)
        return super()._log_q_y(x)


class _MixtureAfterwards(_Pretrained):
    """A representation, then a full-covariance mixture on its latent means."""

    def _build(self) -> None:
        prior = FullMixture(self.n_clusters, self.n_latent)
        self.model_ = autoencoder.AutoencoderMixture(*self._networks(), prior)

    def _fit_mixture(self, x: Tensor) -> starts.Start:
        start = self._start(x)
        cast(FullMixture, self.model_.prior).start(*_full(start))
        return start


@shares_docstring
@dataclass(eq=False, repr=False)
class AEGMM(_MixtureAfterwards):
    """AE+GMM: a Gaussian mixture fitted on the latent space of an autoencoder.

    The autoencoder is trained by least squares. Read as a generative model its mixture is the
    prior p(z), and q(z|x) a normal at the code of x whose deviations are learned last.

    Parameters
    ----------
    %(shared parameters)s

    Attributes
    ----------
    %(shared attributes)s
    """

    _: KW_ONLY

    name: ClassVar[str] = "ae-gmm"

    def _train(self, x: Tensor) -> None:
        self._pretrain(x, "autoencoder")
        start = self._fit_mixture(x)
        model = self.model_
        # An autoencoder has no q(z|x): its one deviation a dimension is learned with all else
        # held, for the bound on log p(x) alone.
        spread = torch.from_numpy(0.1 * start.total_scale).float()
        model.head.start_scale(spread.to(x.device))
        model.requires_grad_(False)
        model.head.log_scale.bias.requires_grad_(True)
        # Never more of it than of pretraining: whoever asked for little there is in a hurry.
        at_most = self._epochs(self.pretrain_epochs, len(x), at_least=25, steps=2500)
        epochs = min(at_most, presets.epochs_for(len(x), self.batch_size, 1, 200, 200))
        rate = schedules.cosine(0.03, 0.001)
        stage = engine.Stage("posterior", epochs, rate, self.batch_size)
        self._run_stage(model, [x], stage)


@shares_docstring
@dataclass(eq=False, repr=False)
class VAEGMM(_MixtureAfterwards):
    """VAE+GMM: a Gaussian mixture fitted on the latent space of a variational autoencoder.

    The prior N(0, I) that the autoencoder was trained with (Kingma & Welling 2014) is replaced by
    the mixture of its latent means.

    Parameters
    ----------
    %(shared parameters)s

    Attributes
    ----------
    %(shared attributes)s
    """

    _: KW_ONLY

    name: ClassVar[str] = "vae-gmm"

    def _train(self, x: Tensor) -> None:
        self._pretrain(x, "vae")
        self._fit_mixture(x)


def _full(start: starts.Start) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights, means and full covariances of a start as float32 tensors."""
    parts = (start.weights, start.means, start.covariances)
    weights, means, covariances = (torch.from_numpy(np.asarray(part)).float() for part in parts)
    return weights, means, covariances


def _linear_layers(network: nn.Module) -> list[nn.Linear]:
    return [module for module in network.modules() if isinstance(module, nn.Linear)]
