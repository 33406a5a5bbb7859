"""scikit-learn's own checks, all of them, for every estimator."""

from collections.abc import Callable

from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import parametrize_with_checks

import deepmixture

# scikit-learn's two checks of sparse rows expect `predict_proba` to have four columns, as many as
# their y has classes: four clusters, then.
SMALL = {
    "n_clusters": 4,
    "hidden": (16,),
    "n_latent": 2,
    "pretrain_epochs": 2,
    "n_init": 3,
    "precision": "float32",
    "random_state": 0,
}


@parametrize_with_checks(
    [
        deepmixture.VaDE(epochs=2, **SMALL),
        deepmixture.DeepMixture(epochs=2, refine_epochs=2, **(SMALL | {"n_init": 1})),
        deepmixture.GMVAE(epochs=6, **SMALL),
        deepmixture.AEGMM(**SMALL),
        deepmixture.VAEGMM(**SMALL),
        deepmixture.DEC(epochs=2, start="gmm", **SMALL),
        deepmixture.IDEC(epochs=2, start="gmm", **SMALL),
        deepmixture.N2D(**SMALL),
        deepmixture.NVISA(epochs=2, **SMALL),
        deepmixture.LTVAE(epochs=2, start="gmm", **SMALL),
        deepmixture.GMGAN(epochs=2, start="gmm", **SMALL),
    ]
)
def test_scikit_learn(estimator: BaseEstimator, check: Callable[[BaseEstimator], None]) -> None:
    check(estimator)


def test_no_estimator_is_forgotten() -> None:
    estimators = {
        name for name in deepmixture.__all__ if hasattr(getattr(deepmixture, name), "fit")
    }
    assert {model.__name__ for model in deepmixture.MODELS.values()} == estimators
