"""Metrics against brute force and against worked examples."""

from itertools import permutations

import numpy as np
import pytest

from deepmixture import metrics


def brute_force_accuracy(y: np.ndarray, labels: np.ndarray) -> float:
    """Try every one-to-one matching."""
    classes, clusters = list(np.unique(y)), list(np.unique(labels))
    size = max(len(classes), len(clusters))
    classes += [None] * (size - len(classes))
    best = 0
    for order in permutations(classes, len(clusters)):
        match = dict(zip(clusters, order, strict=True))
        best = max(best, sum(match[c] == k for k, c in zip(y, labels, strict=True)))
    return best / len(y)


@pytest.mark.parametrize("n_clusters", [1, 2, 4, 6])
@pytest.mark.parametrize("seed", range(5))
def test_accuracy_equals_the_best_permutation(n_clusters: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.integers(4, size=40)
    labels = rng.integers(n_clusters, size=40)
    expected = brute_force_accuracy(y, labels)
    assert metrics.accuracy(y, labels) == pytest.approx(expected)
    match = metrics.match_clusters(y, labels)
    assert len(set(match.values())) == len(match)
    assert np.mean([match.get(int(c)) == k for c, k in zip(labels, y, strict=True)]) == (
        pytest.approx(expected)
    )


def test_many_to_one_lets_two_clusters_share_a_class() -> None:
    y = [0, 0, 0, 0, 1, 1]
    labels = [0, 0, 1, 1, 2, 2]
    assert metrics.accuracy(y, labels) == pytest.approx(4 / 6)
    assert metrics.many_to_one_accuracy(y, labels) == 1.0


def test_the_surest_row_names_the_class_of_its_cluster() -> None:
    y = np.array(["a", "a", "b", "b", "b", "c"])
    p = np.array([[0.6, 0.4], [0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.45, 0.55], [0.1, 0.9]])
    # Of the first cluster, a, a, b, b, row 1 is the surest: a. Of the second, b, c, row 5: c.
    assert metrics.surest_member_accuracy(y, p) == pytest.approx(3 / 6)
    # The majority of it says as much or more, whoever is surest.
    rng = np.random.default_rng(0)
    for _ in range(20):
        y, p = rng.integers(3, size=30), rng.dirichlet(np.ones(4), size=30)
        surest = [y[p[:, k].argmax()] for k in range(4)]
        expected = np.mean([surest[row.argmax()] == k for row, k in zip(p, y, strict=True)])
        assert metrics.surest_member_accuracy(y, p) == pytest.approx(expected)
        assert expected <= metrics.many_to_one_accuracy(y, p.argmax(1))
        scores = metrics.score_clustering(y, p.argmax(1), p)
        assert scores["surest_member_accuracy"] == pytest.approx(expected)
    assert "surest_member_accuracy" not in metrics.score_clustering(y, p.argmax(1))


def test_of_rows_alike_sure_the_first_names_the_class() -> None:
    p = [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    assert metrics.surest_member_accuracy([0, 1, 1, 1], p) == pytest.approx(2 / 4)
    assert metrics.surest_member_accuracy([1, 0, 1, 1], p) == pytest.approx(3 / 4)


@pytest.mark.parametrize(
    ("y", "p", "message"),
    [
        ([0, 1], [[0.5, 0.5]], "y_true has 2 rows but responsibilities has 1"),
        ([0, 1], [0.5, 0.5], r"responsibilities has shape \(2,\)"),
        ([0, 1], [[1.5, -0.5], [0.5, 0.5]], r"outside \[0, 1\]"),
    ],
)
def test_the_surest_row_of_bad_input(y: list[int], p: list[object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.surest_member_accuracy(y, p)


def test_contingency_counts() -> None:
    counts, classes, clusters = metrics.contingency(["b", "a", "b"], [7, 7, 3])
    assert counts.tolist() == [[0, 1], [1, 1]]
    assert classes.tolist() == ["a", "b"]
    assert clusters.tolist() == [3, 7]


def test_a_perfect_clustering_under_other_names() -> None:
    scores = metrics.score_clustering(["x", "x", "y", "z"], [2, 2, 0, 1])
    for name in ("accuracy", "many_to_one_accuracy", "nmi", "ari", "v_measure"):
        assert scores[name] == pytest.approx(1.0), name
    assert scores["homogeneity"] == pytest.approx(1.0)
    assert scores["completeness"] == pytest.approx(1.0)
    assert scores["used_clusters"] == 3
    assert scores["classes"] == 3


def test_one_cluster_for_all_is_complete_and_not_homogeneous() -> None:
    scores = metrics.score_clustering([0, 0, 1, 1], [5, 5, 5, 5])
    assert scores["completeness"] == 1.0
    assert scores["homogeneity"] == 0.0
    assert scores["ari"] == pytest.approx(0.0)
    assert scores["used_clusters"] == 1


def test_v_measure_from_entropies() -> None:
    rng = np.random.default_rng(3)
    y, labels = rng.integers(3, size=200), rng.integers(5, size=200)
    joint = metrics.contingency(y, labels)[0] / 200

    def entropy(p: np.ndarray) -> float:
        p = p[p > 0]
        return float(-(p * np.log(p)).sum())

    h_y, h_c, h_both = entropy(joint.sum(1)), entropy(joint.sum(0)), entropy(joint.ravel())
    mutual = h_y + h_c - h_both
    scores = metrics.score_clustering(y, labels)
    assert scores["homogeneity"] == pytest.approx(mutual / h_y)
    assert scores["completeness"] == pytest.approx(mutual / h_c)
    assert scores["v_measure"] == pytest.approx(2 * mutual / (h_y + h_c))
    assert scores["nmi"] == pytest.approx(2 * mutual / (h_y + h_c))


def test_string_labels_score_as_numbers_do() -> None:
    rng = np.random.default_rng(0)
    y, labels = rng.integers(3, size=60), rng.integers(4, size=60)
    named = metrics.score_clustering(y.astype(str).astype(object), np.array(list("abcd"))[labels])
    assert named == metrics.score_clustering(y, labels)


def test_calibration_by_hand() -> None:
    # Clusters 0 and 1 stand for "a" and "b": right, wrong, right, right.
    p = np.array([[0.95, 0.05], [0.92, 0.08], [0.3, 0.7], [0.25, 0.75]])
    found = metrics.expected_calibration_error(["a", "b", "b", "b"], p, n_bins=10)
    # Bins (0.6, 0.7], (0.7, 0.8] and (0.9, 1.0].
    np.testing.assert_allclose(found.confidence, [0.7, 0.75, 0.935])
    np.testing.assert_allclose(found.accuracy, [1.0, 1.0, 0.5])
    assert found.count.tolist() == [1, 1, 2]
    assert found.error == pytest.approx((0.3 + 0.25 + 2 * 0.435) / 4)


def test_rows_drawn_from_their_own_probabilities_are_calibrated() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet([0.5, 0.5, 0.5], size=20_000)
    y = (p.cumsum(1) < rng.random((20_000, 1))).sum(1)
    assert metrics.expected_calibration_error(y, p).error < 0.02
    overconfident = np.eye(3)[p.argmax(1)]
    assert metrics.expected_calibration_error(y, overconfident).error > 0.1


def test_a_cluster_without_a_class_is_wrong() -> None:
    p = np.eye(3)[[0, 0, 1, 1, 2]]
    found = metrics.expected_calibration_error([0, 0, 1, 1, 1], p)
    assert found.accuracy.tolist() == [0.8]
    assert found.error == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("y", "labels", "words"),
    [
        ([], [], "y_true is empty"),
        ([0, 1], [0], "y_true has 2 rows but labels has 1"),
        ([[0], [1]], [0, 1], r"y_true has shape \(2, 1\)"),
        ([0.0, float("nan")], [0, 1], "y_true holds NaN"),
        (np.array([0, "a"], dtype=object), [0, 1], "int, str"),
    ],
)
def test_bad_input_is_named(y: object, labels: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        metrics.score_clustering(y, labels)  # type: ignore[arg-type]


def test_bad_responsibilities_are_named() -> None:
    with pytest.raises(ValueError, match="outside"):
        metrics.expected_calibration_error([0, 1], [[0.5, 1.5], [0.1, 0.9]])
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        metrics.expected_calibration_error([0, 1], [0.5, 0.5])
    with pytest.raises(ValueError, match="n_bins"):
        metrics.expected_calibration_error([0, 1], [[1, 0], [0, 1]], n_bins=0)
