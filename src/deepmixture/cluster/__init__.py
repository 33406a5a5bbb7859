"""The public estimators: each one model, in the stages in which its paper trains it."""

from deepmixture.cluster.dec import DEC, IDEC
from deepmixture.cluster.deepmixture import DeepMixture
from deepmixture.cluster.gmgan import GMGAN
from deepmixture.cluster.gmvae import GMVAE
from deepmixture.cluster.ltvae import LTVAE
from deepmixture.cluster.mixtures import AEGMM, VAEGMM
from deepmixture.cluster.n2d import N2D
from deepmixture.cluster.nvisa import NVISA
from deepmixture.cluster.vade import VaDE

__all__ = [
    "AEGMM",
    "DEC",
    "GMGAN",
    "GMVAE",
    "IDEC",
    "LTVAE",
    "N2D",
    "NVISA",
    "VAEGMM",
    "DeepMixture",
    "VaDE",
]
