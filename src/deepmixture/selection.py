"""The choice of one run of several, and of the number of clusters, without a label.

What speaks for a run is that its responsibilities are sure and balanced, which is the mutual
information I(x; y). The evidence is no judge of clusters: runs of nearly the same evidence cut one
group in two and lump two others. Nor is the agreement with other runs, which share mistakes.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepmixture import embedding, nearest, seeds, trials
from deepmixture.connections import (
    CONNECTED,
    N_NEAR,
    Join,
    gain,
    groups_left,
    joins,
    joins_by_gain,
    over_a_cut,
    shared_neighbours,
)
from deepmixture.halves import halves

Responsibilities = NDArray[np.float64]
Merge = dict[str, int | float]
N_PARTS = 4
CONNECTED_OVER_A_CUT = 0.05
"""Two clusters of the graph are one above this connection, over that of a flat cut. The halves of
one normal cluster stand at 0.07 and above in 2 to 50 dimensions, distant clusters below 0.01."""
SURELY_CONNECTED = 0.1
"""The same in the latent of an autoencoder, where q(y|x) is to join the rest by the changes that
rows may undergo. On MNIST those joins stand at 0.038 and above of parts of one digit, at 0.025 and
below of two digits (six seeds); `connections.CONNECTED` lies between."""
CONFUSED_OF_FEW = 0.055
"""In place of `connections.CONNECTED` where images are few, of whose changes q(y|x) knows less: of
2,000 to 5,000 of MNIST parts of one digit are joined at 0.063 and above, two digits mostly at 0.05
and below (three draws)."""

UNTOLD = 1.5
"""What is left untold of the cluster of a changed row weighs so much more than what is told: two
halves of a group are worth less than the whole where more than 8% of their rows pass. With 0.5 and
less small classes among large ones are lumped and a large one stays in halves, of some seeds with
1, too; with 3 and more two digits of one size are one (MNIST with thinned classes, 5,000 of its
images, 9,298 of 16 by 16)."""

HARDLY_CONNECTED = 0.02
"""The halves of a cluster are two groups below this connection, over that of a flat cut. Those of
one normal stand at 0.13 and above in 2 to 50 dimensions, of a digit of MNIST at 0.1 and above."""


def agreements(runs: Sequence[Responsibilities]) -> list[float | None]:
    """Return the mean normalised mutual information of each run's labels with all others'.

    Parameters
    ----------
    runs : sequence of array of shape (N, K)

    Returns
    -------
    list of float, or of None where there is one run
    """
    if len(runs) < 2:
        return [None] * len(runs)
    from sklearn.metrics import normalized_mutual_info_score

    labels = [run.argmax(1) for run in runs]
    between = np.ones((len(runs), len(runs)))
    for one in range(len(runs)):
        for other in range(one):
            alike = normalized_mutual_info_score(labels[one], labels[other])
            between[one, other] = between[other, one] = alike
    return [float(value) for value in (between.sum(1) - 1.0) / (len(runs) - 1)]


def choose(runs: Sequence[Responsibilities]) -> int:
    """Return which run is kept: that with the most mutual information I(x; y) over log K.

    It ranks runs as their accuracy does on three of four data sets, and no criterion does on the
    fourth; see the study in docs/benchmarks.md. log K is for runs that found different numbers of
    clusters.
    """
    told = [trials.mutual_information(run) / np.log(max(run.shape[1], 2)) for run in runs]
    return int(np.argmax(told))


def find_number(
    space: NDArray[np.float64], seed: int, connected: float = CONNECTED_OVER_A_CUT
) -> tuple[NDArray[np.int64], Responsibilities, list[Merge]]:
    """Find how many clusters there are: begin with many and join those that are connected.

    Parameters
    ----------
    space : array of shape (N, D)
        Coordinates in which rows are near one another.
    seed : int
    connected : float
        The weakest connection by which two clusters are one, over that of a flat cut; see
        `joins`.

    Returns
    -------
    few : array of shape (n,)
        Numbers of the rows that were looked at.
    responsibilities : array of shape (n, K)
        Of the K clusters that are left, each a mixture of those it was joined of.
    merges : list of dict
        The whole tree, on to one cluster; see `merge_tree`. With `stability`, the mean adjusted
        Rand index of the clusterings with this number of clusters that parts of the rows give.
    """
    rng = np.random.default_rng(seed)
    most = int(np.clip(len(space) // trials.ROWS_A_CLUSTER, 1, trials.MOST_CLUSTERS))
    few, places = embedding.manifold_or_latent(space, most, seed, rng)
    parts = trials.most_informative(trials.try_mixtures(places, most, rng, 1)).responsibilities
    parts = parts[:, np.bincount(parts.argmax(1), minlength=most) > 0]
    parts /= parts.sum(1, keepdims=True)
    near = nearest.neighbours(space[few], N_NEAR, seed)
    dimension = embedding.intrinsic_dimension(space[few], near)
    shared, sizes = shared_neighbours(parts, near), _sizes(parts.argmax(1))
    merges, groups = merge_tree(joins(shared, sizes, dimension), len(shared), connected)
    stable = stability([_joined_part(places, near, dimension, most, rng) for _ in range(N_PARTS)])
    for merge in merges:
        merge["stability"] = stable.get(int(merge["n_clusters"]), 0.0)
    joined = np.stack([parts[:, group].sum(1) for group in groups], axis=1)
    return few, joined, merges


def passed_between(draws: Sequence[NDArray[np.int64]], n_clusters: int) -> NDArray[np.float64]:
    """Count how often rows pass from one cluster to another when they are changed, symmetric.

    What is one group of images is one under small turns, shifts and stretches, which no
    neighbour graph knows.

    Parameters
    ----------
    draws : sequence of array of shape (N,)
        The most probable cluster of each row, changed anew in each.
    n_clusters : int
        K.

    Returns
    -------
    array of shape (K, K)
        To be read as `shared_neighbours`.
    """
    passed = np.zeros((n_clusters, n_clusters))
    for one, other in itertools.combinations(draws, 2):
        np.add.at(passed, (one, other), 1.0)
    return passed + passed.T


def clearest(found: Sequence[NDArray[np.float64]], before: NDArray[np.float64]) -> int | None:
    """Return which of several clusterings tells most of changed rows, less what it leaves untold.

    By I(y; y') - 3/2 H(y' | y); None where none has more of it than the clusters before. What is
    told alone is as much for two halves of a large group as for two groups.

    Parameters
    ----------
    found : sequence of array of shape (K, K)
        From `passed_between`.
    before : array of shape (K, K)
    """
    gains = [gain(passed, UNTOLD) for passed in found]
    best = int(np.argmax(gains)) if gains else None
    return best if best is not None and gains[best] > gain(before, UNTOLD) else None


def joined_groups(passed: NDArray[np.float64], n_left: int) -> NDArray[np.float64]:
    """Join clusters until at most `n_left` are left: those that keep most of what `clearest` asks.

    Clusters without a row belong to none, and where fewer are left the last have no cluster.

    Parameters
    ----------
    passed : array of shape (K, K)
        From `passed_between`.
    n_left : int

    Returns
    -------
    array of shape (K, n_left)
        1 where a cluster belongs to a group.
    """
    alive, between = inhabited(passed)
    groups = groups_left(joins_by_gain(between, UNTOLD), len(alive), n_left)
    belongs = np.zeros((len(passed), n_left))
    for number, group in enumerate(groups):
        belongs[alive[group], number] = 1.0
    return belongs


def inhabited(passed: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return which clusters have a row, and what passes between these, from `passed_between`."""
    alive = np.flatnonzero(passed.sum(1))
    return alive, passed[np.ix_(alive, alive)]


def join_confused(
    passed: NDArray[np.float64], merges: Sequence[Merge], connected: float = CONNECTED
) -> tuple[int, list[Merge]]:
    """Join clusters of which rows pass from one to the other when they are changed.

    A cluster that has lost all its rows counts no more.

    Parameters
    ----------
    passed : array of shape (K, K)
        From `passed_between`.
    merges : list of dict
        What led to these clusters, from `find_number`.
    connected : float, default=0.032
        Two clusters are one where more than this share of the smaller one's rows passes.

    Returns
    -------
    n_clusters : int
        How many are left.
    merges : list of dict
        Those that were done before, and the tree of these.
    """
    done = [merge for merge in merges if merge["done"]]
    alive, between = inhabited(passed)
    found, groups = merge_tree(joins(between), len(alive), connected)
    stable = {merge["n_clusters"]: merge["stability"] for merge in merges}
    gone = {merge["other"] for merge in done}
    left = [k for k in range(len(passed) + len(done)) if k not in gone]
    first = [left[k] for k in alive]
    for merge in found:
        merge["one"], merge["other"] = first[int(merge["one"])], first[int(merge["other"])]
        merge["stability"] = stable.get(merge["n_clusters"], 0.0)
    return len(groups), done + found


def merge_tree(
    order: Iterable[Join], n_clusters: int, connected: float
) -> tuple[list[Merge], list[list[int]]]:
    """Join clusters until one is left, and say which are one.

    Parameters
    ----------
    order : iterable of Join
        From `joins`.
    n_clusters : int
        Clusters before the first.
    connected : float
        The weakest connection by which two clusters are one.

    Returns
    -------
    merges : list of dict
        Of each merge the number of clusters before it, the two (by their first member), their
        connection, the smaller one's share of the rows, and whether it was done.
    groups : list of list of int
        Which clusters make up each that is left when no two are connected.
    """
    groups = [[k] for k in range(n_clusters)]
    merges: list[Merge] = []
    left: list[list[int]] | None = None
    for join in order:
        if join.connection <= connected and left is None:
            left = [list(group) for group in groups]
        merges.append(
            {
                "n_clusters": len(groups),
                "one": groups[join.one][0],
                "other": groups[join.other][0],
                "connection": join.connection,
                "share": join.share,
                "done": int(left is None),
            }
        )
        groups[join.one] += groups.pop(join.other)
    return merges, groups if left is None else left


class Doubt(NamedTuple):
    """Two clusters that may be one, or one that may be two."""

    clusters: tuple[int, ...]
    connection: float
    """Of the two, or of the halves of the one, over that of a flat cut through one cluster."""

    def __str__(self) -> str:
        if len(self.clusters) == 1:
            return (
                f"Cluster {self.clusters[0]} falls into two groups that are hardly neighbours: it "
                "may be two."
            )
        one, other = sorted(self.clusters)
        return (
            f"Clusters {one} and {other} run into one another, by {self.connection:.0%} of what a "
            "flat cut through one cluster would leave: they may be one."
        )


def doubts(space: NDArray[np.float64], labels: NDArray[np.int64], seed: int) -> list[Doubt]:
    """Return which clusters may be one, and which may be two, by their rows' neighbours.

    Parameters
    ----------
    space : array of shape (N, D)
        Coordinates in which rows are near one another.
    labels : array of shape (N,)
    seed : int
    """
    rng = np.random.default_rng(seed)
    few = seeds.draw_rows(rng, len(space), embedding.TRIAL_ROWS)
    space, labels = space[few], labels[few]
    near = nearest.neighbours(space, N_NEAR, seed)
    dimension = embedding.intrinsic_dimension(space, near)
    n_clusters = int(labels.max()) + 1
    shared = shared_neighbours(np.eye(n_clusters)[labels], near)
    connection = over_a_cut(shared, _sizes(labels), dimension)
    found = [
        Doubt((one, other), float(connection[one, other]))
        for one, other in itertools.combinations(range(n_clusters), 2)
        if connection[one, other] > SURELY_CONNECTED
    ]
    for half in halves(space, labels, near, rng):
        between = float(over_a_cut(half.shared, half.rows, dimension)[0, 1])
        if between < HARDLY_CONNECTED:
            found.append(Doubt((half.cluster,), between))
    return found


class Part(NamedTuple):
    """Some of the rows, and their clusters by the number of these."""

    rows: NDArray[np.int64]  # (m,)
    labels: dict[int, NDArray[np.int64]]  # (m,) each


def stability(parts: Sequence[Part]) -> dict[int, float]:
    """Return how alike the clusterings of parts of the rows are, by the number of clusters.

    The mean adjusted Rand index of two parts on the rows of both, as Ben-Hur, Elisseeff & Guyon
    (2002, "A stability based method") have it.
    """
    from sklearn.metrics import adjusted_rand_score

    stable = {}
    for number in set.intersection(*(set(part.labels) for part in parts)):
        alike = []
        for one, other in itertools.combinations(parts, 2):
            _, first, second = np.intersect1d(one.rows, other.rows, return_indices=True)
            labels = one.labels[number][first], other.labels[number][second]
            alike.append(adjusted_rand_score(*labels))
        stable[number] = float(np.mean(alike))
    return stable


def _joined_part(
    places: NDArray[np.float64],
    near: NDArray[np.int64],
    dimension: float,
    most: int,
    rng: np.random.Generator,
) -> Part:
    """Join the many clusters of k-means on four fifths of the rows, until one is left."""
    rows = seeds.draw_rows(rng, len(places), max(most, 4 * len(places) // 5))
    labels = trials.many_clusters(places[rows], most, rng)
    # A neighbour that is not among these rows is left out.
    number = np.full(len(places), -1)
    number[rows] = np.arange(len(rows))
    beside = number[near[rows]]
    among = np.where(beside < 0, np.arange(len(rows))[:, None], beside)
    shared = shared_neighbours(np.eye(most)[labels], among)
    found = {most: labels}
    for join in joins(shared, _sizes(labels, most), dimension):
        labels = np.where(labels == join.other, join.one, labels)
        labels -= labels > join.other
        found[len(shared) - len(found)] = labels
    return Part(rows, found)


def _sizes(labels: NDArray[np.int64], n_clusters: int = 0) -> NDArray[np.float64]:
    return np.bincount(labels, minlength=n_clusters).astype(np.float64)
