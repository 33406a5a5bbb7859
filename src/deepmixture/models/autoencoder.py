"""Autoencoders: the representations that mixtures start from.

`Autoencoder`
    x -> z -> x by least squares; Hinton & Salakhutdinov (2006).
`DenoisingLayer`
    One layer of a stacked denoising autoencoder; Vincent et al. (2010), as used by DEC
    (Xie et al. 2016, section 3.2) and VaDE.
`VAE`
    Kingma & Welling (2014): p(z) = N(0, I).
`AutoencoderMixture`
    A representation and a mixture fitted on its latent afterwards, read as a generative model
    p(y) p(z|y) p(x|z): AE+GMM and VAE+GMM, the baselines of the field.
"""

import torch
from torch import Tensor, nn

from deepmixture.densities import at_least_float32, log_normal, normal_entropy
from deepmixture.layers import dropout
from deepmixture.likelihoods import Likelihood
from deepmixture.models.contract import Knobs
from deepmixture.nets import NormalHead
from deepmixture.noise import standard_normal
from deepmixture.priors import Mixture, StandardNormal


class Autoencoder(nn.Module):
    """Least squares between x and E[x|z] at z = mean(x), summed over the features.

    Parameters
    ----------
    corruption : float, default=0.0
        Share of the entries of x that dropout sets to zero before they are encoded.
    """

    def __init__(
        self,
        encoder: nn.Module,
        head: NormalHead,
        decoder: nn.Module,
        likelihood: Likelihood,
        corruption: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.decoder, self.likelihood = decoder, likelihood
        self.corruption = corruption

    def forward(self, x: Tensor, knobs: Knobs) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the squared error a row."""
        z, _ = self.head(self.encoder(dropout(x, self.corruption, self.training)))
        error = (self.likelihood.mean(self.decoder(z)) - x).square().sum(-1).mean()
        return error, {"squared_error": error.detach()}


class Expected(nn.Module):
    """A decoder, or the last layer of one, and then E[x|z] of the likelihood."""

    def __init__(self, decoder: nn.Module, likelihood: Likelihood) -> None:
        super().__init__()
        self.decoder, self.likelihood = decoder, likelihood

    def forward(self, z: Tensor) -> Tensor:
        return self.likelihood.mean(self.decoder(z))


class DenoisingLayer(nn.Module):
    """One encoder layer and its mirrored decoder layer, trained on the layer below.

    The input h of the layer is corrupted by dropout, encoded, and h is recovered by least squares.

    Parameters
    ----------
    below : nn.Module
        The layers that are trained already; they stay as they are.
    layer, mirror : nn.Module
        The layer that is trained, and the layer of the decoder that undoes it.
    """

    def __init__(
        self, below: nn.Module, layer: nn.Module, mirror: nn.Module, corruption: float = 0.2
    ) -> None:
        super().__init__()
        self.below = below.requires_grad_(False)
        self.layer, self.mirror = layer, mirror
        self.corruption = corruption

    def forward(self, x: Tensor, knobs: Knobs) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the squared error a row of the layer's own input."""
        with torch.no_grad():
            h = self.below(x)
        recovered = self.mirror(self.layer(dropout(h, self.corruption, self.training)))
        error = (at_least_float32(recovered) - at_least_float32(h)).square().sum(-1).mean()
        return error, {"squared_error": error.detach()}


class VAE(nn.Module):
    """Bound E_q(z|x)[log p(x|z)] - KL(q(z|x) || N(0, I)), by reparametrisation."""

    def __init__(
        self, encoder: nn.Module, head: NormalHead, decoder: nn.Module, likelihood: Likelihood
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.decoder, self.likelihood = decoder, likelihood
        self.prior = StandardNormal(head.mean.out_features)

    def bound(self, x: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Return the terms of the bound, each (B,), for noise (S, B, D)."""
        mean, scale = self.head(self.encoder(x))
        h = self.decoder(mean + scale * noise)  # (S, B, P)
        with torch.autocast(x.device.type, enabled=False):
            return {
                "reconstruction": self.likelihood.log_prob(h, x).mean(0),
                "prior": self.prior.log_prob(mean) - 0.5 * scale.square().sum(-1),
                "latent_entropy": normal_entropy(scale.log()).sum(-1),
            }

    def forward(self, x: Tensor, knobs: Knobs) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the negative bound, the two terms of the divergence weighted by `kl_weight`."""
        noise = standard_normal(1, len(x), self.prior.loc.shape[1], device=x.device)
        terms = {name: term.mean() for name, term in self.bound(x, noise).items()}
        divergence = terms["prior"] + terms["latent_entropy"]
        loss = -(terms["reconstruction"] + knobs["kl_weight"] * divergence)
        return loss, {name: term.detach() for name, term in terms.items()}


class AutoencoderMixture(nn.Module):
    """A mixture on the latent of a network that was trained without it.

    Of an autoencoder, whose encoder is a point and no distribution, q(z|x) is a normal at that
    point with one deviation a latent dimension, which `forward` learns by the bound with all else
    held: it serves the importance-weighted bound on log p(x) only.
    """

    def __init__(
        self,
        encoder: nn.Module,
        head: NormalHead,
        decoder: nn.Module,
        likelihood: Likelihood,
        prior: Mixture,
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.decoder, self.likelihood = decoder, likelihood
        self.prior = prior

    def log_weights(self, x: Tensor, noise: Tensor) -> Tensor:
        mean, scale = self.head(self.encoder(x))
        z = mean + scale * noise  # (S, B, D)
        h = self.decoder(z)
        with torch.autocast(x.device.type, enabled=False):
            log_q_z = log_normal(z, mean, scale.log()).sum(-1)
            return self.likelihood.log_prob(h, x) + self.prior.log_prob(z) - log_q_z

    def forward(self, x: Tensor, knobs: Knobs) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the negative bound on log p(x), one sample a row."""
        width = self.head.mean.out_features
        noise = standard_normal(1, len(x), width, device=x.device)
        bound = self.log_weights(x, noise).mean()
        return -bound, {"bound": bound.detach()}

    def log_q_y(self, x: Tensor) -> Tensor:
        return self.prior.log_responsibilities(self.latent(x))

    def latent(self, x: Tensor) -> Tensor:
        mean: Tensor = self.head(self.encoder(x))[0]
        return mean

    def decode(self, z: Tensor) -> Tensor:
        return self.likelihood.mean(self.decoder(z))
