"""Gradients through a discrete latent, against exact enumeration.

Thousands of copies of one row, each with logits and parameters of its own, give as many
independent estimates in one call: their mean is held against enumeration, within its standard
error.
"""

import itertools
import math

import pytest
import torch
from torch import Tensor

from deepmixture.gradients import NVIL, VIMCO, Exact, Gradient, Gumbel, TopK, make

K, N = 4, 40_000
LOGITS = torch.tensor([0.4, -1.1, 0.9, -0.3], dtype=torch.float64)
# log p(x, y) in the four clusters, unlike q(y|x), and far from zero as it is with images.
LOG_P = torch.tensor([-31.0, -29.5, -33.0, -30.2], dtype=torch.float64)
CURVATURE = 2.5
TEMPERATURE = {"temperature": torch.tensor(0.5)}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def copies(n: int = N) -> tuple[Tensor, Tensor]:
    """Logits of q(y|x) and parameters of log p(x, y), each (n, K)."""
    return tuple(part.repeat(n, 1).requires_grad_(True) for part in (LOGITS, LOG_P))


def gradients(
    estimator: Gradient, n: int = N, curvature: float = 0.0, temperature: float = 0.5
) -> tuple[Tensor, Tensor, Tensor]:
    """Values (n,), and the gradients (n, K) in the logits and in the parameters."""
    logits, log_p = copies(n)

    def f(y: Tensor) -> Tensor:
        # Zero at each one-hot y, so that only a relaxed one meets it.
        bend = curvature * (y.square() * (1.0 - y)) @ torch.arange(K, dtype=torch.float64)
        return (y * log_p).sum(-1) + bend

    features = torch.ones(n, 2, dtype=torch.float64)
    knobs = {"temperature": torch.tensor(temperature)}
    estimate = estimator.double()(f, logits, knobs, features)
    return estimate.value, *torch.autograd.grad(estimate.surrogate.sum(), (logits, log_p))


def exact_bound(logits: Tensor, log_p: Tensor) -> Tensor:
    q = logits.softmax(-1)
    return (q * (log_p - q.log())).sum(-1)


def exact_gradients() -> tuple[Tensor, Tensor]:
    logits, log_p = copies(1)
    return torch.autograd.grad(exact_bound(logits, log_p).sum(), (logits, log_p))


def assert_mean(draws: Tensor, expected: Tensor, errors: float = 4.5) -> None:
    """The mean over the first dimension is the expected one, within its standard error."""
    standard_error = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - expected).abs() <= errors * standard_error + 1e-9).all()
    assert (standard_error < 0.1).all()  # or the comparison would say nothing


def test_enumeration_is_the_bound_and_its_gradient() -> None:
    value, *found = gradients(Exact(), n=3)
    torch.testing.assert_close(value, exact_bound(*copies(3)).detach())
    for gradient, expected in zip(found, exact_gradients(), strict=True):
        torch.testing.assert_close(gradient, expected.expand(3, -1))


UNBIASED = {
    "top-1": TopK(1),
    "top-2": TopK(2),
    "top-3": TopK(3),
    "top-2 and 3 draws": TopK(2, n_samples=3),
    "nvil": NVIL(3, n_features=2, normalise=False),
    "nvil, constant baseline": NVIL(3, normalise=False),
}


@pytest.mark.parametrize("name", UNBIASED)
def test_unbiased_estimators_agree_with_enumeration(name: str) -> None:
    estimator = UNBIASED[name].train()
    for _ in range(2):  # running moments: the first batch is its own past
        value, *found = gradients(estimator)
    assert_mean(value, exact_bound(LOGITS, LOG_P))
    for gradient, expected in zip(found, exact_gradients(), strict=True):
        assert_mean(gradient, expected[0])


def test_more_enumerated_clusters_leave_less_variance() -> None:
    spread = [gradients(TopK(k), n=4000)[1].var(0).sum() for k in (1, 2, 3)]
    assert spread[0] > 2 * spread[1] > 4 * spread[2]
    # The last cluster alone is not drawn but known.
    assert spread[2] < 1e-20


def test_the_remainder_weighs_nothing_where_q_is_sure() -> None:
    logits = torch.tensor([[0.0, 300.0, -20.0]], requires_grad=True)
    estimate = TopK(1)(lambda y: y @ torch.tensor([1.0, 2.0, 3.0]), logits, {})
    estimate.surrogate.sum().backward()
    torch.testing.assert_close(estimate.value, torch.tensor([2.0]))
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.zeros(1, 3))


def test_baselines_leave_less_variance() -> None:
    """With log p of about -30 the score function alone is of little use."""
    bare, constant = NVIL(1, normalise=False), NVIL(1, normalise=False)
    bare.seen.fill_(1.0)  # a past whose mean is zero
    spread = [
        float(gradients(estimator, n=4000)[1].var(0).sum()) for estimator in (bare, constant)
    ]
    assert spread[0] > 50 * spread[1]


def test_the_baseline_learns_what_features_say_of_the_bound() -> None:
    """Rows of two kinds, whose bounds differ by 40: the network's part of the signal."""
    torch.manual_seed(1)
    estimator = NVIL(1, n_features=1, normalise=False).double().train()
    kind = torch.tensor([[-1.0], [1.0]], dtype=torch.float64).repeat(500, 1)
    logits = torch.zeros(1000, K, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam(estimator.parameters(), lr=0.05)
    spread = []
    for _ in range(150):
        estimate = estimator(lambda y: 20 * kind.T + y @ LOG_P, logits, {}, kind)
        optimiser.zero_grad()
        (gradient,) = torch.autograd.grad(estimate.surrogate.sum(), logits, retain_graph=True)
        (-estimate.surrogate.mean()).backward(inputs=list(estimator.parameters()))
        optimiser.step()
        spread.append(float(gradient.var(0).sum()))
    assert spread[-1] < 0.05 * spread[0]


def test_variance_normalisation_scales_the_gradient_and_no_more() -> None:
    estimator = NVIL(3, normalise=True).train()
    gradients(estimator)
    divisor = float(estimator.variance.sqrt())
    assert divisor > 1.1
    _, in_logits, in_log_p = gradients(estimator)
    assert_mean(divisor * in_logits, exact_gradients()[0][0])
    assert_mean(in_log_p, exact_gradients()[1][0])


def test_moments_are_remembered_in_training_only() -> None:
    estimator = NVIL(1).train()
    gradients(estimator, n=100)
    before = {name: value.clone() for name, value in estimator.state_dict().items()}
    estimator.eval()
    gradients(estimator, n=100)
    for name, value in estimator.state_dict().items():
        torch.testing.assert_close(value, before[name])
    estimator.train()
    gradients(estimator, n=100)
    assert float(estimator.seen) == 2.0


def importance_weighted(logits: Tensor, log_p: Tensor, n_samples: int) -> Tensor:
    """E[log 1/M sum w] by enumeration of all K^M draws, for logits and log_p (K,)."""
    log_q = logits.log_softmax(-1)
    draws = torch.tensor(list(itertools.product(range(len(logits)), repeat=n_samples)))
    bound = (log_p - log_q)[draws].logsumexp(1) - math.log(n_samples)
    return (log_q[draws].sum(1).exp() * bound).sum()


@pytest.mark.parametrize("n_samples", [2, 3, 5])
def test_vimco_agrees_with_enumeration_of_all_its_draws(n_samples: int) -> None:
    logits, log_p = LOGITS.clone().requires_grad_(True), LOG_P.clone().requires_grad_(True)
    bound = importance_weighted(logits, log_p, n_samples)
    expected = torch.autograd.grad(bound, (logits, log_p))
    value, *found = gradients(VIMCO(n_samples))
    assert_mean(value, bound.detach())
    for gradient, exact in zip(found, expected, strict=True):
        assert_mean(gradient, exact)


def test_the_bound_of_vimco_grows_towards_the_evidence() -> None:
    log_p_x = float(LOG_P.logsumexp(0))
    samples = (2, 8, 32)
    bounds = [float(gradients(VIMCO(m), n=5000)[0].mean()) for m in samples]
    gaps = [log_p_x - bound for bound in [float(exact_bound(LOGITS, LOG_P)), *bounds]]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 0.5
    assert 0.0 < gaps[-1] < 0.1


def test_vimco_refuses_one_sample() -> None:
    with pytest.raises(ValueError, match="n_samples=1 is too few for VIMCO"):
        VIMCO(1)


def relaxed_bias(temperature: float, curvature: float, straight_through: bool) -> float:
    estimator = Gumbel(1, straight_through)
    _, found, _ = gradients(estimator, curvature=curvature, temperature=temperature)
    return float((found.mean(0) - exact_gradients()[0][0]).abs().max())


@pytest.mark.parametrize("straight_through", [False, True])
def test_the_relaxed_bias_shrinks_with_the_temperature(straight_through: bool) -> None:
    """Where f is linear in y, both meet enumeration at temperature zero."""
    biases = [relaxed_bias(t, 0.0, straight_through) for t in (2.0, 0.7, 0.1)]
    assert biases == sorted(biases, reverse=True)
    assert biases[0] > 0.2
    assert biases[-1] < 0.05


def test_straight_through_stays_biased_where_f_bends() -> None:
    """The slopes at the corners do not tell of a cubic how it goes from one to the other."""
    relaxed = [relaxed_bias(t, CURVATURE, False) for t in (0.7, 0.05)]
    through = [relaxed_bias(t, CURVATURE, True) for t in (0.7, 0.05)]
    assert relaxed[1] < 0.05 < 0.15 < relaxed[0]
    assert min(through) > 0.25


def test_straight_through_values_are_those_of_one_hot_draws() -> None:
    value, *_ = gradients(Gumbel(2, straight_through=True), curvature=CURVATURE)
    assert_mean(value, exact_bound(LOGITS, LOG_P))


@pytest.mark.parametrize(
    "estimator", [Exact(), TopK(2), NVIL(2), VIMCO(3), Gumbel(2, straight_through=True)]
)
def test_weights_make_expectations_under_q(estimator: Gradient) -> None:
    logits, asked = LOGITS.repeat(N, 1), []

    def f(y: Tensor) -> Tensor:
        asked.append(y.detach())
        return y @ LOG_P

    weights = estimator.double()(f, logits, TEMPERATURE).weights
    assert len(asked) == 1  # one batch of decoder passes
    assert weights.shape == asked[0].shape[:2]
    shares = (weights[..., None] * asked[0]).sum(0)
    torch.testing.assert_close(shares.mean(0), LOGITS.softmax(0), rtol=0, atol=0.02)


@pytest.mark.parametrize("name", ["top-k", "nvil", "vimco", "gumbel", "gumbel-straight-through"])
def test_samples_are_decoder_passes(name: str) -> None:
    asked = []

    def f(y: Tensor) -> Tensor:
        asked.append(y)
        return y @ LOG_P.float()

    make(name, K, 3, 2)(f, LOGITS.float().repeat(5, 1), TEMPERATURE, torch.ones(5, 2))
    assert asked[0].shape == (3, 5, K)
    torch.testing.assert_close(asked[0].sum(-1), torch.ones(3, 5))


def test_top_k_of_all_is_enumeration() -> None:
    assert isinstance(make("top-k", K, K, 2), Exact)
    assert isinstance(make("exact", K, 1, 2), Exact)


def test_the_baseline_leaves_the_features_alone() -> None:
    features = torch.ones(5, 2, requires_grad=True)
    estimate = NVIL(2, 2)(lambda y: y @ LOG_P.float(), LOGITS.float().repeat(5, 1), {}, features)
    estimate.surrogate.sum().backward()
    assert features.grad is None


@pytest.mark.parametrize("name", ["exact", "top-k", "nvil", "vimco", "gumbel"])
def test_a_cluster_far_from_every_row_leaves_all_finite(name: str) -> None:
    logits = torch.tensor([[0.0, -500.0, 800.0, 1.0]], requires_grad=True)
    log_p = torch.tensor([-1e4, -1e30, -3.0, -1e6])
    estimate = make(name, K, 3, 2)(lambda y: y @ log_p, logits, TEMPERATURE, torch.ones(1, 2))
    estimate.surrogate.sum().backward()
    assert estimate.value.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
