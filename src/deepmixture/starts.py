"""Starts: a first mixture over a latent space, from which a deep mixture is trained.

No start ever sees a label.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepmixture.connections import (
    CONNECTED,
    N_NEAR,
    entropy,
    groups_left,
    information,
    joins,
    shared_neighbours,
    strongest_connection,
)
from deepmixture.embedding import between_neighbours, neighbours, umap

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

Array = NDArray[np.float64]
TRIAL_ROWS = 20_000
FEWEST_FOR_GRAPH = 50
MOST_EMBEDDINGS = 5
FLOOR_OF_VARIANCE = 0.01  # a cluster in which a column is constant is not infinitely likely
LITTLE_LESS_TOLD, LITTLE_UNTOLD = 0.1, 0.005
"""In nats. On 22 tables the mean loss against the best of k-means, a Gaussian mixture and UMAP
with one was much the same with 0.075 to 0.2 for the first, and twice as large without."""
NOISE_OF_TOLD = 2.5  # over the root of the rows: of few rows, neighbours tell this much by chance
LITTLE_GROWTH = 0.1  # or loss, of a cluster that only finds its edges
MOST_CLUSTERS = 60
ABOVE_ZERO = 1e-3  # what scaling forth and back leaves of a zero is less
ROWS_A_CLUSTER = 15


@dataclass(frozen=True)
class Start:
    """A mixture of K normals over a D-dimensional latent space and what it says of each row."""

    weights: Array  # (K,)
    means: Array  # (K, D)
    scales: Array  # (K, D) standard deviations of the diagonal mixture
    covariances: Array  # (K, D, D) of the full-covariance mixture
    responsibilities: Array  # (N, K) of the full-covariance mixture
    total_scale: Array  # (D,) standard deviations of the latent over all rows


def k_means(
    latent: Array, n_clusters: int, seed: int, n_init: int = 20, begin: Array | None = None
) -> Start:
    """Start from k-means, the best of `n_init` by the distances within its clusters.

    Parameters
    ----------
    latent : array of shape (N, D)
    n_clusters : int
    seed : int
    n_init : int, default=20
        First choices of centres that are tried.
    begin : array of shape (N, K), optional
        Responsibilities to go on from, in place of trials.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    latent = np.asarray(latent, dtype=np.float64)
    with warnings.catch_warnings():
        # Fewer different rows than clusters leave some without a row.
        warnings.simplefilter("ignore", ConvergenceWarning)
        first = "k-means++" if begin is None else from_responsibilities(latent, begin).means
        trials = n_init if begin is None else 1
        search = KMeans(n_clusters, init=first, n_init=trials, random_state=seed % 2**32)
        found = search.fit(latent)
    start = from_responsibilities(latent, np.eye(n_clusters)[found.labels_])
    # A cluster without a row keeps the centre that k-means gave it.
    return replace(start, means=found.cluster_centers_)


def gaussian_mixture(
    latent: Array, n_clusters: int, seed: int, n_init: int = 20, begin: Array | None = None
) -> Start:
    """Start from a full-covariance Gaussian mixture, and its diagonal by moments.

    The mixture is chosen on at most 20,000 rows by `most_informative` and refined on all. The
    diagonal one has the moments of the rows weighted by its responsibilities: on the latent of an
    autoencoder, whose axes mean nothing, these are far better clusters than a diagonal fit finds.

    Parameters
    ----------
    latent : array of shape (N, D)
    n_clusters : int
    seed : int
    n_init : int, default=20
        Mixtures that are tried.
    begin : array of shape (N, K), optional
        Responsibilities to go on from, in place of trials.
    """
    latent = np.asarray(latent, dtype=np.float64)
    rng = np.random.default_rng(seed)
    few = rng.choice(len(latent), min(len(latent), TRIAL_ROWS), replace=False)
    if begin is None:
        near = neighbours(latent[few], N_NEAR, seed)
        best = most_informative(trials(latent[few], n_clusters, rng, n_init, near)).mixture
    else:
        best = _refined(latent[few], begin[few], rng)
        if cuts_more(latent[few], best.predict_proba(latent[few]), begin[few], seed):
            return from_responsibilities(latent, begin)
    return _on_all_rows(latent, best, rng)


def neighbour_graph(
    latent: Array, n_clusters: int, seed: int, n_init: int = 20, begin: Array | None = None
) -> Start:
    """Start from the neighbour graph of the latent: a UMAP embedding, then a mixture on that.

    The way of N2D (McConville et al. 2021, "(Not too) deep clustering"). At most 20,000 rows are
    embedded; each other row has the responsibilities of its nearest embedded neighbours. Fewer
    rows are embedded up to five times, for an embedding has its own accidents, and the mixtures
    of all compete. Fewer than 50 rows have no graph to speak of and start from `gaussian_mixture`.

    Parameters
    ----------
    latent : array of shape (N, D)
    n_clusters : int
    seed : int
    n_init : int, default=20
        Mixtures that are tried.
    begin : array of shape (N, K), optional
        Responsibilities to go on from, in place of trials.
    """
    latent = np.asarray(latent, dtype=np.float64)
    rng = np.random.default_rng(seed)
    width = min(10, latent.shape[1])
    few, places = manifold(latent, n_clusters, width, seed, rng)
    if not len(few):
        return gaussian_mixture(latent, n_clusters, seed, n_init, begin)
    if begin is not None:
        known = _refined(places, begin[few], rng).predict_proba(places)
        if cuts_more(latent[few], known, begin[few], seed):
            return from_responsibilities(latent, begin)
        return from_responsibilities(latent, for_all_rows(latent, few, known))
    near = neighbours(latent[few], N_NEAR, seed)
    embedded = _embedded_trials(latent, places, n_clusters, rng, n_init, near)
    known = most_informative([trial for _, tried in embedded for trial in tried]).responsibilities
    return from_responsibilities(latent, for_all_rows(latent, few, known))


def graph_or_mixture(
    latent: Array, n_clusters: int, seed: int, n_init: int = 20, begin: Array | None = None
) -> Start:
    """Start from the neighbour graph or from a mixture on the latent itself: see `likeliest`.

    All mixtures that `neighbour_graph` and `gaussian_mixture` try compete, and on each embedding
    the joined clusters of k-means as they are, which may have any shape.

    Parameters
    ----------
    latent : array of shape (N, D)
    n_clusters : int
    seed : int
    n_init : int, default=20
        Mixtures that are tried of each.
    begin : array of shape (N, K), optional
        Responsibilities to go on from, in place of trials, or to stay with.
    """
    latent = np.asarray(latent, dtype=np.float64)
    if begin is not None:
        return _gone_on(latent, n_clusters, seed, begin)
    rng = np.random.default_rng(seed)
    few, places = manifold(latent, n_clusters, min(10, latent.shape[1]), seed, rng)
    if not len(few):
        return gaussian_mixture(latent, n_clusters, seed, n_init)
    near = neighbours(latent[few], N_NEAR, seed)
    plain = trials(latent[few], n_clusters, rng, n_init, near)
    found = [trial.responsibilities for trial in plain]
    for embedding, tried in _embedded_trials(latent, places, n_clusters, rng, n_init, near):
        found += [trial.responsibilities for trial in tried]
        found.append(joined(embedding, n_clusters, near, rng))
    best = likeliest(latent[few], found, near)
    if best >= len(plain):
        return from_responsibilities(latent, for_all_rows(latent, few, found[best]))
    return _on_all_rows(latent, plain[best].mixture, rng)


def _gone_on(latent: Array, n_clusters: int, seed: int, begin: Array) -> Start:
    """Go on from responsibilities (N, K) on the graph or on the latent, or stay with them."""
    rng = np.random.default_rng(seed)
    few = rng.choice(len(latent), min(len(latent), TRIAL_ROWS), replace=False)
    near = neighbours(latent[few], N_NEAR, seed)
    found = [
        neighbour_graph(latent, n_clusters, seed, begin=begin),
        gaussian_mixture(latent, n_clusters, seed, begin=begin),
        from_responsibilities(latent, begin),
    ]
    return found[likeliest(latent[few], [start.responsibilities[few] for start in found], near)]


def _embedded_trials(
    latent: Array,
    places: Array,
    n_clusters: int,
    rng: np.random.Generator,
    n_init: int,
    near: NDArray[np.int64],
) -> "Iterator[tuple[Array, list[Trial]]]":
    """Share `n_init` trials out between embeddings (n, width), of which `places` is the first.

    Few rows have further ones, for an embedding has its own accidents.
    """
    n_embeddings = int(np.clip(TRIAL_ROWS // len(places), 1, MOST_EMBEDDINGS))
    n_trials = math.ceil(n_init / n_embeddings)
    yield places, trials(places, n_clusters, rng, n_trials, near)
    for _ in range(1, n_embeddings):
        seed = int(rng.integers(2**31))
        _, places = manifold(latent, n_clusters, places.shape[1], seed, rng)
        yield places, trials(places, n_clusters, rng, n_trials, near)


def overclustering(latent: Array, n_clusters: int, seed: int, n_init: int = 5) -> Array:
    """Return responsibilities (N, K) of more clusters than there are groups, to be joined.

    Of mixtures on an embedding of the neighbour graph, the one that tells most about the rows:
    what cuts through a group does no harm here.

    Parameters
    ----------
    latent : array of shape (N, D)
    n_clusters : int
        K.
    seed : int
    n_init : int, default=5
        Mixtures that are tried.
    """
    latent = np.asarray(latent, dtype=np.float64)
    rng = np.random.default_rng(seed)
    few, places = manifold_or_latent(latent, n_clusters, seed, rng)
    known = most_informative(trials(places, n_clusters, rng, n_init)).responsibilities
    return for_all_rows(latent, few, known)


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
    few = np.sort(rng.choice(len(space), min(len(space), TRIAL_ROWS), replace=False))
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


def for_all_rows(latent: Array, few: NDArray[np.int64], known: Array) -> Array:
    """Return responsibilities (N, K): of the rows `few` those known (n, K), of others their mean.

    The mean is over the ten nearest of `few` in the latent (N, D).
    """
    responsibilities = np.empty((len(latent), known.shape[1]))
    responsibilities[few] = known
    rest = np.setdiff1d(np.arange(len(latent)), few)
    if len(rest):
        found = between_neighbours(latent[few], known, latent[rest], n_neighbors=10)
        responsibilities[rest] = found
    return responsibilities


def principal(rows: NDArray[Any], n_components: int, seed: int) -> Array:
    """Return the first principal components of rows (N, F), all columns where F is no more."""
    from sklearn.decomposition import PCA

    if rows.shape[1] <= n_components or len(rows) <= n_components:
        return np.asarray(rows, dtype=np.float64)
    solver = PCA(n_components, svd_solver="randomized", random_state=seed % 2**32)
    return np.asarray(solver.fit_transform(rows.astype(np.float32, copy=False)), dtype=np.float64)


def rarity(counts: NDArray[Any]) -> NDArray[Any]:
    """Return log((1 + N) / n) of each column of counts (N, F), n of which are above zero, (F,).

    The inverse document frequency (Spärck Jones 1972): a word that is in every text, or a gene in
    every cell, tells little of the group that a row is in. Without a zero all columns weigh alike.
    """
    present = (counts > ABOVE_ZERO).sum(0)
    weights: NDArray[Any] = np.log((1 + len(counts)) / np.maximum(present, 1))
    return weights.astype(counts.dtype)


def manifold(
    latent: Array,
    n_clusters: int,
    width: int,
    seed: int,
    rng: np.random.Generator,
    n_rows: int = TRIAL_ROWS,
    n_neighbors: int | None = None,
) -> tuple[NDArray[np.int64], Array]:
    """Embed at most `n_rows` rows of the latent by UMAP, by default on 8 to 20 neighbours.

    Returns
    -------
    rows : array of shape (n,)
        Which rows were embedded: none where fewer than 50 differ, or two a cluster, and there is
        no graph to speak of.
    places : array of shape (n, width)
    """
    few = np.sort(rng.choice(len(latent), min(len(latent), n_rows), replace=False))
    if len(np.unique(latent[few], axis=0)) < max(FEWEST_FOR_GRAPH, 2 * n_clusters):
        return few[:0], np.empty((0, width))
    if n_neighbors is None:
        # Few rows lie far apart: the graph of 2,000 has its clusters at 10 neighbours, not at 20.
        n_neighbors = int(np.clip(round(10 * (len(few) / 2000) ** 0.3), 8, 20))
    return few, umap(latent[few], width, seed, n_neighbors=n_neighbors, min_dist=0.0)


def manifold_or_latent(
    latent: Array, n_clusters: int, seed: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], Array]:
    """Return `manifold`, or all rows where they lie where there is no graph to speak of."""
    few, places = manifold(latent, n_clusters, min(10, latent.shape[1]), seed, rng)
    return (few, places) if len(few) else (np.arange(len(latent)), latent)


class Trial(NamedTuple):
    """A mixture that was tried."""

    mixture: "GaussianMixture"
    responsibilities: Array  # (n, K)
    told: float  # I(x; y) in nats
    cut: float  # the strongest connection of two clusters; 0 where no neighbours are known


def trials(
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
    mixtures = [_mixture(rows, n_clusters, rng) for _ in range(n_init)]
    if near is None or n_clusters == 1:
        near = None
    else:
        mixtures.append(_refined(rows, joined(rows, n_clusters, near, rng), rng))
    found = []
    for mixture in mixtures:
        r = mixture.predict_proba(rows)
        cut = 0.0 if near is None else strongest_connection(shared_neighbours(r, near))
        found.append(Trial(mixture, r, mutual_information(r), cut))
    return found


def most_informative(found: Sequence[Trial]) -> Trial:
    """Return the trial that tells most about the rows.

    By the mutual information I(x; y) of its responsibilities: mixtures of nearly the same
    likelihood differ widely in whether they cut one group in two and lump two others. But it likes
    clusters of one size, and would rather halve a large one than find a small one. So mixtures
    that cut through what is connected, while another does not, are left out first.
    """
    least = min(trial.cut for trial in found)
    return max((t for t in found if t.cut <= least + CONNECTED), key=lambda trial: trial.told)


def cuts_more(rows: Array, found: Array, begin: Array, seed: int) -> bool:
    """Whether responsibilities (n, K) cut through what is connected, and those before did not.

    A mixture that goes on from a small cluster beside a large one would rather halve the large.

    Parameters
    ----------
    rows : array of shape (n, D)
    found, begin : array of shape (n, K)
    seed : int
    """
    sizes = [np.bincount(r.argmax(1), minlength=r.shape[1]) for r in (found, begin)]
    if (np.abs(sizes[0] - sizes[1]) <= LITTLE_GROWTH * sizes[1]).all():
        return False
    near = neighbours(rows, N_NEAR, seed)
    cut, before = (strongest_connection(shared_neighbours(r, near)) for r in (found, begin))
    return cut > before + CONNECTED


def likeliest(rows: Array, found: Sequence[Array], near: NDArray[np.int64]) -> int:
    """Return which of several responsibilities (n, K) fits rows (n, D) and their neighbours best.

    Of those whose clusters tell nearly as much as any do of the clusters of a row's neighbours (of
    few rows that is not known to more than 2.5 / sqrt(n) nats), and leave no more than twice as
    much untold, the one whose clusters, as normals, make the rows likeliest: by the mean
    log-density of a mixture with their moments and shrunk covariances (Ledoit & Wolf 2004).
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
    tells = told >= told[best] - max(LITTLE_LESS_TOLD, NOISE_OF_TOLD / math.sqrt(len(rows)))
    cuts_little = untold <= 2.0 * untold[best] + LITTLE_UNTOLD
    kept = tells & cuts_little
    cuts = np.array([strongest_connection(s) for s in shared])
    if cuts[best] > 2 * CONNECTED:
        kept |= cuts <= CONNECTED
    nearly = np.flatnonzero(kept).tolist()
    if len(nearly) == 1:
        return nearly[0]
    densities = [_mean_log_density(rows, found[k].argmax(1)) for k in nearly]
    return nearly[int(np.argmax(densities))]


def _mean_log_density(rows: Array, labels: NDArray[np.int64]) -> float:
    from scipy.special import logsumexp
    from scipy.stats import multivariate_normal
    from sklearn.covariance import ledoit_wolf

    spread = FLOOR_OF_VARIANCE * rows.var(0).mean() * np.eye(rows.shape[1])
    within = []
    for label in np.unique(labels):
        inside = rows[labels == label]
        # Of one row there is nothing to shrink.
        covariance = spread + (ledoit_wolf(inside)[0] if len(inside) > 1 else 0.0)
        log_density = multivariate_normal(inside.mean(0), covariance).logpdf(rows)
        within.append(np.log(len(inside) / len(rows)) + np.atleast_1d(log_density))
    return float(np.mean(logsumexp(within, axis=0)))


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


def _refined(rows: Array, responsibilities: Array, rng: np.random.Generator) -> "GaussianMixture":
    """Fit the mixture that responsibilities (n, K) lead to."""
    from sklearn.mixture import GaussianMixture

    moments = from_responsibilities(rows, responsibilities)
    first = GaussianMixture(len(moments.weights))
    first.weights_, first.means_ = moments.weights, moments.means
    variances, axes = np.linalg.eigh(moments.covariances)
    # Of a cluster without rows, or of rows all alike, rounding leaves no positive variance.
    root = axes / np.sqrt(np.maximum(variances, _least_variance(rows)))[:, None, :]
    precisions = root @ root.transpose(0, 2, 1)
    first.precisions_ = 0.5 * (precisions + precisions.transpose(0, 2, 1))
    return _mixture(rows, len(moments.weights), rng, begin=first)


def _on_all_rows(latent: Array, few: "GaussianMixture", rng: np.random.Generator) -> Start:
    """Start from the mixture on all rows that one on some of them leads to."""
    refined = _mixture(latent, len(few.weights_), rng, begin=few)
    return from_responsibilities(latent, refined.predict_proba(latent), refined.covariances_)


def _mixture(
    rows: Array, n_clusters: int, rng: np.random.Generator, begin: "GaussianMixture | None" = None
) -> "GaussianMixture":
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    given = {}
    if begin is not None:
        given = {
            "weights_init": begin.weights_,
            "means_init": begin.means_,
            "precisions_init": begin.precisions_,
        }
    with warnings.catch_warnings():
        # The start need not have converged: training goes on from it.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianMixture(
            n_clusters,
            reg_covar=_least_variance(rows),
            tol=1e-4,
            max_iter=200,
            random_state=int(rng.integers(2**31)),
            **given,
        ).fit(rows)


def from_responsibilities(
    latent: Array, responsibilities: Array, covariances: Array | None = None
) -> Start:
    """Start from given responsibilities (N, K): the moments of the rows weighted by them."""
    mass = responsibilities.sum(0) + 1e-9 * len(latent)
    centre = latent.mean(0)
    centred = latent - centre  # a mean far from zero would drown the second moments
    means = (responsibilities.T @ centred) / mass[:, None]
    second = (responsibilities.T @ centred**2) / mass[:, None]
    floor = _least_variance(latent)
    scales = np.sqrt(np.maximum(second - means**2, floor))
    if covariances is None:
        second_moments = [(r[:, None] * centred).T @ centred for r in (responsibilities / mass).T]
        covariances = np.stack(second_moments) - means[:, :, None] * means[:, None, :]
        covariances += floor * np.eye(latent.shape[1])
    total_scale = np.sqrt(np.maximum(latent.var(0), floor))
    return Start(
        mass / mass.sum(), means + centre, scales, covariances, responsibilities, total_scale
    )


def _least_variance(latent: Array) -> float:
    """Return what no variance may fall below: small next to the spread, whatever its units."""
    return 1e-6 * max(float(latent.var(0).mean()), 1e-12)


def mutual_information(responsibilities: Array) -> float:
    """Return I(x; y) = H(y) - H(y|x) in nats of responsibilities (N, K): sure and balanced."""
    from scipy.special import entr

    return float(entr(responsibilities.mean(0)).sum() - entr(responsibilities).sum(1).mean())
