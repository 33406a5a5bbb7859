"""What makes an array fit to be rows."""

import numpy as np
from sklearn.utils import check_array

from deepmixture.data import vectors


def as_array(data: object) -> np.ndarray:
    """Return an array-like as an array; a memory map stays one, what is masked becomes NaN."""
    if isinstance(data, np.memmap):
        return data
    if isinstance(data, np.ma.MaskedArray):
        return np.ma.filled(data.astype(np.float64), np.nan)
    try:
        values = np.asarray(data)
        return vectors.stacked(values, "X") if vectors.are_vectors(values) else values
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise
        raise ValueError("X has rows of different lengths: expected one length") from None


def as_rows(values: np.ndarray) -> tuple[np.ndarray, tuple[int, ...] | None]:
    """Check an array and lay images flat: (N, F) values and the shape of an image, if any.

    What is fit as it came is not copied.
    """
    image_shape = None
    if values.ndim in (3, 4):
        _refuse_channels_first(values.shape)
        image_shape = values.shape[1:]
        values = values.reshape(len(values), int(np.prod(image_shape)))
    elif values.ndim > 4:
        raise ValueError(
            f"X has shape {values.shape}: expected rows (N, F) or images (N, H, W) or (N, H, W, C)"
        )
    if values.dtype.kind in "mMV":
        raise ValueError(f"X has dtype {values.dtype}: expected numbers")
    if values.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: X has dtype {values.dtype}")
    # scikit-learn refuses the rest, in the words its users know.
    checked = check_array(values, dtype="numeric", ensure_all_finite=False, input_name="X")
    if checked.dtype != values.dtype:
        values = checked
    return (values.view(np.uint8) if values.dtype == bool else values), image_shape


def _refuse_channels_first(shape: tuple[int, ...]) -> None:
    if len(shape) == 4 and shape[1] in (1, 3) and min(shape[2:]) > 4:
        raise ValueError(
            f"X has shape {shape}, which looks like images with their channels first: "
            "expected (N, H, W, C); pass numpy.moveaxis(X, 1, -1)"
        )
