"""Rows from folders of images."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from deepmixture.data import open_rows

RANDOM = np.random.default_rng(0)


def _save_image(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_a_folder_of_images(tmp_path: Path, suffix: str, channels: tuple[int, ...]) -> None:
    images = RANDOM.integers(0, 255, size=(3, 8, 9, *channels), dtype=np.uint8)
    for name, pixels in zip(("b/2", "a", "b/1"), images, strict=True):
        _save_image(tmp_path / f"{name}{suffix}", pixels)
    (tmp_path / "labels.csv").write_text("a\n1\n")
    (tmp_path / ".thumbs.png").write_bytes(b"")
    rows = open_rows(tmp_path)
    assert rows.image_shape == (8, 9, *channels)
    assert rows.values.dtype == np.uint8
    assert rows.row_names == (f"a{suffix}", f"b/1{suffix}", f"b/2{suffix}")
    assert_array_equal(rows.values, images[[1, 2, 0]].reshape(3, -1))
    assert rows.source == f"3 images of {tmp_path.name}"


def test_photographs_are_turned_and_palettes_become_colour(tmp_path: Path) -> None:
    upright = Image.fromarray(np.zeros((4, 6), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    upright.save(tmp_path / "a.jpg", exif=exif)
    assert open_rows(tmp_path).image_shape == (6, 4)
    (tmp_path / "a.jpg").unlink()
    Image.new("RGB", (4, 6), (255, 0, 0)).convert("P").save(tmp_path / "a.png")
    assert open_rows(tmp_path).image_shape == (6, 4, 3)


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (np.zeros((8, 7), np.uint8), r"c\.png is 7 x 8 grey uint8, a\.png is 8 x 8 grey uint8"),
        (np.zeros((8, 8, 3), np.uint8), r"c\.png is 8 x 8 RGB uint8"),
    ],
)
def test_the_first_image_that_differs_is_named(
    tmp_path: Path, odd: np.ndarray, words: str
) -> None:
    for name in "abde":
        _save_image(tmp_path / f"{name}.png", np.zeros((8, 8), np.uint8))
    _save_image(tmp_path / "c.png", odd)
    with pytest.raises(ValueError, match=words):
        open_rows(tmp_path)


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    _save_image(tmp_path / "a.png", RANDOM.integers(0, 255, size=(64, 64), dtype=np.uint8))
    whole = (tmp_path / "a.png").read_bytes()
    for content in (b"", b"no image", whole[: len(whole) // 2]):
        (tmp_path / "b.png").write_bytes(content)
        with pytest.raises(ValueError, match=r"b\.png cannot be read as an image"):
            open_rows(tmp_path)
