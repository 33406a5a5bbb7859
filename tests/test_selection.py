"""Which run is kept, and how runs are compared, without a label."""

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

from deepmixture import selection


def sure(labels: np.ndarray, n_clusters: int = 4) -> np.ndarray:
    return np.eye(n_clusters)[labels]


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, 500)


def test_agreement_is_the_normalised_mutual_information(labels: np.ndarray) -> None:
    other = labels.copy()
    other[:150] = np.random.default_rng(1).integers(0, 4, 150)
    found = selection.agreements([sure(labels), sure(other)])
    expected = normalized_mutual_info_score(labels, other)
    assert found == pytest.approx([expected, expected])
    assert selection.agreements([sure(labels)]) == [None]


def test_the_numbers_of_clusters_do_not_matter(labels: np.ndarray) -> None:
    assert selection.agreements([sure(labels), sure(3 - labels)]) == pytest.approx([1.0, 1.0])


def test_the_run_that_others_agree_with_is_kept(labels: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    alone = rng.integers(0, 4, 500)
    near = labels.copy()
    near[:20] = rng.integers(0, 4, 20)
    assert selection.choose([sure(alone), sure(labels), sure(near)]) in (1, 2)


def test_of_two_runs_the_surer_and_more_balanced_is_kept(labels: np.ndarray) -> None:
    merged = np.where(labels == 3, 2, labels)
    assert selection.choose([sure(merged), sure(labels)]) == 1
    assert selection.choose([sure(labels), 0.5 * sure(labels) + 0.125]) == 0


def blobs(n_clusters: int, n_rows: int = 900) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n_clusters)
    centres = rng.permutation(np.stack(np.meshgrid(*[[-9.0, 0.0, 9.0]] * 3), -1).reshape(-1, 3))
    classes = rng.integers(0, n_clusters, n_rows)
    return centres[classes] + rng.normal(size=(n_rows, 3)), classes


@pytest.mark.parametrize("n_clusters", [1, 3, 10])
def test_the_number_of_distant_clusters_is_found(n_clusters: int) -> None:
    x, classes = blobs(n_clusters)
    responsibilities, merges = selection.find_number(x, seed=0)
    assert responsibilities.shape == (900, n_clusters)
    np.testing.assert_allclose(responsibilities.sum(1), 1.0)
    found = normalized_mutual_info_score(classes, responsibilities.argmax(1))
    assert found > 0.99
    done = [merge["done"] for merge in merges]
    assert done == sorted(done, reverse=True)
    assert merges[0]["n_clusters"] - sum(done) == n_clusters
    assert [merge["n_clusters"] for merge in merges] == list(range(len(merges) + 1, 1, -1))


def test_the_strongest_connection_is_merged_first() -> None:
    shared = np.array([[90.0, 1.0, 9.0], [1.0, 50.0, 0.0], [9.0, 0.0, 20.0]])
    merges, groups = selection.merge_tree(shared, connected=0.1)
    assert [(merge["one"], merge["other"]) for merge in merges] == [(0, 2), (0, 1)]
    assert merges[0]["connection"] == pytest.approx(9 / 29)
    assert merges[1]["connection"] == pytest.approx(1 / 51)
    assert groups == [[0, 2], [1]]
