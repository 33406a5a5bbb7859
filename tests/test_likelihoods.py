"""Likelihoods: normalised, with the moments they claim, missing entries marginalised."""

import itertools

import pytest
import torch
from torch.distributions import Bernoulli as BernoulliDistribution
from torch.distributions import Normal

from deepmixture.likelihoods import Bernoulli, Gaussian, Likelihood


def gaussian(n_features: int) -> Gaussian:
    likelihood = Gaussian(n_features)
    likelihood.start(torch.linspace(0.3, 2.0, n_features))
    return likelihood


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


def test_samples_have_the_mean_and_the_deviation() -> None:
    h = torch.tensor([-1.5, 0.0, 3.0])
    many = h.expand(100_000, 3)
    normal, coin = gaussian(3), Bernoulli()
    x = normal.sample(many, torch.Generator().manual_seed(0))
    torch.testing.assert_close(x.mean(0), normal.mean(h), rtol=0, atol=0.03)
    torch.testing.assert_close(x.std(0), normal.scale().detach(), rtol=0.02, atol=0)
    x = coin.sample(many, torch.Generator().manual_seed(0))
    assert set(x.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(x.mean(0), h.sigmoid(), rtol=0, atol=0.01)
    torch.testing.assert_close(coin.mean(h), h.sigmoid())
    assert torch.equal(x, coin.sample(many, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("likelihood", [Bernoulli(), gaussian(4)])
def test_a_missing_entry_is_marginalised(likelihood: Likelihood) -> None:
    """The likelihood of a row with gaps is that of the columns which are there."""
    h, x = torch.randn(3, 2, 4), torch.rand(2, 4)
    gaps = x.clone()
    gaps[0, 1] = gaps[1, 0] = gaps[1, 3] = torch.nan
    log_p = likelihood.log_prob(h, gaps)
    each = torch.stack([likelihood.log_prob_entries(h, x)[..., column] for column in range(4)])
    torch.testing.assert_close(log_p[:, 0], each[[0, 2, 3], :, 0].sum(0))
    torch.testing.assert_close(log_p[:, 1], each[[1, 2], :, 1].sum(0))
    assert not likelihood.log_prob(h[0, 0], torch.full((4,), torch.nan)).any()


@pytest.mark.parametrize("likelihood", [Bernoulli(), gaussian(4)])
def test_a_missing_entry_gives_no_gradient(likelihood: Likelihood) -> None:
    h = torch.randn(2, 4, requires_grad=True)
    x = torch.tensor([[0.5, torch.nan, 1.0, 0.0], [torch.nan, 0.1, 0.2, 0.3]])
    (gradient,) = torch.autograd.grad(likelihood.log_prob(h, x).sum(), h)
    assert torch.equal(gradient == 0, x.isnan())
    assert gradient.isfinite().all()


@pytest.mark.parametrize("likelihood", [Bernoulli(), gaussian(4)])
def test_densities_are_float32_at_least(likelihood: Likelihood) -> None:
    h, x = torch.randn(5, 4), torch.rand(5, 4)
    low = likelihood.log_prob(h.bfloat16(), x)
    assert low.dtype == likelihood.mean(h.bfloat16()).dtype == torch.float32
    torch.testing.assert_close(low, likelihood.log_prob(h.bfloat16().float(), x))
    assert likelihood.log_prob(h.double(), x.double()).dtype == torch.float64


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
