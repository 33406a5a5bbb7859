"""A fit of a small table on a machine that has other work: `python -m benchmarks.busy`.

Seconds of whole fits of 150 flowers by DeepMixture, each in a fresh process: alone, and beside as
many processes as there are cores that do nothing but count. With the threads as they are, which is
one where the work is small, and with all that the libraries would take.
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

THREADS = {"few": "one where the work is small", "all": "all, always"}
BUSY = "while True: pass"


def fit(threads: str) -> float:
    """Return the seconds of a fit in this process."""
    import threadpoolctl
    from sklearn.datasets import load_iris

    from deepmixture import DeepMixture, stages

    if threads == "all":
        threadpoolctl.threadpool_limits = lambda _: nullcontext()
        stages.threads_for = lambda *_: nullcontext()
    began = perf_counter()
    DeepMixture(3, random_state=0).fit(load_iris().data)
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
    parser.add_argument("--fit", choices=list(THREADS), help="only this fit, in this process")
    arguments = parser.parse_args()
    if arguments.fit:
        print(fit(arguments.fit))
        return
    found = []
    for beside, threads in itertools.product((0, os.cpu_count() or 1), THREADS):
        command = [sys.executable, "-m", "benchmarks.busy", "--fit", threads]
        with busy(beside):
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        step = {"threads": THREADS[threads], "beside": beside, "seconds": float(done.stdout)}
        found.append({**step, "times": step["seconds"] / (found or [step])[0]["seconds"]})
        print(json.dumps(found[-1]), flush=True)
    result = {"command": "python -m benchmarks.busy", "steps": found, **circumstances()}
    files.write(files.RESULTS / "busy.json", result)


if __name__ == "__main__":
    main()
