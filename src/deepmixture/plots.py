"""A clustering as it is shown: where rows lie, which rows to show, and in which colours.

Nothing here knows HTML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deepmixture import embedding
from deepmixture.pictures import ImageShape, chunks

__all__ = [
    "PALETTE",
    "Result",
    "colour",
    "least_sure",
    "nearest_rows",
    "place",
    "principal_components",
    "typical",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Okabe and Ito's hues first, then the colours farthest from all earlier ones (OKLab distance,
# the smallest over normal and the three kinds of dichromatic vision), of middling lightness so
# that they stand out on white and on near black alike. No palette of this length is safe by
# colour alone: whatever is drawn with it carries the cluster number too.
PALETTE = (
    *("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#a8306c", "#845418"),
    *("#90c090", "#8478e4", "#6c7854", "#906c90", "#cca8c0", "#9c9c48", "#6c5490", "#4854c0"),
    *("#006c48", "#3c9018", "#009ccc", "#6cc054", "#849cfc", "#e46078", "#00ccd8", "#9c8454"),
    *("#5484c0", "#cc9090", "#b45478", "#7860cc", "#9054a8", "#609090", "#a89cc0", "#c078d8"),
    *("#e4a878", "#9c4848", "#e48418", "#84c0fc"),
)

UMAP_ROWS = 10_000  # more rows cost minutes and show nothing more at this size
FEWEST_FOR_UMAP = 50
PRINCIPAL_ROWS = 1_000


def colour(cluster: int) -> str:
    """Return the colour of a cluster, as ``#rrggbb``; they repeat after 36 clusters."""
    return PALETTE[cluster % len(PALETTE)]


@dataclass(frozen=True)
class Result:
    """Everything there is to show of a fitted clustering, as plain arrays.

    Attributes
    ----------
    title : str
        What the clustering is called.
    rows : array of shape (N, F)
        The data in original units; images flattened in C order.
    labels : array of shape (N,)
        Cluster of each row, from 0 to K - 1.
    responsibilities : array of shape (N, K)
        Probability of each cluster for each row.
    log_density : array of shape (N,), or None
        Bound on log p(x) of each row, of a model that has one.
    latent : array of shape (N, D), or None
        Latent mean of each row, of a model that has one.
    samples : array of shape (K, n, F)
        Rows drawn from each cluster, in original units; n is 0 for a model that draws none.
    names : tuple of str, optional
        Column names.
    image_shape : tuple of int, optional
        (H, W) or (H, W, C) where rows are images.
    row_names : tuple of str, optional
        A name for each row, such as its file.
    history : list of dict
        One entry per epoch: stage, epoch, loss and the terms of the bound.
    settings : dict
        What was asked for; may be nested.
    decisions : list of str
        Sentences: what was decided and done to the data.
    source : str
        Where the data came from, in a few words.
    cannot : dict
        Methods that the model does not have, such as "sample", and why.
    merges : list of dict
        Where the number of clusters was found: every merge, from many clusters to one.
    sizes : array of shape (K,), optional
        Rows of each cluster, where `rows` are a part of them.
    """

    title: str
    rows: np.ndarray
    labels: np.ndarray
    responsibilities: np.ndarray
    log_density: np.ndarray | None
    latent: np.ndarray | None
    samples: np.ndarray
    names: tuple[str, ...] | None = None
    image_shape: ImageShape | None = None
    row_names: tuple[str, ...] | None = None
    history: Sequence[Mapping[str, object]] = field(default_factory=list)
    settings: Mapping[str, object] = field(default_factory=dict)
    decisions: Sequence[str] = field(default_factory=list)
    source: str = ""
    cannot: Mapping[str, str] = field(default_factory=dict)
    merges: Sequence[Mapping[str, float]] = field(default_factory=list)
    sizes: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Refuse arrays which do not belong together."""
        if self.rows.ndim != 2 or len(self.rows) == 0:
            raise ValueError(f"rows has shape {self.rows.shape}; expected (rows, columns)")
        n, f = self.rows.shape
        if self.responsibilities.ndim != 2 or len(self.responsibilities) != n:
            raise ValueError(
                f"responsibilities has shape {self.responsibilities.shape}; "
                f"expected ({n}, clusters)"
            )
        k = self.responsibilities.shape[1]
        for name, given in (("labels", self.labels), ("log_density", self.log_density)):
            if given is not None and given.shape != (n,):
                raise ValueError(f"{name} has shape {given.shape}; expected {(n,)}")
        if self.labels.min() < 0 or self.labels.max() >= k:
            raise ValueError(
                f"labels run from {self.labels.min()} to {self.labels.max()}; "
                f"expected 0 to {k - 1}, as responsibilities has {k} columns"
            )
        z = self.latent
        if z is not None and (z.ndim != 2 or len(z) != n or z.shape[1] == 0):
            raise ValueError(f"latent has shape {z.shape}; expected ({n}, dimensions)")
        if z is not None and not np.isfinite(z).all():
            raise ValueError("latent holds NaN or infinity; expected finite coordinates")
        if self.samples.ndim != 3 or (self.samples.shape[0], self.samples.shape[2]) != (k, f):
            raise ValueError(f"samples has shape {self.samples.shape}; expected ({k}, n, {f})")
        if self.names is not None and len(self.names) != f:
            raise ValueError(f"names has {len(self.names)} entries; expected {f}")
        if self.row_names is not None and len(self.row_names) != n:
            raise ValueError(f"row_names has {len(self.row_names)} entries; expected {n}")
        image = self.image_shape
        if image is not None and (len(image) not in (2, 3) or int(np.prod(image)) != f):
            raise ValueError(f"image_shape is {image}; expected (H, W) or (H, W, C) of {f} values")

    @property
    def n_clusters(self) -> int:
        """Number of clusters, the empty ones among them."""
        return int(self.responsibilities.shape[1])

    @property
    def all_sizes(self) -> Ints:
        """Rows of each cluster, those that are not shown among them, of shape (K,)."""
        if self.sizes is not None:
            return self.sizes
        return np.bincount(self.labels, minlength=self.n_clusters)

    @property
    def probability(self) -> Floats:
        """Probability of each row's own cluster, of shape (N,)."""
        own: Floats = self.responsibilities[np.arange(len(self.labels)), self.labels].astype(
            np.float64
        )
        return np.clip(np.nan_to_num(own), 0.0, 1.0)


# ------------------------------------------------------------------- which rows to show


def typical(result: Result, cluster: int, n: int) -> Ints:
    """Choose the rows nearest to the centre of a cluster, among its surer half.

    Without a latent space there is no centre: the surest rows, then.

    Parameters
    ----------
    result : Result
        The clustering.
    cluster : int
        Which cluster.
    n : int
        How many rows at most.

    Returns
    -------
    array of shape (at most n,)
        Row numbers, the most typical first.
    """
    members, probability, distance = _members(result, cluster)
    sure = probability >= np.median(probability) if len(members) else probability >= 0
    return members[sure][np.argsort(distance[sure], kind="stable")[:n]]


def least_sure(result: Result, cluster: int, n: int) -> Ints:
    """Choose the rows of a cluster whose probability of belonging to it is lowest.

    Parameters
    ----------
    result : Result
        The clustering.
    cluster : int
        Which cluster.
    n : int
        How many rows at most.

    Returns
    -------
    array of shape (at most n,)
        Row numbers, the least sure first; between equals, the farther from the centre.
    """
    members, probability, distance = _members(result, cluster)
    return members[np.lexsort((-distance, probability))[:n]]


def _members(result: Result, cluster: int) -> tuple[Ints, Floats, Floats]:
    """Rows of a cluster, their probability, and their standardised distance from its centre.

    Without a latent space the distance is how far a row is from sure.
    """
    members = np.flatnonzero(result.labels == cluster)
    probability = result.probability[members]
    if len(members) == 0 or result.latent is None:
        return members, probability, 1.0 - probability
    z = result.latent[members].astype(np.float64)
    weight = probability if probability.sum() > 0 else np.ones(len(members))
    centre = np.average(z, axis=0, weights=weight)
    variance = np.average((z - centre) ** 2, axis=0, weights=weight)
    variance = np.where(variance > 0, variance, 1.0)
    return members, probability, ((z - centre) ** 2 / variance).sum(axis=1)


def nearest_rows(rows: np.ndarray, queries: np.ndarray) -> Ints:
    """Find the row nearest to each query in Euclidean distance, a chunk of rows at a time.

    Parameters
    ----------
    rows : array of shape (N, F)
        The data.
    queries : array of shape (Q, F)
        The points to look up.

    Returns
    -------
    array of shape (Q,)
        Row numbers.
    """
    q = np.nan_to_num(np.asarray(queries, dtype=np.float32))
    best = np.full(len(q), np.inf, dtype=np.float32)
    where = np.zeros(len(q), dtype=np.int64)
    for start, chunk in chunks(rows):
        x = np.nan_to_num(chunk.astype(np.float32))
        distance = (x**2).sum(axis=1)[:, None] - 2 * (x @ q.T)
        nearest = distance.argmin(axis=0)
        value = distance[nearest, np.arange(len(q))]
        closer = value < best
        best[closer], where[closer] = value[closer], start + nearest[closer]
    return where


# --------------------------------------------------------------------------- the map


def principal_components(result: Result, seed: int = 0) -> Floats:
    """Coordinates of the rows along their first principal components, 20 at most.

    What is mapped where a model has no latent space. Columns of a table are standardised, as they
    come in all units. The directions are those of at most 1,000 rows.

    Parameters
    ----------
    result : Result
        The clustering.
    seed : int
        Seed of the choice of rows.
    """
    rng = np.random.default_rng(seed)
    few = np.sort(rng.permutation(len(result.rows))[:PRINCIPAL_ROWS])
    fitted = np.nan_to_num(result.rows[few].astype(np.float64))
    centre, scale = fitted.mean(axis=0), np.ones(fitted.shape[1])
    if result.image_shape is None:
        scale = np.where(fitted.std(axis=0) > 0, fitted.std(axis=0), 1.0)
    _, _, directions = np.linalg.svd((fitted - centre) / scale, full_matrices=False)
    found = [
        ((np.nan_to_num(chunk.astype(np.float64)) - centre) / scale) @ directions[:20].T
        for _, chunk in chunks(result.rows)
    ]
    return np.concatenate(found)


def place(
    latent: np.ndarray, labels: np.ndarray, seed: int = 0, kind: str = "latent dimension"
) -> tuple[Floats, str]:
    """Give every row a place on a plane.

    Two latent dimensions are shown as they are and a single one as lanes, a lane a cluster.
    More are laid out by UMAP, fitted on at most 10,000 rows; each remaining row lies at the
    distance-weighted mean of its nearest fitted neighbours.

    Parameters
    ----------
    latent : array of shape (N, D)
        Latent coordinates.
    labels : array of shape (N,)
        Cluster of each row; only used to lay out a single latent dimension.
    seed : int
        Seed of the layout.
    kind : str
        What a coordinate is called.

    Returns
    -------
    plane : array of shape (N, 2)
        The places.
    how : str
        One sentence for people.
    """
    rng = np.random.default_rng(seed)
    z = np.asarray(latent, dtype=np.float64)
    n, d = z.shape
    if d == 1:
        lane = -labels + rng.uniform(-0.36, 0.36, size=n)
        how = f"The one {kind} runs from left to right; each cluster has a lane."
        return np.column_stack([z[:, 0], lane]), how
    if d == 2:
        return z.copy(), f"The two {kind}s as they are."
    fitted = np.arange(n) if n <= UMAP_ROWS else np.sort(rng.permutation(n)[:UMAP_ROWS])
    distinct = len(np.unique(z[fitted], axis=0))
    if distinct < FEWEST_FOR_UMAP:
        centred = z - z.mean(axis=0)
        _, _, directions = np.linalg.svd(centred, full_matrices=False)
        plane = np.zeros((n, 2))
        found = (centred @ directions[:2].T)[:, :2]
        plane[:, : found.shape[1]] = found
        return plane, f"The first two principal components of {d} {kind}s."
    plane = np.empty((n, 2))
    plane[fitted] = embedding.umap(z[fitted], 2, seed)
    how = (
        f"UMAP of {d} {kind}s. Near points are alike; distances between clusters and "
        "their areas mean little."
    )
    if len(fitted) < n:
        rest = np.setdiff1d(np.arange(n), fitted)
        plane[rest] = embedding.between_neighbours(z[fitted], plane[fitted], z[rest])
        how += (
            f" Fitted on {len(fitted):,} rows drawn at random; every other row lies between "
            "its nearest neighbours among them."
        )
    return plane, how
