"""The coordinates in which rows are near one another: components, directions, weighed counts."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FAR = 2.0  # the square of the mean over the sum of the variances; of features of photographs 0.7
SEEN_ROWS = 20_000
ABOVE_ZERO = 1e-3  # what scaling forth and back leaves of a zero is less
LEAST_LENGTH = 1e-12


def principal(rows: NDArray[Any], n_components: int, seed: int) -> NDArray[np.float64]:
    """Return the first principal components of rows (N, F), all columns where F is no more."""
    from sklearn.decomposition import PCA

    if rows.shape[1] <= n_components or len(rows) <= n_components:
        return np.asarray(rows, dtype=np.float64)
    solver = PCA(n_components, svd_solver="randomized", random_state=seed % 2**32)
    return np.asarray(solver.fit_transform(rows.astype(np.float32, copy=False)), dtype=np.float64)


def standardised_if_far(rows: NDArray[Any]) -> NDArray[Any]:
    """Standardise the columns of rows (N, F) whose directions say little, by rows drawn evenly.

    That is where their mean is far longer than they spread about it: then all directions are
    nearly its own.
    """
    some = rows[:: max(1, len(rows) // SEEN_ROWS)].astype(np.float64)
    mean, spread = some.mean(0), some.std(0)
    if (mean**2).sum() <= FAR * (spread**2).sum():
        return rows
    spread[spread == 0] = 1.0
    standard: NDArray[Any] = (rows - mean) / spread
    return standard.astype(rows.dtype)


def rarity(counts: NDArray[Any]) -> NDArray[Any]:
    """Return 1 + log((1 + N) / (1 + n)) of each column of counts (N, F) with n above zero, (F,).

    The smooth inverse document frequency (Spärck Jones 1972; Pedregosa et al. 2011): a word that
    is in every text tells little of the group that a row is in. Without the one it would tell
    nothing, and of cells counted deeply the genes that all have, which tell most, would give way
    to the chance of a few counts elsewhere.
    """
    present = (counts > ABOVE_ZERO).sum(0)
    weights: NDArray[Any] = 1.0 + np.log((1 + len(counts)) / (1 + present))
    return weights.astype(counts.dtype)


def to_unit_length(rows: NDArray[Any]) -> None:
    """Scale rows (N, F) to a length of one, in place; a row of zeros stays what it is.

    Their distances are then those of their directions. A copy of many rows would be large.
    """
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), LEAST_LENGTH)
