"""Images as pixels and picture files. They leave as ``data:`` addresses, for a page to hold."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

Ints = NDArray[np.int64]
Pixels = NDArray[np.uint8]
ImageShape = tuple[int, ...]
CHUNK = 4096


def chunks(rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield where a part of the rows begins and the part, few enough to be copied."""
    for start in range(0, len(rows), CHUNK):
        yield start, np.asarray(rows[start : start + CHUNK])


def display_range(rows: np.ndarray) -> tuple[float, float]:
    """Return the lowest and highest finite value: what is shown as black and as white.

    Parameters
    ----------
    rows : array of shape (N, F)
        The data.
    """
    low, high = np.inf, -np.inf
    for _, chunk in chunks(rows):
        finite = chunk[np.isfinite(chunk)]
        if len(finite):
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if not low < high:
        return (0.0, 1.0) if low == np.inf else (low, low + 1.0)
    return low, high


def to_pixels(rows: np.ndarray, shape: ImageShape, limits: tuple[float, float]) -> Pixels:
    """Turn flattened images into bytes which a picture file can hold.

    Parameters
    ----------
    rows : array of shape (n, F)
        Flattened images.
    shape : tuple of int
        (H, W) or (H, W, C).
    limits : tuple of float
        The values shown as black and as white; values beyond are clipped.

    Returns
    -------
    array of shape (n, H, W) or (n, H, W, 3)
        Grey for one or two channels (their mean), else the first three channels.
    """
    low, high = limits
    scaled = (np.asarray(rows, dtype=np.float32) - low) * (255.0 / (high - low))
    bytes_ = np.clip(np.nan_to_num(scaled) + 0.5, 0, 255).astype(np.uint8)
    images: Pixels = bytes_.reshape(len(bytes_), *shape)
    if images.ndim == 3:
        return images
    if images.shape[3] < 3:
        images = images.mean(axis=3).astype(np.uint8)
    return images[..., :3] if images.ndim == 4 else images


def strip(images: Pixels, largest_side: int = 176) -> str:
    """Put images side by side in one PNG.

    Small images are enlarged by a whole factor, so that a browser which fits them to the page
    shows even, sharp pixels.

    Parameters
    ----------
    images : array of shape (n, H, W) or (n, H, W, 3)
        Pixels.
    largest_side : int
        Larger images are shrunk to this many pixels.

    Returns
    -------
    str
        A ``data:`` address.
    """
    from PIL import Image

    tiles = _shrink(images, largest_side)
    factor = max(1, -(-56 // max(tiles.shape[1:3])))
    tiles = tiles.repeat(factor, axis=1).repeat(factor, axis=2)
    picture = Image.fromarray(np.ascontiguousarray(np.concatenate(list(tiles), axis=1)))
    return _data_address(picture, format="PNG", optimize=True)


def _shrink(images: Pixels, side: int) -> Pixels:
    height, width = images.shape[1:3]
    if max(height, width) <= side:
        return images
    from PIL import Image

    ratio = side / max(height, width)
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    return np.stack([np.asarray(Image.fromarray(i).resize(size)) for i in images])


def _data_address(picture: Image.Image, **options: object) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, **options)  # type: ignore[arg-type]
    kind = str(options["format"]).lower()
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


@dataclass(frozen=True)
class Thumbnails:
    """Small pictures of many rows, packed into sheets which are decoded one at a time.

    Attributes
    ----------
    sheets : list of str
        ``data:`` addresses, tiles filled row by row.
    columns : int
        Tiles side by side in a sheet.
    per_sheet : int
        Tiles in a full sheet.
    width, height : int
        Of a tile, in pixels.
    slots : array of int or None
        Positions, ascending, which have a tile; None where all have.
    """

    sheets: list[str]
    columns: int
    per_sheet: int
    width: int
    height: int
    slots: Ints | None


@dataclass(frozen=True)
class _Encoding:
    side: int
    quality: int  # WebP quality for colour; number of greys for grey pictures

    def encode(self, sheet: Pixels) -> str:
        from PIL import Image

        if sheet.ndim == 3:
            picture = Image.fromarray(sheet)
            return _data_address(picture, format="WEBP", quality=self.quality, method=3)
        if self.quality == 256:
            return _data_address(Image.fromarray(sheet), format="PNG", optimize=True)
        greys = self.quality
        level = (sheet.astype(np.uint16) * (greys - 1) + 127) // 255
        picture = Image.fromarray(level.astype(np.uint8)).convert("P")
        picture.putpalette([round(255 * i / (greys - 1)) for i in range(greys) for _ in "rgb"])
        return _data_address(picture, format="PNG", optimize=True, bits=4)


def thumbnails(
    rows: np.ndarray,
    shape: ImageShape,
    order: np.ndarray,
    limits: tuple[float, float],
    budget: int = 12_000_000,
    seed: int = 0,
) -> Thumbnails:
    """Make a small picture of each row, as good as a number of bytes allows.

    Fewer greys or a lower quality are tried first, then fewer pixels; when nothing fits, a
    random sample of the rows gets a picture.

    Parameters
    ----------
    rows : array of shape (N, F)
        Flattened images.
    shape : tuple of int
        (H, W) or (H, W, C).
    order : array of shape (N,)
        Row numbers in the order of the tiles: rows looked at together should be neighbours.
    limits : tuple of float
        The values shown as black and as white.
    budget : int
        Bytes of all sheets together, as they stand in the page.
    seed : int
        Seed of the sample.
    """
    rng = np.random.default_rng(seed)
    n = len(order)
    full = min(48, max(shape[:2]))
    sides = sorted({full, *(max(min(16, full), round(full * s)) for s in (0.75, 0.5))})[::-1]
    grey = len(shape) == 2 or shape[2] < 3
    steps = [(full, q) for q in ((256, 16) if grey else (80, 50))]
    steps += [(side, 16 if grey else 40) for side in sides[1:]]

    trial = np.sort(rng.permutation(n)[:1024])
    trial_pixels = to_pixels(_take(rows, order[trial]), shape, limits)
    for side, quality in steps:
        encoding = _Encoding(side, quality)
        tiles = _shrink(trial_pixels, side)
        columns, per_sheet = _sheet_layout(tiles)
        cost = len(encoding.encode(_sheet(tiles, columns))) / len(trial)
        if cost * n <= budget * 0.98:
            break
    slots = None
    if cost * n > budget:
        keep = max(1, int(budget * 0.98 / cost))
        slots = np.sort(rng.permutation(n)[:keep])
        order = order[slots]

    sheets = []
    for start in range(0, len(order), per_sheet):
        pixels = to_pixels(_take(rows, order[start : start + per_sheet]), shape, limits)
        sheets.append(encoding.encode(_sheet(_shrink(pixels, side), columns)))
    return Thumbnails(sheets, columns, per_sheet, tiles.shape[2], tiles.shape[1], slots)


def _take(rows: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Rows in the order asked for, read in ascending order: kind to memory maps."""
    ascending = np.argsort(index, kind="stable")
    back = np.empty_like(ascending)
    back[ascending] = np.arange(len(index))
    return np.asarray(rows[index[ascending]])[back]


def _sheet_layout(tiles: Pixels) -> tuple[int, int]:
    """Sheets of at most 1600 pixels a side: a browser decodes one in a few milliseconds."""
    columns = max(1, 1600 // tiles.shape[2])
    return columns, columns * max(1, 1600 // tiles.shape[1])


def _sheet(tiles: Pixels, columns: int) -> Pixels:
    n, height, width = tiles.shape[:3]
    lines = -(-n // columns)
    sheet = np.zeros((lines * columns, *tiles.shape[1:]), dtype=np.uint8)
    sheet[:n] = tiles
    sheet = sheet.reshape(lines, columns, *tiles.shape[1:]).swapaxes(1, 2)
    return np.ascontiguousarray(sheet.reshape(lines * height, columns * width, *tiles.shape[3:]))
