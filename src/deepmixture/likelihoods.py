"""Likelihoods p(x|z): what the decoder's output h says of a row x.

Each takes h (..., F) and rows x (..., F) and answers `log_prob` (...), summed over the features.
An entry of x that is NaN is missing and is marginalised: it adds nothing to any likelihood.
"""

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepmixture.densities import at_least_float32, log_normal


class Likelihood(nn.Module):
    """What every likelihood shares; F features."""

    def log_prob(self, h: Tensor, x: Tensor) -> Tensor:
        """Return log p(x|z) summed over the features that are there, in float32 at least."""
        missing = x.isnan()
        log_p = self.log_prob_entries(at_least_float32(h), x.masked_fill(missing, 0.0))
        return log_p.masked_fill(missing, 0.0).sum(-1)

    @abstractmethod
    def log_prob_entries(self, h: Tensor, x: Tensor) -> Tensor:
        """Return log p(x_f|z) for each feature, shape (..., F)."""

    @abstractmethod
    def mean(self, h: Tensor) -> Tensor:
        """Return E[x|z], shape (..., F)."""

    @abstractmethod
    def sample(self, h: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw x ~ p(x|z), shape (..., F)."""


class Bernoulli(Likelihood):
    """Independent on-off features; h are logits.

    Grey values x in [0, 1] are taken as the probabilities of a binary pixel: the result is then a
    cross-entropy, a lower bound on the expected log-likelihood of the binarised image, not the
    density of the grey value itself.
    """

    def log_prob_entries(self, h: Tensor, x: Tensor) -> Tensor:
        return x * h - functional.softplus(h)

    def mean(self, h: Tensor) -> Tensor:
        return torch.sigmoid(at_least_float32(h))

    def sample(self, h: Tensor, generator: torch.Generator | None = None) -> Tensor:
        p = self.mean(h)
        return (torch.rand(p.shape, generator=generator).to(p) < p).to(p)


class Gaussian(Likelihood):
    """Independent normal features with one deviation a feature, shared by all rows; h are means.

    Parameters
    ----------
    n_features : int
    scale : float, default=1.0
        The standard deviation, or its first value where it is learned.
    learned : bool, default=True
        Whether the deviations are learned.
    floor : float, default=0.05
        Smallest deviation: a feature that is reproduced exactly has an unbounded density.
    """

    def __init__(
        self, n_features: int, scale: float = 1.0, learned: bool = True, floor: float = 0.05
    ) -> None:
        super().__init__()
        self.floor = floor if learned else 0.0
        self.raw_scale = nn.Parameter(torch.empty(n_features), requires_grad=learned)
        self.start(torch.full((n_features,), scale))

    def scale(self) -> Tensor:
        """Return the standard deviations, shape (F,)."""
        return functional.softplus(self.raw_scale) + self.floor

    @torch.no_grad()
    def start(self, scale: Tensor) -> None:
        """Take the given standard deviations (F,), lifted to the floor where they are below it."""
        above = (scale - self.floor).clamp_min(max(1e-3 * self.floor, 1e-30))
        # The inverse of softplus; its plain form log(exp(.) - 1) overflows.
        self.raw_scale.copy_(above + torch.log(-torch.expm1(-above)))

    def log_prob_entries(self, h: Tensor, x: Tensor) -> Tensor:
        return log_normal(x, h, self.scale().log())

    def mean(self, h: Tensor) -> Tensor:
        return at_least_float32(h)

    def sample(self, h: Tensor, generator: torch.Generator | None = None) -> Tensor:
        mean = self.mean(h)
        return mean + self.scale() * torch.randn(h.shape, generator=generator).to(mean)
