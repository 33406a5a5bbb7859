"""Starts: a first mixture over a latent space, from which a deep mixture is trained.

No start ever sees a label.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deepmixture.connections import N_NEAR
from deepmixture.embedding import (
    TRIAL_ROWS,
    between_neighbours,
    manifold,
    manifold_or_latent,
)
from deepmixture.hardware import one_thread
from deepmixture.latent_classes import most_probable, on_all_rows, takes_few_values
from deepmixture.nearest import neighbours
from deepmixture.normal_mixture import NormalMixture, Products, improved
from deepmixture.normals import Start, from_responsibilities, least_variance
from deepmixture.trials import (
    Trial,
    best_by_neighbours,
    goes_astray,
    joined,
    likeliest,
    mean_log_density,
    mixture_from,
    most_informative,
    most_informative_of_likeliest,
    try_mixtures,
)

Array = NDArray[np.float64]
MOST_EMBEDDINGS = 10
SURELY_CONNECTED = (1, 2)
"""To how many neighbours a row is surely connected, in one embedding and the next. Of the digits
of scikit-learn three of sixteen embeddings have all ten apart with 1, eleven with 2; of other rows
now the one and now the other has the better clusters."""
N_TRIALS = 20
JUDGED_BY_ROWS = 5000
BY_GRAPH = "the neighbour graph"
MUCH = N_TRIALS * TRIAL_ROWS * 10**2  # products of entries, of 20,000 rows of ten columns
FAR_LIKELIER = 0.05
"""In nats a row, beyond what a mixture gains by being fitted to the rows. On the latent of MNIST
mixtures gain at most 0.01 and are no better starts than the graph, of 5,000 of its images less
than nothing and are worse; on that of Fashion-MNIST 0.14 to 0.22, and are better."""


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
    return replace(start, means=found.cluster_centers_, found_by="k-means")


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
    if begin is None:
        return _tried_mixture(latent, n_clusters, seed, n_init, most_informative)
    rng = np.random.default_rng(seed)
    few = rng.choice(len(latent), min(len(latent), TRIAL_ROWS), replace=False)
    products = Products(latent[few])
    best = mixture_from(products, begin[few])
    if goes_astray(latent[few], best.responsibilities(products), begin[few], seed):
        return from_responsibilities(latent, begin)
    return _on_all_rows(latent, best)


def neighbour_graph(
    latent: Array,
    n_clusters: int,
    seed: int,
    n_init: int = 20,
    begin: Array | None = None,
    n_rows: int = TRIAL_ROWS,
) -> Start:
    """Start from the neighbour graph of the latent: a UMAP embedding, then a mixture on that.

    The way of N2D (McConville et al. 2021, "(Not too) deep clustering"). At most `n_rows` rows are
    embedded; each other row has the responsibilities of its nearest embedded neighbours. Fewer
    than 20,000 rows are embedded up to ten times, for an embedding has its own accidents: every
    other time with rows surely connected to two neighbours in place of one. The mixtures of all
    compete, by `best_by_neighbours`. Fewer than 50 rows have no graph to speak of and start from
    `gaussian_mixture`.

    Parameters
    ----------
    latent : array of shape (N, D)
    n_clusters : int
    seed : int
    n_init : int, default=20
        Mixtures that are tried.
    begin : array of shape (N, K), optional
        Responsibilities to go on from, in place of trials.
    n_rows : int, default=20000
        The most rows that are embedded.
    """
    latent = np.asarray(latent, dtype=np.float64)
    rng = np.random.default_rng(seed)
    width = min(10, latent.shape[1])
    few, places = manifold(latent, n_clusters, width, seed, rng, n_rows)
    if not len(few):
        return gaussian_mixture(latent, n_clusters, seed, n_init, begin)
    if begin is not None:
        products = Products(places)
        known = mixture_from(products, begin[few]).responsibilities(products)
        if goes_astray(latent[few], known, begin[few], seed):
            return from_responsibilities(latent, begin)
        return from_responsibilities(latent, for_all_rows(latent, few, known))
    near = neighbours(latent[few], N_NEAR, seed)
    embedded = _embedded_trials(latent[few], places, n_clusters, rng, n_init, near)
    best = best_by_neighbours([trial for _, tried in embedded for trial in tried])
    known = for_all_rows(latent, few, best.responsibilities)
    return from_responsibilities(latent, known, found_by=BY_GRAPH)


def gain_by_graph(latent: Array, n_clusters: int, seed: int) -> float:
    """Return what clusters on the neighbour graph of the latent tell of a row's neighbours.

    In nats: the `gain` of the best of twenty mixtures on one embedding of at most 5,000 rows; zero
    of too few rows to embed.

    Parameters
    ----------
    latent : array of shape (N, D)
    n_clusters : int
    seed : int
    """
    rng = np.random.default_rng(seed)
    width = min(10, latent.shape[1])
    few, places = manifold(latent, n_clusters, width, seed, rng, JUDGED_BY_ROWS)
    if not len(few):
        return 0.0
    near = neighbours(latent[few], N_NEAR, seed)
    return best_by_neighbours(try_mixtures(places, n_clusters, rng, N_TRIALS, near)).gain


def graph_or_likelier_mixture(
    latent: Array, n_clusters: int, seed: int, n_init: int = 20, begin: Array | None = None
) -> Start:
    """Start from the neighbour graph, or from a mixture on the latent where that is far likelier.

    In the latent of an autoencoder groups of images that look alike touch: a graph takes them for
    one, and cuts another in two. As normals such clusters make the rows far less likely than those
    of a mixture do that is chosen by `most_informative_of_likeliest`. These are taken where they
    gain more than 0.05 nats a row beyond what a mixture gains by being fitted to the rows, its
    parameters over their number (Akaike 1974, "A new look at the statistical model
    identification").

    Parameters
    ----------
    latent : array of shape (N, D)
    n_clusters : int
    seed : int
    n_init : int, default=20
        Mixtures that are tried of each.
    begin : array of shape (N, K), optional
        Responsibilities to go on from on the graph, in place of trials.
    """
    graph = neighbour_graph(latent, n_clusters, seed, n_init, begin)
    if begin is not None:
        return graph
    latent = np.asarray(latent, dtype=np.float64)
    mixture = _tried_mixture(latent, n_clusters, seed, n_init, most_informative_of_likeliest)
    few = slice(None, None, math.ceil(len(latent) / TRIAL_ROWS))
    rows = latent[few]
    by_graph, by_mixture = (
        mean_log_density(rows, start.responsibilities[few].argmax(1)) for start in (graph, mixture)
    )
    width = rows.shape[1]
    n_parameters = n_clusters * (width + 1) * (width + 2) // 2 - 1
    gained = by_mixture - by_graph - n_parameters / len(rows)
    return mixture if gained > FAR_LIKELIER else graph


def latent_classes(latent: Array, n_clusters: int, seed: int, n_init: int = 20) -> Start:
    """Start from the latent class model of rows whose columns take few values.

    Parameters
    ----------
    latent : array of shape (N, D)
        The rows themselves.
    n_clusters : int
    seed : int
    n_init : int, default=20
        Models that are tried, on at most 20,000 rows; the most probable goes on with all.
    """
    rng = np.random.default_rng(seed)
    few = rng.choice(len(latent), min(len(latent), TRIAL_ROWS), replace=False)
    known = most_probable(latent[few], n_clusters, rng, n_init)
    found_by = "the latent class model"
    return from_responsibilities(latent, on_all_rows(latent, few, known), found_by=found_by)


def graph_or_mixture(
    latent: Array, n_clusters: int, seed: int, n_init: int = 20, begin: Array | None = None
) -> Start:
    """Start from the neighbour graph or from a mixture on the latent itself: see `likeliest`.

    Rows whose columns take few values start from `latent_classes`: there neighbours are ties.
    All mixtures that `neighbour_graph` and `gaussian_mixture` try compete, and on each embedding
    the joined clusters of k-means as they are, which may have any shape.

    Parameters
    ----------
    latent : array of shape (N, D)
    n_clusters : int
    seed : int
    n_init : int, default=20
        Mixtures that are tried of each; on the latent fewer, but 20, where its columns are many
        and a mixture costs much.
    begin : array of shape (N, K), optional
        Responsibilities to go on from, in place of trials, or to stay with.
    """
    latent = np.asarray(latent, dtype=np.float64)
    if begin is not None:
        return _gone_on(latent, n_clusters, seed, begin)
    if takes_few_values(latent):
        return latent_classes(latent, n_clusters, seed, n_init)
    rng = np.random.default_rng(seed)
    few, places = manifold(latent, n_clusters, min(10, latent.shape[1]), seed, rng)
    if not len(few):
        return gaussian_mixture(latent, n_clusters, seed, n_init)
    near = neighbours(latent[few], N_NEAR, seed)
    affordable = MUCH // (len(few) * latent.shape[1] ** 2)
    n_plain = int(np.clip(affordable, min(n_init, N_TRIALS), n_init))
    plain = try_mixtures(latent[few], n_clusters, rng, n_plain, near)
    found = [trial.responsibilities for trial in plain]
    for embedding, tried in _embedded_trials(latent[few], places, n_clusters, rng, n_init, near):
        found += [trial.responsibilities for trial in tried]
        found.append(joined(embedding, n_clusters, near, rng))
    best = likeliest(latent[few], found, near)
    if best >= len(plain):
        known = for_all_rows(latent, few, found[best])
        return from_responsibilities(latent, known, found_by=BY_GRAPH)
    return _on_all_rows(latent, plain[best].mixture)


def _tried_mixture(
    latent: Array,
    n_clusters: int,
    seed: int,
    n_init: int,
    choose: Callable[[Sequence[Trial]], Trial],
) -> Start:
    """Try `n_init` mixtures on at most 20,000 rows, and refine the one that is chosen on all."""
    rng = np.random.default_rng(seed)
    few = rng.choice(len(latent), min(len(latent), TRIAL_ROWS), replace=False)
    near = neighbours(latent[few], N_NEAR, seed)
    best = choose(try_mixtures(latent[few], n_clusters, rng, n_init, near))
    return _on_all_rows(latent, best.mixture)


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
    """Share `n_init` trials out between embeddings of the n rows, of which `places` is the first.

    Few rows have further ones, for an embedding has its own accidents; every other one is of a
    graph that connects more.
    """
    n_embeddings = int(np.clip(TRIAL_ROWS // len(places), 1, MOST_EMBEDDINGS))
    n_trials = math.ceil(n_init / n_embeddings)
    yield places, try_mixtures(places, n_clusters, rng, n_trials, near)
    for k in range(1, n_embeddings):
        seed = int(rng.integers(2**31))
        n_connected = SURELY_CONNECTED[k % len(SURELY_CONNECTED)]
        _, places = manifold(
            latent, n_clusters, places.shape[1], seed, rng, n_connected=n_connected
        )
        yield places, try_mixtures(places, n_clusters, rng, n_trials, near)


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
    known = most_informative(try_mixtures(places, n_clusters, rng, n_init)).responsibilities
    return for_all_rows(latent, few, known)


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


@one_thread()
def _on_all_rows(latent: Array, few: NormalMixture) -> Start:
    """Start from the mixture on all rows that one on some of them leads to."""
    products = Products(latent)
    found = improved(products, few, least_variance(latent))
    r = found.responsibilities(products)
    return from_responsibilities(latent, r, found.covariances, "a Gaussian mixture")
