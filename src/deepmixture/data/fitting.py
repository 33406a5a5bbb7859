"""Finding the scaling that suits a kind of data."""

import numpy as np

from deepmixture.data.moments import ColumnMoments, column_moments, log1p_counts
from deepmixture.data.rows import Rows
from deepmixture.data.scaling import METHODS, Method, Scaling
from deepmixture.data.schema import Kind, are_principal_components, check_varying

_AUTO: dict[Kind, Method] = {
    "image": "unit",
    "table": "standard",
    "embedding": "global",
    "counts": "log",
}
FARTHEST = 10.0  # deviations


def fit_scaling(rows: Rows, kind: Kind, method: str = "auto") -> Scaling:
    """Find the offset and scale of the columns; missing values are left out of account.

    Parameters
    ----------
    rows : Rows
        At least two.
    kind : {"image", "table", "embedding", "counts"}
        What the rows are. One column at least must vary; those of a table that do not are told
        by a scale of zero.
    method : {"auto", "none", "unit", "standard", "global", "log"}
        "unit" brings values to between 0 and 1: bytes by 255, others by one smallest and
        largest value, at most ten deviations from the mean (for a table, by those of each
        column), and values which lie there stay.
        "standard" brings each column to mean 0 and standard deviation 1. "global" centres
        the columns and divides all by one standard deviation, so that their proportions stay.
        "log" does that to log(1 + x). "auto" takes the four in the order of the kinds above, and
        "global" for a table of principal components.
    """
    chosen = _auto(rows, kind) if method == "auto" else method
    if chosen not in METHODS:
        raise ValueError(f"scaling is {method!r}: expected one of auto, {', '.join(METHODS)}")
    if len(rows) < 2:
        raise ValueError("X has 1 sample (n_samples=1): scaling needs at least 2 rows")
    moments = column_moments(rows.values, log1p_counts if chosen == "log" else None)
    check_varying(rows, moments.constant)
    with np.errstate(over="ignore", invalid="ignore"):
        offset, scale = _fit(chosen, rows, kind, moments)
        if kind == "table" or chosen == "standard":
            offset = np.where(moments.constant, moments.mean, offset)
            scale = np.where(moments.constant, 0.0, scale)
    if not (np.isfinite(offset).all() and np.isfinite(scale).all()):
        raise ValueError(f"X ({rows.source}) has values that are infinite or too large to scale")
    return Scaling(chosen, offset, scale)


def _auto(rows: Rows, kind: Kind) -> Method:
    if kind == "table" and are_principal_components(rows.values):
        return "global"
    return _AUTO[kind]


def _fit(
    method: Method, rows: Rows, kind: Kind, moments: ColumnMoments
) -> tuple[np.ndarray, np.ndarray]:
    width = rows.n_features
    if method == "standard":
        return moments.mean, moments.scale
    if method in ("global", "log"):
        return moments.mean, np.full(width, np.sqrt(np.mean(moments.scale**2)))
    low, high = np.fmin.reduce(moments.minimum), np.fmax.reduce(moments.maximum)
    if method == "none" or (low >= 0 and high <= 1):
        return np.zeros(width), np.ones(width)
    if kind == "table":
        return moments.minimum, moments.maximum - moments.minimum
    if rows.values.dtype == np.uint8:
        low, high = 0, 255
    else:
        # One hot pixel would leave all others next to one another.
        mean = np.nanmean(moments.mean)
        spread = np.sqrt(np.nanmean(moments.scale**2 + (moments.mean - mean) ** 2))
        low, high = max(low, mean - FARTHEST * spread), min(high, mean + FARTHEST * spread)
    return np.full(width, low), np.full(width, high - low)
