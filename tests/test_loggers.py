"""The curves of a fit go to loggers, whole even if the fit was killed."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lightning_fabric.loggers.logger import Logger
from tests.killing import Killed, Killer
from typer.testing import CliRunner

from deepmixture.cli import app
from deepmixture.estimator import LatentMixtureEstimator
from deepmixture.loggers import Logged, open_loggers

Make = Callable[..., LatentMixtureEstimator]
FEW = {"pretrain_epochs": 2, "epochs": 3}


def logged(folder: Path) -> list[dict[str, str]]:
    with (folder / "csv" / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_epoch_is_a_line_of_the_csv(make: Make, blobs: np.ndarray, tmp_path: Path) -> None:
    fitted = make(**FEW).fit(blobs, callback=Logged(open_loggers(["csv"], tmp_path, "run")))
    lines = logged(tmp_path)
    assert len(lines) == len(fitted.history_)
    for number, (line, record) in enumerate(zip(lines, fitted.history_, strict=True)):
        assert int(line["step"]) == number
        assert float(line[f"{record['stage']}/loss"]) == pytest.approx(record["loss"])


def test_a_killed_fit_that_goes_on_has_the_whole_log(
    make: Make, blobs: np.ndarray, tmp_path: Path
) -> None:
    whole = make(**FEW).fit(blobs)
    for steps in (5, 9):
        callback = Logged(open_loggers(["csv"], tmp_path / "log", "run"), Killer(steps))
        with pytest.raises(Killed):
            make(**FEW).fit(
                blobs, callback=callback, resume_from=tmp_path / "fit", checkpoint_every=0
            )
    callback = Logged(open_loggers(["csv"], tmp_path / "log", "run"))
    make(**FEW).fit(blobs, callback=callback, resume_from=tmp_path / "fit")
    lines = logged(tmp_path / "log")
    assert [
        float(line[f"{record['stage']}/loss"])
        for line, record in zip(lines, whole.history_, strict=True)
    ] == pytest.approx([record["loss"] for record in whole.history_])


class Notes(Logger):
    """A logger that remembers what it was told."""

    name, version = "notes", 0

    def __init__(self) -> None:
        self.settings: dict[str, object] = {}
        self.lines: list[tuple[int | None, dict[str, float]]] = []
        self.ends: list[str] = []

    def log_hyperparams(self, params: dict[str, object], *args: object, **kwargs: object) -> None:
        assert not self.settings
        self.settings = params

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.lines.append((step, metrics))

    def finalize(self, status: str) -> None:
        self.ends.append(status)


def test_settings_are_logged_once_and_loggers_end_once(make: Make, blobs: np.ndarray) -> None:
    notes, model = Notes(), make(**FEW)
    callback = Logged([notes], parameters=model.get_params())
    model.fit(blobs, callback=callback)
    callback.close()
    assert notes.settings["n_clusters"] == "3"
    assert [step for step, _ in notes.lines] == list(range(len(model.history_)))
    assert notes.ends == ["success"]


@pytest.mark.filterwarnings("ignore")  # of what these libraries use
@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_other_loggers_write_their_files(
    make: Make, blobs: np.ndarray, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "mlflow":
        pytest.importorskip("mlflow")
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    model = make(**FEW)
    callback = Logged(open_loggers([name], tmp_path, "run"), parameters=model.get_params())
    model.fit(blobs, callback=callback)
    assert any(file.stat().st_size for file in (tmp_path / name).rglob("*") if file.is_file())


def test_an_unknown_logger_is_refused_before_the_fit(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'wandb' is not known; expected one of csv, tensor"):
        open_loggers(["csv", "wandb"], tmp_path, "run")
    assert not list(tmp_path.iterdir())


def test_a_library_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'deepmixture\[mlflow\]'"):
        open_loggers(["mlflow"], tmp_path, "run")


def to_fit(blobs: np.ndarray, run: Path, model: str, pretrain_epochs: str) -> list[str]:
    """Return the words of a small fit of a file beside the run."""
    data = run.with_name("x.npy")
    np.save(data, blobs)
    small = ["--clusters", "3", "--set", "hidden=8,8", "--no-report"]
    small += ["--pretrain-epochs", pretrain_epochs]
    return ["fit", str(data), "--model", model, "--out", str(run), *small]


def test_the_command_keeps_the_log_in_the_run(tmp_path: Path, blobs: np.ndarray) -> None:
    run = tmp_path / "run"
    command = to_fit(blobs, run, "ae-gmm", "2")
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert len(logged(run / "log")) >= 2
    done = CliRunner().invoke(app, [*command, "--overwrite"])
    assert done.exit_code == 0, done.output


def test_a_fit_without_an_epoch_is_written_without_a_log(
    tmp_path: Path, blobs: np.ndarray
) -> None:
    run = tmp_path / "run"
    command = to_fit(blobs, run, "vae-gmm", "0")
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert (run / "labels.parquet").is_file()
    assert not (run / "log").exists()


def test_a_log_of_another_program_is_not_replaced(tmp_path: Path, blobs: np.ndarray) -> None:
    run = tmp_path / "run"
    command = to_fit(blobs, run, "vae-gmm", "0")
    assert CliRunner().invoke(app, command).exit_code == 0
    (run / "log").mkdir()
    (run / "log" / "diary.txt").write_text("of years")
    done = CliRunner().invoke(app, [*command, "--overwrite"])
    assert isinstance(done.exception, ValueError)
    assert "also holds log" in str(done.exception)
    assert (run / "log" / "diary.txt").read_text() == "of years"
