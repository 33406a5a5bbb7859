"""Halves of clusters: how clearly one falls into two, and what revives a cluster without rows."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepmixture.connections import N_NEAR, shared_neighbours, strongest_connection
from deepmixture.embedding import TRIAL_ROWS
from deepmixture.nearest import neighbours
from deepmixture.seeds import draw_rows
from deepmixture.starts import for_all_rows
from deepmixture.trials import ROWS_A_CLUSTER, many_clusters

Array = NDArray[np.float64]


def revived(space: Array, responsibilities: Array, seed: int) -> Array:
    """Give each cluster without rows a half of the cluster that falls into two most clearly.

    That is the one between whose two halves, by k-means, the fewest rows are neighbours.

    Parameters
    ----------
    space : array of shape (N, D)
    responsibilities : array of shape (N, K)
        Of clusters that training has come to; returned as they are if each is some row's most
        probable one.
    seed : int
    """
    labels = responsibilities.argmax(1)
    n_clusters = responsibilities.shape[1]
    dead = np.flatnonzero(np.bincount(labels, minlength=n_clusters) == 0)
    if not len(dead):
        return responsibilities
    rng = np.random.default_rng(seed)
    few = draw_rows(rng, len(space), TRIAL_ROWS)
    near, labels = neighbours(space[few], N_NEAR, seed), labels[few]
    for cluster in dead:
        found = list(halves(space[few], labels, near, rng))
        if not found:
            break
        best = min(found, key=lambda half: strongest_connection(half.shared))
        labels = np.where(best.second, cluster, labels)
    return for_all_rows(space, few, np.eye(n_clusters)[labels])


class Half(NamedTuple):
    """A cluster, the second of its two halves, and the neighbours that the two share."""

    cluster: int
    second: NDArray[np.bool_]  # (n,)
    rows: Array  # (2,): rows of the halves
    shared: Array  # (2, 2)


def halves(
    space: Array, labels: NDArray[np.int64], near: NDArray[np.int64], rng: np.random.Generator
) -> Iterator[Half]:
    """Cut each cluster in two by k-means, where it has enough rows for two.

    Parameters
    ----------
    space : array of shape (n, D)
    labels : array of shape (n,)
    near : array of shape (n, k)
        Numbers of the neighbours of each row.
    rng : Generator
    """
    for cluster in np.unique(labels):
        inside = labels == cluster
        if inside.sum() < 2 * ROWS_A_CLUSTER:
            continue
        second = np.zeros(len(space), dtype=bool)
        second[inside] = many_clusters(space[inside], 2, rng) == 1
        cut = np.where(inside, np.where(second, 1, 0), 2)
        rows = np.bincount(cut, minlength=3)[:2].astype(float)
        yield Half(int(cluster), second, rows, shared_neighbours(np.eye(3)[cut], near)[:2, :2])
