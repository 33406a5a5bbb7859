"""Data that is read a block at a time: large Parquet files, zarr, and iterators of batches."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepmixture.data import scratch, tables, tensors
from deepmixture.data.messages import listed

MOST_AT_ONCE = 1e8
"""Bytes that are read at once, in several copies; more go to a scratch file a block at a time."""

BLOCK_BYTES = 32 * 2**20


def is_batches(data: object) -> bool:
    """Tell an iterator of batches, or a torch DataLoader, from anything else."""
    return isinstance(data, Iterator) or tensors.is_loader(data)


def from_batches(batches: Iterable[Any]) -> np.ndarray:
    """Return the rows of all batches, each (n, ...) or (x, ...), in one array.

    Raises
    ------
    ValueError
        If there are none, or they differ in the shape of their rows.
    """
    blocks = (_as_block(batch) for batch in batches)
    first = next(blocks, None)
    if first is None:
        raise ValueError("X is an iterator that gives no batches")
    shape = first.shape[1:]

    def flat() -> Iterator[np.ndarray]:
        yield first.reshape(len(first), -1)
        for number, block in enumerate(blocks, start=1):
            if block.shape[1:] != shape:
                raise ValueError(
                    f"batch {number} has rows of shape {block.shape[1:]}, batch 0 of {shape}: "
                    "expected one shape"
                )
            yield block.reshape(len(block), -1)

    dtype = first.dtype if first.dtype.kind in "fub" else np.dtype(np.float32)
    rows = scratch.write(flat(), int(np.prod(shape)), dtype)
    return rows.reshape(len(rows), *shape)


def _as_block(batch: Any) -> np.ndarray:  # noqa: ANN401
    if isinstance(batch, tuple | list) and len(batch) and np.ndim(batch[0]) > 1:
        batch = batch[0]
    if tensors.is_tensor(batch):
        return tensors.from_tensor(batch)[0]
    block = tables.from_frame(batch)[0] if tables.is_frame(batch) else np.asarray(batch)
    if block.ndim < 2 or block.dtype.kind not in "fiub":
        raise ValueError(
            f"a batch of X has shape {block.shape} and dtype {block.dtype}: expected numbers of "
            "shape (n, F), (n, H, W) or (n, H, W, C)"
        )
    return block


def is_chunked(data: object) -> bool:
    """Tell an array in chunks on disk, as of zarr or h5py, from anything else."""
    wanted = ("shape", "dtype", "chunks", "__getitem__")
    return not isinstance(data, np.ndarray) and all(hasattr(data, name) for name in wanted)


def from_chunked(array: Any) -> np.ndarray:  # noqa: ANN401
    """Return an array in chunks as one in memory, or in a scratch file where it is large."""
    shape, dtype = tuple(array.shape), np.dtype(array.dtype)
    n_bytes = int(np.prod(shape)) * dtype.itemsize
    if n_bytes <= MOST_AT_ONCE or len(shape) < 2:
        return np.asarray(array[...])
    step = max(1, BLOCK_BYTES * shape[0] // n_bytes)
    # Whole chunks, or each would be read more than once.
    chunk = int(np.max((array.chunks or (1,))[0]))
    step = max(chunk, step // chunk * chunk)
    width = int(np.prod(shape[1:]))
    blocks = (
        np.asarray(array[start : start + step]).reshape(-1, width)
        for start in range(0, shape[0], step)
    )
    return scratch.write(blocks, width, dtype).reshape(shape)


def from_sparse(matrix: Any) -> np.ndarray:  # noqa: ANN401
    """Return a sparse matrix dense, a block of rows at a time: what is large in a scratch file.

    It is then in float32, as counts are exact in up to 16 million.
    """
    if matrix.ndim != 2:
        dense: np.ndarray = matrix.toarray()
        return dense
    rows, width = matrix.tocsr(), matrix.shape[1]
    if rows.shape[0] * width * rows.dtype.itemsize <= MOST_AT_ONCE:
        return np.asarray(rows.toarray())
    step = max(1, BLOCK_BYTES // (8 * width))
    blocks = (rows[start : start + step].toarray() for start in range(0, rows.shape[0], step))
    return scratch.hold(blocks, rows.shape[0], width, np.float32)


def open_zarr(path: Path) -> np.ndarray:
    """Read the array in a zarr store.

    Raises
    ------
    ValueError
        If zarr is not installed, or there is no array.
    """
    try:
        import zarr
    except ImportError:
        raise ValueError(f"{path} needs the package zarr: pip install deepmixture[zarr]") from None
    try:
        opened = zarr.open(str(path), mode="r")
    except Exception as error:
        raise ValueError(f"{path} cannot be read as zarr: {error}") from error
    if not is_chunked(opened):
        raise ValueError(f"{path} holds a group of arrays; name one, such as {path}/x")
    return from_chunked(opened)


def large_parquet(
    paths: Sequence[Path], key: str | None = None
) -> tuple[np.ndarray, tuple[str, ...] | None] | None:
    """Return the rows and column names of Parquet files too large for memory; None of others.

    With `key`, of that column alone.

    Raises
    ------
    ValueError
        If the files differ in their columns, or lack the column.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        files = [parquet.ParquetFile(path) for path in paths]
    except (pa.ArrowException, OSError):
        return None  # damaged: said where small files are read
    for path, file in zip(paths, files, strict=True):
        if key is not None and key not in file.schema_arrow.names:
            named = listed(file.schema_arrow.names)
            raise ValueError(f"{path} holds no column {key!r}: it holds {named}")
    columns = [key] if key else _columns(files[0])
    n_rows = sum(file.metadata.num_rows for file in files)
    try:
        first = next(files[0].iter_batches(batch_size=1, columns=columns), None)
    except (pa.ArrowException, OSError):
        return None
    if first is None:
        return None
    one, names = tables.from_frame(_table(first))
    if 4 * one.shape[1] * n_rows <= MOST_AT_ONCE:
        return None
    for path, file in zip(paths, files, strict=True):
        if not key and _columns(file) != columns:
            raise ValueError(
                f"{path.name} has other columns than {paths[0].name}: expected the same columns "
                "in the same order"
            )
    doubles = {str(file.schema_arrow.field(name).type) for file in files for name in columns}
    exact = {"double", "int32", "int64", "uint32", "uint64"} & doubles
    blocks = _parquet_blocks(paths, columns, one.shape[1])
    return scratch.write(blocks, one.shape[1], np.float64 if exact else np.float32), names


def _parquet_blocks(paths: Sequence[Path], columns: list[str], width: int) -> Iterator[np.ndarray]:
    import pyarrow as pa
    from pyarrow import parquet

    rows = max(1, BLOCK_BYTES // (8 * width))
    for path in paths:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=rows, columns=columns, use_threads=False):
                block = tables.from_frame(_table(batch))[0]
                if block.shape[1] != width:
                    raise ValueError(
                        f"{path.name} has vectors of {block.shape[1]} numbers, and the first "
                        f"has {width}: expected one length"
                    )
                yield block
        pa.default_memory_pool().release_unused()


def _columns(file: Any) -> list[str]:  # noqa: ANN401
    schema = file.schema_arrow
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    return [name for name in schema.names if name not in index]


def _table(batch: Any) -> Any:  # noqa: ANN401
    import pyarrow as pa

    return pa.Table.from_batches([batch]).replace_schema_metadata()
