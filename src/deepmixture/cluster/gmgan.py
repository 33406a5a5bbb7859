"""The estimator GMGAN."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from deepmixture import engine, schedules
from deepmixture.batches import ScaledRows
from deepmixture.cluster.pretrained import STARTS, Pretrained, full
from deepmixture.docstrings import shares_docstring
from deepmixture.latent_source import LatentSource
from deepmixture.models import gmgan

NO_DENSITY = "a generative adversarial network draws rows, it has no density to score them by"
SCARCE = 0.1
"""Share of its weight below which a cluster is said to be as good as unused."""


def adam(parameters: Sequence[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    """Return Adam with the short memory that adversarial training needs (Radford et al. 2016)."""
    return torch.optim.Adam(parameters, lr=rate, betas=(0.5, 0.999), fused=True)


@shares_docstring
@dataclass(eq=False, repr=False)
class GMGAN(Pretrained):
    """GM-GAN: a generative adversarial network on a Gaussian-mixture latent (Ben-Yosef 2018).

    Clusters are read by a classifier that is trained on generated rows, each labelled by the
    Gaussian that its latent was drawn from. By default the generator starts from an autoencoder
    and the mixture from the clusters of its latent; the paper starts from nothing
    (`pretraining=None`).

    Parameters
    ----------
    %(shared parameters)s
    epochs : int or "auto", default="auto"
        Passes over the rows while generator and discriminator compete. Automatically 20 for
        large data, more for small.
    classifier_epochs : int or "auto", default="auto"
        Passes' worth of generated rows on which the classifier is trained at the end. It is
        trained beside the generator too. Automatically a quarter of `epochs`.
    mixture : {"static", "learned"}, default="static"
        Whether the mixture of the latent stays as it is, or its means and Cholesky factors are
        learned with the generator (the paper's dynamic GM-GAN). Weights are never learned.
    mean_range : float, default=1.0
        c: from nothing, the means are drawn uniformly from [-c, c] in each dimension.
    latent_scale : float, default=0.5
        sigma: from nothing, the standard deviation of each cluster.
    pretraining : {"autoencoder", "stacked", "vae", None}, default="autoencoder"
        Start generator and mixture from a representation, as those of `VaDE` do, or, as the
        paper does, from nothing.
    start : {"graph", "gmm"}, default="graph"
        With pretraining: the mixture on the latent means that the latent is drawn from.
    information_weight : float, default=0.1
        Share of the classifier's gradient that reaches the generator, so that it keeps clusters
        apart that the classifier could not tell (InfoGAN; 0 in the paper).
    penalty_weight : float, default=1.0
        Weight of the discriminator's squared gradient at the rows, which keeps the competition
        from running away (R1 of Mescheder et al. 2018; 0 in the paper).

    Attributes
    ----------
    %(shared attributes)s

    References
    ----------
    M. Ben-Yosef & D. Weinshall (2018), "Gaussian mixture generative adversarial networks for
    diverse datasets, and the unsupervised clustering of images", arXiv:1808.10356.
    """

    _: KW_ONLY
    epochs: int | Literal["auto"] = "auto"
    classifier_epochs: int | Literal["auto"] = "auto"
    mixture: str = "static"
    mean_range: float = 1.0
    latent_scale: float = 0.5
    pretraining: str | None = "autoencoder"
    start: str = "graph"
    information_weight: float = 0.1
    penalty_weight: float = 1.0

    name: ClassVar[str] = "gm-gan"
    cannot: ClassVar[Mapping[str, str]] = {"score_samples": NO_DENSITY, "score": NO_DENSITY}

    def _build(self) -> None:
        encoder, head, decoder, likelihood = self._networks()
        prior = LatentSource(
            self.n_clusters_,
            self.n_latent,
            self.mean_range,
            self.latent_scale,
            learned=self.mixture == "learned",
        )
        self.model_ = gmgan.GMGAN(
            encoder,
            head,
            decoder,
            likelihood,
            prior,
            copy.deepcopy(encoder),
            self.penalty_weight,
            self.information_weight,
        )

    def _train(self, x: ScaledRows) -> None:
        model = self.model_
        epochs = self._epochs(self.epochs, len(x), at_least=20, steps=2500)
        rate = 0.2 * self.learning_rate
        if self.pretraining is not None:
            few = self._few(x)
            self._pretrain(x, few, self.pretraining)
            model.prior.start(*full(self._start(few, STARTS[self.start])))
            model.discriminator[0].load_state_dict(model.encoder.state_dict())
            # A discriminator that knows nothing yet would lead a generator that knows much astray.
            first = math.ceil(epochs / 20)
            self._run_adversarial("discriminator", gmgan.HeldGenerator(model), x, first, rate)
        self._run_adversarial("adversarial", model, x, epochs, rate)
        after = epochs // 4 if self.classifier_epochs == "auto" else self.classifier_epochs
        falling = schedules.cosine(self.learning_rate, 0.01 * self.learning_rate)
        stage = engine.Stage("classifier", after, falling, self.batch_size)
        self._run_stage(gmgan.Recognition(model), [x], stage)

    def _run_adversarial(
        self, name: str, model: nn.Module, x: ScaledRows, epochs: int, rate: float
    ) -> None:
        falling = schedules.cosine(rate, 0.1 * rate)
        stage = engine.Stage(name, epochs, falling, self.batch_size, optimiser=adam)
        self._run_stage(model, [x], stage)

    def _finish(self, x: ScaledRows) -> None:
        super()._finish(x)
        sizes = np.bincount(self.labels_, minlength=self.n_clusters_)
        scarce = int((sizes < SCARCE * self.weights_ * len(x)).sum())
        if scarce:
            self.decisions_.append(
                f"{scarce} of {self.n_clusters_} clusters hold less than a tenth of the rows that "
                "their weight promises: the generator draws rows for them that the data has not, "
                "or no cluster for some of the data (mode collapse)."
            )

    def _reorder(self, order: Tensor) -> None:
        self.model_.reorder(order)
