"""Mixtures of normals by the moments of rows that responsibilities weigh."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Start:
    """A mixture of K normals over a D-dimensional latent space and what it says of each row."""

    weights: Array  # (K,)
    means: Array  # (K, D)
    scales: Array  # (K, D) standard deviations of the diagonal mixture
    covariances: Array  # (K, D, D) of the full-covariance mixture
    responsibilities: Array  # (N, K) of the full-covariance mixture
    total_scale: Array  # (D,) standard deviations of the latent over all rows
    found_by: str = ""  # "a Gaussian mixture", say; nothing where it was given


def from_responsibilities(
    latent: Array,
    responsibilities: Array,
    covariances: Array | None = None,
    found_by: str = "",
) -> Start:
    """Start from given responsibilities (N, K): the moments of the rows weighted by them."""
    mass = responsibilities.sum(0) + 1e-9 * len(latent)
    centre = latent.mean(0)
    centred = latent - centre  # a mean far from zero would drown the second moments
    means = (responsibilities.T @ centred) / mass[:, None]
    second = (responsibilities.T @ centred**2) / mass[:, None]
    floor = least_variance(latent)
    scales = np.sqrt(np.maximum(second - means**2, floor))
    if covariances is None:
        second_moments = [(r[:, None] * centred).T @ centred for r in (responsibilities / mass).T]
        covariances = np.stack(second_moments) - means[:, :, None] * means[:, None, :]
        covariances += floor * np.eye(latent.shape[1])
    total_scale = np.sqrt(np.maximum(latent.var(0), floor))
    weights, means = mass / mass.sum(), means + centre
    return Start(weights, means, scales, covariances, responsibilities, total_scale, found_by)


def least_variance(latent: Array) -> float:
    """Return what no variance may fall below: small next to the spread, whatever its units."""
    return 1e-6 * max(float(latent.var(0).mean()), 1e-12)
