"""A mixture on a manifold embedding of an autoencoder's latent space.

McConville, Santos-Rodriguez, Piechocki & Craddock (2021), "N2D: (not too) deep clustering via
clustering the local manifold of an autoencoded embedding", ICPR.

The parts are trained one after the other, none through another::

    z = f(x)              an autoencoder, by least squares
    e = UMAP(z)           of the rows that are embedded
    y ~ Cat(pi)           e | y ~ N(mu_y, Sigma_y)

UMAP gives places to the rows it was shown and is no function of z. Any other row is taken to lie
at the place e_n of one of its nearest embedded neighbours n, with a weight w_n that falls with the
distance of their latents::

    q(y|x) = sum_n w_n p(y|e_n)

Its mean place may lie between two clusters where none of its neighbours does. The way back from a
place to a latent is the mean over its neighbours in the embedding.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from deepmixture.likelihoods import Likelihood
from deepmixture.nets import NormalHead
from deepmixture.priors import Mixture


class Manifold(nn.Module):
    """Latents and their places in the embedding, and between them by nearest neighbours.

    Parameters
    ----------
    n_rows : int
        Rows that are embedded. With none, the latent is its own embedding.
    n_latent, n_manifold : int
        Dimensions of the latent and of the embedding.
    n_neighbors : int, default=10
        Embedded rows between which another one lies.
    """

    latent: Tensor
    places: Tensor

    def __init__(self, n_rows: int, n_latent: int, n_manifold: int, n_neighbors: int = 10) -> None:
        super().__init__()
        self.register_buffer("latent", torch.zeros(n_rows, n_latent))
        self.register_buffer("places", torch.zeros(n_rows, n_manifold))
        self.n_neighbors = n_neighbors

    def start(self, latent: Tensor, places: Tensor) -> None:
        """Take latents (n, D) and their places (n, P) as they are, however many."""
        self.latent, self.places = latent, places

    def forward(self, z: Tensor) -> Tensor:
        """Return the mean places (B, P) of latents (B, D)."""
        return self.mean(lambda places: places, z)

    def mean(self, function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
        """Return the mean of function(e), e (..., P) to (..., V), for latents (B, D): (B, V)."""
        if not len(self.latent):
            return function(z)
        index, weight = self._neighbours(self.latent, z)
        mean: Tensor = (weight.unsqueeze(-1) * function(self.places[index])).sum(-2)
        return mean

    def inverse(self, places: Tensor) -> Tensor:
        """Return latents (B, D) for places (B, P)."""
        if not len(self.latent):
            return places
        index, weight = self._neighbours(self.places, places)
        return (weight.unsqueeze(-1) * self.latent[index]).sum(-2)

    def _neighbours(self, known: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
        """Return which rows of `known` are nearest, and weights that sum to one, each (B, k)."""
        rough = torch.cdist(asked, known)  # (B, n), fast and inexact near zero
        index = rough.topk(min(self.n_neighbors, len(known)), largest=False).indices
        distance = (asked.unsqueeze(-2) - known[index]).norm(dim=-1)  # (B, k)
        # A row that was embedded itself has its own place.
        least = 1e-6 * distance.amax(-1, keepdim=True).clamp_min(1e-30)
        weight = 1.0 / distance.maximum(least)
        return index, weight / weight.sum(-1, keepdim=True)


class N2D(nn.Module):
    """An autoencoder, the manifold of its latents, and a mixture on that.

    Parameters
    ----------
    encoder, head, decoder, likelihood
        Of the autoencoder. Only the mean of the head is used.
    manifold : Manifold
    prior : Mixture
        On the embedding, not on the latent.
    """

    def __init__(
        self,
        encoder: nn.Module,
        head: NormalHead,
        decoder: nn.Module,
        likelihood: Likelihood,
        manifold: Manifold,
        prior: Mixture,
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head  # z = f(x)
        self.decoder, self.likelihood = decoder, likelihood  # p(x|z)
        self.manifold = manifold  # e of z
        self.prior = prior  # p(y) p(e|y)

    def log_q_y(self, x: Tensor) -> Tensor:
        """Return log q(y|x), shape (B, K)."""

        def responsibilities(places: Tensor) -> Tensor:
            return self.prior.log_responsibilities(places).exp()

        return self.manifold.mean(responsibilities, self.latent(x)).log()

    def latent(self, x: Tensor) -> Tensor:
        """Return z = f(x), shape (B, D)."""
        mean: Tensor = self.head(self.encoder(x))[0]
        return mean

    def decode(self, z: Tensor) -> Tensor:
        """Return E[x|z] for latents (..., D), shape (..., F)."""
        return self.likelihood.mean(self.decoder(z))
