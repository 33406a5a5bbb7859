"""Fitting and scoring: from the settings of a table to one results file a run and seed."""

import os
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from benchmarks import files
from benchmarks.baselines import BASELINES
from benchmarks.hardware import circumstances
from benchmarks.sharing import saved
from deepmixture import MODELS, Rows, TrainingDiverged, open_rows
from deepmixture.label_files import read_labels
from deepmixture.metrics import expected_calibration_error, score_clustering

DIGITS = "sklearn:digits"


def run_table(
    table: str, only: list[str] | None, seeds: list[int] | None, keep: Path | None = None
) -> bool:
    """Fit what a table lacks, and write one results file each; return whether all went well.

    Parameters
    ----------
    table : str
    only : list of str, optional
        These runs of it.
    seeds : list of int, optional
        These seeds; else those of the run, or of the table.
    keep : Path, optional
        A folder in which the fitted models are saved, as TABLE-RUN-seedN.
    """
    settings = files.read_settings(table)
    unknown = [name for name in only or () if name not in settings["runs"]]
    if unknown:
        raise SystemExit(f"{table} has no run {unknown[0]!r}: {', '.join(settings['runs'])}")
    well = True
    for seed, name in plan(settings, only, seeds):
        target = files.result_file(table, name, seed)
        if not files.claim(target):
            continue
        folder = keep / f"{table}-{name}-seed{seed}" if keep else None
        try:
            result = run_one(settings, settings["runs"][name], seed, folder)
            files.write(target, {"table": table, "run": name, **result})
        except Exception:
            # No result but a mistake, which must not cost the table its other runs.
            traceback.print_exc()
            well = False
            continue
        finally:
            files.release(target)
        print(f"{name} seed {seed}: {shown(result)}", flush=True)
    return well


def plan(
    settings: files.Settings, only: list[str] | None, seeds: list[int] | None
) -> list[tuple[int, str]]:
    """Return seeds and runs: all runs of one seed before the next, so that no row is last."""
    runs = {name: settings["runs"][name] for name in only or settings["runs"]}
    wanted = {name: seeds or run.get("seeds", settings["seeds"]) for name, run in runs.items()}
    every = dict.fromkeys(seed for of_run in wanted.values() for seed in of_run)
    return [
        (seed, name)
        for seed in every
        for name, run in runs.items()
        if seed in wanted[name] and "not_run" not in run
    ]


def shown(result: files.Result) -> str:
    """Return the line that says how a run ended."""
    if "failed" in result:
        return f"failed: {result['failed']}"
    scores = result["scores"]["all"]
    return ", ".join(f"{name} {value:.4g}" for name, value in scores.items())


def run_one(
    settings: files.Settings, run: dict[str, Any], seed: int, keep: Path | None = None
) -> files.Result:
    """Fit one estimator, on the first rows where a table says so, and score it on all.

    The labels are opened after the fit.
    """
    rows = load_rows(settings)
    fitted = replace(rows, values=rows.values[: settings.get("fit_on")])
    models = {**MODELS, **BASELINES}
    estimator = models[run["model"]](run.get("n_clusters", settings["n_clusters"]))
    estimator.set_params(random_state=seed, **run["parameters"])
    facts = {
        "seed": seed,
        "model": run["model"],
        "parameters": estimator.get_params(deep=False),
        "n_rows": len(fitted),
        "fitted_on": settings["title"],
    }
    saved[0] = 0.0
    began = time.perf_counter()
    failed = None
    try:
        estimator.fit(fitted)
    except TrainingDiverged as error:
        # A row of a table that diverges is a result, and never lost.
        failed = str(error)
    facts["wall_seconds"] = time.perf_counter() - began + saved[0]
    if failed:
        return {**facts, "failed": failed, **circumstances()}
    if keep is not None and hasattr(estimator, "save"):  # baselines on raw rows have none
        estimator.save(keep)

    classes = load_classes(settings)
    p = probable(estimator, rows)
    labels = estimator.labels_
    if len(labels) < len(rows):
        apart = replace(rows, values=rows.values[len(labels) :])
        labels = np.concatenate([labels, estimator.predict(apart)])
    history = getattr(estimator, "history_", [{}])
    return {
        **facts,
        "scores": scores(settings, classes, labels, p),
        **calibration(estimator, classes, p),
        **facets(estimator, classes[: len(fitted)]),
        "stage_seconds": getattr(estimator, "timings_", {}),
        "epochs": getattr(estimator, "n_iter_", 0),
        "last_epoch": history[-1],
        **circumstances(),
    }


def probable(estimator: Any, rows: Rows) -> np.ndarray | None:
    """Return the responsibilities of the rows, of an estimator that has them."""
    return estimator.predict_proba(rows) if hasattr(estimator, "predict_proba") else None


def scores(
    settings: files.Settings, classes: np.ndarray, labels: np.ndarray, p: np.ndarray | None
) -> dict[str, dict[str, float | int]]:
    """Score all rows, and those of the train and of the test part apart."""
    parts = {"all": slice(None)}
    if n_train := settings.get("n_train"):
        parts |= {"train": slice(0, n_train), "test": slice(n_train, None)}
    return {
        part: score_clustering(classes[index], labels[index], None if p is None else p[index])
        for part, index in parts.items()
    }


def calibration(estimator: Any, classes: np.ndarray, p: np.ndarray | None) -> dict[str, Any]:
    """Return how far probabilities (N, K) are right, and would be without their temperature."""
    if p is None:
        return {}
    found: dict[str, Any] = {"calibration": reliability(classes, p)}
    if hasattr(estimator, "temperature_"):
        found["temperature"] = estimator.temperature_
        found["calibration_of_q"] = reliability(classes, q_y(estimator, p))
    return found


def q_y(estimator: Any, p: np.ndarray) -> np.ndarray:
    """Return q(y|x) itself, (N, K), of probabilities that have the estimator's temperature."""
    q = p**estimator.temperature_
    return q / q.sum(1, keepdims=True)


def reliability(classes: np.ndarray, p: np.ndarray) -> dict[str, Any]:
    """Return the expected calibration error of responsibilities (N, K) and its curve."""
    found = expected_calibration_error(classes, p)
    curve = {name: getattr(found, name).tolist() for name in ("confidence", "accuracy", "count")}
    return {"error": found.error, **curve}


def facets(estimator: Any, classes: np.ndarray) -> dict[str, Any]:
    """Score each facet of a model that has several clusterings."""
    labels = getattr(estimator, "facet_labels_", None)
    if labels is None or labels.shape[1] < 2:
        return {}
    return {"facets": [score_clustering(classes, facet) for facet in labels.T]}


def load_rows(settings: files.Settings) -> Rows:
    """Open the rows of a table, without their labels."""
    if settings["data"] == DIGITS:
        return open_rows(load_digits().images)
    rows = open_rows(source(settings), key=settings["key"])
    return replace(rows, values=rows.values[kept(settings)]) if "thinned" in settings else rows


def load_classes(settings: files.Settings) -> np.ndarray:
    """Open the labels of a table: called after the fit, for the score alone."""
    if settings["data"] == DIGITS:
        classes: np.ndarray = load_digits().target
        return classes
    classes = read_labels(source(settings), key=settings["labels"])
    return classes[kept(settings)] if "thinned" in settings else classes


def kept(settings: files.Settings) -> np.ndarray:
    """Return which rows a table keeps of which some classes are thinned: this makes its data."""
    classes = read_labels(source(settings), key=settings["labels"])
    thinned = settings["thinned"]
    drawn = np.random.default_rng(0).random(len(classes)) < thinned["share"]
    return np.flatnonzero(drawn | ~np.isin(classes, thinned["classes"]))


def source(settings: files.Settings) -> Path:
    """Return the file that holds the data of a table."""
    if "DEEPMIXTURE_DATA" not in os.environ:
        raise SystemExit("set DEEPMIXTURE_DATA to the folder that holds " + settings["data"])
    return Path(os.environ["DEEPMIXTURE_DATA"]) / settings["data"]
