"""The folder a run leaves behind, and the tables beside it: written whole or not at all.

======================  ==========================================================
`labels.parquet`        one line a row of the data: label, probabilities, density
`history.parquet`       one line an epoch: the loss and its terms
`run.json`              settings, versions, seed, timings, source and decisions
`model/`                the fitted estimator, for `deepmixture.load`
`report.html`           the pictures
`log/`                  the same as it came, and what other loggers wrote
`checkpoint/`           of a fit that is not finished: how far it has come, and its log
======================  ==========================================================
"""

from __future__ import annotations

import glob
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepmixture.data import scratch
from deepmixture.data.rows import row_slices
from deepmixture.outputs import check_writable, free_name, hidden_sibling, new_file

if TYPE_CHECKING:
    import pyarrow as pa

LABELS = "labels.parquet"
HISTORY = "history.parquet"
ABOUT = "run.json"
MODEL = "model"
REPORT = "report.html"
LOG = "log"
CHECKPOINT = "checkpoint"
OLD = "old"

FORMAT = "deepmixture run"
FORMAT_VERSION = 1

ROWS_A_PART = 200_000
TABLE_SUFFIXES = (".parquet", ".csv")
_OURS = frozenset({LABELS, HISTORY, ABOUT, MODEL, REPORT, ".DS_Store"})
_LOGGERS = frozenset({"csv", "tensorboard", "mlflow"})


@dataclass(frozen=True)
class Assignments:
    """What a model says of each row.

    Attributes
    ----------
    labels : array of shape (N,)
    responsibilities : array of shape (N, K)
        Of many rows mapped from a scratch file.
    log_density : array of shape (N,), or None
        A lower bound on log p(x), of a model that has one.
    """

    labels: np.ndarray
    responsibilities: np.ndarray
    log_density: np.ndarray | None = None

    def parts(self) -> Iterator[slice]:
        """Cut the rows into parts that fit in memory."""
        n_clusters = self.responsibilities.shape[1]
        return row_slices(self.responsibilities, ROWS_A_PART * n_clusters)

    def part(self, rows: np.ndarray) -> Assignments:
        """Return what is said of some rows, given by their numbers."""
        density = None if self.log_density is None else self.log_density[rows]
        return Assignments(self.labels[rows], np.array(self.responsibilities[rows]), density)

    def probability(self) -> np.ndarray:
        """Return the probability of each row's own cluster, shape (N,)."""
        found = np.empty(len(self.labels))
        for part in self.parts():
            found[part] = _own(self.responsibilities[part], self.labels[part])
        return found

    def columns(self, row_names: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Columns of `labels.parquet`, part by part; rows that have a name get one for it."""
        for part in self.parts():
            labels, responsibilities = self.labels[part], self.responsibilities[part]
            columns: dict[str, Any] = {"row": np.arange(part.start, part.start + len(labels))}
            if row_names is not None:
                columns["name"] = list(row_names[part])
            columns["label"] = labels
            columns["probability"] = _own(responsibilities, labels)
            for k, column in enumerate(responsibilities.T):
                columns[f"responsibility_{k}"] = column
            if self.log_density is not None:
                columns["log_density"] = self.log_density[part]
            yield columns


def _own(responsibilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the probability of each row's own cluster, shape (n,)."""
    return np.take_along_axis(responsibilities, labels[:, None], axis=1)[:, 0]


def check_new_folder(path: Path, *, overwrite: bool = False) -> None:
    """Raise now what `write_folder` would raise after hours of training.

    Raises
    ------
    ValueError
        If the folder is already used and may not be replaced.
    OSError
        If it cannot be written.
    """
    target = path.resolve()
    if target == Path.cwd().resolve():
        raise ValueError(f"the output folder {path} is the current folder; name a new one inside")
    if path.is_symlink() or target.exists():
        if not target.is_dir():
            raise ValueError(f"the output folder {path} is an existing file; choose another name")
        if any(target.iterdir()):
            _check_replaceable(path, overwrite=overwrite)
    check_writable(target, path)


def is_finished(run: Path) -> bool:
    """Whether a fit has written its run to the folder and nothing is left to go on with."""
    return (run / ABOUT).is_file() and not (run / CHECKPOINT).exists()


def recover(run: Path) -> None:
    """Put a folder back that a kill caught between its two names."""
    target = run.resolve()
    left = list(target.parent.glob(f".{glob.escape(target.name)}.*.{OLD}"))
    if left and not target.exists():
        left[0].replace(target)


def forget_checkpoint(run: Path) -> None:
    """Remove the checkpoints of a fit, and its folder if it holds nothing else."""
    shutil.rmtree(run / CHECKPOINT, ignore_errors=True)
    with suppress(OSError):  # never with what is in it
        run.rmdir()


def write_folder(path: Path, fill: Callable[[Path], None], *, overwrite: bool = False) -> Path:
    """Have `fill` write into a hidden folder beside `path`, then rename it to `path`.

    On an error the hidden folder is removed and what stood at `path` stays. If somebody else used
    `path` meanwhile, the folder gets a number instead of being lost.

    Returns
    -------
    Path
        Where the folder is.
    """
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    hidden = hidden_sibling(target)
    hidden.mkdir()
    try:
        fill(hidden)
        try:
            _publish(hidden, target, overwrite=overwrite)
        except (ValueError, OSError):
            path = free_name(path)
            hidden.replace(path)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise
    return path


def write_table(path: Path, parts: Iterable[Mapping[str, Any]]) -> None:
    """Write columns, given in parts one below the other, to a `.parquet` or `.csv` file."""
    import pyarrow as pa

    with new_file(path) as hidden, ExitStack() as opened:
        writer: Any = None
        for columns in parts:
            table = pa.table(dict(columns))
            if writer is None:
                writer = opened.enter_context(_table_writer(path, hidden, table.schema))
            writer.write_table(table)


def _table_writer(path: Path, hidden: Path, schema: pa.Schema) -> Any:  # noqa: ANN401
    if path.suffix.lower() == ".csv":
        from pyarrow import csv

        return csv.CSVWriter(hidden, schema)
    from pyarrow import parquet

    return parquet.ParquetWriter(hidden, schema)


def write_history(path: Path, history: Sequence[Mapping[str, object]]) -> None:
    """Write the records of the epochs; a term that a stage does not have is empty there."""
    names = list(dict.fromkeys(name for record in history for name in record))
    write_table(path, [{name: [record.get(name) for record in history] for name in names}])


def write_about(path: Path, about: Mapping[str, object]) -> None:
    """Write `run.json`."""
    text = json.dumps(
        {"format": FORMAT, "format_version": FORMAT_VERSION, **about}, indent=2, default=_jsonable
    )
    with new_file(path) as hidden:
        hidden.write_text(text + "\n", encoding="utf-8")


def read_about(run: Path) -> dict[str, Any]:
    """Read `run.json`.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If the folder is not a run, or its `run.json` is damaged or of a newer format.
    """
    if not run.exists():
        raise FileNotFoundError(f"there is no run {run}")
    path = run / ABOUT
    if not path.is_file():
        raise ValueError(f"{run} is not the folder of a run: it holds no {ABOUT}")
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError(
            f"{run} is not the folder of a run: {ABOUT} was written by another program"
        )
    if about.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{run} has format {about.get('format_version')}; this version of deepmixture reads "
            f"format {FORMAT_VERSION}: update deepmixture"
        )
    return about


def read_history(run: Path) -> list[dict[str, Any]]:
    """Read the records of the epochs; terms that a stage does not have are left out."""
    records = read_table(run / HISTORY).to_pylist()
    return [{k: v for k, v in record.items() if v is not None} for record in records]


def read_assignments(run: Path) -> Assignments:
    """Read `labels.parquet`, the responsibilities part by part."""
    from pyarrow import parquet

    path = run / LABELS
    with _readable(path):
        file = parquet.ParquetFile(path)
    with file:
        there = file.schema_arrow.names
        n_clusters = sum(name.startswith("responsibility_") for name in there)
        if "label" not in there or not n_clusters:
            missing = "responsibility_0" if "label" in there else "label"
            message = f"{path} was not written by deepmixture: it lacks the column {missing}"
            raise ValueError(message)
        names = [f"responsibility_{k}" for k in range(n_clusters)]

        def responsibilities() -> Iterator[np.ndarray]:
            with _readable(path):
                for batch in file.iter_batches(ROWS_A_PART, columns=names):
                    yield np.column_stack(batch.columns)

        held = scratch.hold(responsibilities(), file.metadata.num_rows, n_clusters, np.float64)
        with _readable(path):
            rest = file.read(["label", *({"log_density"} & set(there))])
    density = rest["log_density"].to_numpy() if "log_density" in there else None
    return Assignments(rest["label"].to_numpy(), held, density)


def read_table(path: Path) -> pa.Table:
    """Read a `.parquet` or `.csv` file."""
    with _readable(path):
        if path.suffix.lower() == ".csv":
            from pyarrow import csv

            return csv.read_csv(path)
        from pyarrow import parquet

        return parquet.read_table(path, partitioning=None)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say of a file that is being read that it is not there, or damaged."""
    import pyarrow as pa

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read: it is damaged or of another kind") from error


def _check_replaceable(path: Path, *, overwrite: bool) -> None:
    if _is_unfinished(path):
        if not overwrite:
            raise ValueError(
                f"the output folder {path} holds a fit that is not finished; go on with it by "
                f"--resume {path}, choose another name, or begin anew with --overwrite"
            )
        return
    try:
        read_about(path)
    except ValueError:
        raise ValueError(
            f"the output folder {path} is not empty and not a deepmixture run; choose another name"
        ) from None
    if not overwrite:
        raise ValueError(
            f"the output folder {path} holds an earlier run; choose another name, "
            "or replace it with --overwrite"
        )
    others = sorted(entry.name for entry in path.iterdir() if not _is_ours(entry))
    if others:
        raise ValueError(
            f"the output folder {path} also holds {others[0]}, which deepmixture did not write; "
            "move it away or choose another name"
        )


def _is_unfinished(path: Path) -> bool:
    entries = list(path.iterdir())
    return [entry.name for entry in entries] == [CHECKPOINT] and _is_ours(entries[0])


def _is_ours(entry: Path) -> bool:
    if entry.name not in (CHECKPOINT, LOG):
        return entry.name in _OURS
    # Other programs call their folders so too: ours says whose it is before all else.
    names = {file.name for file in entry.iterdir()} if entry.is_dir() else {entry.name}
    if entry.name == LOG:
        return names <= _LOGGERS
    return "fit.json" in names or names <= {".fit.json.partial"}


def _publish(hidden: Path, target: Path, *, overwrite: bool) -> None:
    if not target.exists() or not any(target.iterdir()):
        hidden.replace(target)
        return
    if not _is_unfinished(target):
        _check_replaceable(target, overwrite=overwrite)
    old = hidden_sibling(target, OLD)
    target.replace(old)
    try:
        hidden.replace(target)
    except BaseException:
        old.replace(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _jsonable(value: object) -> object:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return repr(value)
