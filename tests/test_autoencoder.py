"""Autoencoder, VAE and the mixture on a latent, against `torch.distributions` and quadrature."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli as BernoulliDistribution
from torch.distributions import MultivariateNormal, Normal, kl_divergence
from torch.func import functional_call

from deepmixture.likelihoods import Bernoulli, Gaussian, Likelihood
from deepmixture.models.autoencoder import VAE, Autoencoder, AutoencoderMixture, DenoisingLayer
from deepmixture.models.contract import LatentMixture
from deepmixture.models.vade import VaDE
from deepmixture.nets import NormalHead
from deepmixture.priors import DiagonalMixture, FullMixture

N_FEATURES, N_LATENT, N_ROWS = 3, 2, 4
KL_WEIGHT = {"kl_weight": torch.tensor(1.0)}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def parts(
    likelihood: Likelihood | None = None,
) -> tuple[nn.Module, NormalHead, nn.Module, Likelihood]:
    encoder = nn.Sequential(nn.Linear(N_FEATURES, 5), nn.Tanh())
    decoder = nn.Sequential(nn.Linear(N_LATENT, 5), nn.Tanh(), nn.Linear(5, N_FEATURES))
    head = NormalHead(5, N_LATENT, initial_log_scale=-0.3)
    nn.init.normal_(head.log_scale.weight, std=0.3)
    return encoder, head, decoder, likelihood or Bernoulli()


def rows() -> Tensor:
    return torch.rand(N_ROWS, N_FEATURES, dtype=torch.float64)


def mixture() -> AutoencoderMixture:
    prior = FullMixture(2, N_LATENT)
    model = AutoencoderMixture(*parts(), prior).double().requires_grad_(False)
    root = 0.4 * torch.randn(2, N_LATENT, N_LATENT)
    covariances = root @ root.mT + 0.3 * torch.eye(N_LATENT)
    prior.start(torch.tensor([0.3, 0.7]), torch.randn(2, N_LATENT), covariances)
    return model


def grid() -> tuple[Tensor, float]:
    """Points z (n, D) and the area of each."""
    axis = torch.linspace(-8, 8, 401, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), (16 / 400) ** 2


def log_p_z(model: AutoencoderMixture) -> Tensor:
    """log p(z) over the grid."""
    p_z_y = MultivariateNormal(model.prior.loc, model.prior.covariances())
    return (p_z_y.log_prob(grid()[0][:, None]) + model.prior.weights.log()).logsumexp(1)


def evidence(model: AutoencoderMixture | VAE, log_p_z: Tensor, x: Tensor) -> Tensor:
    """log p(x) by summing p(z) p(x|z) over the grid, for log p(z) (n,) there."""
    z, area = grid()
    p_x_z = BernoulliDistribution(logits=model.decoder(z)[:, None], validate_args=False)
    return (log_p_z[:, None] + p_x_z.log_prob(x).sum(-1)).logsumexp(0) + math.log(area)


def test_vae_divergence_is_that_to_a_standard_normal() -> None:
    model, x = VAE(*parts()).double().requires_grad_(False), rows()
    terms = model.bound(x, torch.randn(1, N_ROWS, N_LATENT, dtype=torch.float64))
    q_z = Normal(*model.head(model.encoder(x)))
    expected = -kl_divergence(q_z, Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(terms["prior"] + terms["latent_entropy"], expected)
    torch.testing.assert_close(terms["latent_entropy"], q_z.entropy().sum(1))


def test_vae_bound_is_below_the_evidence_and_its_reconstruction_is_the_integral() -> None:
    model, x = VAE(*parts()).double().requires_grad_(False), rows()
    z, area = grid()
    quantiles = torch.special.ndtri((torch.arange(300, dtype=torch.float64) + 0.5) / 300)
    noise = torch.cartesian_prod(quantiles, quantiles)[:, None]
    terms = model.bound(x, noise)
    q_z = Normal(*model.head(model.encoder(x))).log_prob(z[:, None]).sum(-1).exp()  # (n, B)
    p_x_z = BernoulliDistribution(logits=model.decoder(z)[:, None], validate_args=False)
    expected = (q_z * p_x_z.log_prob(x).sum(-1)).sum(0) * area
    torch.testing.assert_close(terms["reconstruction"], expected, rtol=0, atol=2e-3)
    bound = torch.stack(list(terms.values())).sum(0)
    assert (bound < evidence(model, Normal(0.0, 1.0).log_prob(z).sum(1), x)).all()


def test_vae_loss_weighs_the_divergence_alone() -> None:
    model, x = VAE(*parts()).double(), rows()
    losses = {}
    for weight in (0.0, 0.5, 1.0):
        torch.manual_seed(1)
        losses[weight], terms = model(x, {"kl_weight": torch.tensor(weight)})
    divergence = terms["prior"] + terms["latent_entropy"]
    torch.testing.assert_close(losses[0.0], -terms["reconstruction"])
    torch.testing.assert_close(losses[0.5], losses[0.0] - 0.5 * divergence)
    torch.testing.assert_close(losses[1.0], losses[0.0] - divergence)


def test_vae_gradients_are_those_of_finite_differences() -> None:
    model, x = VAE(*parts(Gaussian(N_FEATURES))).double(), rows()
    noise = torch.randn(2, N_ROWS, N_LATENT, dtype=torch.float64)
    names, weights = zip(*model.named_parameters(), strict=True)
    model.forward = model.bound  # type: ignore[method-assign]

    def bound(*given: Tensor) -> Tensor:
        terms = functional_call(model, dict(zip(names, given, strict=True)), (x, noise))
        return torch.stack(list(terms.values())).sum(0)

    assert torch.autograd.gradcheck(bound, weights)


@pytest.mark.parametrize("kind", [VAE, Autoencoder])
def test_losses_do_not_depend_on_how_often_the_rows_are_given(
    kind: type[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = kind(*parts()).double(), rows()
    noise = torch.randn(1, N_ROWS, N_LATENT, dtype=torch.float64)

    def loss(times: int) -> Tensor:
        monkeypatch.setattr(torch, "randn", lambda *shape, **kind: noise.repeat(1, times, 1))
        return model(x.repeat(times, 1), KL_WEIGHT)[0]

    torch.testing.assert_close(loss(2), loss(1))


def test_autoencoder_loss_is_the_squared_error_at_the_mean() -> None:
    model, x = Autoencoder(*parts()), rows().float()
    loss, terms = model(x, {})
    mean = model.decoder(model.head.mean(model.encoder(x))).sigmoid()
    torch.testing.assert_close(loss, ((mean - x) ** 2).sum() / N_ROWS)
    torch.testing.assert_close(terms["squared_error"], loss.detach())


@pytest.mark.parametrize("layered", [False, True])
def test_corruption_is_for_training_only_and_the_target_stays_clean(layered: bool) -> None:
    encoder, head, decoder, likelihood = parts(Gaussian(N_FEATURES))
    model: nn.Module = Autoencoder(encoder, head, decoder, likelihood, corruption=0.5)
    if layered:
        model = DenoisingLayer(nn.Identity(), encoder, nn.Linear(5, N_FEATURES), corruption=0.5)
    x = torch.randn(64, N_FEATURES)
    first, second = model(x, {})[0], model(x, {})[0]
    assert first != second
    model.eval()
    assert torch.equal(model(x, {})[0], model(x, {})[0])

    everything = DenoisingLayer(nn.Identity(), nn.Identity(), nn.Identity(), corruption=1.0)
    torch.testing.assert_close(everything(x, {})[0], x.square().sum(1).mean())


def test_a_denoising_layer_recovers_its_own_input_and_leaves_the_layers_below() -> None:
    below, layer, mirror = nn.Linear(N_FEATURES, 4), nn.Linear(4, 2), nn.Linear(2, 4)
    model = DenoisingLayer(below, layer, mirror, corruption=0.0)
    x = torch.randn(8, N_FEATURES)
    loss, _ = model(x, {})
    loss.backward()
    torch.testing.assert_close(loss, ((mirror(layer(below(x))) - below(x)) ** 2).sum(1).mean())
    assert all(weight.grad is None for weight in below.parameters())
    assert all(weight.grad is not None for net in (layer, mirror) for weight in net.parameters())


def test_importance_weights_of_a_mixture_average_to_the_evidence() -> None:
    """The average over q(z|x) is taken on a grid of noise, weighted by its density."""
    model, x = mixture(), rows()
    nn.init.constant_(model.head.log_scale.bias, 0.6)  # so that the grid covers p(z)
    noise, area = grid()
    log_q = Normal(0.0, 1.0).log_prob(noise).sum(1) + math.log(area)
    average = (model.log_weights(x, noise[:, None]) + log_q[:, None]).logsumexp(0)
    torch.testing.assert_close(average, evidence(model, log_p_z(model), x), rtol=0, atol=1e-5)


def test_the_mixture_reads_clusters_at_the_latent_mean() -> None:
    model, x = mixture(), rows()
    mean, _ = model.head(model.encoder(x))
    assert torch.equal(model.latent(x), mean)
    p_z_y = MultivariateNormal(model.prior.loc, model.prior.covariances())
    joint = p_z_y.log_prob(mean[:, None]).exp() * model.prior.weights
    torch.testing.assert_close(model.log_q_y(x).exp(), joint / joint.sum(1, keepdim=True))
    torch.testing.assert_close(model.decode(mean), model.decoder(mean).sigmoid())


def test_the_loss_of_the_mixture_is_a_bound_that_its_deviations_can_raise() -> None:
    model, x = mixture(), rows()
    nn.init.zeros_(model.head.log_scale.weight)
    nn.init.constant_(model.head.log_scale.bias, -3.0).requires_grad_(True)
    log_p_x = evidence(model, log_p_z(model), x)
    optimiser = torch.optim.Adam([model.head.log_scale.bias], 0.05)
    losses = []
    for _ in range(200):
        optimiser.zero_grad()
        loss, terms = model(x.repeat(16, 1), {})
        loss.backward()
        optimiser.step()
        losses.append(-float(terms["bound"]))
    first, last = sum(losses[:20]) / 20, sum(losses[-20:]) / 20
    assert -float(log_p_x.mean()) - 0.05 < last < first - 0.5


@pytest.mark.parametrize("model", [mixture(), VaDE(*parts(), DiagonalMixture(2, N_LATENT))])
def test_models_meet_the_contract(model: nn.Module) -> None:
    assert isinstance(model, LatentMixture)
    model, x = model.float().requires_grad_(False), rows().float()
    assert model.log_q_y(x).shape == (N_ROWS, 2)
    torch.testing.assert_close(model.log_q_y(x).exp().sum(1), torch.ones(N_ROWS))
    assert model.latent(x).shape == (N_ROWS, N_LATENT)
    noise = torch.randn(5, 1, N_LATENT)
    shared = model.log_weights(x, noise)
    assert shared.shape == (5, N_ROWS)
    torch.testing.assert_close(shared, model.log_weights(x, noise.expand(5, N_ROWS, N_LATENT)))
    assert model.decode(torch.randn(6, 2, N_LATENT)).shape == (6, 2, N_FEATURES)
