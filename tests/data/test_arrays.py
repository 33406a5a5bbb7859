"""Rows from arrays, lists and sparse matrices."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse

from deepmixture.data import open_rows, scratch, streams

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float32, np.float64])
def test_an_array_keeps_its_dtype_and_is_not_copied(dtype: type) -> None:
    X: np.ndarray = RANDOM.integers(0, 9, size=(5, 3)).astype(dtype)
    rows = open_rows(X)
    assert rows.values.dtype == dtype
    assert np.shares_memory(rows.values, X)
    assert (len(rows), rows.n_features, rows.image_shape) == (5, 3, None)


def test_booleans_are_bytes() -> None:
    rows = open_rows(np.array([[True, False], [False, True]]))
    assert rows.values.dtype == np.uint8
    assert_array_equal(rows.values, [[1, 0], [0, 1]])


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (slice(1, 3), [1, 2]),
        ([3, 0], [3, 0]),
        (np.array([True, False, False, True]), [0, 3]),
        (2, [2]),
    ],
)
def test_batches_are_float32_copies(index: Any, expected: list[int]) -> None:
    X = RANDOM.normal(size=(4, 3)).astype(np.float32)
    before = X.copy()
    batch = open_rows(X)[index]
    assert batch.dtype == np.float32
    assert_array_equal(batch, X[expected])
    batch[:] = 0
    assert_array_equal(X, before)


@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 5, 6, 3), (4, 5, 6, 1)])
def test_images_are_laid_flat_and_keep_their_shape(shape: tuple[int, ...]) -> None:
    X = RANDOM.integers(0, 255, size=shape, dtype=np.uint8)
    rows = open_rows(X)
    assert rows.image_shape == shape[1:]
    assert np.shares_memory(rows.values, X)
    assert_array_equal(rows.values.reshape(shape), X)


def test_lists_and_rows_come_in() -> None:
    rows = open_rows([[1, 2], [3, 4]])
    assert_array_equal(rows.values, [[1, 2], [3, 4]])
    assert open_rows(rows) is rows


def test_missing_and_masked_values_are_nan() -> None:
    X = np.array([[1.0, np.nan], [3.0, 4.0]])
    assert_array_equal(open_rows(X).values, X)
    masked = np.ma.masked_equal(np.array([[1, 2], [3, 4]]), 3)
    assert_array_equal(open_rows(masked).values, [[1, 2], [np.nan, 4]])


@pytest.mark.parametrize("form", ["csr_matrix", "csc_array", "coo_array"])
def test_sparse_is_made_dense_and_says_so(form: str) -> None:
    dense = RANDOM.poisson(0.3, size=(6, 4))
    rows = open_rows(getattr(sparse, form)(dense))
    assert_array_equal(rows.values, dense)
    assert rows.was_sparse
    assert "made dense" in rows.source


def test_large_sparse_rows_lie_in_a_scratch_file(monkeypatch: pytest.MonkeyPatch) -> None:
    dense = RANDOM.poisson(0.3, size=(60, 40))
    monkeypatch.setattr(streams, "MOST_AT_ONCE", 1000)
    monkeypatch.setattr(streams, "BLOCK_BYTES", 8 * 40 * 7)  # seven rows
    assert not isinstance(open_rows(sparse.csr_array(dense)).values, np.memmap)
    monkeypatch.setattr(scratch, "HELD_BYTES", 1000)
    for matrix in (sparse.csr_array(dense), sparse.csc_matrix(dense)):
        rows = open_rows(matrix)
        assert isinstance(rows.values, np.memmap)
        assert rows.values.dtype == np.float32
        assert_array_equal(rows.values, dense)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (np.ones(3), ValueError, "Expected 2D array, got 1D array instead"),
        (np.ones(3), ValueError, "Reshape your data"),
        (3, ValueError, "Expected 2D array, got scalar array instead"),
        (np.ones((0, 3)), ValueError, r"Found array with 0 sample\(s\)"),
        (np.ones((0, 3, 3)), ValueError, r"Found array with 0 sample\(s\)"),
        (np.ones((3, 0)), ValueError, r"0 feature\(s\) \(shape=\(3, 0\)\) while a minimum of 1"),
        (np.ones((3, 2), complex), ValueError, "Complex data not supported"),
        ([["a", "b"]], ValueError, "not compatible with arrays of bytes/strings"),
        (np.array([[{}]], object), TypeError, "must be a string or a real number"),
        (np.ones((2, 2), "M8[s]"), ValueError, r"dtype datetime64\[s\]: expected numbers"),
        ([[1, 2], [3]], ValueError, "rows of different lengths"),
        (np.ones((2, 2, 2, 2, 2)), ValueError, r"shape \(2, 2, 2, 2, 2\): expected rows"),
        (np.ones((9, 3, 8, 8)), ValueError, r"channels first.*numpy.moveaxis\(X, 1, -1\)"),
    ],
)
def test_bad_input_gets_a_clear_sentence(data: object, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        open_rows(data)


def test_a_key_is_for_npz_files() -> None:
    with pytest.raises(ValueError, match=r"key='x' names an array in a .npz file"):
        open_rows(np.ones((2, 2)), key="x")
