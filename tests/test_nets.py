"""Networks: shapes, image layout, the normal head, and what is said of a network that misfits."""

import pytest
import torch
from torch import Tensor, nn

from deepmixture import nets


def test_mlp_has_a_relu_between_layers_and_none_after_the_last() -> None:
    kinds = [type(layer) for layer in nets.mlp([3, 4, 5, 2])]
    assert kinds == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]


def test_mlp_pair_is_mirrored() -> None:
    encoder, decoder = nets.mlp_pair(7, 14, 2, hidden=(5, 6))
    sizes = [[(m.in_features, m.out_features) for m in net.modules() if isinstance(m, nn.Linear)]
             for net in (encoder, decoder)]  # fmt: skip
    assert sizes == [[(7, 5), (5, 6)], [(2, 6), (6, 5), (5, 14)]]
    assert (encoder(torch.randn(50, 7)) >= 0).all()
    assert (decoder(torch.randn(50, 2)) < 0).any()


@pytest.mark.parametrize("side", [3, 5, 7, 8, 28, 31])
@pytest.mark.parametrize(("channels", "n_parameters"), [(1, 1), (3, 1), (3, 2)])
def test_convolutional_pair_returns_the_size_of_the_image(
    side: int, channels: int, n_parameters: int
) -> None:
    shape = (side, side + 1, channels)
    encoder, decoder = nets.convolutional_pair(shape, n_parameters, 4, channels=(4, 6), width=8)
    n_features = side * (side + 1) * channels
    assert encoder(torch.rand(2, n_features)).shape == (2, 8)
    assert decoder(torch.rand(2, 4)).shape == (2, n_features * n_parameters)


def test_convolutional_pair_halves_down_to_sides_of_two_to_three() -> None:
    encoder, _ = nets.convolutional_pair((28, 28, 1), 1, 10, channels=(2, 2, 2, 2, 2))
    strides = [m.stride for m in encoder.modules() if isinstance(m, nn.Conv2d)]
    assert strides == [(2, 2)] * 4  # 28, 14, 7, 4, 2


def test_every_weight_of_the_convolutional_pair_is_used() -> None:
    encoder, decoder = nets.convolutional_pair((7, 8, 3), 1, 8, channels=(4, 6), width=8)
    decoder(encoder(torch.rand(16, 7 * 8 * 3))).square().sum().backward()
    for name, weight in [*encoder.named_parameters(), *decoder.named_parameters()]:
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize("side", [12, 13, 28, 31])
def test_unpadded_convolutions_there_and_back(side: int) -> None:
    """The sizes of the paper's table for 28 pixels, and the size of the image for any."""
    shape = (side, side + 1, 3)
    encoder, decoder = nets.convolutional_valid_pair(shape, 2, 4, channels=(4, 6, 8), width=16)
    n_features = side * (side + 1) * 3
    features = encoder(torch.rand(2, n_features))
    assert features.shape == (2, 16)
    decoder(features[:, :4]).square().sum().backward()
    assert decoder(torch.rand(2, 4)).shape == (2, 2 * n_features)
    for name, weight in [*encoder.named_parameters(), *decoder.named_parameters()]:
        assert weight.grad is not None, name
    if side == 28:
        sizes = []
        image = torch.rand(1, 28 * 28)
        for layer in nets.convolutional_valid_pair((28, 28, 1), 1, 10)[0]:
            image = layer(image)
            if isinstance(layer, nn.Conv2d):
                sizes.append(tuple(image.shape[1:]))
        assert sizes == [(16, 23, 23), (32, 18, 18), (64, 9, 9)]


def test_unpadded_convolutions_need_twelve_pixels() -> None:
    with pytest.raises(ValueError, match="11 x 28 pixels are too small"):
        nets.convolutional_valid_pair((11, 28, 1), 1, 4)


def test_images_keep_their_layout_through_the_two_doors() -> None:
    images = torch.rand(2, 4, 5, 3)  # (B, H, W, C)
    inside = nets.ImageInput(4, 5, 3)(images.flatten(1))
    assert inside.shape == (2, 3, 4, 5)
    torch.testing.assert_close(inside[1, 2], images[1, :, :, 2])
    assert inside.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(nets.ImageOutput(3)(inside), images.flatten(1))


def test_several_parameters_a_pixel_follow_one_another() -> None:
    first, second = torch.rand(2, 4, 5, 3), torch.rand(2, 4, 5, 3)
    h = torch.cat([image.permute(0, 3, 1, 2) for image in (first, second)], 1)
    flat = nets.ImageOutput(3)(h)
    assert torch.equal(flat, torch.cat([first.flatten(1), second.flatten(1)], 1))


def test_leading_dimensions_ride_in_front() -> None:
    decoder = nets.convolutional_pair((5, 5, 1), 1, 2, channels=(3,), width=4)[1]
    z = torch.randn(3, 2, 4, 2)
    together = nets.LeadingDimensions(decoder)(z)
    assert together.shape == (3, 2, 4, 25)
    torch.testing.assert_close(together[2, 1], decoder(z[2, 1]))


def test_normal_head_starts_at_one_scale_for_every_row() -> None:
    head = nets.NormalHead(6, 2, initial_log_scale=-1.0)
    features = torch.randn(9, 6)
    torch.testing.assert_close(head(features)[1], torch.full((9, 2), -1.0).exp())
    nn.init.normal_(head.log_scale.weight)
    head.start_scale(torch.tensor([0.5, 3.0]))
    torch.testing.assert_close(head(features)[1], torch.tensor([[0.5, 3.0]]).expand(9, 2))


def test_normal_head_is_computed_in_float32_under_autocast() -> None:
    head = nets.NormalHead(6, 2)
    features = torch.randn(9, 6)
    with torch.autocast("cpu", torch.bfloat16):
        mean, scale = head(features)
        from_half, _ = head(features.bfloat16())
    assert torch.equal(mean, head(features)[0])
    assert scale.dtype == from_half.dtype == torch.float32


def test_output_width_leaves_the_network_as_it_was() -> None:
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert nets.output_width(network, 4) == 3
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class Pair(nn.Module):
    """Give a pair of tensors."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Linear(5, 3), r"Linear cannot take a batch of shape \(2, 4\): .*2x4 and 5x3"),
        (nn.Unflatten(1, (2, 2)), r"Unflatten gave \(2, 2, 2\) .*expected .*\(2, width\)"),
        (nn.Flatten(0), r"Flatten gave \(8,\)"),
        (Pair(), r"Pair gave tuple"),
    ],
)
def test_output_width_names_a_network_that_misfits(network: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nets.output_width(network, 4)
