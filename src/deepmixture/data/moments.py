"""Mean, standard deviation and range of columns, a slice of rows at a time in float64."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deepmixture.data.rows import row_slices


@dataclass(frozen=True, eq=False)
class ColumnMoments:
    """Moments of each column over what is not missing; scale is the standard deviation."""

    mean: np.ndarray
    scale: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray

    @property
    def constant(self) -> np.ndarray:
        """Which columns do not vary by more than rounding, or hold nothing at all."""
        # NaN, of a column that is all missing, fails every comparison.
        largest = np.maximum(abs(self.minimum), abs(self.maximum))
        with np.errstate(over="ignore", invalid="ignore"):
            varies = self.maximum - self.minimum > 8 * np.finfo(np.float64).eps * largest
        constant: np.ndarray = ~(varies & (self.scale > 0))
        return constant


def column_moments(
    values: np.ndarray, change: Callable[[np.ndarray], np.ndarray] | None = None
) -> ColumnMoments:
    """Find the moments of the columns of (N, F) values, or of what `change` makes of them."""
    width = values.shape[1]
    count, mean, squares = np.zeros((3, width))
    minimum, maximum = np.full(width, np.nan), np.full(width, np.nan)
    with np.errstate(over="ignore", invalid="ignore"):
        for part in row_slices(values):
            block = values[part].astype(np.float64)
            if change is not None:
                block = change(block)
            minimum = np.fmin(minimum, np.fmin.reduce(block))
            maximum = np.fmax(maximum, np.fmax.reduce(block))
            # Two sets of moments joined as in Chan, Golub and LeVeque (1979).
            n, part_mean, part_squares = _moments(block)
            total = np.maximum(count + n, 1)
            shift = part_mean - mean
            mean = mean + shift * (n / total)
            squares = squares + part_squares + shift**2 * (count * n / total)
            count = count + n
    return ColumnMoments(mean, np.sqrt(squares / np.maximum(count, 1)), minimum, maximum)


def _moments(block: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count, mean and sum of squares about it, for each column of a block that is used up."""
    missing = np.isnan(block)
    n = len(block) - missing.sum(axis=0)
    np.copyto(block, 0, where=missing)
    mean = block.sum(axis=0) / np.maximum(n, 1)
    block -= mean
    np.copyto(block, 0, where=missing)
    return n, mean, np.einsum("ij,ij->j", block, block)


def log1p_counts(block: np.ndarray) -> np.ndarray:
    """Take log(1 + x) in place, of values that are 0 or more."""
    if (block < 0).any():
        raise ValueError("X has negative values: expected counts, of which log(1 + x) is taken")
    np.log1p(block, out=block)
    return block
