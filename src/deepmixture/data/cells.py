"""Cells by genes as AnnData, in memory or in an .h5ad file."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from deepmixture.data import streams, tables
from deepmixture.data.content import Content
from deepmixture.data.messages import listed

SUFFIX = ".h5ad"
_MANY_PARTS = ("layers", "obsm")


def is_anndata(data: object) -> bool:
    """Tell an AnnData from anything else, whether the package is installed or not."""
    return all(hasattr(data, name) for name in ("X", "obs_names", "var_names", "obsm", "layers"))


def from_anndata(data: Any, key: str | None = None) -> Content:  # noqa: ANN401
    """Return X of an AnnData, or what `key` names: "raw/X", "layers/counts", "obsm/X_pca".

    Raises
    ------
    ValueError
        If it is not there.
    """
    return _content(data, key, f"{key or 'X'} of an AnnData", "the AnnData")


def read_h5ad(path: Path, key: str | None = None) -> Content:
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
        return _content(data, key, f"{key} of {path.name}" if key else path.name, str(path))
    finally:
        data.file.close()


def _content(data: Any, key: str | None, source: str, holder: str) -> Content:  # noqa: ANN401
    x, raw = data.X, data.raw
    held = [name for name, one in (("X", x), ("raw/X", raw)) if one is not None]
    held += [f"{part}/{name}" for part in _MANY_PARTS for name in getattr(data, part)]
    part, _, name = _named(key, held, holder).partition("/")
    # Of a view, what is not asked for would be copied, too.
    matrix = x if part == "X" else raw.X if part == "raw" else getattr(data, part)[name]
    if hasattr(matrix, "to_memory"):  # on disk
        matrix = matrix.to_memory()
    genes: tuple[str, ...] | None = None  # of an embedding
    if tables.is_frame(matrix):
        matrix, genes = tables.from_frame(matrix)
    elif part != "obsm":
        genes = tuple(map(str, (raw if part == "raw" else data).var_names))
    was_sparse = sparse.issparse(matrix)
    if was_sparse:
        values = streams.from_sparse(matrix)
    else:
        values = streams.from_chunked(matrix) if streams.is_chunked(matrix) else np.asarray(matrix)
    return Content(values, source, genes, tuple(map(str, data.obs_names)), was_sparse)


def _named(key: str | None, held: Sequence[str], holder: str) -> str:
    """Return which of what is held is meant.

    Raises
    ------
    ValueError
        If that is not there.
    """
    if not held:
        raise ValueError(f"{holder} holds no matrix of cells: expected X, a layer or an embedding")
    if key is None and "X" not in held:
        raise ValueError(f"{holder} has no X: choose with key, of {listed(held)}")
    if key is not None and key not in held:
        raise ValueError(f"{holder} holds no {key!r}: it holds {listed(held)}")
    return key or "X"
