"""Networks: the encoders and decoders that the models share.

An encoder maps rows x (B, F) to features (B, H); a decoder maps latents z (..., D) to the
parameters h (..., P) of the likelihood p(x|z). Rows of images are flat, in (height, width,
channel) order; `ImageInput` and `ImageOutput` stand wherever rows and images meet, so that images
are channels last in memory and none is copied.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepmixture.densities import at_least_float32
from deepmixture.layers import BatchNorm1d, BatchNorm2d, Conv2d, ConvTranspose2d, Dropout


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Fully connected layers of the given sizes with a ReLU between two, none after the last."""
    layers: list[nn.Module] = []
    for width_in, width_out in itertools.pairwise(sizes):
        layers += [nn.Linear(width_in, width_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def mlp_pair(
    n_features: int, n_outputs: int, n_latent: int, hidden: Sequence[int]
) -> tuple[nn.Module, nn.Module]:
    """Encoder x -> features and its mirrored decoder z -> h, as in DEC and VaDE."""
    encoder = nn.Sequential(*mlp([n_features, *hidden]), nn.ReLU())
    decoder = mlp([n_latent, *reversed(hidden), n_outputs])
    return encoder, decoder


class ImageInput(nn.Module):
    """Flat rows (B, H * W * C) -> images (B, C, H, W), channels last in memory."""

    def __init__(self, height: int, width: int, channels: int) -> None:
        super().__init__()
        self.shape = (height, width, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(-1, *self.shape).permute(0, 3, 1, 2)


class ImageOutput(nn.Module):
    """Images (B, P * C, H, W) -> flat rows (B, P * H * W * C), P parameters a pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, h: Tensor) -> Tensor:
        h = h.reshape(len(h), -1, self.channels, *h.shape[2:])  # (B, P, C, H, W)
        return h.permute(0, 1, 3, 4, 2).flatten(1)


class Crop(nn.Module):
    """Keep the first `height` x `width` pixels of images (B, C, ., .).

    A transposed convolution to twice the side and this cut are many times faster on a CPU than one
    straight to an odd side.
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, h: Tensor) -> Tensor:
        return h[..., : self.height, : self.width]


class LeadingDimensions(nn.Module):
    """Let a decoder written for (B, D) take (..., D): samples and clusters ride in front."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, z: Tensor) -> Tensor:
        h: Tensor = self.decoder(z.reshape(-1, z.shape[-1]))
        return h.reshape(*z.shape[:-1], -1)


def convolutional_pair(
    image_shape: tuple[int, int, int],
    n_parameters: int,
    n_latent: int,
    channels: Sequence[int] = (32, 64, 128),
    width: int = 1024,
) -> tuple[nn.Module, nn.Module]:
    """Stride-2 convolutions down and stride-2 transposed convolutions up.

    Parameters
    ----------
    image_shape : (height, width, channels)
    n_parameters : int
        Likelihood parameters per pixel and channel.
    channels : sequence of int
        Channels after each convolution; a side shorter than 4 pixels is not halved further.
    width : int
        Units of the fully connected layer between the last image and the latent.
    """
    height, breadth, colours = image_shape
    sides = [(height, breadth)]
    for _ in channels:
        if min(sides[-1]) < 4:
            break
        sides.append(((sides[-1][0] + 1) // 2, (sides[-1][1] + 1) // 2))
    depths = [colours, *channels[: len(sides) - 1]]
    flat = depths[-1] * math.prod(sides[-1])

    down: list[nn.Module] = [ImageInput(*image_shape)]
    for depth_in, depth_out in itertools.pairwise(depths):
        down += [Conv2d(depth_in, depth_out, 3, stride=2, padding=1), nn.ReLU()]
    encoder = nn.Sequential(*down, ImageOutput(depths[-1]), nn.Linear(flat, width), nn.ReLU())

    depths[0] = colours * n_parameters
    flat = depths[-1] * math.prod(sides[-1])
    up: list[nn.Module] = [nn.Linear(n_latent, width), nn.ReLU(), nn.Linear(width, flat)]
    up += [ImageInput(*sides[-1], depths[-1])]
    for level in range(len(sides) - 1, 0, -1):
        depth_in, depth_out = depths[level], depths[level - 1]
        up += [nn.ReLU(), ConvTranspose2d(depth_in, depth_out, 3, 2, 1, output_padding=1)]
        if (2 * sides[level][0], 2 * sides[level][1]) != sides[level - 1]:
            up.append(Crop(*sides[level - 1]))
    return encoder, nn.Sequential(*up, ImageOutput(colours))


def convolutional_valid_pair(
    image_shape: tuple[int, int, int],
    n_parameters: int,
    n_latent: int,
    channels: tuple[int, int, int] = (16, 32, 64),
    width: int = 500,
) -> tuple[nn.Module, nn.Module]:
    """The convolutional network of GMVAE: 6x6 twice without padding, 4x4 at stride 2, and back.

    Dilokthanakul et al. (2016), appendix: batch normalisation after each convolution. The
    fully connected layers have none here, so that a batch may be a single row.

    Parameters
    ----------
    image_shape : (height, width, channels)
        Both sides at least 12 pixels.
    n_parameters : int
        Likelihood parameters per pixel and channel.
    channels : tuple of int
        Filters of the three convolutions.
    width : int
        Units of the fully connected layer between the last image and the latent.

    Raises
    ------
    ValueError
        If the images are too small.
    """
    height, breadth, colours = image_shape
    if min(height, breadth) < 12:
        raise ValueError(
            f"images of {height} x {breadth} pixels are too small for "
            "network='convolutional_valid'; expected at least 12 x 12"
        )
    one, two, three = channels
    inner = ((height - 10) // 2, (breadth - 10) // 2)
    # Stride 2 forgets an odd last row of pixels, and the way back must find it again.
    odd = (height % 2, breadth % 2)
    encoder = nn.Sequential(
        ImageInput(*image_shape),
        *(Conv2d(colours, one, 6), BatchNorm2d(one), nn.ReLU()),
        *(Conv2d(one, two, 6), BatchNorm2d(two), nn.ReLU()),
        *(Conv2d(two, three, 4, stride=2, padding=1), BatchNorm2d(three), nn.ReLU()),
        *(ImageOutput(three), nn.Linear(three * math.prod(inner), width), nn.ReLU()),
    )
    back = ConvTranspose2d(three, two, 4, stride=2, padding=1, output_padding=odd)
    decoder = nn.Sequential(
        *(nn.Linear(n_latent, width), nn.ReLU(), nn.Linear(width, three * math.prod(inner))),
        *(ImageInput(*inner, three), BatchNorm2d(three), nn.ReLU()),
        *(back, BatchNorm2d(two), nn.ReLU()),
        *(ConvTranspose2d(two, one, 6), BatchNorm2d(one), nn.ReLU()),
        *(ConvTranspose2d(one, colours * n_parameters, 6), ImageOutput(colours)),
    )
    return encoder, decoder


def normalised_convolutions(
    image_shape: tuple[int, int, int],
    channels: Sequence[int] = (32, 64, 128),
    width: int = 256,
    dropout: float = 0.3,
) -> nn.Module:
    """Stride-2 convolutions with batch normalisation and dropout: the network of a classifier.

    Parameters
    ----------
    image_shape : (height, width, channels)
    channels : sequence of int
        Channels after each convolution; a side shorter than 4 pixels is not halved further.
    width : int
        Features that come out.
    dropout : float
    """
    height, breadth, colours = image_shape
    layers: list[nn.Module] = [ImageInput(*image_shape)]
    for depth in channels:
        if min(height, breadth) < 4:
            break
        layers += [Conv2d(colours, depth, 3, stride=2, padding=1, bias=False)]
        layers += [BatchNorm2d(depth), nn.ReLU(inplace=True)]
        height, breadth, colours = (height + 1) // 2, (breadth + 1) // 2, depth
    layers += [ImageOutput(colours), Dropout(dropout)]
    layers += [nn.Linear(colours * height * breadth, width), BatchNorm1d(width), nn.ReLU()]
    return nn.Sequential(*layers)


def normalised_mlp(
    n_features: int, hidden: Sequence[int] = (512, 256), dropout: float = 0.3
) -> nn.Module:
    """Fully connected layers with batch normalisation and dropout: the network of a classifier."""
    layers: list[nn.Module] = []
    for width_in, width_out in itertools.pairwise((n_features, *hidden)):
        layers += [nn.Linear(width_in, width_out), BatchNorm1d(width_out), nn.ReLU()]
        layers.append(Dropout(dropout))
    return nn.Sequential(*layers)


CONVOLUTIONAL = {
    "convolutional": convolutional_pair,
    "convolutional_valid": convolutional_valid_pair,
}


class NormalHead(nn.Module):
    """Features (B, H) -> mean and scale of a diagonal normal q(z|x), each (B, D).

    The scale starts at `exp(initial_log_scale)` for every row, so that a pretrained mean is not
    drowned in noise at the first step.
    """

    def __init__(self, n_inputs: int, n_latent: int, initial_log_scale: float = -2.0) -> None:
        super().__init__()
        self.mean = nn.Linear(n_inputs, n_latent)
        self.log_scale = nn.Linear(n_inputs, n_latent)
        nn.init.zeros_(self.log_scale.weight)
        nn.init.constant_(self.log_scale.bias, initial_log_scale)

    @torch.no_grad()
    def start_scale(self, scale: Tensor) -> None:
        """Give every row the scale (D,) until training says otherwise."""
        self.log_scale.weight.zero_()
        self.log_scale.bias.copy_(scale.log())

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        # A latent rounded to bfloat16 would add noise of its own; these two products are small.
        with torch.autocast(features.device.type, enabled=False):
            weight = torch.cat([self.mean.weight, self.log_scale.weight])  # one pass over features
            bias = torch.cat([self.mean.bias, self.log_scale.bias])
            both = functional.linear(at_least_float32(features), weight, bias)
            mean, log_scale = both.chunk(2, -1)
            return mean, log_scale.exp()


class ClusterHead(nn.Module):
    """Features (B, H) and one-hot y (S, B, K) -> mean and scale of q(z|y, x), each (S, B, D).

    The features of a row are computed once: y comes in as an embedding, added to a hidden layer of
    the head. What y changes starts at zero, so that a pretrained mean stays what it was. In the
    mean-field form y is let be.

    Parameters
    ----------
    n_inputs, n_latent, n_clusters : int
    width : int, default=200
        Units of the layer in which x and y meet.
    mean_field : bool, default=False
        Whether q(z|x) takes the place of q(z|y, x).
    """

    floor: Tensor

    def __init__(
        self,
        n_inputs: int,
        n_latent: int,
        n_clusters: int,
        width: int = 200,
        mean_field: bool = False,
    ) -> None:
        super().__init__()
        self.mean = nn.Linear(n_inputs, n_latent)
        self.raw_scale = nn.Linear(n_inputs, n_latent)
        self.hidden = nn.Linear(n_inputs, width)
        self.embedding = None if mean_field else nn.Linear(n_clusters, width, bias=False)
        self.change = nn.Linear(width, 2 * n_latent)
        self.register_buffer("floor", torch.zeros(()))
        for layer in (self.raw_scale, self.change):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    @torch.no_grad()
    def start_scale(self, scale: Tensor) -> None:
        """Give every row the scale (D,), above the floor, until training says otherwise."""
        self.raw_scale.weight.zero_()
        self.change.weight[len(scale) :].zero_()
        self.change.bias[len(scale) :].zero_()
        # The inverse of softplus; its plain form log(exp(.) - 1) overflows.
        self.raw_scale.bias.copy_(scale + torch.log(-torch.expm1(-scale)))

    def forward(self, features: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and scale for clusters y, or what all clusters share of them, (B, D)."""
        with torch.autocast(features.device.type, enabled=False):
            features = at_least_float32(features)
            mean, raw_scale = self.mean(features), self.raw_scale(features)
            if y is not None:
                met = self.hidden(features).expand(*y.shape[:-1], -1)  # (S, B, W)
                if self.embedding is not None:
                    met = met + self.embedding(y)
                change, raw_change = self.change(functional.relu(met)).chunk(2, -1)
                mean, raw_scale = mean + change, raw_scale + raw_change
            return mean, functional.softplus(raw_scale) + self.floor


def output_width(module: nn.Module, n_inputs: int) -> int:
    """Return how many numbers `module` gives for a row of `n_inputs`, found by asking it.

    Raises
    ------
    ValueError
        If the module cannot take such rows or does not give one vector a row.
    """
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            out = module(torch.zeros(2, n_inputs))
    except (RuntimeError, ValueError, TypeError) as error:
        message = f"{type(module).__name__} cannot take a batch of shape (2, {n_inputs}): {error}"
        raise ValueError(message) from error
    finally:
        module.train(training)
    if not isinstance(out, Tensor) or out.ndim != 2 or out.shape[0] != 2:
        came = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ValueError(
            f"{type(module).__name__} gave {came} for a batch of shape (2, {n_inputs}); "
            "expected a tensor of shape (2, width)"
        )
    return int(out.shape[1])
