"""The structure of a latent tree, found on the latents of an encoder: which facets, over what.

Every structure is judged by the Bayesian information criterion (BIC). A first one groups the
dimensions greedily into facets (Liu, Zhang & Poon 2013, "Greedy learning of latent tree models for
multidimensional clustering") and joins the facets by the tree of largest mutual information (Chow
& Liu 1968); hill climbing by the operators of Poon et al. (2010) then improves it.

No label takes part, and no facet has more states than are asked for.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepmixture.latent_tree import LatentTree, Pouches, Structure
from deepmixture.seeds import draw_rows

Array = NDArray[np.float64]
Partition = Sequence[Sequence[int]]
ROWS = 3_000
MOST_MOVES = 20
TRIAL_STEPS, FIT_STEPS = 5, 50
BINS = 10


@dataclass(frozen=True)
class Facet:
    """A facet before it is put into a tree: what hangs from it, and its states of the rows."""

    pouches: Pouches
    responsibilities: Tensor  # (n, K)

    @property
    def dimensions(self) -> tuple[int, ...]:
        """The latent dimensions of all its pouches, in ascending order."""
        return tuple(sorted(d for pouch in self.pouches for d in pouch))


class TreeSearch:
    """Search for a latent tree on latents (N, D), of which at most 3,000 rows are looked at.

    Parameters
    ----------
    latent : array of shape (N, D)
    most_states : int
        No facet has more states.
    seed : int
    """

    def __init__(self, latent: Array, most_states: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        rows = draw_rows(rng, len(latent), ROWS)
        self.z = torch.from_numpy(np.asarray(latent[rows], dtype=np.float64))
        self.floor = least_variance(latent)
        self.most_states = min(most_states, max(1, len(self.z) // 5))
        self.seed = seed
        self.information = pairwise_information(self.z.numpy())
        self._mixtures: dict[tuple[tuple[int, ...], int], tuple[Tensor, float]] = {}

    # ------------------------------------------------------------------------- whole searches

    def partitioned(self, groups: Partition) -> LatentTree:
        """Return the tree of one facet for each group of dimensions, in one pouch each."""
        tree = self.tree([self.facet(group) for group in groups])
        tree.fit(self.z, FIT_STEPS)
        return tree

    def grow(self) -> LatentTree:
        """Return the best tree found from the greedy grouping and from one facet for all."""
        whole = [self.facet(range(self.z.shape[1]))]
        starts = [self.climb(self.tree(facets)) for facets in (whole, self.islands())]
        return max(starts, key=lambda tree: tree.bic(self.z))

    def climb(self, tree: LatentTree, keep_root: bool = False) -> LatentTree:
        """Take the best of all moves again and again, as long as it raises the BIC.

        Parameters
        ----------
        tree : LatentTree
        keep_root : bool, default=False
            Whether facet 0 keeps its number of states and its place.
        """
        tree.fit(self.z, FIT_STEPS)
        best = tree.bic(self.z)
        for _ in range(MOST_MOVES):
            trials = [self.tree(facets) for facets in self.moves(self.read(tree), keep_root)]
            if not trials:
                break
            for trial in trials:
                trial.fit(self.z, TRIAL_STEPS)
            found = max(trials, key=lambda trial: trial.bic(self.z))
            found.fit(self.z, FIT_STEPS)
            if found.bic(self.z) <= best:
                break
            tree, best = found, found.bic(self.z)
        return tree

    # ---------------------------------------------------------------------- the first grouping

    def islands(self) -> list[Facet]:
        """Group the dimensions greedily: a facet grows until the unidimensionality test fails.

        The test compares, by BIC, one facet for a set of dimensions with two facets that share
        them out.
        """
        left = set(range(self.z.shape[1]))
        facets = []
        while left:
            island = self._closest_pair(left)
            while rest := left - set(island):
                grown = [*island, max(rest, key=lambda d: self.information[d, island].max())]
                halves = self.halves(grown)
                if self._bic_of([grown]) < self._bic_of(halves):
                    island = next(list(half) for half in halves if island[0] in half)
                    break
                island = grown
            facets.append(self.facet(island))
            left -= set(island)
        return facets

    def _closest_pair(self, left: set[int]) -> list[int]:
        pairs = [(i, j) for i in left for j in left if i < j]
        if not pairs:
            return list(left)
        i, j = max(pairs, key=lambda pair: float(self.information[pair]))
        return [i, j]

    def _bic_of(self, groups: Partition) -> float:
        """Return the BIC of the tree of one facet a group, over these dimensions alone."""
        facets = [self.facet(group) for group in groups]
        place = {d: i for i, d in enumerate(sorted(d for group in groups for d in group))}
        moved = [
            Facet((tuple(place[d] for d in facet.dimensions),), facet.responsibilities)
            for facet in facets
        ]
        z = self.z[:, sorted(place)]
        tree = self.tree(moved, z)
        tree.fit(z, FIT_STEPS)
        return tree.bic(z)

    def groups(self, n_groups: int) -> list[list[int]]:
        """Merge the dimensions into groups by their mean mutual information."""
        groups = [[d] for d in range(self.z.shape[1])]
        while len(groups) > n_groups:
            pairs = [(i, j) for i in range(len(groups)) for j in range(i)]
            i, j = max(
                pairs, key=lambda p: self.information[np.ix_(groups[p[0]], groups[p[1]])].mean()
            )
            groups[j] = sorted(groups[j] + groups[i])
            del groups[i]
        return groups

    # ------------------------------------------------------------------------------ the moves

    def moves(self, facets: list[Facet], keep_root: bool) -> Iterator[list[Facet]]:
        """Yield what each operator makes of the facets."""
        for f, facet in enumerate(facets):
            fixed = keep_root and f == 0
            others = facets[:f], facets[f + 1 :]

            def replaced(
                *new: Facet, others: tuple[list[Facet], list[Facet]] = others
            ) -> list[Facet]:
                return [*others[0], *new, *others[1]]

            if not fixed:
                yield from (replaced(new) for new in self._other_states(facet))
            yield from (replaced(new) for new in self._other_pouches(facet))
            yield from (replaced(*new) for new in self._introduced(facet, fixed))
            for g in range(f + 1, len(facets)):
                merged = self._merged(facet, facets[g], fixed)
                yield [*facets[:f], merged, *facets[f + 1 : g], *facets[g + 1 :]]
            yield from self._relocated(facets, f)

    def _other_states(self, facet: Facet) -> Iterator[Facet]:
        """One state more or less (state introduction and deletion)."""
        present = facet.responsibilities.shape[1]
        for states in (present - 1, present + 1):
            if 1 <= states <= self.most_states:
                yield Facet(facet.pouches, self.mixture(facet.dimensions, states)[0])

    def _other_pouches(self, facet: Facet) -> Iterator[Facet]:
        """Two pouches in one (pouching), or one in two (unpouching)."""
        pouches = facet.pouches
        for i, pouch in enumerate(pouches):
            for j in range(i):
                rest = [p for k, p in enumerate(pouches) if k not in (i, j)]
                joined = tuple(sorted(pouch + pouches[j]))
                yield Facet((joined, *rest), facet.responsibilities)
            if len(pouch) > 1:
                rest = [p for k, p in enumerate(pouches) if k != i]
                yield Facet((*self.halves(pouch), *rest), facet.responsibilities)

    def _introduced(self, facet: Facet, fixed: bool) -> Iterator[tuple[Facet, Facet]]:
        """A new facet that takes some of the dimensions of an old one (node introduction)."""
        if len(facet.dimensions) < 2:
            return
        first, second = self.halves(facet.dimensions)
        for kept, taken in ((first, second), (second, first)):
            old = Facet((kept,), facet.responsibilities) if fixed else self.facet(kept)
            yield old, self.facet(taken)

    def _merged(self, one: Facet, other: Facet, fixed: bool) -> Facet:
        """Two facets in one (node deletion)."""
        whole = tuple(sorted(one.dimensions + other.dimensions))
        return Facet((whole,), one.responsibilities) if fixed else self.facet(whole)

    def _relocated(self, facets: list[Facet], f: int) -> Iterator[list[Facet]]:
        """One dimension to the first pouch of another facet (node relocation)."""
        if len(facets[f].dimensions) < 2:
            return
        for d in facets[f].dimensions:
            left = (tuple(i for i in pouch if i != d) for pouch in facets[f].pouches)
            without = Facet(tuple(pouch for pouch in left if pouch), facets[f].responsibilities)
            for g, to in enumerate(facets):
                if g != f:
                    first = tuple(sorted((*to.pouches[0], d)))
                    changed = list(facets)
                    changed[f] = without
                    changed[g] = Facet((first, *to.pouches[1:]), to.responsibilities)
                    yield changed

    # ----------------------------------------------------------------------------- their parts

    def facet(self, dimensions: Sequence[int]) -> Facet:
        """Return a facet for these dimensions in one pouch, its number of states by BIC."""
        dimensions = tuple(sorted(dimensions))
        best, least = 1, self.mixture(dimensions, 1)[1]
        for states in range(2, self.most_states + 1):
            bic = self.mixture(dimensions, states)[1]
            if bic < least:
                best, least = states, bic
            elif states > best + 1:
                break
        return Facet((dimensions,), self.mixture(dimensions, best)[0])

    def mixture(self, dimensions: tuple[int, ...], n_states: int) -> tuple[Tensor, float]:
        """Fit a mixture to some dimensions; return responsibilities and scikit-learn's BIC."""
        key = dimensions, n_states
        if key not in self._mixtures:
            from sklearn.exceptions import ConvergenceWarning
            from sklearn.mixture import GaussianMixture

            z = self.z[:, list(dimensions)].numpy()
            with warnings.catch_warnings():
                # Rows that are all alike leave states empty: EM goes on from whatever it is.
                warnings.simplefilter("ignore", ConvergenceWarning)
                fitted = GaussianMixture(
                    n_states,
                    reg_covar=self.floor,
                    max_iter=FIT_STEPS,
                    random_state=self.seed % 2**32,
                ).fit(z)
            bic = float(fitted.bic(z))
            self._mixtures[key] = torch.from_numpy(fitted.predict_proba(z)), bic
        return self._mixtures[key]

    def halves(self, dimensions: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Share dimensions out between the two that tell least about each other."""
        pairs = [(i, j) for i in dimensions for j in dimensions if i < j]
        i, j = min(pairs, key=lambda pair: self.information[pair])
        near = {
            d: d != j and (d == i or self.information[d, i] >= self.information[d, j])
            for d in dimensions
        }
        return (
            tuple(sorted(d for d in dimensions if near[d])),
            tuple(sorted(d for d in dimensions if not near[d])),
        )

    def tree(self, facets: Sequence[Facet], z: Tensor | None = None) -> LatentTree:
        """Join facets by the tree of largest mutual information, facet 0 its root."""
        z = self.z if z is None else z
        order, parents = chow_liu([facet.responsibilities for facet in facets])
        chosen = [facets[f] for f in order]
        structure = Structure(
            tuple(facet.responsibilities.shape[1] for facet in chosen),
            tuple(parents),
            tuple(facet.pouches for facet in chosen),
        )
        tree = LatentTree(structure).double()
        tree.start(z, [facet.responsibilities for facet in chosen], self.floor)
        return tree

    def read(self, tree: LatentTree) -> list[Facet]:
        """Return the facets of a tree with its posteriors of the rows."""
        posteriors = tree.facets(self.z)
        return [
            Facet(pouches, log_q.exp())
            for pouches, log_q in zip(tree.structure.pouches, posteriors, strict=True)
        ]


def chow_liu(responsibilities: Sequence[Tensor]) -> tuple[list[int], list[int]]:
    """Return an order of the facets from facet 0 and the parent of each within that order.

    The edges are those of the spanning tree with the largest mutual information between the
    facets' states (Chow & Liu 1968).
    """
    order, parents = [0], [-1]
    left = set(range(1, len(responsibilities)))
    while left:
        edges = [(f, g) for f in order for g in sorted(left)]
        f, g = max(edges, key=lambda e: _shared(responsibilities[e[0]], responsibilities[e[1]]))
        parents.append(order.index(f))
        order.append(g)
        left.remove(g)
    return order, parents


def _shared(one: Tensor, other: Tensor) -> float:
    """Return the mutual information of two facets, from responsibilities (n, K) and (n, L)."""
    joint = one.T @ other / len(one)
    return _information(joint.numpy())


def _information(joint: Array) -> float:
    """Return the mutual information of a joint distribution of two discrete variables."""
    from scipy.special import entr

    return float(entr(joint.sum(0)).sum() + entr(joint.sum(1)).sum() - entr(joint).sum())


def pairwise_information(z: Array) -> Array:
    """Return the mutual information between columns of z (n, D), cut into bins of equal size."""
    ranks = z.argsort(0).argsort(0)
    bins = ranks * BINS // len(z)  # (n, D)
    width = z.shape[1]
    information = np.zeros((width, width))
    for i in range(width):
        for j in range(i):
            joint = np.zeros((BINS, BINS))
            np.add.at(joint, (bins[:, i], bins[:, j]), 1.0 / len(z))
            information[i, j] = information[j, i] = _information(joint)
    return information


def least_variance(latent: Array) -> float:
    """Return what no variance of a tree may fall below, small next to that of the latents."""
    return 1e-4 * max(float(latent.var(0).mean()), 1e-12)
