"""The same numbers give the same clusters, whatever holds them."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from sklearn.datasets import load_digits
from torch.utils.data import Dataset, TensorDataset

import deepmixture
from deepmixture import DeepMixture
from deepmixture.data import decide_kind, open_rows
from deepmixture.estimator import LatentMixtureEstimator

Make = Callable[..., LatentMixtureEstimator]
NAMES = ["width", "height", "depth", "weight"]


class Items(Dataset[tuple[np.ndarray, int]]):
    """Rows with a class beside each, which nobody reads."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return self.values[index], 0


def memory_map(values: np.ndarray, folder: Path) -> np.ndarray:
    np.save(folder / "rows.npy", values)
    return np.load(folder / "rows.npy", mmap_mode="r")


SOURCES: dict[str, Callable[[np.ndarray, Path], object]] = {
    "float32": lambda x, _: x.astype(np.float32),
    "column by column": lambda x, _: np.asfortranarray(x),
    "memory map": memory_map,
    "list of lists": lambda x, _: x.tolist(),
    "csr": lambda x, _: scipy.sparse.csr_array(x),
    "coo matrix": lambda x, _: scipy.sparse.coo_matrix(x),
    "pandas": lambda x, _: pd.DataFrame(x, columns=NAMES),
    "polars": lambda x, _: pl.DataFrame(x, schema=NAMES),
    "tensor": lambda x, _: torch.from_numpy(x),
    "Dataset": lambda x, _: Items(x),
    "TensorDataset": lambda x, _: TensorDataset(torch.from_numpy(x)),
    "Rows": lambda x, _: deepmixture.open_rows(x),
}


@pytest.fixture(scope="module")
def rows(blobs: np.ndarray) -> np.ndarray:
    """Numbers that float32 holds exactly."""
    return blobs.astype(np.float32).astype(np.float64)


@pytest.fixture(scope="module")
def expected(make: Make, rows: np.ndarray) -> LatentMixtureEstimator:
    return make(pretrain_epochs=5, epochs=4).fit(rows)


@pytest.mark.parametrize("source", SOURCES)
def test_every_source(
    make: Make,
    rows: np.ndarray,
    expected: LatentMixtureEstimator,
    source: str,
    tmp_path: Path,
) -> None:
    x = SOURCES[source](rows, tmp_path)
    estimator = make(pretrain_epochs=5, epochs=4)
    np.testing.assert_array_equal(estimator.fit_predict(x), expected.labels_)
    np.testing.assert_array_equal(estimator.predict(x), expected.labels_)
    np.testing.assert_allclose(estimator.score_samples(x), expected.score_samples(rows), rtol=1e-6)
    named = source in ("pandas", "polars")
    assert hasattr(estimator, "feature_names_in_") == named


@pytest.mark.parametrize("source", ["array", "memory map", "tensor", "Dataset", "Rows"])
def test_images_from_every_source(
    make: Make, images: np.ndarray, source: str, tmp_path: Path
) -> None:
    settings = {"network": "mlp", "pretrain_epochs": 3, "epochs": 2}
    expected = make(**settings).fit(images)
    held = images if source == "array" else SOURCES[source](images, tmp_path)
    estimator = make(**settings).fit(held)
    assert estimator.image_shape_ == (8, 8)
    np.testing.assert_array_equal(estimator.labels_, expected.labels_)
    assert estimator.reconstruct(held).shape == images.shape


def test_channels_first_tensors_are_the_same_images(make: Make, images: np.ndarray) -> None:
    colour = np.stack([images, images // 2, 255 - images], axis=-1)
    settings = {"network": "mlp", "pretrain_epochs": 3, "epochs": 2}
    expected = make(**settings).fit(colour)
    estimator = make(**settings).fit(torch.from_numpy(colour).movedim(-1, 1))
    assert estimator.image_shape_ == (8, 8, 3)
    np.testing.assert_array_equal(estimator.labels_, expected.labels_)


def test_sparse_counts_are_counts(make: Make) -> None:
    counts = np.random.default_rng(0).poisson(0.3, size=(60, 30))
    sparse = scipy.sparse.csr_array(counts)
    estimator = make(pretrain_epochs=3, epochs=2).fit(sparse)
    assert estimator.kind_ == "counts"
    assert estimator.scaling_.method == "log"
    dense = make(pretrain_epochs=3, epochs=2, kind="counts").fit(counts)
    np.testing.assert_array_equal(estimator.labels_, dense.labels_)
    assert (estimator.inverse_transform(np.zeros((2, 2))) > -1).all()


def test_the_kind_follows_from_the_rows_or_is_given(make: Make) -> None:
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(40, 70))
    settings = {"pretrain_epochs": 1, "epochs": 1, "n_init": 1}
    kinds = {
        "table": rng.normal(size=(40, 5)),
        "embedding": wide,
        "image": rng.integers(0, 255, size=(40, 64), dtype=np.uint8),
    }
    scalings = {"table": "standard", "embedding": "global", "image": "unit"}
    for kind, x in kinds.items():
        estimator = make(**settings).fit(x)
        assert (estimator.kind_, estimator.scaling_.method) == (kind, scalings[kind])
    assert make(**settings, kind="table").fit(wide).scaling_.method == "standard"


def words(rng: np.random.Generator) -> np.ndarray:
    """Counts of 200 words, most of which a text does not have."""
    return rng.poisson(rng.choice([0.1, 0.5, 9.0], p=[0.9, 0.08, 0.02], size=200), (300, 200))


def blocks(rng: np.random.Generator) -> np.ndarray:
    """Images of 10 x 10 pixels that are alike in blocks of 2 x 2."""
    return rng.integers(0, 9, size=(300, 5, 5)).repeat(2, axis=1).repeat(2, axis=2)


@pytest.mark.parametrize("dtype", ["int64", "float32"])
@pytest.mark.parametrize(
    ("kind", "draw"),
    [
        ("counts", words),
        ("counts", lambda rng: rng.random((300, 100)) < 0.02),
        ("table", lambda rng: rng.integers(1, 6, size=(300, 70))),
        ("table", lambda rng: np.eye(5)[rng.integers(5, size=(300, 20))].reshape(300, -1)),
        ("image", lambda rng: blocks(rng).reshape(300, -1)),
        ("embedding", lambda rng: rng.integers(0, 256, size=(300, 70))),
        ("embedding", lambda rng: rng.random((300, 100))),
        ("table", lambda rng: rng.random((300, 100)) < 0.3),
        ("embedding", lambda rng: rng.integers(-5, 6, size=(300, 70))),
        ("embedding", lambda rng: np.zeros((300, 70))),
    ],
)
def test_many_whole_numbers_are_told_apart(
    kind: str, draw: Callable[[np.random.Generator], np.ndarray], dtype: str
) -> None:
    rows = open_rows(draw(np.random.default_rng(0)).astype(dtype))
    found, why = decide_kind(rows)
    assert found == kind
    assert why.startswith(f"{kind}: ")


@pytest.mark.parametrize("scale", [1.0, 1 / 16, 15.3])
def test_pixels_are_known_by_those_below_them(scale: float) -> None:
    digits = load_digits().data * scale
    assert decide_kind(open_rows(digits))[0] == "image"
    shuffled = digits[:, np.random.default_rng(0).permutation(64)]
    assert decide_kind(open_rows(shuffled + 0.01))[0] == "embedding"


@pytest.mark.parametrize("dtype", [np.uint8, bool])
def test_marks_in_bytes_are_no_pixels(dtype: type) -> None:
    marks = np.random.default_rng(0).random((300, 256)) < np.linspace(0.01, 0.1, 256)
    assert decide_kind(open_rows(marks.astype(dtype)))[0] == "embedding"
    rare = np.random.default_rng(0).random((300, 1024)) < 0.03
    assert decide_kind(open_rows(rare.astype(dtype)))[0] == "counts"
    black_and_white = load_digits().data > 7
    assert decide_kind(open_rows(black_and_white.astype(dtype)))[0] == "image"


def test_series_are_no_pixels() -> None:
    rng = np.random.default_rng(0)
    walks = np.cumsum(rng.normal(size=(100, 256)), axis=1)
    waves = np.sin(np.linspace(0, 20, 256) + 6 * rng.random((100, 1)))
    for series in (walks, waves):
        assert decide_kind(open_rows(series - series.min()))[0] == "embedding"


def test_columns_in_units_of_their_own_are_a_table() -> None:
    rng = np.random.default_rng(0)
    units = 10.0 ** rng.uniform(-3, 3, size=70)
    measured = (rng.normal(size=(300, 70)) + 3.0) * units
    assert decide_kind(open_rows(measured))[0] == "table"
    assert decide_kind(open_rows(measured - measured.mean(0)))[0] == "embedding"  # as of PCA
    measured[:, 0] = 1.0  # what no table may have
    assert decide_kind(open_rows(measured))[0] == "embedding"


def test_images_that_came_flat_are_changed_like_images(images: np.ndarray) -> None:
    short = {"pretrain_epochs": 1, "refine_epochs": 1, "epochs": 1, "random_state": 0}
    square = DeepMixture(3, **short).fit(images)
    flat = DeepMixture(3, **short).fit(images.reshape(len(images), -1))
    assert flat.kind_ == "image"
    np.testing.assert_array_equal(flat.labels_, square.labels_)
    np.testing.assert_array_equal(
        flat.predict_proba(images.reshape(len(images), -1)), square.predict_proba(images)
    )


def test_the_training_rows_are_not_written_to(make: Make, blobs: np.ndarray) -> None:
    read_only = blobs.copy()
    read_only.flags.writeable = False
    before = read_only.copy()
    estimator = make(pretrain_epochs=1, epochs=1, scaling="none").fit(read_only)
    estimator.reconstruct(read_only)
    estimator.score_samples(read_only)
    np.testing.assert_array_equal(read_only, before)


def real_data() -> Path:
    folder = os.environ.get("DEEPMIXTURE_DATA")
    if not folder:
        pytest.skip("DEEPMIXTURE_DATA names no folder of data sets")
    return Path(folder)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "key", "kind"),
    [
        ("mnist", "x_test", "image"),
        ("fashion_mnist", "x_test", "image"),
        ("imagenette_mobilenetv2", "x_test", "embedding"),
        ("cifar10_mobilenetv2", "x_test", "embedding"),
        ("worm_neuron", "x", "counts"),
    ],
)
def test_the_kind_of_real_data(name: str, key: str, kind: str) -> None:
    rows = open_rows(real_data() / f"{name}.npz", key=key)
    assert decide_kind(rows)[0] == kind
    assert decide_kind(open_rows(rows.values.astype(np.float32)))[0] == kind


@pytest.mark.data
def test_mnist(make: Make) -> None:
    folder = real_data()
    rows = deepmixture.open_rows(folder / "mnist.npz", key="x_train")
    few = deepmixture.Rows(np.array(rows.values[:600]), image_shape=rows.image_shape)
    estimator = make(
        "vade",
        n_clusters=10,
        n_latent=10,
        network="mlp",
        hidden=(64,),
        learning_rate=2e-3,
        batch_size=64,
        pretrain_epochs=15,
        epochs=6,
    ).fit(few)
    assert estimator.image_shape_ == (28, 28)
    assert estimator.n_used_clusters_ >= 8
    np.testing.assert_array_equal(estimator.predict(few), estimator.labels_)
    digits = np.load(folder / "mnist.npz")["y_train"][:600]
    groups = [np.bincount(digits[estimator.labels_ == k], minlength=10) for k in range(10)]
    # Most rows share their cluster's commonest digit: four times what chance would give.
    assert sum(group.max() for group in groups) / 600 > 0.4
    assert estimator.sample(2, cluster=0)[0].shape == (2, 28, 28)
