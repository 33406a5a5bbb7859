"""Mixture priors over the latent space: p(y) p(z|y).

Every prior answers `log_joint(z)`, log p(y) + log p(z|y) for each cluster; the rest (densities,
responsibilities, samples) follows. Scale always means standard deviation.
"""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from deepmixture.densities import HALF_LOG_2PI, log_normal
from deepmixture.noise import standard_normal


class Mixture(nn.Module):
    """What every mixture prior shares. K clusters, D latent dimensions."""

    loc: Tensor  # (K, D)

    @abstractmethod
    def log_prob_y(self) -> Tensor:
        """Return log p(y), shape (K,)."""

    @abstractmethod
    def log_joint(self, z: Tensor) -> Tensor:
        """Return log p(y) + log p(z|y) for latents (..., D), shape (..., K)."""

    @abstractmethod
    def scale_tril(self) -> Tensor:
        """Return the Cholesky factors of the covariances, shape (K, D, D)."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z), shape (...)."""
        return self.log_joint(z).logsumexp(-1)

    def log_responsibilities(self, z: Tensor) -> Tensor:
        """Return log p(y|z), shape (..., K), by Bayes in log space."""
        return self.log_joint(z).log_softmax(-1)

    def covariances(self) -> Tensor:
        """Return the covariances of p(z|y), shape (K, D, D)."""
        tril = self.scale_tril()
        return tril @ tril.mT

    @abstractmethod
    def reorder(self, order: Tensor) -> None:
        """Renumber the clusters: cluster order[i] becomes cluster i."""

    def sample(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw z ~ p(z|y) for clusters y (n,), shape (n, D)."""
        noise = standard_normal(len(y), self.loc.shape[1], generator=generator).to(self.loc)
        return self.loc[y] + torch.einsum("nij,nj->ni", self.scale_tril()[y], noise)


class DiagonalMixture(Mixture):
    """Learned mixture of normals with diagonal covariances, VaDE's prior.

    The weights are a softmax of free logits, so that they stay a distribution under any gradient
    and an imbalanced data set can be served.
    """

    def __init__(self, n_clusters: int, n_latent: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(n_clusters))
        self.loc = nn.Parameter(torch.randn(n_clusters, n_latent))
        self.log_scale = nn.Parameter(torch.zeros(n_clusters, n_latent))

    @torch.no_grad()
    def start(self, weights: Tensor, loc: Tensor, scale: Tensor) -> None:
        """Take weights (K,), means (K, D) and standard deviations (K, D) as they are."""
        self.logits.copy_(weights.log())
        self.loc.copy_(loc)
        self.log_scale.copy_(scale.log())

    @torch.no_grad()
    def reorder(self, order: Tensor) -> None:
        for parameter in (self.logits, self.loc, self.log_scale):
            parameter.copy_(parameter[order])

    def log_prob_y(self) -> Tensor:
        return self.logits.log_softmax(0)

    def log_joint(self, z: Tensor) -> Tensor:
        log_p_z = log_normal(z.unsqueeze(-2), self.loc, self.log_scale).sum(-1)  # (..., K)
        return self.log_prob_y() + log_p_z

    def expected_log_prob(self, mean: Tensor, scale: Tensor) -> Tensor:
        """Return E[log p(z|y)] under q(z) = N(mean, scale²), in closed form.

        Parameters
        ----------
        mean, scale : Tensor of shape (B, D)

        Returns
        -------
        Tensor of shape (B, K)
        """
        second_moment = (mean.unsqueeze(-2) - self.loc).square() + scale.unsqueeze(-2).square()
        standard = second_moment * torch.exp(-2.0 * self.log_scale)  # (B, K, D)
        return -(0.5 * standard + self.log_scale + HALF_LOG_2PI).sum(-1)

    def scale_tril(self) -> Tensor:
        return torch.diag_embed(self.log_scale.exp())


class FullMixture(Mixture):
    """Mixture of normals with full covariances, fitted elsewhere and held fixed."""

    def __init__(self, n_clusters: int, n_latent: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.full((n_clusters,), 1.0 / n_clusters))
        self.register_buffer("loc", torch.zeros(n_clusters, n_latent))
        self.register_buffer("tril", torch.eye(n_latent).repeat(n_clusters, 1, 1))

    weights: Tensor
    tril: Tensor

    @torch.no_grad()
    def start(self, weights: Tensor, loc: Tensor, covariances: Tensor) -> None:
        """Take weights (K,), means (K, D) and covariances (K, D, D) as they are."""
        self.weights.copy_(weights)
        self.loc.copy_(loc)
        self.tril.copy_(torch.linalg.cholesky(covariances.cpu().double()))

    def reorder(self, order: Tensor) -> None:
        self.weights, self.loc, self.tril = self.weights[order], self.loc[order], self.tril[order]

    def log_prob_y(self) -> Tensor:
        return self.weights.log()

    def log_joint(self, z: Tensor) -> Tensor:
        difference = (z.unsqueeze(-2) - self.loc).unsqueeze(-1)  # (..., K, D, 1)
        standard: Tensor = torch.linalg.solve_triangular(self.tril, difference, upper=False)
        log_det = self.tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)  # (K,)
        log_p_z = -(0.5 * standard.squeeze(-1).square() + HALF_LOG_2PI).sum(-1) - log_det
        return self.log_prob_y() + log_p_z

    def scale_tril(self) -> Tensor:
        return self.tril


class StandardNormal(Mixture):
    """The prior of a plain variational autoencoder: one cluster, N(0, I)."""

    def __init__(self, n_latent: int) -> None:
        super().__init__()
        self.register_buffer("loc", torch.zeros(1, n_latent))

    def reorder(self, order: Tensor) -> None:
        pass

    def log_prob_y(self) -> Tensor:
        return self.loc.new_zeros(1)

    def log_joint(self, z: Tensor) -> Tensor:
        return -(0.5 * z.square() + HALF_LOG_2PI).sum(-1, keepdim=True)

    def scale_tril(self) -> Tensor:
        return torch.eye(self.loc.shape[1]).to(self.loc).unsqueeze(0)
