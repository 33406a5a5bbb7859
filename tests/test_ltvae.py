"""LTVAE: its bound against integrals, the search for its tree on planted facets, its estimator."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score
from torch import Tensor, nn
from torch.distributions import Bernoulli as BernoulliDistribution
from torch.distributions import MultivariateNormal, Normal
from torch.func import functional_call

import deepmixture
from deepmixture.estimator import LatentMixtureEstimator
from deepmixture.latent_tree import LatentTree, Structure
from deepmixture.likelihoods import Bernoulli
from deepmixture.models.ltvae import LTVAE, HeldLTVAE
from deepmixture.nets import NormalHead
from deepmixture.tree_search import TreeSearch, chow_liu, pairwise_information

Make = Callable[..., LatentMixtureEstimator]
N_FEATURES, N_ROWS = 3, 4
TERMS = ["reconstruction", "tree_prior", "latent_entropy"]
STRUCTURES = {
    1: Structure((3,), (-1,), (((0,),),)),
    2: Structure((2, 3), (-1, 0), (((1,),), ((0,),))),
}
LATENTS = pytest.mark.parametrize("n_latent", [1, 2])


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def tiny(n_latent: int) -> LTVAE:
    """An LTVAE with smooth networks, in float64; in two dimensions with two facets."""
    tree = LatentTree(STRUCTURES[n_latent]).double()
    z = torch.randn(40, n_latent, dtype=torch.float64)
    states = tree.structure.n_states
    tree.start(z, [torch.randn(40, k).double().mul(3).softmax(1) for k in states], floor=1e-3)
    encoder = nn.Sequential(nn.Linear(N_FEATURES, 5), nn.Tanh())
    decoder = nn.Sequential(nn.Linear(n_latent, 5), nn.Tanh(), nn.Linear(5, N_FEATURES))
    model = LTVAE(encoder, NormalHead(5, n_latent), decoder, Bernoulli(), tree).double()
    nn.init.normal_(model.head.log_scale.weight, std=0.3)
    nn.init.constant_(model.head.log_scale.bias, -0.5)
    return model


def rows() -> Tensor:
    return torch.rand(N_ROWS, N_FEATURES, dtype=torch.float64)


class Integrals:
    """Everything about a tiny model, summed over a grid of z (n, D) and all states."""

    def __init__(self, model: LTVAE, x: Tensor) -> None:
        tree = model.prior
        n_latent = tree.structure.n_latent
        axis = torch.linspace(-7, 7, 4001 if n_latent == 1 else 301, dtype=torch.float64)
        z = torch.cartesian_prod(*[axis] * n_latent).reshape(-1, n_latent)
        self.volume = float(axis[1] - axis[0]) ** n_latent
        normals = []
        for pouch in tree.pouches:
            normal = MultivariateNormal(pouch.loc, pouch.covariance)
            normals.append(normal.log_prob(z[:, None, pouch.dimensions]).exp())  # (n, K)
        p_root = tree.joint_0[0]
        if n_latent == 1:
            joint = p_root * normals[0]
        else:
            table = tree.joint_1 / tree.joint_1.sum(1, keepdim=True)
            joint = p_root * normals[0] * (normals[1] @ table.T)
        self.p_z = joint.sum(1)
        self.log_p_y_z = (joint / self.p_z[:, None]).log()
        h = model.decoder(z)[:, None]
        self.log_p_x_z = BernoulliDistribution(logits=h, validate_args=False).log_prob(x).sum(-1)
        self.q_z_x = Normal(*model.q_z(x))
        self.q_z = self.q_z_x.log_prob(z[:, None]).sum(-1).exp().T * self.volume  # (B, n)

    def log_p_x(self) -> Tensor:
        return (self.p_z @ self.log_p_x_z.exp() * self.volume).log()

    def terms(self, log_r: Tensor | None = None) -> dict[str, Tensor]:
        terms = {
            "reconstruction": (self.q_z * self.log_p_x_z.T).sum(1),
            "tree_prior": self.q_z @ self.p_z.log(),
            "latent_entropy": self.q_z_x.entropy().sum(1),
        }
        if log_r is not None:
            terms["held"] = (log_r.exp() * (self.q_z @ self.log_p_y_z - log_r)).sum(1)
        return terms


def even_noise(n_latent: int) -> Tensor:
    """Noise (S, 1, D) that covers the standard normal evenly: a sum over S is a quadrature."""
    side = 4000 if n_latent == 1 else 300
    points = torch.special.ndtri((torch.arange(side, dtype=torch.float64) + 0.5) / side)
    points = points / points.square().mean().sqrt()
    return torch.cartesian_prod(*[points] * n_latent).reshape(-1, 1, n_latent)


# ------------------------------------------------------------------------------ the model


@LATENTS
@pytest.mark.parametrize("held", [False, True])
def test_every_term_is_its_integral_and_their_sum_below_the_evidence(
    n_latent: int, held: bool
) -> None:
    model, x = tiny(n_latent).requires_grad_(False), rows()
    states = model.prior.structure.n_states[0]
    log_r = torch.randn(N_ROWS, states).double().log_softmax(1) if held else None
    terms, z = model.bound(x, even_noise(n_latent), log_r)
    expected = Integrals(model, x).terms(log_r)
    assert list(terms) == list(expected) == TERMS + ["held"] * held
    for name, term in terms.items():
        torch.testing.assert_close(term, expected[name], rtol=0, atol=3e-3, msg=name)
    assert (sum(terms.values()) < Integrals(model, x).log_p_x()).all()
    if held:
        assert (terms["held"] < 0).all()
    torch.testing.assert_close(z.mean(0), model.latent(x), rtol=0, atol=1e-6)


@LATENTS
def test_importance_weights_average_to_the_evidence(n_latent: int) -> None:
    model, x = tiny(n_latent).requires_grad_(False), rows()
    axis = torch.linspace(-16, 16, 401, dtype=torch.float64)
    noise = torch.cartesian_prod(*[axis] * n_latent).reshape(-1, n_latent)
    log_q = Normal(0.0, 1.0).log_prob(noise).sum(1) + n_latent * np.log(32 / 400)
    average = (model.log_weights(x, noise[:, None]) + log_q[:, None]).logsumexp(0)
    torch.testing.assert_close(average, Integrals(model, x).log_p_x(), rtol=0, atol=1e-4)


@LATENTS
def test_gradients_are_those_of_finite_differences(n_latent: int) -> None:
    model, x = tiny(n_latent), rows()
    noise = torch.randn(2, N_ROWS, n_latent, dtype=torch.float64)
    log_r = torch.randn(N_ROWS, STRUCTURES[n_latent].n_states[0]).double().log_softmax(1)
    names, weights = zip(*model.named_parameters(), strict=True)
    model.forward = model.bound  # type: ignore[assignment, method-assign]

    def bound(*given: Tensor) -> Tensor:
        parameters = dict(zip(names, given, strict=True))
        terms, _ = functional_call(model, parameters, (x, noise, log_r))
        return torch.stack(list(terms.values())).sum(0)

    assert torch.autograd.gradcheck(bound, weights)


def test_in_training_the_tree_takes_a_step_of_em_on_the_same_latents() -> None:
    model, x = tiny(2), rows().float()
    model = model.float()
    model.n_samples, model.decay, model.steps_taken = 3, 0.7, 5.0
    expected = LatentTree(model.prior.structure)
    expected.load_state_dict(model.prior.state_dict())
    torch.manual_seed(5)
    loss, terms = model(x, {})
    loss.backward()
    torch.manual_seed(5)
    bound, z = model.bound(x, torch.randn(3, N_ROWS, 2))
    assert model.steps_taken == 6.0
    assert model.step_size() == pytest.approx(8.0**-0.7)
    expected.update(z.detach().flatten(0, 1), 7.0**-0.7)
    for ours, theirs in zip(model.prior.buffers(), expected.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert list(terms) == TERMS
    assert not any(term.requires_grad for term in terms.values())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    # With the tree as it was before, the loss is the negative bound of the mean row.
    reconstruction = bound["reconstruction"].mean()
    torch.testing.assert_close(terms["reconstruction"], reconstruction.detach())
    torch.testing.assert_close(loss.detach(), -torch.stack(list(terms.values())).sum())


def test_out_of_training_the_tree_stays() -> None:
    model, x = tiny(2).eval(), rows()
    before = [buffer.clone() for buffer in model.prior.buffers()]
    model(x, {})
    assert all(map(torch.equal, before, model.prior.buffers()))


def test_held_responsibilities_may_be_zero_and_reach_the_tree() -> None:
    model = tiny(1).float()
    x = torch.rand(30, N_FEATURES)
    r = torch.eye(3)[torch.arange(30) % 2]
    model.decay = 0.05
    for _ in range(60):
        loss, _ = HeldLTVAE(model)(x, r, {})
        loss.backward()
        assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    weights = model.prior.log_prob_y().exp()
    torch.testing.assert_close(weights, torch.tensor([0.5, 0.5, 0.0]), rtol=0, atol=0.02)


# ------------------------------------------------------------------------- the structure


def planted(n: int = 900, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latents of two dependent facets: dimensions 0, 2, 3 of 3 states and 1, 4 of 2 states."""
    rng = np.random.default_rng(seed)
    y1 = rng.integers(0, 3, n)
    y2 = np.where(rng.random(n) < 0.6, y1 % 2, rng.integers(0, 2, n))
    z = rng.normal(size=(n, 5))
    z[:, [0, 2, 3]] += 6.0 * np.array([[1, 0, 1], [-1, 1, 0], [0, -1, -1]])[y1]
    z[:, [1, 4]] += 6.0 * np.array([[1, 0], [0, 1]])[y2]
    return z, y1, y2


@pytest.fixture(scope="module")
def grown() -> LatentTree:
    return TreeSearch(planted()[0], most_states=4, seed=0).grow()


def test_the_search_recovers_a_planted_structure(grown: LatentTree) -> None:
    z, y1, y2 = planted()
    structure = grown.structure
    found = {structure.dimensions(f): f for f in range(len(structure.parents))}
    assert set(found) == {(0, 2, 3), (1, 4)}
    posteriors = grown.facets(torch.from_numpy(z))
    for dimensions, states, y in (((0, 2, 3), 3, y1), ((1, 4), 2, y2)):
        facet = found[dimensions]
        assert structure.n_states[facet] == states
        assert adjusted_rand_score(y, posteriors[facet].argmax(1)) > 0.95
    # Given the states the dimensions are independent, and a pouch each has fewer parameters.
    assert all(len(pouch) == 1 for facet in structure.pouches for pouch in facet)
    table = grown.log_table(1).exp()
    assert float((table[0] - table[1]).abs().max()) > 0.2  # the facets depend on each other


def test_the_found_tree_is_better_than_one_facet_and_than_independent_ones(
    grown: LatentTree,
) -> None:
    search = TreeSearch(planted()[0], most_states=6, seed=0)
    bic = grown.bic(search.z)
    for groups in ([range(5)], [(0, 2, 3), (1,), (4,)], [(0, 1), (2, 3, 4)]):
        assert search.partitioned(groups).bic(search.z) < bic


def test_greedy_grouping_finds_the_facets_already() -> None:
    search = TreeSearch(planted()[0], most_states=4, seed=0)
    assert {facet.dimensions for facet in search.islands()} == {(0, 2, 3), (1, 4)}
    assert sorted(search.groups(2)) == [[0, 2, 3], [1, 4]]
    assert sorted(map(sorted, search.halves([0, 1, 2, 3, 4]))) == [[0, 2, 3], [1, 4]]


@pytest.mark.parametrize("groups", [[(0, 1), (2, 3, 4)], [(0, 2), (3,), (1, 4)]])
def test_climbing_never_lowers_the_criterion_and_ends_at_the_plan(
    grown: LatentTree, groups: list[tuple[int, ...]]
) -> None:
    search = TreeSearch(planted()[0], most_states=4, seed=0)
    begun = search.partitioned(groups)
    before = begun.bic(search.z)
    tree = search.climb(begun)
    assert tree.bic(search.z) >= before
    assert tree.bic(search.z) == pytest.approx(grown.bic(search.z), abs=30)


def test_every_operator_is_among_the_moves() -> None:
    """And every move leaves a partition of the dimensions."""
    search = TreeSearch(planted()[0], most_states=8, seed=0)
    facets = [search.facet((0, 2, 4)), search.facet((1, 3))]
    states = [facet.responsibilities.shape[1] for facet in facets]
    shapes = set()
    for moved in search.moves(facets, keep_root=False):
        tree = search.tree(moved)  # refuses what is no partition
        shapes.add(
            (
                tree.structure.n_states,
                tuple(sorted(map(tree.structure.dimensions, range(len(moved))))),
                sum(map(len, tree.structure.pouches)),
            )
        )
    same = tuple(sorted(((0, 2, 4), (1, 3))))
    assert ((states[0], states[1] + 1), same, 2) in shapes  # state introduction
    assert ((states[0], states[1] - 1), same, 2) in shapes  # state deletion
    assert ((states[0], states[1]), same, 3) in shapes  # unpouching
    partitions = {shape[1] for shape in shapes}
    assert ((0, 2), (1, 3, 4)) in partitions  # relocation
    assert ((0, 1, 2, 3, 4),) in partitions  # facet deletion
    assert any(len(partition) == 3 for partition in partitions)  # facet introduction
    apart = [type(facets[0])(((0, 2), (4,)), facets[0].responsibilities), facets[1]]
    joined = [moved[0].pouches for moved in search.moves(apart, keep_root=False)]
    assert ((0, 2, 4),) in joined  # pouching


def test_a_kept_root_keeps_its_states() -> None:
    search = TreeSearch(planted()[0], most_states=4, seed=0)
    facets = [search.facet((0, 2, 3)), search.facet((1, 4))]
    for moved in search.moves(facets, keep_root=True):
        assert torch.equal(moved[0].responsibilities, facets[0].responsibilities)


def test_the_tree_joins_what_shares_most() -> None:
    rng = np.random.default_rng(0)
    chain = [rng.integers(0, 2, 3000)]
    for kept in (0.95, 0.8, 0.9):
        chain.append(np.where(rng.random(3000) < kept, chain[-1], 1 - chain[-1]))
    r = [torch.eye(2, dtype=torch.float64)[torch.from_numpy(y)] for y in chain]
    order, parents = chow_liu([r[2], r[0], r[3], r[1]])
    facets = [[2, 0, 3, 1][i] for i in order]
    edges = {frozenset((facets[i], facets[p])) for i, p in enumerate(parents) if p >= 0}
    assert edges == {frozenset(pair) for pair in ((0, 1), (1, 2), (2, 3))}
    assert parents[0] == -1
    assert order[0] == 0


def test_information_between_dimensions_is_that_of_a_normal_pair() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(20_000, 3))
    z[:, 1] = 0.8 * z[:, 0] + 0.6 * z[:, 1]
    information = pairwise_information(1e3 + 7.0 * z)
    # Cutting into ten bins loses a little of - log(1 - 0.8²) / 2.
    assert information[0, 1] == pytest.approx(-0.5 * np.log(0.36), abs=0.06)
    assert information[0, 2] < 0.005
    np.testing.assert_array_equal(information, information.T)


# ------------------------------------------------------------------------- the estimator


class OnPlanted(deepmixture.LTVAE):
    """With networks that begin as the identity, so that the facets lie along the latents."""

    def _pretrain(self, x: Tensor, few: Tensor, method: str | None) -> None:
        with torch.no_grad():
            for layer in (self.model_.head.mean, self.model_.decoder.decoder):
                layer.weight.copy_(torch.eye(5))
                layer.bias.zero_()
        self._fit_deviations(x)


def on_planted(**settings: object) -> OnPlanted:
    networks = {"encoder": nn.Identity(), "decoder": nn.Linear(5, 5)}
    fixed = {"n_latent": 5, "start": "gmm", "n_init": 3, "epochs": 6, "random_state": 0}
    return OnPlanted(3, **(networks | fixed | {"precision": "float32"} | settings))


@pytest.mark.parametrize("facets", ["search", 2, [[0, 2, 3], [1, 4]], ((1, 4), (0, 2, 3))])
def test_every_facet_of_planted_rows_is_found(facets: object) -> None:
    x, y1, y2 = planted(600)
    estimator = on_planted(facets=facets, search_epochs=1).fit(x)
    truth = {(0, 2, 3): y1, (1, 4): y2}
    assert set(estimator.facets_) == set(truth)
    labels = estimator.facet_labels_
    assert labels.shape == (600, 2)
    np.testing.assert_array_equal(labels[:, 0], estimator.labels_)
    np.testing.assert_array_equal(estimator.predict_facets(x), labels)
    for facet, dimensions in enumerate(estimator.facets_):
        if facet == 0 and dimensions == (1, 4):
            continue  # the main facet has three states, whatever it is over
        assert adjusted_rand_score(truth[dimensions], labels[:, facet]) > 0.9
    first = (0, 2, 3) if isinstance(facets, str | int) else tuple(facets[0])
    assert estimator.facets_[0] == first
    assert "Facets, the main one first: 3 states" in estimator.decisions_[-1]
    sizes = [np.bincount(column) for column in labels.T]
    assert all((np.diff(size) <= 0).all() for size in sizes)


def test_samples_of_a_cluster_follow_the_whole_tree() -> None:
    x = planted(900)[0]
    estimator = on_planted(facets=[[0, 2, 3], [1, 4]]).fit(x)
    drawn, labels = estimator.sample(900, cluster=0, random_state=0)
    assert (labels == 0).all()
    assert (estimator.predict(drawn) == 0).mean() > 0.95
    inside = estimator.labels_ == 0
    other = np.bincount(estimator.facet_labels_[inside, 1], minlength=2) / inside.sum()
    found = np.bincount(estimator.predict_facets(drawn)[:, 1], minlength=2) / 900
    np.testing.assert_allclose(found, other, atol=0.08)
    np.testing.assert_allclose(drawn.mean(0), x[inside].mean(0), atol=0.5)
    scores = estimator.score_samples(np.concatenate([x[:50], x[:50] + 30.0]))
    assert scores[:50].min() > scores[50:].max()


@pytest.mark.parametrize("facets", ["one", 2, [[1], [0]]])
def test_a_loaded_model_has_the_same_tree(
    make: Make, blobs: np.ndarray, tmp_path: Path, facets: object
) -> None:
    estimator = make("ltvae", facets=facets, pretrain_epochs=1, epochs=3).fit(blobs)
    estimator.save(tmp_path / "model")
    loaded = deepmixture.load(tmp_path / "model")
    assert isinstance(loaded, deepmixture.LTVAE)
    assert loaded.structure_ == estimator.structure_
    assert loaded.facets_ == estimator.facets_
    np.testing.assert_array_equal(loaded.facet_labels_, estimator.facet_labels_)
    np.testing.assert_array_equal(loaded.predict_facets(blobs), estimator.facet_labels_)
    np.testing.assert_array_equal(loaded.score_samples(blobs), estimator.score_samples(blobs))
    np.testing.assert_array_equal(loaded.sample(9)[0], estimator.sample(9)[0])
    # An estimator that was fitted with other facets before is trained from nothing.
    other = make("ltvae", facets="one", pretrain_epochs=1, epochs=3)
    loaded.set_params(facets="one").fit(blobs)
    np.testing.assert_array_equal(loaded.labels_, other.fit(blobs).labels_)


def test_one_facet_is_a_mixture_with_full_covariances(
    make: Make, blobs: np.ndarray, classes: np.ndarray
) -> None:
    estimator = make("ltvae").fit(blobs)
    assert adjusted_rand_score(classes, estimator.labels_) > 0.95
    assert estimator.facets_ == [(0, 1)]
    np.testing.assert_array_equal(estimator.facet_labels_[:, 0], estimator.labels_)
    z = torch.from_numpy(estimator.transform(blobs)).double()
    normal = MultivariateNormal(
        torch.from_numpy(estimator.means_).double(),
        torch.from_numpy(estimator.covariances_).double(),
    )
    log_joint = normal.log_prob(z[:, None]) + torch.from_numpy(estimator.weights_).log()
    expected = log_joint.softmax(1)
    np.testing.assert_allclose(estimator.predict_proba(blobs), expected, atol=1e-4)
    assert (np.abs(estimator.covariances_[:, 0, 1]) > 0).all()


def test_the_stages_and_the_terms_are_logged(make: Make, blobs: np.ndarray) -> None:
    estimator = make("ltvae", epochs=6, hold_epochs=2, pretrain_epochs=1).fit(blobs)
    stages = [record["stage"] for record in estimator.history_]
    assert stages == ["pretraining"] + ["taking shape"] * 2 + ["evidence"] * 4
    last = estimator.history_[-1]
    assert -sum(last[name] for name in TERMS) == pytest.approx(last["loss"], rel=1e-4)
    assert "held" in estimator.history_[1]


@pytest.mark.parametrize("pretraining", ["stacked", "vae", None])
def test_other_ways_to_begin(make: Make, blobs: np.ndarray, pretraining: str | None) -> None:
    estimator = make(
        "ltvae", pretraining=pretraining, facets="search", pretrain_epochs=1, epochs=3
    ).fit(blobs)
    assert np.isfinite(estimator.score(blobs))
    assert estimator.predict_proba(blobs).shape == (120, 3)


@pytest.mark.parametrize(
    ("facets", "error", "message"),
    [
        ("two", ValueError, "expected 'one', 'search'"),
        (0, ValueError, "at least 1"),
        (3, ValueError, "more than n_latent=2"),
        (True, TypeError, "integer"),
        (1.5, TypeError, "sequence of sequences"),
        ([], TypeError, "sequence of sequences"),
        ([[0], []], TypeError, "sequence of sequences"),
        ([[0], ["1"]], TypeError, "must hold integers"),
        ([[0], [0]], ValueError, "every latent dimension from 0 to 1 once"),
        ([[0], [1, 2]], ValueError, "every latent dimension from 0 to 1 once"),
    ],
)
def test_facets_that_are_none_are_refused(
    make: Make, blobs: np.ndarray, facets: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make("ltvae", facets=facets).fit(blobs)
