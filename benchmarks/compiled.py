"""Whether `torch.compile` pays: `python -m benchmarks.compiled`.

A step's forward and backward pass, stage by stage of a real fit on MNIST, as PyTorch runs it and
as its compiler makes it: medians of steps that take turns, and the seconds until the first
compiled step is done. Compiled steps draw the same noise.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks import files, floor
from benchmarks.hardware import circumstances, set_threads

MODELS = ("vade", "deepmixture")


def compare(arguments: tuple[Any, ...], n_steps: int) -> dict[str, Any]:
    """Return what a step of a stage takes both ways."""
    model, tensors, stage, hardware = arguments[:4]
    model.requires_grad_(True).train()
    knobs = floor.halfway(stage)
    compiled = torch.compile(model, dynamic=False)
    generator = torch.Generator().manual_seed(0)

    def seconds(called: Callable[..., Any]) -> float:
        rows = torch.randperm(len(tensors[0]), generator=generator)[: stage.batch_size]
        batch = [tensor[rows] for tensor in tensors]
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, hardware.bfloat16):
            loss, _ = called(*batch, knobs)
        loss.backward()
        took = time.perf_counter() - began
        model.zero_grad()
        return took

    first = seconds(compiled)
    times = [(seconds(model), seconds(compiled)) for _ in range(n_steps)]
    eager, fast = (statistics.median(way) for way in zip(*times, strict=True))
    return {
        "stage": stage.name,
        "batch_size": stage.batch_size,
        "milliseconds_eager": 1e3 * eager,
        "milliseconds_compiled": 1e3 * fast,
        "over_eager": fast / eager,
        "seconds_to_compile": first,
    }


def main() -> None:
    """Measure the stages of some models and write the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rows", type=int, default=20_480)
    parser.add_argument("--only", nargs="*", default=list(MODELS))
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    torch._inductor.config.fallback_random = True
    torch._inductor.config.force_disable_caches = True  # a first fit has none
    rows = floor.images(arguments.rows)
    found = []
    for name in arguments.only:
        for stage in floor.stages(name, rows, arguments.batch_size):
            torch._dynamo.reset()
            found.append({"model": name, **compare(stage, arguments.steps)})
            print(json.dumps(found[-1]), flush=True)
    result = {
        "command": f"python -m benchmarks.compiled --threads {arguments.threads}",
        "n_rows": len(rows),
        "steps": found,
        **circumstances(),
    }
    files.write(files.RESULTS / "compiled.json", result)


if __name__ == "__main__":
    main()
