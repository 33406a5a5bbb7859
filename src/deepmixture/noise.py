"""Random numbers of the rows of a batch.

Where a batch is shared out between processes (`parallel`), each draws those of the whole batch and
takes the ones of its share, so that a row meets the same noise however many processes there are.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from deepmixture import parallel


def per_row(draw: Callable[[int], Tensor], n_rows: int, dim: int = 0) -> Tensor:
    """Return `draw(n_rows)`, random numbers that have `n_rows` rows along `dim`.

    Of a batch that is shared out, the share of what `draw` gives for the whole batch.
    """
    share = parallel.share()
    if share is None:
        return draw(n_rows)
    return draw(share.n_rows).narrow(dim, share.start, n_rows)


def standard_normal(
    *shape: int, device: torch.device | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """Draw standard normal numbers of shape (..., B, D), by default on the CPU."""
    return _drawn(shape, lambda whole: torch.randn(whole, device=device, generator=generator))


def uniform(*shape: int, device: torch.device) -> Tensor:
    """Draw numbers from [0, 1) of shape (..., B, D)."""
    return _drawn(shape, lambda whole: torch.rand(whole, device=device))


def exponential(*shape: int, device: torch.device) -> Tensor:
    """Draw exponential numbers of mean 1 of shape (..., B, D)."""
    return _drawn(shape, lambda whole: torch.empty(whole, device=device).exponential_())


def categorical(probabilities: Tensor) -> Tensor:
    """Draw a class a row from probabilities (B, K), shape (B,)."""
    waits = exponential(*probabilities.shape, device=probabilities.device)
    return (probabilities / waits).argmax(-1)


def _drawn(shape: tuple[int, ...], draw: Callable[[tuple[int, ...]], Tensor]) -> Tensor:
    """Draw numbers of shape (..., B, D)."""
    *first, n_rows, width = shape
    return per_row(lambda n: draw((*first, n, width)), n_rows, dim=-2)
