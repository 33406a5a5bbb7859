"""Gaussian mixtures that are tried on rows, and which of them is kept, without a label."""

import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepmixture.connections import (
    CONNECTED,
    N_NEAR,
    entropy,
    gain,
    groups_left,
    information,
    joins,
    shared_neighbours,
    strongest_connection,
)
from deepmixture.hardware import one_thread
from deepmixture.nearest import neighbours
from deepmixture.normal_mixture import NormalMixture, Products, from_responsibilities, improved
from deepmixture.normals import least_variance

Array = NDArray[np.float64]
FLOOR_OF_VARIANCE = 0.01  # a cluster in which a column is constant is not infinitely likely
LITTLE_LESS_TOLD, LITTLE_UNTOLD = 0.1, 0.005
"""In nats. On 22 tables the mean loss against the best of k-means, a Gaussian mixture and UMAP
with one was much the same with 0.075 to 0.2 for the first, and twice as large without."""
AS_LIKELY = 0.01
"""In nats a row. On the latents of eight autoencoders of Fashion-MNIST the mixtures chosen so are
nearer its classes than the likeliest alone, and than the most informative of all."""
NOISE_OF_TOLD = 2.5  # over the root of the rows: of few rows, neighbours tell this much by chance
LITTLE_GROWTH = 0.1  # or loss, of a cluster that only finds its edges
LEAST_KEPT = 0.5  # of the rows of a cluster; of ten data sets the least is 0.66
MOST_CLUSTERS = 60
ROWS_A_CLUSTER = 15


class Trial(NamedTuple):
    """A mixture that was tried."""

    mixture: NormalMixture
    responsibilities: Array  # (n, K)
    told: float  # I(x; y) in nats
    cut: float  # the strongest connection of two clusters; 0 where no neighbours are known
    gain: float  # I(y; y') - 1/2 H(y' | y) of the clusters of neighbours; 0 likewise
    log_density: float  # of the rows, their mean in nats


@one_thread()
def try_mixtures(
    rows: Array,
    n_clusters: int,
    rng: np.random.Generator,
    n_init: int,
    near: NDArray[np.int64] | None = None,
) -> list[Trial]:
    """Fit `n_init` mixtures from k-means, and with neighbours one from joined clusters.

    Parameters
    ----------
    rows : array of shape (n, D)
    n_clusters : int
    rng : numpy.random.Generator
    n_init : int
    near : array of shape (n, k), optional
        Numbers of the neighbours of each row.
    """
    products = Products(rows)
    mixtures = [fit_mixture(products, n_clusters, rng) for _ in range(n_init)]
    if near is None or n_clusters == 1:
        near = None
    else:
        mixtures.append(mixture_from(products, joined(rows, n_clusters, near, rng)))
    found = []
    for mixture in mixtures:
        r, log_density = mixture.judge(products)
        cut = gained = 0.0
        if near is not None:
            shared = shared_neighbours(r, near)
            cut, gained = strongest_connection(shared), gain(shared)
        found.append(Trial(mixture, r, mutual_information(r), cut, gained, log_density))
    return found


def best_by_neighbours(found: Sequence[Trial]) -> Trial:
    """Return the trial whose clusters tell most of the clusters of a row's neighbours.

    By I(y; y') - 1/2 H(y' | y), the `gain`: it ranks mixtures on an embedding as their classes do
    more often than their own responsibilities, which know of neighbours only what the embedding
    kept. But it, too, would rather halve a large cluster than find a small one. So where a mixture
    cuts through nothing that is connected, those that do are left out first.
    """
    least = min(trial.cut for trial in found)
    most = least + CONNECTED if least <= CONNECTED else math.inf
    return max((t for t in found if t.cut <= most), key=lambda trial: trial.gain)


def most_informative(found: Sequence[Trial]) -> Trial:
    """Return the trial that tells most about the rows.

    By the mutual information I(x; y) of its responsibilities: mixtures of nearly the same
    likelihood differ widely in whether they cut one group in two and lump two others. But it likes
    clusters of one size, and would rather halve a large one than find a small one. So mixtures
    that cut through what is connected, while another does not, are left out first.
    """
    least = min(trial.cut for trial in found)
    return max((t for t in found if t.cut <= least + CONNECTED), key=lambda trial: trial.told)


def most_informative_of_likeliest(found: Sequence[Trial]) -> Trial:
    """Return the trial that tells most about the rows, of those under which they are likeliest.

    Where all groups touch, what is connected says little of what is one: there the density has
    the first word, and mutual information the last between mixtures that are as likely.
    """
    most = max(trial.log_density for trial in found)
    likely = [trial for trial in found if trial.log_density >= most - AS_LIKELY]
    return max(likely, key=lambda trial: trial.told)


def goes_astray(rows: Array, found: Array, begin: Array, seed: int) -> bool:
    """Whether responsibilities (n, K) cut through what is connected, and those before did not.

    A mixture that goes on from a small cluster beside a large one would rather halve the large.
    So it has, too, where a cluster has lost most of its rows, whatever the neighbours say: in
    features that have learned to tell the parts of a group, halves are no neighbours.

    Parameters
    ----------
    rows : array of shape (n, D)
    found, begin : array of shape (n, K)
        Of what is found, and of the same clusters before.
    seed : int
    """
    n_clusters = begin.shape[1]
    labels, former = found.argmax(1), begin.argmax(1)
    kept = np.bincount(former[labels == former], minlength=n_clusters)
    now, then = (np.bincount(label, minlength=n_clusters) for label in (labels, former))
    if (kept < LEAST_KEPT * then).any():
        return True
    if (np.abs(now - then) <= LITTLE_GROWTH * then).all():
        return False
    near = neighbours(rows, N_NEAR, seed)
    cut, before = (strongest_connection(shared_neighbours(r, near)) for r in (found, begin))
    return cut > before + CONNECTED


def told_by_chance(n_rows: int) -> float:
    """Return how many nats more clusters of so many rows may tell of neighbours by chance."""
    return max(LITTLE_LESS_TOLD, NOISE_OF_TOLD / math.sqrt(n_rows))


def likeliest(rows: Array, found: Sequence[Array], near: NDArray[np.int64]) -> int:
    """Return which of several responsibilities (n, K) fits rows (n, D) and their neighbours best.

    Of those whose clusters tell nearly as much as any do of the clusters of a row's neighbours (of
    few rows that is not known to more than 2.5 / sqrt(n) nats), and leave no more than twice as
    much untold, the one whose clusters, as normals, make the rows likeliest: by the mean
    log-density of a mixture with their moments and shrunk covariances (Ledoit & Wolf 2004). As the
    clusters of one size tell most, the same goes for those that tell nearly as much as any do
    beyond half of what they leave untold.
    By the density alone a cluster of rows that are all but alike in some columns is worth any cut
    elsewhere; by the neighbours alone groups of one centre that differ in their spread are no
    groups.

    A small group that lies apart tells little of the neighbours of most rows. So where those that
    tell most cut through what is connected, those that do not compete too.

    Parameters
    ----------
    rows : array of shape (n, D)
    found : sequence of array of shape (n, K)
    near : array of shape (n, k)
        Numbers of the neighbours of each row.
    """
    shared = [shared_neighbours(r, near) for r in found]
    told = np.array([information(s) for s in shared])
    untold = np.array([entropy(s) for s in shared]) - told
    best = told.argmax()
    noise = told_by_chance(len(rows))
    kept = np.zeros(len(found), dtype=bool)
    for value in (told, np.array([gain(s) for s in shared])):
        most = value.argmax()
        cuts_little = untold <= 2.0 * untold[most] + LITTLE_UNTOLD
        kept |= cuts_little & (value >= value[most] - noise)
    cuts = np.array([strongest_connection(s) for s in shared])
    if cuts[best] > 2 * CONNECTED:
        kept |= cuts <= CONNECTED
    nearly = np.flatnonzero(kept).tolist()
    if len(nearly) == 1:
        return nearly[0]
    densities = [mean_log_density(rows, found[k].argmax(1)) for k in nearly]
    return nearly[int(np.argmax(densities))]


def mean_log_density(rows: Array, labels: NDArray[np.int64]) -> float:
    """Return the mean log-density of rows (n, D) under their clusters as normals, in nats.

    A mixture with the moments of the clusters that labels (n,) tell, and covariances shrunk by
    Ledoit & Wolf (2004).
    """
    from scipy.special import logsumexp
    from scipy.stats import multivariate_normal
    from sklearn.covariance import ledoit_wolf

    least = max(FLOOR_OF_VARIANCE * rows.var(0).mean(), least_variance(rows))
    spread = least * np.eye(rows.shape[1])
    within = []
    for label in np.unique(labels):
        inside = rows[labels == label]
        # Of one row there is nothing to shrink.
        covariance = spread + (ledoit_wolf(inside)[0] if len(inside) > 1 else 0.0)
        log_density = multivariate_normal(inside.mean(0), covariance).logpdf(rows)
        within.append(np.log(len(inside) / len(rows)) + np.atleast_1d(log_density))
    return float(np.mean(logsumexp(within, axis=0)))


@one_thread()
def joined(
    rows: Array, n_clusters: int, near: NDArray[np.int64], rng: np.random.Generator
) -> Array:
    """Join the many clusters of k-means until `n_clusters` are left: responsibilities (n, K).

    Unlike the mixtures, which all begin with k-means, this knows no preference for one size.
    """
    many = max(n_clusters, min(MOST_CLUSTERS, len(np.unique(rows, axis=0)) // ROWS_A_CLUSTER))
    parts = np.eye(many)[many_clusters(rows, many, rng)]
    groups = groups_left(joins(shared_neighbours(parts, near)), many, n_clusters)
    return np.stack([parts[:, group].sum(1) for group in groups], axis=1)


def many_clusters(rows: Array, n_clusters: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the labels (n,) of one run of k-means on rows (n, D)."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    seed = int(rng.integers(2**31))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of rows that are all alike
        found = KMeans(n_clusters, n_init=1, random_state=seed).fit(rows)
    return np.asarray(found.labels_, dtype=np.int64)


def mixture_from(products: Products, responsibilities: Array) -> NormalMixture:
    """Fit the mixture that responsibilities (n, K) of the rows lead to."""
    floor = least_variance(products.rows)
    return improved(products, from_responsibilities(products, responsibilities, floor), floor)


def fit_mixture(products: Products, n_clusters: int, rng: np.random.Generator) -> NormalMixture:
    """Fit one mixture to rows, from k-means."""
    return mixture_from(
        products, np.eye(n_clusters)[many_clusters(products.rows, n_clusters, rng)]
    )


def mutual_information(responsibilities: Array) -> float:
    """Return I(x; y) = H(y) - H(y|x) in nats of responsibilities (N, K): sure and balanced."""
    from scipy.special import entr

    return float(entr(responsibilities.mean(0)).sum() - entr(responsibilities).sum(1).mean())
