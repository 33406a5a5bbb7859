"""The latent tree against enumeration of every joint state, integrals and scikit-learn."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor
from torch.distributions import MultivariateNormal

from deepmixture.latent_tree import LatentTree, Structure

STRUCTURES = {
    "one facet": Structure((3,), (-1,), (((0, 1, 2),),)),
    "one facet, two pouches": Structure((3,), (-1,), (((0, 2), (1,)),)),
    "chain": Structure((2, 3, 2), (-1, 0, 1), (((1, 3),), ((0,),), ((2, 4),))),
    "fork": Structure((3, 2, 2), (-1, 0, 0), (((4,), (1,)), ((0, 2),), ((3,),))),
    "root without pouch": Structure((2, 3, 2), (-1, 0, 0), ((), ((0, 1),), ((2,),))),
    "facet of one state": Structure((2, 1), (-1, 0), (((1,),), ((0, 2),))),
}
SHAPES = pytest.mark.parametrize("name", STRUCTURES)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def random_tree(structure: Structure, n_rows: int = 60) -> LatentTree:
    """A tree in float64 with correlated normals, states of unequal weight and no symmetry."""
    tree = LatentTree(structure).double()
    z = torch.randn(n_rows, structure.n_latent, dtype=torch.float64)
    z = z @ torch.randn(structure.n_latent, structure.n_latent, dtype=torch.float64)
    states = structure.n_states
    r = [torch.randn(n_rows, k, dtype=torch.float64).mul(3).softmax(1) for k in states]
    tree.start(z, r, floor=1e-3)
    for facet, parent in enumerate(structure.parents):
        joint = torch.rand(states[parent] if facet else 1, states[facet], dtype=torch.float64)
        setattr(tree, f"joint_{facet}", joint / joint.sum())
    return tree


class Enumerated:
    """log p(Y, z) of every joint state Y by the definition, sharing no code with the tree."""

    def __init__(self, tree: LatentTree, z: Tensor) -> None:
        structure = tree.structure
        self.states = list(itertools.product(*map(range, structure.n_states)))
        self.log_p_y = torch.zeros(len(self.states), dtype=z.dtype)
        log_p_z_y = torch.zeros(len(self.states), len(z), dtype=z.dtype)
        self.parts = []
        for number, state in enumerate(self.states):
            for facet, parent in enumerate(structure.parents):
                joint = getattr(tree, f"joint_{facet}")
                row = joint[state[parent] if facet else 0]
                self.log_p_y[number] += (row[state[facet]] / row.sum()).log()
            for pouch in tree.pouches:
                k, d = state[pouch.facet], pouch.dimensions
                normal = MultivariateNormal(pouch.loc[k], pouch.covariance[k])
                log_p_z_y[number] += normal.log_prob(z[:, d])
        self.log_joint = self.log_p_y[:, None] + log_p_z_y  # (number of joint states, n)

    def log_prob(self) -> Tensor:
        return self.log_joint.logsumexp(0)

    def pair(self, one: int, other: int, shape: tuple[int, int]) -> Tensor:
        """p(Y_one, Y_other | z), shape (n, K_one, K_other)."""
        posterior = (self.log_joint - self.log_prob()).exp()
        pair = torch.zeros(posterior.shape[1], *shape, dtype=posterior.dtype)
        for state, p in zip(self.states, posterior, strict=True):
            pair[:, state[one], state[other]] += p
        return pair


@SHAPES
def test_message_passing_sums_over_every_joint_state(name: str) -> None:
    tree = random_tree(STRUCTURES[name])
    z = 2 * torch.randn(20, tree.structure.n_latent, dtype=torch.float64)
    expected = Enumerated(tree, z)
    torch.testing.assert_close(tree.log_prob(z), expected.log_prob())
    torch.testing.assert_close(tree.log_prob(z.reshape(4, 5, -1)).flatten(), expected.log_prob())
    log_p, pairs = tree.log_pairs(z)
    torch.testing.assert_close(log_p, expected.log_prob())
    states = tree.structure.n_states
    for facet, parent in enumerate(tree.structure.parents):
        own = expected.pair(facet, facet, (states[facet], states[facet]))
        torch.testing.assert_close(tree.facets(z)[facet].exp(), own.diagonal(dim1=1, dim2=2))
        if facet:
            pair = expected.pair(parent, facet, (states[parent], states[facet]))
            torch.testing.assert_close(pairs[facet].exp(), pair)
    torch.testing.assert_close(tree.log_responsibilities(z), tree.facets(z)[0])
    torch.testing.assert_close(pairs[0][:, 0], tree.facets(z)[0])


@pytest.mark.parametrize("name", ["chain", "fork", "root without pouch"])
def test_a_held_root_leaves_the_others_as_they_follow_from_it(name: str) -> None:
    tree = random_tree(STRUCTURES[name])
    states = tree.structure.n_states
    z = torch.randn(9, tree.structure.n_latent, dtype=torch.float64)
    held = torch.randn(9, states[0], dtype=torch.float64).softmax(1)
    _, pairs = tree.log_pairs(z, held.log())
    enumerated = Enumerated(tree, z)
    for facet in range(1, len(states)):
        joint = enumerated.pair(0, facet, (states[0], states[facet]))
        expected = (held[:, :, None] * joint / joint.sum(2, keepdim=True)).sum(1)
        torch.testing.assert_close(pairs[facet].exp().sum(1), expected)


@pytest.mark.parametrize(
    "structure",
    [
        Structure((3,), (-1,), (((0,),),)),
        Structure((2,), (-1,), (((0, 1),),)),
        Structure((2, 3), (-1, 0), (((1,),), ((0,),))),
    ],
)
def test_the_density_integrates_to_one(structure: Structure) -> None:
    tree = random_tree(structure)
    side = 4001 if structure.n_latent == 1 else 401
    axis = torch.linspace(-15, 15, side, dtype=torch.float64)
    z = torch.cartesian_prod(*[axis] * structure.n_latent).reshape(-1, structure.n_latent)
    volume = float(axis[1] - axis[0]) ** structure.n_latent
    assert float(tree.log_prob(z).exp().sum() * volume) == pytest.approx(1.0, abs=1e-6)


@SHAPES
def test_the_gradient_is_that_of_finite_differences_and_of_the_paper(name: str) -> None:
    """Which is sum over k of p(Y = k | z) Sigma_k^-1 (mu_k - z), pouch by pouch."""
    tree = random_tree(STRUCTURES[name])
    z = torch.randn(5, tree.structure.n_latent, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(tree.log_prob, z)
    (gradient,) = torch.autograd.grad(tree.log_prob(z).sum(), z)
    for pouch in tree.pouches:
        posterior = tree.facets(z)[pouch.facet].exp()
        for row, p in enumerate(posterior):
            to_mean = pouch.loc - z[row, pouch.dimensions]
            pulls = torch.linalg.solve(pouch.covariance, to_mean)
            torch.testing.assert_close(gradient[row, pouch.dimensions], p @ pulls)


@SHAPES
def test_a_step_of_em_never_lowers_the_likelihood(name: str) -> None:
    structure = STRUCTURES[name]
    tree = random_tree(structure)
    z = 2 * torch.randn(300, structure.n_latent, dtype=torch.float64)
    z[:100] += 3
    likelihoods = [float(tree.update(z).mean()) for _ in range(20)]
    likelihoods.append(float(tree.log_prob(z).mean()))
    assert (np.diff(likelihoods) > -1e-9).all()
    assert likelihoods[-1] > likelihoods[0] + 0.1


def test_a_step_of_em_with_one_facet_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(200, 2)) * [2.0, 1.0] + 3 * rng.integers(0, 3, (200, 1))
    r = rng.dirichlet(np.ones(3), size=200)
    tree = LatentTree(Structure((3,), (-1,), (((0, 1),),))).double()
    tree.start(torch.from_numpy(z), [torch.from_numpy(r)], floor=1e-9)
    theirs = GaussianMixture(
        3,
        weights_init=r.mean(0),
        means_init=tree.loc.numpy(),
        precisions_init=np.linalg.inv(tree.covariances().numpy()),
        max_iter=1,
        tol=1e-12,
        reg_covar=0.0,
    )
    with pytest.warns(UserWarning, match="did not converge"):
        theirs.fit(z)
    tree.update(torch.from_numpy(z))
    np.testing.assert_allclose(tree.log_prob_y().exp(), theirs.weights_, atol=1e-8)
    np.testing.assert_allclose(tree.loc, theirs.means_, atol=1e-6)
    np.testing.assert_allclose(tree.covariances(), theirs.covariances_, atol=1e-6)
    np.testing.assert_allclose(tree.log_prob(torch.from_numpy(z)), theirs.score_samples(z))


@pytest.mark.parametrize("name", ["one facet", "fork"])
def test_a_small_step_moves_the_sums_of_the_statistics(name: str) -> None:
    """Mass, mean and covariance move as the sums of 1, z and z zᵀ do in the paper."""
    tree = random_tree(STRUCTURES[name])
    z = torch.randn(30, tree.structure.n_latent, dtype=torch.float64) + 5
    step, pairs = 0.2, [pair.exp() for pair in tree.log_pairs(z)[1]]
    expected = []
    for pouch in tree.pouches:
        mass = getattr(tree, f"joint_{pouch.facet}").sum(0)
        r, part = pairs[pouch.facet].sum(1), z[:, pouch.dimensions]
        outer = pouch.covariance + pouch.loc[:, :, None] * pouch.loc[:, None, :]
        zeroth = (1 - step) * mass + step * r.mean(0)
        first = (1 - step) * mass[:, None] * pouch.loc + step * r.T @ part / 30
        second = (1 - step) * mass[:, None, None] * outer
        second = second + step * torch.einsum("nk,nd,ne->kde", r, part, part) / 30
        loc = first / zeroth[:, None]
        expected.append((loc, second / zeroth[:, None, None] - loc[:, :, None] * loc[:, None, :]))
    tree.update(z, step)
    for pouch, (loc, covariance) in zip(tree.pouches, expected, strict=True):
        torch.testing.assert_close(pouch.loc, loc)
        torch.testing.assert_close(pouch.covariance, covariance)


def test_stepwise_em_approaches_em() -> None:
    structure = Structure((2, 2), (-1, 0), (((0, 2),), ((1,),)))
    y = torch.arange(800) % 4
    z = torch.randn(800, 3, dtype=torch.float64)
    z[:, 0] += 5.0 * (y // 2)
    z[:, 1] += 5.0 * (y % 2)
    truth = [torch.eye(2, dtype=torch.float64)[index] for index in (y // 2, y % 2)]
    r = [0.2 + 0.6 * one_hot for one_hot in truth]
    batch, stepwise = (LatentTree(structure).double() for _ in range(2))
    for tree in (batch, stepwise):
        tree.start(z, r, floor=1e-3)
    before = float(batch.log_prob(z).mean())
    after = batch.fit(z, 200, tolerance=1e-7)
    assert after - before > 0.1
    gaps = []
    for epoch in range(10):
        for batch_number, rows in enumerate(torch.randperm(800).split(40)):
            stepwise.update(z[rows], (20 * epoch + batch_number + 22.0) ** -0.7)
        gaps.append(after - float(stepwise.log_prob(z).mean()))
    assert gaps[-1] < min(gaps[0], 0.1 * (after - before))


@SHAPES
def test_moments_given_the_root_are_those_of_its_samples(name: str) -> None:
    tree = random_tree(STRUCTURES[name])
    loc, covariances = tree.loc, tree.covariances()
    assert loc.shape == (tree.structure.n_states[0], tree.structure.n_latent)
    for y in range(len(loc)):
        z = tree.sample(torch.full((60_000,), y), torch.Generator().manual_seed(y))
        scale = covariances[y].diagonal().sqrt()
        torch.testing.assert_close((z.mean(0) - loc[y]) / scale, 0 * scale, rtol=0, atol=0.02)
        difference = (z.T.cov() - covariances[y]) / scale[:, None] / scale
        torch.testing.assert_close(difference, 0 * difference, rtol=0, atol=0.05)
    tril = tree.scale_tril()
    torch.testing.assert_close(tril @ tril.mT, covariances)


def test_samples_have_the_density_of_the_tree() -> None:
    """By the marginal of every facet and the average log-density against quadrature."""
    tree = random_tree(Structure((2, 3), (-1, 0), (((1,),), ((0,),))))
    p_y = tree.log_prob_y().exp()
    z = tree.sample(torch.multinomial(p_y, 40_000, replacement=True))
    axis = torch.linspace(-15, 15, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    p = tree.log_prob(grid).exp() * float(axis[1] - axis[0]) ** 2
    expected = float((p * tree.log_prob(grid)).sum())
    assert float(tree.log_prob(z).mean()) == pytest.approx(expected, abs=0.02)
    for facet, log_q in enumerate(tree.facets(z)):
        weights = getattr(tree, f"joint_{facet}")
        weights = weights.sum(0) if facet == 0 else p_y @ (weights / weights.sum(1, keepdim=True))
        torch.testing.assert_close(log_q.exp().mean(0), weights, rtol=0, atol=0.02)


@pytest.mark.parametrize("facet", [0, 1, 2])
@pytest.mark.parametrize("name", ["chain", "fork"])
def test_renumbered_states_are_the_same_tree(name: str, facet: int) -> None:
    tree = random_tree(STRUCTURES[name])
    z = torch.randn(10, tree.structure.n_latent, dtype=torch.float64)
    before, facets = tree.log_prob(z), tree.facets(z)
    order = torch.randperm(tree.structure.n_states[facet]).flip(0)
    tree.reorder_facet(facet, order)
    torch.testing.assert_close(tree.log_prob(z), before)
    for f, log_q in enumerate(tree.facets(z)):
        torch.testing.assert_close(log_q, facets[f][:, order] if f == facet else facets[f])


def test_as_a_mixture_the_clusters_are_the_states_of_the_root() -> None:
    tree = random_tree(STRUCTURES["fork"])
    z = torch.randn(10, tree.structure.n_latent, dtype=torch.float64)
    facets = tree.facets(z)
    tree.reorder(torch.tensor([2, 0, 1]))
    torch.testing.assert_close(tree.log_responsibilities(z), facets[0][:, [2, 0, 1]])
    torch.testing.assert_close(tree.log_joint(z).logsumexp(1), tree.log_prob(z))


@pytest.mark.parametrize(
    "rows",
    [torch.zeros(5, 3), torch.ones(1, 3), 1e4 + 1e-3 * torch.randn(40, 3)],
    ids=["all alike", "a single row", "far from zero"],
)
def test_hopeless_rows_leave_a_density(rows: Tensor) -> None:
    """In single precision, with a state that no row is in."""
    tree = LatentTree(STRUCTURES["one facet"])
    r = torch.zeros(len(rows), 3)
    r[:, 0] = 1.0
    tree.start(rows, [r], floor=1e-8)
    for step in (1.0, 0.1, 1.0):
        tree.update(rows, step)
    assert tree.log_prob(rows).isfinite().all()
    assert torch.linalg.eigvalsh(tree.covariances().double()).min() > 0
    z = (rows + 1.0).requires_grad_()
    tree.log_prob(z).sum().backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()


def test_no_variance_is_below_the_floor() -> None:
    tree = LatentTree(Structure((2,), (-1,), (((0, 1),),))).double()
    z = torch.randn(50, 1, dtype=torch.float64) * torch.tensor([1.0, 1.0])  # on a line
    tree.start(z, [torch.full((50, 2), 0.5, dtype=torch.float64)], floor=0.01)
    variances = torch.linalg.eigvalsh(tree.covariances())
    torch.testing.assert_close(variances[:, 0], torch.full((2,), 0.01, dtype=torch.float64))
    assert (variances[:, 1] > 0.5).all()


def test_many_rows_are_taken_in_parts_that_weigh_the_same() -> None:
    structure = STRUCTURES["fork"]
    z = torch.randn(25_000, 5, dtype=torch.float64) + torch.arange(25_000)[:, None] / 1e4
    r = [(z[:, :k] * 2).softmax(1) for k in structure.n_states]
    tree = LatentTree(structure).double()
    tree.start(z, r, floor=1e-6)
    torch.testing.assert_close(tree.joint_1, r[0].T @ r[1] / 25_000)
    for pouch in tree.pouches:
        weight = r[pouch.facet] / r[pouch.facet].sum(0)
        part = z[:, pouch.dimensions]
        torch.testing.assert_close(pouch.loc, weight.T @ part)
        second = torch.einsum("nk,nd,ne->kde", weight, part, part)
        expected = second - pouch.loc[:, :, None] * pouch.loc[:, None, :]
        torch.testing.assert_close(pouch.covariance, expected)


def test_the_criterion_counts_every_free_number() -> None:
    # Two free numbers of p(Y_0), 3 rows of p(Y_1|Y_0), 3 x (5 + 2) of pouches, 2 x 2.
    structure = Structure((3, 2), (-1, 0), (((0, 2), (3,)), ((1,),)))
    assert structure.n_parameters() == 2 + 3 + 21 + 4
    tree = random_tree(structure)
    z = torch.randn(50, 4, dtype=torch.float64)
    expected = float(tree.log_prob(z).sum()) - 15 * math.log(50)
    assert tree.bic(z) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("states", "parents", "pouches", "message"),
    [
        ((2, 2), (-1, 1), (((0,),), ((1,),)), "no tree"),
        ((2,), (0,), (((0,),),), "no tree"),
        ((2, 2), (-1, 0), (((0,),), ((0,),)), "every latent dimension"),
        ((2,), (-1,), (((0, 2),),), "every latent dimension"),
        ((2, 2), (-1,), (((0,),),), "one entry a facet"),
    ],
)
def test_what_is_no_tree_is_refused(
    states: tuple[int, ...],
    parents: tuple[int, ...],
    pouches: tuple[tuple[tuple[int, ...], ...], ...],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        Structure(states, parents, pouches)
