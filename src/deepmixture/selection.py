"""The choice of one run of several, without a label.

What speaks for a run: that other runs find the same clusters, and that its responsibilities are
sure and balanced, which is the mutual information I(x; y). The evidence is no judge of clusters:
runs of nearly the same evidence cut one group in two and lump two others.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deepmixture.starts import mutual_information

Responsibilities = NDArray[np.float64]


def agreements(runs: Sequence[Responsibilities]) -> list[float | None]:
    """Return the mean adjusted mutual information of each run's labels with all others'.

    Parameters
    ----------
    runs : sequence of array of shape (N, K)

    Returns
    -------
    list of float, or of None where there is one run
    """
    if len(runs) < 2:
        return [None] * len(runs)
    labels = [run.argmax(1) for run in runs]
    between = np.ones((len(runs), len(runs)))
    for one in range(len(runs)):
        for other in range(one):
            between[one, other] = between[other, one] = _alike(labels[one], labels[other])
    return [float(value) for value in (between.sum(1) - 1.0) / (len(runs) - 1)]


def _alike(one: NDArray[np.intp], other: NDArray[np.intp]) -> float:
    """Return 2 I(y; y') / (H(y) + H(y')) of two labellings, 1 for two that are one."""
    joint = np.zeros((one.max() + 1, other.max() + 1))
    np.add.at(joint, (one, other), 1.0 / len(one))
    rows, columns = joint.sum(1), joint.sum(0)
    entropies = _entropy(rows) + _entropy(columns)
    return 2.0 * (entropies - _entropy(joint.ravel())) / entropies if entropies > 0 else 1.0


def _entropy(p: NDArray[np.float64]) -> float:
    from scipy.special import entr

    return float(entr(p).sum())


def choose(runs: Sequence[Responsibilities]) -> int:
    """Return which run is kept: of three or more the one that the others agree with most.

    Two runs agree with one another alike, and there the mutual information decides.
    """
    if len(runs) < 3:
        return int(np.argmax([mutual_information(run) for run in runs]))
    found = agreements(runs)
    return int(np.argmax([value if value is not None else 0.0 for value in found]))
