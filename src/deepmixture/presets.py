"""Settings that depend on the kind of data, and how long to train: fixed here, for all data sets.

Nothing in this file knows a data set by name.
"""

import math
from typing import Literal

Network = Literal["mlp", "convolutional"]

LIKELIHOODS: dict[str, Literal["bernoulli", "gaussian"]] = {
    "image": "bernoulli",
    "table": "gaussian",
    "embedding": "gaussian",
    "counts": "gaussian",
}

Space = Literal["latent", "directions", "columns"]
FEW_PIXELS = 256
PAPERS_WIDTHS = (500, 500, 2000)


def space_for(kind: str, n_features: int) -> Space:
    """Return where rows are near one another: in a latent, by the angle, or by the columns.

    Embeddings and counts by the angle: clusters on the graph of features of photographs are more
    often their classes so than by distances, and in the first principal components as in all.
    From the mean where it is far, by distances where columns lie about zero and these say more:
    see `coordinates.compared`.
    Counts first weighed by `counts.rarity`, without which words that most texts have hide
    what the texts are about. Tiny images by their pixels, which are few and say more than the
    latent of an autoencoder.
    """
    if kind in ("embedding", "counts"):
        return "directions"
    return "latent" if kind == "image" and n_features > FEW_PIXELS else "columns"


def representation_length_for(kind: str, n_features: int) -> tuple[int, int]:
    """Return the least epochs, and the least steps, of a representation.

    More where the start is found in its latent: there groups of images that look alike part late.
    """
    return (25 if space_for(kind, n_features) == "latent" else 15), 1200


def epochs_for(n_rows: int, batch_size: int, at_least: int, steps: int, at_most: int) -> int:
    """Return the epochs that give a small data set about `steps` steps, within the two limits."""
    steps_per_epoch = math.ceil(n_rows / batch_size)
    return max(at_least, min(at_most, math.ceil(steps / steps_per_epoch)))


def hidden_for(kind: str) -> tuple[int, ...]:
    """Return the widths of the fully connected encoder: the papers', and far fewer for tables.

    A table has few columns, and often few rows: there the papers' network costs several times as
    much, and its clusters are no better.
    """
    return (256, 256) if kind == "table" else PAPERS_WIDTHS


def network_for(kind: str, image_shape: tuple[int, ...] | None) -> Network:
    """Return the network for a kind of data: convolutions where rows are images of known shape."""
    return "convolutional" if kind == "image" and image_shape else "mlp"


def network_for_representation(kind: str, image_shape: tuple[int, int, int] | None) -> Network:
    """Return the faster network: convolutions for tiny and for large images alone.

    On two cores an epoch of 70,000 images of 28 x 28 takes four times as long with convolutions,
    one of 8 x 8 a third; and the fully connected layers of a large image would be larger still.
    """
    tiny_or_large = image_shape is not None and not FEW_PIXELS < math.prod(image_shape) <= 4096
    return "convolutional" if kind == "image" and tiny_or_large else "mlp"
