"""The curves of a fit while it runs: the records of its epochs, to loggers of Lightning Fabric.

`csv/metrics.csv` is written by every fit of the command line. TensorBoard and MLflow need
`pip install deepmixture[tensorboard]` or `deepmixture[mlflow]`.
"""

import importlib.util
import math
import os
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.csv_logs import CSVLogger
from lightning_fabric.loggers.logger import Logger
from lightning_fabric.loggers.tensorboard import TensorBoardLogger

from deepmixture.progress import Callback, Silent

EXPERIMENT = "deepmixture"
NOT_LOGGED = ("stage", "epoch")
LONGEST = 250  # characters of a setting; MLflow refuses much longer ones, such as a network's


class Logged:
    """Hand the record of every epoch to loggers, and every call to another callback.

    A quantity is logged as stage/name, such as "joint evidence/loss"; the step counts the epochs
    of all stages, those an earlier process trained included.

    Parameters
    ----------
    loggers : sequence of lightning_fabric.loggers.Logger
    callback : Callback, optional
        Receives every call.
    parameters : mapping of str to object, optional
        Settings that are logged once, by loggers that have a place for them.
    """

    def __init__(
        self,
        loggers: Sequence[Logger],
        callback: Callback | None = None,
        parameters: Mapping[str, object] | None = None,
    ) -> None:
        self._loggers = list(loggers)
        self._callback = callback or Silent()
        self._parameters = dict(parameters or {})
        self._epochs = 0

    def begin(self, stage: str, epochs: int, steps: int, done: int = 0) -> None:
        self._callback.begin(stage, epochs, steps, done)
        if self._parameters:
            settings = {name: str(value)[:LONGEST] for name, value in self._parameters.items()}
            self._parameters = {}
            for logger in self._loggers:
                if not isinstance(logger, CSVLogger):  # which has none
                    logger.log_hyperparams(settings)

    def step(self) -> bool:
        return self._callback.step()

    def recall(self, records: Sequence[Mapping[str, object]]) -> None:
        """Log what an earlier process trained; its own log is begun anew."""
        self._callback.recall(records)
        for record in records:
            self._log(record)

    def end_epoch(self, record: Mapping[str, object]) -> None:
        self._callback.end_epoch(record)
        self._log(record)

    def close(self) -> None:
        self._callback.close()
        while self._loggers:  # a callback may be closed twice
            self._loggers.pop().finalize("success")

    def _log(self, record: Mapping[str, object]) -> None:
        values = {
            f"{record['stage']}/{name}": float(value)
            for name, value in record.items()
            if name not in NOT_LOGGED and isinstance(value, int | float) and math.isfinite(value)
        }
        for logger in self._loggers:
            logger.log_metrics(values, step=self._epochs)
            logger.save()
        self._epochs += 1


class MLflow(Logger):
    """Log to MLflow, to where the environment variable MLFLOW_TRACKING_URI says.

    Fabric has no such logger of its own.

    Parameters
    ----------
    folder : path
        Where the runs are kept if the environment names no place.
    run_name : str
    """

    def __init__(self, folder: Path, run_name: str) -> None:
        if importlib.util.find_spec("mlflow") is None:
            raise ModuleNotFoundError("no module named 'mlflow'")
        self._folder, self._run_name = folder, run_name
        self._place = os.environ.get("MLFLOW_TRACKING_URI", "")

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401
        from mlflow.tracking import MlflowClient

        if not self._place:
            self._folder.mkdir(parents=True, exist_ok=True)
        return MlflowClient(self._place or f"sqlite:///{self._folder.resolve()}/mlflow.db")

    @cached_property
    def _run(self) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        number = found.experiment_id if found else self._client.create_experiment(EXPERIMENT)
        return str(self._client.create_run(number, run_name=self._run_name).info.run_id)

    @property
    def name(self) -> str:
        return self._run_name

    @property
    def version(self) -> str:
        return self._run

    @property
    def root_dir(self) -> str:
        return self._place or str(self._folder)

    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: object, **kwargs: object
    ) -> None:
        for name, value in dict(params if isinstance(params, dict) else vars(params)).items():
            self._client.log_param(self._run, name, value)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        for name, value in metrics.items():
            self._client.log_metric(self._run, name, float(value), step=step)

    def finalize(self, status: str) -> None:
        self._client.set_terminated(self._run)


def open_loggers(names: Sequence[str], folder: Path, run_name: str) -> list[Logger]:
    """Return the loggers of these names, which will write into the folder.

    Parameters
    ----------
    names : sequence of {"csv", "tensorboard", "mlflow"}
    folder : path
    run_name : str

    Raises
    ------
    ValueError
        If a name is not known, or the library of one is not installed.
    """
    loggers = []
    for name in dict.fromkeys(names):
        if name not in OPENERS:
            known = ", ".join(OPENERS)
            raise ValueError(f"logger {name!r} is not known; expected one of {known}")
        try:
            loggers.append(OPENERS[name](folder, run_name))
        except ModuleNotFoundError as error:
            raise ValueError(
                f"logger {name!r} needs a library that is not installed "
                f"({str(error).splitlines()[0]}): pip install 'deepmixture[{name}]'"
            ) from None
    return loggers


def _csv(folder: Path, run_name: str) -> Logger:
    (folder / "csv" / "metrics.csv").unlink(missing_ok=True)  # of a process that was killed
    return CSVLogger(folder, name=None, version="csv")


def _tensorboard(folder: Path, run_name: str) -> Logger:
    return TensorBoardLogger(folder, name=None, version="tensorboard")


def _mlflow(folder: Path, run_name: str) -> Logger:
    return MLflow(folder / "mlflow", run_name)


OPENERS: Mapping[str, Callable[[Path, str], Logger]] = {
    "csv": _csv,
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
}
