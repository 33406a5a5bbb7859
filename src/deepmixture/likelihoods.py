"""Likelihoods p(x|z): what the decoder's output h says of a row x.

Each takes h (..., P * F), P parameters a feature, and rows x (..., F), and answers `log_prob`
(...), summed over the features.
An entry of x that is NaN is missing and is marginalised: it adds nothing to any likelihood.
"""

import math
from abc import abstractmethod
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepmixture.densities import at_least_float32, log_normal
from deepmixture.noise import standard_normal


class Likelihood(nn.Module):
    """What every likelihood shares; F features, h (..., n_parameters * F)."""

    complete: bool = False
    """Whether the rows are known to have no missing entry: then none is looked for."""

    n_parameters: int = 1
    """Numbers the decoder gives a feature; h holds all first ones, then all second ones."""

    def assume_complete(self) -> Self:
        """Look for no missing entries: two passes over the rows less a step."""
        self.complete = True
        return self

    def log_prob(self, h: Tensor, x: Tensor) -> Tensor:
        """Return log p(x|z) summed over the features that are there, in float32 at least."""
        if self.complete:
            return self.log_prob_entries(at_least_float32(h), x).sum(-1)
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


class ContinuousBernoulli(Likelihood):
    """Independent grey values in [0, 1] with a proper density; h are logits.

    p(x) = C(h) exp(x h) / (1 + exp(h)) with C(h) = h / tanh(h / 2) (Loaiza-Ganem & Cunningham
    2019, "The continuous Bernoulli", equations 4 and 5, written in the logit h).
    """

    def log_prob_entries(self, h: Tensor, x: Tensor) -> Tensor:
        return x * h - functional.softplus(h) + self.log_normaliser(h)

    def log_normaliser(self, h: Tensor) -> Tensor:
        """Return log C(h), by its series where h / tanh(h / 2) would divide zero by zero."""
        small = h.abs() < 0.1
        safe = torch.where(small, 1.0, h)
        series = math.log(2.0) + h.square() / 12.0 - 7.0 * h.pow(4) / 1440.0
        return torch.where(small, series, torch.log(safe / torch.tanh(0.5 * safe)))

    def mean(self, h: Tensor) -> Tensor:
        h = at_least_float32(h)
        small = h.abs() < 0.1
        safe = torch.where(small, 1.0, h)
        series = 0.5 + h / 12.0 - h.pow(3) / 720.0
        # 1 / (1 - exp(-h)) as a hyperbolic tangent: exp overflows, and its gradient is then NaN.
        return torch.where(small, series, 0.5 + 0.5 / torch.tanh(0.5 * safe) - 1.0 / safe)

    def sample(self, h: Tensor, generator: torch.Generator | None = None) -> Tensor:
        h = at_least_float32(h)
        u = torch.rand(h.shape, generator=generator).to(h)
        # The inverse of the distribution function, in |h| so that nothing overflows.
        size = h.abs().clamp_min(1e-4)
        draw = 1.0 + torch.log1p((1.0 - u) * torch.expm1(-size)) / size
        return torch.where(h < 0.0, 1.0 - draw, draw).clamp(0.0, 1.0)


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
        return mean + self.scale() * standard_normal(*h.shape, generator=generator).to(mean)


class LearnedGaussian(Likelihood):
    """Independent normal features whose means and deviations the decoder gives, row by row.

    The deviation is softplus(raw) + floor. The floor is moved by the model while it trains
    (NVISA's standard-deviation annealing) and stays where training left it.

    Parameters
    ----------
    floor : float, default=0.05
        Smallest deviation, in scaled units.
    """

    n_parameters = 2
    floor: Tensor

    def __init__(self, floor: float = 0.05) -> None:
        super().__init__()
        self.register_buffer("floor", torch.tensor(floor))

    def mean_and_scale(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Split h (..., 2 F) into means and standard deviations, each (..., F)."""
        mean, raw_scale = at_least_float32(h).chunk(2, -1)
        return mean, functional.softplus(raw_scale) + self.floor

    def log_prob_entries(self, h: Tensor, x: Tensor) -> Tensor:
        mean, scale = self.mean_and_scale(h)
        return log_normal(x, mean, scale.log())

    def mean(self, h: Tensor) -> Tensor:
        return self.mean_and_scale(h)[0]

    def sample(self, h: Tensor, generator: torch.Generator | None = None) -> Tensor:
        mean, scale = self.mean_and_scale(h)
        return mean + scale * standard_normal(*mean.shape, generator=generator).to(mean)


NAMES = ("bernoulli", "continuous_bernoulli", "gaussian", "gaussian_learned", "gaussian_fixed")
UNIT_INTERVAL = ("bernoulli", "continuous_bernoulli")
"""Likelihoods of values in [0, 1]."""


def make(name: str, n_features: int, scale: float) -> Likelihood:
    """Return the likelihood of that name for rows of `n_features`.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    n_features : int
    scale : float
        The deviation of a fixed Gaussian, and the first one of a shared Gaussian.
    """
    if name == "bernoulli":
        return Bernoulli()
    if name == "continuous_bernoulli":
        return ContinuousBernoulli()
    if name == "gaussian_learned":
        return LearnedGaussian()
    return Gaussian(n_features, scale, learned=name == "gaussian")
