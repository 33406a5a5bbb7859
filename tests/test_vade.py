"""VaDE's bound against numerical integration, `torch.distributions` and scikit-learn.

The models are tiny (two clusters, a latent of one or two dimensions, float64), so that every
expectation over z can be summed on a grid by formulas that share no code with the model.
"""

import math

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn
from torch.distributions import Bernoulli as BernoulliDistribution
from torch.distributions import Categorical, Normal, kl_divergence
from torch.func import functional_call

from deepmixture.likelihoods import Bernoulli, Gaussian, Likelihood
from deepmixture.models.vade import HeldVaDE, VaDE
from deepmixture.nets import NormalHead
from deepmixture.priors import DiagonalMixture

N_FEATURES, N_ROWS = 3, 4
TERMS = ["reconstruction", "mixture_prior", "assignment", "latent_entropy", "cluster_entropy"]
LATENTS = pytest.mark.parametrize("n_latent", [1, 2])
LIKELIHOODS = pytest.mark.parametrize("kind", ["bernoulli", "gaussian"])


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def tiny(n_latent: int, kind: str = "bernoulli", n_clusters: int = 2) -> VaDE:
    """A VaDE with smooth networks, in float64."""
    likelihood: Likelihood = Bernoulli()
    if kind == "gaussian":
        likelihood = Gaussian(N_FEATURES)
        likelihood.start(torch.tensor([0.5, 0.8, 1.1]))
    encoder = nn.Sequential(nn.Linear(N_FEATURES, 5), nn.Tanh())
    decoder = nn.Sequential(nn.Linear(n_latent, 5), nn.Tanh(), nn.Linear(5, N_FEATURES))
    prior = DiagonalMixture(n_clusters, n_latent)
    weights = torch.rand(n_clusters) + 0.2
    prior.start(
        weights / weights.sum(),
        torch.randn(n_clusters, n_latent),
        0.3 + 0.5 * torch.rand(n_clusters, n_latent),
    )
    model = VaDE(encoder, NormalHead(5, n_latent), decoder, likelihood, prior).double()
    nn.init.normal_(model.head.log_scale.weight, std=0.3)
    nn.init.constant_(model.head.log_scale.bias, -0.5)
    return model


def rows() -> Tensor:
    return torch.rand(N_ROWS, N_FEATURES, dtype=torch.float64)


def even_noise(n_latent: int) -> Tensor:
    """Noise (S, 1, D) that covers the standard normal evenly: a sum over S is a quadrature."""
    side = 4000 if n_latent == 1 else 300
    quantiles = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    points = torch.special.ndtri(quantiles)
    points = points / points.square().mean().sqrt()
    return torch.cartesian_prod(*[points] * n_latent).reshape(-1, 1, n_latent)


class Integrals:
    """Everything about a tiny model, summed over a grid of z (n, D)."""

    def __init__(self, model: VaDE, x: Tensor) -> None:
        n_latent = model.prior.loc.shape[1]
        side = 4001 if n_latent == 1 else 301
        axis = torch.linspace(-7, 7, side, dtype=torch.float64)
        z = torch.cartesian_prod(*[axis] * n_latent).reshape(-1, n_latent)
        self.volume = float(axis[1] - axis[0]) ** n_latent
        prior = model.prior
        self.p_y = prior.logits.exp() / prior.logits.exp().sum()
        self.p_z_y = Normal(prior.loc, prior.log_scale.exp())
        self.q_z_x = Normal(*model.q_z(x))

        self.log_p_z_y = self.p_z_y.log_prob(z[:, None]).sum(-1)  # (n, K)
        joint = self.p_y * self.log_p_z_y.exp()
        self.p_z = joint.sum(1)  # (n,)
        self.p_y_z = joint / self.p_z[:, None]  # (n, K)
        h = model.decoder(z)[:, None]
        if isinstance(model.likelihood, Gaussian):
            p_x_z = Normal(h, model.likelihood.scale())
        else:
            p_x_z = BernoulliDistribution(logits=h, validate_args=False)
        self.log_p_x_z = p_x_z.log_prob(x).sum(-1)  # (n, B)
        self.q_z = self.q_z_x.log_prob(z[:, None]).sum(-1).exp().T * self.volume  # (B, n)

    def log_p_x(self) -> Tensor:
        return (self.p_z @ self.log_p_x_z.exp() * self.volume).log()

    def terms(self) -> dict[str, Tensor]:
        q_y = self.q_z @ self.p_y_z  # (B, K)
        return {
            "reconstruction": (self.q_z * self.log_p_x_z.T).sum(1),
            "mixture_prior": (q_y * (self.q_z @ self.log_p_z_y)).sum(1),
            "assignment": (q_y * self.p_y.log()).sum(1),
            "latent_entropy": self.q_z_x.entropy().sum(1),
            "cluster_entropy": Categorical(probs=q_y).entropy(),
        }


@LATENTS
@LIKELIHOODS
def test_every_term_is_its_integral(n_latent: int, kind: str) -> None:
    model, x = tiny(n_latent, kind).requires_grad_(False), rows()
    terms, expected = model.bound(x, even_noise(n_latent)), Integrals(model, x).terms()
    assert list(terms) == list(expected) == TERMS
    for name, term in terms.items():
        torch.testing.assert_close(term, expected[name], rtol=0, atol=2e-3, msg=name)


@LATENTS
@LIKELIHOODS
def test_the_bound_is_below_the_evidence(n_latent: int, kind: str) -> None:
    """For the closed form of q(y|x) and for responsibilities held at anything."""
    model, x = tiny(n_latent, kind).requires_grad_(False), rows()
    noise, log_p_x = even_noise(n_latent), Integrals(model, x).log_p_x()
    bounds = []
    for log_q_y in (None, *torch.randn(5, N_ROWS, 2, dtype=torch.float64).log_softmax(-1)):
        bounds.append(torch.stack(list(model.bound(x, noise, log_q_y).values())).sum(0))
        assert (bounds[-1] < log_p_x).all()
    assert (bounds[0].mean() > torch.stack(bounds[1:]).mean(1)).all()


@LATENTS
def test_the_bound_meets_the_evidence_where_q_is_the_posterior(n_latent: int) -> None:
    """A linear decoder and clusters far apart: p(z|x) is normal and y is a function of z."""
    weights, noise_scale = torch.tensor([0.3, 0.7]).double(), torch.tensor([0.5, 0.8]).double()
    noise_scale = noise_scale[:n_latent]
    # For a bound quadratic in z, noise of +1 and -1 sums to the exact expectation.
    noise = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0]).double()] * n_latent)
    noise = noise.reshape(-1, 1, n_latent)
    gaps = []
    for distance in (0.5, 2.0, 4.0, 8.0):
        loc, scale = torch.zeros(2, n_latent).double(), torch.full((2, n_latent), 0.6).double()
        loc[0], loc[1] = -distance / 2, distance / 2
        decoder = nn.Linear(n_latent, n_latent, bias=False)
        decoder.weight.data = torch.diag(torch.tensor([1.5, -2.0])[:n_latent])
        prior, likelihood = DiagonalMixture(2, n_latent), Gaussian(n_latent, floor=0.0)
        prior.start(weights, loc, scale)
        likelihood.start(noise_scale)
        model = VaDE(nn.Identity(), NormalHead(n_latent, n_latent), decoder, likelihood, prior)
        model = model.double().requires_grad_(False)

        slope = decoder.weight.diagonal()
        x = loc[1:] * slope + torch.tensor([[0.1], [-0.4]])
        precision = scale[1] ** -2 + slope**2 / noise_scale**2
        model.head.mean.weight.copy_(torch.diag(slope / noise_scale**2 / precision))
        model.head.mean.bias.copy_(loc[1] / scale[1] ** 2 / precision)
        model.head.start_scale(precision**-0.5)

        spread = (slope**2 * scale**2 + noise_scale**2).sqrt()
        log_p_x_y = Normal(loc * slope, spread).log_prob(x[:, None]).sum(-1)
        log_p_x = (log_p_x_y + weights.log()).logsumexp(1)
        bound = torch.stack(list(model.bound(x, noise).values())).sum(0)
        gaps.append(float((log_p_x - bound).max()))
        assert (bound < log_p_x + 1e-6).all()
    assert gaps[0] > 0.01
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] == pytest.approx(0.0, abs=1e-6)


def test_responsibilities_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 3)) * [2.0, 1.0, 1.5] + 2 * rng.integers(0, 4, (400, 1))
    theirs = GaussianMixture(4, covariance_type="diag", random_state=0).fit(z)
    prior = DiagonalMixture(4, 3)
    model = VaDE(nn.Identity(), NormalHead(3, 3), nn.Identity(), Bernoulli(), prior).double()
    model.requires_grad_(False)
    prior.start(*map(torch.from_numpy, (theirs.weights_, theirs.means_, theirs.covariances_**0.5)))
    nn.init.eye_(model.head.mean.weight)
    nn.init.zeros_(model.head.mean.bias)
    expected = theirs.predict_proba(z)
    assert ((expected > 0.1) & (expected < 0.9)).mean() > 0.1  # clusters that overlap
    np.testing.assert_allclose(model.log_q_y(torch.from_numpy(z)).exp(), expected, atol=1e-9)


@LATENTS
def test_importance_weights_average_to_the_evidence(n_latent: int) -> None:
    """The average over q(z|x) is taken on a grid of noise, weighted by its density."""
    model, x = tiny(n_latent).requires_grad_(False), rows()
    axis = torch.linspace(-9, 9, 361, dtype=torch.float64)
    noise = torch.cartesian_prod(*[axis] * n_latent).reshape(-1, n_latent)
    log_q = Normal(0.0, 1.0).log_prob(noise).sum(1) + n_latent * math.log(18 / 360)
    average = (model.log_weights(x, noise[:, None]) + log_q[:, None]).logsumexp(0)
    torch.testing.assert_close(average, Integrals(model, x).log_p_x(), rtol=0, atol=1e-5)


@LATENTS
def test_the_importance_weighted_bound_grows_towards_the_evidence(n_latent: int) -> None:
    model, x = tiny(n_latent).requires_grad_(False), rows()
    nn.init.constant_(model.head.log_scale.bias, 0.5)
    log_p_x = Integrals(model, x).log_p_x().mean()
    errors = []
    for n_samples in (1, 4, 16, 64):
        noise = torch.randn(n_samples * 4000, 1, n_latent, dtype=torch.float64)
        groups = model.log_weights(x, noise).unflatten(0, (n_samples, 4000))
        bound = groups.logsumexp(0) - math.log(n_samples)
        errors.append(float(log_p_x - bound.mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.1
    assert -0.01 < errors[-1] < 0.1 * errors[0]


def test_with_one_cluster_the_divergence_is_that_of_two_normals() -> None:
    model, x = tiny(2, n_clusters=1).requires_grad_(False), rows()
    terms = model.bound(x, torch.randn(1, N_ROWS, 2, dtype=torch.float64))
    p_z = Normal(model.prior.loc[0], model.prior.log_scale[0].exp())
    expected = -kl_divergence(Normal(*model.q_z(x)), p_z).sum(1)
    torch.testing.assert_close(terms["mixture_prior"] + terms["latent_entropy"], expected)
    torch.testing.assert_close(terms["assignment"], torch.zeros(N_ROWS).double())
    torch.testing.assert_close(terms["cluster_entropy"], torch.zeros(N_ROWS).double())


def test_held_responsibilities_give_the_divergence_of_two_categoricals() -> None:
    model, x = tiny(2, n_clusters=3).requires_grad_(False), rows()
    log_q_y = torch.randn(N_ROWS, 3, dtype=torch.float64).log_softmax(-1)
    terms = model.bound(x, torch.randn(1, N_ROWS, 2, dtype=torch.float64), log_q_y)
    expected = -kl_divergence(
        Categorical(logits=log_q_y), Categorical(logits=model.prior.logits.expand(N_ROWS, 3))
    )
    torch.testing.assert_close(terms["assignment"] + terms["cluster_entropy"], expected)


@LATENTS
@LIKELIHOODS
def test_gradients_are_those_of_finite_differences(n_latent: int, kind: str) -> None:
    """Of the bound with its noise held, in every weight, through q(y|x) as well."""
    model, x = tiny(n_latent, kind), rows()
    noise = torch.randn(2, N_ROWS, n_latent, dtype=torch.float64)
    names, weights = zip(*model.named_parameters(), strict=True)
    model.forward = model.bound  # type: ignore[method-assign]

    def bound(*given: Tensor) -> Tensor:
        terms = functional_call(model, dict(zip(names, given, strict=True)), (x, noise))
        return torch.stack(list(terms.values())).sum(0)

    assert torch.autograd.gradcheck(bound, weights)
    gradients = torch.autograd.grad(bound(*weights).sum(), weights)
    assert all(gradient.abs().sum() > 0 for gradient in gradients)


def test_the_loss_is_the_negative_bound_of_the_mean_row() -> None:
    model, x = tiny(2), rows()
    model.n_samples = 3
    torch.manual_seed(5)
    loss, terms = model(x, {})
    torch.manual_seed(5)
    expected = model.bound(x, torch.randn(3, N_ROWS, 2))
    torch.testing.assert_close(loss, -sum(expected.values(), torch.zeros(())).mean())
    assert list(terms) == TERMS
    for name, term in terms.items():
        torch.testing.assert_close(term, expected[name].detach().mean())
        assert not term.requires_grad


def test_the_loss_does_not_depend_on_how_often_the_rows_are_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, x = tiny(2), rows()
    noise = torch.randn(1, N_ROWS, 2, dtype=torch.float64)

    def loss(times: int) -> Tensor:
        monkeypatch.setattr(torch, "randn", lambda *shape, **kind: noise.repeat(1, times, 1))
        return model(x.repeat(times, 1), {})[0]

    torch.testing.assert_close(loss(2), loss(1))


def test_rows_do_not_touch_one_another() -> None:
    model, x = tiny(2).requires_grad_(False), rows()
    noise = torch.randn(3, N_ROWS, 2, dtype=torch.float64)
    together = model.bound(x, noise)
    alone = model.bound(x[2:3], noise[:, 2:3])
    for name in TERMS:
        torch.testing.assert_close(alone[name], together[name][2:3])


def test_held_responsibilities_of_zero_and_one_are_finite_with_their_gradients() -> None:
    model, x = tiny(2), rows()
    held = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [1e-30, 1.0]])
    loss, terms = HeldVaDE(model)(x, held.double(), {})
    loss.backward()
    assert loss.isfinite()
    torch.testing.assert_close(terms["cluster_entropy"].item(), math.log(2.0) / N_ROWS)
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name


def test_clusters_far_from_every_row_leave_loss_and_gradients_finite() -> None:
    model, x = tiny(2).float(), rows().float()
    with torch.no_grad():
        model.prior.loc[1] = 1e6
        model.prior.log_scale[1] = -8.0
    loss, _ = model(x, {})
    loss.backward()
    assert loss.isfinite()
    assert all(weight.grad.isfinite().all() for weight in model.parameters())
