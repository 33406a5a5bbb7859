"""Schedules: how a quantity moves with the progress of training.

A schedule maps progress t in [0, 1] (0 at the first step, 1 at the last) to a value. Learning
rates, Kullback-Leibler weights, deviations and temperatures all use the same ones.
"""

import math
from collections.abc import Callable

Schedule = Callable[[float], float]


def constant(value: float) -> Schedule:
    """Stay at `value`."""
    return lambda t: value


def linear(start: float, end: float, until: float = 1.0) -> Schedule:
    """Go from `start` to `end` in a straight line, reached at progress `until`, and stay there."""
    return lambda t: start + (end - start) * min(t / until, 1.0)


def geometric(start: float, end: float, until: float = 1.0) -> Schedule:
    """Go from `start` to `end` by a constant factor a step, reached at progress `until`."""
    return lambda t: start * (end / start) ** min(t / until, 1.0)


def halving(start: float, halvings: int, end: float = 0.0) -> Schedule:
    """Start at `start` and halve it `halvings` times at equal distances, never below `end`."""
    return lambda t: max(start * 0.5 ** min(int(t * (halvings + 1)), halvings), end)


def cosine(start: float, end: float = 0.0) -> Schedule:
    """Go from `start` to `end` along half a cosine: slow, fast, slow."""
    return lambda t: end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * t))


def one_cycle(peak: float, warm_up: float = 0.3) -> Schedule:
    """Rise from `peak` / 25 to `peak` until progress `warm_up`, then fall to `peak` / 10,000.

    Both along half a cosine (Smith & Topin 2019, "Super-convergence").
    """
    rise, fall = cosine(peak / 25, peak), cosine(peak, peak / 10_000)
    return lambda t: rise(t / warm_up) if t < warm_up else fall((t - warm_up) / (1 - warm_up))


def cyclic(start: float, end: float, cycles: int, rising: float = 0.5) -> Schedule:
    """Repeat `cycles` times: a line from `start` to `end` over the part `rising`, then stay.

    Fu et al. 2019, "Cyclical annealing schedule", figure 1.
    """
    line = linear(start, end, until=rising)
    return lambda t: line(t * cycles % 1.0) if t < 1.0 else end
