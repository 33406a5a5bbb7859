"""The estimators by their names on the command line and in saved models."""

from deepmixture.cluster import AEGMM, DEC, GMGAN, GMVAE, IDEC, LTVAE, NVISA, VAEGMM, VaDE
from deepmixture.estimator import LatentMixtureEstimator

PUBLISHED = (VaDE, GMVAE, NVISA, LTVAE, GMGAN, DEC, IDEC, AEGMM, VAEGMM)

MODELS: dict[str, type[LatentMixtureEstimator]] = {
    estimator.name: estimator for estimator in PUBLISHED
}
