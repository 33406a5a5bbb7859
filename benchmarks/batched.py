"""Whether several runs are trained faster together: `python -m benchmarks.batched`.

Training steps of the autoencoders of several runs, which differ in weights and rows: each run
after the other, and all as one batched computation (`torch.func.vmap` over stacked weights, with
one optimiser). The two ways take turns; medians. The rows are random, for no step's time depends
on what they are.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from benchmarks import files
from benchmarks.hardware import circumstances, set_threads
from deepmixture import engine, likelihoods, nets, presets
from deepmixture.hardware import choose_hardware
from deepmixture.models.autoencoder import Autoencoder

LATENT, RATE = 10, 1e-3
SMALL, LARGE = presets.hidden_for("table"), presets.PAPERS_WIDTHS
# Columns, widths, and rows a step: a small table, a wide one, and images.
CASES = ((13, SMALL, 150), (34, SMALL, 256), (784, LARGE, 256))
Step = Callable[[], object]


def autoencoder(n_features: int, hidden: tuple[int, ...]) -> Autoencoder:
    """Return the representation of a run, with weights of its own."""
    encoder, decoder = nets.mlp_pair(n_features, n_features, LATENT, hidden)
    head = nets.NormalHead(hidden[-1], LATENT)
    likelihood = likelihoods.Gaussian(n_features).assume_complete()
    return Autoencoder(encoder, head, nets.LeadingDimensions(decoder), likelihood)


def in_turn(runs: list[Autoencoder], rows: Tensor, bfloat16: bool) -> Step:
    """Return a step of each of the runs, one after the other, on rows (R, B, F)."""
    optimisers = [engine.adam(list(run.parameters()), RATE) for run in runs]

    def step() -> None:
        for run, optimiser, batch in zip(runs, optimisers, rows, strict=True):
            with torch.autocast("cpu", torch.bfloat16, bfloat16):
                loss, _ = run(batch, {})
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    return step


def together(runs: list[Autoencoder], rows: Tensor, bfloat16: bool) -> Step:
    """Return the same step of all runs as one batched computation."""
    stacked, buffers = stack_module_state(runs)
    optimiser = engine.adam(list(stacked.values()), RATE)
    skeleton = copy.deepcopy(runs[0]).to("meta")

    def loss_of(weights: dict[str, Tensor], held: dict[str, Tensor], batch: Tensor) -> Tensor:
        loss: Tensor = functional_call(skeleton, (weights, held), (batch, {}))[0]
        return loss

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, bfloat16):
            loss = vmap(loss_of)(stacked, buffers, rows).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def compare(n_features: int, hidden: tuple[int, ...], batch: int, n_runs: int) -> dict[str, Any]:
    """Return what a step of all runs takes both ways."""
    bfloat16 = choose_hardware("cpu", "auto").bfloat16
    torch.manual_seed(0)
    runs = [autoencoder(n_features, hidden) for _ in range(n_runs)]
    rows = torch.randn(n_runs, batch, n_features)
    ways = together(runs, rows, bfloat16), in_turn(runs, rows, bfloat16)
    for step in ways:
        step()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(40 if n_features < 100 else 10):
        for step, taken in zip(ways, times, strict=True):
            began = time.perf_counter()
            step()
            taken.append(time.perf_counter() - began)
    batched, sequential = map(statistics.median, times)
    return {
        "n_features": n_features,
        "hidden": hidden,
        "batch_size": batch,
        "n_runs": n_runs,
        "milliseconds_in_turn": 1e3 * sequential,
        "milliseconds_together": 1e3 * batched,
        "times_as_fast": sequential / batched,
    }


def main() -> None:
    """Measure all cases and write the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=8)
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    found = []
    for case in CASES:
        found.append(compare(*case, n_runs=arguments.runs))
        print(json.dumps(found[-1]), flush=True)
    result = {
        "command": f"python -m benchmarks.batched --threads {arguments.threads}",
        "steps": found,
        **circumstances(),
    }
    files.write(files.RESULTS / "batched.json", result)


if __name__ == "__main__":
    main()
