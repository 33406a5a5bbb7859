"""Bad input gets one clear sentence that names the argument and what was expected."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from sklearn.exceptions import NotFittedError
from torch import nn
from torch.utils.data import IterableDataset

import deepmixture
from deepmixture.estimator import LatentMixtureEstimator

Make = Callable[..., LatentMixtureEstimator]
GOOD = np.random.default_rng(0).normal(size=(20, 3))


def with_value(value: float, *places: tuple[int, int]) -> np.ndarray:
    x = GOOD.copy()
    for place in places:
        x[place] = value
    return x


class Stream(IterableDataset[np.ndarray]):
    """Rows that come one after the other, and nobody knows how many."""

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(GOOD)


ROWS: dict[str, tuple[object, type[Exception], str]] = {
    "no rows": (np.empty((0, 3)), ValueError, r"0 sample\(s\).*minimum of 1"),
    "no columns": (np.empty((5, 0)), ValueError, r"0 feature\(s\).*minimum of 1"),
    "one row": (GOOD[:1], ValueError, r"n_samples=1; expected at least 3 \(n_clusters=3\)"),
    "fewer rows than clusters": (GOOD[:2], ValueError, "n_samples=2; expected at least 3"),
    "no list": ([], ValueError, "Expected 2D array"),
    "one dimension": (GOOD[0], ValueError, "Expected 2D array, got 1D"),
    "five dimensions": (
        np.zeros((2, 2, 2, 2, 2)),
        ValueError,
        r"expected rows \(N, F\) or images",
    ),
    "ragged": ([[1.0, 2.0], [3.0]], ValueError, "different lengths"),
    "nan": (with_value(np.nan, (0, 1), (4, 1)), ValueError, r"column 1 \(2 NaN\)"),
    "infinity": (with_value(-np.inf, (3, 2)), ValueError, r"column 2 \(1 infinite\)"),
    "nan in a frame": (
        pd.DataFrame(with_value(np.nan, (0, 1)), columns=["a", "b", "c"]),
        ValueError,
        r"'b' \(1 NaN\)",
    ),
    "nan in sparse": (
        scipy.sparse.csr_array(with_value(np.nan, (0, 1))),
        ValueError,
        r"column 1 \(1 NaN\)",
    ),
    "all alike": (np.ones((20, 3)), ValueError, "same values in every row"),
    "strings": (np.array([["a", "b"]] * 5), ValueError, "numeric|convert|could not"),
    "strings in a frame": (
        pd.DataFrame({"a": GOOD[:, 0], "name": ["x"] * 20}),
        ValueError,
        "'name'",
    ),
    "complex": (GOOD + 1j, ValueError, "Complex data not supported"),
    "dates": (np.array([["2020-01-01"]] * 5, dtype="M8[D]"), ValueError, "expected numbers"),
    "none": (None, ValueError, "Expected 2D array|NoneType|None"),
    "stream": (Stream(), TypeError, "expected a map-style Dataset"),
    "channels first": (np.zeros((5, 3, 8, 8)), ValueError, r"expected \(N, H, W, C\)"),
    "missing file": ("nowhere.npy", FileNotFoundError, "nowhere.npy"),
}


@pytest.mark.parametrize("case", ROWS)
def test_rows(make: Make, case: str) -> None:
    x, error, message = ROWS[case]
    estimator = make("vae-gmm", pretrain_epochs=1)
    with pytest.raises(error, match=message) as caught:
        estimator.fit(x)
    assert not hasattr(estimator, "labels_")
    assert not hasattr(estimator, "n_features_in_")
    assert len(str(caught.value)) < 500


PARAMETERS: dict[str, tuple[dict[str, object], type[Exception], str]] = {
    "no clusters": ({"n_clusters": 0}, ValueError, "n_clusters=0 must be at least 1"),
    "negative clusters": ({"n_clusters": -3}, ValueError, "n_clusters=-3 must be at least 1"),
    "half a cluster": ({"n_clusters": 2.5}, TypeError, "n_clusters must be an integer; got 2.5"),
    "clusters in words": ({"n_clusters": "3"}, TypeError, "n_clusters must be an integer"),
    "automatic clusters": ({"n_clusters": "auto"}, TypeError, "n_clusters must be an integer"),
    "true clusters": ({"n_clusters": True}, TypeError, "n_clusters must be an integer"),
    "kind": ({"kind": "text"}, ValueError, "kind='text' is not known.*'image'"),
    "scaling": ({"scaling": "max"}, ValueError, "scaling='max' is not known.*'standard'"),
    "scaling of no kind": ({"scaling": None}, ValueError, "scaling=None is not known"),
    "likelihood": ({"likelihood": "normal"}, ValueError, "likelihood='normal'.*'gaussian'"),
    "likelihood_scale": ({"likelihood_scale": 0.0}, ValueError, "likelihood_scale=0.0 must be"),
    "network": ({"network": "resnet"}, ValueError, "network='resnet'.*'convolutional'"),
    "convolutions on rows": (
        {"network": "convolutional"},
        ValueError,
        "network='convolutional' needs images",
    ),
    "hidden": ({"hidden": 500}, TypeError, "hidden must be 'auto' or a tuple.*got 500"),
    "no hidden": ({"hidden": ()}, TypeError, "hidden must be 'auto' or a tuple"),
    "empty layer": ({"hidden": (8, 0)}, ValueError, "hidden=0 must be at least 1"),
    "latent": ({"n_latent": 0}, ValueError, "n_latent=0 must be at least 1"),
    "pretrain_epochs": ({"pretrain_epochs": -1}, ValueError, "pretrain_epochs=-1"),
    "epochs": ({"epochs": "many"}, TypeError, "epochs must be an integer or 'auto'; got 'many'"),
    "hold_epochs": ({"hold_epochs": 1.0}, TypeError, "hold_epochs must be an integer or 'auto'"),
    "batch_size": ({"batch_size": 0}, ValueError, "batch_size=0 must be at least 1"),
    "learning_rate": ({"learning_rate": -1e-3}, ValueError, "learning_rate=-0.001 must be above"),
    "no learning_rate": ({"learning_rate": None}, TypeError, "learning_rate must be a number"),
    "infinite learning_rate": (
        {"learning_rate": float("inf")},
        ValueError,
        "learning_rate=inf must be",
    ),
    "nan learning_rate": ({"learning_rate": float("nan")}, ValueError, "learning_rate=nan must"),
    "n_init": ({"n_init": 0}, ValueError, "n_init=0 must be at least 1"),
    "n_samples": ({"n_samples": 0}, ValueError, "n_samples=0 must be at least 1"),
    "pretraining": ({"pretraining": "gan"}, ValueError, "pretraining='gan'.*'stacked'"),
    "start": ({"start": "kmeans"}, ValueError, "start='kmeans'.*'graph'"),
    "clusters_from": ({"clusters_from": "z"}, ValueError, "clusters_from='z'.*'latent'"),
    "device": ({"device": "abacus"}, ValueError, "device='abacus' cannot be used here"),
    "device of no kind": ({"device": None}, TypeError, "device must be 'auto'.*None"),
    "precision": ({"precision": "half"}, ValueError, "precision='half'.*'bfloat16'"),
    "random_state": ({"random_state": "dice"}, ValueError, "dice.*seed"),
    "one network": ({"encoder": nn.Identity()}, ValueError, "encoder and decoder.*together"),
    "no network": (
        {"encoder": len, "decoder": len},
        TypeError,
        "encoder must be a torch.nn.Module",
    ),
    "encoder of other rows": (
        {"encoder": nn.Linear(9, 4), "decoder": nn.Linear(2, 3)},
        ValueError,
        "encoder.*batch",
    ),
    "decoder of other rows": (
        {"encoder": nn.Linear(3, 4), "decoder": nn.Linear(2, 5)},
        ValueError,
        "decoder gives 5 numbers a row; expected 3",
    ),
    "stacked networks of one's own": (
        {"encoder": nn.Linear(3, 4), "decoder": nn.Linear(2, 3), "pretraining": "stacked"},
        ValueError,
        "pretraining='stacked'.*'given'",
    ),
    "bernoulli of any numbers": (
        {"likelihood": "bernoulli"},
        ValueError,
        r"takes values in \[0, 1\].* goes from -",
    ),
}


@pytest.mark.parametrize("case", PARAMETERS)
def test_parameters(make: Make, case: str) -> None:
    settings, error, message = PARAMETERS[case]
    # Nothing is looked at before `fit`.
    estimator = make(**{"pretrain_epochs": 1, "epochs": 1, **settings})
    with pytest.raises(error, match=message):
        estimator.fit(GOOD)
    assert not hasattr(estimator, "labels_")


@pytest.fixture(scope="module")
def model(make: Make) -> LatentMixtureEstimator:
    frame = pd.DataFrame(GOOD, columns=["a", "b", "c"])
    return make("vae-gmm", pretrain_epochs=1).fit(frame)


METHODS = ["predict", "predict_proba", "transform", "reconstruct", "score_samples", "score"]


@pytest.mark.parametrize("method", METHODS)
def test_new_rows_must_be_as_the_training_rows(model: LatentMixtureEstimator, method: str) -> None:
    names = ["a", "b", "c"]
    ask = getattr(model, method)
    with pytest.raises(ValueError, match="2 features, but VAEGMM is expecting 3 features"):
        ask(deepmixture.Rows(GOOD[:, :2]))
    with pytest.raises(ValueError, match="feature names"):
        ask(pd.DataFrame(GOOD, columns=["a", "b", "d"]))
    with pytest.raises(ValueError, match="'c' where 'b' was expected"):
        ask(deepmixture.Rows(GOOD, names=("a", "c", "b"), is_frame=True))
    with pytest.raises(ValueError, match=r"'b' \(1 NaN\)"):
        ask(pd.DataFrame(with_value(np.nan, (0, 1)), columns=names))
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        ask(np.empty((0, 3)))


def test_other_images_than_in_training(make: Make, images: np.ndarray) -> None:
    estimator = make("vae-gmm", network="mlp", pretrain_epochs=1).fit(images)
    with pytest.raises(ValueError, match=r"\(4, 16\); the model was fitted on \(8, 8\)"):
        estimator.predict(images.reshape(-1, 4, 16))
    with pytest.raises(ValueError, match=r"81 features.*expecting 64"):
        estimator.predict(np.zeros((2, 9, 9)))


def test_a_bernoulli_stays_within_its_bounds_at_predict(make: Make) -> None:
    x = (GOOD > 0).astype(float)
    estimator = make("vae-gmm", likelihood="bernoulli", pretrain_epochs=1).fit(x)
    with pytest.raises(ValueError, match=r"takes values in \[0, 1\].* from 0 to 2"):
        estimator.predict(2 * x)


@pytest.mark.parametrize(
    ("z", "message"),
    [
        (np.zeros(2), r"Z must have shape \(n, 2\); got \(2,\)"),
        (np.zeros((3, 5)), r"Z must have shape \(n, 2\); got \(3, 5\)"),
        (np.full((3, 2), np.nan), "Z has NaN or infinite"),
        ([["a", "b"]], "Z must hold numbers"),
    ],
)
def test_latents(model: LatentMixtureEstimator, z: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.inverse_transform(z)


def test_latents_may_be_a_tensor_or_few(model: LatentMixtureEstimator) -> None:
    z = torch.zeros(1, 2, requires_grad=True)
    np.testing.assert_array_equal(
        model.inverse_transform(z), model.inverse_transform(np.zeros((1, 2)))
    )
    with pytest.raises(ValueError, match="at least 1"):
        model.inverse_transform(np.zeros((0, 2)))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_samples": 0}, ValueError, "n_samples=0 must be at least 1"),
        ({"n_samples": 1.5}, TypeError, "n_samples must be an integer"),
        ({"cluster": 3}, ValueError, "cluster=3 is not there.*0 to 2"),
        ({"cluster": -1}, ValueError, "cluster=-1"),
        ({"cluster": "a"}, TypeError, "cluster must be an integer"),
        ({"random_state": "dice"}, ValueError, "dice"),
    ],
)
def test_samples(
    model: LatentMixtureEstimator,
    arguments: dict[str, object],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        model.sample(**arguments)


def test_the_number_of_draws(model: LatentMixtureEstimator) -> None:
    with pytest.raises(ValueError, match="n_samples=0 must be at least 1"):
        model.score_samples(pd.DataFrame(GOOD, columns=["a", "b", "c"]), 0)


def test_nothing_comes_of_what_was_not_fitted(make: Make) -> None:
    for method in METHODS:
        with pytest.raises(NotFittedError):
            getattr(make(), method)(GOOD)
    for ask in (make().sample, lambda: make().inverse_transform(np.zeros((1, 2)))):
        with pytest.raises(NotFittedError):
            ask()
    with pytest.raises(NotFittedError):
        make().save("anywhere")
