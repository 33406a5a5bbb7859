"""Counts, and what was made of them."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfTransformer

from deepmixture.counts import counts_behind, rarity


def cells_by_genes(n_cells: int = 300) -> np.ndarray:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(100, 0.3))
    return rng.poisson(shares * rng.lognormal(5.0, 0.4, size=(n_cells, 1)))


def test_what_is_in_every_row_weighs_least() -> None:
    counts = np.array([[3.0, 1.0, 0.0], [1.0, 0.0, 0.0], [9.0, 0.0, 2.0], [1.0, 0.0, 5.0]])
    weights = rarity(counts)
    np.testing.assert_allclose(weights, 1.0 + np.log([5 / 5, 5 / 2, 5 / 3]))
    np.testing.assert_array_equal(rarity(counts + 1.0), 1.0)


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
    found = counts_behind(rows.astype(np.float32))
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
    assert counts_behind(rows.astype(np.float32)) is None


def test_marks_of_what_is_there_are_no_counts() -> None:
    assert counts_behind((cells_by_genes() > 0).astype(np.float32)) is None
