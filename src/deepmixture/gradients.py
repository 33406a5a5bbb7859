"""Gradients through a discrete latent: ways to the gradient of a bound in q(y|x).

All maximise a lower bound on log p(x). The first is the evidence lower bound

    L = E_q(y|x)[ log w(y) ],        log w(y) = f(y) - log q(y|x),        f(y) = log p(x, y),

where f(y) may itself be an estimate over a continuous latent, log p(x, z, y) - log q(z|y, x) at a
reparametrised z. The estimators share one signature::

    value, surrogate, weights = gradient(f, logits, knobs, features)

f maps one-hot y (S, B, K) to f(y) (S, B), and is called once, so that S decoder passes a row are
one batch. logits (B, K) are those of q(y|x), features (B, H) what an input-dependent baseline may
look at. `value` (B,) is the bound, without a gradient. `surrogate` (B,) is a number whose
gradient estimates that of the bound, in the parameters of f as in the logits; it has no meaning of
its own. `weights` (S, B) make sums over y estimates of E_q(y|x)[.].

`Exact` sums over all clusters, `TopK` over the most probable ones and samples the rest without
bias, `NVIL` and `VIMCO` sample with the score function, `Gumbel` relaxes y and is biased.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepmixture.densities import at_least_float32
from deepmixture.noise import exponential
from deepmixture.parallel import whole_batch

LogWeights = Callable[[Tensor], Tensor]


class Estimate(NamedTuple):
    """The bound of each row, and a surrogate of its gradient."""

    value: Tensor  # (B,)
    surrogate: Tensor  # (B,)
    weights: Tensor  # (S, B)


class Gradient(nn.Module):
    """What every estimator shares."""

    @abstractmethod
    def forward(
        self,
        f: LogWeights,
        logits: Tensor,
        knobs: Mapping[str, Tensor],
        features: Tensor | None = None,
    ) -> Estimate:
        """Return the bound and its surrogate for logits (B, K) of q(y|x)."""


class Exact(Gradient):
    """Enumeration: the sum over all K clusters, without variance from y."""

    def forward(
        self,
        f: LogWeights,
        logits: Tensor,
        knobs: Mapping[str, Tensor],
        features: Tensor | None = None,
    ) -> Estimate:
        log_q = at_least_float32(logits).log_softmax(-1)  # (B, K)
        every = torch.arange(log_q.shape[1], device=log_q.device)[:, None]
        y = one_hot(every.expand(-1, len(log_q)), log_q)  # (K, B, K)
        return score_function(f(y), log_q.T, log_q.T.exp())


class TopK(Gradient):
    """The sum over the k most probable clusters, and draws for what remains of q(y|x).

    Unbiased, for the remainder is drawn from q(y|x) without the k and weighted by its mass
    (Liu, Regier, Tripuraneni, Jordan & McAuliffe 2019, "Rao-Blackwellized stochastic gradients
    for discrete distributions", equation 6). The mean of log w under the k serves as baseline: it
    does not depend on the draws.

    Parameters
    ----------
    k : int
        Clusters that are enumerated.
    n_samples : int, default=1
        Draws from the remaining ones.
    """

    def __init__(self, k: int, n_samples: int = 1) -> None:
        super().__init__()
        self.k, self.n_samples = k, n_samples

    def forward(
        self,
        f: LogWeights,
        logits: Tensor,
        knobs: Mapping[str, Tensor],
        features: Tensor | None = None,
    ) -> Estimate:
        log_q = at_least_float32(logits).log_softmax(-1)  # (B, K)
        first = log_q.topk(self.k).indices  # (B, k)
        rest = log_q.detach().scatter(1, first, -math.inf)
        drawn = draw(rest, self.n_samples)  # (S - k, B)
        y = torch.cat([first.T, drawn])  # (S, B)
        log_q_y = log_q.gather(1, y.T).T
        remaining = rest.logsumexp(1).exp() / self.n_samples  # (B,)
        weights = torch.cat([log_q_y[: self.k].exp(), remaining.expand(self.n_samples, -1)])
        log_p = f(one_hot(y, log_q))
        known = (weights * (log_p - log_q_y)).detach()[: self.k].sum(0)
        baseline = known / weights.detach()[: self.k].sum(0)
        return score_function(log_p, log_q_y, weights, baseline)


class NVIL(Gradient):
    """Score function with learned baselines.

    Mnih & Gregor (2014), "Neural variational inference and learning in belief networks",
    algorithm 1. The learning signal log w(y) has a baseline subtracted that a network reads off
    the features of x, and a constant one, the running mean of what is left; it is divided by its
    running deviation where that is above one. The network learns by least squares within the same
    surrogate. The running moments are those before the batch, so that only the division changes
    the expected gradient, and that by a factor.

    Parameters
    ----------
    n_samples : int
        Draws of y a row.
    n_features : int, optional
        Width of the features; without it the constant baseline stands alone.
    normalise : bool, default=True
        Whether the signal is divided by its running deviation.
    width : int, default=100
        Units of the baseline's hidden layer.
    decay : float, default=0.8
        Weight of the past in the running moments.
    """

    seen: Tensor
    centre: Tensor
    variance: Tensor

    def __init__(
        self,
        n_samples: int,
        n_features: int | None = None,
        normalise: bool = True,
        width: int = 100,
        decay: float = 0.8,
    ) -> None:
        super().__init__()
        self.n_samples, self.normalise, self.decay = n_samples, normalise, decay
        self.baseline: nn.Module | None = None
        if n_features is not None:
            self.baseline = nn.Sequential(
                nn.Linear(n_features, width), nn.Tanh(), nn.Linear(width, 1)
            )
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("variance", torch.zeros(()))

    def forward(
        self,
        f: LogWeights,
        logits: Tensor,
        knobs: Mapping[str, Tensor],
        features: Tensor | None = None,
    ) -> Estimate:
        log_q = at_least_float32(logits).log_softmax(-1)  # (B, K)
        y = draw(log_q.detach(), self.n_samples)  # (S, B)
        log_q_y = log_q.gather(1, y.T).T
        log_p = f(one_hot(y, log_q))
        weights = torch.full_like(log_p, 1.0 / self.n_samples)
        signal = (log_p - log_q_y).detach()
        guess = torch.zeros_like(signal[0])
        if self.baseline is not None and features is not None:
            guess = at_least_float32(self.baseline(features.detach()).squeeze(-1))  # (B,)
        left = signal - guess.detach()
        left = whole_batch(left, dim=1)
        if self.seen == 0:
            self.centre.copy_(left.mean())  # the first batch has no past to lean on
            self.variance.copy_(left.var(correction=0))
        divisor = self.variance.sqrt().clamp_min(1.0) if self.normalise else 1.0
        baseline = guess.detach() + self.centre
        estimate = score_function(log_p, log_q_y, weights, baseline, divisor)
        # Least squares of what the constant leaves: its gradient meets the network alone.
        error = (signal - self.centre - guess).square().mean(0)
        if self.training:
            self._remember(left)
        return estimate._replace(surrogate=estimate.surrogate - error)

    @torch.no_grad()
    def _remember(self, left: Tensor) -> None:
        self.seen.add_(1.0)
        self.centre.lerp_(left.mean(), 1.0 - self.decay)
        self.variance.lerp_(left.var(correction=0), 1.0 - self.decay)


class VIMCO(Gradient):
    """The importance-weighted bound by the score function, each draw's baseline from the others.

    The bound is log (1/M) sum_m w(y_m), which grows with M towards log p(x); the learning signal
    of a draw is what it adds to the bound over one in which the geometric mean of the other
    weights stands in its place (Mnih & Rezende 2016, "Variational inference for Monte Carlo
    objectives", equations 8 to 10).

    Parameters
    ----------
    n_samples : int
        Draws M of (y, z) a row; at least 2.
    """

    def __init__(self, n_samples: int) -> None:
        super().__init__()
        if n_samples < 2:
            raise ValueError(
                f"n_samples={n_samples} is too few for VIMCO, whose draws are one another's "
                "baselines; expected at least 2"
            )
        self.n_samples = n_samples

    def forward(
        self,
        f: LogWeights,
        logits: Tensor,
        knobs: Mapping[str, Tensor],
        features: Tensor | None = None,
    ) -> Estimate:
        log_q = at_least_float32(logits).log_softmax(-1)  # (B, K)
        y = draw(log_q.detach(), self.n_samples)  # (M, B)
        log_q_y = log_q.gather(1, y.T).T
        log_w = f(one_hot(y, log_q)) - log_q_y
        bound = log_w.logsumexp(0) - math.log(self.n_samples)  # (B,)
        with torch.no_grad():
            others = (log_w.sum(0) - log_w) / (self.n_samples - 1)  # (M, B)
            instead = torch.eye(self.n_samples, dtype=torch.bool, device=log_w.device)[..., None]
            without = torch.where(instead, others, log_w[:, None]).logsumexp(0)  # (M, B)
            signal = bound - (without - math.log(self.n_samples))
        surrogate = (signal * log_q_y).sum(0) + bound
        weights = torch.full_like(log_w, 1.0 / self.n_samples)
        return Estimate(bound.detach(), surrogate, weights)


class Gumbel(Gradient):
    """Relaxed draws of y, differentiable in the logits: little variance, but biased.

    y = softmax((logits + Gumbel noise) / temperature) (Jang, Gu & Poole 2017; Maddison, Mnih &
    Teh 2017); the entropy of q(y|x) is exact. The bias vanishes with the temperature, where the
    variance grows. `straight_through` hands f the one-hot y and differentiates as if it were the
    relaxed one: the value is then unbiased, but at temperature zero the gradient is still biased
    unless f is at most quadratic in y. The knob `temperature` moves it.

    Parameters
    ----------
    n_samples : int
        Draws of y a row.
    straight_through : bool, default=False
    """

    def __init__(self, n_samples: int, straight_through: bool = False) -> None:
        super().__init__()
        self.n_samples, self.straight_through = n_samples, straight_through

    def forward(
        self,
        f: LogWeights,
        logits: Tensor,
        knobs: Mapping[str, Tensor],
        features: Tensor | None = None,
    ) -> Estimate:
        log_q = at_least_float32(logits).log_softmax(-1)  # (B, K)
        noisy = log_q + gumbel(log_q.expand(self.n_samples, -1, -1))  # (S, B, K)
        y = (noisy / knobs["temperature"]).softmax(-1)
        if self.straight_through:
            hard = one_hot(noisy.argmax(-1), log_q)
            y = hard + y - y.detach()
        log_p = f(y)
        bound = log_p.mean(0) - (log_q.exp() * log_q).sum(-1)
        weights = torch.full_like(log_p, 1.0 / self.n_samples)
        return Estimate(bound.detach(), bound, weights)


def score_function(
    log_p: Tensor,
    log_q_y: Tensor,
    weights: Tensor,
    baseline: Tensor | float = 0.0,
    divisor: Tensor | float = 1.0,
) -> Estimate:
    """Return the evidence lower bound from weighted y, all of shape (S, B).

    The gradient is sum_s weight_s [ (log w_s - baseline) / divisor grad log q(y_s) + grad f_s ],
    the score function's where y was drawn and the exact one where it was enumerated. The baseline
    must not depend on the draw it is subtracted from. log w_s has no gradient of its own in q:
    E_q[ grad log q ] is zero.
    """
    weights = weights.detach()
    # A cluster of no weight adds nothing, and 0 * -inf must not say otherwise.
    log_q_y = log_q_y.clamp_min(torch.finfo(log_q_y.dtype).min)
    signal = (log_p - log_q_y).detach()
    surrogate = (weights * ((signal - baseline) / divisor * log_q_y + log_p)).sum(0)
    return Estimate((weights * signal).sum(0), surrogate, weights)


def one_hot(y: Tensor, like: Tensor) -> Tensor:
    """Return clusters y (...) as one-hot vectors (..., K), K and type those of `like`."""
    return functional.one_hot(y, like.shape[-1]).to(like)


def draw(logits: Tensor, n_samples: int) -> Tensor:
    """Draw clusters from unnormalised log-probabilities (B, K), shape (n_samples, B)."""
    return (logits + gumbel(logits.expand(n_samples, -1, -1))).argmax(-1)


def gumbel(like: Tensor) -> Tensor:
    """Draw standard Gumbel noise of the given shape."""
    return -exponential(*like.shape, device=like.device).log().to(like.dtype)


NAMES = ("exact", "top-k", "nvil", "vimco", "gumbel", "gumbel-straight-through")


def make(name: str, n_clusters: int, n_samples: int, n_features: int) -> Gradient:
    """Return the estimator of that name.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    n_clusters : int
    n_samples : int
        Values of y a row at which f is asked, but for "exact", which asks at all. "top-k"
        enumerates all but one of them and draws the last.
    n_features : int
        Width of the features that the baseline of "nvil" reads.

    Raises
    ------
    ValueError
        If "vimco" is given fewer than two samples.
    """
    if name == "exact" or (name == "top-k" and n_samples >= n_clusters):
        return Exact()
    if name == "top-k":
        return TopK(max(n_samples - 1, 1))
    if name == "nvil":
        return NVIL(n_samples, n_features)
    if name == "vimco":
        return VIMCO(n_samples)
    return Gumbel(n_samples, straight_through=name == "gumbel-straight-through")
