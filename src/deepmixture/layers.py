"""Layers that are of the whole batch, where it is shared out between processes (`parallel`)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepmixture import parallel
from deepmixture.noise import per_row


class BatchNorm1d(nn.BatchNorm1d):
    """Batch normalisation by the moments of the whole batch."""

    def forward(self, x: Tensor) -> Tensor:
        return _normalised(self, x) if self.training and parallel.share() else super().forward(x)


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation of images by the moments of the whole batch."""

    def forward(self, x: Tensor) -> Tensor:
        return _normalised(self, x) if self.training and parallel.share() else super().forward(x)


def _normalised(norm: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Return what `norm` makes of its share x (B, C, ...) in training."""
    wide = x.float()
    over = [0, *range(2, x.dim())]
    count = torch.full((1,), float(x.numel() // x.shape[1]), device=x.device)
    moments = torch.cat([wide.sum(over), wide.square().sum(over), count])
    *_, n = moments = parallel.total(moments)
    mean, square = (moments[:-1] / n).chunk(2)
    variance = (square - mean.square()).clamp_min(0.0)  # the difference is rounded
    with torch.no_grad():
        rate = norm.momentum or 0.0
        norm.running_mean.lerp_(mean, rate)  # type: ignore[union-attr]
        norm.running_var.lerp_(variance * n / (n - 1.0), rate)  # type: ignore[union-attr]
        norm.num_batches_tracked.add_(1)  # type: ignore[union-attr]
    shape = (1, -1, *(1 for _ in over[1:]))
    scale = norm.weight * (variance + norm.eps).rsqrt()
    shift = norm.bias - mean * scale
    normalised: Tensor = (wide * scale.view(shape) + shift.view(shape)).to(x.dtype)
    return normalised


class Dropout(nn.Dropout):
    """Dropout whose noise is drawn for the whole batch."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p, self.training)


def dropout(x: Tensor, share: float, training: bool) -> Tensor:
    """In training, put a share of the entries of x (B, ...) to zero and enlarge the others."""
    if not training or parallel.share() is None:
        return functional.dropout(x, share, training)

    def draw(n_rows: int) -> Tensor:
        return x.new_empty(n_rows, *x.shape[1:]).bernoulli_(1.0 - share)

    return x * per_row(draw, len(x)) / (1.0 - share)
