"""The choices that the public estimators offer."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score
from torch import nn

import deepmixture
from deepmixture import likelihoods
from deepmixture.estimator import LatentMixtureEstimator
from deepmixture.progress import Silent

Make = Callable[..., LatentMixtureEstimator]


@pytest.mark.parametrize("pretraining", ["autoencoder", "stacked", "vae", None])
def test_pretraining(
    make: Make, blobs: np.ndarray, classes: np.ndarray, pretraining: str | None
) -> None:
    estimator = make(pretraining=pretraining, hidden=(16, 8), random_state=1).fit(blobs)
    stages = list(dict.fromkeys(record["stage"] for record in estimator.history_))
    expected = {
        "stacked": ["layer 1", "layer 2", "layer 3", "pretraining"],
        None: [],
    }.get(pretraining, ["pretraining"])
    assert stages == [*expected, "taking shape", "evidence"]
    if pretraining is not None:
        assert adjusted_rand_score(classes, estimator.labels_) > 0.5
    assert np.isfinite(estimator.score(blobs))


@pytest.mark.parametrize("pretraining", ["autoencoder", "stacked", "vae"])
def test_pretraining_lowers_the_loss(make: Make, blobs: np.ndarray, pretraining: str) -> None:
    estimator = make(pretraining=pretraining).fit(blobs)
    losses = [r["loss"] for r in estimator.history_ if r["stage"] == "pretraining"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("n_latent", [1, 2])
@pytest.mark.parametrize("start", ["graph", "gmm"])
def test_both_starts(
    make: Make, blobs: np.ndarray, classes: np.ndarray, start: str, n_latent: int
) -> None:
    estimator = make(start=start, n_latent=n_latent, hidden=(32,)).fit(blobs)
    assert adjusted_rand_score(classes, estimator.labels_) > 0.5
    again = make(start=start, n_latent=n_latent, hidden=(32,)).fit(blobs)
    np.testing.assert_array_equal(again.predict_proba(blobs), estimator.predict_proba(blobs))


def test_stacked_pretraining_leaves_every_layer_free_afterwards(
    make: Make, blobs: np.ndarray
) -> None:
    stacked, plain = (
        make(pretraining=how, pretrain_epochs=4, epochs=0, random_state=3).fit(blobs)
        for how in ("stacked", "autoencoder")
    )
    frozen = [
        name
        for name, tensor in stacked.model_.encoder.state_dict().items()
        if (tensor == plain.model_.encoder.state_dict()[name]).all()
    ]
    assert not frozen


@pytest.mark.parametrize("likelihood", ["bernoulli", "continuous_bernoulli", "gaussian_learned"])
def test_stacked_pretraining_serves_every_likelihood(
    make: Make, images: np.ndarray, classes: np.ndarray, likelihood: str
) -> None:
    """The outermost layer is judged by E[x|z], whatever the decoder's numbers are."""
    settings = {"network": "mlp", "pretraining": "stacked", "epochs": 0, "hidden": (32,)}
    estimator = make(likelihood=likelihood, **settings).fit(images)
    errors = [r["loss"] for r in estimator.history_ if r["stage"] == "layer 1"]
    assert errors[-1] < 0.5 * errors[0]
    assert adjusted_rand_score(classes, estimator.labels_) > 0.9


def test_both_ways_to_read_clusters(make: Make, blobs: np.ndarray, classes: np.ndarray) -> None:
    posterior = make(clusters_from="posterior").fit(blobs)
    latent = make(clusters_from="latent").fit(blobs)
    for estimator in (posterior, latent):
        assert adjusted_rand_score(classes, estimator.labels_) > 0.9
        np.testing.assert_array_equal(estimator.predict(blobs), estimator.labels_)
        sizes = np.bincount(estimator.labels_, minlength=3)
        assert (np.diff(sizes) <= 0).all()
    # Only a mixture fitted on the latent has full covariances.
    off_diagonal = ~np.eye(2, dtype=bool)
    assert (posterior.covariances_[:, off_diagonal] == 0).all()
    assert (latent.covariances_[:, off_diagonal] != 0).all()
    x, labels = latent.sample(200, cluster=1)
    assert (labels == 1).all()
    assert (latent.predict(x) == 1).mean() > 0.8


def test_the_terms_of_the_bound_are_logged_by_name(make: Make, blobs: np.ndarray) -> None:
    estimator = make(pretrain_epochs=1, epochs=2).fit(blobs)
    terms = {"reconstruction", "mixture_prior", "assignment", "latent_entropy", "cluster_entropy"}
    last = estimator.history_[-1]
    assert terms < set(last)
    assert -sum(last[name] for name in terms) == pytest.approx(last["loss"], rel=1e-4)


@pytest.mark.parametrize(
    ("epochs", "hold", "stages"),
    [
        (6, 0, [("evidence", 6)]),
        (6, 2, [("taking shape", 2), ("evidence", 4)]),
        (6, 9, [("taking shape", 6)]),
        (0, "auto", []),
    ],
)
def test_epochs_and_how_many_of_them_are_held(
    make: Make, blobs: np.ndarray, epochs: int, hold: int | str, stages: list[tuple[str, int]]
) -> None:
    estimator = make(pretraining=None, epochs=epochs, hold_epochs=hold).fit(blobs)
    names = [record["stage"] for record in estimator.history_]
    assert [(name, names.count(name)) for name in dict.fromkeys(names)] == stages


def test_several_samples_a_row(make: Make, blobs: np.ndarray, classes: np.ndarray) -> None:
    estimator = make(n_samples=3, epochs=4).fit(blobs)
    assert adjusted_rand_score(classes, estimator.labels_) > 0.9
    one = make(n_samples=1, epochs=4).fit(blobs)
    assert not np.array_equal(one.transform(blobs), estimator.transform(blobs))


@pytest.mark.parametrize("name", deepmixture.MODELS)
@pytest.mark.parametrize("likelihood", likelihoods.NAMES)
def test_likelihoods(make: Make, blobs: np.ndarray, name: str, likelihood: str) -> None:
    in_unit_interval = likelihood in likelihoods.UNIT_INTERVAL
    x = (blobs - blobs.min()) / np.ptp(blobs) if in_unit_interval else blobs
    settings = {"likelihood": likelihood, "likelihood_scale": 0.3, "pretrain_epochs": 3}
    estimator = make(name, **settings).fit(x)
    if hasattr(estimator, "score"):
        assert np.isfinite(estimator.score(x))
    if hasattr(estimator, "sample"):
        assert np.isfinite(estimator.sample(3)[0]).all()
    if not hasattr(estimator, "reconstruct"):
        return
    if in_unit_interval:
        assert (np.abs(estimator.reconstruct(x) - 0.5) <= 0.5).all()
    elif likelihood == "gaussian_fixed":
        np.testing.assert_allclose(estimator.model_.likelihood.scale(), 0.3, rtol=1e-5)
    elif likelihood == "gaussian":
        assert len(np.unique(estimator.model_.likelihood.scale())) == 4


@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian_fixed"])
@pytest.mark.parametrize("scale", [0.01, 1000.0])
def test_any_positive_likelihood_scale(
    make: Make, blobs: np.ndarray, likelihood: str, scale: float
) -> None:
    settings = {"likelihood": likelihood, "likelihood_scale": scale, "pretrain_epochs": 2}
    assert np.isfinite(make(**settings, epochs=2).fit(blobs).score(blobs))


def test_a_diverging_fit_says_where(make: Make, blobs: np.ndarray) -> None:
    estimator = make(scaling="none", pretrain_epochs=2, epochs=2)
    assert np.isfinite(estimator.fit(blobs).score(blobs))
    before = estimator.predict_proba(blobs)
    with pytest.raises(
        deepmixture.TrainingDiverged, match=r"epoch \d+ of the stage .* learning_rate"
    ):
        estimator.fit(1e6 * blobs)
    np.testing.assert_array_equal(estimator.predict_proba(blobs), before)


@pytest.mark.parametrize("name", deepmixture.MODELS)
def test_one_cluster(make: Make, blobs: np.ndarray, name: str) -> None:
    estimator = make(name, n_clusters=1, pretrain_epochs=3).fit(blobs)
    assert (estimator.labels_ == 0).all()
    np.testing.assert_array_equal(estimator.predict_proba(blobs), np.ones((120, 1)))
    assert estimator.weights_ == pytest.approx([1.0])
    if hasattr(estimator, "score"):
        assert np.isfinite(estimator.score(blobs))
    if hasattr(estimator, "sample"):
        assert estimator.sample(3, cluster=0)[0].shape == (3, 4)


@pytest.mark.parametrize("name", deepmixture.MODELS)
def test_as_many_rows_as_clusters(make: Make, blobs: np.ndarray, name: str) -> None:
    estimator = make(name, n_clusters=6, pretrain_epochs=3).fit(blobs[:6])
    assert np.isfinite(estimator.predict_proba(blobs)).all()


def test_bfloat16_and_float32_find_the_same_groups(
    make: Make, blobs: np.ndarray, classes: np.ndarray
) -> None:
    estimator = make(precision="bfloat16").fit(blobs)
    assert "bfloat16" in " ".join(estimator.decisions_)
    assert adjusted_rand_score(classes, estimator.labels_) > 0.9
    assert estimator.score_samples(blobs).dtype == np.float64


class FirstStage(Silent):
    """Remember the plan of the first stage and stop."""

    plan: tuple[str, int, int] | None = None

    def begin(self, stage: str, epochs: int, steps: int, done: int = 0) -> None:
        self.plan = self.plan or (stage, epochs, steps)

    def step(self) -> bool:
        return True


def test_small_data_is_trained_for_more_epochs(make: Make, blobs: np.ndarray) -> None:
    callback = FirstStage()
    make(batch_size=10, pretrain_epochs="auto", n_init=1).fit(blobs, callback=callback)
    assert callback.plan == ("pretraining", 209, 12)  # 2,500 steps and the rest of an epoch


@pytest.mark.parametrize("name", deepmixture.MODELS)
def test_a_model_says_what_it_is_in_one_line(name: str) -> None:
    model = deepmixture.MODELS[name]
    assert model.name == name
    assert len((model.__doc__ or "").splitlines()[0]) > 20


def test_the_network_is_a_choice(make: Make, images: np.ndarray) -> None:
    kinds = {}
    for network in ("mlp", "convolutional"):
        model = make(network=network, pretrain_epochs=1, epochs=1).fit(images).model_
        kinds[network] = any(isinstance(part, nn.Conv2d) for part in model.modules())
    assert kinds == {"mlp": False, "convolutional": True}
