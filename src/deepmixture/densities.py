"""The normal density and the precision of densities, written once."""

import math

import torch
from torch import Tensor

HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


def at_least_float32(x: Tensor) -> Tensor:
    """Return x in float32 where its own precision is lower or integer, else as it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def log_normal(x: Tensor, loc: Tensor, log_scale: Tensor) -> Tensor:
    """Return log N(x; loc, exp(log_scale)²) of each entry, broadcast."""
    standard = (x - loc) * torch.exp(-log_scale)
    return -(0.5 * standard.square() + log_scale + HALF_LOG_2PI)


def normal_entropy(log_scale: Tensor) -> Tensor:
    """Return the entropy of N(., exp(log_scale)²) of each entry."""
    return log_scale + HALF_LOG_2PI + 0.5


def normal_divergence(
    loc: Tensor, log_scale: Tensor, other_loc: Tensor, other_log_scale: Tensor
) -> Tensor:
    """Return KL(N(loc, scale²) || N(other_loc, other_scale²)) of each entry, broadcast."""
    log_ratio = log_scale - other_log_scale
    shift = (loc - other_loc) * torch.exp(-other_log_scale)
    return 0.5 * (torch.exp(2.0 * log_ratio) + shift.square() - 1.0) - log_ratio
