"""The spiral of the GMVAE paper: clusters that are no ellipses, found and drawn.

10,000 points on the arcs of five circles, a mixture of K = 8 clusters, z and w of two dimensions
each, hidden layers of 100 units, from random networks by the bound alone (Dilokthanakul et al.
2016, the synthetic example). Annealing keeps z from being ignored, and the minimum information
constraint keeps the clusters from falling into one. Writes one picture: the data; rows drawn from
the model, coloured by the cluster they were drawn from; and the responsibilities q(y|x) over the
plane. Takes less than a minute.

    python examples/spiral.py spiral.png
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from deepmixture import GMVAE
from deepmixture.plots import colour

Array = NDArray[np.float64]

SIDE = 420  # pixels of a panel
FINE = 3  # drawn larger and shrunk, so that edges are smooth
REACH = 1.65  # the plane shown is [-REACH, REACH]²


def spiral(n_rows: int, seed: int) -> Array:
    """Return points (n_rows, 2) on the arcs of five circles that turn about the origin."""
    rng = np.random.default_rng(seed)
    arm = rng.integers(5, size=n_rows)
    # Each arc leaves the origin's neighbourhood and bends a quarter of a circle to the left.
    angle = rng.uniform(0.15 * np.pi, 0.75 * np.pi, size=n_rows)
    radius = 0.75 + 0.035 * rng.normal(size=n_rows)
    x = np.stack([0.85 - radius * np.cos(angle), radius * np.sin(angle) - 0.1], axis=1)
    turn = 2.0 * np.pi * arm / 5.0
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    turned: Array = np.einsum("ijn,nj->ni", rotation, x)
    return turned


def panel(title: str, background: Array | None = None) -> Image.Image:
    """Return an empty panel with its title, or one with a background (h, w, 3) in [0, 1]."""
    size = (SIDE * FINE, SIDE * FINE)
    picture = Image.new("RGB", size, "white")
    if background is not None:
        pixels = np.round(255 * background).astype(np.uint8)
        picture.paste(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
    font = ImageFont.load_default(size=17 * FINE)
    ImageDraw.Draw(picture).text((10 * FINE, 8 * FINE), title, fill="#333333", font=font)
    return picture


def draw(picture: Image.Image, rows: Array, colours: list[str], radius: float = 1.3) -> None:
    """Draw rows (n, 2) as dots."""
    canvas = ImageDraw.Draw(picture)
    places = (rows / REACH * [1, -1] + 1) / 2 * SIDE * FINE
    for (x, y), fill in zip(places, colours, strict=True):
        r = radius * FINE
        canvas.ellipse((x - r, y - r, x + r, y + r), fill=fill)


def responsibilities(model: GMVAE, side: int = 210) -> Array:
    """Return the plane (side, side, 3), each place in the mean colour of its clusters."""
    axis = np.linspace(-REACH, REACH, side)
    x, y = np.meshgrid(axis, axis[::-1])
    q_y = model.predict_proba(np.stack([x.ravel(), y.ravel()], axis=1))
    palette = np.array([ImageColor.getrgb(colour(k)) for k in range(model.n_clusters)]) / 255
    mixed: Array = (0.45 + 0.55 * (q_y @ palette)).reshape(side, side, 3)
    return mixed


def main(target: Path) -> None:
    """Fit the spiral and write the picture."""
    x = spiral(10_000, seed=0)
    model = GMVAE(
        n_clusters=8,
        kind="table",
        likelihood="gaussian_learned",
        n_latent=2,
        n_noise=2,
        hidden=(100, 100),
        prior_width=100,
        pretraining=None,
        start=None,
        epochs=100,
        kl_annealing=0.3,
        min_information=1.8,
        random_state=0,
        verbose=True,
    )
    model.fit(x)
    drawn, clusters = model.sample(4000, random_state=0)

    panels = [
        panel("data"),
        panel("samples by cluster"),
        panel("responsibilities", responsibilities(model)),
    ]
    draw(panels[0], x[:4000], ["#555555"] * 4000)
    draw(panels[1], drawn, [colour(int(k)) for k in clusters])
    draw(panels[2], x[:1500], ["#333333"] * 1500, radius=0.8)
    sheet = Image.new("RGB", (3 * SIDE * FINE, SIDE * FINE), "white")
    for place, picture in enumerate(panels):
        sheet.paste(picture, (place * SIDE * FINE, 0))
    sheet.resize((3 * SIDE, SIDE), Image.Resampling.LANCZOS).save(target, optimize=True)
    print(f"{model.n_used_clusters_} of 8 clusters used; picture: {target}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "spiral.png"))
