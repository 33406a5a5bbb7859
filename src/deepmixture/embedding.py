"""UMAP embeddings by a seed, and how rows that were not embedded find their place."""

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepmixture.hardware import threads_kept
from deepmixture.nearest import nearest
from deepmixture.seeds import draw_rows

Floats = NDArray[np.float64]
ROWS_FOR_DIMENSION = 2000
TRIAL_ROWS = 20_000
FEWEST_FOR_GRAPH = 50


def umap(
    rows: NDArray[Any],
    n_components: int,
    seed: int,
    n_neighbors: int = 15,
    min_dist: float = 0.1,
    n_connected: int = 1,
) -> Floats:
    """Embed rows (n, D) by UMAP on their exact neighbours, shape (n, n_components).

    McInnes, Healy & Melville (2018). One thread: the same seed gives the same places. Each row is
    surely connected to its `n_connected` nearest neighbours.
    """
    wanted = min(n_neighbors, len(rows) - 1)
    distance, index = nearest(rows, rows, wanted)
    with warnings.catch_warnings(), threads_kept():
        # It warns that a seed means one thread, that given neighbours mean no later transform.
        warnings.simplefilter("ignore")
        from umap import UMAP

        embedding = UMAP(
            n_components=n_components,
            n_neighbors=wanted,
            min_dist=min_dist,
            local_connectivity=n_connected,
            init="pca",
            n_epochs=300,
            random_state=seed % 2**32,
            n_jobs=1,
            precomputed_knn=(index, distance.astype(np.float32)),
        ).fit_transform(rows.astype(np.float32))
    places = np.asarray(embedding, dtype=np.float64)
    # A row without any neighbour of its own comes back as NaN.
    return np.where(np.isfinite(places), places, np.nanmean(places, axis=0))


def manifold(
    latent: Floats,
    n_clusters: int,
    width: int,
    seed: int,
    rng: np.random.Generator,
    n_rows: int = TRIAL_ROWS,
    n_neighbors: int | None = None,
    n_connected: int = 1,
) -> tuple[NDArray[np.int64], Floats]:
    """Embed at most `n_rows` rows of the latent by UMAP, by default on 8 to 20 neighbours.

    Each row is surely connected to its `n_connected` nearest neighbours.

    Returns
    -------
    rows : array of shape (n,)
        Which rows were embedded: none where fewer than 50 differ, or two a cluster, and there is
        no graph to speak of.
    places : array of shape (n, width)
    """
    few = draw_rows(rng, len(latent), n_rows)
    if len(np.unique(latent[few], axis=0)) < max(FEWEST_FOR_GRAPH, 2 * n_clusters):
        return few[:0], np.empty((0, width))
    if n_neighbors is None:
        # Few rows lie far apart: the graph of 2,000 has its clusters at 10 neighbours, not at 20.
        n_neighbors = int(np.clip(round(10 * (len(few) / 2000) ** 0.3), 8, 20))
    places = umap(
        latent[few], width, seed, n_neighbors=n_neighbors, min_dist=0.0, n_connected=n_connected
    )
    return few, places


def manifold_or_latent(
    latent: Floats, n_clusters: int, seed: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], Floats]:
    """Return `manifold`, or all rows where they lie where there is no graph to speak of."""
    few, places = manifold(latent, n_clusters, min(10, latent.shape[1]), seed, rng)
    return (few, places) if len(few) else (np.arange(len(latent)), latent)


def intrinsic_dimension(rows: NDArray[Any], near: NDArray[np.int64]) -> float:
    """Return how many dimensions the rows (N, D) fill, by their neighbours' numbers (N, k).

    The maximum likelihood estimate of Levina & Bickel (2004, equation 8), whose inverses are
    averaged over the rows as MacKay & Ghahramani (2005) have it. Infinite where rows are alike.
    """
    some = slice(None, None, max(1, len(rows) // ROWS_FOR_DIMENSION))
    distance = np.sort(np.linalg.norm(rows[some, None, :] - rows[near[some]], axis=2), axis=1)
    apart = distance[distance[:, 0] > 0]
    if not len(apart) or apart.shape[1] < 2:
        return math.inf
    inverse = np.log(apart[:, -1:] / apart[:, :-1]).mean()
    return float(1.0 / inverse) if inverse > 0 else math.inf


def between_neighbours(
    fitted: NDArray[Any], values: NDArray[Any], rest: NDArray[Any], n_neighbors: int = 3
) -> Floats:
    """Give each row of `rest` (m, D) the distance-weighted mean of its neighbours' values.

    The neighbours are looked for in `fitted` (n, D), whose values are (n, P); returns (m, P).
    """
    distance, index = nearest(fitted, rest, n_neighbors)
    weight = 1.0 / np.maximum(distance, 1e-9 * max(float(distance.max()), 1e-30))
    weight /= weight.sum(axis=1, keepdims=True)
    return np.asarray((values[index] * weight[:, :, None]).sum(axis=1))
