"""The estimators by their names on the command line and in saved models."""

from deepmixture.cluster import (
    AEGMM,
    DEC,
    GMGAN,
    GMVAE,
    IDEC,
    LTVAE,
    N2D,
    NVISA,
    VAEGMM,
    DeepMixture,
    VaDE,
)
from deepmixture.estimator import LatentMixtureEstimator

PUBLISHED = (VaDE, GMVAE, NVISA, LTVAE, GMGAN, DEC, IDEC, N2D, AEGMM, VAEGMM)

MODELS: dict[str, type[LatentMixtureEstimator]] = {
    estimator.name: estimator for estimator in (DeepMixture, *PUBLISHED)
}
