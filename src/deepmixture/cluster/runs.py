"""What is kept of each of several runs, from which one is chosen."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from deepmixture import engine, selection
from deepmixture.models import nvisa


class Beginning(NamedTuple):
    """How the clusters of a run were found, if they had a start."""

    space: NDArray[np.float64] | None = None  # (N, D)
    what: str = ""  # its coordinates are
    start: NDArray[np.float64] | None = None  # (N, K), the first
    joined: bool = False  # of more clusters
    found_by: str = ""


@dataclass(frozen=True)
class Run:
    """One of several runs of the same estimator."""

    seed: int
    log_q_y: NDArray[np.float64]  # (N, K)
    model: nvisa.NVISA
    history: list[engine.Record]
    timings: dict[str, float]
    merges: list[selection.Merge]
    doubts: list[selection.Doubt]
    beginning: Beginning

    @property
    def responsibilities(self) -> NDArray[np.float64]:
        """Return q(y|x), shape (N, K)."""
        return torch.from_numpy(self.log_q_y).softmax(1).numpy()

    def without_space(self) -> "Run":
        """Return the run without the coordinates (N, D) in which its rows were neighbours."""
        return replace(self, beginning=self.beginning._replace(space=None))
