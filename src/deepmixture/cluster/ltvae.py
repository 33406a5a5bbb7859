"""The estimator LTVAE."""

import numbers
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import config_context
from torch import Tensor

from deepmixture import checks, data, engine, schedules, seeds, trials
from deepmixture.batches import ScaledRows
from deepmixture.cluster.pretrained import STARTS, Pretrained
from deepmixture.docstrings import shares_docstring
from deepmixture.latent_tree import LatentTree, Structure
from deepmixture.models import ltvae
from deepmixture.tree_search import TreeSearch, least_variance

Array = NDArray[Any]


@shares_docstring
@dataclass(eq=False, repr=False)
class LTVAE(Pretrained):
    """LTVAE: a variational autoencoder with a latent tree prior, several clusterings (Li 2019).

    Each facet of the tree is a clustering of its own, over its own latent dimensions. With one
    facet the prior is a Gaussian mixture with full covariances, LTVAE-GMM. Labels and
    probabilities are those of the main facet, the root of the tree, which has `n_clusters` states.

    Parameters
    ----------
    %(shared parameters)s
    facets : {"one", "search"}, int or sequence of sequences of int, default="one"
        One facet over all latent dimensions; facets found by a search; so many facets, over
        dimensions that tell most about each other; or the latent dimensions of each facet, the
        main one first.
    epochs : int or "auto", default="auto"
        Passes over the rows while the bound is maximised. Automatically 28 for large data, more
        for small.
    hold_epochs : int or "auto", default="auto"
        First of these passes, in which the main facet is held at the responsibilities of the
        start. Automatically two thirds.
    search_epochs : int, default=10
        With `facets="search"`: passes between two searches for a better tree, once it is let go.
    pretraining : {"autoencoder", "stacked", "vae", None}, default="autoencoder"
        Least squares end to end; the same after layer-wise denoising pretraining (fully connected
        networks only), as in the paper; a variational autoencoder; or nothing.
    start : {"graph", "gmm"}, default="graph"
        Start the main facet from a mixture on a UMAP embedding of the neighbour graph of the
        latent means, or from a Gaussian mixture on the latent means themselves.
    n_samples : int, default=1
        Monte Carlo samples of z a row.
    em_decay : float, default=0.6
        Step t of stepwise EM has the size (t + 2)^-em_decay, counted on from a pass over the rows
        for the start.

    Attributes
    ----------
    %(shared attributes)s
    facet_labels_ : array of shape (N, n_facets)
        State of each training row in each facet; the first column is `labels_`.
    facets_ : list of tuple of int
        The latent dimensions of each facet, the main one first.
    structure_ : dict
        The tree: states, parents and pouches of the facets.

    References
    ----------
    X. Li, Z. Chen, L. K. M. Poon & N. L. Zhang (2019), "Learning latent superstructures in
    variational autoencoders for deep multidimensional clustering", ICLR.
    """

    _: KW_ONLY
    facets: str | int | Sequence[Sequence[int]] = "one"
    epochs: int | Literal["auto"] = "auto"
    hold_epochs: int | Literal["auto"] = "auto"
    search_epochs: int = 10
    pretraining: str | None = "autoencoder"
    start: str = "graph"
    n_samples: int = 1
    em_decay: float = 0.6

    name: ClassVar[str] = "ltvae"
    facts: ClassVar[tuple[str, ...]] = ("structure_", "n_rows_")

    def _build(self) -> None:
        check_facets(self.facets, self.n_latent)
        structure, n_rows = self._one_facet(), 0
        if not hasattr(self, "_callback"):  # read from a saved model, not about to be trained
            structure, n_rows = as_structure(self.structure_), self.n_rows_
        tree = LatentTree(structure)
        self.model_ = ltvae.LTVAE(*self._networks(), tree, self.n_samples, self.em_decay)
        labels = torch.zeros(n_rows, len(structure.parents), dtype=torch.uint8)
        self.model_.register_buffer("labels", labels)

    def _one_facet(self) -> Structure:
        return Structure((self.n_clusters_,), (-1,), ((tuple(range(self.n_latent)),),))

    # ------------------------------------------------------------------------------- training

    def _train(self, x: ScaledRows) -> None:
        few = self._few(x)
        self._pretrain(x, few, self.pretraining)
        if self.pretraining != "vae":
            # The noise of q(z|x) starts small next to the latent, or it would undo the start.
            spread = 0.1 * self._evaluate(self.model_.latent, few).std(0).clamp_min(1e-6)
            self.model_.head.start_scale(spread.to(x.device))
        held_at = self._start_tree(few)

        epochs = self._epochs(self.epochs, len(x), at_least=28, steps=2500)
        held = 2 * epochs // 3 if self.hold_epochs == "auto" else min(self.hold_epochs, epochs)
        # The start has seen every row once, and so has the tree before its first step.
        self.model_.steps_taken = len(x) / self.batch_size
        rate = schedules.constant(self.learning_rate)
        memory = TreeMemory(self.model_)
        first = engine.Stage(
            "taking shape", self._as_long(held, x, few), rate, self.batch_size, memory=memory
        )
        self._run_stage(ltvae.HeldLTVAE(self.model_), [few, held_at.to(x.device)], first)

        def search_again(epoch: int) -> bool:
            if self.facets == "search" and epoch % self.search_epochs == 0:
                self._improve_tree(few)
            return False

        # Let go at full rate, and the first noisy steps undo part of the start.
        rate = schedules.cosine(0.3 * self.learning_rate, 0.003 * self.learning_rate)
        second = engine.Stage(
            "evidence",
            epochs - held,
            rate,
            self.batch_size,
            before_epoch=search_again,
            memory=memory,
        )
        self._run_stage(self.model_, [x], second)
        self.structure_: dict[str, Any] = as_dict(self.model_.prior.structure)
        self.n_rows_: int = len(x)

    def _start_tree(self, x: Tensor) -> Tensor:
        """Give the model its first tree; return the responsibilities (N, K) of its root."""
        means, z = self._draw(x)
        structure = self._one_facet()
        others: list[Tensor] = []
        if self.facets != "one":
            found, others = self._remember("search", lambda: self._first_facets(z))
            structure = as_structure(found)
        states = (self.n_clusters_, *structure.n_states[1:])
        structure = Structure(states, structure.parents, structure.pouches)
        own = list(structure.dimensions(0))
        seed = seeds.derive_seed(self.seed_, "start")
        self._callback.begin("start", 1, 1)

        def compute() -> Array:
            find = STARTS[self.start]
            latent = means[:, own].double().numpy()
            return find(latent, self.n_clusters_, seed, self.n_init).responsibilities

        r = torch.from_numpy(self._remember("start", compute)).float()
        tree = LatentTree(structure)
        tree.start(z, [r, *others], least_variance(z.numpy()))
        self.model_.prior = tree.to(x.device)
        return r

    def _first_facets(self, z: Tensor) -> tuple[dict[str, Any], list[Tensor]]:
        """Find the facets; return their structure, and what the others than the main one say."""
        found = self._first_structure(z)
        others = [log_q.exp().float() for log_q in found.facets(z.double())[1:]]
        return as_dict(found.structure), others

    def _first_structure(self, z: Tensor) -> LatentTree:
        """Find the facets; the main one is the root."""
        self._callback.begin("search", 1, 1)
        search = self._search(z)
        if self.facets == "search":
            tree = search.grow()
        elif isinstance(self.facets, Sequence):
            return search.partitioned(cast(Sequence[Sequence[int]], self.facets))
        else:
            tree = search.partitioned(search.groups(int(self.facets)))
        facets = search.read(tree)
        # The main facet is the one whose states tell most about the rows.
        told = [trials.mutual_information(facet.responsibilities.numpy()) for facet in facets]
        main = facets.pop(int(np.argmax(told)))
        return search.tree([main, *facets])

    def _improve_tree(self, x: Tensor) -> None:
        """Look for a better tree around the present one; its main facet stays the main one."""
        _, z = self._draw(x)
        present = self.model_.prior
        copied = LatentTree(present.structure)
        copied.load_state_dict(present.state_dict())
        with config_context(array_api_dispatch=False):
            found = self._search(z).climb(copied.double(), keep_root=True)
        if found.structure != present.structure:
            self.model_.prior = found.float().to(x.device)

    def _search(self, z: Tensor) -> TreeSearch:
        seed = seeds.derive_seed(self.seed_, "search")
        return TreeSearch(z.double().numpy(), self.n_clusters_, seed)

    def _draw(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means of q(z|x) and one draw of it for each row, (N, D) each, on the CPU.

        The tree is a model of the draws: of a dimension that q(z|x) leaves to the noise, the
        means alone would have next to no variance.
        """
        both = self._evaluate(lambda part: torch.cat(self.model_.q_z(part), 1), x)
        mean, scale = both.chunk(2, 1)
        generator = torch.Generator().manual_seed(seeds.derive_seed(self.seed_, "draw"))
        return mean, mean + scale * torch.randn(mean.shape, generator=generator)

    def _finish(self, x: ScaledRows) -> None:
        super()._finish(x)
        labels = self._evaluate(self.model_.facet_labels, x)
        self.model_.register_buffer("labels", labels.to(torch.uint8))

    def _reorder(self, order: Tensor) -> None:
        tree: LatentTree = self.model_.prior.cpu()
        tree.reorder(order)
        for facet in range(1, len(tree.structure.parents)):
            weights: Tensor = getattr(tree, f"joint_{facet}").sum(0)
            tree.reorder_facet(facet, weights.argsort(descending=True, stable=True))

    def _describe(self, rows: data.Rows, why: str) -> list[str]:
        facets = "; ".join(
            f"{states} states over latent dimensions {', '.join(map(str, dimensions))}"
            for states, dimensions in zip(self.structure_["n_states"], self.facets_, strict=True)
        )
        return [*super()._describe(rows, why), f"Facets, the main one first: {facets}."]

    # ---------------------------------------------------------------------------- the facets

    def predict_facets(self, X: object) -> Array:
        """Return the most probable state of each row in each facet, shape (N, n_facets).

        The first column is the main facet, that of `predict`.
        """
        return self._evaluate(self.model_.facet_labels, self._scaled(X)).numpy()

    @property
    def facet_labels_(self) -> Array:
        """State of each training row in each facet, shape (N, n_facets)."""
        labels = cast(Tensor, self.model_.labels)
        return labels.cpu().long().numpy()

    @property
    def facets_(self) -> list[tuple[int, ...]]:
        """The latent dimensions of each facet, the main one first."""
        structure = as_structure(self.structure_)
        return [structure.dimensions(facet) for facet in range(len(structure.parents))]


class TreeMemory:
    """What training changes of an LTVAE that is no weight: its tree, and the steps of EM."""

    def __init__(self, model: ltvae.LTVAE) -> None:
        self.model = model

    def state_dict(self) -> dict[str, Any]:
        """Return the structure of the tree and the steps that were taken."""
        structure = as_dict(self.model.prior.structure)
        return {"structure": structure, "steps_taken": self.model.steps_taken}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Make a tree of that structure, whose weights come with those of the model."""
        model, structure = self.model, as_structure(state["structure"])
        if structure != model.prior.structure:
            model.prior = LatentTree(structure).to(model.head.mean.weight.device)
        model.steps_taken = state["steps_taken"]


def check_facets(facets: object, n_latent: int) -> None:
    """Refuse what names no facets over `n_latent` dimensions.

    Raises
    ------
    TypeError, ValueError
        Saying what came and what was expected.
    """
    if isinstance(facets, str):
        if facets not in ("one", "search"):
            raise ValueError(
                f"facets={facets!r} is not known; expected 'one', 'search', a number of facets or "
                "the latent dimensions of each facet"
            )
        return
    if isinstance(facets, numbers.Integral):
        checks.check_count("facets", facets, 1)
        if int(facets) > n_latent:
            raise ValueError(f"facets={facets} is more than n_latent={n_latent} dimensions")
        return
    groups = facets if isinstance(facets, Sequence) else ()
    if not groups or not all(isinstance(group, Sequence) and group for group in groups):
        raise TypeError(
            "facets must be 'one', 'search', a number of facets or a sequence of sequences of "
            f"latent dimensions; got {facets!r}"
        )
    given = [d for group in groups for d in group]
    if any(isinstance(d, bool) or not isinstance(d, numbers.Integral) for d in given):
        raise TypeError(f"facets must hold integers, latent dimensions; got {facets!r}")
    if sorted(given) != list(range(n_latent)):
        raise ValueError(
            f"facets={facets!r} must hold every latent dimension from 0 to {n_latent - 1} once"
        )


def as_dict(structure: Structure) -> dict[str, Any]:
    """Return the structure of a tree as numbers in lists."""
    return {
        "n_states": list(structure.n_states),
        "parents": list(structure.parents),
        "pouches": [[list(pouch) for pouch in pouches] for pouches in structure.pouches],
    }


def as_structure(given: Mapping[str, Any]) -> Structure:
    """Return the structure that `as_dict` wrote down."""
    pouches = tuple(tuple(tuple(pouch) for pouch in pouches) for pouches in given["pouches"])
    return Structure(tuple(given["n_states"]), tuple(given["parents"]), pouches)
