"""The coordinates in which rows are near one another."""

import numpy as np
import pytest
from scipy.stats import skew
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from deepmixture import DeepMixture, coordinates, nearest
from deepmixture.counts import rarity


def test_rows_far_from_the_origin_are_seen_from_their_mean() -> None:
    rows = np.random.default_rng(0).normal(size=(500, 80)).astype(np.float32) * np.arange(1, 81)
    assert coordinates.standardised_if_far(rows) is rows
    far = coordinates.standardised_if_far(rows + 200.0)
    np.testing.assert_allclose(far.mean(0), 0.0, atol=1e-5)
    np.testing.assert_allclose(far.std(0), 1.0, atol=1e-5)
    constant = coordinates.standardised_if_far(np.column_stack([rows, np.full(500, 1e4)]))
    assert np.isfinite(constant).all()


def test_neighbours_of_a_cell_are_of_its_kind_where_all_cells_have_most_genes() -> None:
    rng = np.random.default_rng(0)
    means = rng.gamma(0.5, 6.0, size=400)  # many genes in all cells, some in hardly any
    kinds = np.repeat([0, 1, 2], 200)
    changed = np.exp(rng.normal(0.0, 0.3, size=(3, 400)))
    cells = np.log1p(rng.poisson(means * changed[kinds]))
    cells *= rarity(cells)
    coordinates.to_unit_length(cells)
    near = nearest.neighbours(cells, 10, seed=0)
    assert (kinds[near] == kinds[:, None]).mean() > 0.9


def test_rows_of_many_zeros_are_never_seen_from_their_mean() -> None:
    rows = np.random.default_rng(0).uniform(5.0, 5.5, size=(500, 80)).astype(np.float32)
    assert coordinates.standardised_if_far(rows) is not rows
    rows[:, :30] = 0.0
    assert coordinates.standardised_if_far(rows) is rows


def test_rows_about_zero_may_be_compared_by_distance_and_others_by_their_angle_alone() -> None:
    rows = np.random.default_rng(0).normal(size=(500, 80))
    centred = rows - rows.mean(0)
    (plain, what), (directions, _) = coordinates.compared(centred.copy(), are_counts=False)
    np.testing.assert_array_equal(plain, centred)
    assert what == "the columns, which lie about zero"
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0)
    # One column off zero, as the first of a truncated singular value decomposition is.
    rows[:, 0] += 1.0
    [(directions, what)] = coordinates.compared(rows.copy(), are_counts=False)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0)
    assert what == "the directions of the rows"


def test_counts_and_what_was_made_of_them_are_compared_alike() -> None:
    counts = np.random.default_rng(0).poisson(0.8, size=(300, 100))
    counts[:, 0] = 1
    shares = counts / counts.sum(1, keepdims=True)
    [(by_counts, _)] = coordinates.compared(np.log1p(counts), are_counts=True)
    [(by_shares, what)] = coordinates.compared(shares, are_counts=False)
    np.testing.assert_allclose(by_shares, by_counts, rtol=1e-5)
    assert "counts that rows were made of" in what


def test_rows_have_a_length_of_one_and_a_row_of_zeros_has_none() -> None:
    rows = np.array([[3.0, 4.0], [0.0, 0.0], [-1e-3, 0.0]], dtype=np.float32)
    coordinates.to_unit_length(rows)
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.0, 0.0], [-1.0, 0.0]], rtol=1e-6)


def test_principal_components_keep_distances_and_few_columns_are_kept_as_they_are() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 60))  # of three dimensions
    places = coordinates.principal(rows, 3, seed=0)
    assert places.shape == (200, 3)
    between = np.linalg.norm(rows[:1] - rows, axis=1)
    np.testing.assert_allclose(np.linalg.norm(places[:1] - places, axis=1), between, rtol=1e-4)
    np.testing.assert_array_equal(coordinates.principal(rows, 60, seed=0), rows)


def test_skewed_columns_are_straightened_beside_the_others_in_any_unit() -> None:
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(2000, 3))
    rows = np.column_stack(
        [normal[:, 0], np.exp(normal[:, 1]), -(rng.exponential(size=2000) ** 2)]
    )
    standard = (rows - rows.mean(0)) / rows.std(0)
    [(plain, what), (straight, _)] = coordinates.of_a_table(standard, rows)
    assert plain is standard
    assert what == "the columns"
    np.testing.assert_array_equal(straight[:, 0], standard[:, 0])
    np.testing.assert_allclose(straight.std(0), 1.0)
    assert np.corrcoef(straight[:, 1], normal[:, 1])[0, 1] > 0.9999
    assert (np.abs(skew(rows))[1:] > 3.0).all()
    assert np.abs(skew(straight)).max() < 1.0
    [_, (again, _)] = coordinates.of_a_table(standard, rows * [1.0, 1e-6, 1e9])
    np.testing.assert_allclose(again, straight, atol=1e-4)
    often_none = np.where(rng.random((2000, 1)) < 0.8, 0.0, rng.exponential(size=(2000, 1)))
    around_zero = often_none + rng.uniform(1e-9, 1e-8, size=(2000, 1))  # as of float32
    [_, (exact, _)] = coordinates.of_a_table(often_none, often_none)
    [_, (rounded, _)] = coordinates.of_a_table(often_none, around_zero)
    np.testing.assert_allclose(rounded, exact, atol=1e-5)
    marks = (rng.random((2000, 1)) < 0.02) + 0.0  # of two values no power makes others
    for symmetric in (normal, marks):
        assert len(coordinates.of_a_table(symmetric, symmetric)) == 1


@pytest.mark.filterwarnings("error")
def test_constant_columns_of_a_table_change_nothing_of_its_start() -> None:
    rows, groups = make_blobs(300, 3, centers=3, random_state=0)
    rows[:, 0] = np.exp(rows[:, 0])  # skewed
    more = np.insert(rows, [1, 3], [1 / 3, 7.0], axis=1)
    settings = {"start": "gmm", "pretrain_epochs": 1, "epochs": 1, "n_rounds": 1}
    plain, found = (DeepMixture(3, random_state=0, **settings).fit(X) for X in (rows, more))
    said = "The same in every row, which tells no rows apart: column 1, column 4."
    assert said in found.decisions_
    assert not any(said[:22] in decision for decision in plain.decisions_)
    [seen] = [decision for decision in plain.decisions_ if "Rows are neighbours" in decision]
    assert seen in found.decisions_
    for fitted in (plain, found):
        assert adjusted_rand_score(groups, fitted.labels_) > 0.8
    assert np.isfinite(found.score_samples(more)).all()
    np.testing.assert_array_equal(found.sample(5)[0][:, [1, 4]], np.float32([[1 / 3, 7.0]] * 5))


def test_groups_of_incomes_are_found_where_logarithms_tell_them_apart() -> None:
    logarithms, groups = make_blobs(600, 4, centers=4, cluster_std=1.5, random_state=4)
    settings = {"start": "gmm", "pretrain_epochs": 1, "epochs": 0, "n_rounds": 1}
    found = DeepMixture(4, random_state=0, **settings).fit(np.exp(logarithms / 2))
    assert any("skewed" in decision for decision in found.decisions_)
    assert adjusted_rand_score(groups, found.labels_) > 0.9
