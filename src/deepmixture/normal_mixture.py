"""Mixtures of normals with full covariances, by EM (Dempster, Laird & Rubin 1977).

    log pi_k + log N(x; mu_k, S_k) = c_k + b_k^T x - 1/2 sum_ij (S_k^-1)_ij x_i x_j            (1)

is linear in x and the products of its entries, and so are the moments that EM takes. So both steps
are one matrix product for all clusters, where the usual loop passes over the rows for each.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
MOST_STEPS = 200
LITTLE_GAIN = 1e-4  # nats a row
PART = 2**18  # numbers at a time, which stay in the cache between the two steps
MOST_KEPT = 2**25


class NormalMixture(NamedTuple):
    """K normals in D dimensions."""

    weights: Array  # (K,)
    means: Array  # (K, D)
    covariances: Array  # (K, D, D)

    def responsibilities(self, products: "Products") -> Array:
        """Return p(k | x) of n rows, (n, K)."""
        return self.judge(products)[0]

    def judge(self, products: "Products") -> tuple[Array, float]:
        """Return p(k | x) of n rows, (n, K), and the mean of log p(x) over them, in nats."""
        parameters = products.parameters(self)
        known, log_densities = zip(
            *(posterior(part @ parameters) for part in products), strict=True
        )
        return np.concatenate(known), sum(log_densities) / len(products.rows)


class Products:
    """Of rows (n, D) about their mean: one, the entries, and the products of any two of them.

    Iterated over in parts (m, P). They are kept where they are no more than 256 MB, for many
    mixtures are tried on the same rows.
    """

    def __init__(self, rows: Array) -> None:
        self.rows, self.centre = rows, rows.mean(0)
        width = rows.shape[1]
        self.upper = np.triu_indices(width)
        self.size = 1 + width + len(self.upper[0])
        self._kept = list(self._parts()) if len(rows) * self.size <= MOST_KEPT else None

    def __iter__(self) -> Iterator[Array]:
        """Yield the parts, in the order of the rows."""
        return self._parts() if self._kept is None else iter(self._kept)

    def _parts(self) -> Iterator[Array]:
        step = max(1, PART // self.size)
        width = self.rows.shape[1]
        for first in range(0, len(self.rows), step):
            rows = self.rows[first : first + step] - self.centre
            part = np.empty((len(rows), self.size))
            part[:, 0], part[:, 1 : 1 + width] = 1.0, rows
            done = 1 + width
            for i in range(width):
                np.multiply(rows[:, i:], rows[:, i, None], out=part[:, done : done + width - i])
                done += width - i
            yield part

    def parameters(self, mixture: NormalMixture) -> Array:
        """Return c, b and S^-1 of (1) as the factors of the products, (P, K)."""
        means = mixture.means - self.centre
        root = np.linalg.cholesky(mixture.covariances)
        inverse = np.linalg.inv(root)
        precisions = inverse.transpose(0, 2, 1) @ inverse
        linear = np.einsum("kij,kj->ki", precisions, means)
        log_scale = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(1)
        constant = np.log(mixture.weights) - log_scale - 0.5 * (linear * means).sum(1)
        constant -= 0.5 * means.shape[1] * np.log(2 * np.pi)
        rows, columns = self.upper
        # Of i < j the sum in (1) has two equal terms.
        factors = np.where(rows == columns, -0.5, -1.0) * precisions[:, rows, columns]
        return np.concatenate([constant[None], linear.T, factors.T])

    def mixture(self, moments: Array, least_variance: float) -> NormalMixture:
        """Return the mixture with given sums of the products over its clusters, (K, P)."""
        width = len(self.centre)
        mass = moments[:, :1] + 10 * np.finfo(np.float64).eps
        means, second = moments[:, 1 : 1 + width] / mass, moments[:, 1 + width :] / mass
        covariances = np.empty((len(moments), width, width))
        rows, columns = self.upper
        covariances[:, rows, columns] = second - means[:, rows] * means[:, columns]
        covariances[:, columns, rows] = covariances[:, rows, columns]
        covariances += least_variance * np.eye(width)
        return NormalMixture(mass[:, 0] / mass.sum(), means + self.centre, covariances)


def posterior(log_joint: Array) -> tuple[Array, float]:
    """Return p(k | x), (n, K), of log p(x, k), and the sum of log p(x) over the rows."""
    most = log_joint.max(1, keepdims=True)
    joint = np.exp(log_joint - most)
    total = joint.sum(1, keepdims=True)
    return joint / total, float((most + np.log(total)).sum())


def from_responsibilities(
    products: Products, responsibilities: Array, least_variance: float
) -> NormalMixture:
    """Return the mixture with the moments of n rows weighted by responsibilities (n, K)."""
    moments, first = np.zeros((products.size, responsibilities.shape[1])), 0
    for part in products:
        moments += part.T @ responsibilities[first : first + len(part)]
        first += len(part)
    return products.mixture(moments.T, least_variance)


def improved(products: Products, begin: NormalMixture, least_variance: float) -> NormalMixture:
    """Go on from a mixture by EM, until a step gains next to nothing.

    Parameters
    ----------
    products : Products
        Of the n rows.
    begin : NormalMixture
    least_variance : float
        Added to every variance.
    """
    mixture, before = begin, -np.inf
    for _ in range(MOST_STEPS):
        parameters = products.parameters(mixture)
        moments, log_density = np.zeros(parameters.shape), 0.0
        for part in products:
            known, found = posterior(part @ parameters)
            moments += part.T @ known
            log_density += found
        mixture = products.mixture(moments.T, least_variance)
        now = log_density / len(products.rows)
        if abs(now - before) < LITTLE_GAIN:
            break
        before = now
    return mixture
