"""Starts: the first mixture over a latent space."""

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import make_moons
from sklearn.metrics import adjusted_rand_score

from deepmixture import embedding, nearest, normals, starts, trials
from deepmixture.connections import information, shared_neighbours, strongest_connection
from deepmixture.halves import revived
from deepmixture.normal_mixture import NormalMixture
from deepmixture.normals import Start

Array = NDArray[np.float64]


def blobs(n_clusters: int = 4, n_latent: int = 3, n_rows: int = 400) -> tuple[Array, Array]:
    """Round clusters of deviation 0.5 on a line, ten deviations apart."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, n_clusters, n_rows)
    z = 0.5 * rng.normal(size=(n_rows, n_latent))
    z[:, 0] += 5.0 * y
    return z, y


def assert_usable(start: Start) -> None:
    for name, part in vars(start).items():
        assert isinstance(part, str) or np.isfinite(part).all(), name
    assert (start.weights > 0).all()
    assert start.weights.sum() == pytest.approx(1.0)
    assert (start.scales > 0).all()
    assert (start.total_scale > 0).all()
    assert (np.linalg.eigvalsh(start.covariances) > 0).all()
    np.testing.assert_allclose(start.responsibilities.sum(1), 1.0)


def test_clusters_tell_most_of_neighbours_where_these_are_of_one_group() -> None:
    z, _ = blobs()
    clear = starts.gain_by_graph(z, 4, seed=0)
    assert clear == pytest.approx(np.log(4), abs=0.05)
    noise = np.random.default_rng(0).normal(size=(400, 20))
    assert starts.gain_by_graph(noise, 4, seed=0) < clear - 0.5
    assert starts.gain_by_graph(z[:40], 4, seed=0) == 0.0


def test_separate_blobs_are_found_with_their_moments() -> None:
    z, y = blobs()
    start = starts.gaussian_mixture(z, 4, seed=0, n_init=3)
    assert_usable(start)
    labels = start.responsibilities.argmax(1)
    assert adjusted_rand_score(y, labels) == 1.0
    for cluster in range(4):
        members = z[labels == cluster]
        assert start.weights[cluster] == pytest.approx(len(members) / len(z), rel=1e-3)
        np.testing.assert_allclose(start.means[cluster], members.mean(0), atol=2e-3)
        np.testing.assert_allclose(start.scales[cluster], members.std(0), rtol=1e-2)
        np.testing.assert_allclose(start.covariances[cluster], np.cov(members.T), atol=1e-2)
    np.testing.assert_allclose(start.total_scale, z.std(0))


def test_the_moments_are_weighted_by_the_responsibilities() -> None:
    rng = np.random.default_rng(0)
    z, q_y = rng.normal(size=(50, 2)) * [1.0, 5.0], rng.dirichlet(np.ones(3), 50)
    start = normals.from_responsibilities(z, q_y)
    for k in range(3):
        mean = np.average(z, axis=0, weights=q_y[:, k])
        variance = np.average((z - mean) ** 2, axis=0, weights=q_y[:, k])
        np.testing.assert_allclose(start.means[k], mean, atol=1e-6)
        np.testing.assert_allclose(start.scales[k], np.sqrt(variance), rtol=1e-6)
        covariance = np.cov(z.T, aweights=q_y[:, k], ddof=0)
        np.testing.assert_allclose(start.covariances[k], covariance, atol=1e-4)
    np.testing.assert_allclose(start.weights, q_y.mean(0), rtol=1e-6)
    assert start.responsibilities is q_y


def test_the_same_seed_gives_the_same_start() -> None:
    z, _ = blobs()
    z[:, 0] /= 4  # clusters that overlap, so that there is something to choose
    first, again, other = (
        starts.gaussian_mixture(z, 4, seed=seed, n_init=2) for seed in (1, 1, 2)
    )
    for name, part in vars(first).items():
        np.testing.assert_array_equal(part, getattr(again, name), err_msg=name)
    assert not np.array_equal(first.responsibilities, other.responsibilities)


def test_the_start_moves_and_grows_with_the_latent() -> None:
    z, _ = blobs()
    plain = starts.gaussian_mixture(z, 4, seed=0, n_init=1)
    other = starts.gaussian_mixture(100.0 * z + [0.0, 0.0, 1e5], 4, seed=0, n_init=1)
    np.testing.assert_allclose(other.responsibilities, plain.responsibilities, atol=1e-6)
    np.testing.assert_allclose(other.scales, 100.0 * plain.scales, rtol=1e-4)
    np.testing.assert_allclose(other.covariances, 1e4 * plain.covariances, atol=1.0)


def test_the_trial_that_tells_most_about_the_rows_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    measure = trials.mutual_information

    def note(responsibilities: Array) -> float:
        told.append(measure(responsibilities))
        return told[-1]

    monkeypatch.setattr(trials, "mutual_information", note)
    z, _ = blobs(n_clusters=8, n_latent=2)
    z[:, 0] /= 4
    start = starts.gaussian_mixture(z, 8, seed=0, n_init=8)
    assert len(told) == 9  # the eight, and the one that is joined
    assert max(told) > min(told) + 0.01
    assert measure(start.responsibilities) == pytest.approx(max(told), abs=0.02)


def test_large_data_is_tried_on_few_rows_and_answered_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(starts, "TRIAL_ROWS", 100)
    z, y = blobs()
    start = starts.gaussian_mixture(z, 4, seed=0, n_init=2)
    assert adjusted_rand_score(y, start.responsibilities.argmax(1)) == 1.0


def test_the_graph_finds_blobs_and_answers_for_rows_it_did_not_embed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Of 300 rows two embeddings, as of 10,000.
    monkeypatch.setattr(starts, "TRIAL_ROWS", 600)
    z, y = blobs()
    start, again = (starts.neighbour_graph(z, 4, seed=0, n_init=2, n_rows=300) for _ in range(2))
    assert_usable(start)
    assert adjusted_rand_score(y, start.responsibilities.argmax(1)) == 1.0
    np.testing.assert_array_equal(start.responsibilities, again.responsibilities)


@pytest.mark.parametrize("graph_errs", [True, False])
def test_the_graph_is_left_where_a_mixture_is_far_likelier(
    monkeypatch: pytest.MonkeyPatch, graph_errs: bool
) -> None:
    z, y = blobs()
    of_graph = np.where(y == 1, 0, y) if graph_errs else y
    graph = normals.from_responsibilities(z, np.eye(4)[of_graph])
    monkeypatch.setattr(starts, "neighbour_graph", lambda *_: graph)
    start = starts.graph_or_likelier_mixture(z, 4, seed=0, n_init=2)
    assert (start is graph) == (not graph_errs)
    assert adjusted_rand_score(y, start.responsibilities.argmax(1)) == 1.0


def test_a_mixture_that_is_likelier_by_chance_is_no_reason_to_leave_the_graph() -> None:
    z = np.random.default_rng(0).normal(size=(300, 10))
    graph = starts.neighbour_graph(z, 4, seed=0, n_init=2)
    mixture = starts.gaussian_mixture(z, 4, seed=0, n_init=2)
    by_graph, by_mixture = (
        trials.mean_log_density(z, start.responsibilities.argmax(1)) for start in (graph, mixture)
    )
    assert by_mixture > by_graph
    start = starts.graph_or_likelier_mixture(z, 4, seed=0, n_init=2)
    np.testing.assert_array_equal(start.responsibilities, graph.responsibilities)


def trial(
    told: float = 0.0, log_density: float = 0.0, cut: float = 0.0, gain: float = 0.0
) -> trials.Trial:
    nothing = np.zeros((1, 1))
    mixture = NormalMixture(nothing[0], nothing, nothing[None])
    return trials.Trial(mixture, nothing, told, cut, gain, log_density)


def test_of_mixtures_that_are_as_likely_the_most_informative_is_taken() -> None:
    likeliest, as_likely, unlikely = trial(2.0, -15.86), trial(2.08, -15.865), trial(2.1, -15.9)
    found = [unlikely, likeliest, as_likely]
    assert trials.most_informative_of_likeliest(found) is as_likely
    # What is connected has no say: where all groups touch, the fewest cuts are one group for all.
    found.append(trial(1.9, -15.95, cut=-1.0))
    assert trials.most_informative_of_likeliest(found) is as_likely
    assert trials.most_informative(found) is found[-1]


def test_of_mixtures_that_all_cut_the_best_by_neighbours_is_taken() -> None:
    surest, clearest = trial(told=2.0, gain=1.0, cut=0.05), trial(told=1.8, gain=1.2, cut=0.11)
    found = [surest, clearest]
    assert trials.best_by_neighbours(found) is clearest
    # One that cuts through nothing keeps a small group, of which neighbours tell little.
    found.append(trial(told=0.1, gain=0.1, cut=0.01))
    assert trials.best_by_neighbours(found) is found[-1]
    # Beside it others may cut no more than is one cluster anyway.
    found.append(trial(told=1.0, gain=1.1, cut=0.04))
    assert trials.best_by_neighbours(found) is found[-1]


def test_too_few_rows_for_a_graph_start_from_a_mixture() -> None:
    z, _ = blobs(n_rows=40)
    graph = starts.neighbour_graph(z, 4, seed=3, n_init=2)
    mixture = starts.gaussian_mixture(z, 4, seed=3, n_init=2)
    np.testing.assert_array_equal(graph.responsibilities, mixture.responsibilities)


@pytest.mark.parametrize(
    "z",
    [
        pytest.param(np.repeat([[0.0, 1.0], [2.0, 5.0]], 20, axis=0), id="two distinct points"),
        pytest.param(np.ones((20, 2)), id="one distinct point"),
        pytest.param(np.full((20, 2), 1e-20), id="almost nothing"),
        pytest.param(blobs(n_latent=2)[0] * [1.0, 0.0], id="constant dimension"),
        pytest.param(blobs(n_latent=2)[0] @ [[1.0, 2.0], [2.0, 4.0]], id="collinear"),
        pytest.param(blobs(n_rows=4)[0], id="as many rows as clusters"),
        pytest.param(blobs()[0].astype(np.float32), id="float32"),
        pytest.param(blobs(n_latent=1)[0], id="one dimension"),
    ],
)
def test_a_poor_latent_gives_a_start_without_nan(z: Array) -> None:
    assert_usable(starts.gaussian_mixture(z, 4, seed=0, n_init=2))
    assert_usable(starts.graph_or_likelier_mixture(z, 4, seed=0, n_init=2))


def test_an_empty_cluster_gives_a_start_without_nan() -> None:
    z, y = blobs()
    q_y = np.eye(5)[y]  # cluster 4 has no row
    start = normals.from_responsibilities(z, q_y)
    assert_usable(start)
    assert start.weights[4] < 1e-6


def test_mutual_information() -> None:
    balanced = np.eye(5)[np.arange(100) % 5]
    assert trials.mutual_information(balanced) == pytest.approx(np.log(5))
    assert trials.mutual_information(np.tile([0.2, 0.5, 0.3], (100, 1))) == pytest.approx(0.0)
    assert trials.mutual_information(np.eye(5)[np.zeros(100, int)]) == pytest.approx(0.0)
    unsure = 0.8 * balanced + 0.04
    entropy = -(0.84 * np.log(0.84) + 4 * 0.04 * np.log(0.04))
    assert trials.mutual_information(unsure) == pytest.approx(np.log(5) - entropy)


def test_shared_neighbours_are_counted_both_ways() -> None:
    labels = np.eye(3)[[0, 0, 1, 1, 2]]
    near = np.array([[1], [0], [3], [2], [1]])
    shared = shared_neighbours(labels, near)
    np.testing.assert_allclose(shared, [[2.0, 0.0, 0.5], [0.0, 2.0, 0.0], [0.5, 0.0, 0.0]])
    assert strongest_connection(shared) == pytest.approx(1.0)  # of the lone third


@pytest.mark.parametrize("find", [starts.gaussian_mixture, starts.neighbour_graph])
def test_a_small_cluster_is_found_beside_one_a_hundred_times_its_size(
    find: Callable[..., normals.Start],
) -> None:
    rng = np.random.default_rng(0)
    small = np.arange(2020) >= 2000
    x = rng.normal(size=(2020, 4))
    x[small, 0] += 9.0
    labels = find(x, 2, seed=1).responsibilities.argmax(1)
    assert (labels == labels[-1]).sum() == 20
    np.testing.assert_array_equal(labels == labels[-1], small)


def test_few_rows_are_embedded_more_than_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One embedding is an accident, and one graph too: the mixture kept is the best of several."""
    rows = np.random.default_rng(0).normal(size=(60, 3)) + 20.0 * np.eye(3)[np.arange(60) % 3]
    graphs: list[int] = []

    def umap(
        latent: np.ndarray, n_components: int, *_: object, n_connected: int, **__: object
    ) -> np.ndarray:
        graphs.append(n_connected)
        noise = np.random.default_rng(1).normal(size=(len(latent), n_components))
        return latent[:, :n_components] if graphs == [1, 2] else noise

    monkeypatch.setattr(embedding, "umap", umap)
    start = starts.neighbour_graph(rows, 3, seed=0, n_init=5)
    assert graphs == [1, 2] * (starts.MOST_EMBEDDINGS // 2)
    found = start.responsibilities.argmax(1)
    assert all(len(set(found[k::3])) == 1 for k in range(3))


def test_a_row_that_is_surely_connected_to_two_lies_nearer_the_second() -> None:
    rows = np.random.default_rng(0).normal(size=(200, 5))
    second = nearest.neighbours(rows, 2, seed=0)[:, 1]
    one, two = (embedding.umap(rows, 2, 0, 8, 0.0, n_connected=n) for n in (1, 2))
    far = [np.linalg.norm(z - z[second], axis=1) / z.std() for z in (one, two)]
    assert np.median(far[1]) < np.median(far[0])


def likeliest(rows: Array, *labels: NDArray[np.int64]) -> int:
    near = nearest.neighbours(rows, 10, seed=0)
    return trials.likeliest(rows, [np.eye(2)[found] for found in labels], near)


def test_the_likelier_of_two_clusterings_is_taken() -> None:
    """Two long normals that touch: cut lengthwise they are likelier than cut across."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 2)) * (2.0, 0.5)
    rows[:200, 1] += 2.0
    right, wrong = np.repeat([0, 1], 200), (rows[:, 0] > 0).astype(int)
    assert likeliest(rows, wrong, right) == 1
    assert likeliest(rows, right, wrong) == 0
    assert likeliest(rows, wrong) == 0


def test_groups_of_one_centre_are_told_apart_by_their_spread() -> None:
    """Neighbours know nothing of them, and as little of two halves of one."""
    rng = np.random.default_rng(0)
    wide = np.repeat([0, 1], 300)
    rows = rng.normal(size=(600, 10)) * np.where(wide, 2.0, 1.0)[:, None]
    halves = (rows[:, 0] > 0).astype(int)
    assert likeliest(rows, halves, wide) == 1


def test_what_neighbours_know_counts_for_more_than_the_density() -> None:
    """Two groups lie apart; in a third column half the rows of both are all but alike."""
    rng = np.random.default_rng(0)
    group, alike = np.repeat([0, 1], 200), np.arange(400) % 2
    rows = rng.normal(size=(400, 3))
    rows[:, 0] += 6.0 * group
    rows[:, 1:] *= np.where(alike, 0.02, 1.0)[:, None]
    densities = [trials.mean_log_density(rows, labels) for labels in (alike, group)]
    assert densities[0] > densities[1]
    assert likeliest(rows, alike, group) == 1


def test_a_small_group_that_lies_apart_is_worth_more_than_two_halves() -> None:
    rng = np.random.default_rng(0)
    small = np.repeat([0, 1], [1000, 15])
    rows = rng.normal(size=(1015, 4)) + 9.0 * small[:, None]
    halves = (rows[:, 0] > 0).astype(int)
    assert likeliest(rows, halves, small) == 1


def test_a_group_of_few_does_not_lose_to_two_halves_of_many() -> None:
    """Of a wide and a small group the wide one's halves tell more, and leave more untold."""
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], [545, 255, 90])
    rows = rng.normal(size=(890, 2)) * np.where(group == 2, 0.4, 1.0)[:, None]
    rows[group == 0, 1] *= 3.0
    rows[:, 0] += np.select([group == 1, group == 2], [7.0, -5.0])
    halved = np.where(group == 2, 0, np.where(group == 1, 1, np.where(rows[:, 1] > 0, 2, 0)))
    near = nearest.neighbours(rows, 10, seed=0)
    candidates = [np.eye(3)[labels] for labels in (halved, group)]
    told = [information(shared_neighbours(r, near)) for r in candidates]
    assert told[0] > told[1] + trials.LITTLE_LESS_TOLD
    assert trials.likeliest(rows, candidates, near) == 1


def test_a_cluster_of_one_row_is_judged_too() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        likeliest(rows, (np.arange(50) == 7).astype(int), (np.arange(50) == 9).astype(int))


def test_a_constant_column_makes_no_cluster_infinitely_likely() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 3))
    rows[:, 2] = rows[:, 2] > 1.5
    with np.errstate(all="raise"):
        assert likeliest(rows, rng.integers(0, 2, 300), rows[:, 2].astype(int)) == 1


@pytest.mark.parametrize("go_on", [False, True])
def test_a_table_starts_from_the_graph_or_from_a_mixture(go_on: bool) -> None:
    """Two moons are two on the graph alone, two spreads are two normals alone."""
    rng = np.random.default_rng(0)
    moons, labels = make_moons(600, noise=0.05, random_state=0)
    spreads = rng.normal(size=(600, 20)) * np.where(labels, 2.0, 1.0)[:, None]
    for rows in (moons, spreads):
        begin = np.eye(2)[labels] if go_on else None
        start = starts.graph_or_mixture(rows, 2, seed=0, n_init=4, begin=begin)
        found = start.responsibilities.argmax(1)
        assert adjusted_rand_score(labels, found) > 0.8


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_the_intrinsic_dimension_is_that_of_the_rows_and_not_of_the_columns(
    dimension: int,
) -> None:
    rng = np.random.default_rng(dimension)
    rows = rng.normal(size=(3000, dimension)) @ rng.normal(size=(dimension, 8))
    near = nearest.neighbours(rows, 10, seed=0)
    found = embedding.intrinsic_dimension(rows, near)
    assert found == pytest.approx(dimension, rel=0.15)
    alike = np.zeros((50, 3))
    assert embedding.intrinsic_dimension(alike, nearest.neighbours(alike, 10, 0)) == np.inf


def test_a_dead_cluster_gets_the_group_that_another_had_swallowed() -> None:
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2, 3], 200)
    centres = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]])
    x = centres[classes] + rng.normal(size=(800, 2))
    swallowed = np.eye(4)[np.where(classes == 3, 1, classes)]
    again = revived(x, swallowed, seed=0)
    assert adjusted_rand_score(classes, again.argmax(1)) > 0.99
    alive = np.eye(4)[classes]
    assert revived(x, alive, seed=0) is alive


def test_two_dead_clusters_are_both_revived_and_tiny_ones_left_alone() -> None:
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2], 100)
    x = np.array([0.0, 10.0, 20.0])[classes, None] + rng.normal(size=(300, 1))
    again = revived(x, np.eye(3)[np.zeros(300, dtype=int)], seed=0)
    assert adjusted_rand_score(classes, again.argmax(1)) > 0.99
    few = np.eye(3)[np.zeros(20, dtype=int)]
    np.testing.assert_array_equal(revived(x[:20], few, seed=0).argmax(1), 0)


@pytest.mark.parametrize("find", [starts.gaussian_mixture, starts.neighbour_graph])
def test_a_start_that_goes_on_does_not_halve_what_was_whole(find: Callable[..., Start]) -> None:
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1], [1500, 15])
    x = rng.normal(size=(1515, 4)) + 9.0 * classes[:, None]
    again = find(x, 2, seed=0, begin=np.eye(2)[classes])
    np.testing.assert_array_equal(again.responsibilities.argmax(1), classes)


def test_a_cluster_is_not_given_up_for_a_half_of_another() -> None:
    """However far the halves are from one another, as in features that tell them apart."""
    rng = np.random.default_rng(0)
    parts = np.repeat([0, 1, 2, 3], [300, 300, 300, 20])
    rows = rng.normal(size=(920, 2)) + np.array([[0, 0], [30, 0], [0, 30], [4, 30]])[parts]
    before = np.eye(3)[np.array([0, 0, 1, 2])[parts]]
    halved = np.eye(3)[np.array([0, 2, 1, 1])[parts]]
    assert trials.goes_astray(rows, halved, before, seed=0)
    edges = before.copy()
    edges[:5] = before[600]  # as rows at an edge change their cluster
    assert not trials.goes_astray(rows, edges, before, seed=0)
