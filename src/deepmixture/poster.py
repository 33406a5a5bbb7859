"""A clustering of images as one picture."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepmixture.outputs import new_file
from deepmixture.pictures import display_range, to_pixels
from deepmixture.plots import Result, colour, typical

if TYPE_CHECKING:
    from PIL import ImageFont


def write_poster(
    path: str | os.PathLike[str], result: Result, clusters: int = 10, columns: int = 10
) -> None:
    """Draw a clustering of images as one PNG: a line per cluster, real rows beside drawn ones.

    Parameters
    ----------
    path : path
        The file to write; written beside and renamed into place.
    result : Result
        A clustering of images.
    clusters : int
        How many clusters to show at most, the largest first.
    columns : int
        How many real and how many drawn images to a cluster at most.
    """
    from PIL import Image, ImageDraw

    if result.image_shape is None:
        raise ValueError("result holds no images; a poster needs rows with an image_shape")
    if clusters < 1 or columns < 1:
        raise ValueError(f"clusters is {clusters} and columns {columns}; expected at least 1")
    shape, limits = result.image_shape, display_range(result.rows)
    sizes = result.all_sizes
    shown = np.argsort(-sizes, kind="stable")[:clusters]
    shown = shown[sizes[shown] > 0]

    tall = max(shape[:2])
    scale = max(1, round(72 / tall)) if tall <= 72 else 72 / tall
    height, width = (max(1, round(side * scale)) for side in shape[:2])
    gap, margin, left, middle, top = 6, 44, 148, 40, 128
    drawn_columns = min(columns, result.samples.shape[1])
    half = columns * (width + gap) - gap
    total = margin + left + half + margin
    if drawn_columns:
        total += middle + drawn_columns * (width + gap) - gap
    page = Image.new("RGB", (total, top + len(shown) * (height + 14) + margin - 14), "#ffffff")
    draw = ImageDraw.Draw(page)
    ink, faint = "#1c1e21", "#6b7076"
    x_real, x_drawn = margin + left, margin + left + half + middle
    _write(draw, (margin, 30), result.title, 30, ink, total - 2 * margin)
    _write(draw, (x_real, 88), "rows of the data", 20, faint, half)
    if drawn_columns:
        _write(draw, (x_drawn, 88), "drawn from the model", 20, faint, half)

    for line, k in enumerate(shown.tolist()):
        y = top + line * (height + 14)
        draw.rounded_rectangle((margin, y, margin + 7, y + height - 1), 3, fill=colour(k))
        _write(draw, (margin + 22, y + height / 2 - 25), f"{k}", 24, ink, left)
        share = f"{sizes[k] / sizes.sum():.1%}"
        _write(draw, (margin + 22, y + height / 2 + 5), share, 17, faint, left)
        real = to_pixels(result.rows[typical(result, k, columns)], shape, limits)
        drawn = to_pixels(result.samples[k][:drawn_columns], shape, limits)
        for x, images in ((x_real, real), (x_drawn, drawn)):
            for column, image in enumerate(images):
                how = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
                tile = Image.fromarray(np.ascontiguousarray(image)).resize((width, height), how)
                page.paste(tile, (x + column * (width + gap), y))

    with new_file(Path(path)) as hidden:
        page.save(hidden, format="PNG", optimize=True)


def _write(
    draw: object, at: tuple[float, float], text: str, size: int, ink: str, room: int
) -> None:
    """Write a line of text, shortened until it fits."""
    from PIL import ImageDraw, ImageFont

    assert isinstance(draw, ImageDraw.ImageDraw)
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont = ImageFont.load_default(size)
    full = text
    while text and draw.textlength(text if text == full else text + "...", font) > room:
        text = text[:-1]
    draw.text(at, text if text == full else text + "...", fill=ink, font=font)
