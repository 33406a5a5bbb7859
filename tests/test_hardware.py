"""How many threads compute."""

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
