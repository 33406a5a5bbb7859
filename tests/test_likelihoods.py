"""Likelihoods: normalised, with the moments they claim, missing entries marginalised."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli as BernoulliDistribution
from torch.distributions import ContinuousBernoulli as ContinuousBernoulliDistribution
from torch.distributions import Normal
from torch.nn import functional

from deepmixture import likelihoods
from deepmixture.likelihoods import (
    Bernoulli,
    ContinuousBernoulli,
    Gaussian,
    LearnedGaussian,
    Likelihood,
)


def gaussian(n_features: int) -> Gaussian:
    likelihood = Gaussian(n_features)
    likelihood.start(torch.linspace(0.3, 2.0, n_features))
    return likelihood


F = 4
FAMILIES = {
    "bernoulli": Bernoulli(),
    "continuous_bernoulli": ContinuousBernoulli(),
    "gaussian": gaussian(F),
    "gaussian_learned": LearnedGaussian(0.1),
    "gaussian_fixed": Gaussian(F, 0.7, learned=False),
}
every_likelihood = pytest.mark.parametrize("likelihood", FAMILIES.values(), ids=FAMILIES)


def outputs(likelihood: Likelihood, *shape: int) -> Tensor:
    """Decoder outputs for rows of F features."""
    return torch.randn(*shape, likelihood.n_parameters * F)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_bernoulli_sums_to_one_over_all_rows() -> None:
    rows = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)))
    h = 3 * torch.randn(4)
    log_p = Bernoulli().log_prob(h.expand(16, 4), rows)
    assert float(log_p.exp().sum()) == pytest.approx(1.0, abs=1e-5)
    expected = BernoulliDistribution(logits=h).log_prob(rows).sum(-1)
    torch.testing.assert_close(log_p, expected)


def test_bernoulli_of_a_grey_value_is_the_cross_entropy() -> None:
    h, x = torch.randn(5, 3), torch.rand(5, 3)
    expected = (x * h.sigmoid().log() + (1 - x) * (-h).sigmoid().log()).sum(-1)
    torch.testing.assert_close(Bernoulli().log_prob(h, x), expected)


def test_gaussian_integrates_to_one() -> None:
    axis, step = torch.linspace(-15, 15, 601), 30 / 600
    rows = torch.cartesian_prod(axis, axis)
    log_p = gaussian(2).log_prob(torch.tensor([1.0, -2.0]).expand_as(rows), rows)
    assert float(log_p.detach().double().exp().sum()) * step**2 == pytest.approx(1.0, abs=1e-4)


def test_gaussian_is_a_product_of_normals() -> None:
    likelihood = gaussian(3)
    h, x = torch.randn(4, 5, 3), torch.randn(5, 3)
    expected = Normal(h, likelihood.scale()).log_prob(x).sum(-1)
    torch.testing.assert_close(likelihood.log_prob(h, x), expected)


def test_samples_of_a_bernoulli_are_on_or_off() -> None:
    x = Bernoulli().sample(torch.randn(1000, F))
    assert set(x.unique().tolist()) == {0.0, 1.0}


def test_every_name_makes_its_likelihood() -> None:
    assert tuple(FAMILIES) == likelihoods.NAMES
    for name, expected in FAMILIES.items():
        made = likelihoods.make(name, F, 0.7)
        assert type(made) is type(expected)
        learned = any(parameter.requires_grad for parameter in made.parameters())
        assert learned is (name == "gaussian")
    fixed = likelihoods.make("gaussian_fixed", F, 0.7)
    torch.testing.assert_close(fixed.scale(), torch.full((F,), 0.7))


@every_likelihood
def test_the_density_of_each_feature_integrates_to_one(likelihood: Likelihood) -> None:
    h = 2 * outputs(likelihood)
    if isinstance(likelihood, Bernoulli):
        x, weight = torch.tensor([0.0, 1.0]), torch.ones(2)
    elif isinstance(likelihood, ContinuousBernoulli):
        x = (torch.arange(2000) + 0.5) / 2000
        weight = torch.full((2000,), 1 / 2000)
    else:
        x, step = torch.linspace(-40, 40, 8001), 80 / 8000
        weight = torch.full((8001,), step)
    log_p = likelihood.log_prob_entries(h, x[:, None].expand(-1, F)).detach()
    total = (log_p.double().exp() * weight[:, None]).sum(0)
    torch.testing.assert_close(total, torch.ones(F).double(), rtol=0, atol=1e-4)
    row = x[:, None].expand(-1, F)
    torch.testing.assert_close(likelihood.log_prob(h, row).detach(), log_p.sum(-1))


@every_likelihood
def test_samples_have_the_moments_of_the_density(likelihood: Likelihood) -> None:
    """Of the density as it is written in log_prob, by numerical integration."""
    h = 2 * outputs(likelihood)
    low, high = (0.0, 1.0) if isinstance(likelihood, ContinuousBernoulli) else (-40.0, 40.0)
    cells = 16_000
    x = low + (high - low) * (torch.arange(cells) + 0.5) / cells
    if isinstance(likelihood, Bernoulli):
        x = torch.tensor([0.0, 1.0])
    rows = x[:, None].expand(-1, F)
    weight = likelihood.log_prob_entries(h, rows).detach().double().softmax(0)
    mean = (weight * rows).sum(0)
    deviation = (weight * (rows - mean).square()).sum(0).sqrt()
    torch.testing.assert_close(likelihood.mean(h).double(), mean, rtol=1e-3, atol=1e-4)
    n = 100_000
    drawn = likelihood.sample(h.expand(n, -1), torch.Generator().manual_seed(0)).detach().double()
    # Five standard errors.
    assert ((drawn.mean(0) - mean).abs() < 5 * deviation / math.sqrt(n)).all()
    torch.testing.assert_close(drawn.std(0), deviation, rtol=0.02, atol=0)
    again = likelihood.sample(h.expand(n, -1), torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again.detach().double())


@every_likelihood
def test_a_missing_entry_is_marginalised(likelihood: Likelihood) -> None:
    """The likelihood of a row with gaps is that of the columns which are there."""
    h, x = outputs(likelihood, 3, 2), torch.rand(2, F)
    gaps = x.clone()
    gaps[0, 1] = gaps[1, 0] = gaps[1, 3] = torch.nan
    log_p = likelihood.log_prob(h, gaps)
    each = torch.stack([likelihood.log_prob_entries(h, x)[..., column] for column in range(F)])
    torch.testing.assert_close(log_p[:, 0], each[[0, 2, 3], :, 0].sum(0))
    torch.testing.assert_close(log_p[:, 1], each[[1, 2], :, 1].sum(0))
    assert not likelihood.log_prob(h[0, 0], torch.full((F,), torch.nan)).any()


@every_likelihood
def test_a_missing_entry_gives_no_gradient(likelihood: Likelihood) -> None:
    h = outputs(likelihood, 2).requires_grad_()
    x = torch.tensor([[0.5, torch.nan, 1.0, 0.0], [torch.nan, 0.1, 0.2, 0.3]])
    (gradient,) = torch.autograd.grad(likelihood.log_prob(h, x).sum(), h)
    assert torch.equal(gradient == 0, x.isnan().repeat(1, likelihood.n_parameters))
    assert gradient.isfinite().all()


@every_likelihood
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-6, 0.1, 1.0, 90.0, 1e4])
def test_values_and_gradients_are_finite_whatever_the_decoder_gives(
    likelihood: Likelihood, size: float
) -> None:
    """A branch of torch.where that is not taken may still put NaN into the gradient."""
    signs = torch.tensor([[1.0], [-1.0]])
    h = (size * signs * torch.ones(2, likelihood.n_parameters * F)).requires_grad_()
    x = torch.tensor([0.0, 0.3, 0.5, 1.0]).expand(2, F)
    for value in (likelihood.log_prob(h, x), likelihood.mean(h)):
        assert value.isfinite().all()
        (gradient,) = torch.autograd.grad(value.sum(), h)
        assert gradient.isfinite().all()
    assert likelihood.sample(h).isfinite().all()


@every_likelihood
def test_densities_are_float32_at_least(likelihood: Likelihood) -> None:
    h, x = outputs(likelihood, 5), torch.rand(5, F)
    low = likelihood.log_prob(h.bfloat16(), x)
    assert low.dtype == likelihood.mean(h.bfloat16()).dtype == torch.float32
    assert likelihood.sample(h.bfloat16()).dtype == torch.float32
    torch.testing.assert_close(low, likelihood.log_prob(h.bfloat16().float(), x))
    assert likelihood.log_prob(h.double(), x.double()).dtype == torch.float64


def test_continuous_bernoulli_is_that_of_torch() -> None:
    # Torch's own clamps its probabilities, so that large logits differ.
    h = torch.linspace(-10, 10, 41, dtype=torch.float64)[:, None]
    x = torch.linspace(0, 1, 11, dtype=torch.float64)
    expected = ContinuousBernoulliDistribution(logits=h)
    ours = ContinuousBernoulli()
    torch.testing.assert_close(
        ours.log_prob_entries(h, x), expected.log_prob(x), rtol=0, atol=1e-5
    )
    torch.testing.assert_close(ours.mean(h), expected.mean, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_series_of_the_continuous_bernoulli_meets_its_formula(dtype: torch.dtype) -> None:
    """Values and slopes on both sides of |h| = 0.1, against the formula in double precision."""
    h = torch.cat([torch.linspace(0.05, 0.2, 301), -torch.linspace(0.05, 0.2, 301)])
    h = h.to(dtype).requires_grad_()
    exact = h.detach().double().requires_grad_()
    formulas = {
        "log_normaliser": (exact / (0.5 * exact).tanh()).log(),
        "mean": -1 / torch.expm1(-exact) - 1 / exact,
    }
    for name, formula in formulas.items():
        value = getattr(ContinuousBernoulli(), name)(h)
        tolerance = 5e-6 if dtype == torch.float32 else 1e-9
        torch.testing.assert_close(value.double(), formula, rtol=0, atol=tolerance)
        # The first term that the series leaves out is 2e-8 in the slope.
        (slope,) = torch.autograd.grad(value.sum(), h)
        (expected,) = torch.autograd.grad(formula.sum(), exact)
        torch.testing.assert_close(slope.double(), expected, rtol=0, atol=30 * tolerance)


def test_the_continuous_bernoulli_at_zero_is_uniform() -> None:
    ours, h = ContinuousBernoulli(), torch.zeros(50_000, 1)
    assert ours.log_prob(h[0], torch.tensor([0.2])) == pytest.approx(0.0, abs=1e-6)
    assert float(ours.mean(h)[0]) == 0.5
    drawn = ours.sample(h, torch.Generator().manual_seed(0))[:, 0].sort().values
    even = (torch.arange(50_000) + 0.5) / 50_000
    assert float((drawn - even).abs().max()) < 0.01


def test_the_mean_of_the_continuous_bernoulli_is_not_the_probability_of_a_pixel() -> None:
    """Its decoder gives the same picture by other numbers, which decoding has to undo."""
    h = torch.tensor([[3.0]])
    assert float(ContinuousBernoulli().mean(h)) < 0.75 < 0.95 < float(Bernoulli().mean(h))


def test_the_learned_deviation_of_a_row_is_its_own() -> None:
    likelihood = LearnedGaussian(0.1)
    h, x = torch.randn(4, 5, 2 * F), torch.randn(5, F)
    scale = functional.softplus(h[..., F:]) + 0.1
    expected = Normal(h[..., :F], scale).log_prob(x).sum(-1)
    torch.testing.assert_close(likelihood.log_prob(h, x), expected)
    assert torch.equal(likelihood.mean(h), h[..., :F])


def test_the_floor_of_the_learned_deviation_moves_and_is_saved() -> None:
    likelihood = LearnedGaussian(1.0)
    h = torch.full((1, 2), -1e3)
    h[:, 0] = 0.0
    x = torch.tensor([[0.2]])
    for floor in (1.0, 0.5, 1e-4):
        likelihood.floor.fill_(floor)
        expected = Normal(0.0, floor).log_prob(x).sum(-1)
        torch.testing.assert_close(likelihood.log_prob(h, x), expected)
    other = LearnedGaussian(1.0)
    other.load_state_dict(likelihood.state_dict())
    assert float(other.floor) == pytest.approx(1e-4)


def test_the_deviations_of_a_decoder_find_those_of_the_rows() -> None:
    """Rows of two kinds, one noisy and one not, told apart by an input of the decoder."""
    kind = torch.arange(4000) % 2
    x = torch.where(kind == 0, 0.2, 1.5)[:, None] * torch.randn(4000, 1)
    decoder = nn.Linear(1, 2)
    likelihood = LearnedGaussian(0.01)
    optimiser = torch.optim.Adam(decoder.parameters(), 0.2)
    z = kind[:, None].float()
    for _ in range(300):
        optimiser.zero_grad()
        (-likelihood.log_prob(decoder(z), x).mean()).backward()
        optimiser.step()
    scale = likelihood.mean_and_scale(decoder(torch.tensor([[0.0], [1.0]])))[1].detach()
    for group in (0, 1):
        assert float(scale[group]) == pytest.approx(float(x[kind == group].std()), rel=0.03)


@pytest.mark.parametrize("scale", [1e-3, 0.5, 1.0, 7.0, 1e3])
def test_a_fixed_deviation_is_held_exactly(scale: float) -> None:
    likelihood = Gaussian(2, scale, learned=False)
    torch.testing.assert_close(likelihood.scale(), torch.full((2,), scale))
    assert not likelihood.raw_scale.requires_grad


def test_a_learned_deviation_starts_where_told_and_never_falls_below_its_floor() -> None:
    likelihood = Gaussian(4, floor=0.1)
    torch.testing.assert_close(likelihood.scale(), torch.ones(4))
    likelihood.start(torch.tensor([0.0, 0.05, 0.7, 500.0]))
    torch.testing.assert_close(
        likelihood.scale(), torch.tensor([0.1, 0.1, 0.7, 500.0]), rtol=0, atol=1e-3
    )
    with torch.no_grad():
        likelihood.raw_scale.fill_(-1e3)
    torch.testing.assert_close(likelihood.scale(), torch.full((4,), 0.1))
    barely = Gaussian(1, scale=0.01, floor=0.1).scale()
    torch.testing.assert_close(barely, torch.tensor([0.1]), rtol=0, atol=1e-3)


def test_the_learned_deviation_finds_that_of_the_rows() -> None:
    likelihood = Gaussian(1, floor=0.05)
    x = 0.3 * torch.randn(5000, 1)
    optimiser = torch.optim.Adam(likelihood.parameters(), 0.05)
    for _ in range(200):
        optimiser.zero_grad()
        (-likelihood.log_prob(torch.zeros(5000, 1), x).mean()).backward()
        optimiser.step()
    expected = x.square().mean(0).sqrt()
    torch.testing.assert_close(likelihood.scale(), expected, rtol=1e-2, atol=0)
