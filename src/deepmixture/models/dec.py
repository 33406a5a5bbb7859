"""Deep embedded clustering, and its improvement that keeps the decoder.

Xie, Girshick & Farhadi (2016), "Unsupervised deep embedding for clustering analysis", ICML; and
Guo, Gao, Liu & Yin (2017), "Improved deep embedded clustering with local structure preservation",
IJCAI. The papers' q_ij, the assignment of row i to centre j, is q(y|x) here, their p_ij t(y|x).

There is no p(x) and no p(z|y): an encoder z = f(x), a centre mu_y for each cluster, and
(equation 1, a Student's t kernel with alpha degrees of freedom)::

    q(y|x) ∝ (1 + |z - mu_y|² / alpha)^(-(alpha + 1) / 2)

The target sharpens q and takes from large clusters; it is computed from all rows and held for a
while (equation 3)::

    t(y|x) ∝ q(y|x)² / f_y        f_y = sum_x q(y|x)

Loss, each term named as it is logged (equation 2; the second is Guo et al.'s)::

      KL(t(y|x) || q(y|x))                   divergence
    + weight * |x - g(f(x))|² / F            reconstruction
"""

import torch
from torch import Tensor, nn

from deepmixture.likelihoods import Likelihood
from deepmixture.models.contract import Knobs
from deepmixture.nets import NormalHead


class StudentAssignment(nn.Module):
    """Centres in the latent space and Student's t kernels around them: q(y|x) of equation 1.

    Parameters
    ----------
    n_clusters, n_latent : int
    degrees_of_freedom : float, default=1.0
        The paper's alpha, which it holds at 1.
    """

    shares: Tensor

    def __init__(self, n_clusters: int, n_latent: int, degrees_of_freedom: float = 1.0) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.randn(n_clusters, n_latent))  # (K, D)
        self.register_buffer("shares", torch.full((n_clusters,), 1.0 / n_clusters))
        self.alpha = degrees_of_freedom

    def log_q_y(self, z: Tensor) -> Tensor:
        """Return log q(y|x) for latents (..., D), shape (..., K)."""
        distance = (z.unsqueeze(-2) - self.loc).square().sum(-1)  # (..., K)
        return (-0.5 * (self.alpha + 1.0) * torch.log1p(distance / self.alpha)).log_softmax(-1)

    @torch.no_grad()
    def start(self, loc: Tensor) -> None:
        """Take centres (K, D) as they are."""
        self.loc.copy_(loc)

    @torch.no_grad()
    def reorder(self, order: Tensor) -> None:
        """Renumber the clusters: cluster order[i] becomes cluster i."""
        self.loc.copy_(self.loc[order])
        self.shares.copy_(self.shares[order])


def target(log_q_y: Tensor) -> Tensor:
    """Return t(y|x) of equation 3 from log q(y|x) of all rows, each (N, K)."""
    log_f = log_q_y.logsumexp(0)  # (K,)
    return (2.0 * log_q_y - log_f).softmax(-1)


class DEC(nn.Module):
    """An encoder and centres that are drawn together by a sharpened copy of their assignments.

    Parameters
    ----------
    encoder, head, decoder, likelihood
        Of the autoencoder that was trained before. Only the mean of the head is used.
    assignment : StudentAssignment
    reconstruction_weight : float, default=0.0
        Weight of the squared error of a feature next to the divergence of a row. 0 is DEC, which
        leaves the decoder behind; 10 is the gamma = 0.1 of IDEC.
    """

    def __init__(
        self,
        encoder: nn.Module,
        head: NormalHead,
        decoder: nn.Module,
        likelihood: Likelihood,
        assignment: StudentAssignment,
        reconstruction_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head  # z = f(x)
        self.decoder, self.likelihood = decoder, likelihood  # g(z)
        self.assignment = assignment  # q(y|x)
        self.reconstruction_weight = reconstruction_weight

    def forward(self, x: Tensor, t: Tensor, knobs: Knobs) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its terms for rows (B, F) with targets t(y|x) (B, K)."""
        z = self.latent(x)
        log_q_y = self.assignment.log_q_y(z)
        loss = divergence = (torch.xlogy(t, t) - t * log_q_y).sum(-1).mean()
        terms = {"divergence": divergence.detach()}
        if self.reconstruction_weight:
            reconstruction = (self.decode(z) - x).square().mean()
            loss = divergence + self.reconstruction_weight * reconstruction
            terms["reconstruction"] = reconstruction.detach()
        return loss, terms

    def log_q_y(self, x: Tensor) -> Tensor:
        """Return log q(y|x), shape (B, K)."""
        return self.assignment.log_q_y(self.latent(x))

    def latent(self, x: Tensor) -> Tensor:
        """Return z = f(x), shape (B, D)."""
        mean: Tensor = self.head(self.encoder(x))[0]
        return mean

    def decode(self, z: Tensor) -> Tensor:
        """Return g(z) for latents (..., D), shape (..., F)."""
        return self.likelihood.mean(self.decoder(z))
