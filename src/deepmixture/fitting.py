"""A fit whose results are a folder: what `deepmixture fit` does, from the data to the report.

Heavy imports stand inside the functions, as in the command line.
"""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from deepmixture import inputs, outputs, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from deepmixture.plots import Result

DEFAULT = "deepmixture"


class Interrupted(Exception):
    """Ctrl-C ended a command early; the message says what is there all the same."""


class Request(NamedTuple):
    """What is to be fitted, and where the results go."""

    data: str
    key: str | None
    model: str | None  # that of the fit to go on with, or the default
    settings: Mapping[str, Any]  # parameters of the model, as far as they were given
    out: Path | None  # a new one in runs/
    resume: Path | None
    checkpoint_every: float  # seconds
    log: Sequence[str]
    overwrite: bool
    with_report: bool
    verbose: bool


def fit_into_folder(asked: Request) -> None:
    """Fit a model to the data, and write the folder of the run.

    Raises
    ------
    Interrupted
        If Ctrl-C ended the training; the model so far is in the folder.
    """
    from deepmixture import run_folder

    console = terminal.console()
    overwrite = asked.overwrite or asked.resume is not None
    out = _folder(asked)
    if asked.resume is not None and run_folder.is_finished(out):
        terminal.say(console, f"the fit in {out} is finished")
        return
    run_folder.check_new_folder(out, overwrite=overwrite)
    checkpoint = out / run_folder.CHECKPOINT
    begun: dict[str, Any] = {}
    if asked.resume is not None:
        begun = inputs.settings_of(checkpoint)
        terminal.say(
            console, f"going on with the fit in {out}" if begun else f"starting over: {out}"
        )
    began_as = begun.pop("model", DEFAULT)
    model = asked.model or began_as
    settings = {"random_state": 0} | begun | dict(asked.settings)
    rows, source = inputs.open_data(asked.data, asked.key)

    from deepmixture import checks, parallel, results
    from deepmixture.loggers import Logged, open_loggers
    from deepmixture.progress import Bar, StopOnSignal

    estimator = inputs.make_estimator(model, settings)
    checks.check_parameters(estimator)
    parallel.join(estimator.devices, estimator.device).tell((model, settings))
    terminal.say(
        console,
        f"{estimator.__class__.__name__} on {rows.source}: {terminal.describe_shape(rows)}",
    )
    if asked.resume is None:
        shutil.rmtree(checkpoint, ignore_errors=True)  # of a fit that --overwrite gives up
    loggers = open_loggers(["csv", *asked.log], checkpoint / run_folder.LOG, out.name)
    logged = Logged(loggers, Bar(console, asked.verbose), estimator.get_params(deep=False))
    with StopOnSignal(logged, notice=lambda text: terminal.say(console, text)) as callback:
        with _checkpoint_told(out):
            estimator.fit(
                rows,
                callback=callback,
                resume_from=checkpoint,
                checkpoint_every=asked.checkpoint_every,
            )
        for decision in estimator.decisions_:
            terminal.say(console, decision)
        assignments = results.assign(estimator, rows)
        about = results.describe_run(estimator, rows, source, model=model)

        def fill(folder: Path) -> None:
            results.write_run(folder, estimator, rows, assignments, about)
            if (checkpoint / run_folder.LOG).exists():  # a fit without an epoch logs nothing
                shutil.copytree(checkpoint / run_folder.LOG, folder / run_folder.LOG)
            if estimator.interrupted_:
                shutil.copytree(checkpoint, folder / run_folder.CHECKPOINT)

        written = run_folder.write_folder(out, fill, overwrite=overwrite)
    terminal.show_clusters(console, assignments)
    terminal.say(
        console, f"wrote {written}: {', '.join(sorted(e.name for e in written.iterdir()))}"
    )
    if asked.with_report:
        _write_report(
            console,
            written,
            lambda: results.collect(estimator, rows, assignments, estimator.history_, about),
            settings["random_state"] or 0,
            asked.verbose,
        )
    if callback.stopped or estimator.interrupted_:
        raise Interrupted(
            f"the model so far is in {written}; "
            f"go on: deepmixture fit {asked.data} --resume {written}"
        )


def help_to_fit(devices: int, device: str, data: str, key: str | None) -> None:
    """Do a share of the work of a fit that another process began, says and writes."""
    from deepmixture import parallel

    nothing: tuple[str, dict[str, object]] = ("", {})
    model, settings = parallel.join(devices, device).tell(nothing)
    rows, _ = inputs.open_data(data, key)
    inputs.make_estimator(model, settings).fit(rows)


def _folder(asked: Request) -> Path:
    """Return the folder to write: that to go on in, the one that was asked for, or a new one."""
    from deepmixture import run_folder

    if asked.resume is not None:
        if asked.out is not None and asked.out.resolve() != asked.resume.resolve():
            raise ValueError(
                f"--resume {asked.resume} goes on in its folder; --out {asked.out} is another"
            )
        run_folder.recover(asked.resume)
        return asked.resume
    if asked.out is not None:
        return asked.out
    stem = Path(asked.data.partition(":")[2] or asked.data).stem or "data"
    return outputs.free_name(Path("runs") / f"{stem}-{asked.model or DEFAULT}")


def _write_report(
    console: Console, run: Path, collect: Callable[[], Result], seed: int, verbose: bool
) -> None:
    """Write the report into the folder of the run, which is there whatever becomes of it."""
    from deepmixture import run_folder
    from deepmixture.report import write_report

    path = run / run_folder.REPORT
    try:
        write_report(path, collect(), seed=seed)
        terminal.say(console, f"wrote {path}")
    except KeyboardInterrupt:
        raise Interrupted(
            f"the run is in {run}, its report is missing: deepmixture report {run}"
        ) from None
    except Exception as error:
        # The run is saved: a picture that cannot be drawn is no reason to fail.
        terminal.complain("warning", f"the report could not be written: {error}")
        if verbose:
            traceback.print_exc()


@contextmanager
def _checkpoint_told(out: Path) -> Iterator[None]:
    """Say where to go on if a fit ends in an error, or leave nothing where there is nothing."""
    from deepmixture import run_folder
    from deepmixture.checkpoint import has_checkpoint

    try:
        yield
    except BaseException as error:
        if not has_checkpoint(out / run_folder.CHECKPOINT):
            run_folder.forget_checkpoint(out)
            raise
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(f"the fit can be gone on with: --resume {out}") from None
        terminal.complain("note", f"the checkpoints are kept: --resume {out}")
        raise
