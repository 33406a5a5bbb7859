"""What a training step takes over what it must: `python -m benchmarks.floor`.

The floor of a step is the time of its matrix products and convolutions alone, each measured on
this machine with tensors of the same shapes, strides and types, and of the bytes that Adam reads
and writes (parameter, gradient and two moments read, all but the gradient written) at the measured
bandwidth of a copy. Steps are those of a real fit on MNIST, stage by stage; the median time from
one step to the next is compared with the floor.
"""

import argparse
import itertools
import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import deepmixture
from benchmarks import files
from benchmarks.hardware import circumstances, set_threads
from deepmixture import engine, estimator, open_rows
from deepmixture.hardware import Hardware
from deepmixture.progress import Silent

PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "convolution", "convolution_backward")
MODELS: dict[str, dict[str, Any]] = {
    "vade": {"start": "gmm"},
    "gmvae": {"start": "gmm"},
    "nvisa": {"start": "gmm"},
    "ltvae": {"start": "gmm"},
    "dec": {"start": "gmm"},
    "gm-gan": {"start": "gmm"},
    "deepmixture": {"start": "gmm"},
}
ADAM_BYTES = 7 * 4  # a parameter


class Moments(Silent):
    """Notes when each step ended."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def step(self) -> bool:
        self.moments.append(time.perf_counter())
        return False


class Products(TorchDispatchMode):
    """Notes the matrix products and convolutions that are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[tuple[Any, ...]] = Counter()
        self.by_key: dict[tuple[Any, ...], tuple[Any, tuple[Any, ...], dict[str, Any]]] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in PRODUCTS:
            key = (name, *map(_shape, args))
            self.calls[key] += 1
            self.by_key[key] = (func, args, kwargs or {})
        else:
            # In inference mode a layer comes whole, and its products would not be seen.
            with self:
                made = func.decompose(*args, **(kwargs or {}))
            if made is not NotImplemented:
                return made
        return func(*args, **(kwargs or {}))


def _shape(argument: object) -> object:
    if isinstance(argument, Tensor):
        return tuple(argument.shape), argument.stride(), str(argument.dtype)
    return str(argument)


def timed(function: Callable[[], object], least_seconds: float = 0.1) -> float:
    """Return the median seconds of a call."""
    function()
    times: list[float] = []
    began = time.perf_counter()
    while time.perf_counter() - began < least_seconds or len(times) < 5:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def fresh(argument: Any) -> Any:
    """Return a random tensor of the same layout."""
    if not isinstance(argument, Tensor) or not argument.is_floating_point():
        return argument
    return torch.empty_like(argument, requires_grad=False).normal_()


def seconds_alone(products: Products) -> float:
    """Return the seconds of all products that were noted, each measured alone."""
    seconds = 0.0
    for key, count in products.calls.items():
        function, given, more = products.by_key[key]
        given = tuple(map(fresh, given))
        with torch.no_grad():
            seconds += count * timed(lambda f=function, a=given, k=more: f(*a, **k))
    return seconds


def bandwidth() -> float:
    """Return bytes a second of a copy that no cache holds, read and written."""
    source = torch.zeros(2**26)
    target = torch.zeros_like(source)
    return 8 * len(source) / timed(lambda: target.copy_(source), 0.5)


def images(n_rows: int) -> np.ndarray:
    """Return the first images of MNIST, (n_rows, 28, 28)."""
    source = Path(os.environ["DEEPMIXTURE_DATA"]) / "mnist.npz"
    return open_rows(source, key="x_train").values[:n_rows].reshape(-1, 28, 28)


def halfway(stage: engine.Stage) -> dict[str, Tensor]:
    """Return the knobs of a stage in the middle of it."""
    return {name: torch.tensor(schedule(0.5)) for name, schedule in stage.knobs.items()}


def short_fit(name: str, rows: np.ndarray, batch_size: int) -> estimator.LatentMixtureEstimator:
    """Fit a model for an epoch or two a stage."""
    settings = dict(MODELS[name], pretrain_epochs=1, epochs=2, batch_size=batch_size, n_init=1)
    if name in ("vade", "nvisa", "gmvae", "ltvae", "dec"):
        settings["hold_epochs"] = 1
    if name == "deepmixture":
        settings |= {"refine_epochs": 1, "n_rounds": 1}
    make = deepmixture.MODELS[name]
    return make(10, kind="image", network="mlp", random_state=0, **settings).fit(rows)


def stages(name: str, rows: np.ndarray, batch_size: int) -> list[tuple[Any, ...]]:
    """Return what each stage of a short fit was trained with."""
    seen: list[tuple[Any, ...]] = []
    train = engine.train

    def noted(*arguments: Any, **more: Any) -> Any:
        seen.append(arguments)
        return train(*arguments, **more)

    estimator.engine.train = noted
    try:
        short_fit(name, rows, batch_size)
    finally:
        estimator.engine.train = train
    return seen


def floor(
    model: torch.nn.Module,
    batch: list[Tensor],
    knobs: dict[str, Tensor],
    hardware: Hardware,
    bytes_a_second: float,
) -> tuple[float, float]:
    """Return the seconds of a step's products, and of the bytes that Adam moves."""
    model.train()
    with Products() as products, torch.autocast("cpu", torch.bfloat16, hardware.bfloat16):
        loss, _ = model(*batch, knobs)
        loss.backward()
    learned = sum(p.numel() for p in model.parameters() if p.grad is not None)
    model.zero_grad()
    return seconds_alone(products), learned * ADAM_BYTES / bytes_a_second


def measure(arguments: tuple[Any, ...], bytes_a_second: float) -> dict[str, Any]:
    """Return the seconds of a step of a stage and of its floor."""
    model, tensors, stage, hardware, seed, _ = arguments[:6]
    model.requires_grad_(True)
    moments = Moments()
    for _ in range(2):
        moments.moments.clear()
        once = engine.Stage(
            stage.name, 1, stage.learning_rate, stage.batch_size, stage.knobs, stage.optimiser
        )
        engine.train(model, tensors, once, hardware, seed, moments)
    step = statistics.median(b - a for a, b in itertools.pairwise(moments.moments))
    knobs = halfway(stage)
    batch = [tensor[: stage.batch_size] for tensor in tensors]
    products, adam = floor(model, batch, knobs, hardware, bytes_a_second)
    return {
        "stage": stage.name,
        "batch_size": stage.batch_size,
        "milliseconds_a_step": 1e3 * step,
        "milliseconds_of_products": 1e3 * products,
        "milliseconds_of_adam": 1e3 * adam,
        "over_the_floor": step / (products + adam),
    }


def main() -> None:
    """Measure all stages of all models and write the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-sizes", type=int, nargs="*", default=[256, 1024])
    parser.add_argument("--rows", type=int, default=20_480)
    parser.add_argument("--only", nargs="*", default=list(MODELS))
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    rows = images(arguments.rows)
    rate = bandwidth()
    found = []
    for name in arguments.only:
        for batch_size in arguments.batch_sizes:
            for stage in stages(name, rows, batch_size):
                found.append({"model": name, **measure(stage, rate)})
                print(json.dumps(found[-1]), flush=True)
    result = {
        "command": f"python -m benchmarks.floor --threads {arguments.threads}",
        "n_rows": len(rows),
        "gigabytes_a_second": rate / 1e9,
        "steps": found,
        **circumstances(),
    }
    files.write(files.RESULTS / "floor.json", result)


if __name__ == "__main__":
    main()
