"""Counts: how much each column says, and the counts behind what was made of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepmixture.data.rows import row_slices
from deepmixture.data.schema import MANY_ZEROS

ABOVE_ZERO = 1e-6  # over the largest entry
WHOLE = 0.1  # from the next whole number; of other numbers one in five is as near
NEARLY_ALL = 0.95
FEWEST_SEVERAL = 0.01  # of what is there; where all is there once, nothing was counted
TOLD_BY_ROWS = 1000
LARGEST_LOGARITHM = 50.0


def rarity(counts: NDArray[Any]) -> NDArray[Any]:
    """Return 1 + log((1 + N) / (1 + n)) of each column of counts (N, F) with n above zero, (F,).

    The smooth inverse document frequency (Spärck Jones 1972; Pedregosa et al. 2011): a word that
    is in every text tells little of the group that a row is in. Without the one it would tell
    nothing, and of cells counted deeply the genes that all have, which tell most, would give way
    to the chance of a few counts elsewhere.
    """
    present = _present(counts).sum(0)
    weights: NDArray[Any] = 1.0 + np.log((1 + len(counts)) / (1 + present))
    return weights.astype(counts.dtype)


def counts_behind(rows: NDArray[Any]) -> NDArray[Any] | None:
    """Return the counts (N, F) that rows were made of; None where that is not seen.

    Counts of texts and of cells often come over the length of the text or the depth of the cell,
    then times `rarity` (tf-idf; there the counts may be 1 + log(x), too), or as log(1 + x), to
    base e or 2. Without these each row is whole numbers times a number of its own, which is taken
    for its least entry above zero.
    """
    some = rows[:: max(1, len(rows) // TOLD_BY_ROWS)].astype(np.float64)
    if not many_are_zero(some):
        return None
    weights = rarity(rows)
    ways: list[Callable[[NDArray[Any]], NDArray[Any]]] = [
        _multiples,
        lambda x: _multiples(x / weights),
        lambda x: _without_logarithm(_multiples(x / weights)),
    ]
    if _are_of_one_unit(some):
        ways = ways[1:]  # as features in bytes are
    if some.max() < LARGEST_LOGARITHM:
        ways += [lambda x: _multiples(np.expm1(x)), lambda x: _multiples(np.exp2(x) - 1.0)]
    for way in ways:
        counts = way(some)
        several = counts[counts > 1.0 + WHOLE]
        whole = np.abs(several - several.round()) <= WHOLE
        if len(several) > FEWEST_SEVERAL * (counts > 0).sum() and whole.mean() >= NEARLY_ALL:
            return _in_parts(way, rows)
    return None


def _in_parts(way: Callable[[NDArray[Any]], NDArray[Any]], rows: NDArray[Any]) -> NDArray[Any]:
    """Return the whole numbers next to `way` of rows (N, F), without copies of all of them."""
    counts = np.empty(rows.shape, np.float32)
    for part in row_slices(rows):
        counts[part] = way(rows[part].astype(np.float64)).round()
    return counts


def many_are_zero(rows: NDArray[Any]) -> bool:
    """Whether entries are zero or above, and many are zero."""
    none_below = rows.min() >= -ABOVE_ZERO * rows.max()
    return bool(none_below and _present(rows).mean() <= 1.0 - MANY_ZEROS)


def _present(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which entries are above zero, by more than scaling forth and back leaves of one."""
    above: NDArray[np.bool_] = rows > ABOVE_ZERO * max(rows.max(), -rows.min())
    return above


def _multiples(rows: NDArray[Any]) -> NDArray[Any]:
    """Return rows (N, F) over the least entry above zero of each."""
    return np.where(_present(rows), rows / _least(rows)[:, None], 0.0)


def _least(rows: NDArray[Any]) -> NDArray[Any]:
    """Return the least entry above zero of each row; infinity where there is none."""
    least: NDArray[Any] = np.where(_present(rows), rows, np.inf).min(1)
    return least


def _without_logarithm(multiples: NDArray[Any]) -> NDArray[Any]:
    """Return x of 1 + log(x), where that is not zero."""
    return np.where(multiples > 0, np.exp(np.minimum(multiples, LARGEST_LOGARITHM) - 1.0), 0.0)


def _are_of_one_unit(rows: NDArray[Any]) -> bool:
    """Whether the least entry above zero is the same of most rows."""
    least = _least(rows)
    return bool(np.isclose(least, np.median(least), rtol=1e-3).mean() > 0.5)
