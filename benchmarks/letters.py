"""Images of letters, as the fonts of a folder draw them.

The folder is in the environment variable `DEEPMIXTURE_FONTS`: what `apt-get download` brings of
Debian's packages fonts-* and texlive-fonts-extra, unpacked by `dpkg -x`. A letter is drawn white
on black, 22 pixels long, in the middle of 28 by 28, as the digits of MNIST are.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE, LONGEST, POINTS = 28, 22, 80
NO_LETTER = "\uffff"
Pixels = np.ndarray


def images(letters: str, n_fonts: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, 784) of all letters by so many fonts, and which letter each is.

    Of the fonts in the folder those that draw each letter in its own way, each way once; so many
    of them drawn at random (seed 0).

    Raises
    ------
    FileNotFoundError
        If there is no folder, or it has fewer fonts.
    """
    folder = os.environ.get("DEEPMIXTURE_FONTS")
    if not folder:
        raise FileNotFoundError("needs a folder of fonts in DEEPMIXTURE_FONTS")
    drawn = {alphabet.tobytes(): alphabet for alphabet in _alphabets(Path(folder), letters)}
    if len(drawn) < n_fonts:
        raise FileNotFoundError(f"needs {n_fonts} fonts, and {folder} has {len(drawn)}")
    kept = np.random.default_rng(0).choice(len(drawn), n_fonts, replace=False)
    all_fonts = np.stack(list(drawn.values()))[kept]
    classes = np.tile(np.arange(len(letters)), n_fonts)
    return all_fonts.reshape(-1, SIDE * SIDE).astype(np.float32), classes


def _alphabets(folder: Path, letters: str) -> Iterator[Pixels]:
    """Yield the letters (L, 28, 28) as each font draws them, in the order of the fonts' names."""
    files = [file for file in folder.rglob("*") if file.suffix in (".ttf", ".otf")]
    for file in sorted(files, key=lambda file: (file.name, file)):
        try:
            font = ImageFont.truetype(file, POINTS)
            found = [_draw(letter, font) for letter in [*letters, NO_LETTER]]
        except OSError:  # a font that is damaged, or only of bitmaps
            continue
        if len({pixels.tobytes() for pixels in found}) == len(found):
            yield np.stack(found[:-1])


def _draw(letter: str, font: ImageFont.FreeTypeFont) -> Pixels:
    """Return the image (28, 28) of a letter, black where a font draws nothing."""
    page = Image.new("L", (4 * POINTS, 4 * POINTS))
    ImageDraw.Draw(page).text((POINTS, POINTS), letter, fill=255, font=font)
    image = Image.new("L", (SIDE, SIDE))
    if box := page.getbbox():
        cut = page.crop(box)
        scale = LONGEST / max(cut.size)
        width, height = (max(1, round(scale * side)) for side in cut.size)
        cut = cut.resize((width, height), Image.Resampling.LANCZOS)
        image.paste(cut, ((SIDE - width) // 2, (SIDE - height) // 2))
    return np.asarray(image)
