"""Pictures of a fitted model: rows drawn cluster by cluster, and the map of its latent space.

Rows are drawn by ancestral sampling, y given, then z, then E[x|z]. The map is a t-SNE of encoded
test rows together with latents drawn from the prior: where the prior is no model of the encoded
rows, the two parts differ.
"""

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from benchmarks import files
from benchmarks.hardware import circumstances
from benchmarks.runner import load_rows
from deepmixture import Rows, load, plots
from deepmixture.estimator import LatentMixtureEstimator
from deepmixture.poster import write_poster

PICTURES = files.HERE.parent / "docs" / "images"
SEED = 0
PERPLEXITY = 30.0
SIDE, MARGIN, TOP, LARGER = 620, 20, 64, 2


def draw(
    folder: Path, name: str | None, table: str, n_rows: int, with_map: bool = True
) -> list[Path]:
    """Draw the pictures of a saved model on the test rows of a table; return their paths."""
    estimator = load(folder / "model" if (folder / "model").is_dir() else folder)
    name = name or folder.resolve().name
    rows = test_rows(files.read_settings(table), n_rows)
    labels = estimator.predict(rows)
    PICTURES.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {"name": name, "model": estimator.name, "table": table}
    facts |= {"parameters": estimator.get_params(deep=False), "n_rows": len(rows)}
    pictures = []
    if hasattr(estimator, "sample") and rows.image_shape is not None:
        pictures.append(PICTURES / f"{name}-samples.png")
        write_poster(pictures[-1], drawn_beside(estimator, rows, labels, name))
    if with_map and hasattr(estimator, "transform"):
        pictures.append(PICTURES / f"{name}-map.png")
        facts |= draw_map(pictures[-1], estimator, rows, labels)
    facts["pictures"] = [picture.name for picture in pictures]
    files.write(files.RESULTS / "figures" / f"{name}.json", facts | circumstances())
    for picture in pictures:
        print(picture)
    return pictures


def test_rows(settings: files.Settings, n_rows: int) -> Rows:
    """Return at most `n_rows` of the test part of a table, or of all where there is no part."""
    rows = load_rows(settings)
    test = np.arange(settings.get("n_train", 0), len(rows))
    if len(test) > n_rows:
        test = np.sort(np.random.default_rng(SEED).choice(test, n_rows, replace=False))
    return dataclasses.replace(rows, values=rows.values[test], row_names=None)


def drawn_beside(
    estimator: LatentMixtureEstimator, rows: Rows, labels: np.ndarray, title: str, n: int = 10
) -> plots.Result:
    """Draw `n` rows from each cluster, to stand beside the most typical test rows."""
    drawn = [
        estimator.sample(n, cluster=cluster, random_state=SEED + cluster)[0].reshape(n, -1)
        for cluster in range(estimator.n_clusters_)
    ]
    encodes = hasattr(estimator, "transform")
    return plots.Result(
        title=title,
        rows=rows.values,
        labels=labels,
        responsibilities=estimator.predict_proba(rows),
        log_density=None,
        latent=estimator.transform(rows) if encodes else None,
        samples=np.stack(drawn),
        image_shape=rows.image_shape,
    )


def draw_map(
    target: Path, estimator: LatentMixtureEstimator, rows: Rows, labels: np.ndarray
) -> dict[str, Any]:
    """Draw encoded rows and prior samples in one t-SNE, side by side; return what was done."""
    encoded = estimator.transform(rows)
    sampled, clusters = prior_samples(estimator, len(rows))
    began = time.perf_counter()
    places, divergence = embed(np.concatenate([encoded, sampled]))
    facts = {
        "n_prior": len(sampled),
        "perplexity": PERPLEXITY,
        "divergence": divergence,
        "seconds": time.perf_counter() - began,
    }
    parts = [(f"{len(encoded):,} encoded test rows, by predicted cluster", labels)]
    if len(sampled):
        parts.append((f"{len(sampled):,} samples of the prior, by their cluster", clusters))
    paint(target, places, parts)
    return facts


def prior_samples(estimator: LatentMixtureEstimator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw clusters and latents z ~ p(z|y) in the space of `transform`; none without a prior."""
    if not hasattr(estimator, "sample"):
        return np.empty((0, estimator._n_features_out)), np.empty(0, int)
    generator = torch.Generator().manual_seed(SEED)
    weights = torch.from_numpy(estimator.weights_)
    y = torch.multinomial(weights, n, replacement=True, generator=generator)
    with torch.inference_mode():
        z = estimator._mixture().cpu().sample(y, generator)
    return z.numpy(), y.numpy()


def embed(latent: np.ndarray) -> tuple[np.ndarray, float]:
    """Place latents (n, D) in the plane by t-SNE (van der Maaten & Hinton 2008)."""
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(latent) - 1) / 3)
    fitted = TSNE(2, perplexity=perplexity, init="pca", random_state=SEED)
    places = fitted.fit_transform(latent.astype(np.float64))
    return places, float(fitted.kl_divergence_)


def paint(target: Path, places: np.ndarray, parts: list[tuple[str, np.ndarray]]) -> None:
    """Paint panels of coloured points, and each cluster's number where its points are densest.

    All panels have the same axes. A panel is a title and the clusters of the next places.
    """
    low, high = places.min(0), places.max(0)
    scale = (SIDE - 2 * MARGIN) / float((high - low).max())
    centred = (places - (low + high) / 2) * scale + SIDE / 2
    width = SIDE * len(parts)
    page = Image.new("RGB", (LARGER * width, LARGER * (SIDE + TOP)), "#ffffff")
    pen = ImageDraw.Draw(page)
    font = ImageFont.load_default(LARGER * 17)
    bold = ImageFont.load_default(LARGER * 20)
    begin = 0
    for panel, (title, clusters) in enumerate(parts):
        here = centred[begin : begin + len(clusters)]
        begin += len(clusters)
        pixels = LARGER * (here + np.array((panel * SIDE, TOP)))
        # No cluster hides another: the points are painted in a random order.
        for index in np.random.default_rng(SEED).permutation(len(pixels)):
            x, y = pixels[index]
            dot = (x - LARGER, y - LARGER, x + LARGER, y + LARGER)
            pen.ellipse(dot, fill=plots.colour(int(clusters[index])))
        pen.text((LARGER * (panel * SIDE + MARGIN), LARGER * 22), title, "#1c1e21", font)
        for cluster in np.unique(clusters):
            x, y = np.median(pixels[clusters == cluster], axis=0)
            at = {"anchor": "mm", "stroke_width": LARGER * 3, "stroke_fill": "#ffffff"}
            pen.text((x, y), str(cluster), "#1c1e21", bold, **at)
    page = page.resize((width, SIDE + TOP), Image.Resampling.LANCZOS)
    # A palette is a third of the size, and points need no more colours.
    page.quantize(128).save(target, optimize=True)
