"""The latent class model: clusters of tables whose columns take few values.

    p(x) = sum_k pi_k prod_j p(x_j | k)                                                       (1)

with a categorical distribution of each column that takes few values, and a normal of each other
(Lazarsfeld & Henry 1968, "Latent structure analysis"). Within a cluster columns are independent:
between two values of an answer there is no distance, and neighbours on a graph are mostly ties.

Maximum a posteriori by EM, where every cluster has seen one row more than it has: one with all
values of a column in equal parts, and the variance of all rows.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepmixture.embedding import TRIAL_ROWS
from deepmixture.hardware import one_thread
from deepmixture.trials import many_clusters

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Array = NDArray[np.float64]
MOST_VALUES = 12
ROWS_A_VALUE = 10
MOST_STEPS, FEW_STEPS = 200, 20
LITTLE_GAIN = 1e-5  # nats a row
LEAST_VARIANCE = 1e-3  # of that of all rows


class Columns(NamedTuple):
    """Rows (N, F) as the model sees them."""

    values: "csr_array"  # (N, V), one of each column's values
    evenly: Array  # (V,), one over the number of values of the column
    numbers: Array  # (N, F') of the other columns, of unit deviation


class Classes(NamedTuple):
    """What is known of K clusters: the parameters of (1)."""

    log_weights: Array  # (K,)
    log_values: Array  # (K, V)
    means: Array  # (K, F')
    variances: Array  # (K, F')


def takes_few_values(rows: Array) -> bool:
    """Whether at least half of the columns of rows (N, F) take few values, by some of the rows."""
    some = rows[:: max(1, len(rows) // TRIAL_ROWS)]
    return bool(np.mean([_is_discrete(column) for column in some.T]) >= 0.5)


def _is_discrete(column: Array) -> bool:
    return len(np.unique(column)) <= min(MOST_VALUES, len(column) // ROWS_A_VALUE)


def columns_of(rows: Array) -> Columns:
    """Tell the columns of rows (N, F) that take few values from those that measure."""
    from scipy.sparse import csr_array

    discrete = np.array([_is_discrete(column) for column in rows.T])
    index, evenly, before = [], [], 0
    for column in rows.T[discrete]:
        values, code = np.unique(column, return_inverse=True)
        index.append(before + code)
        evenly.append(np.full(len(values), 1.0 / len(values)))
        before += len(values)
    n_rows, n_columns = len(rows), len(index)
    where = np.stack(index, axis=1).ravel() if index else np.empty(0, dtype=int)
    pointers = n_columns * np.arange(n_rows + 1)
    values = csr_array((np.ones(len(where)), where, pointers), shape=(n_rows, before))
    numbers = rows[:, ~discrete]
    numbers = (numbers - numbers.mean(0)) / np.maximum(numbers.std(0), 1e-12)
    return Columns(values, np.concatenate([*evenly, np.empty(0)]), numbers)


def part(columns: Columns, rows: NDArray[np.int64]) -> Columns:
    """Return some of the rows, by their numbers."""
    return Columns(columns.values[rows], columns.evenly, columns.numbers[rows])


def maximise(columns: Columns, responsibilities: Array) -> Classes:
    """Return the most probable parameters given responsibilities (N, K)."""
    n_rows, n_clusters = responsibilities.shape
    sizes = responsibilities.sum(0)[:, None]
    counted = (columns.values.T @ responsibilities).T  # (K, V)
    means = responsibilities.T @ columns.numbers / np.maximum(sizes, 1e-12)
    squares = responsibilities.T @ columns.numbers**2 / np.maximum(sizes, 1e-12)
    within = np.maximum(squares - means**2, 0.0)
    return Classes(
        np.log((sizes[:, 0] + 1.0) / (n_rows + n_clusters)),
        np.log((counted + columns.evenly) / (sizes + 1.0)),
        means,
        np.maximum((sizes * within + 1.0) / (sizes + 1.0), LEAST_VARIANCE),
    )


def expect(columns: Columns, classes: Classes) -> tuple[Array, float]:
    """Return the responsibilities (N, K), and the objective of EM in nats a row."""
    from scipy.special import logsumexp

    log_joint = columns.values @ classes.log_values.T + classes.log_weights  # (N, K)
    for k, (mean, variance) in enumerate(zip(classes.means, classes.variances, strict=True)):
        squares = ((columns.numbers - mean) ** 2 / variance).sum(1)
        log_joint[:, k] -= 0.5 * (squares + np.log(2 * np.pi * variance).sum())
    log_density = logsumexp(log_joint, axis=1, keepdims=True)
    imagined = (classes.log_values @ columns.evenly).sum() + classes.log_weights.sum()
    imagined -= 0.5 * (np.log(classes.variances) + 1.0 / classes.variances).sum()
    objective = (log_density.sum() + imagined) / len(log_joint)
    return np.exp(log_joint - log_density), float(objective)


def improve(columns: Columns, responsibilities: Array, steps: int) -> tuple[Array, float]:
    """Go on by EM from responsibilities (N, K), until a step gains next to nothing."""
    before = -np.inf
    for _ in range(steps):
        responsibilities, objective = expect(columns, maximise(columns, responsibilities))
        if objective - before < LITTLE_GAIN:
            break
        before = objective
    return responsibilities, objective


@one_thread()
def most_probable(rows: Array, n_clusters: int, rng: np.random.Generator, n_init: int) -> Array:
    """Return the responsibilities (N, K) of the most probable of `n_init` models, from k-means.

    Parameters
    ----------
    rows : array of shape (N, F)
    n_clusters : int
    rng : numpy.random.Generator
    n_init : int
    """
    columns = columns_of(rows)
    found = [
        improve(columns, np.eye(n_clusters)[many_clusters(rows, n_clusters, rng)], MOST_STEPS)
        for _ in range(n_init)
    ]
    return max(found, key=lambda trial: trial[1])[0]


def on_all_rows(rows: Array, few: NDArray[np.int64], known: Array) -> Array:
    """Return responsibilities (N, K), gone on from those known (n, K) of a few of the rows."""
    columns = columns_of(rows)
    first, _ = expect(columns, maximise(part(columns, few), known))
    return improve(columns, first, FEW_STEPS)[0]
