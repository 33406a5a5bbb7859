"""The networks of an estimator: which they are, and how they are built."""

import copy
from collections.abc import Sequence
from typing import Literal

from torch import nn

from deepmixture import checks, likelihoods, nets, presets
from deepmixture.fitted import FittedMixture
from deepmixture.likelihoods import Likelihood


class WithNetworks(FittedMixture):
    """An estimator that encodes and decodes rows by networks, given or its own."""

    likelihood_scale: float
    network: str
    hidden: Sequence[int] | Literal["auto"]
    encoder: nn.Module | None
    decoder: nn.Module | None

    network_: str

    def _networks(self) -> tuple[nn.Module, nets.NormalHead, nn.Module, Likelihood]:
        """Return encoder, head of q(z|x), decoder and likelihood for the fitted facts."""
        n_features = self.n_features_in_
        likelihood = likelihoods.make(self.likelihood_, n_features, self.likelihood_scale)
        likelihood.assume_complete()  # rows with missing entries were refused
        n_outputs = likelihood.n_parameters * n_features
        if self.encoder is not None and self.decoder is not None:
            self.network_ = "given"
            encoder, decoder = self._given_pair(self.encoder, self.decoder)
        else:
            automatic = self.network == "auto"
            self.network_ = self._automatic_network() if automatic else self.network
            encoder, decoder = self._new_pair(likelihood.n_parameters)
        encoded = checks.check_network("encoder", encoder, n_features)
        gives = checks.check_network("decoder", decoder, self.n_latent)
        if gives != n_outputs:
            raise ValueError(
                f"decoder gives {gives} numbers a row; expected {n_outputs}, "
                f"{likelihood.n_parameters} a feature"
            )
        head = nets.NormalHead(encoded, self.n_latent)
        return encoder, head, nets.LeadingDimensions(decoder), likelihood

    def _given_pair(self, encoder: nn.Module, decoder: nn.Module) -> tuple[nn.Module, nn.Module]:
        """Return copies of networks that were given, between flat rows and images if need be."""
        encoder, decoder = copy.deepcopy(encoder), copy.deepcopy(decoder)
        image_shape = self._image_sides()
        convolutional = any(isinstance(module, nn.Conv2d) for module in encoder.modules())
        if image_shape and convolutional:
            encoder = nn.Sequential(nets.ImageInput(*image_shape), encoder)
            decoder = nn.Sequential(decoder, nets.ImageOutput(image_shape[2]))
        return encoder, decoder

    def _new_pair(self, n_parameters: int) -> tuple[nn.Module, nn.Module]:
        """Return a new encoder and decoder of `network_`.

        Raises
        ------
        ValueError
            If the network needs images and the rows are none.
        """
        n_features = self.n_features_in_
        if self.network_ == "mlp":
            hidden = presets.hidden_for(self.kind_) if self.hidden == "auto" else self.hidden
            return nets.mlp_pair(n_features, n_parameters * n_features, self.n_latent, hidden)
        image_shape = self._image_sides()
        if not image_shape:
            raise ValueError(
                f"network={self.network_!r} needs images: X of shape (N, H, W) or "
                f"(N, H, W, C); got rows of {n_features} {self.kind_} values"
            )
        pair = nets.CONVOLUTIONAL[self.network_]
        return pair(image_shape, n_parameters, self.n_latent)

    def _automatic_network(self) -> str:
        return presets.network_for(self.kind_, self.image_shape_)

    def _image_sides(self) -> tuple[int, int, int] | None:
        """Return height, width and channels where rows are images of known shape."""
        if not self.image_shape_:
            return None
        height, width, colours = (*self.image_shape_, 1)[:3]
        return height, width, colours
