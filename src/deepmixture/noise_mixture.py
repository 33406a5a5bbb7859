"""The prior of the GMVAE: a mixture whose clusters take their shapes from noise."""

import torch
from torch import Tensor, nn

from deepmixture.densities import log_normal
from deepmixture.priors import Mixture

N_DRAWS = 256


class NoiseMixture(Mixture):
    """p(y) p(w) p(z|w, y): one hidden layer on w, then K heads of means and deviations.

    As a mixture over z alone, p(z|y) = E_p(w)[ p(z|w, y) ] is taken over 256 fixed draws of w (a
    scrambled Sobol sequence): densities, means and covariances of the clusters are those of it.

    Parameters
    ----------
    n_clusters, n_latent, n_noise : int
        Sizes of y, z and w.
    width : int
        Units of the hidden layer.
    learn_weights : bool, default=False
        Whether p(y) is learned; the paper's is uniform.
    """

    draws: Tensor

    def __init__(
        self,
        n_clusters: int,
        n_latent: int,
        n_noise: int,
        width: int,
        learn_weights: bool = False,
    ) -> None:
        super().__init__()
        self.shape = (n_clusters, n_latent)
        self.n_noise = n_noise
        self.logits = nn.Parameter(torch.zeros(n_clusters), requires_grad=learn_weights)
        self.hidden = nn.Sequential(nn.Linear(n_noise, width), nn.Tanh())
        self.mean = nn.Linear(width, n_clusters * n_latent)
        self.log_scale = nn.Linear(width, n_clusters * n_latent)
        sobol = torch.quasirandom.SobolEngine(n_noise, True, 0)  # type: ignore[no-untyped-call]
        uniform: Tensor = sobol.draw(N_DRAWS).clamp(1e-6, 1.0 - 1e-6)
        self.register_buffer("draws", torch.special.ndtri(uniform), persistent=False)

    @torch.no_grad()
    def start(self, weights: Tensor, loc: Tensor, scale: Tensor) -> None:
        """Take a diagonal mixture, the same for every w until training says otherwise."""
        if self.logits.requires_grad:
            self.logits.copy_(weights.log())
        for head, values in ((self.mean, loc), (self.log_scale, scale.log())):
            head.weight.zero_()
            head.bias.copy_(values.flatten())

    @torch.no_grad()
    def reorder(self, order: Tensor) -> None:
        self.logits.copy_(self.logits[order])
        for head in (self.mean, self.log_scale):
            for parameter in (head.weight, head.bias):
                by_cluster = parameter.reshape(*self.shape, -1)  # (K, D, H) or (K, D, 1)
                parameter.copy_(by_cluster[order].reshape(parameter.shape))

    def heads(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log deviations of p(z|w, y) for w (..., W), each (..., K, D)."""
        hidden = self.hidden(w)
        shape = (*w.shape[:-1], *self.shape)
        return self.mean(hidden).reshape(shape), self.log_scale(hidden).reshape(shape)

    def log_prob_y(self) -> Tensor:
        return self.logits.log_softmax(0)

    def log_joint(self, z: Tensor) -> Tensor:
        # Draw by draw: all at once, they would take 256 times the memory of the latents.
        within = [
            log_normal(z.unsqueeze(-2), loc, log_scale).sum(-1)
            for loc, log_scale in zip(*self.heads(self.draws), strict=True)
        ]
        total = within[0]
        for log_p in within[1:]:
            total = torch.logaddexp(total, log_p)
        return self.log_prob_y() + total - torch.tensor(float(N_DRAWS)).log().to(z)

    @property
    def loc(self) -> Tensor:  # type: ignore[override]
        """Means of p(z|y), shape (K, D)."""
        return self.heads(self.draws)[0].mean(0)

    def covariances(self) -> Tensor:
        loc, log_scale = self.heads(self.draws)  # (n, K, D)
        between = loc - loc.mean(0)
        spread = torch.einsum("nkd,nke->kde", between, between) / N_DRAWS
        return spread + torch.diag_embed((2.0 * log_scale).exp().mean(0))

    def scale_tril(self) -> Tensor:
        tril: Tensor = torch.linalg.cholesky(self.covariances())
        return tril

    def sample(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw w ~ p(w), then z ~ p(z|w, y) for clusters y (n,), shape (n, D)."""
        w = torch.randn(len(y), self.n_noise, generator=generator).to(self.draws)
        loc, log_scale = (part[torch.arange(len(y)), y] for part in self.heads(w))
        noise = torch.randn(loc.shape, generator=generator).to(loc)
        return loc + log_scale.exp() * noise
