"""The kind of the rows, and the refusal of what cannot be learned from."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.preprocessing import StandardScaler

from deepmixture.data import as_images, check_finite, decide_kind, open_rows

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (np.ones((2, 5, 6), np.float32), "image", "5 x 6"),
        (np.ones((2, 64), np.uint8), "image", "8 x 8 pixels"),
        (np.ones((2, 49), np.uint8), "table", "49 columns"),
        (np.ones((2, 65), np.uint8), "embedding", "65 columns"),
        (np.ones((2, 64)), "embedding", "64 columns"),
        (np.ones((2, 63)), "table", "fewer than 64"),
        (pd.DataFrame(np.ones((2, 100), np.uint8)).add_prefix("c"), "table", "data frame"),
        (sparse.csr_array(np.eye(3)), "counts", "whole numbers"),
        (sparse.csr_array(np.eye(64, dtype=np.uint8)), "counts", "whole numbers"),
        (sparse.csr_array(-np.eye(3)), "table", "3 columns"),
        (sparse.csr_array(np.eye(70) / 2), "embedding", "70 columns"),
    ],
)
def test_the_kind_and_why(data: object, kind: str, words: str) -> None:
    decided, why = decide_kind(open_rows(data))
    assert decided == kind
    assert words in why


def frame_of(values: np.ndarray, *words: str) -> pd.DataFrame:
    """A frame whose columns are called by numbers, after each of the words in turn."""
    columns = [f"{words[k % len(words)]}{k}" for k in range(values.shape[1])]
    return pd.DataFrame(values, columns=columns)


COUNTS = RANDOM.negative_binomial(0.1, 0.01, size=(20, 81))
BYTES = np.clip(RANDOM.normal(20.0, 60.0, size=(200, 81)), 0, 255).round()
MARKS = np.eye(4)[RANDOM.integers(4, size=(20, 20))].reshape(20, 80)
FEATURES = RANDOM.normal(size=(20, 81))
PIXELS = np.minimum(RANDOM.normal(size=(200, 9, 9)).cumsum(1).cumsum(2).round() ** 2, 255)

STANDARDISED = StandardScaler().fit_transform(PIXELS.reshape(200, 81))


@pytest.mark.parametrize(
    ("frame", "kind", "words"),
    [
        (frame_of(FEATURES, "feature_"), "embedding", "without names"),
        (frame_of(FEATURES, ""), "embedding", "without names"),
        (frame_of(BYTES, "feature_"), "embedding", "0 and none below"),
        (frame_of(FEATURES, "age ", "height "), "table", "names of their own"),
        (frame_of(FEATURES[:9], "feature_"), "table", "names of their own"),
        (frame_of(FEATURES[:, :40], "feature_"), "table", "data frame of 40 columns"),
        (frame_of(COUNTS, "gene ", "x"), "counts", "whole numbers"),
        (frame_of(np.column_stack([MARKS, COUNTS[:, :9]]), "is ", "x"), "table", "names of their"),
        (frame_of(RANDOM.integers(0, 5, (20, 81)), "question "), "table", "answers"),
        (frame_of(np.column_stack([MARKS, MARKS[:, :1] * 0]), "bit "), "embedding", "without"),
        (frame_of(PIXELS.reshape(200, 81), "pixel"), "image", "9 x 9 pixels"),
        (frame_of(PIXELS.reshape(200, 81) / 127.5 - 1.0, ""), "image", "9 x 9 pixels"),
        (frame_of(STANDARDISED, ""), "embedding", "without names"),
    ],
)
def test_a_wide_frame_is_told_by_its_values_and_names(
    frame: pd.DataFrame, kind: str, words: str
) -> None:
    decided, why = decide_kind(open_rows(frame))
    assert decided == kind
    assert words in why


def test_images_come_back_in_shape() -> None:
    X = RANDOM.integers(0, 255, size=(3, 5, 6, 3), dtype=np.uint8)
    images = as_images(open_rows(X))
    assert_array_equal(images, X)
    assert np.shares_memory(images, X)


def test_flat_rows_are_taken_for_squares() -> None:
    X = RANDOM.normal(size=(3, 64))
    assert_array_equal(as_images(open_rows(X)), X.reshape(3, 8, 8))
    with pytest.raises(ValueError, match="rows of 65 numbers, which make no square image"):
        as_images(open_rows(np.ones((3, 65))))


def test_nan_and_infinity_are_counted_by_column() -> None:
    X = np.zeros((4, 3))
    X[0, 0] = X[1, 0] = np.nan
    X[2, 2], X[3, 2], X[0, 2] = np.inf, -np.inf, np.nan
    frame = pd.DataFrame(X, columns=["age", "height", "weight"])
    with pytest.raises(ValueError, match=r"'age' \(2 NaN\), 'weight' \(1 NaN and 2 infinite\)"):
        check_finite(open_rows(frame))
    with pytest.raises(ValueError, match=r"column 0 \(2 NaN\), column 2"):
        check_finite(open_rows(X))


def test_many_columns_are_counted_and_late_rows_seen() -> None:
    X = np.zeros((30_000, 50), np.float32)
    X[29_999, :12] = np.inf
    with pytest.raises(ValueError, match=r"column 4 \(1 infinite\) and 7 more\. Drop"):
        check_finite(open_rows(X))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_finite_values_pass(dtype: type) -> None:
    check_finite(open_rows(np.ones((3, 2), dtype)))
