"""A fit on more rows than memory is given: `python -m benchmarks.streaming`.

Ten normals in 64 columns are written as a folder of Parquet files. One process fits VaDE on the
folder, from a scratch file, and says how much memory it had at most and what an epoch cost a row;
before and after it, others do the same with a tenth of the rows in memory.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.files import RESULTS, write
from benchmarks.hardware import circumstances, set_threads

FILES, CLUSTERS = 10, 10
SHORT: dict[str, Any] = {
    "hidden": (256, 256),
    "pretrain_epochs": 1,
    "epochs": 2,
    "hold_epochs": 1,
    "start": "gmm",
    "n_init": 3,
}


def write_rows(folder: Path, n_rows: int, n_columns: int) -> None:
    """Write Parquet files of rows around ten centres, the labels beside them."""
    import pyarrow as pa
    from pyarrow import parquet

    centres = 0.4 * np.random.default_rng(0).normal(size=(CLUSTERS, n_columns))
    for number in range(FILES):
        rng = np.random.default_rng(1 + number)
        labels = rng.integers(0, CLUSTERS, n_rows // FILES)
        rows = rng.standard_normal((len(labels), n_columns), dtype=np.float32)
        rows += centres[labels].astype(np.float32)
        table = pa.table({f"x{i}": rows[:, i] for i in range(n_columns)})
        parquet.write_table(table, folder / f"{number}.parquet", row_group_size=100_000)
        np.save(folder / f"_labels{number}.npy", labels)


def fit(folder: Path, share: float, batch_size: int) -> dict[str, Any]:
    """Fit on the first files of the folder; return memory, seconds and the score."""
    import deepmixture
    from deepmixture.metrics import score_clustering

    n_files = max(1, round(share * FILES))
    source = folder
    if n_files < FILES:
        source = folder.with_name(f"{folder.name}-part")
        source.mkdir()
        for number in range(n_files):
            os.link(folder / f"{number}.parquet", source / f"{number}.parquet")
    began = time.perf_counter()
    try:
        rows = deepmixture.open_rows(source)
    finally:
        if source != folder:
            shutil.rmtree(source)
    opened = time.perf_counter() - began
    model = deepmixture.VaDE(CLUSTERS, **SHORT, batch_size=batch_size, random_state=0).fit(rows)
    fitted = time.perf_counter() - began
    labels = model.predict(rows)
    predicted = time.perf_counter() - began - fitted
    peak = most_resident()
    known = np.concatenate([np.load(folder / f"_labels{i}.npy") for i in range(n_files)])
    stages = {"pretraining": [], "evidence": []}
    for record in model.history_:
        if record["stage"] in stages:
            stages[record["stage"]].append(1e6 * record["seconds"] / len(rows))
    return {
        "rows": len(rows),
        "peak_resident_gigabytes": peak,
        "seconds_to_open": opened,
        "seconds_to_fit": fitted - opened,
        "seconds_to_predict": predicted,
        "microseconds_a_row_and_epoch": stages,
        "last_loss": model.history_[-1]["loss"],
        "nmi": score_clustering(known, labels)["nmi"],
        "decisions": model.decisions_,
    }


def most_resident() -> float:
    """Return the most gigabytes that this process has had in memory."""
    # The figure of getrusage begins at that of the process which started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e6


def equal(n_rows: int = 250_000, n_columns: int = 64) -> Iterator[dict[str, Any]]:
    """Fit the same rows from memory and from a scratch file, with two seeds."""
    import deepmixture
    from deepmixture.metrics import score_clustering

    rng = np.random.default_rng(1)
    centres = 0.4 * np.random.default_rng(0).normal(size=(CLUSTERS, n_columns))
    labels = rng.integers(0, CLUSTERS, n_rows)
    rows = rng.standard_normal((n_rows, n_columns), dtype=np.float32)
    rows += centres[labels].astype(np.float32)
    for seed in (0, 1):
        for limit in (2.0, 0.01):
            model = deepmixture.VaDE(
                CLUSTERS,
                **SHORT,
                kind="table",
                batch_size=1024,
                memory_limit=limit,
                random_state=seed,
            ).fit(rows)
            yield {
                "rows": n_rows,
                "on_disk": limit < 1.0,
                "seed": seed,
                "nmi": score_clustering(labels, model.labels_)["nmi"],
                "last_loss": model.history_[-1]["loss"],
            }


def main() -> None:
    """Write the rows, fit in processes of their own, and write the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--columns", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--equal", action="store_true", help="the same rows from both, instead")
    parser.add_argument("--fit", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--share", type=float, default=1.0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    if arguments.fit:
        print(json.dumps(fit(arguments.fit, arguments.share, arguments.batch_size)))
        return
    if arguments.equal:
        result = {"command": "python -m benchmarks.streaming --equal", "fits": list(equal())}
        write(RESULTS / "streaming-equal.json", result | circumstances())
        return
    folder = Path(tempfile.mkdtemp(prefix="streaming-"))
    try:
        write_rows(folder, arguments.rows, arguments.columns)
        found = []
        for share in (0.1, 1.0, 0.1):
            command = [sys.executable, "-m", "benchmarks.streaming", "--fit", str(folder)]
            command += ["--share", str(share), "--batch-size", str(arguments.batch_size)]
            command += ["--threads", str(arguments.threads)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found.append(json.loads(done.stdout))
            print(json.dumps(found[-1]), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)

    def cost(result: dict[str, Any]) -> float:
        return min(result["microseconds_a_row_and_epoch"]["pretraining"])

    in_memory = 0.5 * (cost(found[0]) + cost(found[2]))
    result = {
        "command": f"python -m benchmarks.streaming {' '.join(sys.argv[1:])}".strip(),
        "columns": arguments.columns,
        "batch_size": arguments.batch_size,
        "on_disk": found[1],
        "in_memory": [found[0], found[2]],
        "cost_a_row_over_that_in_memory": cost(found[1]) / in_memory,
        **circumstances(),
    }
    name = "streaming" if arguments.columns == 64 else f"streaming-{arguments.columns}-columns"
    write(RESULTS / f"{name}.json", result)


if __name__ == "__main__":
    main()
