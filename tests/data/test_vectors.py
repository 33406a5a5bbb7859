"""Rows from columns whose entries are vectors."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal
from pyarrow import parquet

from deepmixture.data import decide_kind, open_rows, streams

VECTORS = np.random.default_rng(0).normal(size=(30, 70)).astype(np.float32)
ARROW = pa.FixedSizeListArray.from_arrays(pa.array(VECTORS.ravel()), 70)


@pytest.mark.parametrize(
    "data",
    [
        pd.DataFrame({"e": list(VECTORS)}),
        pd.DataFrame({"e": VECTORS.tolist()}),
        pd.DataFrame({"e": list(VECTORS)})["e"],
        pl.DataFrame({"e": VECTORS}),
        pl.DataFrame({"e": VECTORS.tolist()}, schema={"e": pl.List(pl.Float32)}),
        pa.table({"e": ARROW}),
        pa.table({"e": ARROW.cast(pa.list_(pa.float32()))}),
        pd.DataFrame({"e": list(VECTORS)})["e"].to_numpy(),
    ],
    ids=["arrays", "lists", "series", "polars", "polars lists", "arrow", "arrow lists", "objects"],
)
def test_a_column_of_vectors_is_an_embedding(data: Any) -> None:
    rows = open_rows(data)
    assert_array_equal(rows.values, VECTORS)
    assert decide_kind(rows)[0] == "embedding"


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        ([[1.0, 2.0], [3.0]], "column 'e' has vectors of 2 lengths, from 1 to 2"),
        ([[1.0, 2.0], None], "column 'e' lacks 1 of 2 vectors"),
        ([["a", "b"], ["c", "d"]], "column 'e' does not hold vectors of numbers"),
    ],
)
def test_vectors_that_make_no_rows(vectors: list[Any], words: str) -> None:
    for frame in (pd.DataFrame({"e": vectors}), pa.table({"e": vectors})):
        with pytest.raises(ValueError, match=words):
            open_rows(frame)


def test_vectors_beside_other_columns_are_chosen_by_key(tmp_path: Path) -> None:
    table = pa.table({"id": range(30), "text": ["words"] * 30, "e": ARROW})
    with pytest.raises(ValueError, match="column of vectors, 'e', beside other columns"):
        open_rows(table)
    for part in range(2):
        parquet.write_table(table, tmp_path / f"{part}.parquet")
    for location, times in ((tmp_path / "0.parquet", 1), (tmp_path, 2)):
        with pytest.raises(ValueError, match="choose it with key='e'"):
            open_rows(location)
        rows = open_rows(location, key="e")
        assert_array_equal(rows.values, np.tile(VECTORS, (times, 1)))
        assert rows.source.startswith("e of ")
        with pytest.raises(ValueError, match="holds no column 'x': it holds id, text, e"):
            open_rows(location, key="x")


def test_many_vectors_are_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_AT_ONCE", 1000)
    monkeypatch.setattr(streams, "BLOCK_BYTES", 8 * 70 * 7)  # seven rows
    parquet.write_table(pa.table({"id": range(30), "e": ARROW}), tmp_path / "a.parquet")
    rows = open_rows(tmp_path / "a.parquet", key="e")
    assert isinstance(rows.values, np.memmap)
    assert_array_equal(rows.values, VECTORS)
    assert not rows.is_frame
    lists = [list(range(5))] * 10 + [list(range(6))] * 10
    parquet.write_table(pa.table({"e": lists}), tmp_path / "uneven.parquet")
    monkeypatch.setattr(streams, "MOST_AT_ONCE", 10)
    for rows_a_block, words in ((20, "vectors of 2 lengths"), (10, "has vectors of 6 numbers")):
        monkeypatch.setattr(streams, "BLOCK_BYTES", 8 * 5 * rows_a_block)
        with pytest.raises(ValueError, match=words):
            open_rows(tmp_path / "uneven.parquet")
