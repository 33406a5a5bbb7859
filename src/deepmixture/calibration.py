"""How sure a clustering may be of its rows, by other clusterings of them: no label is looked at.

A q(y|x) that has learned its own answers is surer of them than it is right. Other clusterings of
the same rows err elsewhere, and how often they differ from it says how sure it may be.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Responsibilities = NDArray[np.float64]
HOTTEST = 20.0
MOST_ROWS = 50_000


def temperature(log_q_y: Responsibilities, witnesses: Sequence[Responsibilities]) -> float:
    """Return the temperature T at which q(y|x) predicts other clusterings best, at least 1.

    T minimises the mean of -sum_y s(y) log softmax(log q(y|x) / T), which is temperature scaling
    (Guo et al. 2017, "On calibration of modern neural networks", section 4.2) with the mean s of
    the witnesses in the place of labels. On at most 50,000 of the rows.

    Parameters
    ----------
    log_q_y : array of shape (N, K)
    witnesses : sequence of array of shape (N, K)
        Responsibilities of other clusterings, whose clusters may have other numbers.

    Returns
    -------
    float
        1 where there is no witness.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    if not witnesses or log_q_y.shape[1] == 1:
        return 1.0
    some = slice(None, None, max(1, len(log_q_y) // MOST_ROWS))
    log_q_y = log_q_y[some]
    seen = np.mean([renumbered(witness[some], log_q_y) for witness in witnesses], axis=0)

    def surprise(log_t: float) -> float:
        return -float((seen * log_softmax(log_q_y / np.exp(log_t), axis=1)).sum(1).mean())

    return float(np.exp(minimize_scalar(surprise, bounds=(0.0, np.log(HOTTEST))).x))


def renumbered(witness: Responsibilities, log_q_y: Responsibilities) -> Responsibilities:
    """Give the clusters of a witness (N, K) the numbers of those of q(y|x) that share most rows.

    One to one, by the Hungarian method.
    """
    from scipy.optimize import linear_sum_assignment

    shared = np.exp(log_q_y).T @ witness  # (K, K)
    _, same = linear_sum_assignment(shared, maximize=True)
    return witness[:, same]
