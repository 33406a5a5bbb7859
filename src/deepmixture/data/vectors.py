"""Columns whose entries are vectors, as embeddings are kept in frames and in Parquet files."""

from typing import Any

import narwhals as nw
import numpy as np

SEQUENCES = (np.ndarray, list, tuple)


def is_column_of_vectors(column: Any) -> bool:  # noqa: ANN401
    """Tell a column (a narwhals Series) of vectors from any other."""
    if isinstance(column.dtype, nw.List | nw.Array):
        return True
    if column.dtype != nw.Object:
        return False
    present = column.drop_nulls()
    return bool(len(present)) and isinstance(present[0], SEQUENCES)


def are_vectors(values: np.ndarray) -> bool:
    """Tell an array (N,) of vectors, as one takes from a column, from any other."""
    objects = values.dtype == object and values.ndim == 1 and len(values) > 0
    return objects and isinstance(values[0], SEQUENCES)


def stacked(vectors: np.ndarray, name: str) -> np.ndarray:
    """Return vectors, an array (N,) of objects or (N, F) of numbers, as an array (N, F).

    Raises
    ------
    ValueError
        If some are missing, of other lengths, or hold no numbers; the message has `name` in it.
    """
    if vectors.dtype == object:
        missing = sum(vector is None for vector in vectors)
        if missing:
            raise ValueError(
                f"{name} lacks {missing:,} of {len(vectors):,} vectors: drop these rows"
            )
        shapes = {np.shape(vector) for vector in vectors}
        if len(shapes) > 1:
            lengths = sorted({len(vector) for vector in vectors})
            raise ValueError(
                f"{name} has vectors of {len(lengths)} lengths, from {lengths[0]} to "
                f"{lengths[-1]}: expected one length"
            )
        vectors = np.stack([np.asarray(vector) for vector in vectors])
    if vectors.dtype.kind not in "fiub" or vectors.ndim != 2:
        raise ValueError(f"{name} does not hold vectors of numbers: {vectors[0]!r} is the first")
    return vectors
