"""From whatever holds the data to rows of numbers; knows no model."""

from deepmixture.data.fitting import fit_scaling
from deepmixture.data.rows import Rows, open_rows
from deepmixture.data.scaling import Scaling
from deepmixture.data.schema import (
    Kind,
    as_images,
    check_finite,
    decide_kind,
    named_columns,
    square_side,
)

__all__ = [
    "Kind",
    "Rows",
    "Scaling",
    "as_images",
    "check_finite",
    "decide_kind",
    "fit_scaling",
    "named_columns",
    "open_rows",
    "square_side",
]
