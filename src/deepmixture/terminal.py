"""What the command line shows: sentences, tables and short warnings."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from deepmixture.data import Rows
    from deepmixture.run_folder import Assignments


def console() -> Console:
    """Return where sentences and tables go."""
    from rich.console import Console

    return Console(highlight=False)


def say(console: Console, text: str) -> None:
    """Write a sentence as it is, however wide the terminal."""
    console.print(text, markup=False, soft_wrap=True)


def complain(what: str, text: str) -> None:
    """Write a sentence to the stream of errors."""
    sentence = " ".join(text.split())
    sys.stderr.write(f"deepmixture: {what}: {sentence}\n")


@contextmanager
def short_warnings() -> Iterator[None]:
    """Write a warning as one sentence, without the line of code that gave it."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        complain("warning", str(message))

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def describe_shape(rows: Rows) -> str:
    """Say how many rows there are, of what."""
    if rows.image_shape is None:
        return f"{len(rows):,} rows of {rows.n_features:,} columns"
    return f"{len(rows):,} images of {' x '.join(str(side) for side in rows.image_shape)}"


def show_clusters(console: Console, assignments: Assignments) -> None:
    """Show the size of each cluster and how sure its rows are."""
    from rich.table import Table

    table = Table("cluster", "rows", "share", "mean probability", box=None)
    for column in table.columns:
        column.justify = "right"
    probability = assignments.probability()
    n = len(assignments.labels)
    for k in range(assignments.responsibilities.shape[1]):
        mine = assignments.labels == k
        size = int(mine.sum())
        mean = f"{probability[mine].mean():.3f}" if size else "-"
        table.add_row(str(k), f"{size:,}", f"{size / n:.1%}", mean)
    console.print(table)


def show_scores(console: Console, scores: Mapping[str, Mapping[str, float]]) -> None:
    """Show scores, a column for each part of the rows."""
    from rich.table import Table

    table = Table("", *scores, box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for name in next(iter(scores.values())):
        values = [part[name] for part in scores.values()]
        cells = [f"{v:.4f}" if isinstance(v, float) else str(v) for v in values]
        table.add_row(name.replace("_", " "), *cells)
    console.print(table)
