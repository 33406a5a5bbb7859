"""The estimator NVISA."""

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from deepmixture import engine, gradients, nets, schedules
from deepmixture.batches import ScaledRows
from deepmixture.cluster.pretrained import STARTS, Pretrained
from deepmixture.docstrings import shares_docstring
from deepmixture.models import nvisa
from deepmixture.priors import DiagonalMixture


@shares_docstring
@dataclass(eq=False, repr=False)
class NVISA(Pretrained):
    """NVISA: a mixture variational autoencoder with a structured q(y|x) q(z|y, x) (Li 2020).

    Trained in three stages: a representation by least squares; its start, held while q(y|x) is
    taught it and the networks take its shape; and the bound, by one of several ways to the
    gradient in q(y|x). From a random start the last stage is the only one.

    Parameters
    ----------
    %(shared parameters)s
    epochs : int or "auto", default="auto"
        Passes over the rows after the representation is pretrained.
    hold_epochs : int or "auto", default="auto"
        First of these passes, in which the responsibilities are held at those of the start and
        q(y|x) is taught them. Automatically two thirds.
    start : {"graph", "gmm", "random"}, default="graph"
        Start from a mixture on a UMAP embedding of the neighbour graph of the latent means of an
        autoencoder; from a Gaussian mixture on these means themselves (the paper's AE+GMM); or
        from nothing, without pretraining.
    gradient : {"exact", "top-k", "nvil", "vimco", "gumbel", "gumbel-straight-through"}, \
default="top-k"
        The way to the gradient in q(y|x): the sum over all clusters; the sum over the most
        probable ones and one draw of the others, unbiased too and cheaper; the score function
        with learned baselines; the importance-weighted bound (the paper's way); relaxed draws, or
        relaxed in the gradient only.
    n_samples : int, default=5
        Clusters a row at which the decoder is asked, and samples of the bound of "vimco" (in the
        paper 15). "exact" asks at all of them.
    mean_field : bool, default=False
        Whether q(z|x) q(y|x) takes the place of q(z|y, x) q(y|x).
    annealing : {"geometric", "halving", None}, default=None
        How `scale_floor` goes to `least_scale_floor`: by a constant factor a step; by one half
        every `halving_epochs`, as in the paper; or not at all, and it is `least_scale_floor`
        throughout. Noise as wide as the paper's first undoes part of a good start, so that this
        is for the random one, and for likelihood="gaussian_learned".
    scale_floor, least_scale_floor : float, default=1.0, 0.05
        First and last value of what is added to the deviations of q(z|y, x), and to those of
        p(x|z) if likelihood="gaussian_learned", in scaled units. In the paper 1 and 1e-4.
    halving_epochs : int or "auto", default="auto"
        Passes in which the floor is halved; in the paper 100. Automatically so that the last value
        is reached after two thirds of the passes.
    temperature, least_temperature : float, default=1.0, 0.3
        First and last temperature of the two relaxed gradients.

    Attributes
    ----------
    %(shared attributes)s

    References
    ----------
    Li et al. (2020), the paper of NVISA; A. Mnih & D. J. Rezende (2016), "Variational inference
    for Monte Carlo objectives", ICML.
    """

    _: KW_ONLY
    epochs: int | Literal["auto"] = "auto"
    hold_epochs: int | Literal["auto"] = "auto"
    start: str = "graph"
    gradient: str = "top-k"
    n_samples: int = 5
    mean_field: bool = False
    annealing: str | None = None
    scale_floor: float = 1.0
    least_scale_floor: float = 0.05
    halving_epochs: int | Literal["auto"] = "auto"
    temperature: float = 1.0
    least_temperature: float = 0.3

    name: ClassVar[str] = "nvisa"
    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {"start": (*STARTS, "random")}

    def _build(self) -> None:
        encoder, plain, decoder, likelihood = self._networks()
        n_features = plain.mean.in_features
        head = nets.ClusterHead(
            n_features, self.n_latent, self.n_clusters_, mean_field=self.mean_field
        )
        prior = DiagonalMixture(self.n_clusters_, self.n_latent)
        gradient = gradients.make(self.gradient, self.n_clusters_, self.n_samples, n_features)
        self.model_ = nvisa.NVISA(encoder, head, decoder, likelihood, prior, gradient)

    def _train(self, x: ScaledRows) -> None:
        epochs = self._epochs(self.epochs, len(x), at_least=24, steps=2500)
        held = 0
        if self.start != "random":
            held = 2 * epochs // 3 if self.hold_epochs == "auto" else min(self.hold_epochs, epochs)
            self._hold(x, held)
        floor = self._floor_schedule(epochs - held)
        knobs = {
            "scale_floor": floor,
            "temperature": schedules.geometric(self.temperature, self.least_temperature),
        }
        peak = self.learning_rate if self.start == "random" else 0.3 * self.learning_rate
        rate = schedules.cosine(peak, 0.01 * peak)
        stage = engine.Stage("evidence", epochs - held, rate, self.batch_size, knobs)
        self._run_stage(self.model_, [x], stage)

    def _hold(self, x: ScaledRows, epochs: int) -> None:
        """Pretrain, start, and train the model on the responsibilities of the start."""
        few = self._few(x)
        self._pretrain(x, few, "autoencoder")
        start = self._start(few, STARTS[self.start])
        device = self.hardware_.device
        spread, responsibilities = (
            torch.from_numpy(part).float().to(device)
            for part in (start.total_scale, start.responsibilities)
        )
        self._start_prior(start)
        # The noise of q(z|y, x) starts small next to the latent, or it would undo the start.
        self.model_.head.start_scale(0.1 * spread)
        floor = {"scale_floor": schedules.constant(self._floor_schedule(1)(0.0))}
        rate = schedules.constant(self.learning_rate)
        stage = engine.Stage(
            "taking shape", self._as_long(epochs, x, few), rate, self.batch_size, floor
        )
        self._run_stage(nvisa.HeldNVISA(self.model_), [few, responsibilities], stage)

    def _floor_schedule(self, epochs: int) -> schedules.Schedule:
        first, last = self.scale_floor, self.least_scale_floor
        if self.annealing is None or first <= last:
            return schedules.constant(last)
        halvings = math.log2(first / last)
        given = self.halving_epochs
        period = 2.0 * max(epochs, 1) / 3.0 / halvings if given == "auto" else float(given)
        if self.annealing == "geometric":
            return schedules.geometric(first, last, until=halvings * period / max(epochs, 1))
        return lambda t: max(first * 0.5 ** int(t * epochs / period), last)

    def _noise_width(self) -> int:
        return 1 + self.n_latent

    def _reorder(self, order: Tensor) -> None:
        self.model_.reorder(order)
