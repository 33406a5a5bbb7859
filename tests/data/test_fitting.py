"""Which scaling is found for what."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA

from deepmixture.data import Kind, Scaling, fit_scaling, named_columns, open_rows, schema

RANDOM = np.random.default_rng(0)
# More numbers than one slice of rows holds, so that slices must be joined.
LONG = RANDOM.normal([3, -200, 1e6, 0.001], [1, 20, 5, 1e-4], size=(300_000, 4))


def _fit(X: Any, kind: Kind, method: str = "auto") -> Scaling:
    return fit_scaling(open_rows(X), kind, method)


def test_standard_scaling_is_that_of_numpy() -> None:
    scaling = _fit(LONG, "table")
    assert scaling.method == "standard"
    assert_allclose(scaling.offset, LONG.mean(axis=0), rtol=1e-12)
    assert_allclose(scaling.scale, LONG.std(axis=0), rtol=1e-9)
    scaled = scaling.transform(LONG)
    assert scaled.dtype == np.float32
    assert_allclose(scaled, (LONG - LONG.mean(axis=0)) / LONG.std(axis=0), rtol=1e-4, atol=1e-6)


STRETCHED = RANDOM.normal(size=(200, 12)) @ RANDOM.normal(size=(12, 12)) + 3.0
SCORES = PCA().fit_transform(STRETCHED)


@pytest.mark.parametrize(
    ("values", "method"),
    [
        (SCORES, "global"),
        (SCORES[:, :5], "global"),
        (pd.DataFrame(SCORES.astype(np.float32)).add_prefix("PC"), "global"),
        (STRETCHED, "standard"),
        (SCORES[:, ::-1], "standard"),
        (SCORES + 1.0, "standard"),
        (SCORES / SCORES.std(0), "standard"),
        (SCORES[:, :1], "standard"),
    ],
)
def test_principal_components_keep_their_proportions(values: Any, method: str) -> None:
    assert _fit(values, "table").method == method


def test_principal_components_are_told_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = PCA().fit_transform(RANDOM.normal(size=(20_000, 3)) @ STRETCHED[:3, :3])
    monkeypatch.setattr(schema, "_SEEN_NUMBERS", scores.size // 2)
    order = np.argsort(scores[:, 0])
    assert _fit(scores[order], "table").method == "global"


@pytest.mark.parametrize(("kind", "method"), [("embedding", "global"), ("counts", "log")])
def test_one_scale_is_shared(kind: Kind, method: str) -> None:
    X = RANDOM.poisson([1, 5, 50], size=(500, 3))
    changed = np.log1p(X) if method == "log" else X
    scaling = _fit(X, kind)
    assert scaling.method == method
    assert_allclose(scaling.offset, changed.mean(axis=0))
    assert_allclose(scaling.scale, np.sqrt(changed.var(axis=0).mean()))
    expected = (changed - changed.mean(axis=0)) / np.sqrt(changed.var(axis=0).mean())
    assert_allclose(scaling.transform(X), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("X", "low", "high"),
    [
        (np.array([[0, 10], [200, 3]], np.uint8), 0, 255),
        (np.array([[0, 1], [1, 1]], np.uint8), 0, 1),
        (np.array([[0, 10], [200, 3]], np.uint16), 0, 200),
        (np.array([[0.25, 0.5], [0.75, 1]]), 0, 1),
        (np.array([[-1.0, 0.5], [0.75, 3]]), -1, 3),
    ],
)
def test_images_are_brought_to_the_unit_interval(X: np.ndarray, low: float, high: float) -> None:
    scaling = _fit(X, "image")
    assert scaling.method == "unit"
    assert_allclose(scaling.transform(X), (X.astype(float) - low) / (high - low), rtol=1e-6)


def test_a_hot_pixel_does_not_darken_all_others() -> None:
    X = RANDOM.uniform(0.0, 16.0, size=(500, 64))
    whole = _fit(X, "image")
    assert whole.scale[0] == X.max() - X.min()
    X[3, 5] = 1e5
    scaling = _fit(X, "image")
    spread = X.std()
    assert_allclose(scaling.offset + scaling.scale, X.mean() + 10.0 * spread)
    assert_allclose(scaling.offset, X.min())
    assert scaling.transform(X, clip=True).max() == 1.0


def test_a_table_has_a_unit_interval_in_each_column() -> None:
    X = np.array([[0.0, 1000.0], [90.0, 3000.0], [45.0, 2000.0]])
    assert_allclose(_fit(X, "table", "unit").transform(X), np.array([[0, 0], [1, 1], [0.5, 0.5]]))


def test_missing_values_are_left_out_of_account() -> None:
    X = LONG[:300].copy()
    X[::7, 0] = np.nan
    X[:299, 2] = np.nan
    scaling = _fit(X[:, [0, 1, 3]], "table")
    assert_allclose(scaling.offset[0], np.nanmean(X[:, 0]))
    assert_allclose(scaling.scale[0], np.nanstd(X[:, 0]))
    assert_array_equal(np.isnan(scaling.transform(X[:, [0, 1, 3]])), np.isnan(X[:, [0, 1, 3]]))
    assert np.isfinite(_fit(X, "table").scale).all()


def test_constant_columns_are_brought_to_zero_and_named() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [0.1, 0.1], "c": [3, 3]})
    for kind in ("image", "table", "embedding", "counts"):
        assert np.isfinite(_fit(frame, kind).transform(frame.to_numpy())).all()
    for method in ("standard", "unit", "global", "none", "log"):
        scaling = _fit(frame, "table", method)
        scaled = scaling.transform(frame.to_numpy() + np.array([0.0, 0.0, 5.0]))
        assert_array_equal(scaled[:, 1:], np.zeros((2, 2)))
        assert_array_equal(scaling.constant, [False, True, True])
        assert_allclose(scaling.inverse_transform(scaled + 1e-3)[:, 1:], [[0.1, 3.0]] * 2)
        if method != "log":
            assert_allclose(scaling.log_jacobian(frame.to_numpy()), -np.log(scaling.scale[0]))
    assert named_columns(open_rows(frame), scaling.constant) == "'b', 'c'"


@pytest.mark.parametrize("kind", ["image", "table", "embedding", "counts"])
def test_rows_that_are_all_alike_are_refused(kind: Kind) -> None:
    with pytest.raises(ValueError, match="same values in every row"):
        _fit(np.full((5, 3), 0.1), kind)


@pytest.mark.parametrize(
    ("X", "method", "words"),
    [
        (np.ones((1, 3)), "auto", "1 sample"),
        (np.eye(3), "zscore", "scaling is 'zscore': expected one of auto, none, unit"),
        (-np.eye(3), "log", "negative values: expected counts"),
        (np.array([[0, 1.7e308], [1, -1.7e308]]), "auto", "infinite or too large to scale"),
        (np.array([[0, np.inf], [1, 2]]), "auto", "infinite or too large to scale"),
    ],
)
def test_what_cannot_be_scaled(X: np.ndarray, method: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        _fit(X, "embedding", method)
