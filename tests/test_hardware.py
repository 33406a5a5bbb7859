"""How many threads compute."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info
from torch import nn

from deepmixture import engine, trials
from deepmixture.estimator import LatentMixtureEstimator
from deepmixture.hardware import SMALL_STEP, threads_for

Make = Callable[..., LatentMixtureEstimator]
EMBEDDING = """
import numpy as np, torch
from deepmixture import embedding
torch.set_num_threads(1)
torch.zeros(2**20).add_(1)  # torch begins its own threads
embedding.umap(np.random.default_rng(0).normal(size=(60, 5)), 2, 0)
print(torch.get_num_threads())
"""
SMALL = nn.Linear(8, 16)
LARGE = nn.Linear(1000, SMALL_STEP // 256 // 1000 + 1, bias=False)
CONVOLUTION = nn.Conv2d(1, 4, 3)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("model", "threads"), [(SMALL, 1), (LARGE, 2), (CONVOLUTION, 2)])
def test_small_steps_have_one_thread(two_threads: None, model: nn.Module, threads: int) -> None:
    with threads_for(model, 256):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 2


def test_threads_come_back_when_a_stage_breaks(two_threads: None) -> None:
    with pytest.raises(ArithmeticError), threads_for(SMALL, 256):
        raise engine.TrainingDiverged
    assert torch.get_num_threads() == 2


def test_an_embedding_leaves_the_threads_of_torch_alone() -> None:
    # In a process of its own, for numba sets them when it first computes, which is once.
    with_two = {**os.environ, "NUMBA_NUM_THREADS": "2"}
    found = subprocess.run(
        [sys.executable, "-c", EMBEDDING], capture_output=True, text=True, check=True, env=with_two
    )
    assert found.stdout.strip() == "1"


def test_a_fit_of_a_table_computes_on_one_thread(
    two_threads: None, make: Make, blobs: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, set[int]] = {"stages": set(), "mixtures": set()}
    train, fit_mixture = engine.train, trials.fit_mixture

    def trained(*arguments: object) -> object:
        seen["stages"].add(torch.get_num_threads())
        return train(*arguments)  # type: ignore[arg-type]

    def fitted(*arguments: object) -> object:
        seen["mixtures"].update(pool["num_threads"] for pool in threadpool_info())
        return fit_mixture(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "train", trained)
    monkeypatch.setattr(trials, "fit_mixture", fitted)
    make("deepmixture", start="gmm").fit(blobs)
    assert seen == {"stages": {1}, "mixtures": {1}}
    assert torch.get_num_threads() == 2
