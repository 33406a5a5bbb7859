"""NVISA: a mixture variational autoencoder with a structured approximation.

Li et al. (2020), "NVISA". With a Bernoulli likelihood and the sum over y taken exactly it is also
the "GMVAE" of much common code (model M2 of Kingma, Rezende, Mohamed & Welling 2014 with a learned
mixture prior), which is not that of Dilokthanakul et al. (2016).

Generative model::

    y ~ Cat(pi)        z | y ~ N(mu_y, sigma_y²)        x | z ~ p(x | decoder(z))

Inference model, structured or mean-field::

    q(y|x) q(z|y, x)        q(y|x) q(z|x)

Evidence lower bound, each term named as it is logged; the sum over y is that of a gradient
estimator (`gradients`); that of VIMCO maximises the importance-weighted bound instead::

    L(x) = sum_y q(y|x) E_q(z|y,x)[   log p(x|z)           reconstruction
                                    + log p(z|y)           mixture_prior
                                    + log p(y)             assignment
                                    - log q(z|y, x) ]      latent_entropy
           - sum_y q(y|x) log q(y|x)                       cluster_entropy

Standard-deviation annealing: the deviations of p(x|z), where the decoder gives them, and of
q(z|y, x) are softplus(.) + epsilon; the knob `scale_floor` moves epsilon while the model trains.
"""

import torch
from torch import Tensor, nn

from deepmixture.densities import at_least_float32, log_normal
from deepmixture.gradients import Gradient, one_hot
from deepmixture.likelihoods import LearnedGaussian, Likelihood
from deepmixture.models.contract import Knobs
from deepmixture.nets import ClusterHead
from deepmixture.noise import categorical, standard_normal
from deepmixture.priors import DiagonalMixture


class NVISA(nn.Module):
    """p(y) p(z|y) p(x|z) with q(y|x) q(z|y, x).

    Parameters
    ----------
    encoder : nn.Module
        Rows (B, F) to the features (B, H) that q(z|y, x) is read from, and q(y|x) by default.
    head, decoder, likelihood, prior, gradient : the parts of the equations above
    encoder_y : nn.Module, optional
        A network of its own for q(y|x): rows (B, F) to features (B, H').
    n_features_y : int, optional
        H', where there is one.
    """

    def __init__(
        self,
        encoder: nn.Module,
        head: ClusterHead,
        decoder: nn.Module,
        likelihood: Likelihood,
        prior: DiagonalMixture,
        gradient: Gradient,
        encoder_y: nn.Module | None = None,
        n_features_y: int | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.encoder_y = encoder, encoder_y
        self.head = head  # q(z|y, x)
        self.classifier = nn.Linear(n_features_y or head.mean.in_features, len(prior.loc))
        self.decoder, self.likelihood = decoder, likelihood  # p(x|z)
        self.prior = prior  # p(y) p(z|y)
        self.gradient = gradient

    def log_joint(
        self, x: Tensor, features: Tensor, y: Tensor, noise: Tensor
    ) -> dict[str, Tensor]:
        """Return the terms of log p(x, z, y) - log q(z|y, x), each (S, B).

        Parameters
        ----------
        x : Tensor of shape (B, F)
        features : Tensor of shape (B, H)
        y : Tensor of shape (S, B, K)
            One-hot; of a relaxed y the parameters of p(z|y) are mixed.
        noise : Tensor of shape (S, B, D)
        """
        mean, scale = self.head(features, y)
        z = mean + scale * noise  # (S, B, D)
        h = self.decoder(z)
        with torch.autocast(x.device.type, enabled=False):
            log_p_z = log_normal(z, y @ self.prior.loc, y @ self.prior.log_scale)
            return {
                "reconstruction": self.likelihood.log_prob(h, x),
                "mixture_prior": log_p_z.sum(-1),
                "assignment": y @ self.prior.log_prob_y(),
                "latent_entropy": -log_normal(z, mean, scale.log()).sum(-1),
            }

    def drawn_terms(
        self, x: Tensor, features: Tensor, responsibilities: Tensor
    ) -> dict[str, Tensor]:
        """Return the mean terms of `log_joint` at one draw of y a row from (B, K)."""
        y = one_hot(categorical(responsibilities)[None], responsibilities)  # (1, B, K)
        noise = standard_normal(1, len(x), self.prior.loc.shape[1], device=x.device)
        parts = self.log_joint(x, features, y, noise)
        return {name: part.mean() for name, part in parts.items()}

    def forward(self, x: Tensor, knobs: Knobs) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the negative bound, with the gradient of the estimator, and its terms."""
        self.anneal(knobs)
        features = self.encoder(x)
        log_q_y = self.log_q_y(x, features)
        parts: dict[str, Tensor] = {}

        def log_weights(y: Tensor) -> Tensor:
            width = self.prior.loc.shape[1]
            noise = standard_normal(*y.shape[:-1], width, device=y.device)
            parts.update(self.log_joint(x, features, y, noise))
            return torch.stack(list(parts.values())).sum(0)

        bound, surrogate, weights = self.gradient(log_weights, log_q_y, knobs, features)
        terms = {name: (weights * part.detach()).sum(0).mean() for name, part in parts.items()}
        terms["cluster_entropy"] = -(log_q_y.exp() * log_q_y).sum(-1).mean().detach()
        surrogate = surrogate.mean()
        return surrogate.detach() - surrogate - bound.mean(), terms

    def anneal(self, knobs: Knobs) -> None:
        """Set both floors to the knob `scale_floor`, where there is one."""
        if "scale_floor" not in knobs:
            return
        self.head.floor.copy_(knobs["scale_floor"])
        if isinstance(self.likelihood, LearnedGaussian):
            self.likelihood.floor.copy_(knobs["scale_floor"])

    def log_q_y(self, x: Tensor, features: Tensor | None = None) -> Tensor:
        """Return log q(y|x), shape (B, K); `features` where the encoder's are at hand."""
        if self.encoder_y is not None or features is None:
            features = self.features_y(x)
        with torch.autocast(x.device.type, enabled=False):
            log_q_y: Tensor = self.classifier(at_least_float32(features)).log_softmax(-1)
            return log_q_y

    def features_y(self, x: Tensor) -> Tensor:
        """Return the features that q(y|x) is read from, shape (B, H')."""
        features: Tensor = (self.encoder if self.encoder_y is None else self.encoder_y)(x)
        return features

    def log_posterior_y(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return log p(y|x) by Bayes, shape (B, K), for noise (S, 1, D) or (S, B, D).

        p(x, y) of each cluster is estimated by the mean of p(x, z, y) / q(z|y, x) over S draws.
        """
        features = self.encoder(x)
        n_clusters = len(self.prior.loc)
        every = torch.eye(n_clusters).to(x)[:, None].expand(-1, len(x), -1)  # (K, B, K)
        log_w = []
        for draw in noise:
            parts = self.log_joint(x, features, every, draw.expand(n_clusters, len(x), -1))
            log_w.append(torch.stack(list(parts.values())).sum(0).T)  # (B, K)
        return torch.stack(log_w).logsumexp(0).log_softmax(-1)

    def latent(self, x: Tensor) -> Tensor:
        """Return the mean of q(z|x) = sum_y q(y|x) q(z|y, x), shape (B, D)."""
        features = self.encoder(x)
        q_y = self.log_q_y(x, features).exp()  # (B, K)
        y = torch.eye(q_y.shape[1]).to(q_y)[:, None].expand(-1, len(x), -1)  # (K, B, K)
        mean, _ = self.head(features, y)
        return torch.einsum("bk,kbd->bd", q_y, mean)

    def log_weights(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return log p(x, z, y) - log q(y, z|x), shape (S, B).

        Takes noise (S, 1, 1 + D) or (S, B, 1 + D): the first number draws y by the quantiles of
        q(y|x), the others z.
        """
        features = self.encoder(x)
        log_q_y = self.log_q_y(x, features)
        quantile = torch.special.ndtr(noise[..., :1])  # (S, ., 1)
        drawn = (quantile > log_q_y.exp().cumsum(-1)[:, :-1]).sum(-1)  # (S, B)
        terms = self.log_joint(x, features, one_hot(drawn, log_q_y), noise[..., 1:])
        log_p = torch.stack(list(terms.values())).sum(0)
        return log_p - log_q_y.gather(1, drawn.T).T

    def decode(self, z: Tensor) -> Tensor:
        return self.likelihood.mean(self.decoder(z))

    @torch.no_grad()
    def reorder(self, order: Tensor) -> None:
        """Renumber the clusters: cluster order[i] becomes cluster i."""
        self.prior.reorder(order)
        for parameter in (self.classifier.weight, self.classifier.bias):
            parameter.copy_(parameter[order])
        if self.head.embedding is not None:
            weight = self.head.embedding.weight
            weight.copy_(weight[:, order])


class HeldNVISA(nn.Module):
    """The bound with y drawn from given responsibilities, which q(y|x) is taught meanwhile.

    The responsibilities r(y) of a start take the place of q(y|x) in the bound, one draw a row: one
    decoder pass, whatever the number of clusters. q(y|x) learns by cross-entropy, `taught`.
    """

    def __init__(self, model: NVISA) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, x: Tensor, responsibilities: Tensor, knobs: Knobs
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its terms for rows (B, F), responsibilities (B, K)."""
        model = self.model
        model.anneal(knobs)
        features = model.encoder(x)
        log_q_y = model.log_q_y(x, features)
        terms = model.drawn_terms(x, features, responsibilities)
        terms["taught"] = (responsibilities * log_q_y).sum(-1).mean()
        loss = -torch.stack(list(terms.values())).sum()
        return loss, {name: term.detach() for name, term in terms.items()}
