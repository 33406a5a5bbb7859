"""The latent class model: its density, its EM, and that a fit of answers starts from it."""

import itertools

import numpy as np
import pandas as pd
import pytest

from deepmixture import DeepMixture, latent_classes, starts
from deepmixture.latent_classes import Classes, columns_of, expect, improve, maximise
from deepmixture.metrics import score_clustering


def answers(n_rows: int, seed: int, n_measured: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows of 12 questions with three answers each, of three groups, and measured columns."""
    rng = np.random.default_rng(seed)
    usual = rng.dirichlet([0.3] * 3, size=(3, 12))
    groups = rng.integers(3, size=n_rows)
    given = [[rng.choice(3, p=usual[group, j]) for j in range(12)] for group in groups]
    measured = rng.normal(size=(n_rows, n_measured)) + 2.0 * groups[:, None]
    return np.hstack([np.array(given, dtype=float), measured]), groups


def some_classes(columns: latent_classes.Columns, n_clusters: int, seed: int) -> Classes:
    rng = np.random.default_rng(seed)
    return maximise(columns, rng.dirichlet([1.0] * n_clusters, size=columns.values.shape[0]))


def test_the_density_sums_to_one() -> None:
    every = np.array(list(itertools.product([0.0, 1.0], [0.0, 1.0], [0.0, 1.0, 2.0])))
    rows = np.tile(every, (10, 1))
    columns = columns_of(rows)
    classes = some_classes(columns, 2, seed=0)
    classes = Classes(classes.log_weights - np.logaddexp.reduce(classes.log_weights), *classes[1:])
    log_joint = columns.values @ classes.log_values.T + classes.log_weights
    assert np.exp(log_joint).sum() == pytest.approx(10.0)


def test_responsibilities_are_those_of_bayes() -> None:
    rows, _ = answers(60, seed=1, n_measured=2)
    columns = columns_of(rows)
    classes = some_classes(columns, 3, seed=1)
    found, _ = expect(columns, classes)
    one_hot = columns.values.toarray()
    for row in (0, 17, 59):
        joint = np.exp(classes.log_weights)
        for k in range(3):
            joint[k] *= np.exp(classes.log_values[k])[one_hot[row] == 1].prod()
            spread = np.sqrt(classes.variances[k])
            standard = (columns.numbers[row] - classes.means[k]) / spread
            joint[k] *= (np.exp(-0.5 * standard**2) / (spread * np.sqrt(2 * np.pi))).prod()
        np.testing.assert_allclose(found[row], joint / joint.sum(), rtol=1e-9)


@pytest.mark.parametrize("n_measured", [0, 3])
def test_a_step_never_loses(n_measured: int) -> None:
    rows, _ = answers(200, seed=2, n_measured=n_measured)
    columns = columns_of(rows)
    responsibilities = np.random.default_rng(2).dirichlet([1.0] * 3, size=200)
    objectives = []
    for _ in range(30):
        responsibilities, objective = expect(columns, maximise(columns, responsibilities))
        objectives.append(objective)
    assert np.diff(objectives).min() > -1e-9
    assert objectives[-1] > objectives[0] + 0.1


def test_maximise_is_where_the_objective_is_highest() -> None:
    rows, _ = answers(80, seed=3)
    columns = columns_of(rows)
    responsibilities, _ = improve(columns, np.eye(2)[np.arange(80) % 2], steps=500)
    best = maximise(columns, responsibilities)
    _, highest = expect(columns, best)
    rng = np.random.default_rng(3)
    for _ in range(20):
        other = best.log_values + 0.05 * rng.normal(size=best.log_values.shape)
        for j in range(12):  # the three answers of a question have all the probability
            part = slice(3 * j, 3 * j + 3)
            other[:, part] -= np.logaddexp.reduce(other[:, part], axis=1, keepdims=True)
        assert expect(columns, best._replace(log_values=other))[1] < highest


def test_few_values_are_told_from_measurements() -> None:
    given, _ = answers(300, seed=4)
    assert latent_classes.takes_few_values(given)
    measured = np.random.default_rng(4).normal(size=(300, 12))
    assert not latent_classes.takes_few_values(measured)
    assert not latent_classes.takes_few_values(np.hstack([given[:, :3], measured]))
    # Of few rows a column cannot take many values.
    assert not latent_classes.takes_few_values(measured[:10])


def test_groups_of_answers_are_found() -> None:
    rows, groups = answers(600, seed=5)
    found = starts.graph_or_mixture(rows, 3, seed=0).responsibilities.argmax(1)
    assert score_clustering(groups, found)["accuracy"] > 0.95


def test_many_rows_go_on_from_a_few() -> None:
    rows, groups = answers(2_000, seed=6)
    few = np.random.default_rng(6).choice(2_000, 300, replace=False)
    known = latent_classes.most_probable(rows[few], 3, np.random.default_rng(6), 5)
    found = latent_classes.on_all_rows(rows, few, known)
    assert found.shape == (2_000, 3)
    np.testing.assert_allclose(found.sum(1), 1.0)
    assert score_clustering(groups, found.argmax(1))["accuracy"] > 0.95
    assert (found[few].argmax(1) == known.argmax(1)).mean() > 0.95


def test_a_column_that_is_one_value_in_a_cluster_says_so_within_reason() -> None:
    rows = np.repeat([[0.0, 0.0, 1.0], [1.0, 1.0, 0.0]], 30, axis=0)
    found = latent_classes.most_probable(rows, 2, np.random.default_rng(0), 3)
    assert np.isfinite(found).all()
    assert set(np.bincount(found.argmax(1))) == {30}


def test_a_fit_of_answers_starts_from_the_model() -> None:
    rows, groups = answers(300, seed=7)
    frame = pd.DataFrame(rows, columns=[f"question {j}" for j in range(12)])
    short = {"pretrain_epochs": 2, "refine_epochs": 100, "epochs": 1}
    fitted = DeepMixture(3, random_state=0, **short).fit(frame)
    assert score_clustering(groups, fitted.labels_)["accuracy"] > 0.95
