"""Mixture priors against scikit-learn, numerical integration and their own samples."""

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor
from torch.distributions import Normal

from deepmixture.priors import DiagonalMixture, FullMixture, Mixture, StandardNormal

WEIGHTS = torch.tensor([0.2, 0.5, 0.3])


def diagonal(n_latent: int) -> DiagonalMixture:
    prior = DiagonalMixture(3, n_latent)
    loc, scale = torch.randn(3, n_latent), torch.rand(3, n_latent) + 0.3
    prior.start(WEIGHTS, loc, scale)
    return prior.double().requires_grad_(False)


def full(n_latent: int) -> FullMixture:
    prior = FullMixture(3, n_latent).double()
    root = torch.randn(3, n_latent, n_latent, dtype=torch.float64)
    covariances = root @ root.mT + 0.2 * torch.eye(n_latent)
    prior.start(WEIGHTS, torch.randn(3, n_latent), covariances)
    return prior


def standard(n_latent: int) -> StandardNormal:
    return StandardNormal(n_latent).double()


PRIORS = pytest.mark.parametrize("make", [diagonal, full, standard])


def grid(n_latent: int) -> tuple[Tensor, float]:
    """Points (n, D) that cover the mixtures of this file, and the volume of each."""
    axis, step = torch.linspace(-12, 12, 401, dtype=torch.float64), 24 / 400
    return torch.cartesian_prod(*[axis] * n_latent).reshape(-1, n_latent), step**n_latent


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@PRIORS
@pytest.mark.parametrize("n_latent", [1, 2])
def test_the_density_integrates_to_one_and_each_cluster_to_its_weight(
    make: type[Mixture], n_latent: int
) -> None:
    prior = make(n_latent)
    z, volume = grid(n_latent)
    assert float(prior.log_prob(z).exp().sum() * volume) == pytest.approx(1.0, abs=1e-6)
    weights = prior.log_joint(z).exp().sum(0) * volume
    torch.testing.assert_close(weights, prior.log_prob_y().exp(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["diag", "full"])
def test_a_started_prior_says_what_scikit_learn_says(kind: str) -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 3)) * [3.0, 1.0, 0.2] + rng.integers(0, 3, (300, 1)) * 4
    theirs = GaussianMixture(3, covariance_type=kind, random_state=0).fit(z)
    weights, means, covariances = map(
        torch.from_numpy, (theirs.weights_, theirs.means_, theirs.covariances_)
    )
    ours: Mixture
    if kind == "diag":
        ours = DiagonalMixture(3, 3).double()
        ours.start(weights, means, covariances.sqrt())
        covariances = torch.diag_embed(covariances)
    else:
        ours = FullMixture(3, 3).double()
        ours.start(weights, means, covariances)
    points = rng.normal(size=(200, 3)) * 6
    with torch.no_grad():
        density = ours.log_prob(torch.from_numpy(points))
        responsibilities = ours.log_responsibilities(torch.from_numpy(points)).exp()
        np.testing.assert_allclose(density, theirs.score_samples(points), rtol=1e-9)
        np.testing.assert_allclose(responsibilities, theirs.predict_proba(points), atol=1e-9)
        np.testing.assert_allclose(ours.log_prob_y().exp(), theirs.weights_, rtol=1e-9)
        np.testing.assert_allclose(ours.covariances(), covariances, rtol=1e-9, atol=1e-12)


def test_responsibilities_far_from_every_cluster_are_finite_and_sum_to_one() -> None:
    prior = diagonal(2).float()
    log_y = prior.log_responsibilities(torch.tensor([[1e4, -1e4]]))
    assert log_y.isfinite().all()
    assert float(log_y.exp().sum()) == pytest.approx(1.0)


@PRIORS
def test_samples_have_the_moments_of_their_cluster(make: type[Mixture]) -> None:
    prior = make(2)
    clusters = len(prior.log_prob_y())
    for y in range(clusters):
        z = prior.sample(torch.full((100_000,), y), torch.Generator().manual_seed(y))
        covariance = prior.covariances()[y]
        error = 5 * float(covariance.diagonal().max()) / 100_000**0.5
        torch.testing.assert_close(z.mean(0), prior.loc[y], rtol=0, atol=max(error, 0.02))
        torch.testing.assert_close(z.T.cov(), covariance, rtol=0, atol=max(2 * error, 0.02))


def test_samples_go_to_the_clusters_asked_for() -> None:
    prior = DiagonalMixture(3, 1)
    prior.start(WEIGHTS, torch.tensor([[0.0], [10.0], [20.0]]), torch.full((3, 1), 0.1))
    z = prior.sample(torch.tensor([2, 0, 1, 2]), torch.Generator().manual_seed(0))
    assert (z[:, 0] / 10).round().tolist() == [2, 0, 1, 2]
    assert torch.equal(
        z, prior.sample(torch.tensor([2, 0, 1, 2]), torch.Generator().manual_seed(0))
    )


@pytest.mark.parametrize("make", [diagonal, full])
def test_reorder_renumbers_everything_alike(make: type[Mixture]) -> None:
    prior = make(2)
    z = torch.randn(50, 2, dtype=torch.float64)
    order = torch.tensor([2, 0, 1])
    before, covariances, loc = prior.log_joint(z), prior.covariances(), prior.loc.clone()
    names = set(prior.state_dict())
    prior.reorder(order)
    torch.testing.assert_close(prior.log_joint(z), before[:, order])
    torch.testing.assert_close(prior.covariances(), covariances[order])
    torch.testing.assert_close(prior.loc, loc[order])
    torch.testing.assert_close(prior.log_prob_y().exp(), WEIGHTS[order].double())
    assert set(prior.state_dict()) == names


def test_expected_log_prob_is_the_expectation_under_q() -> None:
    prior = diagonal(1)
    mean, scale = torch.tensor([[0.7], [-2.0]]).double(), torch.tensor([[0.3], [1.5]]).double()
    z, volume = grid(1)
    q_z = Normal(mean, scale).log_prob(z.T).exp()  # (B, n)
    log_p_z = prior.log_joint(z) - prior.log_prob_y()  # (n, K)
    torch.testing.assert_close(
        prior.expected_log_prob(mean, scale), q_z @ log_p_z * volume, rtol=0, atol=1e-6
    )


def test_weights_stay_a_distribution_whatever_the_logits() -> None:
    prior = DiagonalMixture(3, 1).requires_grad_(False)
    prior.logits.copy_(torch.tensor([100.0, -100.0, 0.0]))
    assert float(prior.log_prob_y().exp().sum()) == pytest.approx(1.0)
    assert prior.log_prob_y().isfinite().all()
