"""Changes of rows that leave their cluster what it is, for the consistency of q(y|x).

A change takes rows x (B, F) and their numbers in the training set (B,), and gives changed rows
(B, F), each time anew. Which one serves a kind of data is in `cluster.refined`.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepmixture.nets import ImageInput, ImageOutput
from deepmixture.noise import per_row, standard_normal, uniform
from deepmixture.parallel import whole_batch

Change = Callable[[Tensor, Tensor], Tensor]


class Affine(nn.Module):
    """Turn, stretch, shear and shift images a little, each by a draw of its own.

    Parameters
    ----------
    image_shape : (height, width, channels)
    rotation : float, default=15.0
        Largest angle, in degrees.
    shift : float, default=0.15
        Largest shift of each axis, in half sides.
    stretch : float, default=0.15
        Largest absolute logarithm of the factor of each axis.
    shear : float, default=0.15
        Largest slope.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        rotation: float = 15.0,
        shift: float = 0.15,
        stretch: float = 0.15,
        shear: float = 0.15,
    ) -> None:
        super().__init__()
        self.to_images, self.to_rows = ImageInput(*image_shape), ImageOutput(image_shape[2])
        self.rotation = math.radians(rotation)
        self.shift, self.stretch, self.shear = shift, stretch, shear

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        """Return changed images, flat as they came; beyond the border its pixels go on."""

        def draw(most: float) -> Tensor:
            drawn = per_row(lambda rows: torch.rand(rows, device=x.device), len(x))
            return ((2.0 * drawn - 1.0) * most)[:, None, None]

        angle, slope = draw(self.rotation), draw(self.shear)
        wide, high = draw(self.stretch).exp(), draw(self.stretch).exp()
        cos, sin = angle.cos(), angle.sin()
        with torch.autocast(x.device.type, enabled=False):
            images = self.to_images(x)
            down, across = (centres(side, x.device) for side in images.shape[2:])
            down = down[:, None]  # (H, 1), and across (W,)
            # Each coordinate in a plane of its own: side by side they take five times as long.
            grid = torch.empty(2, len(x), len(down), len(across), device=x.device)
            parts = (
                (cos * wide * across, (slope - sin * high) * down + draw(self.shift)),
                (sin * wide * across, cos * high * down + draw(self.shift)),
            )
            for coordinate, (by_column, by_row) in zip(grid, parts, strict=True):
                torch.add(by_column, by_row, out=coordinate)
            changed = functional.grid_sample(
                images, grid.permute(1, 2, 3, 0), padding_mode="border", align_corners=False
            )
        flat: Tensor = self.to_rows(changed)
        return flat


def centres(n_pixels: int, device: torch.device) -> Tensor:
    """Return where the middles of pixels are on a side that goes from -1 to 1."""
    return (2.0 * torch.arange(n_pixels, device=device) + 1.0) / n_pixels - 1.0


class Given(nn.Module):
    """A change by the user: of images (B, C, H, W), as torchvision's transforms, or of rows."""

    def __init__(
        self, change: Callable[[Tensor], Tensor], image_shape: tuple[int, int, int] | None
    ) -> None:
        super().__init__()
        self.change = change
        self.image_shape = image_shape

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        """Return the changed rows.

        Raises
        ------
        ValueError, TypeError
            If the change does not give a tensor of the shape it was given.
        """
        shape = self.image_shape
        given = ImageInput(*shape)(x) if shape else x
        changed = self.change(given)
        if not isinstance(changed, Tensor):
            raise TypeError(f"consistency must give a tensor; got {type(changed).__name__}")
        if changed.shape != given.shape:
            raise ValueError(
                f"consistency must keep the shape {tuple(given.shape)}; got {tuple(changed.shape)}"
            )
        flat: Tensor = ImageOutput(shape[2])(changed) if shape else changed
        return flat.to(x.dtype)


class Neighbours(nn.Module):
    """Move a row up to `most` of the way to one of its neighbours.

    Parameters
    ----------
    x : Tensor of shape (N, F)
        All rows.
    index : Tensor of shape (N, k)
        Numbers of the neighbours of each row.
    most : float, default=0.5
    """

    def __init__(self, x: Tensor, index: Tensor, most: float = 0.5) -> None:
        super().__init__()
        self.x, self.index, self.most = x, index, most

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        n_neighbours = self.index.shape[1]
        which = per_row(lambda rows: torch.randint(n_neighbours, (rows,), device=x.device), len(x))
        there = self.x[self.index[rows, which]]
        return torch.lerp(x, there, self.most * uniform(len(x), 1, device=x.device))


class Mixup(nn.Module):
    """Move a row up to `most` of the way to any other row of its batch (Zhang et al. 2018).

    The label stays that of the nearer end, so `most` is at most one half.
    """

    def __init__(self, most: float = 0.3) -> None:
        super().__init__()
        self.most = most

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        other = per_row(lambda rows: torch.randperm(rows, device=x.device), len(x))
        there = whole_batch(x)[other]
        return torch.lerp(x, there, self.most * uniform(len(x), 1, device=x.device))


class FeatureDropout(nn.Module):
    """Put the mean of its column, which is zero, in the place of a share of the entries."""

    def __init__(self, share: float = 0.2) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        kept = uniform(*x.shape, device=x.device) >= self.share
        return x * kept


class Noise(nn.Module):
    """Add normal noise of the deviation `scale`, in scaled units."""

    def __init__(self, scale: float = 0.1) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        return x + self.scale * standard_normal(*x.shape, device=x.device)


class Unchanged(nn.Module):
    """Leave the rows as they are."""

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        return x
