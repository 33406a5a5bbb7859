"""Runs that begin alike share their beginning: each representation and start is computed once.

Two estimators with the same seed, networks, rows and pretraining train the same representation to
the bit, for order and noise are functions of the seed, the stage and the epoch. What was computed
is kept in a folder under the checksum of all that it depends on; seconds and history are kept with
it, so that a result says what the run would have taken alone.
"""

import hashlib
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepmixture.cluster.pretrained import Pretrained

saved = [0.0]
"""Seconds of the present run that were spent by an earlier one."""

PARTS = ("encoder", "head", "decoder", "likelihood")
SETTINGS = ("pretrain_epochs", "batch_size", "learning_rate")


def share_beginnings(folder: Path) -> None:
    """Let every estimator of this process look into `folder` before it trains a representation."""
    folder.mkdir(parents=True, exist_ok=True)
    pretrain, start = Pretrained._pretrain, Pretrained._start

    def shared_pretrain(self: Any, x: Tensor, few: Tensor, method: str | None) -> None:
        parts = {part: getattr(self.model_, part).state_dict() for part in PARTS}
        weights = [value for state in parts.values() for value in state.values()]
        given = [method, self.likelihood_, self.seed_, torch.get_num_threads()]
        given += [getattr(self, name) for name in SETTINGS]
        given += self._representation_length()
        key = checksum([x, *weights], given)

        def compute() -> dict[str, Any]:
            known = len(self.history_), set(self.timings_)
            pretrain(self, x, few, method)
            return {
                "state": {part: getattr(self.model_, part).state_dict() for part in PARTS},
                "history": self.history_[known[0] :],
                "timings": {k: v for k, v in self.timings_.items() if k not in known[1]},
            }

        before = len(self.history_)
        found = remembered(folder / f"representation-{key}", compute)
        if len(self.history_) == before:
            for part, state in found["state"].items():
                getattr(self.model_, part).load_state_dict(state)
            self.history_ += found["history"]
            self.timings_ |= found["timings"]

    def shared_start(self: Any, x: Tensor, *arguments: Any) -> Any:
        latent = self._evaluate(self.model_.latent, x)
        names = [find.__name__ for find in arguments]
        given = [names, self.n_clusters, self.n_init, self.seed_]
        path = folder / f"start-{checksum([latent], given)}"
        return remembered(path, lambda: start(self, x, *arguments))

    Pretrained._pretrain = shared_pretrain  # type: ignore[method-assign]
    Pretrained._start = shared_start  # type: ignore[method-assign]


def remembered(file: Path, compute: Callable[[], Any]) -> Any:
    """Return what `file` holds, or compute and keep it; the folder is this program's own."""
    if file.exists():
        seconds, value = pickle.loads(file.read_bytes())
        saved[0] += seconds
        return value
    began = time.perf_counter()
    value = compute()
    beside = file.with_suffix(f".{os.getpid()}.tmp")
    beside.write_bytes(pickle.dumps((time.perf_counter() - began, value)))
    beside.replace(file)
    return value


def checksum(tensors: list[Tensor], settings: list[Any]) -> str:
    """Return a checksum of tensors and settings."""
    digest = hashlib.sha256(repr(settings).encode())
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:24]
