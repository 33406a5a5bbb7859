"""The latent tree prior: discrete facets in a tree over groups of latent dimensions.

Zhang (2004), "Hierarchical latent class models for cluster analysis"; with Gaussian leaves Poon,
Zhang, Chen & Wang (2010), "Variable selection in model-based clustering: to do or to facilitate".

Each facet Y_f is a clustering of its own. The latent dimensions are shared out among pouches z_p,
each jointly normal given the facet f(p) that it hangs from::

    p(z) = sum over Y of  prod_f p(Y_f | Y_parent(f))  prod_p N(z_p; mu_p,Y_f(p), Sigma_p,Y_f(p))

One facet with one pouch is a Gaussian mixture with full covariances.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from deepmixture.densities import HALF_LOG_2PI
from deepmixture.priors import Mixture

Pouches = tuple[tuple[int, ...], ...]
SMALLEST = 1e-10
CHUNK = 10_000


@dataclass(frozen=True)
class Structure:
    """Which tree. Facet 0 is its root, and a parent comes before its children.

    Parameters
    ----------
    n_states : tuple of int
        States of each facet.
    parents : tuple of int
        Parent of each facet; -1 for the root.
    pouches : tuple of tuple of tuple of int
        The latent dimensions of each pouch of each facet; every dimension is in one pouch.

    Raises
    ------
    ValueError
        If it is no tree, or the pouches are no partition of the latent dimensions.
    """

    n_states: tuple[int, ...]
    parents: tuple[int, ...]
    pouches: tuple[Pouches, ...]

    def __post_init__(self) -> None:
        in_order = all(0 <= parent < facet for facet, parent in enumerate(self.parents) if facet)
        if not self.parents or self.parents[0] != -1 or not in_order:
            raise ValueError(
                f"parents={self.parents} is no tree of facets; expected -1 for facet 0 and an "
                "earlier facet for every other one"
            )
        if not len(self.n_states) == len(self.parents) == len(self.pouches):
            raise ValueError("n_states, parents and pouches must have one entry a facet")
        dimensions = [d for facet in self.pouches for pouch in facet for d in pouch]
        if sorted(dimensions) != list(range(len(dimensions))):
            raise ValueError(
                f"pouches={self.pouches} must hold every latent dimension from 0 once"
            )

    @property
    def n_latent(self) -> int:
        """Latent dimensions D of all pouches."""
        return sum(len(pouch) for facet in self.pouches for pouch in facet)

    def dimensions(self, facet: int) -> tuple[int, ...]:
        """Return the latent dimensions that hang from a facet, in ascending order."""
        return tuple(sorted(d for pouch in self.pouches[facet] for d in pouch))

    def n_parameters(self) -> int:
        """Return how many free numbers the tree has: what the BIC counts."""
        free = 0
        for states, parent, pouches in zip(self.n_states, self.parents, self.pouches, strict=True):
            free += (states - 1) * (self.n_states[parent] if parent >= 0 else 1)
            free += states * sum(len(p) + len(p) * (len(p) + 1) // 2 for p in pouches)
        return free


class Pouch(nn.Module):
    """Normals N(z; loc_k, covariance_k) over d latent dimensions, for the K states of a facet.

    No eigenvalue of a covariance is below `floor`: without it the likelihood is unbounded.
    """

    dimensions: Tensor
    loc: Tensor
    covariance: Tensor
    whitening: Tensor
    log_det: Tensor

    def __init__(self, facet: int, dimensions: Sequence[int], n_states: int) -> None:
        super().__init__()
        self.facet = facet
        width = len(dimensions)
        self.register_buffer("dimensions", torch.tensor(dimensions))
        self.register_buffer("loc", torch.zeros(n_states, width))
        self.register_buffer("covariance", torch.eye(width).repeat(n_states, 1, 1))
        self.register_buffer("whitening", torch.eye(width).repeat(n_states, 1, 1))
        self.register_buffer("log_det", torch.zeros(n_states))

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log N(z_p; loc_k, covariance_k) for latents (..., D), shape (..., K)."""
        difference = z[..., self.dimensions].unsqueeze(-2) - self.loc  # (..., K, d)
        standard = torch.einsum("...kd,kde->...ke", difference, self.whitening)
        return self.log_det - (0.5 * standard.square() + HALF_LOG_2PI).sum(-1)

    def update(self, z: Tensor, r: Tensor, kept: Tensor, step: float, floor: Tensor) -> None:
        """Move the moments a step towards those of rows z (B, D) weighted by r (B, K).

        The statistics of stepwise EM are kept as mass, mean and covariance: the same as moving
        sums of 1, z and z zᵀ, but without their cancellation for means far from zero. `kept` (K,)
        is the mass that the present moments stand for.
        """
        z = z[:, self.dimensions]
        mass = r.sum(0)  # (K,)
        weight = r.T / mass.clamp_min(SMALLEST)[:, None]  # (K, B)
        mean = weight @ z  # (K, d)
        centred = z - mean[:, None]  # (K, B, d)
        covariance = (weight[..., None] * centred).mT @ centred
        new, old = step * mass / len(z), (1.0 - step) * kept
        share = (new / (new + old).clamp_min(SMALLEST))[:, None]  # (K, 1)
        shift = mean - self.loc
        between = shift[:, :, None] * shift[:, None, :]
        share_2d = share[..., None]
        within = (1.0 - share_2d) * self.covariance + share_2d * covariance
        # New tensors, for the graph of the loss still holds the old ones.
        self.covariance = within + share_2d * (1.0 - share_2d) * between
        self.loc = self.loc + share * shift
        self.refresh(floor)

    def refresh(self, floor: Tensor) -> None:
        """Derive what `log_prob` needs: W with W Wᵀ the inverse covariance, and log det W."""
        # Small symmetric matrices: not every accelerator has their eigenvectors, the CPU has.
        variances, axes = torch.linalg.eigh(self.covariance.cpu())
        scale = variances.clamp_min(floor.cpu()).rsqrt()  # (K, d)
        self.whitening = (axes * scale[:, None]).to(self.loc)
        self.log_det = scale.log().sum(-1).to(self.loc)

    def spread(self) -> Tensor:
        """Return A with A Aᵀ the covariances of the normals, shape (K, d, d)."""
        spread: Tensor = torch.linalg.inv(self.whitening).mT
        return spread


class LatentTree(Mixture):
    """p(Y) p(z|Y) of a tree; as a mixture, its clusters are the states of facet 0, the root.

    Its parameters are learned by (stepwise) expectation-maximisation, not by gradients. For
    every facet the statistics hold p(Y_parent, Y_f), for every pouch its moments a state.
    """

    floor: Tensor

    def __init__(self, structure: Structure) -> None:
        super().__init__()
        self.structure = structure
        self.register_buffer("floor", torch.tensor(1e-6))
        for facet, (states, parent) in enumerate(
            zip(structure.n_states, structure.parents, strict=True)
        ):
            rows = structure.n_states[parent] if facet else 1
            self.register_buffer(f"joint_{facet}", torch.full((rows, states), 1 / rows / states))
        self.leaves = nn.ModuleList(
            Pouch(facet, dimensions, structure.n_states[facet])
            for facet, pouches in enumerate(structure.pouches)
            for dimensions in pouches
        )

    @property
    def pouches(self) -> list[Pouch]:
        """The leaves of the tree."""
        return cast(list[Pouch], list(self.leaves))

    # ------------------------------------------------------------------------ message passing

    def log_table(self, facet: int) -> Tensor:
        """Return log p(Y_f | Y_parent), shape (K_parent, K_f); one row for the root."""
        joint: Tensor = getattr(self, f"joint_{facet}")
        # A state that holds no row keeps a finite logarithm.
        return (joint + SMALLEST).log().log_softmax(-1)

    def collect(self, z: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Pass messages from the leaves to the root, for latents (..., D).

        Returns
        -------
        list of Tensor
            Of each facet log p(z below it | Y_f), shape (..., K_f).
        list of Tensor
            Of each facet but the root, its message log p(z below it | Y_parent), (..., K_parent);
            the first is empty.
        """
        below = [z.new_zeros(*z.shape[:-1], states) for states in self.structure.n_states]
        for pouch in self.pouches:
            below[pouch.facet] = below[pouch.facet] + pouch.log_prob(z)
        messages = [z.new_empty(0)] * len(below)
        for facet in reversed(range(1, len(below))):
            parent = self.structure.parents[facet]
            messages[facet] = (self.log_table(facet) + below[facet].unsqueeze(-2)).logsumexp(-1)
            below[parent] = below[parent] + messages[facet]
        return below, messages

    def log_prob_y(self) -> Tensor:
        return self.log_table(0)[0]

    def log_joint(self, z: Tensor) -> Tensor:
        return self.log_prob_y() + self.collect(z)[0][0]

    def log_pairs(self, z: Tensor, log_r: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """Return log p(z) (...) and log p(Y_parent, Y_f | z) of each facet (..., K_parent, K_f).

        Parameters
        ----------
        z : Tensor of shape (..., D)
        log_r : Tensor of shape (..., K), optional
            Log responsibilities at which the root is held in place of its posterior; the others
            follow from them: r(Y_0) p(Y_1, ... | Y_0, z).
        """
        below, messages = self.collect(z)
        log_joint = self.log_prob_y() + below[0]
        log_p = log_joint.logsumexp(-1)
        root = log_joint - log_p.unsqueeze(-1) if log_r is None else log_r
        marginals, pairs = [root], [root.unsqueeze(-2)]
        for facet, parent in enumerate(self.structure.parents[1:], start=1):
            down = self.log_table(facet) + below[facet].unsqueeze(-2)
            pair = marginals[parent].unsqueeze(-1) + down - messages[facet].unsqueeze(-1)
            pairs.append(pair)
            marginals.append(pair.logsumexp(-2))
        return log_p, pairs

    def facets(self, z: Tensor) -> list[Tensor]:
        """Return log p(Y_f | z) of each facet, (..., K_f)."""
        return [pair.logsumexp(-2) for pair in self.log_pairs(z)[1]]

    # ------------------------------------------------------------------------------- learning

    @torch.no_grad()
    def start(self, z: Tensor, responsibilities: Sequence[Tensor], floor: float) -> None:
        """Take the moments of rows z (N, D) under responsibilities (N, K_f) of each facet."""
        self.floor.fill_(floor)
        for first in range(0, len(z), CHUNK):
            rows = slice(first, first + CHUNK)
            r = [facet[rows] for facet in responsibilities]
            pairs = [r[0].unsqueeze(-2)]
            for own, parent in zip(r[1:], self.structure.parents[1:], strict=True):
                pairs.append(r[parent].unsqueeze(-1) * own.unsqueeze(-2))
            # A step as large as their share of the rows so far: every row weighs the same.
            self._move(z[rows], pairs, len(r[0]) / (first + len(r[0])))

    @torch.no_grad()
    def update(self, z: Tensor, step: float = 1.0, log_r: Tensor | None = None) -> Tensor:
        """Take one step of EM on rows z (B, D) and return log p(z) from before it, (B,).

        With a step of 1 that of EM itself; with less the statistics move that share of the way
        to those of the rows (Cappé & Moulines 2009, "Online expectation-maximisation").
        """
        log_p, pairs = self.log_pairs(z, log_r)
        self._move(z, [pair.exp() for pair in pairs], step)
        return log_p

    def _move(self, z: Tensor, pairs: Sequence[Tensor], step: float) -> None:
        for pouch in self.pouches:
            kept: Tensor = getattr(self, f"joint_{pouch.facet}").sum(0)
            pouch.update(z, pairs[pouch.facet].sum(-2), kept, step, self.floor)
        for facet, pair in enumerate(pairs):
            joint: Tensor = getattr(self, f"joint_{facet}")
            setattr(self, f"joint_{facet}", torch.lerp(joint, pair.mean(0), step))

    def fit(self, z: Tensor, n_steps: int, tolerance: float = 1e-4) -> float:
        """Repeat EM until the mean log p(z) gains less than `tolerance`; return it."""
        before = -float("inf")
        for _ in range(n_steps):
            now = float(self.update(z).mean())
            if now - before < tolerance:
                break
            before = now
        return float(self.log_prob(z).mean())

    def bic(self, z: Tensor) -> float:
        """Return the Bayesian information criterion of rows z (N, D): the larger, the better."""
        penalty = 0.5 * self.structure.n_parameters() * torch.tensor(float(len(z))).log()
        return float(self.log_prob(z).sum() - penalty)

    # ----------------------------------------------------------------------- as a mixture of z

    @property
    def loc(self) -> Tensor:  # type: ignore[override]
        """E[z | Y_0], shape (K, D)."""
        loc = self.floor.new_zeros(self.structure.n_states[0], self.structure.n_latent)
        for pouch in self.pouches:
            loc[:, pouch.dimensions] = self._given(pouch.facet) @ pouch.loc
        return loc

    def covariances(self) -> Tensor:
        """Return the covariances of z given Y_0, whatever lies between, shape (K, D, D)."""
        loc, width = self.loc, self.structure.n_latent
        covariances = loc.new_zeros(len(loc), width, width)
        # What the mean of each state of a pouch is away from the mean given the root.
        away = [pouch.loc - loc[:, None, pouch.dimensions] for pouch in self.pouches]
        for one, from_one in zip(self.pouches, away, strict=True):
            for other, from_other in zip(self.pouches, away, strict=True):
                both = self._pair_given_root(one.facet, other.facet)
                block = torch.einsum("kij,kid,kje->kde", both, from_one, from_other)
                if one is other:
                    spread = one.spread()
                    within = spread @ spread.mT
                    block += torch.einsum("ki,ide->kde", self._given(one.facet), within)
                covariances[:, one.dimensions[:, None], other.dimensions] = block
        return covariances

    def scale_tril(self) -> Tensor:
        tril: Tensor = torch.linalg.cholesky(self.covariances())
        return tril

    def _given(self, facet: int, ancestor: int = 0) -> Tensor:
        """Return p(Y_facet | Y_ancestor), shape (K_ancestor, K_facet)."""
        if facet == ancestor:
            return torch.eye(self.structure.n_states[facet]).to(self.floor)
        above = self._given(self.structure.parents[facet], ancestor)
        return above @ self.log_table(facet).exp()

    def _pair_given_root(self, f: int, g: int) -> Tensor:
        """Return p(Y_f, Y_g | Y_0), shape (K_0, K_f, K_g)."""
        # Parents come before children: the last common ancestor is where the two lines meet.
        meeting = max(set(self._line(f)) & set(self._line(g)))
        parts = self._given(meeting), self._given(f, meeting), self._given(g, meeting)
        return torch.einsum("kc,ci,cj->kij", *parts)

    def _line(self, facet: int) -> list[int]:
        line = [facet]
        while line[-1] > 0:
            line.append(self.structure.parents[line[-1]])
        return line

    def reorder(self, order: Tensor) -> None:
        self.reorder_facet(0, order)

    @torch.no_grad()
    def reorder_facet(self, facet: int, order: Tensor) -> None:
        """Renumber the states of a facet: state order[i] becomes state i."""
        joint: Tensor = getattr(self, f"joint_{facet}")
        setattr(self, f"joint_{facet}", joint[:, order])
        for child, parent in enumerate(self.structure.parents):
            if child and parent == facet:
                below: Tensor = getattr(self, f"joint_{child}")
                setattr(self, f"joint_{child}", below[order])
        for pouch in self.pouches:
            if pouch.facet == facet:
                for name in ("loc", "covariance", "whitening", "log_det"):
                    setattr(pouch, name, getattr(pouch, name)[order])

    def sample(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw z given states y (n,) of the root, shape (n, D): the other facets, then pouches."""
        states = [y]
        for facet, parent in enumerate(self.structure.parents[1:], start=1):
            table = self.log_table(facet).exp()[states[parent]]
            states.append(torch.multinomial(table, 1, generator=generator)[:, 0])
        z = self.floor.new_empty(len(y), self.structure.n_latent)
        for pouch in self.pouches:
            state = states[pouch.facet]
            noise = torch.randn(len(y), len(pouch.dimensions), generator=generator).to(z)
            drawn = torch.einsum("nij,nj->ni", pouch.spread()[state], noise)
            z[:, pouch.dimensions] = pouch.loc[state] + drawn
        return z
