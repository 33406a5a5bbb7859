"""Fits killed by SIGKILL at random moments: `python -m benchmarks.kills --kills 25`.

`deepmixture fit ... --resume RUN` is started, killed after a random time, and started again until
it ends; then the next fit begins, until there were as many kills as asked for. The weights and the
labels of every fit are compared, byte by byte, with those of a fit that was left alone.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import files
from benchmarks.hardware import circumstances, set_threads

COMPARED = ("model/model.safetensors", "labels.parquet")


def start(data: str, run: Path, every: float) -> subprocess.Popen[bytes]:
    """Start or go on with a fit in a process of its own."""
    command = [sys.executable, "-m", "deepmixture", "fit", data, "--resume", str(run)]
    command += ["--no-report", "--checkpoint-every", str(every)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def digest(run: Path) -> str:
    """Return the SHA-256 of what a fit has found."""
    return hashlib.sha256(b"".join((run / name).read_bytes() for name in COMPARED)).hexdigest()


def main() -> int:
    """Kill, go on, compare, and write the result; return 1 if a fit differed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--data", default="sklearn:digits")
    parser.add_argument("--every", type=float, default=0.5, help="seconds between checkpoints")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    moments = random.Random(0)
    base = Path(tempfile.mkdtemp(prefix="kills-"))
    try:
        began = time.perf_counter()
        if start(arguments.data, base / "whole", arguments.every).wait() != 0:
            return 1
        whole = time.perf_counter() - began
        wanted = digest(base / "whole")
        killed_after: list[list[float]] = []
        while sum(map(len, killed_after)) < arguments.kills:
            run = base / f"fit{len(killed_after)}"
            killed_after.append([])
            while True:
                process = start(arguments.data, run, arguments.every)
                left = arguments.kills - sum(map(len, killed_after))
                try:
                    process.wait(moments.uniform(0.0, 0.6 * whole) if left else None)
                    break
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    killed_after[-1].append(round(time.perf_counter() - began, 1))
            same = process.returncode == 0 and digest(run) == wanted
            print(f"fit {len(killed_after)}: {len(killed_after[-1])} kills, same bits: {same}")
            if not same:
                return 1
    finally:
        shutil.rmtree(base, ignore_errors=True)
    result = {
        "command": f"python -m benchmarks.kills --kills {arguments.kills}",
        "data": arguments.data,
        "kills": arguments.kills,
        "fits": len(killed_after),
        "fits_with_the_same_bits": len(killed_after),
        "seconds_of_a_whole_fit": round(whole, 1),
        "seconds_between_checkpoints": arguments.every,
        "killed_after_seconds": killed_after,
        **circumstances(),
    }
    files.write(files.RESULTS / "kills.json", result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
