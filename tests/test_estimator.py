"""The manners of an estimator: what it gives back, in which shape, units and order."""

import copy
import pickle
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import deepmixture
from deepmixture.estimator import LatentMixtureEstimator
from deepmixture.models.nvisa import NVISA
from deepmixture.progress import Silent

Make = Callable[..., LatentMixtureEstimator]
Fitted = LatentMixtureEstimator
# A model may lack what has no meaning for it, and says why.
WITH_DENSITY = [name for name, model in deepmixture.MODELS.items() if hasattr(model(), "score")]


def needs(estimator: LatentMixtureEstimator, *names: str) -> None:
    """Skip a test of what a model does not have, as it says itself."""
    for name in names:
        if not hasattr(estimator, name):
            pytest.skip(type(estimator).cannot[name])


# -------------------------------------------------------------------------------- clusters


def test_distant_groups_are_found(fitted: Fitted, classes: np.ndarray) -> None:
    assert adjusted_rand_score(classes, fitted.labels_) > 0.95


def test_training_rows_are_predicted_as_they_are_labelled(
    fitted: Fitted, blobs: np.ndarray
) -> None:
    np.testing.assert_array_equal(fitted.predict(blobs), fitted.labels_)
    # A row's cluster does not hang on the rows beside it.
    np.testing.assert_array_equal(fitted.predict(blobs[7:8]), fitted.labels_[7:8])


def test_responsibilities_are_a_distribution_led_by_the_label(
    fitted: Fitted, blobs: np.ndarray
) -> None:
    q_y = fitted.predict_proba(blobs)
    assert q_y.shape == (120, 3)
    assert (q_y >= 0).all()
    np.testing.assert_allclose(q_y.sum(1), 1.0, atol=1e-12)
    np.testing.assert_array_equal(q_y.argmax(1), fitted.labels_)


def test_the_largest_cluster_is_the_first(fitted: Fitted) -> None:
    sizes = np.bincount(fitted.labels_, minlength=3)
    assert (np.diff(sizes) <= 0).all()
    assert fitted.n_used_clusters_ == (sizes > 0).sum()


@pytest.mark.parametrize("name", deepmixture.MODELS)
def test_empty_clusters_come_last_and_are_told(make: Make, name: str) -> None:
    x = np.repeat(np.array([[0.0, 0.0], [0.0, 9.0], [9.0, 0.0]]), [30, 20, 10], axis=0)
    estimator = make(name, n_clusters=6).fit(x)
    sizes = np.bincount(estimator.labels_, minlength=6)
    used = estimator.n_used_clusters_
    assert used < 6
    assert (sizes[:used] > 0).all()
    assert (sizes[used:] == 0).all()
    assert any(f"{6 - used} of 6 clusters" in decision for decision in estimator.decisions_)


def test_fitted_attributes_have_the_shapes_of_a_mixture(fitted: Fitted, blobs: np.ndarray) -> None:
    assert fitted.n_features_in_ == 4
    assert fitted.weights_.shape == (3,)
    assert fitted.weights_.sum() == pytest.approx(1.0, abs=1e-6)
    assert fitted.means_.shape == (3, 2)
    if hasattr(fitted, "covariances_"):
        assert fitted.covariances_.shape == (3, 2, 2)
        assert (np.linalg.eigvalsh(fitted.covariances_) > 0).all()
    # The clusters were renumbered with their labels: most rows lie nearest their own mean.
    distance = np.linalg.norm(fitted.transform(blobs)[:, None] - fitted.means_, axis=2)
    assert (distance.argmin(1) == fitted.labels_).mean() > 0.8


def test_history_tells_every_epoch(fitted: Fitted) -> None:
    assert fitted.n_iter_ == len(fitted.history_)
    for record in fitted.history_:
        assert {"stage", "epoch", "seconds", "learning_rate", "loss"} < set(record)
        assert all(np.isfinite(v) for k, v in record.items() if k != "stage")
    assert set(fitted.timings_) >= {record["stage"] for record in fitted.history_}
    assert not fitted.interrupted_


def test_decisions_say_what_was_done_to_the_data(fitted: Fitted) -> None:
    said = " ".join(fitted.decisions_)
    for word in ("120 rows", "table", "standard deviation 1", "gaussian", "mlp", "float32"):
        assert word in said


@pytest.mark.parametrize("name", deepmixture.MODELS)
def test_what_a_model_cannot_do_is_not_there_and_says_why(make: Make, name: str) -> None:
    estimator = make(name)
    for missing, why in type(estimator).cannot.items():
        assert not hasattr(estimator, missing)
        assert missing not in dir(estimator)
        with pytest.raises(AttributeError, match=f"has no '{missing}': ") as caught:
            getattr(estimator, missing)
        assert str(caught.value).endswith(why)
    for method, other in {"score": "score_samples", "fit_transform": "transform"}.items():
        assert hasattr(estimator, method) == hasattr(estimator, other)


# ------------------------------------------------------------------------------ repetition


@pytest.mark.parametrize("name", deepmixture.MODELS)
def test_the_same_seed_gives_the_same_to_the_bit(make: Make, blobs: np.ndarray, name: str) -> None:
    torch.manual_seed(1)
    first = make(name, pretrain_epochs=3).fit(blobs)
    torch.manual_seed(2)
    second = make(name, pretrain_epochs=3).fit(blobs)
    np.testing.assert_array_equal(first.labels_, second.labels_)
    np.testing.assert_array_equal(first.predict_proba(blobs), second.predict_proba(blobs))
    if hasattr(first, "score_samples"):
        np.testing.assert_array_equal(first.score_samples(blobs), second.score_samples(blobs))
    states = zip(
        first.model_.state_dict().items(), second.model_.state_dict().items(), strict=True
    )
    assert all(torch.equal(a, b) for (_, a), (_, b) in states)
    other = make(name, pretrain_epochs=3, random_state=1).fit(blobs)
    assert not np.array_equal(first.transform(blobs), other.transform(blobs))


def test_a_fit_leaves_the_random_numbers_of_others_alone(make: Make, blobs: np.ndarray) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    make(pretrain_epochs=1, epochs=1).fit(blobs)
    assert torch.equal(torch.rand(3), expected)
    assert np.random.rand() == np.random.RandomState(0).rand()  # noqa: NPY002


# --------------------------------------------------------------------------- scikit-learn


def test_clone_and_pickle(fitted: Fitted, blobs: np.ndarray) -> None:
    fresh = clone(fitted)
    assert not hasattr(fresh, "labels_")
    assert fresh.get_params() == fitted.get_params()
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(blobs), fitted.predict_proba(blobs))
    if hasattr(fitted, "sample"):
        np.testing.assert_array_equal(again.sample(5)[0], fitted.sample(5)[0])


def test_pipeline(make: Make, blobs: np.ndarray, classes: np.ndarray) -> None:
    pipeline = make_pipeline(StandardScaler(), make())
    labels = pipeline.fit_predict(blobs)
    assert adjusted_rand_score(classes, labels) > 0.95
    np.testing.assert_array_equal(pipeline.predict(blobs), labels)
    assert pipeline.transform(blobs).shape == (120, 2)
    assert np.isfinite(pipeline.score(blobs))


def test_grid_search_by_the_bound(make: Make, blobs: np.ndarray) -> None:
    grid = GridSearchCV(make(), {"n_clusters": [1, 3]}, cv=2)
    grid.fit(blobs)
    assert np.isfinite(grid.cv_results_["mean_test_score"]).all()
    # Three distant groups are no one normal.
    assert grid.best_params_ == {"n_clusters": 3}
    assert grid.predict(blobs).shape == (120,)


@pytest.mark.parametrize(
    ("library", "frame"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)]
)
def test_set_output(
    make: Make, blobs: np.ndarray, library: str, frame: Callable[..., object]
) -> None:
    names = ["a", "b", "c", "d"]
    table = frame({name: blobs[:, i] for i, name in enumerate(names)})
    estimator = make("vae-gmm").set_output(transform=library).fit(table)
    assert list(estimator.feature_names_in_) == names
    latent = estimator.transform(table)
    assert isinstance(latent, type(table))
    assert list(latent.columns) == ["vaegmm0", "vaegmm1"]
    assert list(estimator.get_feature_names_out()) == ["vaegmm0", "vaegmm1"]
    assert len(estimator.predict(table)) == 120


def test_score_is_the_mean_bound(fitted: Fitted, blobs: np.ndarray) -> None:
    needs(fitted, "score")
    assert fitted.score(blobs) == pytest.approx(fitted.score_samples(blobs).mean())
    assert fitted.score_samples(blobs).shape == (120,)


# ------------------------------------------------------------------------ rows to and fro


def test_reconstructions_and_decoded_latents_have_the_units_of_the_rows(
    fitted: Fitted, blobs: np.ndarray
) -> None:
    needs(fitted, "reconstruct")
    back = fitted.reconstruct(blobs)
    assert back.shape == blobs.shape
    assert np.square(back - blobs).mean() < 0.2 * blobs.var()
    # N2D finds a row's own place but for rounding, which near another row weighs more.
    near = 3e-4 * blobs.std() if isinstance(fitted, deepmixture.N2D) else 1e-4
    np.testing.assert_allclose(
        fitted.inverse_transform(fitted.transform(blobs)), back, rtol=1e-4, atol=near
    )


def test_samples_of_a_cluster_belong_to_it(fitted: Fitted) -> None:
    needs(fitted, "sample")
    for cluster in range(3):
        x, labels = fitted.sample(200, cluster=cluster, random_state=0)
        assert x.shape == (200, 4)
        assert (labels == cluster).all()
        assert (fitted.predict(x) == cluster).mean() > 0.6


def test_samples_follow_the_weights_and_the_columns(fitted: Fitted, blobs: np.ndarray) -> None:
    needs(fitted, "sample")
    x, labels = fitted.sample(2000, random_state=0)
    np.testing.assert_allclose(np.bincount(labels, minlength=3) / 2000, fitted.weights_, atol=0.05)
    np.testing.assert_allclose(x.mean(0), blobs.mean(0), atol=0.4 * blobs.std())
    np.testing.assert_allclose(x.std(0), blobs.std(0), rtol=0.4)


def test_samples_repeat_by_their_seed(fitted: Fitted) -> None:
    needs(fitted, "sample")
    np.testing.assert_array_equal(fitted.sample(9)[0], fitted.sample(9)[0])
    given = [fitted.sample(9, random_state=seed)[0] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(given[0], given[1])
    assert not np.array_equal(given[0], given[2])


def test_observation_noise_is_that_of_the_likelihood(fitted: Fitted) -> None:
    needs(fitted, "sample")
    noisy = fitted.sample(2000, random_state=0, observation_noise=True)[0]
    plain = fitted.sample(2000, random_state=0, observation_noise=False)[0]
    np.testing.assert_array_equal(noisy, fitted.sample(2000, random_state=0)[0])
    expected = fitted.model_.likelihood.scale().numpy() * fitted.scaling_.scale
    np.testing.assert_allclose((noisy - plain).std(0), expected, rtol=0.1)


# --------------------------------------------------------------------------------- images


@pytest.fixture(scope="module", params=["grey", "colour"])
def pictures(request: pytest.FixtureRequest, images: np.ndarray) -> np.ndarray:
    if request.param == "grey":
        return images
    return np.stack([images, images // 2, 255 - images], axis=-1)


def test_images_keep_their_shape(make: Make, pictures: np.ndarray, classes: np.ndarray) -> None:
    estimator = make(network="mlp").fit(pictures)
    assert estimator.kind_ == "image"
    assert estimator.image_shape_ == pictures.shape[1:]
    assert estimator.n_features_in_ == np.prod(pictures.shape[1:])
    assert adjusted_rand_score(classes, estimator.labels_) > 0.9
    back = estimator.reconstruct(pictures)
    assert back.shape == pictures.shape
    assert np.square(back - pictures).mean() < 0.5 * pictures.var()
    x, labels = estimator.sample(4)
    assert x.shape == (4, *pictures.shape[1:])
    assert labels.shape == (4,)
    assert x.min() >= 0
    assert 1 < x.max() <= 255
    assert estimator.inverse_transform(np.zeros((2, 2))).shape == (2, *pictures.shape[1:])
    # Flat rows of the same pixels are the same images.
    flat = pictures.reshape(len(pictures), -1)
    np.testing.assert_array_equal(estimator.predict(flat), estimator.labels_)


def test_noise_of_a_bernoulli_pixel_is_on_or_off(make: Make, images: np.ndarray) -> None:
    estimator = make(network="mlp", pretrain_epochs=2, epochs=1).fit(images)
    assert set(np.unique(estimator.sample(4, observation_noise=True)[0])) == {0.0, 255.0}


def test_images_are_convolved_by_default(make: Make, images: np.ndarray) -> None:
    estimator = make(pretrain_epochs=1, epochs=1).fit(images)
    assert estimator.network_ == "convolutional"
    assert any(isinstance(part, nn.ConvTranspose2d) for part in estimator.model_.modules())
    assert estimator.reconstruct(images).shape == images.shape


def test_brighter_pixels_than_in_training_are_the_brightest(
    make: Make, images: np.ndarray
) -> None:
    estimator = make("ae-gmm", network="mlp", pretrain_epochs=2).fit(images / 300.0 * 2.0)
    bright = np.full((1, 8, 8), 1e6)
    most = np.full((1, 8, 8), images.max() / 300.0 * 2.0)
    np.testing.assert_array_equal(estimator.transform(bright), estimator.transform(most))


# --------------------------------------------------------------------- networks of one's own


def own_mlp(n_features: int) -> tuple[nn.Module, nn.Module]:
    encoder = nn.Sequential(nn.Linear(n_features, 12), nn.Tanh())
    decoder = nn.Sequential(nn.Linear(2, 12), nn.Tanh(), nn.Linear(12, n_features))
    return encoder, decoder


def own_convolutions() -> tuple[nn.Module, nn.Module]:
    encoder = nn.Sequential(nn.Conv2d(1, 4, 4, stride=4), nn.ReLU(), nn.Flatten())
    decoder = nn.Sequential(
        nn.Linear(2, 16), nn.ReLU(), nn.Unflatten(1, (4, 2, 2)), nn.ConvTranspose2d(4, 1, 4, 4)
    )
    return encoder, decoder


def unchanged(module: nn.Module, before: Mapping[str, torch.Tensor]) -> bool:
    state = module.state_dict()
    return all(torch.equal(state[name], before[name]) for name in before) and module.training


@pytest.mark.parametrize("what", ["rows", "flat images", "images"])
def test_own_networks_are_used_and_left_alone(
    make: Make, blobs: np.ndarray, images: np.ndarray, classes: np.ndarray, what: str
) -> None:
    torch.manual_seed(0)
    x = blobs if what == "rows" else images
    pair = own_convolutions() if what == "images" else own_mlp(x[0].size)
    before = [copy.deepcopy(module.state_dict()) for module in pair]
    estimator = make(encoder=pair[0], decoder=pair[1]).fit(x)
    assert adjusted_rand_score(classes, estimator.labels_) > 0.8
    assert estimator.reconstruct(x).shape == x.shape
    assert "network: given" in " ".join(estimator.decisions_).lower()
    assert all(map(unchanged, pair, before))
    assert estimator.get_params()["encoder"] is pair[0]
    np.testing.assert_array_equal(clone(estimator).fit(x).labels_, estimator.labels_)


# -------------------------------------------------------------------- log p(x) and its bound


def log_p_by_quadrature(estimator: Fitted, x: np.ndarray) -> np.ndarray:
    """Return log p(x) by the sum over a fine grid of the latent space."""
    model = estimator.model_
    width = estimator.n_latent
    steps = 4001 if width == 1 else 301
    spread = np.sqrt(np.diagonal(estimator.covariances_, axis1=1, axis2=2))
    low = (estimator.means_ - 7 * spread).min(0)
    high = (estimator.means_ + 7 * spread).max(0)
    axes = [np.linspace(a, b, steps) for a, b in zip(low, high, strict=True)]
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*axes)], axis=1)
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    z = torch.from_numpy(grid).float()
    scaled = torch.from_numpy(estimator.scaling_.transform(x))
    with torch.no_grad():
        log_p_z = estimator._mixture().log_prob(z)
        h = model.decoder(z)
        log_p = [
            (log_p_z + model.likelihood.log_prob(h, row)).double().logsumexp(0) for row in scaled
        ]
    result = torch.stack(log_p).numpy() + np.log(cell)
    if estimator.likelihood_ != "bernoulli":
        result -= np.log(estimator.scaling_.scale).sum()
    return result


def widen(estimator: Fitted) -> Fitted:
    """Make q(z|x) as wide as p(z), so that few draws are needed where it is a poor posterior."""
    wide = copy.deepcopy(estimator)
    within = np.einsum("k,kdd->d", wide.weights_, wide.covariances_)
    between = np.average((wide.means_ - wide.weights_ @ wide.means_) ** 2, 0, wide.weights_)
    wide.model_.head.start_scale(torch.from_numpy(np.sqrt(within + between)).float())
    if isinstance(wide.model_, NVISA):
        nn.init.zeros_(wide.model_.classifier.weight)  # draws of y as well come from a broad q
        nn.init.zeros_(wide.model_.classifier.bias)
    return wide


@pytest.mark.parametrize("n_latent", [1, 2])
@pytest.mark.parametrize("name", WITH_DENSITY)
def test_score_samples_bounds_the_log_density(make: Make, name: str, n_latent: int) -> None:
    x = np.random.default_rng(0).normal(size=(60, 2))
    x[:25, 0] += 5.0
    # With a broad likelihood a few thousand draws of a broad q(z|x) are enough.
    settings = {"likelihood": "gaussian_fixed", "likelihood_scale": 0.5, "hidden": (8,)}
    estimator = make(name, n_clusters=2, n_latent=n_latent, **settings)
    if not hasattr(estimator, "score_samples"):
        pytest.skip("the model has no density")
    estimator.fit(x)
    x = x[20:40]
    log_p = log_p_by_quadrature(estimator, x)
    bound = widen(estimator).score_samples(x, 4000)
    np.testing.assert_allclose(bound, log_p, atol=0.5)
    assert bound.mean() == pytest.approx(log_p.mean(), abs=0.1)
    # By Jensen's inequality the expectation of the bound grows with the samples, up to log p(x).
    counts, means = (1, 4, 16), []
    for seed in range(40):
        estimator.seed_ = seed
        means.append([estimator.score_samples(x, n).mean() for n in counts])
    expected = [*np.mean(means, axis=0), log_p.mean()]
    assert (np.diff(expected) > 0).all(), expected


def test_the_density_integrates_to_one(make: Make) -> None:
    x = np.random.default_rng(0).normal(size=(60, 1)) * 3.0 + 40.0
    estimator = make(n_clusters=2, n_latent=1).fit(x)
    grid = np.linspace(10.0, 70.0, 301)[:, None]
    density = np.exp(widen(estimator).score_samples(grid, 1000))
    assert density.sum() * (grid[1, 0] - grid[0, 0]) == pytest.approx(1.0, abs=0.03)


def test_a_bernoulli_gives_probabilities(make: Make) -> None:
    x = (np.random.default_rng(0).random((60, 3)) < [0.2, 0.5, 0.7]).astype(float)
    estimator = make(n_clusters=2, n_latent=1, likelihood="bernoulli").fit(x)
    every = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, -1).T.astype(float)
    log_p = log_p_by_quadrature(estimator, every)
    assert np.exp(log_p).sum() == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(widen(estimator).score_samples(every, 3000), log_p, atol=0.1)


@pytest.mark.parametrize(
    ("scaling", "kind"), [("standard", "table"), ("global", "embedding"), ("unit", "table")]
)
def test_other_units_shift_the_density_by_their_jacobian(
    make: Make, blobs: np.ndarray, scaling: str, kind: str
) -> None:
    settings = {"scaling": scaling, "kind": kind, "likelihood": "gaussian", "epochs": 3}
    metres = make(**settings).fit(blobs)
    millimetres = make(**settings).fit(1000.0 * blobs)
    np.testing.assert_array_equal(metres.labels_, millimetres.labels_)
    np.testing.assert_allclose(
        millimetres.score_samples(1000.0 * blobs),
        metres.score_samples(blobs) - 4 * np.log(1000.0),
        atol=0.02,
    )


def test_the_bound_of_counts_is_in_their_own_units(make: Make) -> None:
    counts = np.random.default_rng(0).poisson([[2.0, 30.0]], size=(80, 2)).astype(float)
    estimator = make(n_clusters=1, n_latent=1, kind="counts").fit(counts)
    axis = np.linspace(0.0, 60.0, 181)
    grid = np.stack([part.ravel() for part in np.meshgrid(axis, axis)], axis=1)
    density = np.exp(estimator.score_samples(grid, 64))
    mass = np.trapezoid(np.trapezoid(density.reshape(181, 181), axis), axis)
    # What the Gaussian puts below log(1 + 0) lies outside the grid.
    assert 0.8 < mass < 1.02


# ----------------------------------------------------------------------------- stopping early


class StopAt(Silent):
    """Stop at the given step, counted over all stages, and remember what was told."""

    def __init__(self, step: int) -> None:
        self.left = step
        self.stages: list[str] = []
        self.records: list[dict[str, object]] = []
        self.closed = 0

    def begin(self, stage: str, epochs: int, steps: int, done: int = 0) -> None:
        self.stages.append(stage)

    def step(self) -> bool:
        self.left -= 1
        return self.left <= 0

    def end_epoch(self, record: Mapping[str, object]) -> None:
        self.records.append(dict(record))

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("step", [1, 30, 70, 95])
@pytest.mark.parametrize("name", deepmixture.MODELS)
def test_an_interrupted_fit_is_usable(make: Make, blobs: np.ndarray, name: str, step: int) -> None:
    callback, unhindered = StopAt(step), StopAt(10_000)
    estimator = make(name, pretrain_epochs=15).fit(blobs, callback=callback)
    make(name, pretrain_epochs=15).fit(blobs, callback=unhindered)
    whole = 10_000 - unhindered.left
    assert estimator.interrupted_ == (step <= whole)
    assert callback.closed == 1
    assert callback.records == estimator.history_
    np.testing.assert_array_equal(estimator.predict(blobs), estimator.labels_)
    if hasattr(estimator, "score"):
        assert np.isfinite(estimator.score(blobs))
    if hasattr(estimator, "sample"):
        assert np.isfinite(estimator.sample(5)[0]).all()
    if hasattr(estimator, "reconstruct"):
        assert np.isfinite(estimator.reconstruct(blobs)).all()


@pytest.mark.parametrize("pretraining", ["autoencoder", "stacked", "vae", None])
def test_vade_stopped_at_once_is_usable(
    make: Make, blobs: np.ndarray, pretraining: str | None
) -> None:
    estimator = make(pretraining=pretraining).fit(blobs, callback=StopAt(1))
    assert estimator.interrupted_
    assert estimator.n_iter_ == 1
    assert estimator.predict_proba(blobs).shape == (120, 3)
    assert np.isfinite(estimator.score(blobs))


def test_the_callback_hears_of_every_stage(make: Make, blobs: np.ndarray) -> None:
    callback = StopAt(10**9)
    make(pretrain_epochs=1, epochs=2).fit(blobs, callback=callback)
    assert callback.stages == ["pretraining", "start", "taking shape", "evidence"]


class Break(Silent):
    """Fail in the second epoch."""

    def __init__(self) -> None:
        self.epochs = 0

    def end_epoch(self, record: Mapping[str, object]) -> None:
        self.epochs += 1
        if self.epochs == 2:
            raise KeyboardInterrupt


def test_a_fit_that_fails_leaves_the_estimator_as_it_was(make: Make, blobs: np.ndarray) -> None:
    estimator = make("vae-gmm", pretrain_epochs=2)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(blobs, callback=Break())
    assert not hasattr(estimator, "labels_")
    estimator.fit(blobs)
    before = estimator.predict_proba(blobs)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(blobs[:, :2], callback=Break())
    with pytest.raises(ValueError, match="same values in every row"):
        estimator.fit(np.full_like(blobs[:, :3], 3.0))
    assert estimator.n_features_in_ == 4
    np.testing.assert_array_equal(estimator.predict_proba(blobs), before)


def test_fitting_again_forgets_the_first_fit(
    make: Make, blobs: np.ndarray, images: np.ndarray
) -> None:
    settings = {"pretrain_epochs": 2, "network": "mlp"}
    twice = make("vae-gmm", **settings).fit(images).fit(blobs)
    once = make("vae-gmm", **settings).fit(blobs)
    assert twice.image_shape_ is None
    np.testing.assert_array_equal(twice.predict_proba(blobs), once.predict_proba(blobs))


def test_a_fit_is_silent(
    make: Make, blobs: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    make("vae-gmm", pretrain_epochs=1).fit(blobs)
    assert capsys.readouterr() == ("", "")
