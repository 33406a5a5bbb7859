"""Which run is kept, and how runs are compared, without a label."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score, normalized_mutual_info_score

from deepmixture import selection
from deepmixture.connections import (
    gain,
    information,
    joins,
    joins_by_gain,
    lost_by_joining,
    merged,
    strongest_affinity,
    strongest_connection,
)


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


def test_the_surer_and_more_balanced_run_is_kept(labels: np.ndarray) -> None:
    merged = np.where(labels == 3, 2, labels)
    assert selection.choose([sure(merged), sure(labels)]) == 1
    assert selection.choose([sure(labels), 0.5 * sure(labels) + 0.125]) == 0
    assert selection.choose([sure(merged), sure(merged), sure(labels)]) == 2


def test_runs_with_different_numbers_of_clusters_are_compared(labels: np.ndarray) -> None:
    halved = np.where(np.arange(500) % 2 == 0, labels, labels + 4)
    unsure = 0.6 * sure(halved, 8) + 0.4 * sure((halved + 4) % 8, 8)
    assert selection.choose([unsure, sure(labels)]) == 1
    assert selection.choose([np.ones((500, 1)), sure(labels)]) == 1


def blobs(n_clusters: int, n_rows: int = 900) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n_clusters)
    centres = rng.permutation(np.stack(np.meshgrid(*[[-9.0, 0.0, 9.0]] * 3), -1).reshape(-1, 3))
    classes = rng.integers(0, n_clusters, n_rows)
    return centres[classes] + rng.normal(size=(n_rows, 3)), classes


@pytest.mark.parametrize("n_clusters", [1, 3, 10])
def test_the_number_of_distant_clusters_is_found(n_clusters: int) -> None:
    x, classes = blobs(n_clusters)
    _, responsibilities, merges = selection.find_number(x, seed=0)
    assert responsibilities.shape == (900, n_clusters)
    np.testing.assert_allclose(responsibilities.sum(1), 1.0)
    found = normalized_mutual_info_score(classes, responsibilities.argmax(1))
    assert found > 0.99
    done = [merge["done"] for merge in merges]
    assert done == sorted(done, reverse=True)
    assert merges[0]["n_clusters"] - sum(done) == n_clusters
    assert [merge["n_clusters"] for merge in merges] == list(range(len(merges) + 1, 1, -1))


@pytest.mark.parametrize("columns", [2, 20])
@pytest.mark.parametrize("n_clusters", [3, 30])
def test_the_number_of_distant_normals_is_found_in_few_and_many_dimensions(
    n_clusters: int, columns: int
) -> None:
    rng = np.random.default_rng(columns)
    centres = 9.0 * np.stack(np.meshgrid(*[np.arange(6)] * 2), -1).reshape(-1, 2)
    centres = np.pad(rng.permutation(centres)[:n_clusters], ((0, 0), (0, columns - 2)))
    share = rng.uniform(0.5, 1.5, n_clusters)
    classes = rng.choice(n_clusters, 2400, p=share / share.sum())
    _, responsibilities, _ = selection.find_number(
        centres[classes] + rng.normal(size=(2400, columns)), seed=0
    )
    assert abs(responsibilities.shape[1] - n_clusters) <= 1


def test_parts_of_the_rows_agree_on_the_right_number() -> None:
    x, _ = blobs(5)
    _, _, merges = selection.find_number(x, seed=0)
    stable = {merge["n_clusters"]: merge["stability"] for merge in merges}
    assert stable[5] > 0.99
    assert all(-0.5 <= value <= 1.0 for value in stable.values())
    assert stable[merges[0]["n_clusters"]] < 0.9


def test_the_strongest_connection_is_merged_first() -> None:
    shared = np.array([[90.0, 1.0, 9.0], [1.0, 50.0, 0.0], [9.0, 0.0, 20.0]])
    merges, groups = selection.merge_tree(joins(shared), 3, connected=0.1)
    assert [(merge["one"], merge["other"]) for merge in merges] == [(0, 2), (0, 1)]
    assert merges[0]["connection"] == pytest.approx(9 / 29)
    assert merges[1]["connection"] == pytest.approx(1 / 51)
    assert groups == [[0, 2], [1]]


def test_a_connection_is_over_that_of_a_flat_cut() -> None:
    shared = np.array([[960.0, 40.0], [40.0, 1960.0]])
    rows = np.array([100.0, 200.0])
    join = next(joins(shared, rows, dimension=2.0))
    assert join.connection == pytest.approx(0.04 / (10 / 100) ** 0.5)
    assert next(joins(shared)).connection == pytest.approx(0.04)


def test_clusters_that_changes_confuse_are_joined() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 100)
    draws = [np.where(labels == 2, 2, rng.integers(0, 2, 300)) for _ in range(4)]
    before: list[selection.Merge] = [
        {"n_clusters": 4, "one": 0, "other": 1, "done": 1, "stability": 0.5},
        {"n_clusters": 3, "one": 0, "other": 2, "done": 0, "stability": 0.7},
    ]
    passed = selection.passed_between(draws, 3)
    n_clusters, merges = selection.join_confused(passed, before)
    assert n_clusters == 2
    assert [(m["n_clusters"], m["done"]) for m in merges] == [(4, 1), (3, 1), (2, 0)]
    assert [(m["one"], m["other"]) for m in merges] == [(0, 1), (0, 2), (0, 3)]
    assert merges[1]["connection"] == pytest.approx(0.5, abs=0.1)
    assert [m["stability"] for m in merges] == [0.5, 0.7, 0.0]


def test_a_cluster_that_lost_its_rows_counts_no_more() -> None:
    labels = np.repeat([0, 1, 3], 100)  # of clusters 0 to 4
    passed = selection.passed_between([labels, labels], 5)
    before: list[selection.Merge] = [
        {"n_clusters": 6, "one": 0, "other": 2, "done": 1, "stability": 0.5}
    ]
    n_clusters, merges = selection.join_confused(passed, before)
    assert n_clusters == 3
    assert [m["n_clusters"] for m in merges] == [6, 3, 2]
    # By their first member: 0, 1 and 3 of what is left of six are their 0, 1 and 4.
    assert {m["one"] for m in merges[1:]} | {m["other"] for m in merges[1:]} == {0, 1, 4}


def test_parts_of_groups_are_joined_until_the_number_is_reached() -> None:
    rng = np.random.default_rng(0)
    # Clusters 0 and 3 are one group, 1 and 4 another, 5 is small, and 2 has no row.
    groups = [[0, 3], [1, 4], [5]]
    sizes = [100, 60, 10]
    draws = [
        np.concatenate([rng.choice(g, n) for g, n in zip(groups, sizes, strict=True)])
        for _ in range(4)
    ]
    passed = selection.passed_between(draws, 6)
    np.testing.assert_array_equal(passed, passed.T)
    belongs = selection.joined_groups(passed, 3)
    found = {tuple(np.flatnonzero(column).tolist()) for column in belongs.T}
    assert found == {(0, 3), (1, 4), (5,)}
    # Of more than there are clusters with rows, the last have none.
    many = selection.joined_groups(passed, 8)
    np.testing.assert_array_equal(many.sum(0), [1, 1, 1, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(many.sum(1), [1, 1, 0, 1, 1, 1])


@pytest.mark.parametrize("dimension", [2, 10, 50])
def test_clusters_that_may_be_one_or_two_are_told(dimension):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, dimension))
    centres *= 10.0 * np.sqrt(dimension) / np.linalg.norm(centres, axis=1, keepdims=True)
    right = rng.integers(3, size=1500)
    rows = centres[right] + rng.normal(size=(1500, dimension))
    assert selection.doubts(rows, right, 0) == []
    merged = np.where(right == 2, 1, right)
    assert [doubt.clusters for doubt in selection.doubts(rows, merged, 0)] == [(1,)]
    cut = np.where((right == 2) & (rows[:, 0] > centres[2, 0]), 3, right)
    (doubt,) = selection.doubts(rows, cut, 0)
    assert doubt.clusters == (2, 3)
    assert "Clusters 2 and 3 run into one another" in str(doubt)


def test_what_clusters_tell_of_changed_rows() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 900, p=[0.6, 0.3, 0.1])
    draws = [np.where(rng.random(900) < 0.2, rng.integers(0, 3, 900), labels) for _ in range(2)]
    passed = selection.passed_between(draws, 3)
    pairs = np.concatenate(draws), np.concatenate(draws[::-1])
    assert information(passed) == pytest.approx(mutual_info_score(*pairs))
    never = selection.passed_between([labels, labels], 3)
    assert information(never) == pytest.approx(mutual_info_score(labels, labels))
    anyhow = selection.passed_between([rng.integers(0, 3, 10**5) for _ in range(2)], 3)
    assert information(anyhow) == pytest.approx(0.0, abs=1e-3)


def test_halves_of_a_group_are_told_from_a_few_rows_that_run_over_into_a_large_cluster() -> None:
    halves = np.array([[770.0, 230.0], [230.0, 770.0]])
    few = np.array([[77.0, 23.0], [23.0, 1977.0]])
    assert strongest_connection(halves) == pytest.approx(strongest_connection(few))
    assert strongest_affinity(halves) == pytest.approx(0.23)
    assert strongest_affinity(few) == pytest.approx(23 / np.sqrt(100 * 2000))


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_what_a_join_loses_is_the_gain_before_and_after_it(weight: float) -> None:
    rng = np.random.default_rng(0)
    shared = rng.random((6, 6)) ** 3
    shared += shared.T
    shared[2] = shared[:, 2] = 0.0
    lost = lost_by_joining(shared, weight)
    for one, other in itertools.permutations(range(6), 2):
        after = gain(merged(shared, one, other), weight)
        assert lost[one, other] == pytest.approx(gain(shared, weight) - after, abs=1e-12)
    assert np.isinf(np.diag(lost)).all()
    join = next(joins_by_gain(shared, weight))
    assert lost[join.one, join.other] == lost.min()


def test_halves_of_a_large_group_are_joined_before_two_small_groups() -> None:
    # Rows 0 and 1 are halves of one group, 2 and 3 small groups, of which more rows pass.
    passed = np.diag([3400.0, 3400.0, 150.0, 150.0])
    passed[0, 1] = passed[1, 0] = 800.0
    passed[2, 3] = passed[3, 2] = 50.0
    assert next(joins(passed)).one == 2
    belongs = selection.joined_groups(passed, 3)
    assert {tuple(np.flatnonzero(column).tolist()) for column in belongs.T} == {(0, 1), (2,), (3,)}


def test_the_clearest_clusters_cut_no_group_and_lump_none() -> None:
    halves = np.array([[450.0, 150.0, 0.0], [150.0, 450.0, 0.0], [0.0, 0.0, 600.0]])
    whole = np.array([[600.0, 10.0, 0.0], [10.0, 600.0, 0.0], [0.0, 0.0, 600.0]])
    assert selection.clearest([whole], halves) == 0
    assert selection.clearest([halves], whole) is None
    assert selection.clearest([], halves) is None
    # Of one group and hardly anything else: nothing is cut, and nothing told.
    lumped = np.diag([1798.0, 1.0, 1.0])
    assert selection.clearest([lumped], halves) is None
    # One cluster for all tells nothing, which is still more than what is drawn by lot.
    assert selection.clearest([np.diag([900.0, 0.0])], np.full((2, 2), 225.0)) == 0
    assert selection.clearest([lumped, halves, whole], halves) == 2
    # A small group beside a large one tells less than two halves of the large one.
    large_and_small = np.diag([1150.0, 50.0, 600.0])
    two_halves = np.array([[550.0, 50.0, 0.0], [50.0, 550.0, 0.0], [0.0, 0.0, 600.0]])
    assert information(two_halves) > information(large_and_small)
    assert selection.clearest([two_halves, large_and_small], halves) == 1
