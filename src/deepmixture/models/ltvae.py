"""Latent tree variational autoencoder.

Li, Chen, Poon & Zhang (2019), "Learning latent superstructures in variational autoencoders for
deep multidimensional clustering", ICLR.

Generative model: discrete facets Y_1, ..., Y_F in a tree, each a clustering of its own; groups
z_p of latent dimensions, each hanging from one facet (see `deepmixture.latent_tree`)::

    Y ~ prod_f p(Y_f | Y_parent(f))        z_p | Y ~ N(mu_p,Y, Sigma_p,Y)        x | z ~ p(x | z)

Inference model::

    q(z|x) = N(mu~(x), sigma~(x)²)        q(Y|x) = p(Y|z) at z = mu~(x), by message passing

Evidence lower bound, each term named as it is logged::

    L(x) =   E_q(z|x)[ log p(x|z) ]    reconstruction
           + E_q(z|x)[ log p(z) ]      tree_prior
           - E_q(z|x)[ log q(z|x) ]    latent_entropy

The networks follow its gradient; the tree follows the latents by stepwise EM, a step a batch.
"""

import torch
from torch import Tensor, nn

from deepmixture.densities import log_normal, normal_entropy
from deepmixture.latent_tree import LatentTree
from deepmixture.likelihoods import Likelihood
from deepmixture.models.contract import Knobs
from deepmixture.nets import NormalHead
from deepmixture.noise import standard_normal
from deepmixture.parallel import whole_batch


class LTVAE(nn.Module):
    """p(Y) p(z|Y) p(x|z) with q(z|x), where p(Y) p(z|Y) is a latent tree.

    Parameters
    ----------
    n_samples : int, default=1
        Monte Carlo samples of z a row.
    decay : float, default=0.6
        Step t of stepwise EM has the size (t + 2)^-decay.
    """

    def __init__(
        self,
        encoder: nn.Module,
        head: NormalHead,
        decoder: nn.Module,
        likelihood: Likelihood,
        prior: LatentTree,
        n_samples: int = 1,
        decay: float = 0.6,
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head  # q(z|x)
        self.decoder, self.likelihood = decoder, likelihood  # p(x|z)
        self.prior = prior  # p(z) = sum_Y p(Y) p(z|Y)
        self.n_samples, self.decay = n_samples, decay
        self.steps_taken = 0.0

    def q_z(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and scale of q(z|x), each (B, D)."""
        mean, scale = self.head(self.encoder(x))
        return mean, scale

    def bound(
        self, x: Tensor, noise: Tensor, log_q_y: Tensor | None = None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return the terms of the bound, each (B,), and the latents z (S, B, D) of its draws.

        Parameters
        ----------
        x : Tensor of shape (B, F)
        noise : Tensor of shape (S, B, D)
            Standard normal draws of the Monte Carlo estimate.
        log_q_y : Tensor of shape (B, K), optional
            Responsibilities of the main facet to hold in place of its posterior. The bound is
            then lower by their divergence from the posterior, the term `held`.
        """
        mean, scale = self.q_z(x)
        z = mean + scale * noise  # (S, B, D)
        h = self.decoder(z)
        with torch.autocast(x.device.type, enabled=False):
            log_joint = self.prior.log_joint(z)  # (S, B, K)
            terms = {
                "reconstruction": self.likelihood.log_prob(h, x).mean(0),
                "tree_prior": log_joint.logsumexp(-1).mean(0),
                "latent_entropy": normal_entropy(scale.log()).sum(-1),
            }
            if log_q_y is not None:
                log_p_y_z = log_joint.log_softmax(-1).mean(0)  # (B, K)
                terms["held"] = (log_q_y.exp() * (log_p_y_z - log_q_y)).sum(-1)
        return terms, z

    def forward(
        self, x: Tensor, knobs: Knobs, log_q_y: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the negative bound averaged over rows and its terms.

        In training the tree takes a step of EM on the same latents, as a batch norm's running
        moments do.
        """
        width = self.head.mean.out_features
        noise = standard_normal(self.n_samples, len(x), width, device=x.device)
        bound, z = self.bound(x, noise, log_q_y)
        terms = {name: term.mean() for name, term in bound.items()}
        if self.training:
            if log_q_y is not None:
                log_q_y = whole_batch(log_q_y).repeat(self.n_samples, 1)
            z = whole_batch(z.detach(), dim=1).flatten(0, 1)
            with torch.autocast(x.device.type, enabled=False):
                self.prior.update(z, self.step_size(), log_q_y)
            self.steps_taken += 1.0
        loss = -torch.stack(list(terms.values())).sum()
        return loss, {name: term.detach() for name, term in terms.items()}

    def step_size(self) -> float:
        """Return the size (t + 2)^-decay of the next step of EM."""
        return float((self.steps_taken + 2.0) ** -self.decay)

    def log_q_y(self, x: Tensor) -> Tensor:
        """Return log p(Y_0|z) of the main facet at the mean of q(z|x), shape (B, K)."""
        return self.prior.log_responsibilities(self.latent(x))

    def facet_labels(self, x: Tensor) -> Tensor:
        """Return the most probable state of every facet, shape (B, number of facets)."""
        facets = self.prior.facets(self.latent(x))
        return torch.stack([log_q.argmax(-1) for log_q in facets], -1)

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


class HeldLTVAE(nn.Module):
    """LTVAE's bound with the main facet held at given responsibilities.

    So encoder, tree and decoder first shape the latent space for the clusters of the start.
    """

    def __init__(self, model: LTVAE) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, x: Tensor, responsibilities: Tensor, knobs: Knobs
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the negative bound and its terms for rows (B, F), responsibilities (B, K)."""
        smallest = torch.finfo(responsibilities.dtype).tiny
        return self.model.forward(x, knobs, responsibilities.clamp_min(smallest).log())
