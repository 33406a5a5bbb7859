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
    *first, n_rows, width = shape

    def draw(n: int) -> Tensor:
        return torch.randn(*first, n, width, device=device, generator=generator)

    return per_row(draw, n_rows, dim=-2)


def uniform(*shape: int, device: torch.device) -> Tensor:
    """Draw numbers from [0, 1) of shape (..., B, D)."""
    *first, n_rows, width = shape
    return per_row(lambda n: torch.rand(*first, n, width, device=device), n_rows, dim=-2)


def exponential(*shape: int, device: torch.device) -> Tensor:
    """Draw exponential numbers of mean 1 of shape (..., B, D)."""
    *first, n_rows, width = shape

    def draw(n: int) -> Tensor:
        return torch.empty(*first, n, width, device=device).exponential_()

    return per_row(draw, n_rows, dim=-2)


def categorical(probabilities: Tensor) -> Tensor:
    """Draw a class a row from probabilities (B, K), shape (B,)."""
    return (probabilities / exponential(*probabilities.shape, device=probabilities.device)).argmax(
        -1
    )
