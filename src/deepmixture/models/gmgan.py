"""Gaussian-mixture generative adversarial network (GM-GAN).

Ben-Yosef & Weinshall (2018), "Gaussian mixture generative adversarial networks for diverse
datasets, and the unsupervised clustering of images", arXiv:1808.10356. The paper's Gaussian k is
the cluster y here.

Generative model; the means are drawn once from U[-c, c]^D with A_y = sigma I (static), or means
and Cholesky factors are learned (the paper's dynamic GM-GAN)::

    y ~ Cat(pi)        z = mu_y + A_y u,  u ~ N(0, I)        x = G(z)

There is no likelihood and no bound. A discriminator D tells rows from generated rows, the
generator is trained to pass, and clusters are read by a classifier q(y|x) that is trained on
generated rows, whose clusters are known. The terms of the loss, each named as it is logged::

    discriminator       E_x[ softplus(-D(x)) ] + E_z[ softplus(D(G(z))) ]
    gradient_penalty    E_x[ |grad D(x)|² ]
    generator           E_z[ softplus(-D(G(z))) ]
    classifier          E_y,z[ -log q(y | G(z)) ]
    latent              E_z[ -log q(z | G(z)) ]

The first two move the discriminator alone, `generator` the generator and the learned mixture
alone (Goodfellow et al. 2014, the non-saturating loss), the last two the recognition networks.
Penalty (Mescheder et al. 2018, R1), q(z|x) and the share of `classifier` that may reach the
generator (Chen et al. 2016, InfoGAN) are not the paper's; docs/gmgan.md says what they are for.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from deepmixture.densities import at_least_float32, log_normal
from deepmixture.latent_source import LatentSource
from deepmixture.likelihoods import Gaussian, LearnedGaussian, Likelihood
from deepmixture.models.contract import Knobs
from deepmixture.nets import NormalHead
from deepmixture.noise import per_row


class GMGAN(nn.Module):
    """p(y) p(z|y) and x = G(z), with a discriminator, and q(y|x), q(z|x) learned from G's rows.

    Parameters
    ----------
    encoder : nn.Module
        Rows (B, F) to the features (B, H) that q(y|x) and q(z|x) share.
    head : NormalHead
        q(z|x).
    decoder, likelihood : nn.Module, Likelihood
        G: the mean of the likelihood, with its noise where that has a gradient (Gaussian).
    prior : LatentSource
    discriminator : nn.Module
        Rows (B, F) to the features (B, H) of D.
    penalty_weight : float, default=1.0
    information_weight : float, default=0.0
        Share of the classifier's gradient that reaches generator and mixture.
    """

    def __init__(
        self,
        encoder: nn.Module,
        head: NormalHead,
        decoder: nn.Module,
        likelihood: Likelihood,
        prior: LatentSource,
        discriminator: nn.Module,
        penalty_weight: float = 1.0,
        information_weight: float = 0.0,
    ) -> None:
        super().__init__()
        n_features = head.mean.in_features
        self.prior = prior  # p(y) p(z|y)
        self.decoder, self.likelihood = decoder, likelihood  # G
        self.discriminator = nn.Sequential(discriminator, nn.Linear(n_features, 1))  # D
        self.encoder, self.head = encoder, head  # q(z|x)
        self.classifier = nn.Linear(n_features, len(prior.loc))  # q(y|x)
        self.penalty_weight = penalty_weight
        self.information_weight = information_weight

    def generate(self, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw n rows: clusters y (n,), latents z (n, D) and rows x (n, F), with gradients."""
        y = per_row(lambda rows: torch.multinomial(self.prior.weights, rows, replacement=True), n)
        with torch.autocast(y.device.type, enabled=False):
            z = self.prior.sample(y)
        h = self.decoder(z)
        with torch.autocast(y.device.type, enabled=False):
            if isinstance(self.likelihood, Gaussian | LearnedGaussian):
                # Rows on the surface of a D-dimensional latent are told from any others at once.
                return y, z, self.likelihood.sample(h)
            return y, z, self.likelihood.mean(h)

    def discriminator_terms(self, x: Tensor, generated: Tensor) -> dict[str, Tensor]:
        """Return the loss of telling rows x from generated ones, both (B, F), and its penalty."""
        x = x.detach().requires_grad_(self.penalty_weight > 0)
        real = flat(self.discriminator(x))
        fake = flat(self.discriminator(generated.detach()))
        terms = {"discriminator": (functional.softplus(-real) + functional.softplus(fake)).mean()}
        if self.penalty_weight > 0:
            (slope,) = torch.autograd.grad(real.sum(), x, create_graph=True)
            terms["gradient_penalty"] = slope.square().sum(-1).mean()
        return terms

    def generator_terms(self, generated: Tensor) -> dict[str, Tensor]:
        """Return the loss of being told from rows; its gradient does not reach D."""
        held = {name: weight.detach() for name, weight in self.discriminator.named_parameters()}
        score = flat(functional_call(self.discriminator, held, (generated,)))
        return {"generator": functional.softplus(-score).mean()}

    def recognition_terms(self, y: Tensor, z: Tensor, generated: Tensor) -> dict[str, Tensor]:
        """Return the losses of q(y|x) and q(z|x) on generated rows (B, F).

        The features are the classifier's alone: q(z|x) takes them as they come.
        """
        features = self.encoder(generated)
        mean, scale = self.head(features.detach())
        return {
            "classifier": functional.cross_entropy(self.logits(features), y),
            "latent": -log_normal(z.detach(), mean, scale.log()).sum(-1).mean(),
        }

    def logits(self, features: Tensor) -> Tensor:
        """Return the unnormalised log q(y|x) for features (B, H), shape (B, K)."""
        with torch.autocast(features.device.type, enabled=False):
            logits: Tensor = self.classifier(at_least_float32(features))
            return logits

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Return the sum of the terms, the penalty by its weight."""
        weights = {"gradient_penalty": 0.5 * self.penalty_weight}
        return torch.stack([weights.get(name, 1.0) * term for name, term in terms.items()]).sum()

    def forward(self, x: Tensor, knobs: Knobs) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum of all losses, each for its own networks, and its terms."""
        y, z, generated = self.generate(len(x))
        # Of the value nothing changes, of the gradient to the generator the share is taken.
        told = generated.detach()
        if self.information_weight > 0:
            told = told + self.information_weight * (generated - told)
        terms = self.discriminator_terms(x, generated) | self.generator_terms(generated)
        terms |= self.recognition_terms(y, z, told)
        return self.total(terms), {name: term.detach() for name, term in terms.items()}

    def log_q_y(self, x: Tensor) -> Tensor:
        """Return log q(y|x), shape (B, K)."""
        return self.logits(self.encoder(x)).log_softmax(-1)

    def latent(self, x: Tensor) -> Tensor:
        mean: Tensor = self.head(self.encoder(x))[0]
        return mean

    def decode(self, z: Tensor) -> Tensor:
        return self.likelihood.mean(self.decoder(z))

    @torch.no_grad()
    def reorder(self, order: Tensor) -> None:
        """Renumber the clusters: cluster order[i] becomes cluster i."""
        self.prior.reorder(order)
        for parameter in (self.classifier.weight, self.classifier.bias):
            parameter.copy_(parameter[order])


class HeldGenerator(nn.Module):
    """All that is trained against a generator, while the generator is held."""

    def __init__(self, model: GMGAN) -> None:
        super().__init__()
        self.discriminator = model.discriminator
        self.encoder, self.head, self.classifier = model.encoder, model.head, model.classifier
        self._of = (model,)  # in a tuple, the generator is no part of this module

    def forward(self, x: Tensor, knobs: Knobs) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum of the losses of discriminator and recognition, and its terms."""
        (model,) = self._of
        with torch.no_grad():
            y, z, generated = model.generate(len(x))
        terms = model.discriminator_terms(x, generated) | model.recognition_terms(y, z, generated)
        return model.total(terms), {name: term.detach() for name, term in terms.items()}


class Recognition(nn.Module):
    """q(y|x) and q(z|x) alone: the paper's clustering, after the generator is trained."""

    def __init__(self, model: GMGAN) -> None:
        super().__init__()
        self.encoder, self.head, self.classifier = model.encoder, model.head, model.classifier
        self._of = (model,)

    def forward(self, x: Tensor, knobs: Knobs) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss on as many generated rows as there are rows in x (B, F), its terms."""
        (model,) = self._of
        with torch.no_grad():
            y, z, generated = model.generate(len(x))
        terms = model.recognition_terms(y, z, generated)
        return model.total(terms), {name: term.detach() for name, term in terms.items()}


def flat(score: Tensor) -> Tensor:
    """Return the output of D, (B, 1), as (B,) in float32 at least."""
    return at_least_float32(score.squeeze(-1))
