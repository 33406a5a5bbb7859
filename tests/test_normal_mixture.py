"""Mixtures of normals by EM: those of scikit-learn, from the same beginning."""

import numpy as np
import pytest
from benchmarks import mixtures
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.datasets import make_blobs

from deepmixture import normal_mixture, trials
from deepmixture.normal_mixture import NormalMixture, Products

Array = NDArray[np.float64]


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize(("n_columns", "offset"), [(1, 0.0), (3, 0.0), (12, 1000.0)])
def test_it_is_the_mixture_of_scikit_learn(
    n_columns: int, offset: float, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(normal_mixture, "PART", 1000)
    if not kept:
        monkeypatch.setattr(normal_mixture, "MOST_KEPT", 0)
    rows, _ = make_blobs(500, n_columns, centers=4, cluster_std=3.0, random_state=0)
    rows += offset
    products = Products(rows)
    ours = trials.fit_mixture(products, 4, np.random.default_rng(0))
    theirs = mixtures.theirs(rows, 4, seed=0)
    np.testing.assert_allclose(ours.weights, theirs.weights_, rtol=1e-6)
    np.testing.assert_allclose(ours.means, theirs.means_, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ours.covariances, theirs.covariances_, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        ours.responsibilities(products), theirs.predict_proba(rows), atol=1e-6
    )


def log_density(mixture: NormalMixture, rows: Array) -> float:
    within = [
        np.log(weight) + multivariate_normal(mean, covariance).logpdf(rows)
        for weight, mean, covariance in zip(*mixture, strict=True)
    ]
    return float(logsumexp(within, axis=0).mean())


def test_no_step_of_em_makes_the_rows_less_likely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normal_mixture, "MOST_STEPS", 1)
    rows, _ = make_blobs(300, 4, centers=3, cluster_std=4.0, random_state=1)
    mixture = NormalMixture(np.full(3, 1 / 3), rows[:3], np.tile(25.0 * np.eye(4), (3, 1, 1)))
    found = [log_density(mixture, rows)]
    for _ in range(20):
        mixture = normal_mixture.improved(Products(rows), mixture, 1e-9)
        found.append(log_density(mixture, rows))
    assert found[-1] > found[0] + 0.5
    assert np.diff(found).min() > -1e-6


def test_the_posterior_is_by_bayes() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 3)) + 5.0
    mixture = NormalMixture(
        np.array([0.2, 0.8]), rows[:2], np.stack([np.diag([1.0, 2.0, 3.0]), np.eye(3) + 0.4])
    )
    joint = np.stack(
        [
            weight * multivariate_normal(mean, covariance).pdf(rows)
            for weight, mean, covariance in zip(*mixture, strict=True)
        ],
        axis=1,
    )
    expected = joint / joint.sum(1, keepdims=True)
    np.testing.assert_allclose(mixture.responsibilities(Products(rows)), expected, atol=1e-10)


def test_rows_all_but_alike_give_a_mixture_without_nan() -> None:
    rows = np.ones((40, 3))
    rows[0] += 1e-3
    products = Products(rows)
    found = trials.fit_mixture(products, 2, np.random.default_rng(0))
    for part in found:
        assert np.isfinite(part).all()
    np.testing.assert_allclose(found.responsibilities(products).sum(1), 1.0)


def test_the_density_that_a_mixture_is_judged_by_is_that_of_the_rows() -> None:
    rows, _ = make_blobs(300, 4, centers=3, cluster_std=4.0, random_state=1)
    products = Products(rows)
    mixture = trials.fit_mixture(products, 3, np.random.default_rng(0))
    known, found = mixture.judge(products)
    assert found == pytest.approx(log_density(mixture, rows))
    np.testing.assert_array_equal(known, mixture.responsibilities(products))
