"""The coordinates in which rows are near one another."""

import numpy as np

from deepmixture import coordinates, embedding


def test_rows_far_from_the_origin_are_seen_from_their_mean() -> None:
    rows = np.random.default_rng(0).normal(size=(500, 80)).astype(np.float32) * np.arange(1, 81)
    assert coordinates.standardised_if_far(rows) is rows
    far = coordinates.standardised_if_far(rows + 200.0)
    np.testing.assert_allclose(far.mean(0), 0.0, atol=1e-5)
    np.testing.assert_allclose(far.std(0), 1.0, atol=1e-5)
    constant = coordinates.standardised_if_far(np.column_stack([rows, np.full(500, 1e4)]))
    assert np.isfinite(constant).all()


def test_what_is_in_every_row_weighs_least() -> None:
    counts = np.array([[3.0, 1.0, 0.0], [1.0, 0.0, 0.0], [9.0, 0.0, 2.0], [1.0, 0.0, 5.0]])
    weights = coordinates.rarity(counts)
    np.testing.assert_allclose(weights, 1.0 + np.log([5 / 5, 5 / 2, 5 / 3]))
    np.testing.assert_array_equal(coordinates.rarity(counts + 1.0), 1.0)


def test_neighbours_of_a_cell_are_of_its_kind_where_all_cells_have_most_genes() -> None:
    rng = np.random.default_rng(0)
    means = rng.gamma(0.5, 6.0, size=400)  # many genes in all cells, some in hardly any
    kinds = np.repeat([0, 1, 2], 200)
    changed = np.exp(rng.normal(0.0, 0.3, size=(3, 400)))
    cells = np.log1p(rng.poisson(means * changed[kinds]))
    cells *= coordinates.rarity(cells)
    coordinates.to_unit_length(cells)
    near = embedding.neighbours(cells, 10, seed=0)
    assert (kinds[near] == kinds[:, None]).mean() > 0.9


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
