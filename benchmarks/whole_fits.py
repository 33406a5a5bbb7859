"""Whole fits beside ClustPy's, each at its own defaults: `python -m benchmarks.whole_fits`.

Needs `pip install clustpy`. The same images of MNIST, 10,000 or with `--rows 70000` all, the same
threads; seconds from the rows to the labels, and how good they are. What is there already is not
measured again.
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
N_TRAIN = 60_000
Fit = Callable[[np.ndarray, int], np.ndarray]


def ours(name: str) -> Fit:
    """Return a fit of ours by its defaults: images and a seed to labels."""
    make = deepmixture.MODELS[name]
    return lambda images, seed: make(10, random_state=seed).fit(images).labels_


def short(images: np.ndarray, seed: int) -> np.ndarray:
    """Fit DeepMixture to what ClustPy's VaDE comes to; the lengths were found with seed 100."""
    steps_an_epoch = len(images) / 256
    model = deepmixture.DeepMixture(
        10,
        pretrain_epochs=max(6, round(600 / steps_an_epoch)),
        n_rounds=1,
        refine_epochs=max(2, round(240 / steps_an_epoch)),
        epochs=1,
        random_state=seed,
    )
    return model.fit(images).labels_


def clustpy(name: str) -> Fit:
    """Return a fit of ClustPy's by its defaults."""

    def fit(images: np.ndarray, seed: int) -> np.ndarray:
        rows = images.reshape(len(images), -1) / np.float32(255)
        make = getattr(import_clustpy(), name)
        return make(10, random_state=seed, device="cpu").fit(rows).labels_

    return fit


CONTENDERS: dict[str, Fit] = {
    "deepmixture": ours("deepmixture"),
    "deepmixture, short": short,
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
    parts = "x_train+x_test" if arguments.rows > N_TRAIN else "x_train"
    images = open_rows(source, key=parts).values
    drawn = np.random.default_rng(0).permutation(len(images))[: arguments.rows]  # sorted by class
    images = images[drawn].reshape(-1, 28, 28)
    known = read_labels(source, key=parts.replace("x", "y"))[drawn]
    for name in arguments.only:
        about = f"{len(images)}-seed{arguments.seed}"
        target = FOLDER / f"{name.replace(', ', '-')}-{about}.json"
        if target.exists():
            continue
        began = time.perf_counter()
        labels = CONTENDERS[name](images, arguments.seed)
        result: dict[str, Any] = {
            "command": f"python -m benchmarks.whole_fits --rows {len(images)} "
            f"--threads {arguments.threads}",
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
