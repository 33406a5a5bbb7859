"""Cells by genes as AnnData, in memory or in an .h5ad file."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from deepmixture.data import streams, tables
from deepmixture.data.messages import listed

SUFFIX = ".h5ad"
_MANY_PARTS = ("layers", "obsm")


class Cells(NamedTuple):
    """One matrix of an AnnData, and what its columns and rows are called."""

    values: np.ndarray
    genes: tuple[str, ...] | None  # None of an embedding
    names: tuple[str, ...]
    was_sparse: bool


def is_anndata(data: object) -> bool:
    """Tell an AnnData from anything else, whether the package is installed or not."""
    return all(hasattr(data, name) for name in ("X", "obs_names", "var_names", "obsm", "layers"))


def from_anndata(
    data: Any,  # noqa: ANN401
    key: str | None = None,
    source: str = "the AnnData",
) -> Cells:
    """Return X of an AnnData, or what `key` names: "raw/X", "layers/counts", "obsm/X_pca".

    Raises
    ------
    ValueError
        If it is not there.
    """
    raw = data.raw
    held = {
        **({} if data.X is None else {"X": data.X}),
        **({} if raw is None else {"raw/X": raw.X}),
        **{f"{part}/{name}": one for part in _MANY_PARTS for name, one in _items(data, part)},
    }
    key = _named(key, list(held), source)
    genes = raw.var_names if key == "raw/X" else data.var_names
    return _cells(held[key], key, genes, data.obs_names)


def read_h5ad(path: Path, key: str | None = None) -> Cells:
    """Read X of an .h5ad file, or what `key` names.

    Raises
    ------
    ValueError
        If anndata is not installed, the file is damaged, or `key` is not there.
    """
    try:
        import anndata
    except ImportError:
        raise ValueError(
            f"{path} needs the package anndata: pip install deepmixture[anndata]"
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of older formats, which are read all the same
        try:
            data = anndata.read_h5ad(path, backed="r")  # X and raw/X stay on disk until asked for
        except Exception as error:
            raise ValueError(f"{path} cannot be read as h5ad: {error}") from error
    try:
        return from_anndata(data, key, str(path))
    finally:
        data.file.close()


def _items(data: Any, part: str) -> Sequence[tuple[str, Any]]:  # noqa: ANN401
    entries: Mapping[str, Any] = getattr(data, part)
    return [(name, entries[name]) for name in entries]


def _named(key: str | None, held: Sequence[str], source: str) -> str:
    """Return which of what is held is meant.

    Raises
    ------
    ValueError
        If that is not there.
    """
    if not held:
        raise ValueError(f"{source} holds no matrix of cells: expected X, a layer or an embedding")
    if key is None and "X" not in held:
        raise ValueError(f"{source} has no X: choose with key, of {listed(held)}")
    if key is not None and key not in held:
        raise ValueError(f"{source} holds no {key!r}: it holds {listed(held)}")
    return key or "X"


def _cells(matrix: Any, key: str, genes: Any, names: Any) -> Cells:  # noqa: ANN401
    rows = tuple(map(str, names))
    if hasattr(matrix, "to_memory"):  # on disk
        matrix = matrix.to_memory()
    if tables.is_frame(matrix):
        return Cells(*tables.from_frame(matrix), rows, False)
    columns = None if key.startswith("obsm/") else tuple(map(str, genes))
    if sparse.issparse(matrix):
        return Cells(streams.from_sparse(matrix), columns, rows, True)
    dense = streams.from_chunked(matrix) if streams.is_chunked(matrix) else np.asarray(matrix)
    return Cells(dense, columns, rows, False)
