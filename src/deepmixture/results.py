"""From a fitted estimator and its rows to what a run folder and a report hold."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import deepmixture
from deepmixture import run_folder
from deepmixture.data import scratch
from deepmixture.data.rows import row_slices
from deepmixture.run_folder import ROWS_A_PART, Assignments

if TYPE_CHECKING:
    from deepmixture.data import Rows
    from deepmixture.estimator import LatentMixtureEstimator
    from deepmixture.plots import Result

SAMPLES_PER_CLUSTER = 16
SHOWN_ROWS = 200_000
_PACKAGES = ("torch", "lightning-fabric", "scikit-learn", "scipy", "numpy")


@dataclass(frozen=True)
class Source:
    """Where the rows of a run came from.

    Attributes
    ----------
    data : str
        The path, absolute, or the name of data that ships with a package.
    key : str or None
        The array of an `.npz` file.
    """

    data: str
    key: str | None = None


def assign(estimator: LatentMixtureEstimator, rows: Rows) -> Assignments:
    """Say of each row its cluster, the probabilities, and the bound on its log density if any."""
    labels = np.empty(len(rows), int)
    log_density = np.empty(len(rows)) if hasattr(estimator, "score_samples") else None

    def responsibilities() -> Iterator[np.ndarray]:
        for part in row_slices(rows.values, ROWS_A_PART * rows.n_features):
            few = rows.part(part)
            found = np.asarray(estimator.predict_proba(few))
            labels[part] = found.argmax(1)
            if log_density is not None:
                log_density[part] = estimator.score_samples(few)
            yield found

    held = scratch.hold(responsibilities(), len(rows), estimator.n_clusters_, np.float64)
    return Assignments(labels, held, log_density)


def describe_run(
    estimator: LatentMixtureEstimator,
    rows: Rows,
    source: Source,
    *,
    model: str,
) -> dict[str, object]:
    """Collect what `run.json` says of a run."""
    settings = estimator.get_params(deep=False)
    return {
        "model": model,
        "seed": settings.get("random_state"),
        "settings": settings,
        "data": {
            "data": source.data,
            "key": source.key,
            "source": rows.source,
            "rows": len(rows),
            "features": rows.n_features,
            "image_shape": rows.image_shape,
        },
        "decisions": list(estimator.decisions_),
        "interrupted": bool(estimator.interrupted_),
        "epochs": int(estimator.n_iter_),
        "seconds": {stage: round(float(s), 3) for stage, s in estimator.timings_.items()},
        "versions": _versions(),
    }


def write_run(
    folder: Path,
    estimator: LatentMixtureEstimator,
    rows: Rows,
    assignments: Assignments,
    about: Mapping[str, object],
) -> None:
    """Write all of a run but its report, which may be written again at any time."""
    estimator.save(folder / run_folder.MODEL)
    parts = assignments.columns(rows.row_names)
    run_folder.write_table(folder / run_folder.LABELS, parts)
    run_folder.write_history(folder / run_folder.HISTORY, estimator.history_)
    run_folder.write_about(folder / run_folder.ABOUT, about)


def collect(
    estimator: LatentMixtureEstimator,
    rows: Rows,
    assignments: Assignments,
    history: Sequence[Mapping[str, object]],
    about: Mapping[str, Any],
) -> Result:
    """Collect what there is to show of a run, with fresh rows drawn from each cluster.

    Of more rows than a page can hold a part is shown, drawn at random.
    """
    from deepmixture.plots import Result

    seed = about["seed"] if isinstance(about["seed"], int) else 0
    sizes = np.bincount(assignments.labels, minlength=assignments.responsibilities.shape[1])
    decisions = list(about["decisions"])
    if len(rows) > SHOWN_ROWS:
        decisions.append(
            f"This page shows {SHOWN_ROWS:,} of {len(rows):,} rows, drawn at random; the sizes of "
            "clusters are of all."
        )
        shown = np.sort(np.random.default_rng(seed).permutation(len(rows))[:SHOWN_ROWS])
        numbered = tuple(f"row {row:,}" for row in shown)
        rows, assignments = rows.part(shown), assignments.part(shown)
        rows = replace(rows, row_names=rows.row_names or numbered)
    n_clusters = assignments.responsibilities.shape[1]
    samples = np.empty((n_clusters, 0, rows.n_features))
    if hasattr(estimator, "sample"):
        drawn = [
            estimator.sample(SAMPLES_PER_CLUSTER, cluster=k, random_state=seed + k)[0]
            for k in range(n_clusters)
        ]
        samples = np.stack([np.asarray(x).reshape(len(x), -1) for x in drawn])
    encodes = hasattr(estimator, "transform")
    return Result(
        title=f"{about['model']} on {rows.source}",
        rows=rows.values,
        names=rows.names,
        image_shape=rows.image_shape,
        row_names=rows.row_names,
        labels=assignments.labels,
        responsibilities=assignments.responsibilities,
        log_density=assignments.log_density,
        latent=np.asarray(estimator.transform(rows)) if encodes else None,
        samples=samples,
        cannot=dict(estimator.cannot),
        merges=getattr(estimator, "merges_", []),
        history=[dict(record) for record in history],
        settings={
            name: about[name] for name in ("model", "settings", "data", "seconds", "versions")
        },
        decisions=decisions,
        sizes=sizes,
        source=rows.source,
    )


def _versions() -> dict[str, str]:
    versions = {"deepmixture": deepmixture.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        versions[package] = version(package)
    return versions
