"""N2D: clusters on the embedding, and the way there and back for rows that were not embedded."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.metrics import adjusted_rand_score

import deepmixture
from deepmixture.estimator import LatentMixtureEstimator
from deepmixture.models.n2d import Manifold

Make = Callable[..., LatentMixtureEstimator]
Fitted = LatentMixtureEstimator


@pytest.fixture(scope="module")
def few(make: Make, blobs: np.ndarray) -> Fitted:
    """A model that embedded 70 of its 120 rows."""
    return make("n2d", n_embedded=70, n_neighbors=10).fit(blobs)


# ------------------------------------------------------------------------------ neighbours


def manifold(n: int = 30, k: int = 4) -> Manifold:
    torch.manual_seed(0)
    found = Manifold(0, 3, 2, k)
    found.start(torch.randn(n, 3), torch.randn(n, 2))
    return found


def test_a_place_is_the_weighted_mean_of_the_neighbours_places() -> None:
    model, z = manifold(), torch.randn(5, 3)
    found = model(z).numpy()
    for row, place in zip(z.numpy(), found, strict=True):
        distance = np.linalg.norm(model.latent.numpy() - row, axis=1)
        nearest = np.argsort(distance)[:4]
        weight = 1.0 / distance[nearest]
        expected = (weight / weight.sum()) @ model.places.numpy()[nearest]
        np.testing.assert_allclose(place, expected, rtol=1e-4, atol=1e-5)


def test_embedded_rows_have_their_own_places_there_and_back() -> None:
    model = manifold()
    torch.testing.assert_close(model(model.latent), model.places, atol=1e-4, rtol=0)
    torch.testing.assert_close(model.inverse(model.places), model.latent, atol=1e-4, rtol=0)


def test_rows_far_away_and_rows_alike_have_finite_places() -> None:
    model = manifold()
    model.start(model.latent[:1].repeat(30, 1), model.places)
    far = torch.cat([model.latent[:1], torch.full((1, 3), 1e18), torch.full((1, 3), -1e9)])
    assert model(far).isfinite().all()


def test_without_embedded_rows_the_latent_is_its_own_embedding() -> None:
    z = torch.randn(5, 3)
    model = Manifold(0, 3, 3)
    assert torch.equal(model(z), z)
    assert torch.equal(model.inverse(z), z)


def test_fewer_rows_than_neighbours() -> None:
    assert manifold(n=2)(torch.randn(5, 3)).isfinite().all()


def test_responsibilities_are_the_weighted_mean_of_the_neighbours(
    few: Fitted, blobs: np.ndarray
) -> None:
    new = blobs[:5] + 2.0
    model = few.model_
    z = few._evaluate(model.latent, few._scaled(new)).numpy()
    known = model.prior.log_responsibilities(model.manifold.places).exp().numpy()
    for row, q_y in zip(z, few.predict_proba(new), strict=True):
        distance = np.linalg.norm(model.manifold.latent.numpy() - row, axis=1)
        nearest = np.argsort(distance)[:10]
        weight = 1.0 / distance[nearest]
        expected = (weight / weight.sum()) @ known[nearest]
        np.testing.assert_allclose(q_y, expected, atol=1e-4)


# ------------------------------------------------------------------------------- estimator


def test_clusters_are_read_from_the_mixture_on_the_embedding(
    make: Make, blobs: np.ndarray
) -> None:
    few = make("n2d").fit(blobs)
    places = few.transform(blobs)
    log_joint = np.column_stack(
        [
            np.log(weight) + multivariate_normal(mean, covariance).logpdf(places)
            for weight, mean, covariance in zip(
                few.weights_, few.means_, few.covariances_, strict=True
            )
        ]
    )
    joint = np.exp(log_joint - log_joint.max(1, keepdims=True))
    expected = joint / joint.sum(1, keepdims=True)
    np.testing.assert_allclose(few.predict_proba(blobs), expected, atol=1e-3)


def test_rows_that_were_not_embedded_find_their_clusters(
    few: Fitted, blobs: np.ndarray, classes: np.ndarray
) -> None:
    assert few.n_embedded_ == 70
    assert len(few.model_.manifold.latent) == 70
    assert adjusted_rand_score(classes, few.labels_) > 0.95
    # Neighbours of the rows that were embedded, and none of them.
    rng = np.random.default_rng(1)
    near = blobs + 0.1 * rng.normal(size=blobs.shape)
    assert adjusted_rand_score(classes, few.predict(near)) > 0.95


@pytest.mark.parametrize(
    ("n_manifold", "n_clusters", "width"), [("auto", 3, 3), ("auto", 1, 2), (1, 3, 1), (9, 3, 4)]
)
def test_how_many_dimensions_the_embedding_has(
    make: Make, blobs: np.ndarray, n_manifold: int | str, n_clusters: int, width: int
) -> None:
    settings = {"n_latent": 4, "n_clusters": n_clusters, "pretrain_epochs": 5}
    estimator = make("n2d", n_manifold=n_manifold, **settings).fit(blobs)
    assert estimator.transform(blobs).shape == (120, width)
    assert estimator.means_.shape == (n_clusters, width)
    assert estimator.covariances_.shape == (n_clusters, width, width)
    assert len(estimator.get_feature_names_out()) == width
    places = estimator.means_[:1]
    assert estimator.inverse_transform(places).shape == (1, 4)
    with pytest.raises(ValueError, match=rf"Z must have shape \(n, {width}\)"):
        estimator.inverse_transform(np.zeros((2, 7)))


def test_fewer_rows_than_a_graph_needs_are_clustered_on_the_latent(
    make: Make, blobs: np.ndarray, classes: np.ndarray, tmp_path: Path
) -> None:
    x, known = blobs[:40], classes[:40]
    estimator = make("n2d", n_latent=3, pretrain_epochs=200, n_manifold=2).fit(x)
    assert (estimator.n_embedded_, estimator.n_manifold_) == (0, 3)
    assert adjusted_rand_score(known, estimator.labels_) > 0.8
    np.testing.assert_allclose(
        estimator.inverse_transform(estimator.transform(x)), estimator.reconstruct(x), rtol=1e-4
    )
    estimator.save(tmp_path / "model")
    loaded = deepmixture.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(x), estimator.predict_proba(x))


def test_an_embedding_comes_back(few: Fitted, blobs: np.ndarray, tmp_path: Path) -> None:
    few.save(tmp_path / "model")
    loaded = deepmixture.load(tmp_path / "model")
    assert (loaded.n_embedded_, loaded.n_manifold_) == (70, 2)
    np.testing.assert_array_equal(loaded.transform(blobs + 0.1), few.transform(blobs + 0.1))
    np.testing.assert_array_equal(
        loaded.inverse_transform(few.means_), few.inverse_transform(few.means_)
    )


def test_a_second_fit_begins_without_the_first_embedding(make: Make, blobs: np.ndarray) -> None:
    settings = {"n_latent": 3, "pretrain_epochs": 3}
    twice = make("n2d", **settings).fit(blobs).fit(blobs[:30])
    once = make("n2d", **settings).fit(blobs[:30])
    assert twice.n_embedded_ == 0
    np.testing.assert_array_equal(twice.predict_proba(blobs), once.predict_proba(blobs))


def test_drawn_rows_are_decoded_near_those_of_the_cluster(few: Fitted, blobs: np.ndarray) -> None:
    for cluster in range(3):
        drawn, _ = few.sample(50, cluster=cluster, observation_noise=False, random_state=0)
        mine = blobs[few.labels_ == cluster]
        assert np.linalg.norm(drawn.mean(0) - mine.mean(0)) < 0.5 * np.linalg.norm(blobs.std(0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pretraining": None}, "pretraining=None is not known.*'stacked'"),
        ({"n_manifold": 0}, "n_manifold=0 must be at least 1"),
        ({"n_neighbors": 1}, "n_neighbors=1 must be at least 2"),
        ({"n_embedded": 1}, "n_embedded=1 must be at least 2"),
    ],
)
def test_bad_parameters(
    make: Make, blobs: np.ndarray, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make("n2d", **settings).fit(blobs)
