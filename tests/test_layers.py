"""Layers give what torch's give, in the order of memory that is fast."""

import pytest
import torch
from torch import Tensor, nn

from deepmixture import layers


def both(ours: nn.Module, torchs: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Check that output and gradients agree; return the output and the gradient of the images."""
    torchs.load_state_dict(ours.state_dict())
    results = []
    for layer in (ours, torchs):
        given = images.clone().requires_grad_()
        out = layer(given)
        out.square().sum().backward()
        results.append((out, given.grad, *(weight.grad for weight in layer.parameters())))
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs)
    return results[0][:2]


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("kind", ["Conv2d", "ConvTranspose2d"])
def test_convolutions_are_those_of_torch_with_channels_last(kind: str, colours: int) -> None:
    torch.manual_seed(0)
    images = torch.randn(5, 9, 8, colours).permute(0, 3, 1, 2)
    more = {"output_padding": 1} if kind == "ConvTranspose2d" else {}
    made = [
        getattr(where, kind)(colours, 6, 3, stride=2, padding=1, **more) for where in (layers, nn)
    ]
    out, gradient = both(*made, images)
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert gradient.shape == images.shape


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(share: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.ones(401, 513, dtype=dtype, requires_grad=True)
    out = layers.dropout(x, share, training=True)
    dropped = out == 0
    assert dropped.float().mean().item() == pytest.approx(share, abs=0.004)
    assert out.float().mean().item() == pytest.approx(1.0, abs=0.01)
    # No row and no column is spared: the bits of one draw are independent.
    assert dropped.float().mean(0).sub(share).abs().max() < 0.15
    assert dropped.float().mean(1).sub(share).abs().max() < 0.15
    for step in (1, 2, 3, 4):
        flat = dropped.flatten().float()
        together = (flat[step:] * flat[:-step]).mean().item()
        assert together == pytest.approx(share**2, abs=0.006)
    out.float().sum().backward()
    assert torch.equal(x.grad, out.detach())  # x is one: what is dropped has no gradient


def test_dropout_is_anew_each_time_and_the_same_by_the_seed() -> None:
    x = torch.ones(30, 7)
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn += [layers.dropout(x, 0.5, training=True) for _ in range(2)]
    assert torch.equal(drawn[0], drawn[2])
    assert torch.equal(drawn[1], drawn[3])
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[4])


def test_dropout_does_nothing_after_training_or_with_no_share() -> None:
    x = torch.randn(4, 3)
    assert layers.dropout(x, 0.5, training=False) is x
    assert layers.dropout(x, 0.0, training=True) is x
    assert not layers.dropout(x, 1.0, training=True).any()
