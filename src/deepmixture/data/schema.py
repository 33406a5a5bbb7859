"""What the rows are, and whether they are fit to learn from."""

import math
import re
from typing import Literal

import numpy as np

from deepmixture.data import scratch
from deepmixture.data.messages import listed
from deepmixture.data.rows import Rows, row_slices

Kind = Literal["image", "table", "embedding", "counts"]

# Fewer columns than this are taken for a table, and fewer pixels for no image.
_N_MANY = 64
_ALIKE = 0.2  # correlation; of pixels at least 0.25 and 0.38
_FEWEST_ROWS = 10
_MOST_ANSWERS = 12  # to a question; of the words of a text some come more often
_MOST = 2 / 3
MANY_ZEROS = 0.2  # of cells counted deeply 0.29 and 0.43, of features in bytes 0.40
_OFTEN_ONE = 0.1  # of what is not zero; of cells counted deeply 0.33, of features in bytes 0.05
_NEARLY_ALL = 0.95  # answers in a column each leave four of five zero, or fewer
_DIFFERENT_SPREADS = 10.0  # of columns, the ninth tenth over the first; of features at most 6
_NEXT_TO_NOTHING = 0.05  # of correlations and, in deviations, of means
_FALLEN = 1.2
_ONE_VALUE = 1e-3  # of the range
_CENTRED = 0.1  # standard deviations; principal components spread differently, about zero
_SEEN_NUMBERS = 2_000_000
_NUMBERED = re.compile(r"(\D*)\d+")


def decide_kind(rows: Rows) -> tuple[Kind, str]:
    """Decide what kind of data the rows are, and say why in a sentence."""
    shape, width = rows.image_shape, rows.n_features
    if shape is not None:
        return "image", f"image: each row has shape {' x '.join(map(str, shape))}"
    if rows.was_sparse and _are_counts(rows.values):
        return "counts", "counts: sparse, with whole numbers of 0 and above"
    plain = not (rows.is_frame or rows.was_sparse)
    side = square_side(width)
    if plain and rows.values.dtype == np.uint8 and width >= _N_MANY and side:
        some = _first(rows.values)
        # Where they are 0 or 1, they may as well be marks of what a molecule has.
        few_to_tell = len(some) < _FEWEST_ROWS
        if some.max() > 1 or few_to_tell or _are_pixels(some, side, _ALIKE / 2):
            return "image", f"image: {width} bytes a row are {side} x {side} pixels"
    if width < _N_MANY:
        framed = "a data frame of " if rows.is_frame else ""
        return "table", f"table: {framed}{width} columns, fewer than {_N_MANY}"
    found = _kind_of_values(rows.values)
    if found and not (rows.is_frame and found[0] == "counts" and _are_marks(rows.values)):
        return found
    if rows.is_frame and not (_are_numbered(rows.names) and len(rows) >= _FEWEST_ROWS):
        return "table", f"table: a data frame of {width} columns with names of their own"
    what = f"{width} columns, {_N_MANY} or more, without names of their own"
    return "embedding", f"embedding: {what}"


def are_principal_components(values: np.ndarray) -> bool:
    """Whether columns are about zero, without correlation and of falling spreads.

    These spreads are what principal components say of the rows.
    """
    if values.shape[1] < 2 or values.dtype.kind != "f":
        return False
    # Rows drawn evenly: in order of their groups, the first ones are not about zero.
    some = values[:: math.ceil(values.size / _SEEN_NUMBERS)].astype(np.float64)
    scratch.forget(values)
    spread = some.std(0)
    if len(some) < _FEWEST_ROWS or not np.isfinite(spread).all() or (spread == 0).any():
        return False
    between = np.corrcoef(some, rowvar=False) - np.eye(len(spread))
    return bool(
        (np.abs(some.mean(0)) <= _NEXT_TO_NOTHING * spread).all()
        and (np.abs(between) <= _NEXT_TO_NOTHING).all()
        and (spread[1:] <= (1 + _NEXT_TO_NOTHING) * spread[:-1]).all()
        and spread[0] > _FALLEN * spread[-1]
    )


def _are_marks(values: np.ndarray) -> bool:
    """Whether most columns are 0 or 1, as those of categories are beside an age in whole years."""
    return bool((_first(values).max(0) <= 1).mean() > 0.5)


def _first(values: np.ndarray) -> np.ndarray:
    """Return as many of the first rows as are looked at."""
    return np.asarray(values[: max(1, _SEEN_NUMBERS // values.shape[1])])


def _are_numbered(names: tuple[str, ...] | None) -> bool:
    """Whether columns are called by their numbers alone, after one word for all or none."""
    words = {match and match[1] for match in map(_NUMBERED.fullmatch, names or ())}
    return len(words) == 1 and None not in words


def _kind_of_values(values: np.ndarray) -> tuple[Kind, str] | None:
    """Tell pixels, counts, answers and units apart in many columns, by the first rows.

    None if they are none of these, as features that an encoder gives, or too few to tell.
    """
    width = values.shape[1]
    some = _first(values)
    if len(some) < _FEWEST_ROWS or some.min() == some.max():
        return None
    side = square_side(width)
    if side and (some.min() >= 0 or _have_one_floor(some)) and _are_pixels(some, side):
        return "image", f"image: {width} columns, alike where {side} apart: {side} x {side} pixels"
    if some.min() >= 0 and (found := _kind_of_whole_numbers(some)) is not None:
        return found
    if values.dtype.kind == "f" and _have_units_of_their_own(some):
        return "table", f"table: {width} columns of very different spreads, in units of their own"
    if _are_amounts(some):
        zeros = (some == 0).mean()
        return "embedding", f"embedding: {width} columns, {zeros:.0%} of them 0 and none below"
    return None


def _kind_of_whole_numbers(some: np.ndarray) -> tuple[Kind, str] | None:
    if not _are_counts(some):
        return None
    most = some.max()
    zeros = (some == 0).mean()
    counted = zeros >= _MOST or (
        zeros >= MANY_ZEROS and (some == 1).mean() >= _OFTEN_ONE * (1 - zeros)
    )
    if zeros >= _NEARLY_ALL or (counted and most > _MOST_ANSWERS):
        return "counts", f"counts: whole numbers of 0 and above, {zeros:.0%} of them 0"
    # A question that all answer alike is none; of what is there or not, some is in no row.
    if most <= _MOST_ANSWERS and (some != some[0]).any(0).all():
        return "table", f"table: whole numbers of at most {most:g} are answers"
    return None


def _are_pixels(values: np.ndarray, side: int, least: float = _ALIKE) -> bool:
    """Whether rows are squares, laid out line by line: a pixel is like the one below it.

    Columns of a series are alike, too, but the less so the farther apart they are.
    """
    varies = values.std(0) > 0
    standard = (values - values.mean(0)) / np.where(varies, values.std(0), 1.0)

    def alike(distance: int) -> float:
        products = (standard[:, :-distance] * standard[:, distance:]).mean(0)
        both = varies[:-distance] & varies[distance:]
        return float(products[both].mean()) if both.any() else 0.0

    between = max(alike(side // 2), alike(side + side // 2))
    return alike(1) > least and alike(side) > between + least


def _have_one_floor(values: np.ndarray) -> bool:
    """Whether most columns go down to one value, as pixels do that were shifted and stretched.

    Those that were standardised one by one do not: as pixels the rarest would outshine all others.
    """
    least, most = values.min(), values.max()
    return bool((values.min(0) <= least + _ONE_VALUE * (most - least)).mean() > 0.5)


def _have_units_of_their_own(values: np.ndarray) -> bool:
    """Whether columns spread very differently, each about a mean of its own, and all vary."""
    values = values.astype(np.float64)
    spread = values.std(0)
    if not np.isfinite(spread).all() or (spread == 0).any():
        return False
    least, most = np.quantile(spread, [0.1, 0.9])
    centred = np.median(np.abs(values.mean(0)) / spread) <= _CENTRED
    return bool(most > _DIFFERENT_SPREADS * least and not centred)


def _are_amounts(values: np.ndarray) -> bool:
    """Whether columns say how much is there, and often that nothing is: of a gene, of a word.

    Marks, which are 0 or 1, say nothing of how much.
    """
    amounts = ((values != 0) & (values != 1)).any(0)
    often_none = (values == 0).mean(0) >= MANY_ZEROS
    return bool(values.min() >= 0 and (amounts & often_none).mean() > 0.5)


def _are_counts(values: np.ndarray) -> bool:
    if values.dtype.kind == "u":
        return True
    for part in row_slices(values):
        block = values[part]
        # NaN fails the first comparison, infinity the second.
        if not (block >= 0).all() or not (np.mod(block, 1) == 0).all():
            return False
    return True


def square_side(n_pixels: int) -> int | None:
    """Return the side of the square that so many pixels make; None if they make none."""
    side = math.isqrt(n_pixels)
    return side if side**2 == n_pixels else None


def as_images(rows: Rows) -> np.ndarray:
    """Return the rows as images (N, H, W) or (N, H, W, C), without a copy.

    Rows that came flat are taken for grey squares.
    """
    shape = rows.image_shape
    if shape is None:
        side = square_side(rows.n_features)
        if side is None:
            raise ValueError(
                f"X has rows of {rows.n_features} numbers, which make no square image: "
                "expected an array of shape (N, H, W) or (N, H, W, C)"
            )
        shape = (side, side)
    images: np.ndarray = rows.values.reshape(len(rows), *shape)
    return images


def check_finite(rows: Rows) -> None:
    """Refuse missing and infinite values.

    Raises
    ------
    ValueError
        If there are any; the message names columns and counts.
    """
    values = rows.values
    if values.dtype.kind != "f":
        return
    n_nan = np.zeros(rows.n_features, np.int64)
    n_infinite = np.zeros(rows.n_features, np.int64)
    for part in row_slices(values):
        block = values[part]
        if not np.isfinite(block).all():
            n_nan += np.isnan(block).sum(axis=0)
            n_infinite += np.isinf(block).sum(axis=0)
    columns = np.flatnonzero(n_nan + n_infinite)
    if not len(columns):
        return
    named = [
        f"{rows.column_name(i)} ({_counted(n_nan[i], n_infinite[i])})" for i in columns.tolist()
    ]
    raise ValueError(
        f"X ({rows.source}) contains missing or infinite values: {listed(named)}. "
        "Drop these rows or columns, or fill them in"
    )


def check_varying(rows: Rows, constant: np.ndarray) -> None:
    """Refuse rows that are all alike: every column is marked as constant."""
    if constant.all():
        raise ValueError(f"X ({rows.source}) has the same values in every row: nothing to cluster")


def named_columns(rows: Rows, which: np.ndarray) -> str:
    """Return the names of some columns, as marked (F,), for a sentence."""
    return listed([rows.column_name(column) for column in np.flatnonzero(which).tolist()])


def _counted(n_nan: int, n_infinite: int) -> str:
    counts = [f"{n_nan} NaN"] if n_nan else []
    return " and ".join(counts + ([f"{n_infinite} infinite"] if n_infinite else []))
