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


def epochs_for(n_rows: int, batch_size: int, at_least: int, steps: int, at_most: int) -> int:
    """Return the epochs that give a small data set about `steps` steps, within the two limits."""
    steps_per_epoch = math.ceil(n_rows / batch_size)
    return max(at_least, min(at_most, math.ceil(steps / steps_per_epoch)))


def network_for(kind: str, image_shape: tuple[int, ...] | None) -> Network:
    """Return the network for a kind of data: convolutions where rows are images of known shape."""
    return "convolutional" if kind == "image" and image_shape else "mlp"
