"""Nearest neighbours by matrix products, as on a GPU: those that an exact search finds."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors

from deepmixture import DeepMixture, nearest


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_products_find_what_an_exact_search_finds(
    monkeypatch: pytest.MonkeyPatch, offset: float
) -> None:
    monkeypatch.setattr(nearest, "ENTRIES", 7 * 500)  # seven queries at once
    rng = np.random.default_rng(0)
    rows, queries = offset + rng.normal(size=(500, 20)), offset + rng.normal(size=(60, 20))
    search = NearestNeighbors(n_neighbors=10).fit(rows)
    for found, expected in (
        (nearest.by_products(rows, queries, 10, "cpu"), search.kneighbors(queries)),
        (nearest.by_products(rows, rows, 10, "cpu", others=True), search.kneighbors()),
    ):
        np.testing.assert_allclose(found[0], expected[0], atol=1e-9)
        np.testing.assert_array_equal(found[1], expected[1])


def test_a_row_is_no_neighbour_of_its_own_though_others_are_alike() -> None:
    rows = np.repeat(np.eye(4), 5, axis=0)
    _, index = nearest.by_products(rows, rows, 4, "cpu", others=True)
    own = np.arange(20)
    assert not (index == own[:, None]).any()
    assert (index // 5 == own[:, None] // 5).all()


def test_few_rows_have_as_many_neighbours_as_there_are() -> None:
    rows = np.arange(3.0)[:, None]
    _, index = nearest.by_products(rows, rows, 2, "cpu", others=True)
    assert np.sort(index, axis=1).tolist() == [[1, 2], [0, 2], [0, 1]]
    _, index = nearest.nearest(rows, rows, 10)
    assert index.shape == (3, 3)


def test_a_fit_on_a_gpu_searches_there_and_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    classes = np.repeat(np.arange(3), 60)
    x = 6.0 * np.eye(3)[classes] + rng.normal(size=(180, 3))
    settings = dict(
        n_clusters=3, start="gmm", hidden=(16,), pretrain_epochs=1, refine_epochs=2, epochs=1
    )
    labels = DeepMixture(**settings, random_state=0).fit_predict(x)
    asked: list[str] = []
    search = nearest.by_products

    def counted(rows: np.ndarray, queries: np.ndarray, k: int, device: str, **more: bool):
        asked.append(device)
        return search(rows, queries, k, device, **more)

    monkeypatch.setattr(nearest, "GPUS", ("cpu",))  # taken for one
    monkeypatch.setattr(nearest, "by_products", counted)
    again = DeepMixture(**settings, random_state=0).fit_predict(x)
    assert set(asked) == {"cpu"}
    assert adjusted_rand_score(labels, again) == 1.0
