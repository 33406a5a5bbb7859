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
    rows = np.ones(len(shared)) if rows is None else rows.copy()
    while len(shared) > 1:
        connection = over_a_cut(shared, rows, dimension)
        one, other = sorted(int(k) for k in np.unravel_index(connection.argmax(), shared.shape))
        yield Join(one, other, float(connection[one, other]), smaller_share(shared, one, other))
        shared = merged(shared, one, other)
        rows[one] += rows[other]
        rows = np.delete(rows, other)


def joins_by_gain(shared: Array, weight: float) -> Iterator[Join]:
    """Join the two clusters whose join leaves the largest `gain`, again and again, to one.

    The agglomerative information bottleneck (Slonim & Tishby 1999), with what is left untold
    beside what is told.

    Parameters
    ----------
    shared : array of shape (K, K)
        From `shared_neighbours`, or `selection.passed_between`.
    weight : float
        Of what is left untold.
    """
    while len(shared) > 1:
        lost = lost_by_joining(shared, weight)
        one, other = sorted(int(k) for k in np.unravel_index(lost.argmin(), lost.shape))
        connection = float(strengths(shared)[one, other])
        yield Join(one, other, connection, smaller_share(shared, one, other))
        shared = merged(shared, one, other)


def lost_by_joining(shared: Array, weight: float) -> Array:
    """Return the `gain` that is lost, in nats, by joining any two clusters, (K, K).

    Infinite on the diagonal. With the entropies H(y) of a row's cluster and H(y, y') of two rows'
    the gain is (2 + w) H(y) - (1 + w) H(y, y').
    """
    from scipy.special import entr

    p = shared / shared.sum()
    size, own = p.sum(1), np.diag(p)
    of_sizes = entr(size)[:, None] + entr(size) - entr(size[:, None] + size)
    # Row by row: at once it would be K^3 numbers.
    rows_joined = np.stack([entr(row + p).sum(1) for row in p])
    of_rows = entr(p).sum(1)[:, None] + entr(p).sum(1) - rows_joined
    beside = own[:, None] + p
    of_pairs = 2.0 * of_rows - entr(own)[:, None] - entr(own) - 2.0 * entr(p)
    of_pairs += 2.0 * (entr(beside) + entr(beside.T)) - entr(beside + beside.T)
    lost: Array = (2.0 + weight) * of_sizes - (1.0 + weight) * of_pairs
    np.fill_diagonal(lost, np.inf)
    return lost


def smaller_share(shared: Array, one: int, other: int) -> float:
    """Return the share of the smaller of two clusters in all rows, from `shared_neighbours`."""
    size = shared.sum(1)
    return float(min(size[one], size[other]) / max(size.sum(), 1e-12))


def merged(shared: Array, one: int, other: int) -> Array:
    """Return what clusters share when `other` is joined to `one`, (K - 1, K - 1)."""
    joined = shared.copy()
    joined[one] += joined[other]
    joined[:, one] += joined[:, other]
    return np.delete(np.delete(joined, other, 0), other, 1)


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


def gain(shared: Array, weight: float = 0.5) -> float:
    """Return I(y; y') - w H(y' | y): what is told, less what is left untold, in nats.

    By I(y; y') alone two halves of a large group are worth as much as two groups.

    Parameters
    ----------
    shared : array of shape (K, K)
    weight : float, default=0.5
        w.
    """
    told = information(shared)
    return told - weight * (entropy(shared) - told)


def entropy(shared: Array) -> float:
    """Return H(y) in nats of the clusters y of rows, from `shared_neighbours`."""
    from scipy.special import entr

    return float(entr(shared.sum(1) / shared.sum()).sum())
