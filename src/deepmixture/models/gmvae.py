"""Gaussian mixture variational autoencoder.

Dilokthanakul, Mediano, Garnelo, Lee, Salimbeni, Arulkumaran & Shanahan (2016), "Deep unsupervised
clustering with Gaussian mixture variational autoencoders", arXiv:1611.02648. Letters here and
there: the cluster y is the paper's z, the latent z its x, the data x its y; the noise w is its w.

Generative model (section 3), w the variety within a cluster::

    y ~ Cat(pi)    w ~ N(0, I)    z | w, y ~ N(mu_y(w), sigma_y(w)²)    x | z ~ p(x | decoder(z))

Inference model::

    q(z|x) = N(mu~(x), sigma~(x)²)    q(w|x) = N(nu~(x), tau~(x)²)    q(y|z, w) = p(y|z, w)

Evidence lower bound, each term named as it is logged::

    L(x) =   E_q(z|x)[ log p(x|z) ]                                           reconstruction
           - E_q(z|x)q(w|x)[ sum_y p(y|z, w) KL(q(z|x) || p(z|w, y)) ]        conditional_prior
           - KL(q(w|x) || p(w))                                               w_prior
           - E_q(z|x)q(w|x)[ KL(p(y|z, w) || p(y)) ]                          cluster_prior

`cluster_prior` is the paper's z-prior, under a name that does not change with the letters. It
draws the clusters into one, most of all early in training. The paper's remedies: all divergences
weighted by a `kl_weight` that grows, and the minimum information constraint, which leaves the term
without effect while the information is below a threshold.
"""

import torch
from torch import Tensor, nn

from deepmixture.densities import log_normal, normal_divergence
from deepmixture.likelihoods import Likelihood
from deepmixture.models.contract import Knobs
from deepmixture.nets import NormalHead
from deepmixture.noise import standard_normal
from deepmixture.noise_mixture import NoiseMixture


class GMVAE(nn.Module):
    """p(y) p(w) p(z|w, y) p(x|z) with q(z|x) and q(w|x), and q(y|z, w) by Bayes from the prior.

    Parameters
    ----------
    encoder, head, noise_head : nn.Module
        q(z|x) and q(w|x): one encoder, two heads.
    decoder, likelihood : nn.Module
        p(x|z).
    prior : NoiseMixture
    n_samples : int, default=1
        Monte Carlo samples M of z and w a row.
    min_information : float, default=0.0
        Threshold of the cluster prior in nats, on the mean over a batch; with less information
        the term has no gradient.
    """

    def __init__(
        self,
        encoder: nn.Module,
        head: NormalHead,
        noise_head: NormalHead,
        decoder: nn.Module,
        likelihood: Likelihood,
        prior: NoiseMixture,
        n_samples: int = 1,
        min_information: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head, self.noise_head = head, noise_head  # q(z|x), q(w|x)
        self.decoder, self.likelihood = decoder, likelihood  # p(x|z)
        self.prior = prior  # p(y) p(w) p(z|w, y)
        self.n_samples, self.min_information = n_samples, min_information

    def q_z_w(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return mean and scale of q(z|x), each (B, D), and of q(w|x), each (B, W)."""
        features = self.encoder(x)
        return (*self.head(features), *self.noise_head(features))

    def bound(self, x: Tensor, noise: Tensor, log_q_y: Tensor | None = None) -> dict[str, Tensor]:
        """Return the terms of the evidence lower bound, each (B,); their sum is the bound.

        Parameters
        ----------
        x : Tensor of shape (B, F)
        noise : Tensor of shape (S, B, D + W)
            Standard normal draws of the Monte Carlo estimate, for z and then w.
        log_q_y : Tensor of shape (B, K), optional
            Responsibilities to hold in place of p(y|z, w).
        """
        z_mean, z_scale, w_mean, w_scale = self.q_z_w(x)
        n_latent = z_mean.shape[-1]
        z = z_mean + z_scale * noise[..., :n_latent]  # (S, B, D)
        w = w_mean + w_scale * noise[..., n_latent:]  # (S, B, W)
        h = self.decoder(z)
        with torch.autocast(x.device.type, enabled=False):
            loc, log_scale = self.prior.heads(w)  # (S, B, K, D)
            if log_q_y is None:
                log_q_y = self._log_p_y(z, loc, log_scale)  # (S, B, K)
            q_y = log_q_y.exp()
            # A responsibility of zero contributes nothing, and 0 * -inf must not say otherwise.
            log_q_y = log_q_y.clamp_min(torch.finfo(log_q_y.dtype).min)
            q_z = (z_mean.unsqueeze(-2), z_scale.log().unsqueeze(-2))
            divergence = normal_divergence(*q_z, loc, log_scale).sum(-1)  # (S, B, K)
            information = (q_y * (log_q_y - self.prior.log_prob_y())).sum(-1)
            nought = torch.zeros_like(w_mean)
            return {
                "reconstruction": self.likelihood.log_prob(h, x).mean(0),
                "conditional_prior": -(q_y * divergence).sum(-1).mean(0),
                "w_prior": -normal_divergence(w_mean, w_scale.log(), nought, nought).sum(-1),
                "cluster_prior": -information.expand(divergence.shape[:2]).mean(0),
            }

    def _log_p_y(self, z: Tensor, loc: Tensor, log_scale: Tensor) -> Tensor:
        """Return log p(y|z, w) (..., K) for z (..., D) and the heads (..., K, D) at w."""
        log_p_z = log_normal(z.unsqueeze(-2), loc, log_scale).sum(-1)
        return (self.prior.log_prob_y() + log_p_z).log_softmax(-1)

    def forward(
        self, x: Tensor, knobs: Knobs, log_q_y: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the negative bound averaged over rows, with both remedies, and its terms."""
        width = self.prior.shape[1] + self.prior.n_noise
        noise = standard_normal(self.n_samples, len(x), width, device=x.device)
        terms = {name: term.mean() for name, term in self.bound(x, noise, log_q_y).items()}
        information = (-terms["cluster_prior"]).clamp_min(self.min_information)
        divergence = information - terms["conditional_prior"] - terms["w_prior"]
        loss = knobs["kl_weight"] * divergence - terms["reconstruction"]
        return loss, {name: term.detach() for name, term in terms.items()}

    def log_q_y(self, x: Tensor) -> Tensor:
        """Return log p(y|z, w) at the means of q(z|x) and q(w|x), shape (B, K)."""
        z, _, w, _ = self.q_z_w(x)
        return self._log_p_y(z, *self.prior.heads(w))

    def latent(self, x: Tensor) -> Tensor:
        return self.q_z_w(x)[0]

    def log_weights(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return log p(x, z, w) - log q(z|x) q(w|x) for noise (S, B, D + W), shape (S, B)."""
        z_mean, z_scale, w_mean, w_scale = self.q_z_w(x)
        n_latent = z_mean.shape[-1]
        z = z_mean + z_scale * noise[..., :n_latent]
        w = w_mean + w_scale * noise[..., n_latent:]
        loc, log_scale = self.prior.heads(w)
        log_p_z = self.prior.log_prob_y() + log_normal(z.unsqueeze(-2), loc, log_scale).sum(-1)
        nought = torch.zeros_like(w)
        log_p_w = log_normal(w, nought, nought).sum(-1)
        log_q_z = log_normal(z, z_mean, z_scale.log()).sum(-1)
        log_q_w = log_normal(w, w_mean, w_scale.log()).sum(-1)
        log_p_x = self.likelihood.log_prob(self.decoder(z), x)
        return log_p_x + log_p_z.logsumexp(-1) + log_p_w - log_q_z - log_q_w

    def decode(self, z: Tensor) -> Tensor:
        return self.likelihood.mean(self.decoder(z))


class HeldGMVAE(nn.Module):
    """GMVAE's bound with q(y|z, w) held at given responsibilities, to let a start take hold."""

    def __init__(self, model: GMVAE) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, x: Tensor, responsibilities: Tensor, knobs: Knobs
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the negative bound and its terms for rows (B, F), responsibilities (B, K)."""
        return self.model.forward(x, knobs, responsibilities.log())
