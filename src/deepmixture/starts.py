"""Starts: a first mixture over a latent space, from which a deep mixture is trained.

No start ever sees a label.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
TRIAL_ROWS = 20_000


@dataclass(frozen=True)
class Start:
    """A mixture of K normals over a D-dimensional latent space and what it says of each row."""

    weights: Array  # (K,)
    means: Array  # (K, D)
    scales: Array  # (K, D) standard deviations of the diagonal mixture
    covariances: Array  # (K, D, D) of the full-covariance mixture
    responsibilities: Array  # (N, K) of the full-covariance mixture
    total_scale: Array  # (D,) standard deviations of the latent over all rows


def gaussian_mixture(latent: Array, n_clusters: int, seed: int, n_init: int = 20) -> Start:
    """Start from a full-covariance Gaussian mixture, and its diagonal by moments.

    `n_init` mixtures, each begun from k-means, are fitted on at most 20,000 rows. The one whose
    responsibilities tell most about the rows, by the mutual information I(x; y), is refined on
    all of them: likelihood alone prefers a cluster that is cut in two almost as often as not.
    The diagonal mixture has the moments of the rows weighted by the full-covariance
    responsibilities: on the latent of an autoencoder, whose axes mean nothing, these are far
    better clusters than a diagonal fit finds.

    Parameters
    ----------
    latent : array of shape (N, D)
    n_clusters : int
    seed : int
    n_init : int, default=20
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    latent = np.asarray(latent, dtype=np.float64)
    rng = np.random.default_rng(seed)
    few = rng.choice(len(latent), min(len(latent), TRIAL_ROWS), replace=False)
    floor = _least_variance(latent)

    def mixture(tol: float, begin: GaussianMixture | None = None) -> GaussianMixture:
        given = {}
        if begin is not None:
            given = {
                "weights_init": begin.weights_,
                "means_init": begin.means_,
                "precisions_init": begin.precisions_,
            }
        state = int(rng.integers(2**31))
        return GaussianMixture(
            n_clusters, reg_covar=floor, tol=tol, max_iter=200, random_state=state, **given
        )

    with warnings.catch_warnings():
        # The start need not have converged: training goes on from it.
        warnings.simplefilter("ignore", ConvergenceWarning)
        trials = [mixture(1e-4).fit(latent[few]) for _ in range(n_init)]
        best = max(trials, key=lambda trial: mutual_information(trial.predict_proba(latent[few])))
        refined = mixture(1e-4, begin=best).fit(latent)
    responsibilities = refined.predict_proba(latent)
    return from_responsibilities(latent, responsibilities, refined.covariances_)


def from_responsibilities(
    latent: Array, responsibilities: Array, covariances: Array | None = None
) -> Start:
    """Start from given responsibilities (N, K): the moments of the rows weighted by them."""
    mass = responsibilities.sum(0) + 1e-9 * len(latent)
    centre = latent.mean(0)
    centred = latent - centre  # a mean far from zero would drown the second moments
    means = (responsibilities.T @ centred) / mass[:, None]
    second = (responsibilities.T @ centred**2) / mass[:, None]
    floor = _least_variance(latent)
    scales = np.sqrt(np.maximum(second - means**2, floor))
    if covariances is None:
        covariances = np.stack([np.diag(scale**2) for scale in scales])
    total_scale = np.sqrt(np.maximum(latent.var(0), floor))
    return Start(
        mass / mass.sum(), means + centre, scales, covariances, responsibilities, total_scale
    )


def _least_variance(latent: Array) -> float:
    """Return what no variance may fall below: small next to the spread, whatever its units."""
    return 1e-6 * max(float(latent.var(0).mean()), 1e-12)


def mutual_information(responsibilities: Array) -> float:
    """Return I(x; y) = H(y) - H(y|x) in nats of responsibilities (N, K): sure and balanced."""
    from scipy.special import entr

    return float(entr(responsibilities.mean(0)).sum() - entr(responsibilities).sum(1).mean())
