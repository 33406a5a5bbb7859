"""A folder of images as one array."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")

# Modes of Pillow that are arrays as they stand; the others (palettes, CMYK, ...) become colour.
_PLAIN_MODES = ("1", "L", "I", "I;16", "I;16B", "F", "RGB", "RGBA")


def read_images(paths: Sequence[Path]) -> np.ndarray:
    """Read images of one size, (N, H, W) where they are grey and (N, H, W, C) where not."""
    first = _read_image(paths[0])
    images = np.empty((len(paths), *first.shape), first.dtype)
    images[0] = first
    for index, path in enumerate(paths[1:], start=1):
        image = _read_image(path)
        if image.shape != first.shape or image.dtype != first.dtype:
            raise ValueError(
                f"{path} is {_describe(image)}, {paths[0].name} is {_describe(first)}: "
                "expected images of one size and one colour mode"
            )
        images[index] = image
    return images


def _read_image(path: Path) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            # Cameras store a rotation beside the pixels.
            image = ImageOps.exif_transpose(opened)
            if image.mode not in _PLAIN_MODES:
                image = image.convert("RGBA" if _has_alpha(image) else "RGB")
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error


def _has_alpha(image: Any) -> bool:  # noqa: ANN401
    return "A" in image.getbands() or "transparency" in image.info


def _describe(image: np.ndarray) -> str:
    height, width, *channels = image.shape
    colour = {(): "grey", (3,): "RGB", (4,): "RGBA"}[tuple(channels)]
    return f"{width} x {height} {colour} {image.dtype}"
