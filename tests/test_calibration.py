"""The temperature is the one with which q(y|x) was made too sure, and needs no label."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from deepmixture import calibration


def posteriors(n_rows: int, rng: np.random.Generator) -> np.ndarray:
    """Return what is known of rows, log p(y|x), shape (N, 4)."""
    return log_softmax(2.0 * rng.standard_normal((n_rows, 4)), axis=1)


def drawn(log_p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a clustering (N, 4) that is right as often as p(y|x) says."""
    return np.eye(4)[(log_p + rng.gumbel(size=log_p.shape)).argmax(1)]


@pytest.mark.parametrize("n_rows", [20_000, 120_000])
@pytest.mark.parametrize("too_sure", [1.5, 4.0])
def test_it_finds_how_much_too_sure_probabilities_are(too_sure: float, n_rows: int) -> None:
    rng = np.random.default_rng(0)
    log_p = posteriors(n_rows, rng)
    log_q = log_softmax(too_sure * log_p, axis=1)
    found = calibration.temperature(log_q, [drawn(log_p, rng), drawn(log_p, rng)])
    assert found == pytest.approx(too_sure, rel=0.03)
    witness = drawn(log_p, rng)
    right = witness[np.arange(n_rows), log_q.argmax(1)].mean()
    assert softmax(log_q / found, axis=1).max(1).mean() == pytest.approx(right, abs=0.01)
    assert softmax(log_q, axis=1).max(1).mean() > right + 0.03


def test_soft_witnesses_say_as_much_as_their_draws() -> None:
    rng = np.random.default_rng(1)
    log_p = posteriors(5000, rng)
    assert calibration.temperature(3.0 * log_p, [np.exp(log_p)]) == pytest.approx(3.0, rel=1e-3)


def test_clusters_of_a_witness_may_have_other_numbers() -> None:
    rng = np.random.default_rng(2)
    log_p = posteriors(5000, rng)
    witness = drawn(log_p, rng)
    order = [2, 0, 3, 1]
    assert calibration.renumbered(witness[:, order], log_p) == pytest.approx(witness)
    found = calibration.temperature(2.0 * log_p, [witness[:, order], witness])
    assert found == pytest.approx(calibration.temperature(2.0 * log_p, [witness]))


def test_nothing_is_made_surer_than_it_was() -> None:
    rng = np.random.default_rng(3)
    log_p = posteriors(500, rng)
    agreeing = np.eye(4)[log_p.argmax(1)]
    assert calibration.temperature(log_p, [agreeing]) == pytest.approx(1.0, abs=1e-3)
    assert calibration.temperature(log_p, []) == 1.0
    assert calibration.temperature(np.zeros((9, 1)), [np.ones((9, 1))]) == 1.0


def test_probabilities_of_zero_are_no_trouble() -> None:
    """A q(y|x) that has rounded to zero where a witness is sure of the cluster."""
    log_q = np.log(np.maximum(np.eye(3)[[0, 1, 2, 0]], 1e-300))
    found = calibration.temperature(log_q, [np.eye(3)[[0, 1, 2, 2]]])
    assert 1.0 < found <= calibration.HOTTEST
