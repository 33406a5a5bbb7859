"""Docstrings of estimators, with the parameters and attributes that all share."""

import inspect
import re
from typing import TypeVar

from deepmixture.estimator import LatentMixtureEstimator

E = TypeVar("E", bound=LatentMixtureEstimator)


def shares_docstring(estimator: type[E]) -> type[E]:
    """Put the parameters and attributes that all estimators share into a docstring."""
    shared = inspect.cleandoc(LatentMixtureEstimator.__doc__ or "")
    parameters = shared.partition("----------\n")[2].partition("\n\nAttributes")[0]
    attributes = shared.partition("Attributes\n----------\n")[2].partition("\n\nNotes")[0]
    own = inspect.cleandoc(estimator.__doc__ or "")
    described = own.partition("%(shared parameters)s")[2]
    # What a subclass describes itself is not described twice.
    kept = [
        entry
        for entry in re.split(r"\n(?=\w)", parameters)
        if f"\n{entry.partition(' :')[0]} :" not in described
    ]
    own = own.replace("%(shared parameters)s", "\n".join(kept))
    estimator.__doc__ = own.replace("%(shared attributes)s", attributes)
    return estimator
