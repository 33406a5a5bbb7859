"""DeepMixture: a mixture variational autoencoder whose q(y|x) is held consistent.

The generative model and the factorisation q(y|x) q(z|y, x) are NVISA's (`models.nvisa`); q(y|x)
has a network of its own. Two more things are observed of a row n beside x_n:

    a start s_n, a first clustering, right for most rows and wrong in its own regular ways:
        p(s_n = j | y_n = k) = A_kj, a confusion matrix that is learned
    changed copies T x_n (a small turn of an image, a step towards a neighbour), which share y_n

The responsibilities of a row put together what all three say of it. With q̄_n the mean of
q(y|T x_n) over the changes that were seen, recent ones weighing more,

    r_n(y) ∝ q̄_n(y) · A_{y, s_n}^a                                                            (1)

where a < 1 says that neighbouring rows err together. Training maximises, by turns in r, A and the
networks,

    consistency    sum_y r_n(y) log q(y|T x_n)                                                (2)
    evidence       E_{y ~ r_n} E_q(z|y,x)[ log p(x|z) + log p(z|y)
                                           + log p(y) - log q(z|y, x) ] + H(r_n)              (3)

`Refinement` is (2) alone and `JointEvidence` is both. A draw of y a row stands for the sum over y.
Learning from labels with a confusion matrix is due to Dawid & Skene (1979), averaged predictions
as targets to Laine & Aila (2017, "Temporal ensembling", equation 1).
"""

from typing import Protocol

import torch
from torch import Tensor, nn

from deepmixture.augment import Change
from deepmixture.models.contract import Knobs
from deepmixture.parallel import whole_batch

LEAST = 1e-4
"""What the logarithm of an averaged probability is kept above."""


class Mixture(Protocol):
    """What is asked of the model of (2): that of NVISA."""

    encoder: nn.Module

    def log_q_y(self, x: Tensor) -> Tensor:
        """Return log q(y|x), shape (B, K)."""

    def drawn_terms(
        self, x: Tensor, features: Tensor, responsibilities: Tensor
    ) -> dict[str, Tensor]:
        """Return the mean terms of the evidence (3) at one y a row, drawn from them (B, K)."""


class Responsibilities(nn.Module):
    """r_n(y) of all rows: equation (1), and the confusion matrix A.

    Parameters
    ----------
    start : Tensor of shape (N, K)
        Responsibilities of the start.
    start_weight : float, default=0.5
        a. Zero forgets the start, which then only begins the training.
    memory : float, default=0.5
        Weight of what was seen of a row before, each time it is seen again.
    """

    def __init__(self, start: Tensor, start_weight: float = 0.5, memory: float = 0.5) -> None:
        super().__init__()
        self.start, self.seen = start, start.clone()
        self.start_weight, self.memory = start_weight, memory
        # (K, K); none before q(y|x) has learned the start.
        self.log_confusion: Tensor | None = None

    @property
    def knows(self) -> bool:
        """Whether A has been learned; before, r is the start."""
        return self.log_confusion is not None

    def forward(self, rows: Tensor) -> Tensor:
        """Return r (B, K) of the rows of these numbers (B,)."""
        if self.log_confusion is None:
            return self.start[rows]
        evidence = self.start[rows] @ self.log_confusion.T
        return (self.seen[rows].clamp_min(LEAST).log() + self.start_weight * evidence).softmax(-1)

    def see(self, rows: Tensor, q_y: Tensor) -> None:
        """Take note of q(y|T x), shape (B, K)."""
        rows, q_y = whole_batch(rows), whole_batch(q_y)
        memory = self.memory if self.knows else 0.0
        self.seen[rows] = memory * self.seen[rows] + (1.0 - memory) * q_y

    def get_extra_state(self) -> tuple[Tensor, Tensor | None]:
        """Return what changes in training, for a checkpoint."""
        return self.seen, self.log_confusion

    def set_extra_state(self, state: tuple[Tensor, Tensor | None]) -> None:
        """Take back what `get_extra_state` returned."""
        seen, log_confusion = state
        self.seen.copy_(seen)
        self.log_confusion = None if log_confusion is None else log_confusion.to(self.seen)

    def learn_confusion(self) -> None:
        """Set A to its most probable value, with one imagined row in every entry."""
        counts = self.seen.T @ self.start + 1.0
        self.log_confusion = (counts / counts.sum(1, keepdim=True)).log()


class Refinement(nn.Module):
    """The consistency of q(y|x), equation (2)."""

    def __init__(self, model: Mixture, responsibilities: Responsibilities, change: Change) -> None:
        super().__init__()
        self.model, self.responsibilities, self.change = model, responsibilities, change

    def forward(self, x: Tensor, rows: Tensor, knobs: Knobs) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its terms for rows x (B, F) of the numbers `rows` (B,)."""
        with torch.no_grad():
            changed = self.change(x, rows)
            r = self.responsibilities(rows)
        log_q_y = self.model.log_q_y(changed)
        self.responsibilities.see(rows, log_q_y.detach().exp())
        consistency = (r * log_q_y).sum(-1).mean()
        entropy = torch.special.entr(r).sum(-1).mean()
        terms = {"consistency": consistency.detach(), "cluster_entropy": entropy}
        return -consistency, terms


class JointEvidence(nn.Module):
    """The evidence of the generative model, y drawn from r, beside the consistency of q(y|x)."""

    def __init__(self, refinement: Refinement) -> None:
        super().__init__()
        self.refinement, self.model = refinement, refinement.model

    def forward(self, x: Tensor, rows: Tensor, knobs: Knobs) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its terms for rows x (B, F) of the numbers `rows` (B,)."""
        loss, terms = self.refinement(x, rows, knobs)
        model = self.model
        r = self.refinement.responsibilities(rows)
        evidence = model.drawn_terms(x, model.encoder(x), r)
        loss = loss - torch.stack(list(evidence.values())).sum()
        return loss, {name: part.detach() for name, part in evidence.items()} | terms
