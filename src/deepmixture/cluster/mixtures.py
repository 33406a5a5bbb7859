"""The estimators AEGMM and VAEGMM: a representation, then a mixture on its latent means."""

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, cast

import torch

from deepmixture import engine, normals, presets, schedules
from deepmixture.batches import ScaledRows
from deepmixture.cluster.pretrained import Pretrained, full
from deepmixture.docstrings import shares_docstring
from deepmixture.models import autoencoder
from deepmixture.priors import FullMixture


class _MixtureAfterwards(Pretrained):
    """A representation, then a full-covariance mixture on its latent means."""

    def _build(self) -> None:
        prior = FullMixture(self.n_clusters_, self.n_latent)
        self.model_ = autoencoder.AutoencoderMixture(*self._networks(), prior)

    def _fit_mixture(self, x: ScaledRows, representation: str) -> normals.Start:
        few = self._few(x)
        self._pretrain(x, few, representation)
        start = self._start(few)
        cast(FullMixture, self.model_.prior).start(*full(start))
        return start


@shares_docstring
@dataclass(eq=False, repr=False)
class AEGMM(_MixtureAfterwards):
    """AE+GMM: a Gaussian mixture fitted on the latent space of an autoencoder.

    The autoencoder is trained by least squares. Read as a generative model its mixture is the
    prior p(z), and q(z|x) a normal at the code of x whose deviations are learned last.

    Parameters
    ----------
    %(shared parameters)s

    Attributes
    ----------
    %(shared attributes)s
    """

    _: KW_ONLY

    name: ClassVar[str] = "ae-gmm"

    def _train(self, x: ScaledRows) -> None:
        start = self._fit_mixture(x, "autoencoder")
        model = self.model_
        # An autoencoder has no q(z|x): its one deviation a dimension is learned with all else
        # held, for the bound on log p(x) alone.
        spread = torch.from_numpy(0.1 * start.total_scale).float()
        model.head.start_scale(spread.to(x.device))
        model.requires_grad_(False)
        model.head.log_scale.bias.requires_grad_(True)
        # Never more of it than of pretraining: whoever asked for little there is in a hurry.
        at_most = self._epochs(self.pretrain_epochs, len(x), at_least=25, steps=2500)
        epochs = min(at_most, presets.epochs_for(len(x), self.batch_size, 1, 200, 200))
        rate = schedules.cosine(0.03, 0.001)
        stage = engine.Stage("posterior", epochs, rate, self.batch_size)
        self._run_stage(model, [x], stage)


@shares_docstring
@dataclass(eq=False, repr=False)
class VAEGMM(_MixtureAfterwards):
    """VAE+GMM: a Gaussian mixture fitted on the latent space of a variational autoencoder.

    The prior N(0, I) that the autoencoder was trained with (Kingma & Welling 2014) is replaced by
    the mixture of its latent means.

    Parameters
    ----------
    %(shared parameters)s

    Attributes
    ----------
    %(shared attributes)s
    """

    _: KW_ONLY

    name: ClassVar[str] = "vae-gmm"

    def _train(self, x: ScaledRows) -> None:
        self._fit_mixture(x, "vae")
