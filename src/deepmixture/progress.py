"""What a long fit tells the person who waits: one callback, a bar, and a clean way to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing import Self

    from rich.console import Console
    from rich.progress import Progress, TaskID

# Parts of an epoch's record that are no term of the bound.
_NOT_TERMS = frozenset({"stage", "epoch", "seconds", "learning_rate"})
_TERMS_SHOWN = 4
# Columns of a terminal that stage, bar, epoch and time left take.
_BESIDE_TERMS = 62


class Callback(Protocol):
    """What the training loop calls while it runs."""

    def begin(self, stage: str, epochs: int, steps: int, done: int = 0) -> None:
        """Announce a stage of `epochs` epochs with `steps` steps each, `done` of which are."""

    def step(self) -> bool:
        """Count one step; True asks the loop to stop cleanly now."""

    def recall(self, records: Sequence[Mapping[str, object]]) -> None:
        """Hand over records of epochs that an earlier process trained."""

    def end_epoch(self, record: Mapping[str, object]) -> None:
        """Hand over the record of an epoch, as it goes to `history_`."""

    def close(self) -> None:
        """Say that training has ended, in whatever way."""


class Silent:
    """Say nothing and never stop."""

    def begin(self, stage: str, epochs: int, steps: int, done: int = 0) -> None:
        pass

    def step(self) -> bool:
        return False

    def recall(self, records: Sequence[Mapping[str, object]]) -> None:
        pass

    def end_epoch(self, record: Mapping[str, object]) -> None:
        pass

    def close(self) -> None:
        pass


class Bar:
    """Show a progress bar in a terminal, plain lines elsewhere.

    Parameters
    ----------
    console : rich.console.Console, optional
        Where to write; standard output by default.
    verbose : bool, default False
        In a terminal, keep one line for each epoch; elsewhere, write one line for each stage
        instead of nothing.
    """

    def __init__(self, console: Console | None = None, verbose: bool = False) -> None:
        if console is None:
            from rich.console import Console

            console = Console()
        self._console = console
        self._verbose = verbose
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._stage = ""
        self._epochs = 0
        self._last: Mapping[str, object] | None = None

    def begin(self, stage: str, epochs: int, steps: int, done: int = 0) -> None:
        """Open a new line of the bar for a stage."""
        if self._progress is not None and self._task is not None and self._last is None:
            # A stage without steps, such as a start, is over when the next one begins.
            self._progress.update(self._task, total=1, completed=1)
        self._end_stage()
        self._stage, self._epochs = stage, epochs
        if self._console.is_terminal:
            if self._progress is None:
                self._progress = _rich_progress(self._console)
                self._progress.start()
            self._task = self._progress.add_task(
                stage, total=epochs * steps or None, completed=done, epoch="", terms=""
            )

    def step(self) -> bool:
        """Move the bar by one step; never asks to stop."""
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task)
        return False

    def recall(self, records: Sequence[Mapping[str, object]]) -> None:
        """Say nothing: the stage's line says how far it has come."""

    def end_epoch(self, record: Mapping[str, object]) -> None:
        """Show the epoch and its loss terms."""
        self._last = record
        if self._progress is not None and self._task is not None:
            terms = describe_terms(record, self._console.width - _BESIDE_TERMS)
            epoch = f"epoch {record.get('epoch', '?')}/{self._epochs}"
            self._progress.update(self._task, epoch=epoch, terms=terms)
            if self._verbose:
                self._progress.console.print(
                    f"{self._stage}: {epoch}  {describe_terms(record)}",
                    markup=False,
                    highlight=False,
                )

    def close(self) -> None:
        """Take the bar down; the last state of each stage stays visible."""
        self._end_stage()
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _end_stage(self) -> None:
        if self._last is not None and self._verbose and not self._console.is_terminal:
            line = f"{self._stage}: epoch {self._last.get('epoch', '?')}/{self._epochs}"
            self._console.print(
                f"{line}  {describe_terms(self._last)}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
        if self._progress is not None and self._task is not None:
            self._progress.stop_task(self._task)
        self._last, self._task = None, None


class StopOnSignal:
    """Let Ctrl-C end training after the step in hand; a second one interrupts at once.

    A callback around another one, to be used as a context manager. Outside of it, in threads other
    than the main one and in processes told to ignore it, Ctrl-C does what it always did.

    Parameters
    ----------
    callback : Callback
        Receives every call.
    notice : callable, optional
        Called once, with a sentence, when training is about to stop.
    """

    def __init__(self, callback: Callback, notice: Callable[[str], object] | None = None) -> None:
        self._callback = callback
        self._notice = notice
        self._previous: Callable[[int, FrameType | None], object] | int | None = None
        self.stopped = False

    def __enter__(self) -> Self:
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        if threading.current_thread() is threading.main_thread() and not ignored:
            self._previous = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None
        self._callback.close()

    def begin(self, stage: str, epochs: int, steps: int, done: int = 0) -> None:
        self._callback.begin(stage, epochs, steps, done)

    def step(self) -> bool:
        """Pass on; True once Ctrl-C was pressed."""
        stop = self._callback.step()
        # Said here and not in the handler: a handler that writes may cut into a write.
        if self.stopped and self._notice is not None:
            self._notice("stopping: the model so far is kept (Ctrl-C again gives it up)")
            self._notice = None
        return stop or self.stopped

    def recall(self, records: Sequence[Mapping[str, object]]) -> None:
        self._callback.recall(records)

    def end_epoch(self, record: Mapping[str, object]) -> None:
        self._callback.end_epoch(record)

    def close(self) -> None:
        self._callback.close()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.stopped:
            raise KeyboardInterrupt
        self.stopped = True


def describe_terms(record: Mapping[str, object], width: int | None = None) -> str:
    """Write the loss and the first terms of an epoch's record, as many as fit into `width`."""
    words = [
        f"{name} {value:.4g}"
        for name, value in record.items()
        if name not in _NOT_TERMS and isinstance(value, (int, float))
    ][:_TERMS_SHOWN]
    while width is not None and words and len("  ".join(words)) > width:
        words.pop()
    return "  ".join(words)


def _rich_progress(console: Console) -> Progress:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[epoch]}", markup=False),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[terms]}", markup=False),
        console=console,
    )
