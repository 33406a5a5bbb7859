"""The choice of one run of several, and of the number of clusters, without a label.

What speaks for a run: that other runs find the same clusters, and that its responsibilities are
sure and balanced, which is the mutual information I(x; y). The evidence is no judge of clusters:
runs of nearly the same evidence cut one group in two and lump two others.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deepmixture import starts
from deepmixture.embedding import neighbours

Responsibilities = NDArray[np.float64]
Merge = dict[str, int | float]


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
    """Return which run is kept: of three or more the one that the others agree with most.

    Two runs agree with one another alike, and there the mutual information decides.
    """
    if len(runs) < 3:
        return int(np.argmax([starts.mutual_information(run) for run in runs]))
    return int(np.argmax(np.array(agreements(runs), dtype=np.float64)))


def find_number(space: NDArray[np.float64], seed: int) -> tuple[Responsibilities, list[Merge]]:
    """Find how many clusters there are: begin with many and join those that are connected.

    Parameters
    ----------
    space : array of shape (N, D)
        Coordinates in which rows are near one another.
    seed : int

    Returns
    -------
    responsibilities : array of shape (N, K)
        Of the K clusters that are left, each a mixture of those it was joined of.
    merges : list of dict
        The whole tree, on to one cluster; see `merge_tree`.
    """
    rng = np.random.default_rng(seed)
    most = int(np.clip(len(space) // starts.ROWS_A_CLUSTER, 1, starts.MOST_CLUSTERS))
    few, places = starts.manifold(space, most, min(10, space.shape[1]), seed, rng)
    if not len(few):
        few, places = np.arange(len(space)), space
    mixture = starts.most_informative(starts.trials(places, most, rng, 1)).mixture
    parts = mixture.predict_proba(places)
    parts = parts[:, np.bincount(parts.argmax(1), minlength=most) > 0]
    parts /= parts.sum(1, keepdims=True)
    near = neighbours(space[few], starts.N_NEAR, seed)
    merges, groups = merge_tree(starts.shared_neighbours(parts, near))
    joined = np.stack([parts[:, group].sum(1) for group in groups], axis=1)
    return starts.for_all_rows(space, few, joined), merges


def merge_tree(
    shared: NDArray[np.float64], connected: float = starts.CONNECTED
) -> tuple[list[Merge], list[list[int]]]:
    """Join the two clusters with the strongest connection, again and again, until one is left.

    The connection of two clusters is the share of the neighbours of the smaller one's rows that
    lies in the other.

    Parameters
    ----------
    shared : array of shape (K, K)
        From `starts.shared_neighbours`.
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
    groups = [[k] for k in range(len(shared))]
    merges: list[Merge] = []
    left: list[list[int]] | None = None
    for join in starts.joins(shared):
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
