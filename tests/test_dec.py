"""DEC's equations by brute force, its gradients as the paper writes them, and when it ends."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from torch import Tensor, nn

import deepmixture
from deepmixture.estimator import LatentMixtureEstimator
from deepmixture.likelihoods import Gaussian
from deepmixture.models.dec import DEC, StudentAssignment, target
from deepmixture.nets import NormalHead

Make = Callable[..., LatentMixtureEstimator]
N, K, D, F = 7, 3, 2, 4
FREEDOMS = pytest.mark.parametrize("alpha", [1.0, 2.5])


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def latents() -> Tensor:
    return torch.randn(N, D, dtype=torch.float64)


def assignment(alpha: float = 1.0) -> StudentAssignment:
    return StudentAssignment(K, D, alpha).double()


def tiny(weight: float = 0.0) -> DEC:
    encoder = nn.Sequential(nn.Linear(F, 5), nn.Tanh())
    parts = encoder, NormalHead(5, D), nn.Linear(D, F), Gaussian(F)
    return DEC(*parts, assignment(), weight).double()


# ---------------------------------------------------------------------- the three equations


@FREEDOMS
def test_assignments_are_those_of_equation_1(alpha: float) -> None:
    model, z = assignment(alpha), latents()
    q = model.log_q_y(z).exp().detach().numpy()
    for i in range(N):
        kernels = [
            (1 + float(((z[i] - centre) ** 2).sum()) / alpha) ** (-(alpha + 1) / 2)
            for centre in model.loc.detach()
        ]
        np.testing.assert_allclose(q[i], np.array(kernels) / sum(kernels), rtol=1e-12)


def test_the_target_is_that_of_equation_3() -> None:
    q = torch.rand(N, K, dtype=torch.float64)
    q = q / q.sum(1, keepdim=True)
    t = target(q.log()).numpy()
    expected = np.zeros((N, K))
    for i in range(N):
        for j in range(K):
            expected[i, j] = q[i, j] ** 2 / sum(float(q[row, j]) for row in range(N))
    np.testing.assert_allclose(t, expected / expected.sum(1, keepdims=True), rtol=1e-12)


def test_the_target_is_surer_and_takes_from_the_large_cluster() -> None:
    q = torch.tensor([[0.6, 0.4]] * 9 + [[0.1, 0.9]], dtype=torch.float64)
    t = target(q.log())
    assert t[-1, 1] > q[-1, 1]
    assert t[0, 0] / t[0, 1] < (q[0, 0] / q[0, 1]) ** 2  # the square alone would be surer


def test_the_target_of_sure_rows_is_finite() -> None:
    log_q = torch.tensor([[0.0, -800.0], [-800.0, 0.0], [-1e-9, -20.0]])
    t = target(log_q)
    torch.testing.assert_close(t.sum(1), torch.ones(3))
    assert t.isfinite().all()


@FREEDOMS
def test_gradients_are_those_of_equations_4_and_5(alpha: float) -> None:
    model, z = assignment(alpha), latents().requires_grad_()
    log_q = model.log_q_y(z)
    t = target(log_q.detach())
    (torch.xlogy(t, t) - t * log_q).sum().backward()
    q = log_q.exp().detach()
    by_z, by_centre = torch.zeros(N, D).double(), torch.zeros(K, D).double()
    with torch.no_grad():
        for i in range(N):
            for j in range(K):
                difference = z[i] - model.loc[j]
                kernel = 1 / (1 + difference.square().sum() / alpha)
                pull = (alpha + 1) / alpha * kernel * (t[i, j] - q[i, j]) * difference
                by_z[i] += pull
                by_centre[j] -= pull
    assert z.grad is not None
    torch.testing.assert_close(z.grad, by_z)
    torch.testing.assert_close(model.loc.grad, by_centre)


def test_the_loss_is_the_divergence_of_the_mean_row() -> None:
    model, x = tiny(), torch.rand(N, F, dtype=torch.float64)
    t = torch.rand(N, K, dtype=torch.float64).softmax(1)
    loss, terms = model(x, t, {})
    q = torch.distributions.Categorical(logits=model.log_q_y(x))
    expected = torch.distributions.kl_divergence(torch.distributions.Categorical(t), q).mean()
    torch.testing.assert_close(loss, expected)
    assert list(terms) == ["divergence"]
    loss.backward()
    assert all(weight.grad is None for weight in model.decoder.parameters())


def test_the_reconstruction_is_weighted() -> None:
    x = torch.rand(N, F, dtype=torch.float64)
    t = torch.rand(N, K, dtype=torch.float64).softmax(1)
    model = tiny(3.0)
    loss, terms = model(x, t, {})
    error = np.mean((model.decode(model.latent(x)) - x).detach().numpy() ** 2)
    assert float(terms["reconstruction"]) == pytest.approx(error)
    torch.testing.assert_close(loss, terms["divergence"] + 3.0 * error)
    loss.backward()
    assert all(weight.grad is not None for weight in model.decoder.parameters())


def test_held_targets_of_zero_and_one_leave_loss_and_gradients_finite() -> None:
    model, x = tiny(), torch.rand(N, F, dtype=torch.float64)
    loss, _ = model(x, torch.eye(K).double()[torch.arange(N) % K], {})
    loss.backward()
    assert loss.isfinite()
    assert model.assignment.loc.grad.isfinite().all()


# ------------------------------------------------------------------------------ estimators


@pytest.mark.parametrize("start", ["gmm", "kmeans"])
@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_starts_and_optimisers(
    make: Make, blobs: np.ndarray, classes: np.ndarray, start: str, optimiser: str
) -> None:
    estimator = make("dec", start=start, optimiser=optimiser).fit(blobs)
    assert adjusted_rand_score(classes, estimator.labels_) > 0.95
    stages = list(dict.fromkeys(record["stage"] for record in estimator.history_))
    shaped = [] if start == "kmeans" else ["taking shape"]
    assert stages == ["pretraining", *shaped, "sharpening"]


def test_the_paper_starts_at_the_centres_of_k_means(make: Make, blobs: np.ndarray) -> None:
    estimator = make("dec", start="kmeans", epochs=0).fit(blobs)
    latent = estimator.transform(blobs).astype(float)
    expected = KMeans(3, n_init=3, random_state=0).fit(latent).cluster_centers_
    distance = np.linalg.norm(estimator.means_[:, None] - expected, axis=2)
    assert distance.min(1).max() < 1e-4
    # Shares are mean responsibilities, in the order of the clusters.
    q_y = estimator.predict_proba(blobs)
    np.testing.assert_allclose(estimator.weights_, q_y.mean(0), rtol=1e-5)


def test_training_sharpens_the_assignments(make: Make, blobs: np.ndarray) -> None:
    doubt = []
    for epochs in (0, 12):
        estimator = make("dec", epochs=epochs, start="kmeans", update_steps=8).fit(blobs)
        doubt.append(1.0 - estimator.predict_proba(blobs).max(1).mean())
    assert doubt[1] < 0.8 * doubt[0]


@pytest.mark.parametrize("tolerance", [0.0, 0.5])
def test_it_ends_when_labels_stand_still(make: Make, blobs: np.ndarray, tolerance: float) -> None:
    estimator = make("dec", start="kmeans", tolerance=tolerance).fit(blobs)
    epochs = [record["epoch"] for record in estimator.history_ if record["stage"] == "sharpening"]
    # A target stands for 140 steps, 35 epochs of 4: more than there are, and never a second one.
    assert epochs == list(range(1, 13))
    assert not estimator.converged_
    estimator = make("dec", start="kmeans", tolerance=tolerance, update_steps=8).fit(blobs)
    epochs = [record["epoch"] for record in estimator.history_ if record["stage"] == "sharpening"]
    assert estimator.converged_ == (tolerance > 0)
    assert len(epochs) == (2 if tolerance else 12)
    assert ("Ended when fewer than" in estimator.decisions_[-1]) == (tolerance > 0)


def test_labels_of_others_are_not_asked(
    make: Make, blobs: np.ndarray, classes: np.ndarray
) -> None:
    given = make("dec", tolerance=0.01, update_steps=4).fit(blobs, classes)
    alone = make("dec", tolerance=0.01, update_steps=4).fit(blobs)
    assert given.n_iter_ == alone.n_iter_
    np.testing.assert_array_equal(given.predict_proba(blobs), alone.predict_proba(blobs))


@pytest.mark.parametrize("hold", [0, 5, 99])
def test_how_many_epochs_are_held(make: Make, blobs: np.ndarray, hold: int) -> None:
    estimator = make("dec", hold_epochs=hold).fit(blobs)
    names = [record["stage"] for record in estimator.history_]
    assert names.count("taking shape") == min(hold, 12)
    assert names.count("sharpening") == 12 - min(hold, 12)


def test_held_responsibilities_are_learned(make: Make, blobs: np.ndarray) -> None:
    estimator = make("dec", epochs=40, hold_epochs=40).fit(blobs)
    held = [r["divergence"] for r in estimator.history_ if r["stage"] == "taking shape"]
    assert held[-1] < 0.5 * held[0]


def test_idec_keeps_its_decoder(make: Make, blobs: np.ndarray) -> None:
    error = {}
    for weight in (0.0, 10.0):
        estimator = make("idec", reconstruction_weight=weight, epochs=60).fit(blobs)
        error[weight] = np.square(estimator.reconstruct(blobs) - blobs).mean()
    assert error[10.0] < 0.5 * error[0.0]
    assert {"divergence", "reconstruction"} < set(estimator.history_[-1])
    assert not hasattr(make("dec"), "reconstruct")


def test_a_model_that_ended_early_comes_back(make: Make, blobs: np.ndarray, tmp_path) -> None:
    estimator = make("dec", tolerance=0.5, update_steps=4).fit(blobs)
    estimator.save(tmp_path / "model")
    loaded = deepmixture.load(tmp_path / "model")
    assert loaded.converged_
    np.testing.assert_array_equal(loaded.weights_, estimator.weights_)
    np.testing.assert_array_equal(loaded.means_, estimator.means_)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"start": "random"}, ValueError, "start='random'.*'kmeans'"),
        ({"optimiser": "lion"}, ValueError, "optimiser='lion'.*'sgd'"),
        ({"clustering_rate": 0.0}, ValueError, "clustering_rate=0.0 must be above 0"),
        ({"tolerance": -0.1}, ValueError, "tolerance=-0.1 must be at least 0"),
        ({"tolerance": "low"}, TypeError, "tolerance must be a number"),
        ({"update_steps": 0}, ValueError, "update_steps=0 must be at least 1"),
        ({"reconstruction_weight": float("inf")}, ValueError, "reconstruction_weight=inf must"),
    ],
)
def test_bad_parameters(
    make: Make, blobs: np.ndarray, settings: dict[str, object], error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        make("dec", **settings).fit(blobs)


def test_networks_in_training_and_out_of_it_are_told_apart(make: Make, blobs: np.ndarray) -> None:
    """The target is made without dropout, and what is trained towards it has it."""
    encoder = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.5))
    decoder = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 4))
    settings = {"encoder": encoder, "decoder": decoder, "update_steps": 4, "tolerance": 1e-9}
    estimator = make("dec", start="kmeans", epochs=40, **settings).fit(blobs)
    assert estimator.converged_
