"""Judging a clustering against known classes.

Cluster numbers carry no meaning, so they are matched with the classes first. Three habits exist
and all are reported: one cluster per class (the Hungarian matching, the usual "ACC"), each cluster
to its most frequent class ("many to one", never below the former), and each cluster to the class
of its surest row (many to one as well, never above the latter). Nothing here is ever seen by
training or by the choice of a model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import (
    adjusted_rand_score,
    homogeneity_completeness_v_measure,
    normalized_mutual_info_score,
)

__all__ = [
    "Calibration",
    "accuracy",
    "contingency",
    "expected_calibration_error",
    "many_to_one_accuracy",
    "match_clusters",
    "score_clustering",
    "surest_member_accuracy",
]

Codes = NDArray[np.intp]


def contingency(
    y_true: ArrayLike, labels: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.generic], NDArray[np.generic]]:
    """Count how often each class meets each cluster.

    Parameters
    ----------
    y_true : array of shape (N,)
        The known classes: numbers or strings.
    labels : array of shape (N,)
        The clusters found: numbers or strings.

    Returns
    -------
    counts : array of shape (n_classes, n_clusters)
        Rows are classes, columns are clusters.
    classes : array of shape (n_classes,)
        The distinct classes, sorted.
    clusters : array of shape (n_clusters,)
        The distinct clusters, sorted.
    """
    classes, y = _codes(y_true, "y_true")
    clusters, c = _codes(labels, "labels")
    _same_length(y, c, "y_true", "labels")
    flat = np.bincount(y * len(clusters) + c, minlength=len(classes) * len(clusters))
    return flat.reshape(len(classes), len(clusters)).astype(np.int64), classes, clusters


def match_clusters(y_true: ArrayLike, labels: ArrayLike) -> dict[object, object]:
    """Match clusters and classes one to one so that the most rows agree.

    Parameters
    ----------
    y_true : array of shape (N,)
        The known classes.
    labels : array of shape (N,)
        The clusters found.

    Returns
    -------
    dict
        Cluster to class. With more clusters than classes, some clusters are missing from it.
    """
    counts, classes, clusters = contingency(y_true, labels)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    return {clusters[c].item(): classes[r].item() for r, c in zip(rows, columns, strict=True)}


def accuracy(y_true: ArrayLike, labels: ArrayLike) -> float:
    """Fraction of rows in agreement under the best one-to-one matching (ACC).

    Parameters
    ----------
    y_true : array of shape (N,)
        The known classes.
    labels : array of shape (N,)
        The clusters found. Rows of a cluster left without a class count as wrong.
    """
    return _matched(contingency(y_true, labels)[0])


def many_to_one_accuracy(y_true: ArrayLike, labels: ArrayLike) -> float:
    """Fraction of rows which belong to the most frequent class of their cluster (purity).

    Parameters
    ----------
    y_true : array of shape (N,)
        The known classes.
    labels : array of shape (N,)
        The clusters found. More clusters never lower this figure, so read it beside their number.
    """
    return _purity(contingency(y_true, labels)[0])


def surest_member_accuracy(y_true: ArrayLike, responsibilities: ArrayLike) -> float:
    """Fraction of rows which belong to the class of the surest row of their cluster.

    The score of Makhzani et al. (2015, "Adversarial autoencoders", section 6), by which GMVAE is
    published (Dilokthanakul et al. 2016): the row of the highest probability in a cluster, and of
    several the first, gives its class to all rows of the cluster.

    Parameters
    ----------
    y_true : array of shape (N,)
        The known classes.
    responsibilities : array of shape (N, K)
        The probability of each cluster, rows summing to one.
    """
    p = _probabilities(responsibilities)
    y = _codes(y_true, "y_true")[1]
    _same_length(y, p, "y_true", "responsibilities")
    class_of_cluster = y[p.argmax(axis=0)]
    return float((class_of_cluster[p.argmax(axis=1)] == y).mean())


def score_clustering(
    y_true: ArrayLike, labels: ArrayLike, responsibilities: ArrayLike | None = None
) -> dict[str, float | int]:
    """Score a clustering against known classes, in every customary way.

    Parameters
    ----------
    y_true : array of shape (N,)
        The known classes: numbers or strings.
    labels : array of shape (N,)
        The clusters found: numbers or strings.
    responsibilities : array of shape (N, K), optional
        The probability of each cluster, for ``surest_member_accuracy``.

    Returns
    -------
    dict
        ``accuracy`` (one to one), ``many_to_one_accuracy``, ``nmi`` (arithmetic mean), ``ari``,
        ``v_measure``, ``homogeneity``, ``completeness``, all at most 1, and the counts
        ``used_clusters`` and ``classes``; with responsibilities ``surest_member_accuracy`` too.
    """
    counts, classes, clusters = contingency(y_true, labels)
    y, c = _codes(y_true, "y_true")[1], _codes(labels, "labels")[1]
    homogeneity, completeness, v_measure = homogeneity_completeness_v_measure(y, c)
    scores = {
        "accuracy": _matched(counts),
        "many_to_one_accuracy": _purity(counts),
        "nmi": float(normalized_mutual_info_score(y, c)),
        "ari": float(adjusted_rand_score(y, c)),
        "v_measure": float(v_measure),
        "homogeneity": float(homogeneity),
        "completeness": float(completeness),
        "used_clusters": len(clusters),
        "classes": len(classes),
    }
    if responsibilities is not None:
        scores["surest_member_accuracy"] = surest_member_accuracy(y_true, responsibilities)
    return scores


@dataclass(frozen=True)
class Calibration:
    """How far the stated probabilities can be believed.

    Attributes
    ----------
    error : float
        Expected calibration error: the mean over rows of |accuracy - confidence| of their bin.
    confidence : array of shape (n_filled_bins,)
        Mean stated probability of each bin that holds rows: the x of the reliability curve.
    accuracy : array of shape (n_filled_bins,)
        Fraction of its rows which are right: the y of the reliability curve.
    count : array of shape (n_filled_bins,)
        Rows in the bin.
    """

    error: float
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    count: NDArray[np.int64]


def expected_calibration_error(
    y_true: ArrayLike, responsibilities: ArrayLike, n_bins: int = 15
) -> Calibration:
    """Compare the probability of the likeliest cluster with how often it is right.

    Clusters are matched with the classes one to one; a row of an unmatched cluster is wrong.

    Parameters
    ----------
    y_true : array of shape (N,)
        The known classes.
    responsibilities : array of shape (N, K)
        The probability of each cluster, rows summing to one.
    n_bins : int
        Number of bins of equal width on [0, 1].

    Returns
    -------
    Calibration
        The error and the reliability curve.
    """
    p = _probabilities(responsibilities)
    if n_bins < 1:
        raise ValueError(f"n_bins is {n_bins}; expected at least 1")
    y = _codes(y_true, "y_true")[1]
    _same_length(y, p, "y_true", "responsibilities")
    labels = p.argmax(axis=1)
    confidence = np.minimum(p[np.arange(len(p)), labels], 1.0)

    match = match_clusters(y, labels)
    class_of_cluster = np.array([match.get(k, -1) for k in range(p.shape[1])])
    right = class_of_cluster[labels] == y

    # Bins are open on the left, as in Guo et al. (2017), so that a probability of one has a bin.
    bins = np.clip(np.ceil(confidence * n_bins).astype(np.intp) - 1, 0, n_bins - 1)
    count = np.bincount(bins, minlength=n_bins)
    filled = count > 0
    mean_confidence = np.bincount(bins, confidence, n_bins)[filled] / count[filled]
    mean_right = np.bincount(bins, right, n_bins)[filled] / count[filled]
    error = np.average(np.abs(mean_right - mean_confidence), weights=count[filled])
    return Calibration(float(error), mean_confidence, mean_right, count[filled].astype(np.int64))


def _matched(counts: NDArray[np.int64]) -> float:
    rows, columns = linear_sum_assignment(counts, maximize=True)
    return float(counts[rows, columns].sum() / counts.sum())


def _purity(counts: NDArray[np.int64]) -> float:
    return float(counts.max(axis=0).sum() / counts.sum())


def _probabilities(responsibilities: ArrayLike) -> NDArray[np.float64]:
    p = np.asarray(responsibilities, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] < 1:
        raise ValueError(f"responsibilities has shape {p.shape}; expected (rows, clusters)")
    if not (np.isfinite(p).all() and p.min(initial=0) >= 0 and p.max(initial=0) <= 1 + 1e-6):
        raise ValueError("responsibilities holds values outside [0, 1]; expected probabilities")
    return p


def _codes(values: ArrayLike, name: str) -> tuple[NDArray[np.generic], Codes]:
    """Distinct values, sorted, and the position of each entry among them."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}; expected one dimension")
    if len(array) == 0:
        raise ValueError(f"{name} is empty; expected at least one row")
    if array.dtype.kind in "fc" and not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity; leave out the rows of unknown class")
    try:
        distinct, codes = np.unique(array, return_inverse=True)
    except TypeError:
        kinds = sorted({type(v).__name__ for v in array})
        raise ValueError(
            f"{name} mixes values that cannot be compared ({', '.join(kinds)}); "
            "expected all numbers or all strings"
        ) from None
    return distinct, codes


def _same_length(a: np.ndarray, b: np.ndarray, name_a: str, name_b: str) -> None:
    if len(a) != len(b):
        raise ValueError(f"{name_a} has {len(a)} rows but {name_b} has {len(b)}")
