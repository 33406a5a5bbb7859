"""The coordinates in which rows are near one another."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfTransformer

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


def cells_by_genes(n_cells: int = 300) -> np.ndarray:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(100, 0.3))
    return rng.poisson(shares * rng.lognormal(5.0, 0.4, size=(n_cells, 1)))


@pytest.mark.parametrize(
    "treated",
    [
        lambda counts: counts / counts.sum(1, keepdims=True),
        lambda counts: counts / np.linalg.norm(counts, axis=1, keepdims=True),
        lambda counts: TfidfTransformer().fit_transform(counts).toarray(),
        lambda counts: TfidfTransformer(sublinear_tf=True).fit_transform(counts).toarray(),
        np.log1p,
        lambda counts: np.log1p(1e4 * counts / counts.sum(1, keepdims=True)),
        lambda counts: np.log2(1.0 + 1e4 * counts / counts.sum(1, keepdims=True)),
    ],
    ids=[
        "shares",
        "unit length",
        "tf-idf",
        "sublinear tf-idf",
        "logarithms",
        "natural logarithms",
        "binary logarithms",
    ],
)
def test_counts_are_told_by_their_shares_and_logarithms_of_these(
    treated: Callable[[np.ndarray], np.ndarray],
) -> None:
    counts = cells_by_genes()
    counts[7] = 0
    counts[:, 0] = 1  # in all others there is a one
    counts[7, 0] = 0
    with np.errstate(invalid="ignore"):
        rows = np.nan_to_num(treated(counts))
    found = coordinates.counts_behind(rows.astype(np.float32))
    assert found is not None
    np.testing.assert_array_equal(found, counts)


@pytest.mark.parametrize(
    "rows",
    [
        np.maximum(np.random.default_rng(0).normal(size=(300, 100)), 0.0),
        np.maximum(np.random.default_rng(0).normal(size=(300, 100)), 0.0).round(1),
        cells_by_genes() / 5.0,
        cells_by_genes() * np.random.default_rng(0).uniform(1.0, 7.0, size=100),
        np.random.default_rng(0).normal(size=(300, 100)),
        np.full((300, 100), 400.0),
    ],
    ids=["features", "rounded", "of one unit", "weighed", "below zero", "all alike"],
)
def test_other_rows_have_no_counts_behind_them(rows: np.ndarray) -> None:
    assert coordinates.counts_behind(rows.astype(np.float32)) is None


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
    counts = cells_by_genes()
    counts[:, 0] = 1
    shares = counts / counts.sum(1, keepdims=True)
    [(by_counts, _)] = coordinates.compared(np.log1p(counts), are_counts=True)
    [(by_shares, what)] = coordinates.compared(shares, are_counts=False)
    np.testing.assert_allclose(by_shares, by_counts)
    assert "counts that rows were made of" in what


def test_marks_of_what_is_there_are_no_counts() -> None:
    assert coordinates.counts_behind((cells_by_genes() > 0).astype(np.float32)) is None


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
