"""Mixtures of normals beside scikit-learn's: `python -m benchmarks.mixtures`.

Both begin with the same k-means and end with the same mixture. The two take turns; medians of
whole fits, in the widths of an embedding of the graph and of principal components.
"""

import argparse
import statistics
import time
import warnings
from typing import Any

import numpy as np
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from benchmarks import files
from benchmarks.hardware import circumstances, set_threads
from deepmixture import normal_mixture, trials
from deepmixture.normal_mixture import Products
from deepmixture.normals import least_variance

CASES = ((1000, 10, 10), (5000, 10, 10), (20_000, 10, 10), (5000, 50, 10), (20_000, 50, 10))
TURNS = 5


def theirs(rows: np.ndarray, n_clusters: int, seed: int) -> GaussianMixture:
    """Fit scikit-learn's mixture as ours is fitted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianMixture(
            n_clusters,
            reg_covar=least_variance(rows),
            tol=normal_mixture.LITTLE_GAIN,
            max_iter=normal_mixture.MOST_STEPS,
            random_state=int(np.random.default_rng(seed).integers(2**31)),
        ).fit(rows)


def compare(n_rows: int, n_columns: int, n_clusters: int) -> dict[str, Any]:
    """Return what a fit takes both ways, on rows whose clusters touch."""
    spread = 2.0 * np.sqrt(n_columns)
    rows, _ = make_blobs(n_rows, n_columns, centers=n_clusters, cluster_std=spread, random_state=0)
    taken: dict[str, list[float]] = {"scikit_learn": [], "ours": []}
    steps, apart = [], 0.0
    for seed in range(TURNS):
        began = time.perf_counter()
        expected = theirs(rows, n_clusters, seed)
        between = time.perf_counter()
        found = trials.fit_mixture(Products(rows), n_clusters, np.random.default_rng(seed))
        taken["scikit_learn"].append(between - began)
        taken["ours"].append(time.perf_counter() - between)
        steps.append(expected.n_iter_)
        apart = max(apart, float(np.abs(found.means - expected.means_).max()))
    medians = {way: statistics.median(seconds) for way, seconds in taken.items()}
    return {
        "n_rows": n_rows,
        "n_columns": n_columns,
        "n_clusters": n_clusters,
        "steps_of_em": statistics.median(steps),
        **{f"milliseconds_{way}": 1e3 * seconds for way, seconds in medians.items()},
        "times_as_fast": medians["scikit_learn"] / medians["ours"],
        "largest_difference_of_means": apart,
    }


def main() -> None:
    """Measure all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    result = {
        "command": f"python -m benchmarks.mixtures --threads {arguments.threads}",
        "steps": [compare(*case) for case in CASES],
        **circumstances(),
    }
    files.write(files.RESULTS / "mixtures.json", result)
    for step in result["steps"]:
        print(step, flush=True)


if __name__ == "__main__":
    main()
