"""AnnData, in memory and from .h5ad files."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from deepmixture.data import decide_kind, open_rows
from deepmixture.estimator import LatentMixtureEstimator

anndata = pytest.importorskip("anndata")  # that knows no pandas 3
Make = Callable[..., LatentMixtureEstimator]
N_CELLS, N_GENES = 60, 80
GENES = tuple(f"{word}{i}" for i in range(N_GENES // 2) for word in ("CD", "HLA"))
CELLS = tuple(f"AAAC{i:03}-1" for i in range(N_CELLS))


@pytest.fixture(scope="module")
def counts() -> np.ndarray:
    rates = (
        np.random.default_rng(0).gamma(0.3, 2.0, size=(3, N_GENES)).repeat(N_CELLS // 3, axis=0)
    )
    drawn: np.ndarray = np.random.default_rng(1).poisson(rates + 0.05).astype(np.float32)
    return drawn


@pytest.fixture(scope="module")
def cells(counts: np.ndarray) -> Any:
    """Scaled logarithms, as they are kept beside the counts they were made of."""
    logarithms = np.log1p(counts / counts.sum(1, keepdims=True) * 1e4)
    data = anndata.AnnData(
        scipy.sparse.csr_matrix(logarithms),
        obs=pd.DataFrame({"kind": np.repeat(["B", "T", "NK"], 20)}, index=list(CELLS)),
        var=pd.DataFrame(index=list(GENES)),
        layers={"counts": scipy.sparse.csr_matrix(counts)},
        obsm={
            "X_pca": counts[:, :5].astype(np.float64),
            "tags": pd.DataFrame(counts[:, :2], index=list(CELLS), columns=["CD3", "CD19"]),
        },
    )
    data.raw = data
    data.X = (logarithms - logarithms.mean(0)) / (logarithms.std(0) + 0.1)
    return data


@pytest.fixture(scope="module", params=["memory", "disk"])
def held(
    request: pytest.FixtureRequest,
    cells: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> object:
    if request.param == "memory":
        return cells
    path: Path = tmp_path_factory.mktemp("cells") / "cells.h5ad"
    cells.write_h5ad(path)
    return path


def test_x_is_taken_or_what_the_key_names(held: object, cells: Any, counts: np.ndarray) -> None:
    rows = open_rows(held)
    np.testing.assert_array_equal(rows.values, cells.X)
    assert (rows.names, rows.row_names, rows.is_frame) == (GENES, CELLS, False)
    assert decide_kind(rows)[0] == "embedding"
    raw = open_rows(held, key="raw/X")
    np.testing.assert_array_equal(raw.values, cells.raw.X.toarray())
    assert (raw.names, raw.was_sparse, decide_kind(raw)[0]) == (GENES, True, "embedding")
    layer = open_rows(held, key="layers/counts")
    np.testing.assert_array_equal(layer.values, counts)
    assert (layer.names, decide_kind(layer)[0]) == (GENES, "counts")
    components = open_rows(held, key="obsm/X_pca")
    np.testing.assert_array_equal(components.values, counts[:, :5])
    assert (components.names, components.row_names) == (None, CELLS)
    np.testing.assert_array_equal(open_rows(held, key="obsm/tags").values, counts[:, :2])
    with pytest.raises(ValueError, match=r"holds no 'counts': it holds X, raw/X, layers/counts"):
        open_rows(held, key="counts")


def test_a_file_on_disk_and_a_backed_one_are_the_same_cells(cells: Any, tmp_path: Path) -> None:
    cells.write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    for key in ("X", "raw/X"):
        expected = open_rows(cells, key=key).values
        np.testing.assert_array_equal(open_rows(backed, key=key).values, expected)
    backed.file.close()


def test_cells_are_clustered_as_their_counts_are(
    make: Make, cells: Any, counts: np.ndarray
) -> None:
    settings = {"pretrain_epochs": 2, "epochs": 1}
    expected = make(**settings).fit(scipy.sparse.csr_array(counts))
    only_counts = anndata.AnnData(scipy.sparse.csr_matrix(counts), var=cells.var)
    fitted = make(**settings).fit(only_counts)
    assert fitted.kind_ == "counts"
    np.testing.assert_array_equal(fitted.labels_, expected.labels_)
    np.testing.assert_array_equal(fitted.predict(only_counts), expected.labels_)
    assert tuple(fitted.feature_names_in_) == GENES
    with pytest.raises(ValueError, match="an AnnData has other columns than the training rows"):
        fitted.predict(only_counts[:, ::-1].copy())


def test_what_holds_no_cells_is_said(
    cells: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = anndata.AnnData(obs=pd.DataFrame(index=["a", "b"]))
    with pytest.raises(ValueError, match="the AnnData holds no matrix of cells"):
        open_rows(empty)
    without_x = anndata.AnnData(obs=cells.obs, obsm={"X_pca": cells.obsm["X_pca"]})
    with pytest.raises(ValueError, match="has no X: choose with key, of obsm/X_pca"):
        open_rows(without_x)
    damaged = tmp_path / "damaged.h5ad"
    damaged.write_bytes(b"no HDF5")
    with pytest.raises(ValueError, match=r"damaged\.h5ad cannot be read as h5ad"):
        open_rows(damaged)
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(ValueError, match=r"pip install deepmixture\[anndata\]"):
        open_rows(damaged)


def test_a_frame_of_genes_or_words_is_no_table(counts: np.ndarray) -> None:
    """Whether it holds counts or logarithms of them; of marks it is one."""
    logarithms = np.log1p(counts / counts.sum(1, keepdims=True) * 1e4)
    weights = logarithms / logarithms.max()
    marks = (counts > 0) + 0.0
    marks[:, 0] = weights[:, 0]
    for values, kind in (
        (counts, "counts"),
        (logarithms, "embedding"),
        (weights, "embedding"),
        (marks, "table"),
        (logarithms + 0.1, "table"),
        (logarithms * 10.0 ** np.linspace(0, 4, N_GENES), "table"),
    ):
        assert decide_kind(open_rows(pd.DataFrame(values, columns=list(GENES))))[0] == kind
