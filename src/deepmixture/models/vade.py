"""Variational deep embedding.

Jiang, Zheng, Tan, Tang & Zhou (2017), "Variational deep embedding: an unsupervised and generative
approach to clustering", IJCAI. The paper's cluster c is y here.

Generative model (equations 1 to 5)::

    y ~ Cat(pi)        z | y ~ N(mu_y, sigma_y²)        x | z ~ p(x | decoder(z))

Inference model (equations 9, 10 and 16)::

    q(z|x) = N(mu~(x), sigma~(x)²)        q(y|x) = E_q(z|x)[ p(y|z) ]

Evidence lower bound (equations 11 and 12), each term named as it is logged::

    L(x) =   E_q(z|x)[ log p(x|z) ]                 reconstruction
           + sum_y q(y|x) E_q(z|x)[ log p(z|y) ]    mixture_prior
           + sum_y q(y|x) log p(y)                  assignment
           - E_q(z|x)[ log q(z|x) ]                 latent_entropy
           - sum_y q(y|x) log q(y|x)                cluster_entropy
"""

import math

import torch
from torch import Tensor, nn

from deepmixture.densities import log_normal, normal_entropy
from deepmixture.likelihoods import Likelihood
from deepmixture.models.contract import Knobs
from deepmixture.nets import NormalHead
from deepmixture.noise import standard_normal
from deepmixture.priors import DiagonalMixture


class VaDE(nn.Module):
    """p(y) p(z|y) p(x|z) with q(z|x), and q(y|x) by Bayes from the prior."""

    def __init__(
        self,
        encoder: nn.Module,
        head: NormalHead,
        decoder: nn.Module,
        likelihood: Likelihood,
        prior: DiagonalMixture,
        n_samples: int = 1,
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head  # q(z|x)
        self.decoder, self.likelihood = decoder, likelihood  # p(x|z)
        self.prior = prior  # p(y) p(z|y)
        self.n_samples = n_samples

    def q_z(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and scale of q(z|x), each (B, D)."""
        mean, scale = self.head(self.encoder(x))
        return mean, scale

    def bound(self, x: Tensor, noise: Tensor, log_q_y: Tensor | None = None) -> dict[str, Tensor]:
        """Return the terms of the evidence lower bound, each (B,); their sum is the bound.

        Parameters
        ----------
        x : Tensor of shape (B, F)
        noise : Tensor of shape (S, B, D)
            Standard normal draws of the Monte Carlo estimate.
        log_q_y : Tensor of shape (B, K), optional
            Responsibilities to hold in place of the closed form of equation 16. Any q(y|x) gives
            a lower bound; the closed form is the choice of the paper.
        """
        mean, scale = self.q_z(x)
        z = mean + scale * noise  # (S, B, D)
        h = self.decoder(z)
        with torch.autocast(x.device.type, enabled=False):
            if log_q_y is None:
                log_p_y_z = self.prior.log_responsibilities(z)  # (S, B, K)
                log_q_y = log_p_y_z.logsumexp(0) - math.log(len(z))  # (B, K)
            q_y = log_q_y.exp()
            # A responsibility of zero contributes nothing, and 0 * -inf must not say otherwise.
            log_q_y = log_q_y.clamp_min(torch.finfo(log_q_y.dtype).min)
            return {
                "reconstruction": self.likelihood.log_prob(h, x).mean(0),
                "mixture_prior": (q_y * self.prior.expected_log_prob(mean, scale)).sum(-1),
                "assignment": (q_y * self.prior.log_prob_y()).sum(-1),
                "latent_entropy": normal_entropy(scale.log()).sum(-1),
                "cluster_entropy": -(q_y * log_q_y).sum(-1),
            }

    def forward(
        self, x: Tensor, knobs: Knobs, log_q_y: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the negative bound averaged over rows and its terms."""
        width = self.prior.loc.shape[1]
        noise = standard_normal(self.n_samples, len(x), width, device=x.device)
        terms = {name: term.mean() for name, term in self.bound(x, noise, log_q_y).items()}
        loss = -torch.stack(list(terms.values())).sum()
        return loss, {name: term.detach() for name, term in terms.items()}

    def log_q_y(self, x: Tensor) -> Tensor:
        """Return log p(y|z) at the mean of q(z|x), shape (B, K)."""
        return self.prior.log_responsibilities(self.latent(x))

    def latent(self, x: Tensor) -> Tensor:
        return self.q_z(x)[0]

    def log_weights(self, x: Tensor, noise: Tensor) -> Tensor:
        mean, scale = self.q_z(x)
        z = mean + scale * noise  # (S, B, D)
        log_p_x_z = self.likelihood.log_prob(self.decoder(z), x)
        log_q_z = log_normal(z, mean, scale.log()).sum(-1)
        return log_p_x_z + self.prior.log_prob(z) - log_q_z

    def decode(self, z: Tensor) -> Tensor:
        return self.likelihood.mean(self.decoder(z))


class HeldVaDE(nn.Module):
    """VaDE's bound with q(y|x) held at given responsibilities, to let a start take hold.

    A diagonal mixture on the latent of an autoencoder fits worse than the full-covariance mixture
    that found the clusters; held responsibilities let encoder, prior and decoder first shape the
    latent space for them.
    """

    def __init__(self, model: VaDE) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, x: Tensor, responsibilities: Tensor, knobs: Knobs
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the negative bound and its terms for rows (B, F), responsibilities (B, K)."""
        return self.model.forward(x, knobs, responsibilities.log())
