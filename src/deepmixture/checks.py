"""What is asked of parameters and rows before any work begins."""

import math
import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from deepmixture import data, gradients, likelihoods, nets
from deepmixture.batches import ScaledRows, in_blocks

if TYPE_CHECKING:
    from deepmixture.estimator import LatentMixtureEstimator

KINDS = ("auto", "image", "table", "embedding", "counts")
CHOICES = {
    "kind": KINDS,
    "scaling": ("auto", "none", "unit", "standard", "global", "log"),
    "likelihood": ("auto", *likelihoods.NAMES),
    "network": ("auto", "mlp", "convolutional", "convolutional_valid"),
    "pretraining": ("autoencoder", "stacked", "vae", None),
    "start": ("gmm", "graph"),
    "optimiser": ("sgd", "adam"),
    "gradient": gradients.NAMES,
    "annealing": ("geometric", "halving", None),
    "clusters_from": ("posterior", "latent"),
    "consistency": ("auto", "affine", "neighbours", "mixup", "dropout", "noise", None),
    "mixture": ("static", "learned"),
}
COUNTS = {
    "n_clusters": 1,
    "n_latent": 1,
    "pretrain_epochs": 0,
    "epochs": 0,
    "refine_epochs": 0,
    "hold_epochs": 0,
    "classifier_epochs": 0,
    "halving_epochs": 1,
    "batch_size": 1,
    "devices": 1,
    "n_init": 1,
    "n_samples": 1,
    "n_rounds": 1,
    "n_noise": 1,
    "prior_width": 1,
    "update_steps": 1,
    "search_epochs": 1,
    "n_manifold": 1,
    "n_neighbors": 2,
    "n_embedded": 2,
}
AUTOMATIC = (
    "pretrain_epochs",
    "epochs",
    "refine_epochs",
    "hold_epochs",
    "classifier_epochs",
    "halving_epochs",
    "n_manifold",
)
POSITIVE = (
    "learning_rate",
    "likelihood_scale",
    "memory_limit",
    "clustering_rate",
    "mean_range",
    "latent_scale",
    "em_decay",
    "scale_floor",
    "least_scale_floor",
    "temperature",
    "least_temperature",
)
RANGES = {
    "start_weight": (0.0, 1.0),
    "min_information": (0.0, math.inf),
    "kl_annealing": (0.0, 1.0),
    "tolerance": (0.0, math.inf),
    "reconstruction_weight": (0.0, math.inf),
    "penalty_weight": (0.0, math.inf),
    "information_weight": (0.0, math.inf),
}
SWITCHES = ("learn_weights",)


def check_parameters(estimator: "LatentMixtureEstimator") -> None:
    """Refuse parameters that cannot be used.

    Raises
    ------
    TypeError, ValueError
        Naming the parameter, what came and what was expected.
    """
    choices = {**CHOICES, **estimator.choices}
    for name, value in estimator.get_params(deep=False).items():
        if name in estimator.objects and not isinstance(value, (str, type(None))):
            continue
        if name in choices and value not in choices[name]:
            expected = ", ".join(map(repr, choices[name]))
            raise ValueError(f"{name}={value!r} is not known; expected one of {expected}")
        automatic = name in (*AUTOMATIC, *estimator.automatic)
        if name in COUNTS and not (automatic and isinstance(value, str) and value == "auto"):
            check_count(name, value, COUNTS[name], " or 'auto'" if automatic else "")
        if name in SWITCHES and not isinstance(value, bool):
            raise TypeError(f"{name} must be True or False; got {value!r}")
        if name in POSITIVE and not 0 < _number(name, value) < math.inf:
            raise ValueError(f"{name}={value!r} must be above 0 and finite")
        if name in RANGES:
            least, most = RANGES[name]
            if not (least <= _number(name, value) <= most and math.isfinite(float(value))):
                limits = (
                    f"between {least:g} and {most:g}" if most < math.inf else f"at least {least:g}"
                )
                raise ValueError(f"{name}={value!r} must be {limits} and finite")
    if not isinstance(estimator.device, str):
        raise TypeError(f"device must be 'auto', 'cpu', 'cuda' or such; got {estimator.device!r}")
    hidden: object = estimator.hidden
    if hidden != "auto":
        if isinstance(hidden, str) or not isinstance(hidden, Sequence) or not hidden:
            raise TypeError(
                f"hidden must be 'auto' or a tuple of widths such as (500, 500); got {hidden!r}"
            )
        for width in hidden:
            check_count("hidden", width, 1)
    given = (estimator.encoder, estimator.decoder)
    if (given[0] is None) != (given[1] is None):
        raise ValueError("encoder and decoder must be given together; got only one of them")
    for name, module in zip(("encoder", "decoder"), given, strict=True):
        if module is not None and not isinstance(module, nn.Module):
            raise TypeError(f"{name} must be a torch.nn.Module; got {type(module).__name__}")
    most = max(1, estimator.batch_size // 2)  # batches are up to a half smaller, to be even
    if estimator.devices > most:
        raise ValueError(
            f"devices={estimator.devices} is too many to share out batches of "
            f"batch_size={estimator.batch_size} rows; expected at most {most}"
        )


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number; got {value!r}")
    return float(value)


def check_count(name: str, value: object, least: int, otherwise: str = "") -> None:
    """Refuse what is no integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer{otherwise}; got {value!r}")
    if int(value) < least:
        raise ValueError(f"{name}={value} must be at least {least}")


def check_seconds(name: str, value: object) -> None:
    """Refuse what is no number of seconds, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number of seconds; got {value!r}")
    if not float(value) >= 0:
        raise ValueError(f"{name}={value} must be at least 0 seconds")


def check_network(name: str, module: nn.Module, n_inputs: int) -> int:
    """Return how many numbers a network gives for a row of `n_inputs`, or refuse it."""
    try:
        return nets.output_width(module, n_inputs)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def check_cluster(cluster: object, n_clusters: int) -> None:
    """Refuse a cluster that is not there."""
    check_count("cluster", cluster, 0)
    if int(cluster) >= n_clusters:  # type: ignore[call-overload]
        raise ValueError(f"cluster={cluster} is not there: clusters go from 0 to {n_clusters - 1}")


def check_rows(rows: data.Rows, n_clusters: int) -> None:
    """Refuse fewer than two rows, or fewer rows than clusters."""
    if len(rows) < max(2, n_clusters):
        raise ValueError(
            f"X has too few rows to cluster: n_samples={len(rows)}; "
            f"expected at least {max(2, n_clusters)} (n_clusters={n_clusters})"
        )


def choose_kind(kind: str, rows: data.Rows) -> tuple[data.Kind, str]:
    """Return the kind of the rows and why."""
    return data.decide_kind(rows) if kind == "auto" else (cast(data.Kind, kind), "as given")


def check_unit_interval(x: ScaledRows, method: str, likelihood: str) -> None:
    """Refuse values that the likelihood cannot take."""
    ranges = [(float(block.min()), float(block.max())) for block in in_blocks(x)]
    least, most = min(low for low, _ in ranges), max(high for _, high in ranges)
    if least < 0.0 or most > 1.0:
        raise ValueError(
            f"likelihood={likelihood!r} takes values in [0, 1]; X after scaling={method!r} goes "
            f"from {least:.4g} to {most:.4g}. Use scaling='unit' or likelihood='gaussian'"
        )


def check_same_columns(estimator: "LatentMixtureEstimator", rows: data.Rows, reset: bool) -> None:
    """Remember number and names of the columns, or hold new rows against them."""
    names = None if rows.names is None else np.array(rows.names, dtype=object)
    if reset:
        estimator.n_features_in_ = rows.n_features
        if names is not None:
            estimator.feature_names_in_ = names
        elif hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
        return
    if rows.n_features != estimator.n_features_in_:
        raise ValueError(
            f"{rows.source} has {rows.n_features} features, but {type(estimator).__name__} is "
            f"expecting {estimator.n_features_in_} features as input"
        )
    expected = getattr(estimator, "feature_names_in_", None)
    if names is not None and expected is not None and list(names) != list(expected):
        differ = next((a, b) for a, b in zip(names, expected, strict=True) if a != b)
        raise ValueError(
            f"{rows.source} has other columns than the training rows: {differ[0]!r} where "
            f"{differ[1]!r} was expected; give the same columns in the same order"
        )


def check_same_images(expected: tuple[int, ...] | None, came: tuple[int, ...] | None) -> None:
    """Refuse images of another shape than the training images; flat rows are let through."""
    if came is not None and expected is not None and came != expected:
        raise ValueError(f"X has images of shape {came}; the model was fitted on {expected}")


def check_responsibilities(given: object, n_rows: int, n_clusters: int) -> np.ndarray:
    """Return given labels (N,) or responsibilities (N, K) as responsibilities.

    Raises
    ------
    ValueError
        If they are not of N rows and K clusters.
    """
    values = np.asarray(given)
    if values.shape == (n_rows,) and np.issubdtype(values.dtype, np.integer):
        if values.min() < 0 or values.max() >= n_clusters:
            raise ValueError(
                f"start holds labels from {values.min()} to {values.max()}; expected 0 to "
                f"{n_clusters - 1} (n_clusters={n_clusters})"
            )
        labels: np.ndarray = np.eye(n_clusters)[values]
        return labels
    if values.shape != (n_rows, n_clusters) or not np.issubdtype(values.dtype, np.number):
        raise ValueError(
            f"start has shape {values.shape} and dtype {values.dtype}; expected integer labels "
            f"({n_rows},) or responsibilities ({n_rows}, {n_clusters})"
        )
    values = values.astype(np.float64)
    if not (values >= 0.0).all() or not np.allclose(values.sum(1), 1.0, atol=1e-3):
        raise ValueError("start has rows that are negative or do not sum to one")
    return values


def check_latent(Z: object, n_latent: int) -> Tensor:
    """Return latents as a float32 tensor (n, D)."""
    try:
        given = Z.detach().cpu() if isinstance(Z, Tensor) else Z
        values = np.asarray(given, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Z must hold numbers, in shape (n, {n_latent}): {error}") from None
    if values.ndim != 2 or values.shape[1] != n_latent:
        raise ValueError(f"Z must have shape (n, {n_latent}); got {values.shape}")
    if not len(values):
        raise ValueError("Z has 0 rows; expected at least 1")
    if not np.isfinite(values).all():
        raise ValueError("Z has NaN or infinite entries; expected finite latents")
    return torch.from_numpy(np.ascontiguousarray(values))
