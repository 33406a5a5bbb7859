"""GMVAE's bound against numerical integration and `torch.distributions`.

The models are tiny (two or three clusters, z and w of one dimension or two, float64), so that
every expectation over z and w can be summed on a grid by formulas that share no code with it.
"""

import math
import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import adjusted_rand_score
from torch import Tensor, nn
from torch.distributions import Bernoulli as BernoulliDistribution
from torch.distributions import Categorical, Normal, kl_divergence
from torch.func import functional_call

import deepmixture
from deepmixture.densities import normal_divergence
from deepmixture.estimator import LatentMixtureEstimator
from deepmixture.likelihoods import Bernoulli, Gaussian, Likelihood
from deepmixture.models.gmvae import GMVAE, HeldGMVAE
from deepmixture.nets import NormalHead
from deepmixture.noise_mixture import NoiseMixture

Make = Callable[..., LatentMixtureEstimator]

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "spiral.py"
N_FEATURES, N_ROWS = 3, 4
TERMS = ["reconstruction", "conditional_prior", "w_prior", "cluster_prior"]
LIKELIHOODS = pytest.mark.parametrize("kind", ["bernoulli", "gaussian"])
WEIGHTS = pytest.mark.parametrize("learn_weights", [False, True])
WHOLE = {"kl_weight": torch.ones(())}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def tiny(
    kind: str = "bernoulli",
    n_clusters: int = 2,
    n_latent: int = 1,
    n_noise: int = 1,
    learn_weights: bool = False,
    **options: float,
) -> GMVAE:
    """A GMVAE with smooth networks, in float64; its clusters bend with w and overlap."""
    likelihood: Likelihood = Bernoulli()
    if kind == "gaussian":
        likelihood = Gaussian(N_FEATURES)
        likelihood.start(torch.tensor([0.5, 0.8, 1.1]))
    encoder = nn.Sequential(nn.Linear(N_FEATURES, 5), nn.Tanh())
    decoder = nn.Sequential(nn.Linear(n_latent, 5), nn.Tanh(), nn.Linear(5, N_FEATURES))
    prior = NoiseMixture(n_clusters, n_latent, n_noise, 6, learn_weights)
    head, noise_head = NormalHead(5, n_latent), NormalHead(5, n_noise, 0.0)
    model = GMVAE(encoder, head, noise_head, decoder, likelihood, prior, **options).double()
    with torch.no_grad():
        if learn_weights:
            prior.logits.copy_(torch.randn(n_clusters))
        prior.mean.weight.mul_(2.0)
        prior.mean.bias.copy_(torch.linspace(-1.0, 1.0, n_clusters).repeat_interleave(n_latent))
        prior.log_scale.bias.sub_(0.5)
        for normal, start in ((head, -0.5), (noise_head, -0.2)):
            nn.init.normal_(normal.log_scale.weight, std=0.3)
            nn.init.constant_(normal.log_scale.bias, start)
    return model


def rows() -> Tensor:
    return torch.rand(N_ROWS, N_FEATURES, dtype=torch.float64)


def expected_terms(model: GMVAE, x: Tensor, log_q_y: Tensor | None = None) -> dict[str, Tensor]:
    """Return the terms of the bound averaged over the noise: a grid of it, one point a row."""
    axis = torch.linspace(-7, 7, 141, dtype=torch.float64)
    noise = torch.cartesian_prod(axis, axis)
    density = Normal(0.0, 1.0).log_prob(noise).sum(1).exp() * 0.1**2
    many, held = (None if part is None else part.repeat(len(noise), 1) for part in (x, log_q_y))
    terms = model.bound(many, noise.repeat_interleave(len(x), 0)[None], held)
    return {name: density @ term.reshape(-1, len(x)) for name, term in terms.items()}


class Integrals:
    """Everything about a tiny model, summed over a grid of z (n,) and w (m,)."""

    def __init__(self, model: GMVAE, x: Tensor) -> None:
        prior = model.prior
        z = torch.linspace(-12, 12, 1201, dtype=torch.float64)
        w = torch.linspace(-8, 8, 401, dtype=torch.float64)
        self.dz, self.dw = float(z[1] - z[0]), float(w[1] - w[0])
        hidden = torch.tanh(w[:, None] @ prior.hidden[0].weight.T + prior.hidden[0].bias)
        loc = hidden @ prior.mean.weight.T + prior.mean.bias  # (m, K)
        log_scale = hidden @ prior.log_scale.weight.T + prior.log_scale.bias
        self.p_y = prior.logits.exp() / prior.logits.exp().sum()
        self.p_z_wy = Normal(loc, log_scale.exp())
        self.p_w = Normal(0.0, 1.0).log_prob(w).exp() * self.dw
        joint = self.p_y * self.p_z_wy.log_prob(z[:, None, None]).exp()  # (n, m, K)
        self.p_z = joint.sum(2) @ self.p_w  # (n,)
        self.p_y_zw = joint / joint.sum(2, keepdim=True)

        features = model.encoder(x)
        self.q_z_x = Normal(*(part[:, 0] for part in model.head(features)))
        self.q_w_x = Normal(*(part[:, 0] for part in model.noise_head(features)))
        self.q_z = self.q_z_x.log_prob(z[:, None]).exp().T * self.dz  # (B, n)
        self.q_w = self.q_w_x.log_prob(w[:, None]).exp().T * self.dw  # (B, m)
        h = model.decoder(z[:, None])[:, None]
        if isinstance(model.likelihood, Gaussian):
            p_x_z = Normal(h, model.likelihood.scale())
        else:
            p_x_z = BernoulliDistribution(logits=h, validate_args=False)
        self.log_p_x_z = p_x_z.log_prob(x).sum(-1)  # (n, B)

    def log_p_x(self) -> Tensor:
        return (self.p_z @ self.log_p_x_z.exp() * self.dz).log()

    def terms(self) -> dict[str, Tensor]:
        q_y_w = torch.einsum("bn,nmk->bmk", self.q_z, self.p_y_zw)
        q_z_x = Normal(self.q_z_x.loc[:, None, None], self.q_z_x.scale[:, None, None])
        divergence = kl_divergence(q_z_x, self.p_z_wy)  # (B, m, K)
        q_zw = torch.einsum("bn,bm->bnm", self.q_z, self.q_w)
        information = kl_divergence(Categorical(probs=self.p_y_zw), Categorical(probs=self.p_y))
        return {
            "reconstruction": (self.q_z * self.log_p_x_z.T).sum(1),
            "conditional_prior": -torch.einsum("bm,bmk,bmk->b", self.q_w, q_y_w, divergence),
            "w_prior": -kl_divergence(self.q_w_x, Normal(torch.zeros(()).double(), 1.0)),
            "cluster_prior": -torch.einsum("bnm,nm->b", q_zw, information),
        }


def test_the_divergence_of_two_normals() -> None:
    loc, log_scale, other_loc, other_log_scale = torch.randn(4, 50, dtype=torch.float64)
    expected = kl_divergence(
        Normal(loc, log_scale.exp()), Normal(other_loc, other_log_scale.exp())
    )
    given = normal_divergence(loc, log_scale, other_loc, other_log_scale)
    torch.testing.assert_close(given, expected)
    assert normal_divergence(loc, log_scale, loc, log_scale).abs().max() < 1e-12


@WEIGHTS
@LIKELIHOODS
def test_every_term_is_its_integral(kind: str, learn_weights: bool) -> None:
    model, x = tiny(kind, learn_weights=learn_weights).requires_grad_(False), rows()
    terms, expected = expected_terms(model, x), Integrals(model, x).terms()
    assert list(terms) == list(expected) == TERMS
    for name, term in terms.items():
        torch.testing.assert_close(term, expected[name], rtol=0, atol=1e-5)


@LIKELIHOODS
def test_the_bound_is_below_the_evidence(kind: str) -> None:
    """For the closed form of q(y|z, w) and for responsibilities held at anything."""
    model, x = tiny(kind).requires_grad_(False), rows()
    log_p_x = Integrals(model, x).log_p_x()
    for log_q_y in (None, *torch.randn(5, N_ROWS, 2, dtype=torch.float64).log_softmax(-1)):
        assert (sum(expected_terms(model, x, log_q_y).values()) < log_p_x).all()


def test_the_bound_meets_the_evidence_where_q_is_the_posterior() -> None:
    """A linear decoder, clusters far apart that no noise moves: p(z|x) is normal."""
    gaps = []
    for distance in (0.5, 2.0, 4.0, 8.0):
        prior, likelihood = NoiseMixture(2, 1, 1, 4), Gaussian(1, floor=0.0)
        loc = torch.tensor([[-distance / 2], [distance / 2]])
        prior.start(torch.tensor([0.5, 0.5]), loc, torch.full((2, 1), 0.6))
        likelihood.start(torch.tensor([0.5]))
        decoder, head, noise_head = nn.Linear(1, 1), NormalHead(1, 1), NormalHead(1, 1, 0.0)
        model = GMVAE(nn.Identity(), head, noise_head, decoder, likelihood, prior)
        model.double().requires_grad_(False)
        decoder.weight.fill_(1.5)
        decoder.bias.fill_(0.0)
        nn.init.zeros_(noise_head.mean.weight)
        nn.init.zeros_(noise_head.mean.bias)
        precision = 0.6**-2 + 1.5**2 / 0.5**2
        head.mean.weight.fill_(1.5 / 0.5**2 / precision)
        head.mean.bias.fill_(distance / 2 / 0.6**2 / precision)
        head.start_scale(torch.tensor([precision**-0.5]))

        x = torch.tensor([[0.75 * distance + 0.1], [0.75 * distance - 0.4]]).double()
        p_x_y = Normal(1.5 * loc[:, 0].double(), math.hypot(1.5 * 0.6, 0.5))
        log_p_x = p_x_y.log_prob(x).logsumexp(1) - math.log(2)
        # For a bound quadratic in z, noise of +1 and -1 sums to the exact expectation.
        noise = torch.tensor([[-1.0, 0.0], [1.0, 0.0]]).double()[:, None]
        gap = log_p_x - sum(model.bound(x, noise).values())
        assert (gap > -1e-6).all()
        gaps.append(float(gap.max()))
    assert gaps[0] > 0.01
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] == pytest.approx(0.0, abs=1e-6)


@WEIGHTS
def test_importance_weights_average_to_the_evidence(learn_weights: bool) -> None:
    """The average over q(z|x) q(w|x) is taken on a grid of noise, weighted by its density."""
    model, x = tiny(learn_weights=learn_weights).requires_grad_(False), rows()
    nn.init.constant_(model.head.log_scale.bias, 0.7)  # so that the grid covers all of p(z)
    nn.init.constant_(model.noise_head.log_scale.bias, 0.3)
    axis = torch.linspace(-8, 8, 321, dtype=torch.float64)
    noise = torch.cartesian_prod(axis, axis)
    log_q = Normal(0.0, 1.0).log_prob(noise).sum(1) + 2 * math.log(16 / 320)
    average = (model.log_weights(x, noise[:, None]) + log_q[:, None]).logsumexp(0)
    torch.testing.assert_close(average, Integrals(model, x).log_p_x(), rtol=0, atol=1e-5)


def test_more_samples_vary_less_around_the_same_mean() -> None:
    model, x = tiny().requires_grad_(False), rows()
    losses = {}
    for n_samples in (1, 10):
        model.n_samples = n_samples
        losses[n_samples] = torch.stack([model(x, WHOLE)[0] for _ in range(1000)])
    one, ten = losses[1], losses[10]
    assert float(ten.var() / one.var()) == pytest.approx(0.1, rel=0.2)
    assert float(ten.mean() - one.mean()) == pytest.approx(0.0, abs=float(one.std()) / 10)


def test_responsibilities_are_bayes_at_the_means() -> None:
    model, x = tiny(n_clusters=3, n_latent=2, n_noise=2).requires_grad_(False), rows()
    features = model.encoder(x)
    z, w = model.head(features)[0], model.noise_head(features)[0]
    loc, log_scale = model.prior.heads(w)
    p_z = Normal(loc, log_scale.exp()).log_prob(z[:, None]).sum(-1).exp()
    torch.testing.assert_close(model.log_q_y(x).exp(), p_z / p_z.sum(1, keepdim=True))


# ---------------------------------------------------------------- remedies for over-regularising


def gradients(model: GMVAE, x: Tensor, seed: int = 3) -> list[Tensor]:
    torch.manual_seed(seed)
    loss, _ = model(x, WHOLE)
    # The bias of q(w|x) and others may touch the cluster prior alone.
    found = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return [torch.zeros(()) if part is None else part for part in found]


def without_cluster_prior(model: GMVAE, x: Tensor, seed: int = 3) -> list[Tensor]:
    torch.manual_seed(seed)
    noise = torch.randn(model.n_samples, N_ROWS, 2)
    terms = model.bound(x, noise)
    terms.pop("cluster_prior")
    return list(torch.autograd.grad(-sum(terms.values()).mean(), list(model.parameters())))


def test_the_cluster_prior_has_no_gradient_below_the_minimum_information() -> None:
    model, x = tiny(learn_weights=True), rows()
    torch.manual_seed(3)
    information = -float(model(x, WHOLE)[1]["cluster_prior"])
    assert information > 0.01
    whole = gradients(model, x)
    model.min_information = 1.01 * information
    torch.testing.assert_close(gradients(model, x), without_cluster_prior(model, x))
    model.min_information = 0.99 * information
    torch.testing.assert_close(gradients(model, x), whole)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(whole, without_cluster_prior(model, x))


def test_the_constraint_leaves_the_logged_terms_alone() -> None:
    model, x = tiny(), rows()
    torch.manual_seed(3)
    free, terms = model(x, WHOLE)
    model.min_information = 0.6
    torch.manual_seed(3)
    held, again = model(x, WHOLE)
    assert terms == again
    torch.testing.assert_close(held - free, 0.6 + terms["cluster_prior"])


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_annealing_weighs_every_divergence(weight: float) -> None:
    model, x = tiny(), rows()
    loss, terms = model(x, {"kl_weight": torch.tensor(weight)})
    divergence = terms["conditional_prior"] + terms["w_prior"] + terms["cluster_prior"]
    torch.testing.assert_close(loss, -(terms["reconstruction"] + weight * divergence))
    assert list(terms) == TERMS
    assert not any(term.requires_grad for term in terms.values())


# ------------------------------------------------------------------------------ the clusters


def test_the_clusters_are_averages_over_the_noise() -> None:
    """Means, covariances, densities and samples, each against plain Monte Carlo."""
    prior = tiny(n_clusters=3, n_latent=2, n_noise=2).prior.requires_grad_(False)
    z = torch.randn(5, 2, dtype=torch.float64)
    w = torch.randn(200_000, 2, dtype=torch.float64)
    loc, log_scale = prior.heads(w)
    log_p = Normal(loc[:, None], log_scale.exp()[:, None]).log_prob(z[:, None]).sum(-1)
    expected = log_p.logsumexp(0) - math.log(len(w)) - math.log(3)
    torch.testing.assert_close(prior.log_joint(z), expected, rtol=0, atol=0.1)
    for y in range(3):
        draws = prior.sample(torch.full((100_000,), y), torch.Generator().manual_seed(y))
        torch.testing.assert_close(draws.mean(0), prior.loc[y], rtol=0, atol=0.02)
        torch.testing.assert_close(draws.T.cov(), prior.covariances()[y], rtol=0.05, atol=0.02)
    tril = prior.scale_tril()
    torch.testing.assert_close(tril @ tril.mT, prior.covariances())


def test_a_start_is_taken_as_it_is() -> None:
    weights, loc = torch.tensor([0.2, 0.3, 0.5]), torch.randn(3, 2)
    scale = 0.3 + torch.rand(3, 2)
    for learn_weights in (False, True):
        prior = NoiseMixture(3, 2, 4, 5, learn_weights)
        prior.start(weights, loc, scale)
        torch.testing.assert_close(prior.loc, loc)
        torch.testing.assert_close(prior.covariances(), torch.diag_embed(scale.square()))
        expected = weights if learn_weights else torch.full((3,), 1 / 3)
        torch.testing.assert_close(prior.log_prob_y().exp(), expected)
        for w in torch.randn(5, 4):
            torch.testing.assert_close(prior.heads(w)[1], scale.log())


def test_reordering_renumbers_the_heads() -> None:
    model, x = tiny(n_clusters=3, n_latent=2, learn_weights=True).requires_grad_(False), rows()
    order = torch.tensor([2, 0, 1])
    loc, covariances = model.prior.loc, model.prior.covariances()
    weights, log_q_y = model.prior.log_prob_y(), model.log_q_y(x)
    model.prior.reorder(order)
    torch.testing.assert_close(model.prior.loc, loc[order])
    torch.testing.assert_close(model.prior.covariances(), covariances[order])
    torch.testing.assert_close(model.prior.log_prob_y(), weights[order])
    torch.testing.assert_close(model.log_q_y(x), log_q_y[:, order])


# -------------------------------------------------------------------------------- gradients


@WEIGHTS
@LIKELIHOODS
def test_gradients_are_those_of_finite_differences(kind: str, learn_weights: bool) -> None:
    """Of the bound with its noise held, in every weight, through q(y|z, w) as well."""
    model, x = tiny(kind, learn_weights=learn_weights), rows()
    noise = torch.randn(2, N_ROWS, 2, dtype=torch.float64)
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    model.forward = model.bound  # type: ignore[method-assign]

    def bound(*given: Tensor) -> Tensor:
        terms = functional_call(model, dict(zip(learned, given, strict=True)), (x, noise))
        return torch.stack(list(terms.values())).sum(0)

    weights = tuple(learned.values())
    assert torch.autograd.gradcheck(bound, weights)
    found = torch.autograd.grad(bound(*weights).sum(), weights)
    assert all(gradient.abs().sum() > 0 for gradient in found)


def test_rows_do_not_touch_one_another() -> None:
    model, x = tiny().requires_grad_(False), rows()
    noise = torch.randn(3, N_ROWS, 2, dtype=torch.float64)
    together, alone = model.bound(x, noise), model.bound(x[2:3], noise[:, 2:3])
    for name in TERMS:
        torch.testing.assert_close(alone[name], together[name][2:3])


def test_held_responsibilities() -> None:
    """Zeros and ones are finite with their gradients; the divergence is of two categoricals."""
    model, x = tiny(), rows()
    held = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.1, 0.9]], dtype=torch.float64)
    loss, terms = HeldGMVAE(model)(x, held, WHOLE)
    loss.backward()
    assert loss.isfinite()
    expected = -kl_divergence(Categorical(held), Categorical(torch.ones(4, 2).double()))
    torch.testing.assert_close(terms["cluster_prior"], expected.mean())
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            assert weight.grad is not None, name
            assert weight.grad.isfinite().all(), name


def test_clusters_far_from_every_row_leave_loss_and_gradients_finite() -> None:
    model, x = tiny().float(), rows().float()
    with torch.no_grad():
        model.prior.mean.bias[1] = 1e6
        model.prior.log_scale.bias[1] = -8.0
    loss, _ = model(x, WHOLE)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


# ------------------------------------------------------------------------------ the estimator


def test_the_recipe_of_the_paper(make: Make, blobs: np.ndarray, classes: np.ndarray) -> None:
    """From nothing, by the bound alone, with both remedies."""
    recipe = {"pretraining": None, "start": None, "hold_epochs": 0, "epochs": 100}
    estimator = make("gmvae", **recipe, kl_annealing=0.5, min_information=0.5, n_samples=3)
    estimator.fit(blobs)
    assert {record["stage"] for record in estimator.history_} == {"evidence"}
    assert len(estimator.history_) == 100
    # Two of the groups at least: a random start finds all three on some seeds only.
    assert estimator.n_used_clusters_ >= 2
    assert adjusted_rand_score(classes, estimator.labels_) > 0.4


@pytest.mark.skipif(not EXAMPLE.exists(), reason="not a source tree")
def test_the_spiral_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = runpy.run_path(str(EXAMPLE))
    quick = {"epochs": 1, "hidden": (4,), "batch_size": 2000, "verbose": False}
    names = example["main"].__globals__
    monkeypatch.setitem(names, "FINE", 1)
    monkeypatch.setitem(names, "GMVAE", lambda **settings: deepmixture.GMVAE(**settings | quick))
    example["main"](tmp_path / "spiral.png")
    with Image.open(tmp_path / "spiral.png") as picture:
        assert picture.size == (1260, 420)
        for left in (0, 420, 840):  # more than white in each panel
            assert len(picture.crop((left, 40, left + 420, 420)).getcolors(10**6)) > 1
    radius = np.linalg.norm(example["spiral"](1000, seed=0), axis=1)
    assert radius.min() > 0.2
    assert radius.max() < example["REACH"]


@pytest.mark.parametrize("pretraining", ["autoencoder", "stacked", "vae", None])
@pytest.mark.parametrize("start", ["gmm", None])
def test_pretraining_and_start(
    make: Make, blobs: np.ndarray, pretraining: str | None, start: str | None
) -> None:
    settings = {"pretrain_epochs": 4, "epochs": 3, "hold_epochs": 2, "hidden": (16, 8)}
    estimator = make("gmvae", pretraining=pretraining, start=start, **settings).fit(blobs)
    stages = [r["stage"] for r in estimator.history_ if "layer" not in r["stage"]]
    before = ["pretraining"] * 4 if pretraining else []
    after = ["taking shape"] * 2 + ["evidence"] if start else ["evidence"] * 3
    assert stages == before + after
    assert np.isfinite(estimator.score(blobs))


def test_weights_are_uniform_or_learned(make: Make, blobs: np.ndarray) -> None:
    np.testing.assert_allclose(make("gmvae", epochs=3).fit(blobs).weights_, 1 / 3, atol=1e-7)
    learned = make("gmvae", learn_weights=True).fit(blobs)
    np.testing.assert_allclose(learned.weights_, np.array([50, 40, 30]) / 120, atol=0.05)


def test_the_clusters_move_with_the_noise(make: Make, blobs: np.ndarray) -> None:
    """The start knows no w; training gives it a part in where z lies."""
    estimator = make("gmvae", epochs=20, hold_epochs=0).fit(blobs)
    with torch.no_grad():
        loc = estimator.model_.prior.heads(estimator.model_.prior.draws)[0]
    assert (loc.std(0) > 0).all()
    x, labels = estimator.sample(300, random_state=0)
    z = estimator.transform(blobs)
    for cluster in range(3):
        own = z[estimator.labels_ == cluster]
        np.testing.assert_allclose(own.mean(0), estimator.means_[cluster], atol=own.std())
    assert (estimator.predict(x) == labels).mean() > 0.9


def test_the_network_of_the_paper(make: Make, images: np.ndarray) -> None:
    large = np.kron(images, np.ones((1, 2, 2), dtype=np.uint8))
    settings = {"network": "convolutional_valid", "pretrain_epochs": 1, "epochs": 1}
    estimator = make("gmvae", **settings).fit(large)
    parts = estimator.model_.encoder.modules()
    sizes = [part.kernel_size for part in parts if isinstance(part, nn.Conv2d)]
    assert sizes == [(6, 6), (6, 6), (4, 4)]
    assert estimator.reconstruct(large).shape == large.shape
    np.testing.assert_array_equal(estimator.predict(large[5:6]), estimator.labels_[5:6])
    with pytest.raises(ValueError, match=r"8 x 8 pixels are too small.*at least 12 x 12"):
        make("gmvae", **settings).fit(images)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"start": "kmeans"}, ValueError, "start='kmeans'.*'graph', 'gmm', None"),
        ({"n_noise": 0}, ValueError, "n_noise=0 must be at least 1"),
        ({"prior_width": 2.5}, TypeError, "prior_width must be an integer"),
        ({"kl_annealing": 1.5}, ValueError, "kl_annealing=1.5 must be between 0 and 1"),
        ({"kl_annealing": "yes"}, TypeError, "kl_annealing must be a number"),
        ({"min_information": -0.5}, ValueError, "min_information=-0.5 must be at least 0"),
        ({"min_information": float("nan")}, ValueError, "min_information=nan must be"),
        ({"min_information": float("inf")}, ValueError, "min_information=inf must be.*finite"),
        ({"learn_weights": 1}, TypeError, "learn_weights must be True or False; got 1"),
        ({"network": "mlp", "pretraining": "gan"}, ValueError, "pretraining='gan'"),
    ],
)
def test_parameters(
    make: Make,
    blobs: np.ndarray,
    settings: dict[str, object],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        make("gmvae", **settings).fit(blobs)
