"""NVISA's bound against numerical integration, and what its estimator does with its choices.

The models are tiny (three clusters, a latent of one or two dimensions, float64), so that every
expectation over y and z can be summed by formulas that share no code with the model.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score
from torch import Tensor, nn
from torch.distributions import Bernoulli as BernoulliDistribution
from torch.distributions import Categorical, Normal
from torch.func import functional_call

import deepmixture
from deepmixture import gradients
from deepmixture.estimator import LatentMixtureEstimator
from deepmixture.likelihoods import Bernoulli, LearnedGaussian, Likelihood
from deepmixture.models.nvisa import NVISA, HeldNVISA
from deepmixture.nets import ClusterHead
from deepmixture.priors import DiagonalMixture
from deepmixture.progress import Silent

Make = Callable[..., LatentMixtureEstimator]
N_FEATURES, N_ROWS, K = 3, 4, 3
TERMS = ["reconstruction", "mixture_prior", "assignment", "latent_entropy", "cluster_entropy"]
LIKELIHOODS = pytest.mark.parametrize("kind", ["bernoulli", "gaussian_learned"])
FORMS = pytest.mark.parametrize("mean_field", [False, True])


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def tiny(
    kind: str = "bernoulli",
    mean_field: bool = False,
    gradient: gradients.Gradient | None = None,
    n_latent: int = 1,
) -> NVISA:
    """A model with smooth networks, in float64, far from its first weights."""
    likelihood: Likelihood = Bernoulli() if kind == "bernoulli" else LearnedGaussian(0.1)
    outputs = likelihood.n_parameters * N_FEATURES
    encoder = nn.Sequential(nn.Linear(N_FEATURES, 5), nn.Tanh())
    decoder = nn.Sequential(nn.Linear(n_latent, 5), nn.Tanh(), nn.Linear(5, outputs))
    head = ClusterHead(5, n_latent, K, width=6, mean_field=mean_field)
    prior = DiagonalMixture(K, n_latent)
    weights = torch.tensor([0.2, 0.5, 0.3])
    prior.start(weights, torch.randn(K, n_latent), 0.3 + 0.5 * torch.rand(K, n_latent))
    model = NVISA(encoder, head, decoder, likelihood, prior, gradient or gradients.Exact())
    nn.init.normal_(head.change.weight, std=0.5)
    nn.init.normal_(head.raw_scale.weight, std=0.3)
    nn.init.normal_(model.classifier.weight)
    return model.double()


def rows(n: int = N_ROWS) -> Tensor:
    return torch.rand(n, N_FEATURES, dtype=torch.float64)


class Integrals:
    """Everything about a tiny model with D = 1, summed over a grid of z (n,)."""

    def __init__(self, model: NVISA, x: Tensor) -> None:
        z = torch.linspace(-14, 14, 4001, dtype=torch.float64)
        self.step = float(z[1] - z[0])
        features = model.encoder(x)
        self.q_y = model.classifier(features).softmax(1)  # (B, K)
        mean, raw_scale = model.head.mean(features), model.head.raw_scale(features)
        met = model.head.hidden(features)[:, None]  # (B, 1, W)
        if model.head.embedding is not None:
            met = met + model.head.embedding.weight.T
        change = model.head.change(met.relu())  # (B, K or 1, 2)
        mean = mean[:, None] + change[..., :1]
        scale = nn.functional.softplus(raw_scale[:, None] + change[..., 1:]) + model.head.floor
        q_z = Normal(mean.expand(-1, K, 1), scale.expand(-1, K, 1))
        self.log_q_z = q_z.log_prob(z)  # (B, K, n)
        self.q_z = self.log_q_z.exp() * self.step
        p_z = Normal(model.prior.loc, model.prior.log_scale.exp())
        self.log_p_z_y = p_z.log_prob(z)  # (K, n)
        self.log_p_y = model.prior.logits.log_softmax(0)
        h = model.decoder(z[:, None])  # (n, P)
        if isinstance(model.likelihood, LearnedGaussian):
            location, raw = h.chunk(2, -1)
            scale_x = nn.functional.softplus(raw) + model.likelihood.floor
            p_x_z = Normal(location[:, None], scale_x[:, None])
        else:
            p_x_z = BernoulliDistribution(logits=h[:, None], validate_args=False)
        self.log_p_x_z = p_x_z.log_prob(x).sum(-1).T  # (B, n)

    def log_p_x_y(self) -> Tensor:
        """Log p(x, y), shape (B, K)."""
        joint = self.log_p_x_z[:, None] + self.log_p_z_y
        return self.log_p_y + joint.logsumexp(-1) + math.log(self.step)

    def log_p_x(self) -> Tensor:
        return self.log_p_x_y().logsumexp(1)

    def terms(self) -> dict[str, Tensor]:
        def expected(part: Tensor) -> Tensor:
            return torch.einsum("bk,bkn,bkn->b", self.q_y, self.q_z, part.expand_as(self.q_z))

        return {
            "reconstruction": expected(self.log_p_x_z[:, None]),
            "mixture_prior": expected(self.log_p_z_y),
            "assignment": self.q_y @ self.log_p_y,
            "latent_entropy": -expected(self.log_q_z),
            "cluster_entropy": Categorical(probs=self.q_y).entropy(),
        }


@LIKELIHOODS
@FORMS
def test_every_term_is_its_integral(kind: str, mean_field: bool) -> None:
    """By the mean over many copies of a row, each with noise of its own."""
    model, x = tiny(kind, mean_field).requires_grad_(False), rows(2)
    loss, terms = model(x.repeat(20_000, 1), {})
    expected = Integrals(model, x).terms()
    assert list(terms) == list(expected) == TERMS
    for name, term in terms.items():
        torch.testing.assert_close(term, expected[name].mean(), rtol=0, atol=0.03, msg=name)
    torch.testing.assert_close(loss, -torch.stack(list(terms.values())).sum())
    assert -loss < Integrals(model, x).log_p_x().mean()


@pytest.mark.parametrize("n_samples", [2, 8, 32])
def test_the_bound_of_vimco_lies_between_the_other_bound_and_the_evidence(n_samples: int) -> None:
    model, x = tiny(gradient=gradients.VIMCO(n_samples)).requires_grad_(False), rows(1)
    loss, _ = model(x.repeat(100_000 // n_samples, 1), {})
    integrals = Integrals(model, x)
    elbo, evidence = sum(integrals.terms().values()), integrals.log_p_x()
    assert float(elbo) < float(-loss) < float(evidence) + 0.01
    gap = {2: 0.9, 8: 0.6, 32: 0.35}[n_samples]
    assert float(evidence + loss) < gap * float(evidence - elbo)


@FORMS
def test_the_bound_meets_the_evidence_where_q_is_the_posterior(mean_field: bool) -> None:
    """A decoder that ignores z: then p(y|x) is p(y), and p(z|y, x) is p(z|y)."""
    model, x = tiny(mean_field=mean_field).requires_grad_(False), rows()
    for layer in (model.head.mean, model.head.raw_scale, model.head.hidden, model.classifier):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    nn.init.zeros_(model.decoder[0].weight)
    model.classifier.bias.copy_(model.prior.log_prob_y())
    if mean_field:  # the posterior then factorises for clusters alike
        model.prior.loc.fill_(0.3)
        model.prior.log_scale.fill_(-0.4)
        model.head.start_scale(torch.tensor([math.exp(-0.4)]))
        nn.init.constant_(model.head.mean.bias, 0.3)
        nn.init.zeros_(model.head.change.weight)
        nn.init.zeros_(model.head.change.bias)
    else:  # the embedding of a cluster leads to its own mean and deviation
        assert model.head.embedding is not None
        nn.init.zeros_(model.head.embedding.weight)
        model.head.embedding.weight[:K] = torch.eye(K)
        raw = model.prior.log_scale.exp().expm1().log()
        nn.init.zeros_(model.head.change.weight)
        nn.init.zeros_(model.head.change.bias)
        model.head.change.weight[:, :K] = torch.cat([model.prior.loc, raw], 1).T
    loss, _ = model(x, {})
    torch.testing.assert_close(-loss, Integrals(model, x).log_p_x().mean())


@LIKELIHOODS
@FORMS
def test_importance_weights_average_to_the_evidence(kind: str, mean_field: bool) -> None:
    """Over even quantiles of y and, for z, a grid of noise weighted by its density."""
    model, x = tiny(kind, mean_field).requires_grad_(False), rows()
    side = 1000
    quantiles = torch.special.ndtri((torch.arange(side, dtype=torch.float64) + 0.5) / side)
    grid = torch.linspace(-9, 9, 121, dtype=torch.float64)
    noise = torch.cartesian_prod(quantiles, grid)[:, None]  # (S, 1, 2)
    density = Normal(0.0, 1.0).log_prob(noise[..., 1]) + math.log(18 / 120 / side)
    average = (model.log_weights(x, noise) + density).logsumexp(0)
    torch.testing.assert_close(average, Integrals(model, x).log_p_x(), rtol=0, atol=3e-3)
    alone = model.log_weights(x, noise.expand(-1, N_ROWS, -1))
    torch.testing.assert_close(alone, model.log_weights(x, noise))


@LIKELIHOODS
@FORMS
def test_gradients_are_those_of_finite_differences(kind: str, mean_field: bool) -> None:
    """Of the loss with its noise held, in every weight."""
    model, x = tiny(kind, mean_field, n_latent=2), rows(2)
    names, weights = zip(*model.named_parameters(), strict=True)

    def loss(*given: Tensor) -> Tensor:
        torch.manual_seed(3)
        return functional_call(model, dict(zip(names, given, strict=True)), (x, {}))[0]

    assert torch.autograd.gradcheck(loss, weights)
    found = torch.autograd.grad(loss(*weights), weights)
    assert all(gradient.abs().sum() > 0 for gradient in found)


@pytest.mark.parametrize("name", ["top-k", "nvil"])
def test_sampled_gradients_are_those_of_enumeration_on_average(name: str) -> None:
    """In the weights of q(y|x), shared by all rows, over noise in y and z."""
    model, x = tiny(), rows(1).repeat(4000, 1)
    exact = model.gradient
    sampled = gradients.make(name, K, 2, 5).double()
    if isinstance(sampled, gradients.NVIL):
        sampled.normalise = False
    found: dict[gradients.Gradient, list[Tensor]] = {exact: [], sampled: []}
    for _ in range(30):
        for gradient, sums in found.items():
            model.gradient = gradient
            loss, _ = model(x, {})
            sums.append(torch.autograd.grad(loss, model.classifier.bias)[0])
    exactly, estimates = (torch.stack(sums) for sums in found.values())
    error = (estimates.var(0) / 30 + exactly.var(0) / 30).sqrt()
    assert ((estimates.mean(0) - exactly.mean(0)).abs() < 4.5 * error).all()
    assert (error < 0.2 * exactly.mean(0).abs().max()).all()


def test_a_row_is_decoded_once_for_all_clusters_in_one_call() -> None:
    model, x = tiny(), rows()
    calls = []
    model.decoder.register_forward_hook(lambda _, given, __: calls.append(given[0].shape))
    encoded = []
    model.encoder.register_forward_hook(lambda _, given, __: encoded.append(given[0].shape))
    model(x, {})
    assert calls == [(K, N_ROWS, 1)]
    assert encoded == [(N_ROWS, N_FEATURES)]


def test_only_the_structured_form_knows_y() -> None:
    x, y = rows(), torch.eye(K, dtype=torch.float64)[:, None].expand(K, N_ROWS, K)
    for mean_field in (False, True):
        model = tiny(mean_field=mean_field)
        mean, scale = model.head(model.encoder(x), y)
        assert mean.shape == scale.shape == (K, N_ROWS, 1)
        assert torch.equal(mean[0], mean[1]) == torch.equal(scale[0], scale[1]) == mean_field


def test_a_fresh_head_leaves_the_pretrained_mean() -> None:
    head, features = ClusterHead(5, 2, K), torch.randn(N_ROWS, 5)
    nn.init.normal_(head.raw_scale.weight)
    nn.init.normal_(head.change.weight[2:])
    head.start_scale(torch.tensor([1e-3, 40.0]))
    head.floor.fill_(0.5)
    y = torch.eye(K)[:, None].expand(K, N_ROWS, K)
    mean, scale = head(features, y)
    torch.testing.assert_close(mean, head.mean(features).expand(K, -1, -1))
    torch.testing.assert_close(scale, torch.tensor([0.501, 40.5]).expand(K, N_ROWS, -1))
    torch.testing.assert_close(head(features)[1], scale[0])


def test_the_floor_is_below_both_deviations() -> None:
    model, x = tiny("gaussian_learned"), rows()
    z = torch.randn(5, 1, dtype=torch.float64)
    y = torch.eye(K, dtype=torch.float64)[:, None].expand(K, N_ROWS, K)
    first = (
        model.head(model.encoder(x), y)[1],
        model.likelihood.mean_and_scale(model.decoder(z))[1],
    )
    model(x, {"scale_floor": torch.tensor(0.75)})
    after = (
        model.head(model.encoder(x), y)[1],
        model.likelihood.mean_and_scale(model.decoder(z))[1],
    )
    torch.testing.assert_close(after[0], first[0] + 0.75)
    torch.testing.assert_close(after[1], first[1] + 0.75 - 0.1)


def test_held_responsibilities_take_the_place_of_q() -> None:
    model, x = tiny().requires_grad_(False), rows(2)
    held = torch.tensor([[0.1, 0.2, 0.7], [0.6, 0.4, 0.0]], dtype=torch.float64)
    _, terms = HeldNVISA(model)(x.repeat(40_000, 1), held.repeat(40_000, 1), {})
    integrals = Integrals(model, x)
    log_q_y, integrals.q_y = integrals.q_y.log(), held
    expected = integrals.terms()
    for name in TERMS[:-1]:
        torch.testing.assert_close(terms[name], expected[name].mean(), rtol=0, atol=0.03)
    torch.testing.assert_close(terms["taught"], (held * log_q_y).sum(1).mean())


def test_renumbering_changes_names_and_nothing_else() -> None:
    model, x, order = tiny().requires_grad_(False), rows(), torch.tensor([2, 0, 1])
    noise = torch.randn(50, 1, 2, dtype=torch.float64)
    noise[..., 0] = -40.0  # the first cluster, whichever it is
    log_q_y, latent, weights = model.log_q_y(x), model.latent(x), model.prior.log_prob_y()
    y = torch.eye(K, dtype=torch.float64)[:, None].expand(K, N_ROWS, K)
    terms = model.log_joint(x, model.encoder(x), y, noise[:1, :, 1:])
    model.reorder(order)
    torch.testing.assert_close(model.log_q_y(x), log_q_y[:, order])
    torch.testing.assert_close(model.latent(x), latent)
    torch.testing.assert_close(model.prior.log_prob_y(), weights[order])
    for name, term in model.log_joint(x, model.encoder(x), y, noise[:1, :, 1:]).items():
        torch.testing.assert_close(term, terms[name].expand(K, N_ROWS)[order].expand_as(term))


# ------------------------------------------------------------------------------- the estimator


class Watch(Silent):
    """Remembers the floors of the model at the end of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.model: NVISA | None = None
        self.floors: list[tuple[str, float, float]] = []

    def end_epoch(self, record: dict[str, str | int | float]) -> None:
        assert self.model is not None
        floors = float(self.model.head.floor), float(self.model.likelihood.floor)
        self.floors.append((str(record["stage"]), *floors))


def watched(
    monkeypatch: pytest.MonkeyPatch, blobs: np.ndarray, estimator: LatentMixtureEstimator
) -> list[tuple[str, float, float]]:
    watch = Watch()
    build = type(estimator)._build

    def remember(self: LatentMixtureEstimator) -> None:
        build(self)
        watch.model = self.model_

    monkeypatch.setattr(type(estimator), "_build", remember)
    estimator.fit(blobs, callback=watch)
    return [floors for floors in watch.floors if floors[0] != "pretraining"]


def test_halving_moves_both_floors_in_steps(
    make: Make, blobs: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimator = make(
        "nvisa",
        likelihood="gaussian_learned",
        annealing="halving",
        halving_epochs=3,
        scale_floor=0.8,
        least_scale_floor=0.15,
        epochs=14,
        hold_epochs=2,
    )
    floors = watched(monkeypatch, blobs, estimator)
    expected = [0.8] * 2 + [0.8] * 3 + [0.4] * 3 + [0.2] * 3 + [0.15] * 3
    assert [stage for stage, *_ in floors] == ["taking shape"] * 2 + ["evidence"] * 12
    for (_, head, likelihood), value in zip(floors, expected, strict=True):
        assert head == pytest.approx(likelihood) == pytest.approx(value)


def test_the_geometric_schedule_goes_smoothly_and_stays(
    make: Make, blobs: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimator = make(
        "nvisa", start="random", annealing="geometric", least_scale_floor=1 / 64, epochs=12
    )
    monkeypatch.setattr(estimator, "likelihood", "gaussian_learned")
    floors = np.array([head for _, head, _ in watched(monkeypatch, blobs, estimator)])
    ratios = floors[1:] / floors[:-1]
    np.testing.assert_allclose(ratios[:6], ratios[0], rtol=1e-3)
    assert ratios[0] == pytest.approx(64 ** (-1 / 8), rel=0.05)
    np.testing.assert_allclose(floors[8:], 1 / 64, rtol=1e-6)


def test_without_annealing_the_floor_is_the_last_one(make: Make, blobs: np.ndarray) -> None:
    settings = {"annealing": None, "least_scale_floor": 0.03, "epochs": 2}
    estimator = make("nvisa", likelihood="gaussian_learned", **settings).fit(blobs)
    assert float(estimator.model_.head.floor) == pytest.approx(0.03)
    assert float(estimator.model_.likelihood.floor) == pytest.approx(0.03)


@pytest.mark.parametrize("mean_field", [False, True])
@pytest.mark.parametrize("gradient", gradients.NAMES)
def test_every_gradient_keeps_the_clusters(
    make: Make, blobs: np.ndarray, classes: np.ndarray, gradient: str, mean_field: bool
) -> None:
    estimator = make("nvisa", gradient=gradient, mean_field=mean_field, n_samples=2).fit(blobs)
    assert adjusted_rand_score(classes, estimator.labels_) > 0.9
    assert np.isfinite(estimator.score(blobs))
    for record in estimator.history_:
        if record["stage"] == "evidence":
            assert set(TERMS) <= record.keys()


def test_clusters_are_found_from_nothing(
    make: Make, blobs: np.ndarray, classes: np.ndarray
) -> None:
    settings = {"start": "random", "likelihood": "gaussian_learned", "least_scale_floor": 0.3}
    settings |= {"annealing": "geometric", "gradient": "exact"}
    estimator = make("nvisa", epochs=60, random_state=3, **settings).fit(blobs)
    assert {record["stage"] for record in estimator.history_} == {"evidence"}
    assert adjusted_rand_score(classes, estimator.labels_) > 0.8


def test_the_start_is_taught(make: Make, blobs: np.ndarray) -> None:
    """q(y|x) alone, after the held passes, says what the mixture on the latent said."""
    estimator = make("nvisa", epochs=20, hold_epochs=20).fit(blobs)
    reference = deepmixture.AEGMM(
        **{
            name: value
            for name, value in estimator.get_params(deep=False).items()
            if name in deepmixture.AEGMM().get_params()
        }
    ).fit(blobs)
    assert adjusted_rand_score(reference.labels_, estimator.labels_) > 0.95
    assert estimator.predict_proba(blobs).max(1).mean() > 0.9


def test_clusters_are_renumbered_with_all_that_is_theirs(make: Make, blobs: np.ndarray) -> None:
    estimator = make("nvisa").fit(blobs)
    sizes = np.bincount(estimator.labels_, minlength=3)
    assert (np.diff(sizes) <= 0).all()
    np.testing.assert_array_equal(estimator.predict(blobs), estimator.labels_)
    latent = estimator.transform(blobs)
    for cluster in range(3):
        own = latent[estimator.labels_ == cluster].mean(0)
        distances = np.linalg.norm(estimator.means_ - own, axis=1)
        assert distances.argmin() == cluster


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gradient": "reinforce"}, "gradient='reinforce' is not known; expected one of 'exact'"),
        ({"start": "spectral"}, "start='spectral' is not known; expected one of .*'random'"),
        ({"annealing": "cosine"}, "annealing='cosine' is not known"),
        ({"gradient": "vimco", "n_samples": 1}, "n_samples=1 is too few for VIMCO"),
        ({"scale_floor": 0.0}, "scale_floor=0.0 must be above 0"),
        ({"least_temperature": -1.0}, "least_temperature=-1.0 must be above 0"),
        ({"halving_epochs": 0}, "halving_epochs=0 must be at least 1"),
    ],
)
def test_bad_choices_are_named(
    make: Make, blobs: np.ndarray, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make("nvisa", **settings).fit(blobs)


def test_vade_takes_no_random_start(make: Make, blobs: np.ndarray) -> None:
    with pytest.raises(ValueError, match="start='random' is not known"):
        make("vade", start="random").fit(blobs)
