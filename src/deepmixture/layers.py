"""Layers as this project needs them.

Batch normalisation and dropout are of the whole batch, where it is shared out between processes
(`parallel`); convolutions read their weights channels last, as `nets.ImageInput` gives images.
"""

import math
from typing import cast

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


class Conv2d(nn.Conv2d):
    """Convolution that keeps images channels last in memory, whichever way its weights lie."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.to(memory_format=torch.channels_last)
        convolved: Tensor = self._conv_forward(x, weight, self.bias)
        return convolved


class ConvTranspose2d(nn.ConvTranspose2d):
    """Transposed convolution that keeps images channels last, whichever way its weights lie."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        weight = self.weight.to(memory_format=torch.channels_last)
        return functional.conv_transpose2d(
            x,
            weight,
            self.bias,
            stride=self.stride,
            padding=cast(tuple[int, ...], self.padding),
            output_padding=self.output_padding,
            groups=self.groups,
            dilation=self.dilation,
        )


class Dropout(nn.Dropout):
    """Dropout whose noise is drawn for the whole batch."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p, self.training)


def dropout(x: Tensor, share: float, training: bool) -> Tensor:
    """In training, put a share of the entries of x (B, ...) to zero and enlarge the others.

    On a CPU torch draws these numbers one by one, a tenth of a training step; sixteen random bits
    an entry, four entries a draw, take a quarter of the time. The share is rounded to 1 / 65536.
    """
    if not training or share == 0.0:
        return x
    if parallel.share() is None and x.device.type != "cpu":
        return functional.dropout(x, share)
    cut = round(share * 2**16)
    if cut == 2**16:
        return 0.0 * x

    def draw(n_rows: int) -> Tensor:
        shape = (n_rows, *x.shape[1:])
        n = math.prod(shape)
        bits = torch.empty((n + 3) // 4, dtype=torch.int64, device=x.device)
        drawn = bits.random_(-(2**63), None).view(torch.int16)[:n].view(shape)
        return torch.ge(drawn, cut - 2**15, out=torch.empty_like(drawn, dtype=x.dtype))

    return x * per_row(draw, len(x)).mul_(1.0 / (1.0 - cut / 2**16))
