"""Rows from .npy and .npz files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse

from deepmixture.data import open_rows

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 5), (6, 4, 5, 3)])
def test_npy_is_mapped_not_read(tmp_path: Path, shape: tuple[int, ...]) -> None:
    X = RANDOM.normal(size=shape)
    np.save(tmp_path / "x.npy", X)
    rows = open_rows(tmp_path / "x.npy")
    assert isinstance(rows.values, np.memmap)
    assert_array_equal(rows.values.reshape(shape), X)
    assert rows.image_shape == (shape[1:] or None if len(shape) > 2 else None)
    assert rows.source == "x.npy"
    batch = rows[1:3]
    assert batch.flags.writeable
    assert not isinstance(batch, np.memmap)


def test_a_memory_map_stays_one(tmp_path: Path) -> None:
    X = np.memmap(tmp_path / "x.bin", np.float32, "w+", shape=(3, 2))
    rows = open_rows(X)
    assert isinstance(rows.values, np.memmap)
    assert np.shares_memory(rows.values, X)


@pytest.mark.parametrize("names", [["only"], ["x", "y"], ["X", "labels"], ["data", "target"]])
def test_npz_by_default_takes_the_usual_array(tmp_path: Path, names: list[str]) -> None:
    X = RANDOM.normal(size=(3, 2))
    contents: dict[str, Any] = {names[0]: X} | {name: np.arange(3) for name in names[1:]}
    np.savez(tmp_path / "a.npz", **contents)
    rows = open_rows(tmp_path / "a.npz")
    assert_array_equal(rows.values, X)
    assert rows.source == f"{names[0]} of a.npz"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Return an archive of two parts with labels, compressed."""
    path = tmp_path / "digits.npz"
    np.savez_compressed(
        path,
        x_train=np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
        y_train=np.arange(2),
        x_test=np.arange(12, dtype=np.uint8).reshape(1, 3, 4),
    )
    return path


def test_npz_keys_and_joins(archive: Path) -> None:
    assert len(open_rows(archive, key="x_train")) == 2
    rows = open_rows(archive, key="x_train+x_test")
    assert rows.image_shape == (3, 4)
    assert rows.values.dtype == np.uint8
    assert_array_equal(rows.values, np.r_[0:24, 0:12].reshape(3, 12))
    assert rows.source == "x_train+x_test of digits.npz"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (None, "holds the arrays x_train, y_train, x_test: choose with key"),
        ("z", "holds no array 'z': it holds x_train, y_train, x_test"),
        ("x_train+z", "holds no array 'z'"),
        ("x_train+y_train", r"have shapes \(2, 3, 4\), \(2,\): only arrays of rows"),
        ("y_train", "Expected 2D array, got 1D array"),
    ],
)
def test_npz_keys_that_do_not_work(archive: Path, key: str | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        open_rows(archive, key=key)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    X = np.array([[{}]], dtype=object)
    np.save(tmp_path / "a.npy", X, allow_pickle=True)
    np.savez(tmp_path / "a.npz", x=X)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(ValueError, match=f"{name} cannot be read.*never unpickled"):
            open_rows(tmp_path / name)


def test_damaged_arrays_are_named(tmp_path: Path, archive: Path) -> None:
    content = archive.read_bytes()
    np.save(tmp_path / "whole.npy", np.ones((50, 50)))
    damaged = {
        "empty.npy": b"",
        "text.npy": b"no array at all",
        "short.npy": (tmp_path / "whole.npy").read_bytes()[:500],
        "short.npz": content[:200],
        "bent.npz": content[:60] + b"\0" * 8 + content[68:],
        "npz.npy": content,
    }
    for name, data in damaged.items():
        (tmp_path / name).write_bytes(data)
        key = "x_train" if name.endswith("npz") else None
        with pytest.raises(ValueError, match=name):
            open_rows(tmp_path / name, key=key)
    np.savez(tmp_path / "none.npz")
    with pytest.raises(ValueError, match=r"none\.npz holds no arrays"):
        open_rows(tmp_path / "none.npz")


@pytest.mark.parametrize("form", ["csr_matrix", "csc_array", "coo_array", "bsr_array"])
def test_npz_of_a_sparse_matrix(form: str, tmp_path: Path) -> None:
    dense = np.random.default_rng(0).poisson(0.3, size=(6, 4))
    sparse.save_npz(tmp_path / "counts.npz", getattr(sparse, form)(dense))
    rows = open_rows(tmp_path / "counts.npz")
    np.testing.assert_array_equal(rows.values, dense)
    assert rows.was_sparse
    assert rows.source == "counts.npz"


def test_damaged_sparse_matrices_are_named(tmp_path: Path) -> None:
    whole = sparse.csr_array(np.eye(4))
    parts = {"data": whole.data, "indices": whole.indices, "indptr": whole.indptr}
    for name, changed in {
        "short.npz": {"indptr": whole.indptr[:2]},
        "unknown.npz": {"format": np.array("lists")},
    }.items():
        written = {**parts, "format": np.array("csr"), "shape": np.array([4, 4]), **changed}
        np.savez(tmp_path / name, **written)
        with pytest.raises(ValueError, match=f"{name} cannot be read as a sparse matrix"):
            open_rows(tmp_path / name)


def test_paths_that_hold_nothing_known(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file or folder .*absent\.npy"):
        open_rows(tmp_path / "absent.npy")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"notes\.txt is of no known kind: expected \.npy"):
        open_rows(tmp_path / "notes.txt")
    with pytest.raises(ValueError, match="holds no data that is understood: expected"):
        open_rows(tmp_path)
