"""What the tests of the estimators share: tiny data, and settings that train in a moment."""

import os
from collections.abc import Callable

# Networks this small only lose by sharing their work out, and threads that wait for a busy machine
# spin. Said before numpy and torch are imported, and to the processes that tests start.
for library in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

import deepmixture  # noqa: E402
from deepmixture.estimator import LatentMixtureEstimator  # noqa: E402

torch.set_num_threads(1)

SIZES = (50, 40, 30)

Make = Callable[..., LatentMixtureEstimator]


@pytest.fixture(scope="session")
def make() -> Make:
    """Return a function from a model's name and settings to a small estimator."""

    def build(name: str = "vade", **settings: object) -> LatentMixtureEstimator:
        small = {
            "n_clusters": 3,
            "hidden": (16,),
            "n_latent": 2,
            "pretrain_epochs": 30,
            "batch_size": 32,
            "learning_rate": 1e-2,
            "n_init": 3,
            "precision": "float32",
            "random_state": 0,
        }
        if name in ("vade", "ltvae", "nvisa"):
            # The graph's library compiles itself at its first use, which takes ten seconds.
            small |= {"epochs": 10, "start": "gmm"}
        if name == "gmvae":
            small |= {"epochs": 10, "start": "gmm", "n_noise": 2, "prior_width": 16}
        if name in ("dec", "idec"):
            small |= {"epochs": 12, "clustering_rate": 1e-2, "tolerance": 0.0, "start": "gmm"}
        if name == "deepmixture":
            small |= {"epochs": 10, "refine_epochs": 20, "start": "gmm", "n_init": 1}
        if name == "gm-gan":
            small |= {"epochs": 80, "start": "gmm"}
        return deepmixture.MODELS[name](**(small | settings))

    return build


@pytest.fixture(scope="session")
def classes() -> np.ndarray:
    """The group of each row of `blobs` and `images`: 50, 40 and 30 rows."""
    return np.random.default_rng(1).permutation(np.repeat([0, 1, 2], SIZES))


@pytest.fixture(scope="session")
def blobs(classes: np.ndarray) -> np.ndarray:
    """120 rows of 4 columns around three distant centres."""
    rng = np.random.default_rng(0)
    centres = 8.0 * rng.normal(size=(3, 4))
    return centres[classes] + rng.normal(size=(len(classes), 4))


@pytest.fixture(scope="session")
def images(classes: np.ndarray) -> np.ndarray:
    """120 grey images of 8 x 8 bytes: a bar at the left, at the top, or on the diagonal."""
    pictures = np.zeros((3, 8, 8))
    pictures[0, :, :3] = pictures[1, :3, :] = 230
    pictures[2] = 230 * np.eye(8)
    noise = np.random.default_rng(0).uniform(0, 25, size=(len(classes), 8, 8))
    return (pictures[classes] + noise).astype(np.uint8)


@pytest.fixture(scope="session", params=list(deepmixture.MODELS))
def fitted(
    request: pytest.FixtureRequest, make: Make, blobs: np.ndarray
) -> LatentMixtureEstimator:
    """Each model, fitted on `blobs`; for tests that leave it as it is."""
    return make(request.param).fit(blobs)
