"""Saved estimators: a folder with `model.safetensors` and `model.json`, and no pickle anywhere."""

import hashlib
import json
import numbers
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from deepmixture import __version__, checks
from deepmixture.checkpoint import write_through
from deepmixture.data import Scaling
from deepmixture.estimator import LatentMixtureEstimator
from deepmixture.hardware import choose_hardware

FORMAT = "deepmixture-model"
FORMAT_VERSION = 2
WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"
FACTS = (
    "kind_",
    "image_shape_",
    "likelihood_",
    "n_features_in_",
    "n_clusters_",
    "seed_",
    "n_iter_",
    "history_",
    "timings_",
    "interrupted_",
    "decisions_",
    "n_used_clusters_",
)

E = TypeVar("E", bound=LatentMixtureEstimator)


def save(estimator: LatentMixtureEstimator, path: str | PathLike[str]) -> None:
    """Write a fitted estimator to the folder `path`; see `LatentMixtureEstimator.save`."""
    from safetensors.torch import save as to_bytes

    target = Path(path).resolve()
    if not _may_be_replaced(target):
        raise FileExistsError(
            f"{target} is there already and is no saved model alone: it is left as it is; "
            "expected a new or empty folder, or that of an earlier model"
        )
    tensors = {f"model.{k}": v.cpu() for k, v in estimator.model_.state_dict().items()}
    for extra in _extra_modules(estimator):
        state = getattr(estimator, extra).state_dict()
        tensors |= {f"{extra}.{name}": value.cpu() for name, value in state.items()}
    tensors["labels"] = torch.from_numpy(estimator.labels_)
    tensors["scaling.offset"] = torch.from_numpy(estimator.scaling_.offset)
    tensors["scaling.scale"] = torch.from_numpy(estimator.scaling_.scale)
    weights = to_bytes({name: value.contiguous() for name, value in tensors.items()})

    parameters = estimator.get_params(deep=False)
    own = [name for name in ("encoder", "decoder") if parameters.pop(name) is not None]
    if parameters["hidden"] != "auto":
        parameters["hidden"] = list(parameters["hidden"])
    for name in estimator.objects:
        if not isinstance(parameters[name], str | None):
            del parameters[name]
    if not isinstance(parameters["random_state"], numbers.Integral):
        parameters["random_state"] = None
    names = getattr(estimator, "feature_names_in_", None)
    description = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "deepmixture": __version__,
        "model": estimator.name,
        "parameters": parameters,
        "own_networks": bool(own),
        "scaling": estimator.scaling_.method,
        "feature_names_in_": None if names is None else list(names),
        "fitted": {name: getattr(estimator, name) for name in (*FACTS, *estimator.facts)},
    }
    description["sha256"] = _checksum(description, weights)
    text = json.dumps(description, indent=2, default=_plain, allow_nan=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        write_through(beside / WEIGHTS, weights)
        write_through(beside / DESCRIPTION, text.encode())
        beside.chmod(0o755)
        replace_folder(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def load(
    path: str | PathLike[str],
    expected: type[E] = LatentMixtureEstimator,
    *,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
) -> E:
    """Read the estimator that was saved in the folder `path`, of whatever model it is.

    Parameters
    ----------
    path : str or path
    expected : type, optional
        The class that the estimator must have.
    encoder, decoder : torch.nn.Module, optional
        The networks, where the saved estimator was fitted with networks of your own.

    Raises
    ------
    FileNotFoundError
        If there is no saved model.
    ValueError
        If it is damaged, foreign, of another class or written in an older or a newer format.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    folder = Path(path)
    description = _read_description(folder)
    _check_version(folder, description["format_version"])
    weights_file = folder / WEIGHTS
    if not weights_file.is_file():
        raise ValueError(f"{folder} is damaged: {WEIGHTS} is missing")
    weights = weights_file.read_bytes()
    if description.pop("sha256", None) != _checksum(description, weights):
        raise ValueError(
            f"{folder} is damaged: {DESCRIPTION} and {WEIGHTS} ({len(weights):,} bytes) do not "
            "have the checksum with which they were saved"
        )
    kind = _class_of(description, expected, folder)
    _check_networks(description, encoder, decoder, folder)
    try:
        return _restore(kind, description, from_bytes(weights), encoder, decoder)
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        MemoryError,
        RuntimeError,
        SafetensorError,
        TypeError,
        ValueError,
    ) as error:
        if encoder is not None:
            raise ValueError(
                f"encoder and decoder are not those with which {folder} was fitted: {error}"
            ) from error
        raise ValueError(f"{folder} is damaged: {error}") from error


def _class_of(description: Mapping[str, Any], expected: type[E], folder: Path) -> type[E]:
    from deepmixture.registry import MODELS

    name = str(description.get("model"))
    if name not in MODELS:
        raise ValueError(f"{folder} holds a model {name!r}; known are {', '.join(MODELS)}")
    kind = MODELS[name]
    if not issubclass(kind, expected):
        raise ValueError(f"{folder} holds a {kind.__name__}; expected a {expected.__name__}")
    return kind


def _check_networks(
    description: Mapping[str, Any],
    encoder: nn.Module | None,
    decoder: nn.Module | None,
    folder: Path,
) -> None:
    if not description.get("own_networks"):
        if encoder is not None or decoder is not None:
            raise ValueError(
                f"{folder} was fitted with networks that load makes by itself: leave out "
                "encoder= and decoder="
            )
    elif encoder is None or decoder is None:
        raise ValueError(
            f"{folder} was fitted with networks of its user's own: pass them as encoder= and "
            "decoder= to load"
        )


def _restore(
    kind: type[E],
    description: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    encoder: nn.Module | None,
    decoder: nn.Module | None,
) -> E:
    parameters = dict(description["parameters"])
    if parameters["hidden"] != "auto":
        parameters["hidden"] = tuple(parameters["hidden"])
    estimator = kind(**parameters, encoder=encoder, decoder=decoder)
    checks.check_parameters(estimator)
    # Models saved before the number of clusters could be found have it as a parameter alone.
    fitted = {"n_clusters_": estimator.n_clusters} | dict(description["fitted"])
    for name in (*FACTS, *kind.facts):
        setattr(estimator, name, fitted[name])
    if estimator.image_shape_ is not None:
        estimator.image_shape_ = tuple(estimator.image_shape_)
    if description["feature_names_in_"] is not None:
        estimator.feature_names_in_ = np.array(description["feature_names_in_"], dtype=object)
    estimator.scaling_ = Scaling.from_dict(
        {
            "method": description["scaling"],
            "offset": tensors["scaling.offset"].numpy(),
            "scale": tensors["scaling.scale"].numpy(),
        }
    )
    estimator.hardware_ = choose_hardware(_device_here(estimator.device))
    with torch.random.fork_rng(devices=[]):
        estimator._build()
    estimator.model_.load_state_dict(_part(tensors, "model."))
    for extra in _extra_modules(estimator):
        getattr(estimator, extra).load_state_dict(_part(tensors, f"{extra}."))
    estimator.model_.requires_grad_(False).eval()
    estimator.labels_ = tensors["labels"].numpy()
    return estimator


def _read_description(folder: Path) -> dict[str, Any]:
    file = folder / DESCRIPTION
    if not file.is_file():
        raise FileNotFoundError(f"{folder} holds no saved model: there is no {DESCRIPTION} in it")
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ValueError(f"{file} was not written by deepmixture")
    version = description.get("format_version")
    if type(version) is not int or version < 1:
        raise ValueError(f"{file} is damaged: its format version is {version!r}")
    return description


def _check_version(folder: Path, version: int) -> None:
    if version < FORMAT_VERSION:
        raise ValueError(
            f"{folder} has model format {version}, in which the weights of convolutional networks "
            f"lie in another order; this version of deepmixture reads format {FORMAT_VERSION}: "
            "fit the model again"
        )
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{folder} has model format {version}, newer than the {FORMAT_VERSION} that "
            f"deepmixture {__version__} reads; update deepmixture"
        )


def _checksum(description: Mapping[str, Any], weights: bytes) -> str:
    """Return the SHA-256 of both files of a model, however the JSON is laid out."""
    text = json.dumps(description, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode() + weights).hexdigest()


def _may_be_replaced(target: Path) -> bool:
    if not target.is_dir():
        return not target.exists()
    names = {file.name for file in target.iterdir()}
    if not names <= {WEIGHTS, DESCRIPTION}:
        return False
    with suppress(ValueError, OSError):
        return not names or _read_description(target)["format_version"] <= FORMAT_VERSION
    return False


def _device_here(device: str) -> str:
    """Return the device that was asked for, or "auto" where this machine has none such."""
    try:
        choose_hardware(device)
    except ValueError:
        return "auto"
    return device


def _extra_modules(estimator: LatentMixtureEstimator) -> list[str]:
    return [
        name
        for name, value in vars(estimator).items()
        if name.endswith("_") and name != "model_" and isinstance(value, nn.Module)
    ]


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be saved")


def replace_folder(new: Path, target: Path) -> None:
    """Rename the folder `new` to `target`, and what was there before away."""
    if not target.exists():
        new.rename(target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    old = aside / "old"
    try:
        target.rename(old)
        try:
            new.rename(target)
        except BaseException:
            old.rename(target)
            raise
    except BaseException:
        with suppress(OSError):  # never with what is in it
            aside.rmdir()
        raise
    shutil.rmtree(aside, ignore_errors=True)
