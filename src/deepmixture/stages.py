"""The stages of a fit: what is trained, computed once, kept through a kill, and done last."""

import numbers
import time
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
import torch
from sklearn import config_context
from torch import Tensor, nn

from deepmixture import __version__, data, engine, parallel, seeds
from deepmixture.batches import ScaledRows, sample
from deepmixture.checkpoint import (
    Journal,
    Step,
    Unsaved,
    described,
    fingerprint,
    read_identity,
    remember,
)
from deepmixture.fitted import FittedMixture
from deepmixture.hardware import threads_for
from deepmixture.progress import Callback

T = TypeVar("T")
MOST_ROWS = 1_000_000
SAMPLED_ROWS = 200_000
FEWEST_SAMPLED_ROWS = 20_000
SAMPLED_SHARE = 0.25  # of the memory limit, at most


class StagedFit(FittedMixture):
    """The steps that a fit is made of, in the order in which they are asked for."""

    devices: int
    name: ClassVar[str]

    history_: list[engine.Record]
    timings_: dict[str, float]
    decisions_: list[str]
    interrupted_: bool
    _callback: Callback
    _journal: Journal | None

    def _open_journal(self, path: str | PathLike[str], every: float, x: ScaledRows) -> Journal:
        """Open the folder of checkpoints; take the seed of the fit there if none was given."""
        settings = {name: described(value) for name, value in self.get_params(deep=False).items()}
        del settings["verbose"], settings["devices"]
        began = read_identity(Path(path))
        if began is not None and not isinstance(self.random_state, numbers.Integral):
            self.seed_ = int(began["identity"].get("seed", self.seed_))
        rows = {"rows": list(x.shape), "values": fingerprint(x)}
        identity = {"model": self.name, "seed": self.seed_, **settings, **rows}
        circumstances = {
            "deepmixture": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "hardware": str(self.hardware_),
            "threads": torch.get_num_threads(),
            "processes": self.devices,
        }
        return Journal(path, identity, circumstances, every)

    def _step(self, name: str) -> Step | Unsaved:
        """Return the next step of the fit; after an interruption there is none to keep."""
        if self._journal is None or self.interrupted_:
            return engine.NOT_SAVED
        return self._journal.step(name)

    def _remember(self, name: str, compute: Callable[[], T]) -> T:
        """Return what a step computes, or what it computed before the fit was killed."""
        device = self.hardware_.device

        def with_noise() -> tuple[T, dict[str, Tensor]]:
            # It works on numpy arrays, whatever scikit-learn was told to expect of its callers.
            with config_context(array_api_dispatch=False):
                return compute(), seeds.noise_state(device)

        step = self._step(name)
        result, noise = parallel.current().once(lambda: remember(step, with_noise))
        seeds.set_noise_state(noise, device)
        return result

    def _run_stage(
        self, model: nn.Module, tensors: Sequence[ScaledRows], stage: engine.Stage
    ) -> None:
        if self.interrupted_ or stage.epochs == 0:
            return
        with threads_for(model, stage.batch_size):
            records, self.interrupted_ = engine.train(
                model.to(self.hardware_.device),
                tensors,
                stage,
                self.hardware_,
                self.seed_,
                self._callback,
                self._step(stage.name),
            )
        self.history_ += records
        self.timings_[stage.name] = sum(float(record["seconds"]) for record in records)

    def _few(self, x: ScaledRows) -> Tensor:
        """Return the rows that a start is found on: all, or a sample of many."""
        if isinstance(x, Tensor) and len(x) <= MOST_ROWS:
            return x
        seed = seeds.derive_seed(self.seed_, "sample")
        return sample(x, self._n_sampled(), seed).to(self.hardware_.device)

    def _n_sampled(self) -> int:
        """Return how many of too many rows a start is found on: fewer of wide ones."""
        that_fit = int(SAMPLED_SHARE * 1e9 * self.memory_limit / (4 * self.n_features_in_))
        return min(SAMPLED_ROWS, max(FEWEST_SAMPLED_ROWS, that_fit))

    def _finish(self, x: ScaledRows) -> None:
        """Order the clusters by size and label the training rows."""
        began = time.perf_counter()
        labels = self._labels(x)
        sizes = labels.bincount(minlength=self.n_clusters_)
        order = sizes.argsort(descending=True, stable=True)
        self._reorder(order)
        self.labels_ = order.argsort()[labels].numpy()
        self.n_used_clusters_ = int((sizes > 0).sum())
        if self.n_used_clusters_ < self.n_clusters_:
            self.decisions_.append(
                f"{self.n_clusters_ - self.n_used_clusters_} of {self.n_clusters_} clusters hold "
                "no row; they are numbered last."
            )
        self.timings_["labels"] = time.perf_counter() - began

    def _reorder(self, order: Tensor) -> None:
        """Renumber the clusters: cluster order[i] becomes cluster i."""
        self._mixture().reorder(order)

    def _where(self, rows: data.Rows) -> list[str]:
        said = []
        if not self._fits(rows):
            said = [f"More than {self.memory_limit:g} gigabytes: read from a scratch file."]
        if said or len(rows) > MOST_ROWS:
            said.append(
                f"The start was found on {min(self._n_sampled(), len(rows)):,} of the rows."
            )
        return said

    def _stepped_back(self) -> list[str]:
        stages = dict.fromkeys(r["stage"] for r in self.history_ if "rate_factor" in r)
        return [
            f"The loss became infinite or NaN in the stage {stage!r}: training went on from the "
            "last good state with a smaller learning rate."
            for stage in stages
        ]
