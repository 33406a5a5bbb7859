"""Rows from .csv and .parquet files, and from folders of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal
from pyarrow import parquet

from deepmixture.data import open_rows

COLUMNS = {"age": [30, 41, 52], "height": [1.5, 1.75, 2.0], "member": [True, False, True]}
VALUES = [[30, 1.5, 1], [41, 1.75, 0], [52, 2.0, 1]]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".CSV"])
def test_table_files(tmp_path: Path, suffix: str) -> None:
    frame = pd.DataFrame(COLUMNS)
    path = tmp_path / f"people{suffix}"
    frame.to_parquet(path) if suffix == ".parquet" else frame.to_csv(path, index=False)
    for location in (path, str(path)):
        rows = open_rows(location)
        assert_array_equal(rows.values, VALUES)
        assert rows.names == ("age", "height", "member")
        assert rows.source == path.name
        assert rows.is_frame


def test_a_folder_of_tables_is_one_table_in_order_of_name(tmp_path: Path) -> None:
    (tmp_path / "part-1.csv").write_text("a,b\n3,4\n")
    (tmp_path / "part-0.csv").write_text("a,b\n1,\n")
    (tmp_path / "_SUCCESS").write_text("")
    rows = open_rows(tmp_path)
    assert_array_equal(rows.values, [[1, np.nan], [3, 4]])
    assert rows.source == f"2 .csv files of {tmp_path.name}"
    (tmp_path / "part-2.csv").write_text("a,c\n3,4\n")
    with pytest.raises(ValueError, match=r"part-2.csv has columns a, c; part-0.csv has a, b"):
        open_rows(tmp_path)


def test_a_folder_of_parquet_and_of_both(tmp_path: Path) -> None:
    for part in range(2):
        parquet.write_table(
            pa.table({"a": [part], "b": [part + 0.5]}), tmp_path / f"{part}.parquet"
        )
    assert_array_equal(open_rows(tmp_path).values, [[0, 0.5], [1, 1.5]])
    (tmp_path / "more.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"holds \.csv and \.parquet files"):
        open_rows(tmp_path)


@pytest.mark.parametrize(
    ("text", "values", "names"),
    [
        ("1,2\n3,4\n", [[1, 2], [3, 4]], None),
        ("0,1\n3,4\n", [[3, 4]], ("0", "1")),
        ("a;b\n3;4\n", [[3, 4]], ("a", "b")),
        ("a\tb\n3\t4\n", [[3, 4]], ("a", "b")),
        ("\ufeffa,b\n3,4\n", [[3, 4]], ("a", "b")),
        (",a,b\n0,3,4\n1,5,6\n", [[3, 4], [5, 6]], ("a", "b")),
    ],
)
def test_headers_and_delimiters(
    tmp_path: Path, text: str, values: list[list[int]], names: tuple[str, ...] | None
) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    rows = open_rows(path)
    assert_array_equal(rows.values, values)
    assert rows.names == names
    assert ("taken for row numbers" in rows.source) == text.startswith(",")


def test_the_saved_index_of_a_frame_is_no_column(tmp_path: Path) -> None:
    path = tmp_path / "indexed.parquet"
    pd.DataFrame({"a": [1, 2]}, index=[10, 20]).to_parquet(path)
    rows = open_rows(path)
    assert rows.names == ("a",)
    assert_array_equal(rows.values, [[1], [2]])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", r"a\.csv is empty"),
        ("a.csv", b"x,y\n", r"0 sample\(s\)"),
        ("a.csv", b"x,y\n1,2\n3\n", r"a\.csv cannot be read as csv: .*Expected 2 columns"),
        ("a.csv", b"x,y\n1,b\n", r"not numeric: 'y' \(String\)"),
        ("a.csv", b"x,\xff\n1,2\n", r"a\.csv cannot be read as csv"),
        ("a.parquet", b"PAR1 and then nothing", r"a\.parquet cannot be read as parquet"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        open_rows(path)
