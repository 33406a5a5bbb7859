"""The coordinates in which rows are near one another: components, distances, directions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepmixture.counts import ABOVE_ZERO, counts_behind, many_are_zero, rarity

FAR = 2.0  # the square of the mean over the sum of the variances; of features of photographs 0.7
ABOUT_ZERO = 0.2  # deviations; of features of photographs half have over 0.6
SKEWED = 2.0  # third moment over the cubed deviation; of waiting times, exponential ones, 2
MUCH_OF_A_LOGARITHM = 0.3  # deviation; of a column of an offset and little else it is less
SEEN_ROWS = 20_000
LEAST_LENGTH = 1e-12


def principal(rows: NDArray[Any], n_components: int, seed: int) -> NDArray[np.float64]:
    """Return the first principal components of rows (N, F), all columns where F is no more."""
    from sklearn.decomposition import PCA

    if rows.shape[1] <= n_components or len(rows) <= n_components:
        return np.asarray(rows, dtype=np.float64)
    solver = PCA(n_components, svd_solver="randomized", random_state=seed % 2**32)
    return np.asarray(solver.fit_transform(rows.astype(np.float32, copy=False)), dtype=np.float64)


def compared(rows: NDArray[Any], are_counts: bool) -> list[tuple[NDArray[Any], str]]:
    """Return embeddings, or logarithms of counts, (N, F) where near is alike, and what that is.

    By the angle between rows, which of features and of words says more than how long they are.
    Where all columns lie about zero, as principal components and columns that were standardised
    do, nothing but the mean decides on the angle: there two are returned, and the first, by the
    distance, is the likelier. Rows are used up.
    """
    weighed = ", each column weighed by how few rows have it"
    what = "the directions of the rows"
    plain: list[tuple[NDArray[Any], str]] = []
    if are_counts:
        rows *= rarity(rows)
        what += weighed
    elif lie_about_zero(rows):
        plain = [(rows.copy(), "the columns, which lie about zero")]
    elif (counts := counts_behind(rows)) is not None:
        rows = np.log1p(counts, out=counts)
        rows *= rarity(rows)
        what = "the directions of the counts that rows were made of" + weighed
    elif (standard := standardised_if_far(rows)) is not rows:
        rows = standard
        what = "the directions from the mean, which is far, in deviations of each column"
    to_unit_length(rows)
    return [*plain, (rows, what)]


def of_a_table(standard: NDArray[Any], rows: NDArray[Any]) -> list[tuple[NDArray[Any], str]]:
    """Return the columns of a table (N, F) and, if some are skewed, with these straightened.

    Incomes, counts and waiting times have few large values, beside which all others are alike. A
    skewed column is brought near a normal one by the power of Box & Cox (1964) where it is above
    zero, of Yeo & Johnson (2000) elsewhere. Whether groups are the clearer for it depends on the
    table, so both are returned.

    Parameters
    ----------
    standard : array of shape (N, F)
        The columns, standardised.
    rows : array of shape (N, F)
        The same columns in the units in which they came.
    """
    from scipy.stats import skew

    plain = [(standard, "the columns")]
    some = _some(standard)
    far_from_normal = np.flatnonzero(np.abs(skew(some, axis=0)) > SKEWED)
    skewed = [column for column in far_from_normal if len(np.unique(some[:, column])) > 2]
    if not skewed:
        return plain
    straight = standard.copy()
    for column in skewed:
        found = _straightened(rows[:, [column]].astype(np.float64))
        if np.isfinite(found).all():  # a power of what is very far off may be beyond all numbers
            straight[:, [column]] = found
    return [*plain, (straight, "the columns, of which the skewed ones were brought near normal")]


def _straightened(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a column (N, 1) brought near a standard normal one by a power."""
    from sklearn.preprocessing import PowerTransformer

    # What was scaled and back is next to zero where it was zero.
    values[np.abs(values) <= ABOVE_ZERO * np.abs(values).max()] = 0.0
    power = PowerTransformer("box-cox")
    if values.min() <= 0.0 or np.log(values).std() < MUCH_OF_A_LOGARITHM:
        # Of a column in which next to nothing but an offset is seen, no power of it makes more.
        power = PowerTransformer("yeo-johnson")
        values -= np.median(values)
        # This power depends on the unit, and few large values are no measure of the others.
        values /= np.median(np.abs(values[values != 0.0]))
    straight: NDArray[np.float64] = power.fit(_some(values)).transform(values)
    return straight


def lie_about_zero(rows: NDArray[Any]) -> bool:
    """Whether the mean of each column of rows (N, F) is next to nothing beside its deviation."""
    some = _some(rows)
    return bool((np.abs(some.mean(0)) <= ABOUT_ZERO * some.std(0) + LEAST_LENGTH).all())


def standardised_if_far(rows: NDArray[Any]) -> NDArray[Any]:
    """Standardise the columns of rows (N, F) whose directions say little, by rows drawn evenly.

    That is where their mean is far longer than they spread about it: then all directions are
    nearly its own. Not where entries are zero or above and many are zero, as logarithms of counts
    are: there zero means that something is not there, and columns that hardly any row has would
    weigh as much as the others.
    """
    some = _some(rows)
    mean, spread = some.mean(0), some.std(0)
    if (mean**2).sum() <= FAR * (spread**2).sum() or many_are_zero(some):
        return rows
    spread[spread == 0] = 1.0
    standard: NDArray[Any] = (rows - mean) / spread
    return standard.astype(rows.dtype)


def _some(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Return enough of rows (N, F), drawn evenly, for the moments of their columns."""
    return rows[:: max(1, len(rows) // SEEN_ROWS)].astype(np.float64)


def to_unit_length(rows: NDArray[Any]) -> None:
    """Scale rows (N, F) to a length of one, in place; a row of zeros stays what it is.

    Their distances are then those of their directions. A copy of many rows would be large.
    """
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), LEAST_LENGTH)
