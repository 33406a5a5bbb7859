"""What lies at a path: an array, a table, or a folder of tables or of images."""

import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from scipy import sparse

from deepmixture.data import cells, images, streams, tables
from deepmixture.data.content import Content

EXPECTED = (
    "expected .npy, .npz, .zarr, .h5ad, .csv, .parquet, a folder of .csv or .parquet, or one of "
    "images"
)

_USUAL_KEYS = ("x", "X", "data")
_SPARSE = {"format", "shape", "data"}  # as scipy.sparse.save_npz names them

_DAMAGE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)


def takes_key(data: object) -> bool:
    """Tell something in which a key names what to read from anything else."""
    if not isinstance(data, str | os.PathLike):
        return cells.is_anndata(data)
    path = Path(data).expanduser()
    keyed = path.suffix.lower() in (".npz", ".parquet", cells.SUFFIX)
    return keyed or (path.is_dir() and _is_parquet(path))


def _is_parquet(folder: Path) -> bool:
    return any(path.suffix.lower() == ".parquet" for path in folder.rglob("*"))


def read(location: str | os.PathLike[str], key: str | None = None) -> Content:
    """Read the file or folder at a path; a .npy file is mapped, not read."""
    path = Path(location).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {path}")
    if path.suffix.lower() == ".zarr" or any(p.suffix.lower() == ".zarr" for p in path.parents):
        return Content(streams.open_zarr(path), path.name)
    if path.is_dir():
        return _read_folder(path, key)
    suffix = path.suffix.lower()
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    if suffix == ".npy":
        return Content(_load(path), path.name)
    if suffix == ".npz":
        # Opened here, for numpy leaves a damaged file open.
        with path.open("rb") as stream, _load(path, stream) as archive:
            return _read_npz(path, archive, key)
    if suffix == cells.SUFFIX:
        return cells.read_h5ad(path, key)
    if suffix in tables.SUFFIXES:
        return _read_tables([path], path.name, key)
    raise ValueError(f"{path} is of no known kind: {EXPECTED}")


def _load(path: Path, stream: BinaryIO | None = None) -> Any:  # noqa: ANN401
    try:
        loaded = np.load(stream or path, mmap_mode="r", allow_pickle=False)
    except _DAMAGE as error:
        raise ValueError(f"{path} cannot be read as {path.suffix[1:]}: {_why(error)}") from error
    if isinstance(loaded, np.ndarray) is not (path.suffix.lower() == ".npy"):
        raise ValueError(f"{path} is not what its suffix says: a .npy and a .npz file differ")
    return loaded


def _why(error: Exception) -> str:
    words = str(error)
    # numpy's own words advise to unpickle, which nothing here does.
    unsafe = "pickle" in words or "Python objects" in words
    return "it holds Python objects, which are never unpickled" if unsafe else words


def _read_npz(path: Path, archive: Any, key: str | None) -> Content:  # noqa: ANN401
    keys = archive.files
    if not keys:
        raise ValueError(f"{path} holds no arrays")
    if key is None and _SPARSE <= set(keys):
        return _read_sparse(path)
    named = ", ".join(keys)
    if key is None:
        likely = keys if len(keys) == 1 else [name for name in keys if name in _USUAL_KEYS]
        if len(likely) != 1:
            raise ValueError(
                f"{path} holds the arrays {named}: choose with key, for example "
                f"key={keys[0]!r}, or join two with a plus sign"
            )
        key = likely[0]
    parts = [key] if key in keys else key.split("+")
    absent = [part for part in parts if part not in keys]
    if absent:
        raise ValueError(f"{path} holds no array {absent[0]!r}: it holds {named}")
    try:
        arrays = [archive[part] for part in parts]
    except _DAMAGE as error:
        raise ValueError(f"{path} cannot be read: {_why(error)}") from error
    shapes = [array.shape for array in arrays]
    if len({shape[1:] for shape in shapes}) > 1 or (len(shapes) > 1 and () in shapes):
        raise ValueError(
            f"the arrays {key} of {path} have shapes {', '.join(map(str, shapes))}: "
            "only arrays of rows of one shape can be joined"
        )
    values = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return Content(values, f"{key} of {path.name}")


def _read_sparse(path: Path) -> Content:
    try:
        matrix = sparse.load_npz(path)
    except (*_DAMAGE, NotImplementedError) as error:
        raise ValueError(f"{path} cannot be read as a sparse matrix: {_why(error)}") from error
    return Content(streams.from_sparse(matrix), path.name, was_sparse=True)


def _read_folder(folder: Path, key: str | None) -> Content:
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        # Hidden and underscored names are the notes that other programs leave behind.
        if path.is_file() and not any(part.startswith((".", "_")) for part in inside.parts):
            suffix = path.suffix.lower()
            found.setdefault("image" if suffix in images.SUFFIXES else suffix, []).append(path)
    # Tables beside images are taken for notes about them, such as labels.
    kinds = [kind for kind in ("image", *tables.SUFFIXES) if kind in found]
    if not kinds:
        raise ValueError(f"the folder {folder} holds no data that is understood: {EXPECTED}")
    if kinds[0] == "image":
        paths = found["image"]
        names = tuple(path.relative_to(folder).as_posix() for path in paths)
        values = images.read_images(paths)
        return Content(values, f"{len(paths)} images of {folder.name}", row_names=names)
    if len(kinds) > 1:
        raise ValueError(f"the folder {folder} holds .csv and .parquet files: expected one kind")
    paths = found[kinds[0]]
    return _read_tables(paths, f"{len(paths)} {kinds[0]} files of {folder.name}", key)


def _read_tables(paths: Sequence[Path], source: str, key: str | None) -> Content:
    source = f"{key} of {source}" if key else source
    if all(path.suffix.lower() == ".parquet" for path in paths):
        large = streams.large_parquet(paths, key)
        if large is not None:
            return Content(large[0], source, large[1], is_frame=large[1] is not None)
    values, names, remark = tables.read_tables(paths, key)
    source = f"{source}, {remark}" if remark else source
    return Content(values, source, names, is_frame=names is not None)
