"""The estimator N2D: a mixture on a manifold embedding of an autoencoder's latent space."""

import time
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from deepmixture import checks, embedding, seeds, trials
from deepmixture.batches import ScaledRows
from deepmixture.cluster.pretrained import Pretrained
from deepmixture.docstrings import shares_docstring
from deepmixture.models import n2d
from deepmixture.priors import FullMixture

NO_DENSITY = "its manifold has places for rows, and no density p(x); VaDE and AEGMM have one"


@shares_docstring
@dataclass(eq=False, repr=False)
class N2D(Pretrained):
    """N2D: a Gaussian mixture on a UMAP embedding of an autoencoder's latent (McConville 2021).

    An autoencoder is trained by least squares, its latent means are embedded by UMAP, and a
    full-covariance mixture on the embedding gives the clusters. Rows that were not embedded, new
    ones among them, take after their nearest embedded neighbours.

    Parameters
    ----------
    %(shared parameters)s
    pretraining : {"autoencoder", "stacked", "vae"}, default="autoencoder"
        Least squares end to end; the same after layer-wise denoising pretraining (fully
        connected networks only); or a variational autoencoder.
    n_manifold : int or "auto", default="auto"
        Dimensions P of the embedding, at most `n_latent`. Automatically as many as clusters, as
        in the paper, and at least 2.
    n_neighbors : int, default=20
        Neighbours of a row in UMAP's graph.
    n_embedded : int, default=20000
        Rows that are embedded, at most, drawn by the seed.

    Attributes
    ----------
    %(shared attributes)s
    n_manifold_, n_embedded_ : int
        Dimensions of the embedding, and rows in it.

    Notes
    -----
    `transform` gives places in the embedding, in which `means_` and `covariances_` are, too; a row
    that was not embedded has the mean place of its neighbours, and their mean responsibilities.
    `inverse_transform` and `sample` go from a place to the latent between those of the nearest
    embedded rows, and then through the decoder; `reconstruct` leaves the embedding out.

    References
    ----------
    R. McConville, R. Santos-Rodriguez, R. J. Piechocki & I. Craddock (2021), "N2D: (not too) deep
    clustering via clustering the local manifold of an autoencoded embedding", ICPR.
    """

    _: KW_ONLY
    pretraining: str = "autoencoder"
    n_manifold: int | Literal["auto"] = "auto"
    n_neighbors: int = 20
    n_embedded: int = 20_000

    name: ClassVar[str] = "n2d"
    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        "pretraining": ("autoencoder", "stacked", "vae")
    }
    facts: ClassVar[tuple[str, ...]] = ("n_manifold_", "n_embedded_")
    cannot: ClassVar[Mapping[str, str]] = {"score_samples": NO_DENSITY, "score": NO_DENSITY}

    def _build(self) -> None:
        # A fit begins without an embedding; of a saved one the facts say how large it was.
        n_rows = getattr(self, "n_embedded_", 0)
        width = getattr(self, "n_manifold_", self.n_latent)
        manifold = n2d.Manifold(n_rows, self.n_latent, width)
        prior = FullMixture(self.n_clusters_, width)
        self.model_ = n2d.N2D(*self._networks(), manifold, prior)

    def _train(self, x: ScaledRows) -> None:
        seen = self._few(x)
        self._pretrain(x, seen, self.pretraining)
        latent = self._evaluate(self.model_.latent, seen)
        began = time.perf_counter()
        self._callback.begin("manifold", 1, 1)
        seed = seeds.derive_seed(self.seed_, "start")
        rng = np.random.default_rng(seed)
        z = latent.double().numpy()
        width = max(2, self.n_clusters_) if self.n_manifold == "auto" else self.n_manifold
        width = min(width, self.n_latent)

        def compute() -> tuple[NDArray[Any], ...]:
            few, places = embedding.manifold(
                z, self.n_clusters_, width, seed, rng, self.n_embedded, self.n_neighbors
            )
            rows = places if len(few) else z
            found = trials.try_mixtures(rows, self.n_clusters_, rng, self.n_init)
            mixture = trials.most_informative(found).mixture
            return few, rows, *mixture

        few, rows, *parts = self._remember("manifold", compute)
        self.n_embedded_, self.n_manifold_ = len(few), rows.shape[1]
        self.model_.manifold.start(latent[few], torch.from_numpy(rows[: len(few)]).float())
        self.model_.prior = FullMixture(self.n_clusters_, self.n_manifold_)
        self.model_.prior.start(*(torch.from_numpy(part).float() for part in parts))
        self.timings_["manifold"] = time.perf_counter() - began

    def transform(self, X: object) -> NDArray[Any]:
        """Return the places of the rows in the embedding, shape (N, P)."""
        x = self._scaled(X)
        model: n2d.N2D = self.model_
        return self._evaluate(lambda part: model.manifold(model.latent(part)), x).numpy()

    def inverse_transform(self, Z: object) -> NDArray[Any]:
        """Decode places of shape (n, P) to rows, in the units and shape of the training rows."""
        check_is_fitted(self)
        model: n2d.N2D = self.model_
        places = checks.check_latent(Z, self.n_manifold_)
        decoded = self._evaluate(lambda part: model.decode(model.manifold.inverse(part)), places)
        return self._unscale(decoded)

    def _sample_latent(self, y: Tensor, generator: torch.Generator) -> Tensor:
        places = super()._sample_latent(y, generator)
        latent: Tensor = self.model_.cpu().manifold.inverse(places)
        return latent

    @property
    def _n_features_out(self) -> int:
        width: int = self.n_manifold_
        return width
