"""The estimators by their names on the command line and in saved models."""

from deepmixture import cluster
from deepmixture.estimator import LatentMixtureEstimator

PUBLISHED = (
    cluster.VaDE,
    cluster.GMVAE,
    cluster.NVISA,
    cluster.LTVAE,
    cluster.GMGAN,
    cluster.DEC,
    cluster.IDEC,
    cluster.N2D,
    cluster.AEGMM,
    cluster.VAEGMM,
)

MODELS: dict[str, type[LatentMixtureEstimator]] = {
    estimator.name: estimator for estimator in (cluster.DeepMixture, *PUBLISHED)
}
