"""Small fits on a machine that has other work: `python -m benchmarks.busy`.

Seconds of fits of few passes by DeepMixture, each in a fresh process: alone, and beside as many
processes as there are cores that do nothing but count. With the threads of the command, one where
the work is small and elsewhere such that soon sleep when they wait, and with those that the
libraries take.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from time import perf_counter

from benchmarks import files
from benchmarks.hardware import circumstances
from deepmixture.cli import SPINS

THREADS = {"ours": "as the command has them", "theirs": "as the libraries have them"}
DATA = {"table": "a table, 150 rows", "images": "1,797 images"}
BUSY = "while True: pass"


def fit(data: str, threads: str) -> float:
    """Return the seconds of a fit in this process."""
    import threadpoolctl
    from sklearn.datasets import load_digits, load_iris

    from deepmixture import DeepMixture, stages

    if threads == "theirs":
        threadpoolctl.threadpool_limits = lambda _: nullcontext()
        stages.threads_for = lambda *_: nullcontext()
    began = perf_counter()
    if data == "table":
        few = {"pretrain_epochs": 100, "refine_epochs": 100, "epochs": 100}
        DeepMixture(3, random_state=0, **few).fit(load_iris().data)
    else:
        few = {"pretrain_epochs": 5, "refine_epochs": 5, "epochs": 5}
        DeepMixture(10, random_state=0, start="kmeans", **few).fit(load_digits().images)
    return perf_counter() - began


@contextmanager
def busy(n_processes: int) -> Iterator[None]:
    """Keep so many processes busy."""
    running = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(n_processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()


def main() -> None:
    """Time the fits and write the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", nargs=2, help="only this fit, in this process")
    arguments = parser.parse_args()
    if arguments.fit:
        print(fit(*arguments.fit))
        return
    found = []
    cores = os.cpu_count() or 1
    for data, beside, threads in itertools.product(DATA, (0, cores), THREADS):
        environment = {**os.environ, **({"GOMP_SPINCOUNT": SPINS} if threads == "ours" else {})}
        command = [sys.executable, "-m", "benchmarks.busy", "--fit", data, threads]
        with busy(beside):
            done = subprocess.run(
                command, capture_output=True, text=True, check=True, env=environment
            )
        found.append(
            {
                "data": DATA[data],
                "threads": THREADS[threads],
                "beside": beside,
                "seconds": float(done.stdout),
            }
        )
        print(json.dumps(found[-1]), flush=True)
    result = {"command": "python -m benchmarks.busy", "steps": found, **circumstances()}
    files.write(files.RESULTS / "busy.json", result)


if __name__ == "__main__":
    main()
