"""Rows that are too many for memory, in a scratch file that vanishes with its last user."""

import mmap
import tempfile
from collections.abc import Iterable

import numpy as np

HELD_BYTES = 2**28  # in memory; more are mapped from a scratch file


def hold(
    blocks: Iterable[np.ndarray], n_rows: int, width: int, dtype: np.dtype | type
) -> np.ndarray:
    """Return blocks of `n_rows` rows (n, F) one below the other: many in a scratch file."""
    if n_rows * width * np.dtype(dtype).itemsize > HELD_BYTES:
        return write(blocks, width, dtype)
    rows = np.empty((n_rows, width), dtype)
    done = 0
    for block in blocks:
        rows[done : done + len(block)] = block
        done += len(block)
    return rows


def write(blocks: Iterable[np.ndarray], width: int, dtype: np.dtype | type) -> np.ndarray:
    """Write blocks of rows (n, F) to a scratch file, one below the other; return it mapped.

    It lies in the folder for temporary files (the environment variable TMPDIR), has no name, and
    is gone when the last array on it is, or the process.

    Raises
    ------
    OSError
        If it cannot be written; the message says where it was to be.
    """
    folder = tempfile.gettempdir()
    written = 0
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            for block in blocks:
                # Written and not mapped: a full disk is an error here, and a crash there.
                file.write(np.ascontiguousarray(block, dtype).data)
                written += len(block)
            file.flush()
            if not written:
                return np.empty((0, width), dtype)
            return np.memmap(file, dtype, "r", shape=(written, width))
    except OSError as error:
        raise OSError(
            f"the scratch file for more rows than fit in memory could not be written to {folder}: "
            f"{error.strerror or error}, after {written:,} rows; name another folder by TMPDIR"
        ) from error


def forget(values: np.ndarray) -> None:
    """Let go of the pages of a memory map that are in memory; they are read again when asked."""
    mapped = getattr(values, "_mmap", None)
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        # Mapped copy-on-write, changes are in memory alone.
        if getattr(values, "mode", "c") != "c":
            mapped.madvise(mmap.MADV_DONTNEED)
