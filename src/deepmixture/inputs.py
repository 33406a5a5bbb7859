"""What the command line is given: data, labels, settings and the fit to go on with."""

from __future__ import annotations

import ast
import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from deepmixture.data import Rows
    from deepmixture.estimator import LatentMixtureEstimator
    from deepmixture.results import Source

DIGITS = "sklearn:digits"


def open_data(data: str, key: str | None) -> tuple[Rows, Source]:
    """Open the data that DATA names, and say where they came from."""
    from deepmixture.data import open_rows
    from deepmixture.results import Source

    if data == DIGITS:
        from sklearn.datasets import load_digits

        rows = open_rows(load_digits().images)
        return dataclasses.replace(rows, source="the digits of scikit-learn"), Source(data)
    if data.startswith("sklearn:"):
        raise ValueError(f"there is no data set {data}; there is {DIGITS}")
    return open_rows(Path(data), key=key), Source(str(Path(data).resolve()), key)


def read_known_labels(labels: str, key: str | None, column: str | None) -> np.ndarray:
    """Read the known classes of rows, to score against."""
    from deepmixture.label_files import read_labels

    if labels == DIGITS:
        from sklearn.datasets import load_digits

        classes: np.ndarray = load_digits().target
        return classes
    return read_labels(Path(labels), key=key, column=column)


def parse_settings(words: Sequence[str]) -> dict[str, Any]:
    """Read NAME=VALUE; a value is a Python literal, or else a string."""
    settings = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not (name and equals):
            raise ValueError(f"--set takes NAME=VALUE, not {word!r}")
        constants = {"true": True, "false": False, "none": None}
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = constants.get(text.lower(), text)
        settings[name.replace("-", "_")] = value
    return settings


def number_of_clusters(given: str | None) -> int | str | None:
    """Read --clusters: a whole number, or "auto"."""
    if given is None or given == "auto":
        return given
    try:
        return int(given)
    except ValueError:
        raise ValueError(f"--clusters {given!r} is no whole number and not 'auto'") from None


def settings_of(checkpoint: Path) -> dict[str, Any]:
    """Return model and settings of the fit whose checkpoints are in the folder; {} of none."""
    from deepmixture import MODELS
    from deepmixture.checkpoint import has_checkpoint, read_identity

    began = read_identity(checkpoint)
    if began is None or not has_checkpoint(checkpoint):
        shutil.rmtree(checkpoint, ignore_errors=True)
        return {}
    identity = began["identity"]
    known = MODELS[identity["model"]]().get_params(deep=False)
    settings = {name: value for name, value in identity.items() if name in known}
    if isinstance(settings["hidden"], list):
        settings["hidden"] = tuple(settings["hidden"])
    return {"model": identity["model"], **settings}


def make_estimator(model: str, settings: Mapping[str, object]) -> LatentMixtureEstimator:
    """Make the estimator of that name, with these settings."""
    from deepmixture import MODELS

    if model not in MODELS:
        raise ValueError(f"there is no model {model!r}; there are {', '.join(MODELS)}")
    estimator = MODELS[model]()
    known = estimator.get_params(deep=False)
    for name in settings:
        if name not in known:
            raise ValueError(f"{model} has no parameter {name!r}; it has {', '.join(known)}")
    estimator.set_params(**settings)
    return estimator
