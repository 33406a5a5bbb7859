"""Pictures of a clustering: where rows lie, which rows to show, and how they look.

Nothing here knows HTML. Images leave as ``data:`` addresses so that a page can hold them.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepmixture import embedding

if TYPE_CHECKING:
    from PIL import Image, ImageFont

__all__ = [
    "PALETTE",
    "Result",
    "Thumbnails",
    "colour",
    "display_range",
    "least_sure",
    "nearest_rows",
    "place",
    "poster",
    "principal_components",
    "strip",
    "thumbnails",
    "to_pixels",
    "typical",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Pixels = NDArray[np.uint8]
ImageShape = tuple[int, ...]

# Okabe and Ito's hues first, then the colours farthest from all earlier ones (OKLab distance,
# the smallest over normal and the three kinds of dichromatic vision), of middling lightness so
# that they stand out on white and on near black alike. No palette of this length is safe by
# colour alone: whatever is drawn with it carries the cluster number too.
PALETTE = (
    *("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#a8306c", "#845418"),
    *("#90c090", "#8478e4", "#6c7854", "#906c90", "#cca8c0", "#9c9c48", "#6c5490", "#4854c0"),
    *("#006c48", "#3c9018", "#009ccc", "#6cc054", "#849cfc", "#e46078", "#00ccd8", "#9c8454"),
    *("#5484c0", "#cc9090", "#b45478", "#7860cc", "#9054a8", "#609090", "#a89cc0", "#c078d8"),
    *("#e4a878", "#9c4848", "#e48418", "#84c0fc"),
)

UMAP_ROWS = 10_000  # more rows cost minutes and show nothing more at this size
FEWEST_FOR_UMAP = 50
PRINCIPAL_ROWS = 1_000
CHUNK = 4096


def colour(cluster: int) -> str:
    """Return the colour of a cluster, as ``#rrggbb``; they repeat after 36 clusters."""
    return PALETTE[cluster % len(PALETTE)]


@dataclass(frozen=True)
class Result:
    """Everything there is to show of a fitted clustering, as plain arrays.

    Attributes
    ----------
    title : str
        What the clustering is called.
    rows : array of shape (N, F)
        The data in original units; images flattened in C order.
    labels : array of shape (N,)
        Cluster of each row, from 0 to K - 1.
    responsibilities : array of shape (N, K)
        Probability of each cluster for each row.
    log_density : array of shape (N,), or None
        Bound on log p(x) of each row, of a model that has one.
    latent : array of shape (N, D), or None
        Latent mean of each row, of a model that has one.
    samples : array of shape (K, n, F)
        Rows drawn from each cluster, in original units; n is 0 for a model that draws none.
    names : tuple of str, optional
        Column names.
    image_shape : tuple of int, optional
        (H, W) or (H, W, C) where rows are images.
    row_names : tuple of str, optional
        A name for each row, such as its file.
    history : list of dict
        One entry per epoch: stage, epoch, loss and the terms of the bound.
    settings : dict
        What was asked for; may be nested.
    decisions : list of str
        Sentences: what was decided and done to the data.
    source : str
        Where the data came from, in a few words.
    cannot : dict
        Methods that the model does not have, such as "sample", and why.
    merges : list of dict
        Where the number of clusters was found: every merge, from many clusters to one.
    sizes : array of shape (K,), optional
        Rows of each cluster, where `rows` are a part of them.
    """

    title: str
    rows: np.ndarray
    labels: np.ndarray
    responsibilities: np.ndarray
    log_density: np.ndarray | None
    latent: np.ndarray | None
    samples: np.ndarray
    names: tuple[str, ...] | None = None
    image_shape: ImageShape | None = None
    row_names: tuple[str, ...] | None = None
    history: Sequence[Mapping[str, object]] = field(default_factory=list)
    settings: Mapping[str, object] = field(default_factory=dict)
    decisions: Sequence[str] = field(default_factory=list)
    source: str = ""
    cannot: Mapping[str, str] = field(default_factory=dict)
    merges: Sequence[Mapping[str, float]] = field(default_factory=list)
    sizes: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Refuse arrays which do not belong together."""
        if self.rows.ndim != 2 or len(self.rows) == 0:
            raise ValueError(f"rows has shape {self.rows.shape}; expected (rows, columns)")
        n, f = self.rows.shape
        if self.responsibilities.ndim != 2 or len(self.responsibilities) != n:
            raise ValueError(
                f"responsibilities has shape {self.responsibilities.shape}; "
                f"expected ({n}, clusters)"
            )
        k = self.responsibilities.shape[1]
        for name, given in (("labels", self.labels), ("log_density", self.log_density)):
            if given is not None and given.shape != (n,):
                raise ValueError(f"{name} has shape {given.shape}; expected {(n,)}")
        if self.labels.min() < 0 or self.labels.max() >= k:
            raise ValueError(
                f"labels run from {self.labels.min()} to {self.labels.max()}; "
                f"expected 0 to {k - 1}, as responsibilities has {k} columns"
            )
        z = self.latent
        if z is not None and (z.ndim != 2 or len(z) != n or z.shape[1] == 0):
            raise ValueError(f"latent has shape {z.shape}; expected ({n}, dimensions)")
        if z is not None and not np.isfinite(z).all():
            raise ValueError("latent holds NaN or infinity; expected finite coordinates")
        if self.samples.ndim != 3 or (self.samples.shape[0], self.samples.shape[2]) != (k, f):
            raise ValueError(f"samples has shape {self.samples.shape}; expected ({k}, n, {f})")
        if self.names is not None and len(self.names) != f:
            raise ValueError(f"names has {len(self.names)} entries; expected {f}")
        if self.row_names is not None and len(self.row_names) != n:
            raise ValueError(f"row_names has {len(self.row_names)} entries; expected {n}")
        image = self.image_shape
        if image is not None and (len(image) not in (2, 3) or int(np.prod(image)) != f):
            raise ValueError(f"image_shape is {image}; expected (H, W) or (H, W, C) of {f} values")

    @property
    def n_clusters(self) -> int:
        """Number of clusters, the empty ones among them."""
        return int(self.responsibilities.shape[1])

    @property
    def all_sizes(self) -> Ints:
        """Rows of each cluster, those that are not shown among them, of shape (K,)."""
        if self.sizes is not None:
            return self.sizes
        return np.bincount(self.labels, minlength=self.n_clusters)

    @property
    def probability(self) -> Floats:
        """Probability of each row's own cluster, of shape (N,)."""
        own: Floats = self.responsibilities[np.arange(len(self.labels)), self.labels].astype(
            np.float64
        )
        return np.clip(np.nan_to_num(own), 0.0, 1.0)


# ------------------------------------------------------------------- which rows to show


def typical(result: Result, cluster: int, n: int) -> Ints:
    """Choose the rows nearest to the centre of a cluster, among its surer half.

    Without a latent space there is no centre: the surest rows, then.

    Parameters
    ----------
    result : Result
        The clustering.
    cluster : int
        Which cluster.
    n : int
        How many rows at most.

    Returns
    -------
    array of shape (at most n,)
        Row numbers, the most typical first.
    """
    members, probability, distance = _members(result, cluster)
    sure = probability >= np.median(probability) if len(members) else probability >= 0
    return members[sure][np.argsort(distance[sure], kind="stable")[:n]]


def least_sure(result: Result, cluster: int, n: int) -> Ints:
    """Choose the rows of a cluster whose probability of belonging to it is lowest.

    Parameters
    ----------
    result : Result
        The clustering.
    cluster : int
        Which cluster.
    n : int
        How many rows at most.

    Returns
    -------
    array of shape (at most n,)
        Row numbers, the least sure first; between equals, the farther from the centre.
    """
    members, probability, distance = _members(result, cluster)
    return members[np.lexsort((-distance, probability))[:n]]


def _members(result: Result, cluster: int) -> tuple[Ints, Floats, Floats]:
    """Rows of a cluster, their probability, and their standardised distance from its centre.

    Without a latent space the distance is how far a row is from sure.
    """
    members = np.flatnonzero(result.labels == cluster)
    probability = result.probability[members]
    if len(members) == 0 or result.latent is None:
        return members, probability, 1.0 - probability
    z = result.latent[members].astype(np.float64)
    weight = probability if probability.sum() > 0 else np.ones(len(members))
    centre = np.average(z, axis=0, weights=weight)
    variance = np.average((z - centre) ** 2, axis=0, weights=weight)
    variance = np.where(variance > 0, variance, 1.0)
    return members, probability, ((z - centre) ** 2 / variance).sum(axis=1)


def nearest_rows(rows: np.ndarray, queries: np.ndarray) -> Ints:
    """Find the row nearest to each query in Euclidean distance, a chunk of rows at a time.

    Parameters
    ----------
    rows : array of shape (N, F)
        The data.
    queries : array of shape (Q, F)
        The points to look up.

    Returns
    -------
    array of shape (Q,)
        Row numbers.
    """
    q = np.nan_to_num(np.asarray(queries, dtype=np.float32))
    best = np.full(len(q), np.inf, dtype=np.float32)
    where = np.zeros(len(q), dtype=np.int64)
    for start, chunk in _chunks(rows):
        x = np.nan_to_num(chunk.astype(np.float32))
        distance = (x**2).sum(axis=1)[:, None] - 2 * (x @ q.T)
        nearest = distance.argmin(axis=0)
        value = distance[nearest, np.arange(len(q))]
        closer = value < best
        best[closer], where[closer] = value[closer], start + nearest[closer]
    return where


def _chunks(rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(rows), CHUNK):
        yield start, np.asarray(rows[start : start + CHUNK])


# --------------------------------------------------------------------------- the map


def principal_components(result: Result, seed: int = 0) -> Floats:
    """Coordinates of the rows along their first principal components, 20 at most.

    What is mapped where a model has no latent space. Columns of a table are standardised, as they
    come in all units. The directions are those of at most 1,000 rows.

    Parameters
    ----------
    result : Result
        The clustering.
    seed : int
        Seed of the choice of rows.
    """
    rng = np.random.default_rng(seed)
    few = np.sort(rng.permutation(len(result.rows))[:PRINCIPAL_ROWS])
    fitted = np.nan_to_num(result.rows[few].astype(np.float64))
    centre, scale = fitted.mean(axis=0), np.ones(fitted.shape[1])
    if result.image_shape is None:
        scale = np.where(fitted.std(axis=0) > 0, fitted.std(axis=0), 1.0)
    _, _, directions = np.linalg.svd((fitted - centre) / scale, full_matrices=False)
    found = [
        ((np.nan_to_num(chunk.astype(np.float64)) - centre) / scale) @ directions[:20].T
        for _, chunk in _chunks(result.rows)
    ]
    return np.concatenate(found)


def place(
    latent: np.ndarray, labels: np.ndarray, seed: int = 0, kind: str = "latent dimension"
) -> tuple[Floats, str]:
    """Give every row a place on a plane.

    Two latent dimensions are shown as they are and a single one as lanes, a lane a cluster.
    More are laid out by UMAP, fitted on at most 10,000 rows; each remaining row lies at the
    distance-weighted mean of its nearest fitted neighbours.

    Parameters
    ----------
    latent : array of shape (N, D)
        Latent coordinates.
    labels : array of shape (N,)
        Cluster of each row; only used to lay out a single latent dimension.
    seed : int
        Seed of the layout.
    kind : str
        What a coordinate is called.

    Returns
    -------
    plane : array of shape (N, 2)
        The places.
    how : str
        One sentence for people.
    """
    rng = np.random.default_rng(seed)
    z = np.asarray(latent, dtype=np.float64)
    n, d = z.shape
    if d == 1:
        lane = -labels + rng.uniform(-0.36, 0.36, size=n)
        how = f"The one {kind} runs from left to right; each cluster has a lane."
        return np.column_stack([z[:, 0], lane]), how
    if d == 2:
        return z.copy(), f"The two {kind}s as they are."
    fitted = np.arange(n) if n <= UMAP_ROWS else np.sort(rng.permutation(n)[:UMAP_ROWS])
    distinct = len(np.unique(z[fitted], axis=0))
    if distinct < FEWEST_FOR_UMAP:
        centred = z - z.mean(axis=0)
        _, _, directions = np.linalg.svd(centred, full_matrices=False)
        plane = np.zeros((n, 2))
        found = (centred @ directions[:2].T)[:, :2]
        plane[:, : found.shape[1]] = found
        return plane, f"The first two principal components of {d} {kind}s."
    plane = np.empty((n, 2))
    plane[fitted] = embedding.umap(z[fitted], 2, seed)
    how = (
        f"UMAP of {d} {kind}s. Near points are alike; distances between clusters and "
        "their areas mean little."
    )
    if len(fitted) < n:
        rest = np.setdiff1d(np.arange(n), fitted)
        plane[rest] = embedding.between_neighbours(z[fitted], plane[fitted], z[rest])
        how += (
            f" Fitted on {len(fitted):,} rows drawn at random; every other row lies between "
            "its nearest neighbours among them."
        )
    return plane, how


# ------------------------------------------------------------------------------ images


def display_range(rows: np.ndarray) -> tuple[float, float]:
    """Return the lowest and highest finite value: what is shown as black and as white.

    Parameters
    ----------
    rows : array of shape (N, F)
        The data.
    """
    low, high = np.inf, -np.inf
    for _, chunk in _chunks(rows):
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


# ------------------------------------------------------------------------------ poster


def poster(
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

    target = Path(path)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        page.save(part, format="PNG", optimize=True)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


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
