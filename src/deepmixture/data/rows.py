"""Rows of numbers, and the one door through which data comes in."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from scipy import sparse

from deepmixture.data import arrays, cells, files, scratch, streams, tables, tensors
from deepmixture.data.content import Content


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of numbers and what their source tells about them.

    Attributes
    ----------
    values : ndarray of shape (N, F)
        The numbers in the dtype in which they came. A memory map stays one.
    names : tuple of str or None
        Column names, where the source has them.
    image_shape : tuple of int or None
        (H, W) or (H, W, C) where rows are images; `values` holds them flattened in C order.
    row_names : tuple of str or None
        File names where the source is a folder of images, those of cells of an AnnData.
    source : str
        A few words for messages, such as "x_train of mnist.npz".
    is_frame : bool
        Whether the source is a table with named columns.
    was_sparse : bool
        Whether the source was sparse; `values` are dense.
    """

    values: np.ndarray
    names: tuple[str, ...] | None = None
    image_shape: tuple[int, ...] | None = None
    row_names: tuple[str, ...] | None = None
    source: str = "array"
    is_frame: bool = False
    was_sparse: bool = False

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.values)

    def __getitem__(self, index: Any) -> np.ndarray:  # noqa: ANN401
        """Return the rows at `index`, a slice, mask or integers, as a (B, F) float32 copy."""
        picked = np.atleast_2d(np.asarray(self.values[index]))
        # Never a view: writing into a batch must not reach the source.
        return picked.astype(np.float32, copy=np.may_share_memory(picked, self.values))

    def part(self, index: slice | np.ndarray) -> "Rows":
        """Return the rows at `index`, a slice or integers, as rows of their own."""
        names = self.row_names
        if names is not None:
            picked = range(len(names))[index] if isinstance(index, slice) else index
            names = tuple(names[i] for i in picked)
        return replace(self, values=self.values[index], row_names=names)

    @property
    def n_features(self) -> int:
        """The number of columns, or of pixels times channels."""
        return int(self.values.shape[1])

    def column_name(self, column: int) -> str:
        """Return what a message calls a column: its name in quotes, or its number."""
        return f"'{self.names[column]}'" if self.names else f"column {column}"


def row_slices(values: np.ndarray, n_values: int = 1 << 20) -> Iterator[slice]:
    """Cut an (N, F) array into slices of rows that hold about `n_values` numbers each.

    Of a memory map no more than that stays in memory.
    """
    step = max(1, n_values // max(1, values.shape[1]))
    for start in range(0, len(values), step):
        yield slice(start, start + step)
        scratch.forget(values)


def open_rows(data: object, *, key: str | None = None) -> Rows:
    """Open data from memory or from disk as rows of numbers.

    Missing values are let in, as NaN; `check_finite` refuses them.

    Parameters
    ----------
    data : array-like, sparse matrix, data frame, tensor, Dataset, path or Rows
        In memory: a numpy array or memory map of shape (N, F), (N, H, W) or (N, H, W, C); a scipy
        sparse matrix; a pandas, polars or pyarrow table, of numbers or of one column of vectors,
        or that column; a torch tensor or map-style Dataset whose items are x or (x, ...), where
        images may have their channels first; a list of lists. An array in chunks, as of zarr or
        h5py; an iterator of batches (n, F), (n, H, W) or (n, H, W, C), or a torch DataLoader; an
        AnnData. On disk: .npy, .npz (of a sparse matrix, too, as `scipy.sparse.save_npz` writes
        it), .zarr, .h5ad, .csv, .parquet, a folder of .csv or of .parquet files, or a folder of
        images. What is large is read in blocks, into a scratch file.
    key : str, optional
        The array to take from a .npz file; "x_train+x_test" joins two. By default its only
        array, or the one called "x", "X" or "data". Of Parquet files a column, whose entries
        may be vectors. Of an AnnData "layers/counts", "obsm/X_pca" or "raw/X"; X by default.

    Returns
    -------
    Rows

    Raises
    ------
    FileNotFoundError
        If there is nothing at the path.
    ValueError
        If the data is empty, damaged, not numeric or of a shape that holds no rows.
    """
    if key is not None and not files.takes_key(data):
        raise ValueError(
            f"key={key!r} names an array in a .npz file, a matrix of an AnnData or a column of "
            "vectors in a Parquet file, and X is none of these"
        )
    if isinstance(data, Rows):
        return data
    content = _content(data, key)
    values, image_shape = arrays.as_rows(content.values)
    return Rows(
        values,
        content.names,
        image_shape,
        content.row_names,
        content.source,
        content.is_frame,
        content.was_sparse,
    )


def _content(data: object, key: str | None) -> Content:
    if isinstance(data, str | os.PathLike):
        return files.read(data, key)
    if cells.is_anndata(data):
        return cells.from_anndata(data, key)
    if sparse.issparse(data):
        dense = streams.from_sparse(data)
        return Content(dense, "scipy sparse matrix, made dense", was_sparse=True)
    if tensors.is_tensor(data):
        values, was_sparse = tensors.from_tensor(data)
        source = "sparse torch tensor, made dense" if was_sparse else "torch tensor"
        return Content(values, source, was_sparse=was_sparse)
    if tensors.is_dataset(data):
        return Content(tensors.from_dataset(data), f"torch dataset {type(data).__name__}")
    if streams.is_batches(data):
        batches = streams.from_batches(cast(Any, data))
        return Content(batches, f"batches of {type(data).__name__}")
    if streams.is_chunked(data):
        return Content(streams.from_chunked(data), f"{tables.library(data)} array")
    if tables.is_frame(data):
        values, names = tables.from_frame(data)
        source = f"{tables.library(data)} frame"
        return Content(values, source, names, is_frame=names is not None)
    source = "memory map" if isinstance(data, np.memmap) else "array"
    return Content(arrays.as_array(data), source)
