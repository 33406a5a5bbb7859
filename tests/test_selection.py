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
