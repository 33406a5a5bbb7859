"""Counts of simulated cells, whose kinds are known: sparse, as sequencing gives them."""

import numpy as np
from scipy import sparse

FEWEST_CELLS_A_GENE = 4
NOISE = 0.3  # biological coefficient of variation
CHANGED_GENES = 0.08  # share of the genes, in each kind
SPREAD = 0.4  # standard deviation of the logarithms of factors, and of depths


def cells(
    n_cells: int, n_genes: int, n_kinds: int, depth: float, shape: float, change: float, seed: int
) -> tuple[sparse.csr_array, np.ndarray]:
    """Return counts (N, F) and the kind of each cell, by the model of Zappia et al. (2017).

    "Splatter": the mean of a gene is gamma, in each kind 8% of the genes are changed by a factor
    that is log-normal, up or down, the depth of a cell is log-normal, and counts are Poisson with
    a gamma mean. Kinds differ in size (Dirichlet, 2).

    Parameters
    ----------
    n_cells, n_genes, n_kinds : int
    depth : float
        Median counts of a cell.
    shape : float
        Of the gamma: the smaller, the more genes are rare.
    change : float
        Mean logarithm of the factors.
    seed : int
    """
    rng = np.random.default_rng(seed)
    means = np.tile(rng.gamma(shape, 1.0, size=n_genes), (n_kinds, 1))
    for of_kind in means:
        changed = rng.random(n_genes) < CHANGED_GENES
        factors = np.exp(rng.normal(change, SPREAD, size=changed.sum()))
        up = rng.random(len(factors)) < 0.5
        of_kind[changed] *= np.where(up, factors, 1.0 / factors)
    kinds = rng.choice(n_kinds, n_cells, p=rng.dirichlet(np.full(n_kinds, 2.0)))
    share = means / means.sum(1, keepdims=True)
    expected = share[kinds] * np.exp(rng.normal(np.log(depth), SPREAD, size=(n_cells, 1)))
    counts = rng.poisson(rng.gamma(NOISE**-2, expected * NOISE**2))
    found = (counts > 0).sum(0) >= FEWEST_CELLS_A_GENE
    return sparse.csr_array(counts[:, found]), kinds


def logarithms(counts: sparse.csr_array) -> sparse.csr_array:
    """Return log(1 + x) of counts (N, F) in ten thousand of each cell."""
    shares = counts.multiply(10_000 / counts.sum(1)[:, None])
    return sparse.csr_array(shares).log1p()
