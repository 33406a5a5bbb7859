"""The mixture of the GM-GAN: where its generator draws latents from."""

import math

import torch
from torch import Tensor, nn

from deepmixture.densities import HALF_LOG_2PI
from deepmixture.priors import Mixture


class LatentSource(Mixture):
    """The mixture that latents are drawn from.

    Parameters
    ----------
    n_clusters, n_latent : int
    mean_range : float, default=1.0
        c: the means are drawn uniformly from [-c, c]^D.
    scale : float, default=0.5
        sigma: the standard deviation of every cluster in every direction, or its first value.
    learned : bool, default=False
        Whether means and Cholesky factors are parameters. The weights never are: no loss has a
        gradient in them.
    """

    weights: Tensor

    def __init__(
        self,
        n_clusters: int,
        n_latent: int,
        mean_range: float = 1.0,
        scale: float = 0.5,
        learned: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("weights", torch.full((n_clusters,), 1.0 / n_clusters))
        loc = mean_range * (2.0 * torch.rand(n_clusters, n_latent) - 1.0)
        self.loc = nn.Parameter(loc, requires_grad=learned)
        # The diagonal is held as a logarithm, so that every covariance stays positive definite.
        lower = torch.zeros(n_clusters, n_latent, n_latent)
        self.lower = nn.Parameter(lower, requires_grad=learned)
        log_diagonal = torch.full((n_clusters, n_latent), math.log(scale))
        self.log_diagonal = nn.Parameter(log_diagonal, requires_grad=learned)

    @torch.no_grad()
    def start(self, weights: Tensor, loc: Tensor, covariances: Tensor) -> None:
        """Take weights (K,), means (K, D) and covariances (K, D, D) as they are."""
        tril = torch.linalg.cholesky(covariances.cpu().double())
        self.weights.copy_(weights)
        self.loc.copy_(loc)
        self.lower.copy_(tril.tril(-1))
        self.log_diagonal.copy_(tril.diagonal(dim1=-2, dim2=-1).log())

    @torch.no_grad()
    def reorder(self, order: Tensor) -> None:
        for parameter in (self.weights, self.loc, self.lower, self.log_diagonal):
            parameter.copy_(parameter[order])

    def log_prob_y(self) -> Tensor:
        return self.weights.log()

    def log_joint(self, z: Tensor) -> Tensor:
        difference = (z.unsqueeze(-2) - self.loc).unsqueeze(-1)  # (..., K, D, 1)
        standard: Tensor = torch.linalg.solve_triangular(
            self.scale_tril(), difference, upper=False
        )
        log_p_z = -(0.5 * standard.squeeze(-1).square() + self.log_diagonal + HALF_LOG_2PI).sum(-1)
        return self.log_prob_y() + log_p_z

    def scale_tril(self) -> Tensor:
        return self.lower.tril(-1) + torch.diag_embed(self.log_diagonal.exp())
