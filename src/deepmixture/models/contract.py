"""What every model meets, so that the training loop and the estimators need to know no model."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

Knobs = Mapping[str, Tensor]
"""Quantities that schedules move while a model trains, as 0-d tensors."""


class Trainable(Protocol):
    """What the training loop calls. Terms are detached means over the rows, by name."""

    def __call__(self, x: Tensor, knobs: Knobs) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss (to be minimised) and its named terms for rows x (B, F)."""


@runtime_checkable
class LatentMixture(Protocol):
    """A generative model of clusters y and latents z: p(y) p(z|y) p(x|z), with q(z|x)."""

    def log_q_y(self, x: Tensor) -> Tensor:
        """Return the log responsibilities log q(y|x), shape (B, K)."""

    def latent(self, x: Tensor) -> Tensor:
        """Return the mean of q(z|x), shape (B, D)."""

    def log_weights(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return log p(x, z) - log q(z|x) at z = mean + scale * noise.

        Takes noise (S, 1, D) or (S, B, D); returns shape (S, B). The logarithm of the mean of
        exp of it over S samples bounds log p(x) from below in expectation
        (Burda et al. 2016, equation 8).
        """

    def decode(self, z: Tensor) -> Tensor:
        """Return E[x|z] for latents (..., D), shape (..., F)."""
