"""Data frames as arrays, and the table files that hold them."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
from narwhals.exceptions import DuplicateError

from deepmixture.data import vectors
from deepmixture.data.messages import listed

SUFFIXES = (".csv", ".parquet")


def is_frame(data: object) -> bool:
    """Tell a data frame of any library from anything else."""
    try:
        return isinstance(nw.from_native(data, pass_through=True), nw.DataFrame | nw.LazyFrame)
    except DuplicateError:  # a frame, and `from_frame` says what is wrong with it
        return True


def library(frame: object) -> str:
    """Return the name of the library a frame is of, such as "pandas"."""
    return type(frame).__module__.split(".")[0]


def from_frame(native: Any) -> tuple[np.ndarray, tuple[str, ...] | None]:  # noqa: ANN401
    """Return a frame's numbers and its column names, or None where some are not strings.

    Missing values become NaN. A frame whose only column holds vectors has these for rows.
    """
    try:
        frame: Any = nw.from_native(native)
        frame = frame.collect() if isinstance(frame, nw.LazyFrame) else frame
        columns = dict(zip(frame.columns, frame.iter_columns(), strict=True))
    except DuplicateError as error:
        raise ValueError(f"X has columns of the same name. {error}") from None
    names = tuple(columns) if all(isinstance(name, str) for name in columns) else None
    if not columns or not len(frame):
        return np.empty((len(frame), len(columns))), names
    of_vectors = [name for name in columns if vectors.is_column_of_vectors(columns[name])]
    if of_vectors and len(columns) == 1:
        column = columns[of_vectors[0]]
        return vectors.stacked(np.asarray(column.to_numpy()), f"column {of_vectors[0]!r}"), None
    if of_vectors:
        raise ValueError(
            f"X has a column of vectors, {of_vectors[0]!r}, beside other columns: expected it "
            f"alone; of a Parquet file choose it with key={of_vectors[0]!r}"
        )
    wrong = [f"'{name}' ({column.dtype})" for name, column in columns.items() if _is_text(column)]
    if wrong:
        raise ValueError(
            f"X has columns that are not numeric: {listed(wrong)}. "
            "Drop them or encode them as numbers"
        )
    if len({column.dtype for column in columns.values()}) == 1:
        # One dtype may be one block, which some libraries hand out without a copy.
        values = np.asarray(frame.to_numpy())
        if values.dtype.kind in "iuf":
            return values, names
    numbers = [_as_numbers(column) for column in columns.values()]
    values = np.empty((len(frame), len(columns)), np.result_type(*numbers))
    for index, column in enumerate(numbers):
        values[:, index] = column
    return values, names


def _is_text(column: Any) -> bool:  # noqa: ANN401
    """Tell columns that hold no numbers; one that holds nothing at all is all missing."""
    numeric = column.dtype.is_numeric() or column.dtype == nw.Boolean
    return not numeric and column.null_count() < len(column)


def _as_numbers(column: Any) -> np.ndarray:  # noqa: ANN401
    n_missing = column.null_count()
    if n_missing == len(column):
        return np.full(len(column), np.nan, np.float32)
    if column.dtype == nw.Boolean and not n_missing:
        column = column.cast(nw.UInt8)
    elif not column.dtype.is_float() and (n_missing or not column.dtype.is_integer()):
        column = column.cast(nw.Float64)
    return np.asarray(column.to_numpy())


def read_tables(
    paths: Sequence[Path], key: str | None = None
) -> tuple[np.ndarray, tuple[str, ...] | None, str]:
    """Read .csv or .parquet files of the same columns, or the column `key`, one below the other.

    Returns their numbers, their column names if they have a header, and a remark or "".
    """
    import pyarrow as pa

    parts: list[Any] = []
    for path in paths:
        try:
            parts.append(
                _read_csv(path) if path.suffix.lower() == ".csv" else _read_parquet(path, key)
            )
        except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{path} cannot be read as {path.suffix[1:]}: {error}") from error
        names, first_names = parts[-1].column_names, parts[0].column_names
        if names != first_names:
            raise ValueError(
                f"{path.name} has columns {listed(names)}; {paths[0].name} has "
                f"{listed(first_names)}: expected the same columns in the same order"
            )
    try:
        table = pa.concat_tables(parts, promote_options="permissive")
    except pa.ArrowException as error:
        raise ValueError(f"the columns in {paths[0].parent} differ in type: {error}") from error
    remarks = parts[0].schema.metadata or {}
    values, column_names = from_frame(table)
    has_header = b"no header" not in remarks
    return values, column_names if has_header else None, remarks.get(b"remark", b"").decode()


def _read_csv(path: Path) -> Any:  # noqa: ANN401
    from pyarrow import csv as arrow_csv

    with path.open(newline="", encoding="utf-8-sig") as lines:
        first_line = lines.readline()
    delimiter = max(",;\t", key=first_line.count)
    header = next(csv.reader([first_line], delimiter=delimiter), [])
    numbered = header == [str(index) for index in range(len(header))]
    # A first line of numbers is a row, except for 0, 1, 2, ..., which frames write as names.
    has_header = numbered or not all(map(_is_number, header))
    table = arrow_csv.read_csv(
        path,
        read_options=arrow_csv.ReadOptions(autogenerate_column_names=not has_header),
        parse_options=arrow_csv.ParseOptions(delimiter=delimiter),
    )
    if not has_header:
        return table.replace_schema_metadata({"no header": ""})
    if header and not header[0]:
        remark = "without its unnamed first column, taken for row numbers"
        return table.remove_column(0).replace_schema_metadata({"remark": remark})
    return table


def _read_parquet(path: Path, key: str | None) -> Any:  # noqa: ANN401
    from pyarrow import parquet

    table = parquet.read_table(path, columns=[key] if key else None, partitioning=None)
    index = (table.schema.pandas_metadata or {}).get("index_columns", [])
    table = table.drop_columns([name for name in index if name in table.column_names])
    return table.replace_schema_metadata()


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
