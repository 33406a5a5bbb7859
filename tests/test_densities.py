"""The normal density against `torch.distributions`."""

import pytest
import torch
from torch.distributions import Normal

from deepmixture.densities import at_least_float32, log_normal, normal_entropy


def test_log_normal_is_the_log_density_of_each_entry() -> None:
    x, loc = torch.randn(4, 1, 3), torch.randn(5, 3)
    scale = torch.rand(5, 3) + 0.1
    expected = Normal(loc, scale).log_prob(x)
    torch.testing.assert_close(log_normal(x, loc, scale.log()), expected, rtol=1e-5, atol=1e-5)


def test_log_normal_stays_finite_for_extreme_scales() -> None:
    log_scale = torch.tensor([-30.0, 30.0])
    assert log_normal(torch.zeros(2), torch.zeros(2), log_scale).isfinite().all()


def test_entropy() -> None:
    scale = torch.tensor([0.01, 1.0, 30.0])
    torch.testing.assert_close(normal_entropy(scale.log()), Normal(0.0, scale).entropy())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.int64, torch.float32),
    ],
)
def test_precision_is_lifted_and_never_lowered(given: torch.dtype, expected: torch.dtype) -> None:
    assert at_least_float32(torch.ones(2, dtype=given)).dtype == expected
