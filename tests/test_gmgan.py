"""GM-GAN: its mixture by moments, its losses by their definition, and where gradients go."""

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score
from torch import Tensor, nn
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from deepmixture import GMGAN, load
from deepmixture.latent_source import LatentSource
from deepmixture.likelihoods import Bernoulli, Gaussian, Likelihood
from deepmixture.models import gmgan
from deepmixture.nets import NormalHead

N_CLUSTERS, N_LATENT, N_FEATURES, N_ROWS = 3, 2, 4, 6
TERMS = ["discriminator", "gradient_penalty", "generator", "classifier", "latent"]
SIDES = {
    "generator": ("decoder.", "likelihood.", "prior."),
    "discriminator": ("discriminator.",),
    "classifier": ("encoder.", "classifier."),
    "latent": ("head.",),
}
LEARNED = pytest.mark.parametrize("learned", [False, True], ids=["static", "learned"])


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def skewed(source: LatentSource) -> LatentSource:
    """Give a source uneven weights and full covariances."""
    root = torch.randn(N_CLUSTERS, N_LATENT, N_LATENT)
    covariances = root @ root.mT + 0.2 * torch.eye(N_LATENT)
    source.start(torch.tensor([0.5, 0.3, 0.2]), torch.randn(N_CLUSTERS, N_LATENT), covariances)
    return source


def tiny(learned: bool = True, kind: str = "gaussian", **settings: float) -> gmgan.GMGAN:
    """A GM-GAN with smooth networks, in float64."""
    likelihood: Likelihood = Gaussian(N_FEATURES) if kind == "gaussian" else Bernoulli()
    encoder = nn.Sequential(nn.Linear(N_FEATURES, 5), nn.Tanh())
    decoder = nn.Sequential(nn.Linear(N_LATENT, 5), nn.Tanh(), nn.Linear(5, N_FEATURES))
    source = skewed(LatentSource(N_CLUSTERS, N_LATENT, learned=learned))
    head = NormalHead(5, N_LATENT)
    discriminator = copy.deepcopy(encoder)
    model = gmgan.GMGAN(encoder, head, decoder, likelihood, source, discriminator, **settings)
    return model.double()


def rows() -> Tensor:
    return torch.rand(N_ROWS, N_FEATURES, dtype=torch.float64)


def gradients(model: nn.Module, loss: Tensor) -> dict[str, float]:
    """Return the largest gradient of each learned weight, 0 where it has none."""
    model.zero_grad()
    loss.backward(retain_graph=True)
    return {
        name: 0.0 if weight.grad is None else float(weight.grad.abs().max())
        for name, weight in model.named_parameters()
        if weight.requires_grad
    }


def drawn(model: gmgan.GMGAN) -> tuple[Tensor, Tensor, Tensor]:
    return model.generate(N_ROWS)


# ------------------------------------------------------------------------------ the mixture


def test_from_nothing_the_means_are_uniform_and_the_clusters_round() -> None:
    source = LatentSource(4000, 2, mean_range=3.0, scale=0.7)
    assert source.loc.abs().max() < 3.0
    quartiles = source.loc.flatten().quantile(torch.tensor([0.25, 0.5, 0.75]))
    torch.testing.assert_close(quartiles, torch.tensor([-1.5, 0.0, 1.5]), atol=0.15, rtol=0)
    torch.testing.assert_close(source.covariances(), 0.49 * torch.eye(2).expand(4000, 2, 2))
    torch.testing.assert_close(source.log_prob_y().exp(), torch.full((4000,), 1 / 4000))


@LEARNED
def test_latents_have_the_moments_of_their_cluster(learned: bool) -> None:
    source = skewed(LatentSource(N_CLUSTERS, N_LATENT, learned=learned)).requires_grad_(False)
    for cluster in range(N_CLUSTERS):
        z = source.sample(torch.full((200_000,), cluster))
        torch.testing.assert_close(z.mean(0), source.loc[cluster], atol=0.03, rtol=0)
        torch.testing.assert_close(z.T.cov(), source.covariances()[cluster], atol=0.05, rtol=0.02)


def test_the_density_of_the_mixture_is_that_of_torch() -> None:
    source = skewed(LatentSource(N_CLUSTERS, N_LATENT)).double().requires_grad_(False)
    theirs = MixtureSameFamily(
        Categorical(probs=source.weights), MultivariateNormal(source.loc, source.covariances())
    )
    z = 3.0 * torch.randn(50, N_LATENT, dtype=torch.float64)
    torch.testing.assert_close(source.log_prob(z), theirs.log_prob(z))


def test_start_and_reorder_keep_the_clusters_whole() -> None:
    source = LatentSource(N_CLUSTERS, N_LATENT, learned=True)
    weights, loc = torch.tensor([0.5, 0.3, 0.2]), torch.randn(N_CLUSTERS, N_LATENT)
    root = torch.randn(N_CLUSTERS, N_LATENT, N_LATENT)
    covariances = root @ root.mT + 0.2 * torch.eye(N_LATENT)
    source.start(weights, loc, covariances)
    order = torch.tensor([2, 0, 1])
    source.reorder(order)
    torch.testing.assert_close(source.weights, weights[order])
    torch.testing.assert_close(source.loc.detach(), loc[order])
    torch.testing.assert_close(source.covariances().detach(), covariances[order])


def test_generated_rows_come_with_the_cluster_and_latent_they_were_drawn_from() -> None:
    model = tiny(kind="bernoulli").requires_grad_(False)
    y, z, x = model.generate(60_000)
    share = y.bincount(minlength=N_CLUSTERS) / len(y)
    torch.testing.assert_close(share, model.prior.weights.float(), atol=0.01, rtol=0)
    torch.testing.assert_close(x, model.decode(z))
    for cluster in range(N_CLUSTERS):
        mean = z[y == cluster].mean(0)
        torch.testing.assert_close(mean, model.prior.loc[cluster], atol=0.1, rtol=0)


def test_gaussian_rows_are_generated_with_their_noise() -> None:
    model = tiny().requires_grad_(False)
    model.likelihood.start(torch.tensor([0.5, 1.0, 2.0, 0.1]))
    _, z, x = model.generate(60_000)
    expected = model.likelihood.scale()
    torch.testing.assert_close((x - model.decode(z)).std(0), expected, rtol=0.02, atol=0)


# ------------------------------------------------------------------------------- the losses


def test_the_losses_are_their_definitions() -> None:
    model, x = tiny(penalty_weight=0.7), rows()
    y, z, generated = (part.detach() for part in drawn(model))
    terms = model.discriminator_terms(x, generated) | model.generator_terms(generated)
    terms |= model.recognition_terms(y, z, generated)

    def believed(rows: Tensor) -> Tensor:
        return torch.sigmoid(model.discriminator(rows).squeeze(1))

    slopes = torch.func.vmap(torch.func.jacrev(lambda row: model.discriminator(row)[0]))(x)
    q_y = Categorical(logits=model.classifier(model.encoder(generated)))
    q_z = Independent(Normal(*model.head(model.encoder(generated))), 1)
    expected = {
        "discriminator": -believed(x).log().mean() - (1 - believed(generated)).log().mean(),
        "gradient_penalty": slopes.square().sum(1).mean(),
        "generator": -believed(generated).log().mean(),
        "classifier": -q_y.log_prob(y).mean(),
        "latent": -q_z.log_prob(z).mean(),
    }
    assert list(terms) == list(expected) == TERMS
    for name, term in terms.items():
        torch.testing.assert_close(term, expected[name], msg=name)
    total = sum(expected.values(), torch.zeros(())) - 0.65 * expected["gradient_penalty"]
    torch.testing.assert_close(model.total(terms), total)


def test_one_step_is_all_the_losses_on_the_same_rows() -> None:
    model, x = tiny(information_weight=0.3), rows()
    torch.manual_seed(5)
    loss, terms = model(x, {})
    torch.manual_seed(5)
    y, z, generated = drawn(model)
    expected = model.discriminator_terms(x, generated) | model.generator_terms(generated)
    expected |= model.recognition_terms(y, z, generated)
    assert list(terms) == TERMS
    for name, term in terms.items():
        torch.testing.assert_close(term, expected[name].detach(), msg=name)
        assert not term.requires_grad
    torch.testing.assert_close(loss, model.total(expected))


def test_without_a_penalty_there_is_none() -> None:
    terms = tiny(penalty_weight=0.0)(rows(), {})[1]
    assert "gradient_penalty" not in terms


# -------------------------------------------------------------------- where the gradients go


@pytest.mark.parametrize("kind", ["gaussian", "bernoulli"])
def test_every_loss_moves_its_own_side_alone(kind: str) -> None:
    model, x = tiny(kind=kind), rows()
    y, z, generated = drawn(model)
    penalised = model.discriminator_terms(x, generated)
    losses = {
        "discriminator": penalised["discriminator"] + penalised["gradient_penalty"],
        **model.generator_terms(generated),
        **model.recognition_terms(y, z, generated.detach()),
    }
    for loss, term in losses.items():
        for name, gradient in gradients(model, term).items():
            assert (gradient > 0) == name.startswith(SIDES[loss]), (loss, name)


@pytest.mark.parametrize("information_weight", [0.0, 0.4])
def test_in_one_step_each_side_has_the_gradient_of_its_own_loss(information_weight: float) -> None:
    model, x = tiny(information_weight=information_weight), rows()
    torch.manual_seed(5)
    together = model(x, {})[0]
    model.zero_grad()
    together.backward()
    found = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    torch.manual_seed(5)
    y, z, generated = drawn(model)
    terms = model.discriminator_terms(x, generated) | model.generator_terms(generated)
    terms |= model.recognition_terms(y, z, generated)
    of = dict(model.named_parameters())
    own = {
        "generator": terms["generator"] + information_weight * terms["classifier"],
        "discriminator": terms["discriminator"] + 0.5 * terms["gradient_penalty"],
        "classifier": terms["classifier"],
        "latent": terms["latent"],
    }
    for side, loss in own.items():
        names = [name for name in of if name.startswith(SIDES[side])]
        expected = torch.autograd.grad(loss, [of[name] for name in names], retain_graph=True)
        for name, gradient in zip(names, expected, strict=True):
            torch.testing.assert_close(found[name], gradient, msg=name)
    assert len(found) == sum(name.startswith(sum(SIDES.values(), ())) for name in found)


@LEARNED
def test_a_learned_mixture_has_the_gradient_of_finite_differences(learned: bool) -> None:
    """Means, diagonals and what is below them, through z = mu_y + A_y u with u held."""
    model = tiny(learned, kind="bernoulli")
    names = ("loc", "lower", "log_diagonal")

    def loss() -> Tensor:
        torch.manual_seed(5)
        return model.generator_terms(model.generate(50)[2])["generator"]

    if not learned:
        loss().backward()
        assert all(getattr(model.prior, name).grad is None for name in names)
        return
    loss().backward()
    for name in names:
        weight = getattr(model.prior, name)
        place = (1, 0) if name != "lower" else (1, 1, 0)
        step = 1e-5
        with torch.no_grad():
            weight[place] += step
            above = loss()
            weight[place] -= 2 * step
            below = loss()
            weight[place] += step
        slope = float(above - below) / (2 * step)
        assert float(weight.grad[place]) == pytest.approx(slope, rel=1e-4)
        assert slope != 0


@pytest.mark.parametrize("stage", [gmgan.HeldGenerator, gmgan.Recognition])
def test_stages_against_a_held_generator_cannot_move_it(stage: Callable[..., nn.Module]) -> None:
    model, x = tiny(), rows()
    module = stage(model)
    mine = {id(weight) for weight in module.parameters()}
    held = [w for n, w in model.named_parameters() if n.startswith(SIDES["generator"])]
    assert not any(id(weight) in mine for weight in held)
    loss, terms = module(x, {})
    loss.backward()
    assert all(weight.grad is None for weight in held)
    assert all(weight.grad is not None for weight in module.parameters())
    torch.manual_seed(5)
    terms = module(x, {})[1]
    torch.manual_seed(5)
    whole = model(x, {})[1]
    for name, term in terms.items():
        torch.testing.assert_close(term, whole[name])


def test_the_loss_is_finite_where_the_discriminator_is_certain() -> None:
    model, x = tiny().float(), rows().float()
    with torch.no_grad():
        model.discriminator[1].weight.mul_(1e6)
    loss, _ = model(x, {})
    loss.backward()
    assert loss.isfinite()
    assert all(weight.grad.isfinite().all() for weight in model.parameters())


# ---------------------------------------------------------------------------- the estimator


def small(**settings: object) -> GMGAN:
    given = {
        "n_clusters": 3,
        "hidden": (32,),
        "n_latent": 2,
        "batch_size": 32,
        "learning_rate": 1e-2,
        "precision": "float32",
        "start": "gmm",
        "n_init": 3,
        "pretrain_epochs": 30,
        "epochs": 30,
        "random_state": 0,
    }
    return GMGAN(**(given | settings))


@LEARNED
def test_from_nothing_distant_groups_are_mostly_found(
    blobs: np.ndarray, classes: np.ndarray, learned: bool
) -> None:
    mixture = "learned" if learned else "static"
    settings = {"pretraining": None, "mixture": mixture, "epochs": 150, "latent_scale": 0.3}
    settings |= {"information_weight": 1.0}
    agreement = [
        adjusted_rand_score(classes, small(random_state=seed, **settings).fit(blobs).labels_)
        for seed in range(2)
    ]
    assert max(agreement) > 0.8
    assert min(agreement) > 0.3


def test_a_static_mixture_stays_and_a_learned_one_moves(blobs: np.ndarray) -> None:
    first = {"pretraining": None, "epochs": 3}
    static = small(**first).fit(blobs)
    spread = np.repeat(0.25 * np.eye(2)[None], 3, axis=0)
    np.testing.assert_allclose(static.covariances_, spread, rtol=1e-5)
    assert (np.abs(static.means_) <= 1.0).all()
    learned = small(**first, mixture="learned").fit(blobs)
    assert (np.abs(learned.covariances_ - spread) > 1e-4).all()
    np.testing.assert_allclose(learned.weights_, 1 / 3, rtol=1e-6)


def test_the_mixture_starts_where_pretraining_found_clusters(
    blobs: np.ndarray, classes: np.ndarray
) -> None:
    estimator = small().fit(blobs)
    assert adjusted_rand_score(classes, estimator.labels_) > 0.95
    np.testing.assert_allclose(estimator.weights_, np.array([50, 40, 30]) / 120, atol=0.02)
    stages = list(dict.fromkeys(record["stage"] for record in estimator.history_))
    assert stages == ["pretraining", "discriminator", "adversarial", "classifier"]
    assert list(estimator.timings_) == [*stages, "labels"]


def test_the_classifier_knows_its_generator(blobs: np.ndarray) -> None:
    estimator = small().fit(blobs)
    x, labels = estimator.sample(300, random_state=1)
    assert (estimator.predict(x) == labels).mean() > 0.9


def test_the_same_seed_gives_the_same_labels(blobs: np.ndarray) -> None:
    settings = {"pretraining": None, "epochs": 5, "mixture": "learned"}
    first, second = (small(**settings).fit(blobs) for _ in range(2))
    np.testing.assert_array_equal(first.predict_proba(blobs), second.predict_proba(blobs))
    np.testing.assert_array_equal(first.means_, second.means_)


def test_clusters_without_rows_are_told_as_mode_collapse(blobs: np.ndarray) -> None:
    collapsed = small(pretraining=None, epochs=1, classifier_epochs=0, n_clusters=12).fit(blobs)
    assert collapsed.n_used_clusters_ < 12
    assert "mode collapse" in collapsed.decisions_[-1]
    assert "mode collapse" not in " ".join(small().fit(blobs).decisions_)


def test_it_has_no_density_and_says_so(blobs: np.ndarray) -> None:
    estimator = small(epochs=1)
    assert not hasattr(estimator, "score_samples")
    assert not hasattr(estimator, "score")
    with pytest.raises(AttributeError, match="no density"):
        estimator.fit(blobs).score_samples(blobs)


@pytest.mark.parametrize("network", ["mlp", "convolutional"])
def test_images(images: np.ndarray, network: str, tmp_path: object) -> None:
    estimator = small(network=network, epochs=1, pretrain_epochs=1).fit(images)
    assert estimator.sample(2)[0].shape == (2, 8, 8)
    estimator.save(f"{tmp_path}/model")
    np.testing.assert_array_equal(load(f"{tmp_path}/model").predict(images), estimator.labels_)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"mixture": "dynamic"}, ValueError, "mixture='dynamic' is not known.*'learned'"),
        ({"mean_range": 0.0}, ValueError, "mean_range=0.0 must be above 0"),
        ({"latent_scale": -1.0}, ValueError, "latent_scale=-1.0 must be above 0"),
        ({"information_weight": -0.1}, ValueError, "information_weight=-0.1 must be at least 0"),
        ({"penalty_weight": math.inf}, ValueError, "penalty_weight=inf must be"),
        ({"penalty_weight": "1"}, TypeError, "penalty_weight must be a number"),
        ({"classifier_epochs": -1}, ValueError, "classifier_epochs=-1 must be at least 0"),
    ],
)
def test_parameters_are_checked(
    blobs: np.ndarray, settings: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        small(**settings).fit(blobs)
