"""Deep generative clustering: find the groups in images, embeddings and tables.

Mixture variational autoencoders as scikit-learn estimators. `DeepMixture` is the default; it and
the published models are fitted like `sklearn.mixture.GaussianMixture`; `load` reads a fitted one
back.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepmixture.cluster import (
        AEGMM,
        DEC,
        GMGAN,
        GMVAE,
        IDEC,
        LTVAE,
        N2D,
        NVISA,
        VAEGMM,
        DeepMixture,
        VaDE,
    )
    from deepmixture.data import Rows, open_rows
    from deepmixture.engine import TrainingDiverged
    from deepmixture.loggers import Logged
    from deepmixture.registry import MODELS
    from deepmixture.store import load

__version__ = "0.1.0"

# Torch takes seconds to import: a name is fetched when it is first asked for.
_HOMES = {
    "DeepMixture": "cluster",
    "VaDE": "cluster",
    "GMVAE": "cluster",
    "AEGMM": "cluster",
    "VAEGMM": "cluster",
    "DEC": "cluster",
    "IDEC": "cluster",
    "GMGAN": "cluster",
    "LTVAE": "cluster",
    "NVISA": "cluster",
    "N2D": "cluster",
    "MODELS": "registry",
    "Rows": "data",
    "open_rows": "data",
    "TrainingDiverged": "engine",
    "Logged": "loggers",
    "load": "store",
}

__all__ = [
    "AEGMM",
    "DEC",
    "GMGAN",
    "GMVAE",
    "IDEC",
    "LTVAE",
    "MODELS",
    "N2D",
    "NVISA",
    "VAEGMM",
    "DeepMixture",
    "Logged",
    "Rows",
    "TrainingDiverged",
    "VaDE",
    "load",
    "open_rows",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name not in _HOMES:
        raise AttributeError(f"module 'deepmixture' has no attribute {name!r}")
    return getattr(importlib.import_module(f"deepmixture.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
