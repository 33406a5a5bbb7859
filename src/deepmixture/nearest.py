"""The nearest neighbours of rows: exact on a GPU and of few rows, elsewhere by descent."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deepmixture.hardware import threads_kept

MOST_FOR_EXACT = 20_000
SPARE = 8  # more than are asked for: of what float32 cannot tell apart, float64 keeps the nearest
ENTRIES = 2**28  # distances that are on the GPU at once, 1 GiB
MOST_QUERIES = 2**14  # at once, whose candidates are compared in float64
GPUS = ("cuda",)

_device = ContextVar("the device of the search", default="cpu")


@contextmanager
def searched_on(device: torch.device) -> Iterator[None]:
    """Search on this device what is searched within; on the CPU where it is no CUDA GPU."""
    before = _device.set(str(device))
    try:
        yield
    finally:
        _device.reset(before)


def neighbours(rows: NDArray[Any], n_neighbors: int, seed: int) -> NDArray[np.int64]:
    """Return the numbers (N, k) of the nearest other rows of each row (N, D).

    Exact on a GPU and up to 20,000 rows, else by nearest neighbour descent (Dong, Charikar & Li
    2011).
    """
    wanted = min(n_neighbors, len(rows) - 1)
    if on_a_gpu():
        return by_products(rows, rows, wanted, _device.get(), others=True)[1]
    if len(rows) <= MOST_FOR_EXACT:
        from sklearn.neighbors import NearestNeighbors

        search = NearestNeighbors(n_neighbors=wanted).fit(rows)
        return np.asarray(search.kneighbors(return_distance=False), dtype=np.int64)
    with warnings.catch_warnings(), threads_kept():
        warnings.simplefilter("ignore")
        from pynndescent import NNDescent

        descent = NNDescent(
            rows.astype(np.float32), n_neighbors=wanted + 1, random_state=seed % 2**32, n_jobs=1
        )
    return np.asarray(descent.neighbor_graph[0][:, 1:], dtype=np.int64)


def nearest(
    rows: NDArray[Any], queries: NDArray[Any], n_neighbors: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the distances and numbers (M, k) of the rows (N, D) nearest to queries (M, D)."""
    wanted = min(n_neighbors, len(rows))
    if on_a_gpu():
        return by_products(rows, queries, wanted, _device.get())
    from sklearn.neighbors import NearestNeighbors

    distance, index = NearestNeighbors(n_neighbors=wanted).fit(rows).kneighbors(queries)
    return np.asarray(distance, dtype=np.float64), np.asarray(index, dtype=np.int64)


def on_a_gpu() -> bool:
    """Whether a search is done on a GPU here."""
    return torch.device(_device.get()).type in GPUS


def by_products(
    rows: NDArray[Any],
    queries: NDArray[Any],
    n_neighbors: int,
    device: str | torch.device,
    others: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the distances and numbers (M, k) of the rows nearest to queries, by matrix products.

    |q - x|^2 = |q|^2 - 2 q'x + |x|^2 in float32 on the device, of rows about their mean; of the
    nearest and a few more the distances are then taken in float64.

    Parameters
    ----------
    rows : array of shape (N, D)
    queries : array of shape (M, D)
    n_neighbors : int
        k, at most N.
    device : str or torch.device
    others : bool, default=False
        Whether the queries are the rows, and a row is no neighbour of its own.
    """
    mean = rows.mean(0, dtype=np.float64)
    x = torch.from_numpy((rows - mean).astype(np.float32)).to(device)
    square = (x**2).sum(1)
    found = min(n_neighbors + SPARE, len(rows) - others)
    at_once = int(np.clip(ENTRIES // len(rows), 1, MOST_QUERIES))
    distances, indices = [], []
    for first in range(0, len(queries), at_once):
        part = queries[first : first + at_once]
        q = torch.from_numpy((part - mean).astype(np.float32)).to(device)
        between = torch.addmm(square, q, x.T, alpha=-2.0)
        if others:
            own = torch.arange(len(q), device=device)
            between[own, first + own] = torch.inf
        index = between.topk(found, largest=False).indices.cpu().numpy()
        apart = part[:, None, :].astype(np.float64) - rows[index]
        distance = np.sqrt((apart**2).sum(2))
        order = np.argsort(distance, axis=1, kind="stable")[:, :n_neighbors]
        distances.append(np.take_along_axis(distance, order, axis=1))
        indices.append(np.take_along_axis(index, order, axis=1))
    return np.concatenate(distances), np.concatenate(indices)
