"""What a fitted mixture is for: predict, encode, decode, draw, score."""

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from deepmixture import checks, data, engine, seeds
from deepmixture.batches import OnDisk, ScaledRows, in_blocks
from deepmixture.hardware import Hardware
from deepmixture.likelihoods import UNIT_INTERVAL
from deepmixture.models.contract import LatentMixture
from deepmixture.priors import Mixture

Array = NDArray[Any]


class FittedMixture(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator
):
    """The methods of an estimator that has been fitted."""

    n_latent: int
    memory_limit: float
    random_state: int | np.random.RandomState | None
    facts: ClassVar[tuple[str, ...]]

    kind_: data.Kind
    image_shape_: tuple[int, ...] | None
    likelihood_: str
    scaling_: data.Scaling
    hardware_: Hardware
    seed_: int
    n_clusters_: int
    n_features_in_: int
    model_: Any

    cannot: ClassVar[Mapping[str, str]] = {}
    """Methods and attributes that the model gives no meaning to, each with the reason."""

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401
        if name in type(self).cannot:
            reason = type(self).cannot[name]
            raise AttributeError(f"{type(self).__name__} has no {name!r}: {reason}")
        return super().__getattribute__(name)

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name not in type(self).cannot]

    def _open(self, X: object, reset: bool) -> data.Rows:
        raise NotImplementedError

    def _mixture(self) -> Mixture:
        """Return the mixture that clusters are read from."""
        prior: Mixture = self.model_.prior
        return prior

    def _log_q_y(self, x: ScaledRows) -> Tensor:
        return self._evaluate(self.model_.log_q_y, x)

    def _labels(self, x: ScaledRows) -> Tensor:
        labels = torch.empty(len(x), dtype=torch.int64)
        done = 0
        for block in in_blocks(x):
            labels[done : done + len(block)] = self._log_q_y(block).argmax(1)
            done += len(block)
        return labels

    def _evaluate(self, function: Callable[[Tensor], Tensor], x: ScaledRows) -> Tensor:
        # A network that no stage has trained yet would draw dropout, and its statistics move.
        self.model_.to(self.hardware_.device).eval()
        return engine.evaluate(function, x, self.hardware_)

    def _scaled(self, X: object) -> ScaledRows:
        check_is_fitted(self)
        return self._scale(self._open(X, reset=False))

    def _scale(self, rows: data.Rows) -> ScaledRows:
        """Return the scaled rows (N, F), in memory or, where they are too many, on disk."""
        # A pixel brighter than any seen in training is as bright as can be.
        clip = self.likelihood_ in UNIT_INTERVAL and self.scaling_.method == "unit"
        x: ScaledRows
        if self._fits(rows):
            x = torch.from_numpy(self.scaling_.transform(rows.values, clip))
        else:
            scaled = self.scaling_.transform_on_disk(rows.values, clip)
            x = OnDisk(scaled, self.hardware_.device)
        if self.likelihood_ in UNIT_INTERVAL:
            checks.check_unit_interval(x, self.scaling_.method, self.likelihood_)
        return x

    def _fits(self, rows: data.Rows) -> bool:
        return 4 * rows.values.size <= 1e9 * self.memory_limit

    def predict(self, X: object) -> Array:
        """Return the most probable cluster of each row, shape (N,)."""
        return self._labels(self._scaled(X)).numpy()

    def predict_proba(self, X: object) -> Array:
        """Return the responsibilities q(y|x), shape (N, K), each row summing to one."""
        log_q_y = self._log_q_y(self._scaled(X)).double()
        return log_q_y.softmax(1).numpy()

    def transform(self, X: object) -> Array:
        """Return the latent means, shape (N, D)."""
        x = self._scaled(X)
        return self._evaluate(self.model_.latent, x).numpy()

    def inverse_transform(self, Z: object) -> Array:
        """Decode latents of shape (n, D) to rows, in the units and shape of the training rows."""
        check_is_fitted(self)
        z = checks.check_latent(Z, self.n_latent)
        return self._unscale(self._evaluate(self.model_.decode, z))

    def reconstruct(self, X: object) -> Array:
        """Encode and decode rows; return E[x|z] at the latent means, shaped as X."""
        x = self._scaled(X)
        model: LatentMixture = self.model_
        return self._unscale(self._evaluate(lambda part: model.decode(model.latent(part)), x))

    def _unscale(self, scaled: Tensor) -> Array:
        values = self.scaling_.inverse_transform(scaled.numpy())
        return values.reshape(-1, *self.image_shape_) if self.image_shape_ else values

    def sample(
        self,
        n_samples: int = 1,
        cluster: int | None = None,
        *,
        observation_noise: bool | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> tuple[Array, Array]:
        """Draw new rows.

        Parameters
        ----------
        n_samples : int, default=1
        cluster : int, optional
            Draw from this cluster only; else from all by their weights.
        observation_noise : bool, optional
            Whether to draw x from p(x|z) or to return its mean E[x|z]. By default the mean for
            images, whose pixel noise is no part of the picture, and a draw for all else.
        random_state : int, RandomState or None, default=None
            The estimator's own `random_state` if None.

        Returns
        -------
        X : array of shape (n_samples, F), or of images
        labels : array of shape (n_samples,)
        """
        check_is_fitted(self)
        checks.check_count("n_samples", n_samples, 1)
        if cluster is not None:
            checks.check_cluster(cluster, self.n_clusters_)
        state = self.random_state if random_state is None else random_state
        seed = int(check_random_state(state).randint(np.iinfo(np.int32).max))
        generator = torch.Generator().manual_seed(seeds.derive_seed(seed, "sample"))
        if cluster is None:
            weights = torch.from_numpy(self.weights_)
            y = torch.multinomial(weights, n_samples, replacement=True, generator=generator)
        else:
            y = torch.full((n_samples,), cluster)
        with torch.inference_mode():
            z = self._sample_latent(y, generator)
        noisy = self.kind_ != "image" if observation_noise is None else observation_noise
        if noisy:
            h = self._evaluate(self.model_.decoder, z)
            x = self.model_.likelihood.cpu().sample(h, generator)
        else:
            x = self._evaluate(self.model_.decode, z)
        return self._unscale(x), y.numpy()

    def _sample_latent(self, y: Tensor, generator: torch.Generator) -> Tensor:
        """Draw z ~ p(z|y) for clusters y (n,), shape (n, D), on the CPU."""
        return self._mixture().cpu().sample(y, generator)

    def _noise_width(self) -> int:
        """Return how many normal draws a row the model's `log_weights` takes."""
        return self.n_latent

    def score_samples(self, X: object, n_samples: int = 16) -> Array:
        """Return a lower bound on log p(x) for each row, shape (N,).

        The importance-weighted bound: log of the mean of p(x, z) / q(z|x) over draws of q(z|x)
        (Burda, Grosse & Salakhutdinov 2016, "Importance weighted autoencoders", equation 8).
        It grows with `n_samples` towards log p(x), in the units of X; for a Bernoulli likelihood
        it is the log-probability of the scaled pixels. All rows use the same draws of noise, so
        the bound of a row does not depend on the rows beside it.

        Parameters
        ----------
        X : array-like
        n_samples : int, default=16
            Draws a row.
        """
        checks.check_count("n_samples", n_samples, 1)
        check_is_fitted(self)
        rows = self._open(X, reset=False)
        generator = torch.Generator().manual_seed(seeds.derive_seed(self.seed_, "score"))
        noise = torch.randn(n_samples, 1, self._noise_width(), generator=generator)
        noise = noise.to(self.hardware_.device)
        model: LatentMixture = self.model_

        def bound(part: Tensor) -> Tensor:
            return model.log_weights(part, noise).logsumexp(0) - math.log(n_samples)

        bounds: Array = self._evaluate(bound, self._scale(rows)).double().numpy()
        if self.likelihood_ != "bernoulli":
            bounds += self.scaling_.log_jacobian(rows.values)
        return bounds

    def score(self, X: object, y: object = None) -> float:
        """Return the mean over the rows of the bound of `score_samples`."""
        return float(self.score_samples(X).mean())

    # ---------------------------------------------------------------------- fitted attributes

    @property
    def weights_(self) -> Array:
        """Mixture weights, shape (K,)."""
        return self._mixture().log_prob_y().exp().cpu().numpy()

    @property
    def means_(self) -> Array:
        """Means of the clusters in the latent space, shape (K, D)."""
        return self._mixture().loc.cpu().numpy()

    @property
    def covariances_(self) -> Array:
        """Covariances of the clusters in the latent space, shape (K, D, D)."""
        return self._mixture().covariances().cpu().numpy()

    @property
    def _n_features_out(self) -> int:
        return self.n_latent
