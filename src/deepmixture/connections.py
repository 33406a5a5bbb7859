"""Connections of clusters: what share of the neighbours of their rows they share.

The share is of the neighbours of the smaller of two clusters. Those with the strongest connection
are joined first.
"""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
N_NEAR = 10
CONNECTED = 0.032
"""Two clusters are one where more than this share of the neighbours of the smaller one's rows lies
in the other, or passes to it when a row is changed."""


class Join(NamedTuple):
    """Two clusters that are joined next, by their places among those that are left."""

    one: int
    other: int
    connection: float
    share: float  # of the smaller one in all rows


def joins(shared: Array, rows: Array | None = None, dimension: float = math.inf) -> Iterator[Join]:
    """Join the two clusters with the strongest connection, again and again, until one is left.

    Parameters
    ----------
    shared : array of shape (K, K)
        From `shared_neighbours`.
    rows : array of shape (K,), optional
        Rows of each cluster. With `dimension` a connection is taken over what a flat cut through
        one cluster would leave: of k neighbours, in D dimensions, about (k / n)^(1 / D) of n rows
        are next to it, which in two dimensions are few of many.
    dimension : float, default=inf
        D; of infinitely many dimensions every row is next to the cut.
    """
    shared = shared.copy()
    rows = np.ones(len(shared)) if rows is None else rows.copy()
    while len(shared) > 1:
        connection = over_a_cut(shared, rows, dimension)
        one, other = sorted(int(k) for k in np.unravel_index(connection.argmax(), shared.shape))
        size = shared.sum(1)
        share = min(size[one], size[other]) / max(size.sum(), 1e-12)
        yield Join(one, other, float(connection[one, other]), float(share))
        shared[one] += shared[other]
        shared[:, one] += shared[:, other]
        shared = np.delete(np.delete(shared, other, 0), other, 1)
        rows[one] += rows[other]
        rows = np.delete(rows, other)


def groups_left(order: Iterable[Join], n_clusters: int, n_left: int) -> list[list[int]]:
    """Return which of `n_clusters` clusters are one when at most `n_left` are left."""
    groups = [[k] for k in range(n_clusters)]
    for join in order:
        if len(groups) <= n_left:
            break
        groups[join.one] += groups.pop(join.other)
    return groups


def shared_neighbours(responsibilities: Array, near: NDArray[np.int64]) -> Array:
    """Count how often rows of one cluster are neighbours of rows of another, (K, K), symmetric.

    Parameters
    ----------
    responsibilities : array of shape (n, K)
    near : array of shape (n, k)
        Numbers of the neighbours of each row.
    """
    labels = responsibilities.argmax(1)
    counts = np.zeros((responsibilities.shape[1],) * 2)
    np.add.at(counts, (np.broadcast_to(labels[:, None], near.shape), labels[near]), 0.5)
    return counts + counts.T


def strengths(shared: Array) -> Array:
    """Return the share of the neighbours of the smaller cluster's rows in the other, (K, K).

    From `shared_neighbours`; -1 on the diagonal.
    """
    size = np.maximum(shared.sum(1), 1e-12)
    share: Array = shared / np.minimum(size[:, None], size[None, :])
    np.fill_diagonal(share, -1.0)
    return share


def over_a_cut(shared: Array, rows: Array, dimension: float) -> Array:
    """Return `strengths` over that of a flat cut through one cluster; see `joins`."""
    smaller = np.maximum(np.minimum(rows[:, None], rows[None, :]), N_NEAR)
    over: Array = strengths(shared) / (N_NEAR / smaller) ** (1.0 / dimension)
    return over


def strongest_connection(shared: Array) -> float:
    """Return the strongest connection of two clusters, from `shared_neighbours`."""
    return float(strengths(shared).max())


def strongest_affinity(shared: Array) -> float:
    """Return what two clusters share over the geometric mean of their sizes, the most of any two.

    The normalised affinity of spectral clustering (Ng, Jordan & Weiss 2002). It is large between
    the halves of one group, and small where the few rows of a cluster run over into a large one,
    which for their connection, the share of the smaller, are as much.

    Parameters
    ----------
    shared : array of shape (K, K)
        From `shared_neighbours`, or `selection.passed_between`.
    """
    size = np.sqrt(np.maximum(shared.sum(1), 1e-12))
    affinity = shared / size[:, None] / size[None, :]
    np.fill_diagonal(affinity, -1.0)
    return float(affinity.max())


def information(shared: Array) -> float:
    """Return I(y; y') in nats of the clusters y and y' of two rows that are neighbours.

    Or of two changed copies of a row, as in Ji, Henriques & Vedaldi (2019, "Invariant information
    clustering", equation 3), of the most probable clusters: it is large where clusters are many,
    balanced, and no row's neighbours are in another.

    Parameters
    ----------
    shared : array of shape (K, K)
        From `shared_neighbours`, or `selection.passed_between`.
    """
    from scipy.special import entr

    return 2.0 * entropy(shared) - float(entr(shared / shared.sum()).sum())


def gain(shared: Array) -> float:
    """Return I(y; y') - H(y' | y) / 2: what is told beyond half of what is left untold, in nats.

    By I(y; y') alone two halves of a large group are worth as much as two groups.
    """
    told = information(shared)
    return told - 0.5 * (entropy(shared) - told)


def entropy(shared: Array) -> float:
    """Return H(y) in nats of the clusters y of rows, from `shared_neighbours`."""
    from scipy.special import entr

    return float(entr(shared.sum(1) / shared.sum()).sum())
