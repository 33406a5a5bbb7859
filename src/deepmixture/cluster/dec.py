"""The estimators DEC and IDEC: clusters sharpened in the latent space of a pretrained encoder."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepmixture import data, engine, schedules
from deepmixture.batches import ScaledRows
from deepmixture.cluster.pretrained import STARTS, Pretrained
from deepmixture.docstrings import shares_docstring
from deepmixture.models import dec

NO_DENSITY = "it says to which cluster a row belongs and has no density p(x); VaDE has one"
NO_SAMPLES = "its clusters are centres, with no p(z|y) to draw from; VaDE has one"
NO_DECODER = "its encoder has moved away from the decoder; IDEC trains both together"


def sgd(parameters: Sequence[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    """Return gradient descent with the momentum of 0.9 that the released code of DEC has."""
    return torch.optim.SGD(parameters, lr=rate, momentum=0.9)


OPTIMISERS = {"adam": engine.adam, "sgd": sgd}


class Renewal:
    """The target (N, K) of DEC, renewed in place every so many epochs until labels stay.

    Parameters
    ----------
    target : Tensor of shape (N, K)
    assign : callable
        Returns log q(y|x) of all rows, (N, K).
    every : int
        Epochs.
    tolerance : float
        Share of changed labels that ends the stage.
    """

    def __init__(
        self, target: Tensor, assign: Callable[[], Tensor], every: int, tolerance: float
    ) -> None:
        self.target, self.assign, self.every, self.tolerance = target, assign, every, tolerance
        self.labels: Tensor | None = None
        self.converged = False

    def __call__(self, epoch: int) -> bool:
        """Renew the target before this epoch; True ends the stage."""
        if epoch % self.every:
            return False
        found = self.assign()
        before, self.labels = self.labels, found.argmax(1)
        if before is not None:
            self.converged = float((self.labels != before).float().mean()) < self.tolerance
        self.target.copy_(dec.target(found))
        return self.converged

    def state_dict(self) -> dict[str, Any]:
        """Return what changes from one target to the next."""
        return {"target": self.target, "labels": self.labels, "converged": self.converged}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Take it back."""
        self.target.copy_(state["target"])
        self.labels, self.converged = state["labels"], state["converged"]


@shares_docstring
@dataclass(eq=False, repr=False)
class DEC(Pretrained):
    """DEC: an encoder and centres trained to sharpen their own assignments (Xie 2016).

    Trained in three stages: an autoencoder, whose decoder is then left behind; the encoder and
    the centres, to the responsibilities of the start; and the divergence of the assignments from
    a target that is made of themselves and renewed at intervals. The last ends by itself, when
    the labels hardly change.

    Parameters
    ----------
    %(shared parameters)s
    epochs : int or "auto", default="auto"
        Passes over the rows after pretraining, at most. Automatically 30 for large data, more
        for small.
    hold_epochs : int or "auto", default="auto"
        First of these passes, in which the target is held at the responsibilities of the start.
        Automatically a sixth, and none of the start by k-means, as in the paper.
    pretraining : {"autoencoder", "stacked", "vae", None}, default="autoencoder"
        Least squares end to end; the same after layer-wise denoising pretraining, as the paper
        has it (fully connected networks only); a variational autoencoder; or nothing.
    start : {"graph", "gmm", "kmeans"}, default="graph"
        Start from a mixture on a UMAP embedding of the neighbour graph of the latent means; from
        one on the latent means themselves; or from the centres of k-means, as in the paper.
    optimiser : {"adam", "sgd"}, default="adam"
        Adam, or gradient descent with momentum 0.9, of the stages after pretraining.
    clustering_rate : float, default=1e-4
        Its learning rate. The paper's is 0.01, with "sgd".
    reconstruction_weight : float, default=0.0
        Weight of the squared error of the decoder, averaged over the features, next to the
        divergence. IDEC's gamma of 0.1 is 10 here.
    update_steps : int, default=140
        Steps from one target to the next, rounded to whole passes over the rows.
    tolerance : float, default=0.001
        Training ends when a smaller share of the labels changed from one target to the next.

    Attributes
    ----------
    %(shared attributes)s
    converged_ : bool
        Whether it ended by `tolerance`, before all epochs were over.

    Notes
    -----
    There is no generative model: `weights_` are the mean responsibilities of the training rows,
    `means_` the centres, and what would need p(x) or p(z|y) is not there and says so.

    References
    ----------
    J. Xie, R. Girshick & A. Farhadi (2016), "Unsupervised deep embedding for clustering
    analysis", ICML.
    """

    _: KW_ONLY
    epochs: int | Literal["auto"] = "auto"
    hold_epochs: int | Literal["auto"] = "auto"
    pretraining: str | None = "autoencoder"
    start: str = "graph"
    optimiser: str = "adam"
    clustering_rate: float = 1e-4
    reconstruction_weight: float = 0.0
    update_steps: int = 140
    tolerance: float = 0.001

    name: ClassVar[str] = "dec"
    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {"start": tuple(STARTS)}
    facts: ClassVar[tuple[str, ...]] = ("converged_",)
    cannot: ClassVar[Mapping[str, str]] = {
        "score_samples": NO_DENSITY,
        "score": NO_DENSITY,
        "sample": NO_SAMPLES,
        "covariances_": "its clusters are centres, with no shape",
        "reconstruct": NO_DECODER,
        "inverse_transform": NO_DECODER,
    }

    def _build(self) -> None:
        assignment = dec.StudentAssignment(self.n_clusters_, self.n_latent)
        self.model_ = dec.DEC(*self._networks(), assignment, self.reconstruction_weight)

    def _train(self, x: ScaledRows) -> None:
        few = self._few(x)
        self._pretrain(x, few, self.pretraining)
        x = few  # the target has K numbers a row
        start = self._start(x, STARTS[self.start])
        device = self.hardware_.device
        self.model_.assignment.start(torch.from_numpy(start.means).float().to(device))
        target = torch.from_numpy(start.responsibilities).float().to(device)

        epochs = self._epochs(self.epochs, len(x), at_least=30, steps=5000)
        held = 0 if self.start == "kmeans" else epochs // 6
        if self.hold_epochs != "auto":
            held = min(self.hold_epochs, epochs)
        stage = partial(
            engine.Stage,
            learning_rate=schedules.constant(self.clustering_rate),
            batch_size=self.batch_size,
            optimiser=OPTIMISERS[self.optimiser],
        )
        self._run_stage(self.model_, [x, target], stage("taking shape", held))
        renewal = self._renewal(x, target)
        last = stage("sharpening", epochs - held, before_epoch=renewal, memory=renewal)
        self._run_stage(self.model_, [x, target], last)
        self.converged_ = renewal.converged
        self.model_.eval()
        self.model_.assignment.shares.copy_(self._log_q_y(x).exp().mean(0))

    def _renewal(self, x: Tensor, target: Tensor) -> "Renewal":
        """Return what renews the target (N, K) in place before an epoch, or ends the stage."""

        def log_q_y(part: Tensor) -> Tensor:
            # In the precision of the training, whose own assignments the target sharpens.
            bfloat16 = self.hardware_.bfloat16
            with torch.autocast(part.device.type, torch.bfloat16, enabled=bfloat16):
                log_q: Tensor = self.model_.log_q_y(part)
            return log_q

        def assign() -> Tensor:
            self.model_.eval()
            return self._evaluate(log_q_y, x)

        every = max(1, round(self.update_steps / math.ceil(len(x) / self.batch_size)))
        return Renewal(target, assign, every, self.tolerance)

    def _describe(self, rows: data.Rows, why: str) -> list[str]:
        ended = "Ended by its number of epochs, while labels still changed."
        if self.converged_:
            ended = f"Ended when fewer than {self.tolerance:.2%} of the labels still changed."
        return [*super()._describe(rows, why), ended]

    def _reorder(self, order: Tensor) -> None:
        self.model_.assignment.reorder(order)

    @property
    def weights_(self) -> NDArray[Any]:
        """Mean responsibilities of the training rows, shape (K,)."""
        shares: NDArray[Any] = self.model_.assignment.shares.cpu().numpy()
        return shares

    @property
    def means_(self) -> NDArray[Any]:
        """Centres of the clusters in the latent space, shape (K, D)."""
        loc: NDArray[Any] = self.model_.assignment.loc.cpu().numpy()
        return loc


@dataclass(eq=False, repr=False)
class IDEC(DEC):
    """IDEC: DEC that keeps its decoder, so that the latent stays true to the rows (Guo 2017).

    Parameters and attributes are those of `DEC`. The squared error of the decoder is part of the
    loss, and rows can be reconstructed from the latent.

    References
    ----------
    X. Guo, L. Gao, X. Liu & J. Yin (2017), "Improved deep embedded clustering with local
    structure preservation", IJCAI.
    """

    _: KW_ONLY
    reconstruction_weight: float = 10.0

    name: ClassVar[str] = "idec"
    cannot: ClassVar[Mapping[str, str]] = {
        name: why for name, why in DEC.cannot.items() if why is not NO_DECODER
    }
