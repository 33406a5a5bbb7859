"""What `predict` takes over what it must: `python -m benchmarks.predicting`.

The floor of a `predict` is the time of the matrix products and convolutions that it computes, each
measured alone on this machine with tensors of the same shapes, strides and types. Whether labels
and probabilities of a row depend on the rows that come with it is tried on groups of rows.
"""

import argparse
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import files, floor
from benchmarks.hardware import circumstances, set_threads

GROUP_SIZES = (1, 7, 1000)
MOST_GROUPS = 64  # a group of one row takes as long as one of hundreds


def same_alone(predict: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> bool:
    """Return whether groups of rows are given, to the bit, what all rows at once are given."""
    whole = predict(rows)
    order = np.random.default_rng(0).permutation(len(rows))
    for size in GROUP_SIZES:
        for start in range(0, min(len(rows), size * MOST_GROUPS), size):
            group = order[start : start + size]
            if predict(rows[group]).tobytes() != whole[group].tobytes():
                return False
    return True


def measure(name: str, rows: np.ndarray) -> dict[str, Any]:
    """Return the milliseconds of a model's `predict` and of its floor."""
    fitted = floor.short_fit(name, rows, batch_size=256)
    took = floor.timed(lambda: fitted.predict(rows), 1.0)
    with floor.Products() as products:
        fitted.predict(rows)
    least = floor.seconds_alone(products)
    return {
        "model": name,
        "n_rows": len(rows),
        "milliseconds_of_predict": 1e3 * took,
        "milliseconds_of_products": 1e3 * least,
        "over_the_floor": took / least,
        "same_alone": all(same_alone(way, rows) for way in (fitted.predict, fitted.predict_proba)),
    }


def main() -> None:
    """Measure all models and write the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, default=20_480)
    parser.add_argument("--only", nargs="*", default=list(floor.MODELS))
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    rows = floor.images(arguments.rows)
    found = []
    for name in arguments.only:
        found.append(measure(name, rows))
        print(json.dumps(found[-1]), flush=True)
    result = {
        "command": f"python -m benchmarks.predicting --threads {arguments.threads}",
        "steps": found,
        **circumstances(),
    }
    files.write(files.RESULTS / "predicting.json", result)


if __name__ == "__main__":
    main()
