"""scikit-learn's own checks, all of them, for every estimator."""

from collections.abc import Callable

import pytest
from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import parametrize_with_checks

import deepmixture

# scikit-learn's two checks of sparse rows expect `predict_proba` to have four columns, as many as
# their y has classes: four clusters, then.
ESTIMATORS = [
    estimator(
        n_clusters=4,
        hidden=(16,),
        n_latent=2,
        pretrain_epochs=2,
        n_init=3,
        precision="float32",
        random_state=0,
    )
    for estimator in deepmixture.MODELS.values()
]


@pytest.mark.filterwarnings("ignore:Can't check dok sparse matrix:UserWarning")
@parametrize_with_checks([e.set_params(**({"epochs": 2} if e.name == "vade" else {})) for e in ESTIMATORS])
def test_scikit_learn(estimator: BaseEstimator, check: Callable[[BaseEstimator], None]) -> None:
    check(estimator)
