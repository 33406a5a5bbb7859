"""Checkpoints: how far a fit has come, on disk, so that a killed one goes on from there.

A fit is a sequence of steps that take long: stages of training, and starts. Each has a file, which
holds its result once it is finished and, before, where it stands. A fit that goes on runs again
from its first line, and takes from the files what they hold instead of computing it; all that lies
between the steps is a function of them, so that the end is the same to the bit.

Every file is written beside, forced to the disk and renamed into place, and carries a checksum.
The one before it is kept until its step is finished, and used where the newer is damaged.
"""

import hashlib
import json
import os
import re
import time
import warnings
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from deepmixture import __version__
from deepmixture.batches import ScaledRows, in_blocks

FORMAT = "deepmixture checkpoint"
FORMAT_VERSION = 2
IDENTITY = "fit.json"
T = TypeVar("T")


class Journal:
    """The steps of one fit in the folder `path`, which may be new.

    Parameters
    ----------
    path : str or path
    identity : mapping
        What makes this fit the one it is, by name: settings and data. Plain values.
    circumstances : mapping
        What the bits of the result depend on beside it: device, precision, threads, versions.
    every : float, default=60.0
        Seconds from one checkpoint of a stage to the next; 0 writes one at every step.

    Raises
    ------
    ValueError
        If the folder holds the checkpoints of another fit, or is none of ours.
    OSError
        If it cannot be written.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        identity: Mapping[str, Any],
        circumstances: Mapping[str, Any],
        every: float = 60.0,
    ) -> None:
        self.path, self.every = Path(path), every
        self.n_steps = 0
        self.last = ""
        began = read_identity(self.path)
        if began is None:
            _check_empty(self.path)
            self._write_identity({"identity": identity, "circumstances": circumstances})
        else:
            _check_same(self.path, began["identity"], json.loads(json.dumps(identity)))
            changed = _differences(began["circumstances"], json.loads(json.dumps(circumstances)))
            if changed:
                warnings.warn(
                    f"the fit in {self.path} began under other circumstances, so that the last "
                    f"bits of its result may differ: {'; '.join(changed)}",
                    stacklevel=2,
                )

    def _write_identity(self, content: Mapping[str, Any]) -> None:
        about = {"format": FORMAT, "format_version": FORMAT_VERSION, "deepmixture": __version__}
        self.write(IDENTITY, json.dumps({**about, **content}, indent=2).encode())

    def step(self, name: str) -> "Step":
        """Return the next step of the fit."""
        self.n_steps += 1
        return Step(self, f"{self.n_steps:03d}-{re.sub('[^a-z0-9]+', '-', name.lower())}", name)

    def write(self, name: str, content: bytes, keep: str | None = None) -> None:
        """Write a file of the folder; rename that which was there before to `keep`.

        Raises
        ------
        OSError
            Naming the folder, the cause and the last good checkpoint.
        """
        target = self.path / name
        beside = self.path / f".{name}.partial"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                write_through(beside, content)
                if keep is not None and target.exists():
                    target.replace(self.path / keep)
                beside.replace(target)
            except BaseException:
                beside.unlink(missing_ok=True)
                raise
            _force_names(self.path)
        except OSError as error:
            last = f"that of {self.last!r} is good" if self.last else "there is none before it"
            raise OSError(
                f"the checkpoint {target} could not be written: {error.strerror or error}; {last}"
            ) from error


class Step:
    """One step of a fit, and its file."""

    def __init__(self, journal: Journal, file: str, name: str) -> None:
        self._journal, self._name = journal, name
        self._file, self._previous = f"{file}.safetensors", f"{file}.previous.safetensors"
        self._written = time.monotonic()

    def load(self) -> tuple[Any, bool] | None:
        """Return what was saved last and whether that is the result; None if nothing was."""
        newest = self._journal.path / self._file
        for file in (newest, self._journal.path / self._previous):
            if not file.is_file():
                continue
            try:
                found = read_tree(file)
            except ValueError as error:
                warnings.warn(f"{error}; an earlier state is taken", stacklevel=2)
                continue
            self._journal.last = self._name
            return found
        return None

    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return time.monotonic() - self._written >= self._journal.every

    def save(self, tree: Any, *, finished: bool = False) -> None:  # noqa: ANN401
        """Write where the step stands, or its result.

        Parameters
        ----------
        tree : dict, list, tuple, number, str, None, Tensor or array, in one another
        finished : bool, default=False
        """
        self._journal.write(self._file, as_bytes(tree, finished), keep=self._previous)
        if finished:
            (self._journal.path / self._previous).unlink(missing_ok=True)
        self._journal.last = self._name
        self._written = time.monotonic()


class Unsaved:
    """A step of a fit that keeps no checkpoints."""

    def load(self) -> None:
        """Return nothing."""

    def due(self) -> bool:
        """Never."""
        return False

    def save(self, tree: Any, *, finished: bool = False) -> None:  # noqa: ANN401
        """Keep nothing."""


def read_identity(path: Path) -> dict[str, Any] | None:
    """Return what is known of the fit whose checkpoints are in the folder; None of none.

    Raises
    ------
    ValueError
        If its `fit.json` is damaged, foreign or newer than this version reads.
    """
    file = path / IDENTITY
    if not file.is_file():
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}; remove the folder to begin anew") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"{file} was not written by deepmixture")
    if found.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} has checkpoint format {found.get('format_version')}; this version of "
            f"deepmixture reads format {FORMAT_VERSION}"
        )
    if not all(isinstance(found.get(part), dict) for part in ("identity", "circumstances")):
        raise ValueError(f"{file} is damaged; remove the folder to begin anew")
    return found


def has_checkpoint(path: Path) -> bool:
    """Whether the folder holds a step to go on from."""
    return (path / IDENTITY).is_file() and any(path.glob("*.safetensors"))


def fingerprint(values: ScaledRows | np.ndarray) -> str:
    """Return the SHA-256 of shape, type and bytes of an array."""
    digest = hashlib.sha256(str(tuple(values.shape)).encode())
    blocks = [values] if isinstance(values, np.ndarray) else in_blocks(values)
    for block in blocks:
        array = np.ascontiguousarray(block.cpu().numpy() if isinstance(block, Tensor) else block)
        digest.update(str(array.dtype).encode())
        digest.update(array.data.cast("B") if array.size else b"")
    return digest.hexdigest()


def described(value: object) -> object:
    """Return a setting as something that can be compared and written as JSON."""
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | Tensor):
        return fingerprint(value)
    if isinstance(value, list | tuple):
        return [described(part) for part in value]
    if isinstance(value, nn.Module):
        return {name: fingerprint(part) for name, part in value.state_dict().items()}
    name = getattr(value, "__qualname__", type(value).__qualname__)
    return f"{type(value).__module__}.{name}"


# ------------------------------------------------------------------------------ one file


def as_bytes(tree: Any, finished: bool) -> bytes:  # noqa: ANN401
    """Return a tree of containers, plain values and tensors as a safetensors file."""
    from safetensors.torch import save

    tensors: list[Tensor] = []
    places: dict[tuple[object, ...], int] = {}
    shape = json.dumps(_take_apart(tree, tensors, places))
    named = {str(number): tensor for number, tensor in enumerate(tensors)}
    about = {"format": FORMAT, "tree": shape, "finished": str(int(finished))}
    return save(named, about | {"sha256": _checksum(about, named)})


def read_tree(file: Path) -> tuple[Any, bool]:
    """Return the tree in a file, and whether it is the result of its step.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            about = dict(opened.metadata() or {})
            named = {name: opened.get_tensor(name).clone() for name in opened.keys()}
        if about.pop("sha256", None) != _checksum(about, named):
            raise ValueError("its checksum is not that with which it was written")
        tensors = [named[str(number)] for number in range(len(named))]
        return _put_together(json.loads(about["tree"]), tensors), about["finished"] == "1"
    except (SafetensorError, LookupError, OSError, TypeError, ValueError) as error:
        raise ValueError(f"the checkpoint {file} is damaged: {error}") from error


def _take_apart(
    node: Any,  # noqa: ANN401
    tensors: list[Tensor],
    places: dict[tuple[object, ...], int],
) -> Any:  # noqa: ANN401
    if isinstance(node, np.generic):
        return {"value": node.item()}
    if isinstance(node, np.ndarray):
        array = torch.from_numpy(np.ascontiguousarray(node))
        return {"array": _take_apart(array, tensors, places)["tensor"]}
    if isinstance(node, Tensor):
        # Two names of one tensor, as of a model inside another, are written once.
        place = (node.data_ptr(), node.shape, node.stride(), node.dtype, str(node.device))
        if node.numel() == 0 or place not in places:
            places[place] = len(tensors)
            tensors.append(node.detach().cpu().contiguous())
        return {"tensor": places[place]}
    if isinstance(node, Mapping):
        entries = [[key, _take_apart(value, tensors, places)] for key, value in node.items()]
        return {"dict": entries}
    if isinstance(node, list | tuple):
        kind = "list" if isinstance(node, list) else "tuple"
        return {kind: [_take_apart(value, tensors, places) for value in node]}
    if node is None or isinstance(node, bool | int | float | str):
        return {"value": node}
    raise TypeError(f"{type(node).__name__} cannot be part of a checkpoint")


def _put_together(node: Mapping[str, Any], tensors: list[Tensor]) -> Any:  # noqa: ANN401
    ((kind, content),) = node.items()
    match kind:
        case "tensor":
            return tensors[content]
        case "array":
            return tensors[content].numpy()
        case "dict":
            return {key: _put_together(value, tensors) for key, value in content}
        case "list":
            return [_put_together(value, tensors) for value in content]
        case "tuple":
            return tuple(_put_together(value, tensors) for value in content)
        case "value":
            return content
    raise ValueError(f"{kind!r} is no part of a checkpoint")


def _checksum(about: Mapping[str, str], named: Mapping[str, Tensor]) -> str:
    parts = [json.dumps(about, sort_keys=True)]
    parts += [fingerprint(_as_numbers(named[name])) for name in sorted(named)]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _as_numbers(tensor: Tensor) -> Tensor:
    # numpy has no bfloat16.
    return tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor


def write_through(file: Path, content: bytes) -> None:
    """Write a file and force it to the disk."""
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _force_names(folder: Path) -> None:
    """Force the names of the files in a folder to the disk, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _check_empty(path: Path) -> None:
    if path.is_symlink() or path.exists():
        if not path.is_dir():
            raise ValueError(
                f"resume_from={str(path)!r} is a file; expected a folder, or a new one"
            )
        # What is left where a kill came while fit.json was written.
        others = [entry.name for entry in path.iterdir() if entry.name != f".{IDENTITY}.partial"]
        if others:
            raise ValueError(
                f"resume_from={str(path)!r} holds {min(others)} and no {IDENTITY}; expected a "
                "folder of checkpoints, an empty one or a new one"
            )


def _check_same(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    differences = _differences(before, now)
    if differences:
        raise ValueError(
            f"the checkpoints in {path} are those of another fit: {'; '.join(differences)}. Go on "
            "with the same data and settings, or begin anew in another folder"
        )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return [f"{name} was {before.get(name)!r} and is {now.get(name)!r}" for name in names]


def remember(step: "Step | Unsaved", compute: Callable[[], T]) -> T:
    """Return what `compute` returned when the step was finished, or compute and save it."""
    found = step.load()
    if found is not None and found[1]:
        result: T = found[0]
        return result
    result = compute()
    step.save(result, finished=True)
    return result
