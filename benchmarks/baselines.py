"""What everybody has: k-means and a Gaussian mixture on the rows as they are."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture

from deepmixture import Rows


@dataclass(eq=False, repr=False)
class OnRawRows(BaseEstimator):
    """An estimator of scikit-learn on rows divided by one common deviation."""

    n_clusters: int = 10
    random_state: int | None = None
    n_init: int = 3

    def fit(self, rows: Rows) -> Self:
        x = np.asarray(rows.values, dtype=np.float32)
        self.labels_ = self.estimator().fit_predict(x / x.std())
        return self

    def estimator(self) -> Any:
        raise NotImplementedError


class RawKMeans(OnRawRows):
    """k-means, the best of `n_init` by its own objective."""

    def estimator(self) -> Any:
        return KMeans(self.n_clusters, n_init=self.n_init, random_state=self.random_state)


class RawGaussianMixture(OnRawRows):
    """A Gaussian mixture with diagonal covariances, the best of `n_init` by its likelihood."""

    def estimator(self) -> Any:
        return GaussianMixture(
            self.n_clusters,
            covariance_type="diag",
            reg_covar=1e-3,
            n_init=self.n_init,
            random_state=self.random_state,
        )


BASELINES: dict[str, type[OnRawRows]] = {"k-means": RawKMeans, "gmm": RawGaussianMixture}
