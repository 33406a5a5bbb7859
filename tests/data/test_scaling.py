"""Scaling: what it does to the numbers, and back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from deepmixture.data import Kind, Scaling, fit_scaling, open_rows

RANDOM = np.random.default_rng(0)
# More numbers than one slice of rows holds, so that slices must be joined.
LONG = RANDOM.normal([3, -200, 1e6, 0.001], [1, 20, 5, 1e-4], size=(300_000, 4))


def _fit(X: Any, kind: Kind, method: str = "auto") -> Scaling:
    return fit_scaling(open_rows(X), kind, method)


def test_large_values_close_together_keep_their_differences() -> None:
    seconds = 1.7e9 + np.arange(1000.0).reshape(-1, 1)
    scaled = _fit(seconds, "table").transform(seconds)
    assert_allclose(scaled.mean(), 0, atol=1e-6)
    assert_allclose(np.diff(scaled[:, 0]), 1 / seconds.std(), rtol=1e-3)


@pytest.mark.parametrize("method", ["none", "unit", "standard", "global", "log"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_there_and_back(method: str, dtype: type) -> None:
    X = RANDOM.gamma(2, [1, 10, 100], size=(200, 3))
    scaling = _fit(X, "embedding", method)
    back = scaling.inverse_transform(scaling.transform(X).astype(dtype))
    assert back.dtype == dtype
    assert_allclose(back, X, rtol=1e-4, atol=1e-4)


def test_the_input_is_left_alone() -> None:
    X = RANDOM.poisson(3, size=(50, 3)).astype(np.float64)
    before = X.copy()
    _fit(X, "counts").transform(X)
    assert_array_equal(X, before)


def test_new_rows_must_fit() -> None:
    scaling = _fit(LONG[:50], "table")
    with pytest.raises(ValueError, match=r"shape \(5, 3\): expected \(N, 4\)"):
        scaling.transform(LONG[:5, :3])
    with pytest.raises(ValueError, match=r"shape \(4,\): expected \(N, 4\)"):
        scaling.inverse_transform(LONG[0])
    counts = _fit(RANDOM.poisson(3, size=(50, 3)), "counts")
    with pytest.raises(ValueError, match="negative values"):
        counts.transform(-np.ones((1, 3)))


def test_saved_and_restored(tmp_path: Path) -> None:
    scaling = _fit(LONG[:50], "table")
    np.savez(tmp_path / "scaling.npz", **scaling.to_dict())
    with np.load(tmp_path / "scaling.npz") as saved:
        restored = Scaling.from_dict({**saved, "method": str(saved["method"])})
    assert_array_equal(restored.transform(LONG), scaling.transform(LONG))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "other"}, "expected one of none, unit"),
        ({"scale": [1.0, -1.0]}, "scale must not be negative"),
        ({"scale": [1.0]}, "of one shape"),
        ({"offset": [1.0, np.nan]}, "must be finite"),
    ],
)
def test_damaged_scalings_are_refused(change: dict[str, Any], words: str) -> None:
    saved = {"method": "unit", "offset": [0.0, 0.0], "scale": [1.0, 1.0]}
    with pytest.raises(ValueError, match=words):
        Scaling.from_dict(saved | change)


@pytest.mark.parametrize(
    ("X", "kind", "method", "words"),
    [
        (np.array([[0], [200]], np.uint8), "image", "auto", "from 0 to 255"),
        (np.array([[0], [1]]), "image", "auto", "lie between 0 and 1"),
        (np.array([[0, 5], [9, 7]]), "table", "unit", "each column is brought to between 0 and 1"),
        (np.array([[0], [9]]), "table", "auto", "mean 0 and standard deviation 1"),
        (np.array([[0], [9]]), "embedding", "auto", "one scale, 4.5"),
        (np.array([[5, 0], [5, 9]]), "table", "global", "one scale, 3.182"),
        (np.array([[5, 0], [5, 1]]), "table", "none", "taken as they came"),
        (np.array([[0], [9]]), "counts", "auto", "log(1 + x)"),
        (np.array([[0], [9]]), "table", "none", "as they came"),
    ],
)
def test_the_sentence_for_people(X: np.ndarray, kind: Kind, method: str, words: str) -> None:
    assert words in _fit(X, kind, method).describe()


@pytest.mark.parametrize("method", ["unit", "standard", "global", "log"])
def test_the_jacobian_is_the_slope_of_the_scaling(method: str) -> None:
    X = RANDOM.gamma(2, [1, 10, 100], size=(20, 3)).astype(np.float32).astype(np.float64)
    scaling = _fit(X, "embedding", method)
    step = 0.01 * (1 + X)
    slope = (scaling.transform(X + step).astype(np.float64) - scaling.transform(X - step)) / step
    assert_allclose(scaling.log_jacobian(X), np.log(slope / 2).sum(axis=1), atol=2e-2)
