"""One training epoch beside ClustPy's VaDE: same network, data, batch and threads, turn about.

`python -m benchmarks.peers` needs `pip install clustpy` beside this package. A turn of ours and a
turn of the peer alternate, so that a drift of the machine's speed falls on both. Steps are timed
from one to the next, loading of the batch included: the median step is what a step costs where
nothing else disturbs it, and the seconds of the whole epoch are kept beside it.
"""

import argparse
import itertools
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

import numpy as np
import torch

from benchmarks import files
from benchmarks.floor import Moments, bandwidth, floor
from benchmarks.hardware import circumstances
from deepmixture import engine, likelihoods, nets, open_rows, priors, schedules
from deepmixture.hardware import choose_hardware
from deepmixture.models import vade

HIDDEN, LATENT, CLUSTERS = [500, 500, 2000], 10, 10


Epoch = Callable[[], tuple[float, list[float]]]
"""Trains an epoch and returns its seconds and the moments at which its steps ended."""


def our_model(n_features: int) -> vade.VaDE:
    """Return our VaDE for rows of so many features."""
    encoder, decoder = nets.mlp_pair(n_features, n_features, LATENT, HIDDEN)
    return vade.VaDE(
        encoder,
        nets.NormalHead(HIDDEN[-1], LATENT),
        nets.LeadingDimensions(decoder),
        likelihoods.Bernoulli().assume_complete(),
        priors.DiagonalMixture(CLUSTERS, LATENT),
    )


def ours(x: torch.Tensor, batch_size: int, precision: str) -> Epoch:
    """Return our epoch on the rows x (N, F)."""
    model = our_model(x.shape[1])
    hardware = choose_hardware("cpu", precision)
    stage = engine.Stage("epoch", 1, schedules.constant(1e-4), batch_size)

    def epoch() -> tuple[float, list[float]]:
        callback = Moments()
        history, _ = engine.train(model, [x], stage, hardware, 0, callback)
        return float(history[0]["seconds"]), callback.moments

    return epoch


def import_clustpy() -> ModuleType:
    """Import ClustPy's deep clustering, which asks for torchvision's data sets and uses none."""
    if "torchvision" not in sys.modules:
        for name in ("", ".datasets", ".models", ".models._api", ".models.resnet", ".transforms"):
            sys.modules.setdefault(f"torchvision{name}", MagicMock())
    import clustpy.deep

    return clustpy.deep


def clustpy(x: torch.Tensor, batch_size: int) -> Epoch:
    """Return the same for ClustPy's VaDE, by its own training function."""
    import_clustpy()
    from clustpy.deep._data_utils import get_dataloader
    from clustpy.deep.vade import _VaDE_Module, _VaDE_VAE

    device = torch.device("cpu")
    network = _VaDE_VAE(layers=[x.shape[1], *HIDDEN, LATENT])
    module = _VaDE_Module(n_clusters=CLUSTERS, embedding_size=LATENT)
    loader = get_dataloader(x.numpy(), batch_size, shuffle=True)
    network.fitted = True  # a pretrained network is what its clustering epochs start from
    parameters = [*network.parameters(), *module.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=1e-4)
    loss_fn = torch.nn.BCELoss(reduction="sum")

    moments: list[float] = []
    optimiser.register_step_post_hook(lambda *_: moments.append(time.perf_counter()))

    def epoch() -> tuple[float, list[float]]:
        moments.clear()
        began = time.perf_counter()
        module.fit(network, loader, loader, 1, device, optimiser, loss_fn, 1.0, 1.0)
        return time.perf_counter() - began, list(moments)

    return epoch


def ratio(peer: list[float], own: list[float]) -> float:
    """Return the median over the turns of the peer's time by our own."""
    return statistics.median(a / b for a, b in zip(peer, own, strict=True))


def main() -> None:
    """Time the turns and write the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--rows", type=int, default=70_000)
    parser.add_argument("--no-float32", action="store_true", help="leave out our float32 epoch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    source = Path(os.environ["DEEPMIXTURE_DATA"]) / "mnist.npz"
    rows = open_rows(source, key="x_train+x_test")
    x = torch.from_numpy(rows[: arguments.rows] / np.float32(255))
    contenders = {
        "deepmixture": ours(x, arguments.batch_size, "auto"),
        "deepmixture, float32": ours(x, arguments.batch_size, "float32"),
        "ClustPy": clustpy(x, arguments.batch_size),
    }
    if arguments.no_float32:
        del contenders["deepmixture, float32"]
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    medians: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(arguments.turns + 1):
        for name, epoch in contenders.items():
            took, moments = epoch()
            step = statistics.median(b - a for a, b in itertools.pairwise(moments))
            if turn > 0:  # the first turn warms up
                seconds[name].append(took)
                medians[name].append(step)
                print(f"turn {turn}: {name} {took:.2f} s, {1e3 * step:.1f} ms a step", flush=True)
    hardware = choose_hardware("cpu")
    batch = [x[: arguments.batch_size]]
    least = floor(our_model(x.shape[1]), batch, {}, hardware, bandwidth())
    result = {
        "n_rows": len(x),
        "batch_size": arguments.batch_size,
        "steps_per_epoch": math.ceil(70_000 / arguments.batch_size),
        "timings": {
            name: {
                "seconds": seconds[name],
                "seconds_per_step": medians[name],
                "median_seconds_per_step": statistics.median(medians[name]),
            }
            for name in contenders
        },
        "ratios": {name: ratio(medians["ClustPy"], own) for name, own in medians.items()},
        "ratios_of_whole_epochs": {
            name: ratio(seconds["ClustPy"], own) for name, own in seconds.items()
        },
        "floor": {
            "milliseconds_of_products": 1e3 * least[0],
            "milliseconds_of_adam": 1e3 * least[1],
            "ratio": statistics.median(medians["ClustPy"]) / sum(least),
        },
        **circumstances(),
    }
    files.write(files.RESULTS / "peers.json", result)
    print(result["ratios"], result["ratios_of_whole_epochs"])


if __name__ == "__main__":
    main()
