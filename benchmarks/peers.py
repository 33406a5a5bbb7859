"""One training epoch beside ClustPy's VaDE: same network, data, batch and threads, turn about.

`python -m benchmarks.peers` needs `pip install clustpy` beside this package. Steps are timed one
by one in each turn; a turn of ours and a turn of the peer alternate, so that a drift of the
machine's speed falls on both.
"""

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import torch

from benchmarks.hardware import circumstances
from deepmixture import engine, likelihoods, nets, open_rows, priors, schedules
from deepmixture.models import vade
from deepmixture.progress import Silent

HERE = Path(__file__).resolve().parent
HIDDEN, LATENT, CLUSTERS = [500, 500, 2000], 10, 10


def ours(x: torch.Tensor, batch_size: int, precision: str) -> Callable[[], float]:
    """Return a function that trains an epoch on x and returns its seconds."""
    encoder, decoder = nets.mlp_pair(x.shape[1], x.shape[1], LATENT, HIDDEN)
    model = vade.VaDE(
        encoder,
        nets.NormalHead(HIDDEN[-1], LATENT),
        nets.LeadingDimensions(decoder),
        likelihoods.Bernoulli(),
        priors.DiagonalMixture(CLUSTERS, LATENT),
    )
    hardware = engine.choose_hardware("cpu", precision)
    stage = engine.Stage("epoch", 1, schedules.constant(1e-4), batch_size)

    def epoch() -> float:
        history, _ = engine.train(model, [x], stage, hardware, 0, Silent())
        return float(history[0]["seconds"])

    return epoch


def clustpy(x: torch.Tensor, batch_size: int) -> Callable[[], float]:
    """Return the same for ClustPy's VaDE, by its own training function."""
    if "torchvision" not in sys.modules:
        # ClustPy imports torchvision for its data sets, which are not used here.
        for name in ("", ".datasets", ".models", ".models._api", ".models.resnet", ".transforms"):
            sys.modules.setdefault(f"torchvision{name}", MagicMock())
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

    def epoch() -> float:
        began = time.perf_counter()
        module.fit(network, loader, loader, 1, device, optimiser, loss_fn, 1.0, 1.0)
        return time.perf_counter() - began

    return epoch


def main() -> None:
    """Time the turns and write the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--rows", type=int, default=70_000)
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
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(arguments.turns + 1):
        for name, epoch in contenders.items():
            took = epoch()
            if turn > 0:  # the first turn warms up
                seconds[name].append(took)
                print(f"turn {turn}: {name} {took:.2f} s", flush=True)
    steps = math.ceil(len(x) / arguments.batch_size)
    peer = seconds.pop("ClustPy")
    result = {
        "n_rows": len(x),
        "batch_size": arguments.batch_size,
        "steps_per_epoch": math.ceil(70_000 / arguments.batch_size),
        "timings": {
            name: {
                "seconds": values,
                "median_seconds_per_step": statistics.median(values) / steps,
            }
            for name, values in {**seconds, "ClustPy": peer}.items()
        },
        "ratios": {
            name: statistics.median(theirs / own for theirs, own in zip(peer, values, strict=True))
            for name, values in seconds.items()
        },
        **circumstances(),
    }
    target = HERE / "results" / "peers.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n")
    print(result["ratios"])


if __name__ == "__main__":
    main()
