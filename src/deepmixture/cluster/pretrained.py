"""What the estimators share that start from a representation of their own."""

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from deepmixture import engine, normals, presets, schedules, seeds, starts
from deepmixture.batches import ScaledRows
from deepmixture.estimator import LatentMixtureEstimator
from deepmixture.likelihoods import Gaussian
from deepmixture.models import autoencoder

ROWS_FOR_DEVIATIONS = 20_000
Find = Callable[..., normals.Start]
STARTS: dict[str, Find] = {
    "kmeans": starts.k_means,
    "gmm": starts.gaussian_mixture,
    "graph": starts.neighbour_graph,
}


class Pretrained(LatentMixtureEstimator):
    """Pretraining of encoder and decoder, and the start on their latent."""

    encoder_: nn.Module

    def _pretrain(self, x: ScaledRows, few: Tensor, method: str | None) -> None:
        """Train the networks of `model_` as a representation of the rows x (N, F).

        The deviations of a learned Gaussian start at those of `few` of the rows.

        Raises
        ------
        ValueError
            If "stacked" networks have layers that are not fully connected.
        """
        if method == "stacked" and self.network_ != "mlp":
            raise ValueError(
                "pretraining='stacked' goes layer by layer through network='mlp'; got "
                f"network={self.network_!r}"
            )
        model = self.model_
        parts = (model.encoder, model.head, model.decoder, model.likelihood)
        epochs = self._epochs(self.pretrain_epochs, len(x), *self._representation_length())
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
        self._fit_deviations(few)

    def _representation_length(self) -> tuple[int, int]:
        """Return the least epochs, and the least steps, of an automatic pretraining."""
        return 25, 2500

    def _pretrain_layers(self, x: ScaledRows, epochs: int) -> None:
        """Train a fully connected pair layer by layer, each on the layers below it."""
        encoder = [*_linear_layers(self.model_.encoder), self.model_.head.mean]
        decoder = _linear_layers(self.model_.decoder)
        rate = schedules.one_cycle(self.learning_rate)
        last = len(encoder) - 1
        below = nn.Sequential()
        for depth, (layer, mirror) in enumerate(zip(encoder, reversed(decoder), strict=True)):
            # The latent and the reconstruction of x itself are linear, what lies between is not.
            up = nn.Sequential(layer, nn.ReLU()) if depth < last else layer
            down: nn.Module = nn.Sequential(mirror, nn.ReLU())
            if depth == 0:
                down = autoencoder.Expected(mirror, self.model_.likelihood)
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
        x = x[:: max(1, len(x) // ROWS_FOR_DEVIATIONS)]
        left = x.cpu() - self._evaluate(lambda part: model.decode(model.latent(part)), x)
        likelihood.start(left.square().mean(0).sqrt().to(x.device))

    def _start(self, x: Tensor, find: Find = starts.gaussian_mixture) -> normals.Start:
        latent = self._evaluate(self.model_.latent, x).double().numpy()
        seed = seeds.derive_seed(self.seed_, "start")
        self._callback.begin("start", 1, 1)

        def compute() -> dict[str, Any]:
            return vars(find(latent, self.n_clusters_, seed, self.n_init))

        return normals.Start(**self._remember("start", compute))

    def _start_prior(self, start: normals.Start) -> None:
        """Start the diagonal mixture of `model_` at the weights, means and scales of a start."""
        parts = (start.weights, start.means, start.scales)
        device = self.hardware_.device
        self.model_.prior.start(*(torch.from_numpy(part).float().to(device) for part in parts))

    def _as_long(self, epochs: int, x: ScaledRows, few: Tensor) -> int:
        """Return the epochs on a few of the rows that have as many steps as those on all."""
        return math.ceil(epochs * len(x) / len(few))

    def _epochs(self, given: int | Literal["auto"], n_rows: int, at_least: int, steps: int) -> int:
        if given != "auto":
            return given
        return presets.epochs_for(n_rows, self.batch_size, at_least, steps, at_most=400)


def full(start: normals.Start) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights, means and full covariances of a start as float32 tensors."""
    parts = (start.weights, start.means, start.covariances)
    weights, means, covariances = (torch.from_numpy(np.asarray(part)).float() for part in parts)
    return weights, means, covariances


def _linear_layers(network: nn.Module) -> list[nn.Linear]:
    return [module for module in network.modules() if isinstance(module, nn.Linear)]
