"""Labels from files: known classes to score against, and clusters found earlier."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile

from deepmixture.run_folder import LABELS, TABLE_SUFFIXES, read_about, read_table

# Names under which labels are usually found, tried in this order.
_USUAL_NAMES = ("y", "label", "labels", "target", "class")


def read_labels(path: Path, *, key: str | None = None, column: str | None = None) -> np.ndarray:
    """Read one label a row.

    Parameters
    ----------
    path : Path
        A `.npy`, `.npz`, `.csv` or `.parquet` file.
    key : str, optional
        Array of an `.npz` file; several are joined by plus signs.
    column : str, optional
        Column of a table.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it holds no labels that can be read.
    """
    suffix = path.suffix.lower()
    labels: np.ndarray
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if key is not None and suffix != ".npz":
        raise ValueError(f"{path} has no keys: --labels-key is for .npz files")
    if column is not None and suffix not in TABLE_SUFFIXES:
        raise ValueError(f"{path} has no columns: --column is for .csv and .parquet files")
    if suffix == ".npy":
        with _damage_named(path):
            labels = np.load(path, allow_pickle=False)
    elif suffix == ".npz":
        labels = _labels_of_archive(path, key)
    elif suffix in TABLE_SUFFIXES:
        labels = _labels_of_table(path, column)
    else:
        raise ValueError(f"cannot read labels from {path}: expected .npy, .npz, .csv or .parquet")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise ValueError(f"{path} has labels of shape {labels.shape}; expected one label a row")
    return labels


def read_found_labels(run: Path) -> np.ndarray:
    """Read the labels of a run, or of a file written by `predict`."""
    if run.is_dir():
        read_about(run)
        return read_labels(run / LABELS, column="label")
    return read_labels(run, column="label")


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (BadZipFile, EOFError, OSError, ValueError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read: it is damaged or holds objects") from error


def _labels_of_archive(path: Path, key: str | None) -> np.ndarray:
    # numpy leaves a file that it opened itself open when the archive is damaged.
    with path.open("rb") as file:
        with _damage_named(path):
            archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, NpzFile):
            raise ValueError(f"{path} is not an archive of arrays; name a single array .npy")
        names = archive.files
        if key is None:
            key = _choose(names, f"which labels of {path}? name one by --labels-key")
        absent = [part for part in key.split("+") if part not in names]
        if absent:
            raise ValueError(f"{path} has no array {absent[0]!r}; it has {', '.join(names)}")
        with _damage_named(path):
            return np.concatenate([archive[part] for part in key.split("+")])


def _labels_of_table(path: Path, column: str | None) -> np.ndarray:
    table = read_table(path)
    names = table.column_names
    if column is None:
        column = _choose(names, f"which labels of {path}? name one by --column")
    if column not in names:
        raise ValueError(f"{path} has no column {column!r}; it has {', '.join(names)}")
    chosen = table[column]
    if chosen.null_count:
        raise ValueError(f"column {column!r} of {path} has {chosen.null_count} empty entries")
    return np.asarray(chosen.to_numpy())


def _choose(names: Sequence[str], question: str) -> str:
    usual = [name for name in _USUAL_NAMES if name in names]
    if not usual and len(names) != 1:
        raise ValueError(f"{question}: {', '.join(names)}")
    return (usual or list(names))[0]
