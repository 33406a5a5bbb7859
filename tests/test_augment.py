"""Changes of rows keep what they promise to keep."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from deepmixture import augment

SHAPE = (8, 6, 2)


@pytest.fixture
def images() -> Tensor:
    torch.manual_seed(0)
    return torch.rand(20, 8 * 6 * 2)


def test_an_affine_change_of_nothing_is_none(images: Tensor) -> None:
    still = augment.Affine(SHAPE, rotation=0.0, shift=0.0, stretch=0.0, shear=0.0)
    torch.testing.assert_close(still(images, torch.arange(20)), images, atol=1e-5, rtol=0.0)


def test_an_affine_change_moves_pixels_and_invents_none(images: Tensor) -> None:
    changed = augment.Affine(SHAPE)(images, torch.arange(20))
    assert changed.shape == images.shape
    assert (changed - images).abs().mean() > 0.02
    assert changed.min() >= images.min() - 1e-5
    assert changed.max() <= images.max() + 1e-5


def test_a_shift_of_one_pixel_is_a_shift_of_one_pixel() -> None:
    torch.manual_seed(0)
    image = torch.zeros(1, 9, 9, 1)
    image[0, 4, 4] = 1.0
    change = augment.Affine((9, 9, 1), rotation=0.0, shift=2 / 9, stretch=0.0, shear=0.0)
    rows = torch.arange(400)
    changed = change(image.reshape(1, -1).expand(400, -1), rows).reshape(400, 9, 9)
    where = torch.arange(9.0)
    mass = changed.sum((1, 2))
    height = (changed.sum(2) * where).sum(1) / mass
    breadth = (changed.sum(1) * where).sum(1) / mass
    for place in (height, breadth):
        assert place.mean() == pytest.approx(4.0, abs=0.15)
        assert 0.8 < (place - 4.0).abs().max() < 1.05


def test_a_step_to_a_neighbour_stays_between_the_two() -> None:
    x = torch.tensor([[0.0], [10.0], [30.0]])
    change = augment.Neighbours(x, torch.tensor([[1], [0], [1]]), most=0.5)
    for _ in range(20):
        changed = change(x[[0, 2]], torch.tensor([0, 2]))
        assert 0.0 <= changed[0] <= 5.0
        assert 20.0 <= changed[1] <= 30.0


@pytest.mark.parametrize("change", [augment.Mixup(0.3), augment.Noise(0.1), augment.Unchanged()])
def test_other_changes_stay_near(change: augment.Change) -> None:
    torch.manual_seed(0)
    x = torch.randn(200, 5)
    changed = change(x, torch.arange(200))
    assert changed.shape == x.shape
    assert (changed - x).square().mean() < 0.2


def test_dropout_puts_a_share_of_the_entries_to_their_mean() -> None:
    changed = augment.FeatureDropout(0.25)(torch.ones(500, 40), torch.arange(500))
    assert (changed == 0).float().mean() == pytest.approx(0.25, abs=0.02)
    assert set(changed.unique().tolist()) == {0.0, 1.0}


def test_a_given_change_gets_images_and_gives_rows(images: Tensor) -> None:
    seen = []

    def mirror(x: Tensor) -> Tensor:
        seen.append(x.shape)
        return x.flip(-1)

    changed = augment.Given(mirror, SHAPE)(images, torch.arange(20))
    assert seen == [(20, 2, 8, 6)]
    torch.testing.assert_close(
        changed.reshape(20, 8, 6, 2), images.reshape(20, 8, 6, 2).flip(2), atol=0, rtol=0
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x: x[:, :3], ValueError, "must keep the shape"),
        (lambda x: x.numpy(), TypeError, "must give a tensor; got ndarray"),
    ],
)
def test_a_given_change_is_held_to_its_shape(
    change: Callable[[Tensor], Tensor], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        augment.Given(change, None)(torch.zeros(4, 5), torch.arange(4))
