"""Pictures of a fitted model: samples of each cluster, and latents beside draws of the prior.

`python -m benchmarks figures MODEL TABLE` reads a model that `run --keep` left behind and the rows of
its table, and writes docs/images/MODEL-samples.png and docs/images/MODEL-latent.png.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from sklearn.manifold import TSNE

from deepmixture import Rows, load

COLOURS = [
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd",
    "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf",
]  # fmt: skip
PER_CLUSTER = 12
ROWS = 10_000
SIDE = 900


def draw_figures(folder: Path, rows: Rows, target: Path) -> list[Path]:
    """Write both pictures of the model in `folder` and return their files."""
    estimator = load(folder)
    files = []
    if estimator.image_shape_ is not None:
        files.append(target / f"{folder.name}-samples.png")
        sample_sheet(estimator).save(files[-1], optimize=True)
    files.append(target / f"{folder.name}-latent.png")
    latent_map(estimator, rows).save(files[-1], optimize=True)
    return files


def sample_sheet(estimator: Any) -> Image.Image:
    """Return a picture with a row of ancestral samples a cluster."""
    strips = []
    for cluster in range(estimator.n_clusters):
        images, _ = estimator.sample(PER_CLUSTER, cluster=cluster, random_state=cluster)
        strips.append(np.concatenate(list(images), axis=1))
    sheet = np.concatenate(strips)
    if sheet.max() <= 1.0:
        sheet = 255.0 * sheet
    picture = Image.fromarray(sheet.clip(0, 255).astype(np.uint8))
    return picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.LANCZOS)


def latent_map(estimator: Any, rows: Rows) -> Image.Image:
    """Return the t-SNE of the last rows' latents and as many draws of the prior.

    Rows are dots in the colour of their cluster; draws are rings in the colour of theirs.
    """
    x = rows.values[-ROWS:]
    x = x.reshape(-1, *rows.image_shape) if rows.image_shape else x
    generator = torch.Generator().manual_seed(0)
    weights = torch.from_numpy(estimator.weights_)
    y = torch.multinomial(weights, len(x), replacement=True, generator=generator)
    with torch.inference_mode():
        drawn = estimator._sample_latent(y, generator).numpy()
    latent = np.concatenate([estimator.transform(x), drawn])
    places = TSNE(init="pca", random_state=0, n_jobs=1).fit_transform(latent)
    low, high = places.min(0), places.max(0)
    places = 10 + (SIDE - 20) * (places - low) / (high - low)
    cluster = np.concatenate([estimator.predict(x), y.numpy()])
    picture = Image.new("RGB", (2 * SIDE, 2 * SIDE), "white")
    pen = ImageDraw.Draw(picture)
    for index in np.random.default_rng(0).permutation(len(places)):
        colour = COLOURS[cluster[index] % len(COLOURS)]
        (a, b), size = 2 * places[index], 3
        box = (a - size, b - size, a + size, b + size)
        if index < len(x):
            pen.ellipse(box, fill=colour)
        else:
            pen.ellipse(box, outline=colour)
    return picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
