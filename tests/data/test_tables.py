"""Rows from data frames."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal

from deepmixture.data import open_rows

COLUMNS = {"age": [30, 41, 52], "height": [1.5, 1.75, 2.0], "member": [True, False, True]}
VALUES = [[30, 1.5, 1], [41, 1.75, 0], [52, 2.0, 1]]


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, pl.LazyFrame, pa.table])
def test_frames_of_every_library(frame: Any) -> None:
    rows = open_rows(frame(COLUMNS))
    assert_array_equal(rows.values, VALUES)
    assert rows.names == ("age", "height", "member")
    assert rows.is_frame


def test_one_dtype_is_kept() -> None:
    for dtype in (np.uint8, np.int64, np.float32):
        frame = pd.DataFrame(np.ones((3, 2), dtype), columns=["a", "b"])
        rows = open_rows(frame)
        assert rows.values.dtype == dtype
        assert np.shares_memory(rows.values, frame.to_numpy())
        assert open_rows(pl.from_pandas(frame)).values.dtype == dtype
    assert open_rows(pd.DataFrame({"a": [True, False]})).values.dtype == np.uint8


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": pd.array([1, None], "Int64"), "b": [1.5, None]}),
        pd.DataFrame({"a": pd.array([1, None], "Int64"), "b": pd.array([1.5, None], "Float64")}),
        pl.DataFrame({"a": [1, None], "b": [1.5, None]}),
        pa.table({"a": [1, None], "b": [1.5, None]}),
    ],
)
def test_missing_values_are_nan(frame: Any) -> None:
    assert_array_equal(open_rows(frame).values, [[1, 1.5], [np.nan, np.nan]])


def test_nullable_columns_of_one_dtype() -> None:
    whole = pd.DataFrame({"a": pd.array([1, 2], "Int64"), "b": pd.array([3, 4], "Int64")})
    assert_array_equal(open_rows(whole).values, [[1, 3], [2, 4]])
    flags = pl.DataFrame({"a": [True, None], "b": [False, True]})
    assert_array_equal(open_rows(flags).values, [[1, 0], [np.nan, 1]])
    empty = pl.DataFrame({"a": [1.0, 2.0], "b": [None, None]})
    assert_array_equal(open_rows(empty).values, [[1, np.nan], [2, np.nan]])


def test_names_that_are_not_strings_are_no_names() -> None:
    rows = open_rows(pd.DataFrame([[1, 2], [3, 4]]))
    assert rows.names is None
    assert_array_equal(rows.values, [[1, 2], [3, 4]])


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, pa.table])
def test_columns_that_are_not_numeric_are_named(frame: Any) -> None:
    with pytest.raises(
        ValueError, match=r"columns that are not numeric: 'city' \(String\)\. Drop"
    ):
        open_rows(frame({"a": [1, 2], "city": ["Bern", "Rome"]}))


def test_many_wrong_columns_are_counted() -> None:
    with pytest.raises(ValueError, match=r"'e' \(String\) and 2 more"):
        open_rows(pl.DataFrame({name: ["x"] for name in "abcdefg"}))


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="columns of the same name"):
        open_rows(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_frames_without_rows_or_columns() -> None:
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        open_rows(pl.DataFrame({"a": []}))
    with pytest.raises(ValueError, match=r"0 feature\(s\)"):
        open_rows(pd.DataFrame(index=range(3)))
