"""Which label-free criterion ranks runs as their accuracy does: `python -m benchmarks.criteria`.

Of models that `python -m benchmarks run TABLE --only deepmixture --keep FOLDER` saved: the mutual
information I(x; y) of the responsibilities, I(y; y') of the clusters of two changed copies of a
row, the agreement of the labels with those of the other runs (normalised mutual information), the
bound on log p(x) of 2,000 rows, and the disagreement of q(y|x) with the model's own posterior. The
classes are opened last, for the score alone. Each table that has models in the folder is judged
anew, and has a results file of its own.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

import deepmixture
from benchmarks import files, runner
from benchmarks.hardware import circumstances, set_threads
from deepmixture import Rows, selection, trials
from deepmixture.connections import information
from deepmixture.metrics import score_clustering
from deepmixture.models.deepmixture import Refinement

TABLES = ("digits", "imagenette", "fashion_mnist", "cifar10")
JUDGED_ROWS = 2000
CRITERIA = ("mutual_information", "told_when_changed", "agreement", "evidence", "own_posterior")


def judge(table: str, models: Path) -> dict[str, Any] | None:
    """Return what each criterion says of the runs of a table, and their scores.

    None where the folder has no two models of it.
    """
    folders = {seed: models / f"{table}-deepmixture-seed{seed}" for seed in range(10)}
    folders = {seed: folder for seed, folder in folders.items() if folder.exists()}
    if len(folders) < 2:
        return None
    settings = files.read_settings(table)
    rows = runner.load_rows(settings)
    few = np.random.default_rng(0).choice(len(rows), min(JUDGED_ROWS, len(rows)), replace=False)
    found, responsibilities = [], []
    for seed, folder in folders.items():
        model = deepmixture.load(folder)
        shape = model.image_shape_
        some = rows[np.sort(few)]
        p = runner.q_y(model, model.predict_proba(rows))
        responsibilities.append(p)
        found.append(
            {
                "seed": seed,
                "mutual_information": trials.mutual_information(p),
                "told_when_changed": told_when_changed(model, rows),
                "evidence": float(model.score(some.reshape(len(some), *shape) if shape else some)),
                "own_posterior": 1.0 - model.disagreement_,
            }
        )
    for run, agreement in zip(found, selection.agreements(responsibilities), strict=True):
        run["agreement"] = agreement
    classes = runner.load_classes(settings)
    for run, p in zip(found, responsibilities, strict=True):
        scores = score_clustering(classes, p.argmax(1))
        run |= {name: scores[name] for name in ("accuracy", "nmi")}
    return {"table": table, "runs": found, "criteria": ranked(found)}


def told_when_changed(model: Any, rows: Rows) -> float:
    """Return I(y; y') in nats of two changed copies of a row, changed as in training.

    On at most 20,000 of the rows, each changed four times.
    """
    x = model._scaled(rows)
    space, _ = model._space(x, model._evaluate(model.model_.latent, x).double().numpy())
    refinement = Refinement(model.model_, None, model._change(x, space))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return information(model._passed(refinement, x, torch.arange(len(x))))


def ranked(runs: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return each criterion's rank correlation with the accuracy, and whom it would keep."""
    accuracy = np.array([run["accuracy"] for run in runs])
    said = {}
    for name in CRITERIA:
        values = np.array([run[name] for run in runs])
        said[name] = {
            "rank_correlation": float(spearmanr(values, accuracy).statistic),
            "kept": float(accuracy[values.argmax()]),
            "of_four": float(np.mean(kept_of_four(values, accuracy))),
        }
    return said


def kept_of_four(values: np.ndarray, accuracy: np.ndarray) -> list[float]:
    """Return the accuracy of the run that is kept of four, of 1,000 drawings of four."""
    rng = np.random.default_rng(0)
    drawn = [rng.choice(len(values), min(4, len(values)), replace=False) for _ in range(1000)]
    return [float(accuracy[four[values[four].argmax()]]) for four in drawn]


def main() -> None:
    """Judge all saved models and write the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, help="the folder in which the models were kept")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    for table in TABLES:
        if (judged := judge(table, arguments.models)) is not None:
            result = {"command": "python -m benchmarks.criteria MODELS", **judged}
            files.write(files.RESULTS / "criteria" / f"{table}.json", result | circumstances())


if __name__ == "__main__":
    main()
