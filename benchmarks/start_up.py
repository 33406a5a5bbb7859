"""How long it takes to begin: `python -m benchmarks.start_up`.

Seconds of fresh processes that import torch, that import this package too, that also fetch the
default estimator, and that show the help of the command. The processes take turns, so that a
drift of the machine's speed falls on all; medians of the turns.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

from benchmarks import files
from benchmarks.hardware import circumstances

TORCH = "import torch"
PROCESSES = {
    TORCH: ["-c", TORCH],
    "import torch, deepmixture": ["-c", "import torch, deepmixture"],
    "import torch; from deepmixture import DeepMixture": [
        "-c",
        "import torch; from deepmixture import DeepMixture",
    ],
    "python -m deepmixture --help": ["-m", "deepmixture", "--help"],
}


def seconds(arguments: list[str]) -> float:
    """Return the seconds from the start of a Python process to its end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Time the turns and write the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=11)
    arguments = parser.parse_args()
    taken: dict[str, list[float]] = {name: [] for name in PROCESSES}
    for turn in range(arguments.turns + 1):
        for name, process in PROCESSES.items():
            took = seconds(process)
            if turn > 0:  # the first turn fills the caches of the file system
                taken[name].append(took)
    found = []
    for name, own in taken.items():
        beyond = (a - b for a, b in zip(own, taken[TORCH], strict=True))
        found.append(
            {
                "process": name,
                "seconds": statistics.median(own),
                "seconds_beyond_torch": statistics.median(beyond),
            }
        )
        print(json.dumps(found[-1]), flush=True)
    result = {
        "command": "python -m benchmarks.start_up",
        "turns": arguments.turns,
        "steps": found,
        **circumstances(),
    }
    files.write(files.RESULTS / "start_up.json", result)


if __name__ == "__main__":
    main()
