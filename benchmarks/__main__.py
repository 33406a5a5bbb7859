"""Run benchmarks: `python -m benchmarks run mnist`, `python -m benchmarks table`.

Data is read from the folder in the environment variable DEEPMIXTURE_DATA. A run whose results
file is there already is skipped, so an interrupted table goes on where it stopped.
"""

import argparse
import json
import os
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits

from benchmarks.baselines import BASELINES
from benchmarks.hardware import circumstances
from benchmarks.sharing import saved, share_beginnings
from deepmixture import MODELS, Rows, TrainingDiverged, open_rows
from deepmixture.label_files import read_labels
from deepmixture.metrics import score_clustering

HERE = Path(__file__).resolve().parent
DIGITS = "sklearn:digits"


def run_table(
    table: str, only: list[str] | None, seeds: list[int] | None, keep: Path | None
) -> None:
    """Fit every run of a table for every seed and write one results file each."""
    settings = tomllib.loads((HERE / "settings" / f"{table}.toml").read_text())
    for seed in seeds or settings["seeds"]:
        for name in only or settings["runs"]:
            target = HERE / "results" / table / f"{name}-seed{seed}.json"
            if not target.exists() and claim(target):
                try:
                    kept = keep / f"{table}-{name}-seed{seed}" if keep else None
                    result = run_one(settings, settings["runs"][name], seed, kept)
                finally:
                    claim_of(target).unlink(missing_ok=True)
                write(target, {"table": table, "run": name, **result})
                print(f"{name} seed {seed}: {shown(result)}", flush=True)


def shown(result: dict[str, Any]) -> str:
    """Return the line that says how a run ended."""
    if "failed" in result:
        return f"failed: {result['failed']}"
    scores = result["scores"]["all"]
    return ", ".join(f"{name} {value:.4g}" for name, value in scores.items())


def claim_of(target: Path) -> Path:
    """Return the file that says which process works on a run."""
    return target.with_suffix(".claim")


def claim(target: Path) -> bool:
    """Take a run, unless a living process has taken it: several may work on one table."""
    target.parent.mkdir(parents=True, exist_ok=True)
    file = claim_of(target)
    for _ in range(2):
        try:
            with file.open("x") as stream:
                stream.write(str(os.getpid()))
            return True
        except FileExistsError:
            owner = file.read_text().strip()
            if not owner or (owner.isdigit() and Path(f"/proc/{owner}").exists()):
                return False
            file.unlink(missing_ok=True)
    return False


def run_one(
    settings: dict[str, Any], run: dict[str, Any], seed: int, keep: Path | None
) -> dict[str, Any]:
    """Fit one estimator and score it; the labels are opened after the fit."""
    rows = load_rows(settings)
    models = {**MODELS, **BASELINES}
    estimator = models[run["model"]](run.get("n_clusters", settings["n_clusters"]))
    estimator.set_params(random_state=seed, **run.get("parameters", {}))
    facts = {
        "seed": seed,
        "model": run["model"],
        "parameters": estimator.get_params(deep=False),
        "n_rows": len(rows),
        "fitted_on": settings["title"],
    }
    saved[0] = 0.0
    began = time.perf_counter()
    try:
        estimator.fit(rows)
    except TrainingDiverged as error:
        # A row of a table that diverges is a result, and never lost.
        return {**facts, "failed": str(error), **circumstances()}
    seconds = time.perf_counter() - began + saved[0]
    if keep and hasattr(estimator, "save"):
        estimator.save(keep)

    classes = load_classes(settings)
    parts = {"all": slice(None)}
    if n_train := settings.get("n_train"):
        parts |= {"train": slice(0, n_train), "test": slice(n_train, None)}
    history = getattr(estimator, "history_", [{}])
    probable = estimator.predict_proba(rows) if hasattr(estimator, "predict_proba") else None
    return {
        **facts,
        "scores": {
            part: score_clustering(
                classes[index],
                estimator.labels_[index],
                None if probable is None else probable[index],
            )
            for part, index in parts.items()
        },
        "wall_seconds": seconds,
        "stage_seconds": getattr(estimator, "timings_", {}),
        "epochs": getattr(estimator, "n_iter_", 0),
        "last_epoch": history[-1],
        **circumstances(),
    }


def load_rows(settings: dict[str, Any]) -> Rows:
    """Open the rows of a table, without their labels."""
    if settings["data"] == DIGITS:
        return open_rows(load_digits().images)
    return open_rows(source(settings), key=settings["key"])


def load_classes(settings: dict[str, Any]) -> np.ndarray:
    """Open the labels of a table: called after the fit, for the score alone."""
    if settings["data"] == DIGITS:
        classes: np.ndarray = load_digits().target
        return classes
    return read_labels(source(settings), key=settings["labels"])


def source(settings: dict[str, Any]) -> Path:
    """Return the file that holds the data of a table."""
    if "DEEPMIXTURE_DATA" not in os.environ:
        raise SystemExit("set DEEPMIXTURE_DATA to the folder that holds " + settings["data"])
    return Path(os.environ["DEEPMIXTURE_DATA"]) / settings["data"]


def write(target: Path, result: dict[str, Any]) -> None:
    """Write beside and rename, so that a results file is whole or absent."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_suffix(".tmp")
    beside.write_text(json.dumps(result, indent=2, default=str) + "\n")
    beside.replace(target)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run a table, skipping what has its results file")
    run.add_argument("table")
    run.add_argument("--only", nargs="*", help="these runs of the table")
    run.add_argument("--seeds", nargs="*", type=int)
    run.add_argument("--threads", type=int, help="threads of the matrix products")
    run.add_argument("--share", type=Path, help="folder in which runs share their beginnings")
    run.add_argument("--keep", type=Path, help="folder in which the fitted models are kept")
    figures = commands.add_parser("figures", help="draw samples and latents of a kept model")
    figures.add_argument("model", type=Path)
    figures.add_argument("table")
    commands.add_parser("table", help="write docs/benchmarks.md from the results files")
    arguments = parser.parse_args()
    if arguments.command == "run":
        if arguments.threads:
            torch.set_num_threads(arguments.threads)
        if arguments.share:
            share_beginnings(arguments.share)
        run_table(arguments.table, arguments.only, arguments.seeds, arguments.keep)
    elif arguments.command == "figures":
        from benchmarks.figures import draw_figures

        torch.set_num_threads(1)
        settings = tomllib.loads((HERE / "settings" / f"{arguments.table}.toml").read_text())
        target = HERE.parent / "docs" / "images"
        for file in draw_figures(arguments.model, load_rows(settings), target):
            print(file)
    else:
        from benchmarks.tables import write_page

        write_page()


if __name__ == "__main__":
    main()
