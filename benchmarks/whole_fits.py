"""Whole fits beside ClustPy's, each at its own defaults: `python -m benchmarks.whole_fits`.

Needs `pip install clustpy`. The same 10,000 images of MNIST, the same threads; seconds from the
rows to the labels, and how good they are. What is there already is not measured again.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import deepmixture
from benchmarks import files
from benchmarks.hardware import circumstances, set_threads
from benchmarks.peers import import_clustpy
from deepmixture import open_rows
from deepmixture.label_files import read_labels
from deepmixture.metrics import score_clustering

FOLDER = files.RESULTS / "whole_fits"
Fit = Callable[[np.ndarray, int], np.ndarray]


# The time to what ClustPy's VaDE comes to at its defaults; found with seed 100.
SHORT = {"pretrain_epochs": 15, "n_rounds": 1, "refine_epochs": 6, "epochs": 1}


def ours(name: str, **settings: int) -> Fit:
    """Return a fit of ours, by its defaults or other settings: images and a seed to labels."""
    make = deepmixture.MODELS[name]
    return lambda images, seed: make(10, random_state=seed, **settings).fit(images).labels_


def clustpy(name: str) -> Fit:
    """Return a fit of ClustPy's by its defaults."""

    def fit(images: np.ndarray, seed: int) -> np.ndarray:
        rows = images.reshape(len(images), -1) / np.float32(255)
        make = getattr(import_clustpy(), name)
        return make(10, random_state=seed, device="cpu").fit(rows).labels_

    return fit


CONTENDERS: dict[str, Fit] = {
    "deepmixture": ours("deepmixture"),
    "deepmixture, short": ours("deepmixture", **SHORT),
    "vade": ours("vade"),
    "dec": ours("dec"),
    "ClustPy-VaDE": clustpy("VaDE"),
    "ClustPy-DEC": clustpy("DEC"),
}


def main() -> None:
    """Time the fits that are not there yet, each into a file of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(CONTENDERS))
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    source = Path(os.environ["DEEPMIXTURE_DATA"]) / "mnist.npz"
    images = open_rows(source, key="x_train").values
    drawn = np.random.default_rng(0).permutation(len(images))[: arguments.rows]  # sorted by class
    images = images[drawn].reshape(-1, 28, 28)
    known = read_labels(source, key="y_train")[drawn]
    for name in arguments.only:
        target = FOLDER / f"{name.replace(', ', '-')}-seed{arguments.seed}.json"
        if target.exists():
            continue
        began = time.perf_counter()
        labels = CONTENDERS[name](images, arguments.seed)
        result: dict[str, Any] = {
            "command": f"python -m benchmarks.whole_fits --threads {arguments.threads}",
            "name": name,
            "seed": arguments.seed,
            "n_rows": len(images),
            "seconds": time.perf_counter() - began,
            "scores": score_clustering(known, labels),
        }
        files.write(target, result | circumstances())
        print(name, result["seconds"], result["scores"]["nmi"], flush=True)


if __name__ == "__main__":
    main()
