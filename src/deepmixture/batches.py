"""Batches of rows in a random order: from memory, or in blocks from a scratch file.

Rows that are too many for memory are read in groups of blocks: the blocks in random order, and
within a group, which fits in memory, the rows in random order. A thread reads the next group
while the one before is trained on.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepmixture.data import scratch
from deepmixture.seeds import draw_rows

BLOCK_ROWS = 1024
GROUP_BYTES = 32 * 2**20


class OnDisk:
    """Scaled rows (N, F) in a scratch file.

    Parameters
    ----------
    values : memory map of shape (N, F), float32
    device : torch.device
        Where they are trained on; what is read is on the CPU.
    """

    def __init__(self, values: NDArray[np.float32], device: torch.device) -> None:
        self.values, self.device = values, device
        self.shape = torch.Size(values.shape)
        blocks = max(1, GROUP_BYTES // (4 * values.shape[1] * BLOCK_ROWS))
        self.group_rows = blocks * BLOCK_ROWS

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: slice) -> Tensor:
        """Return the rows of a slice, read into memory."""
        read = torch.from_numpy(np.array(self.values[index]))
        scratch.forget(self.values)
        return read

    def groups(self, seed: int, skip: int = 0) -> Iterator[Tensor]:
        """Yield the rows in groups of random blocks, each shuffled, but for the first `skip`."""
        order = np.random.default_rng(seed).permutation(math.ceil(len(self) / BLOCK_ROWS))
        per_group = self.group_rows // BLOCK_ROWS
        parts = [order[start : start + per_group] for start in range(0, len(order), per_group)]
        lengths = [sum(len(self._block(block)) for block in part) for part in parts]
        ends = np.cumsum(lengths)
        first = int(np.searchsorted(ends, skip, side="right"))

        def read(number: int) -> Tensor:
            rows = np.concatenate([self._block(block) for block in parts[number]])
            scratch.forget(self.values)
            shuffle = np.random.default_rng([seed, number]).permutation(len(rows))
            return torch.from_numpy(rows[shuffle])

        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(read, first) if first < len(parts) else None
            while ahead is not None:
                group = ahead.result()
                passed_over = max(0, skip - int(ends[first] - lengths[first]))
                first += 1
                ahead = reader.submit(read, first) if first < len(parts) else None
                yield group[passed_over:]

    def _block(self, number: int) -> NDArray[np.float32]:
        return self.values[number * BLOCK_ROWS : (number + 1) * BLOCK_ROWS]


ScaledRows = Tensor | OnDisk


def in_blocks(rows: ScaledRows) -> Iterator[Tensor]:
    """Yield rows (N, ...) in their order, in blocks that fit in memory; a tensor is one block."""
    if isinstance(rows, Tensor):
        yield rows
        return
    for start in range(0, len(rows), rows.group_rows):
        yield rows[start : start + rows.group_rows]


def sample(rows: ScaledRows, n_rows: int, seed: int) -> Tensor:
    """Return so many of the rows (n, F), drawn at random, in their order."""
    rng = np.random.default_rng(seed)
    drawn = draw_rows(rng, len(rows), n_rows)
    if isinstance(rows, Tensor):
        return rows[torch.from_numpy(drawn).to(rows.device)]
    found = torch.empty(len(drawn), *rows.shape[1:])
    start = done = 0
    for block in in_blocks(rows):
        inside = drawn[(drawn >= start) & (drawn < start + len(block))] - start
        found[done : done + len(inside)] = block[torch.from_numpy(inside)]
        start, done = start + len(block), done + len(inside)
    return found


def shuffled(
    tensors: Sequence[ScaledRows], n_batches: int, seed: int, device: torch.device, skip: int = 0
) -> Iterator[tuple[Tensor, ...]]:
    """Yield an epoch of batches in random order, as even in size as can be.

    Parameters
    ----------
    tensors : sequence of Tensor or OnDisk
        Each with N rows; a batch takes the same rows of each. Tensors are on the device; OnDisk
        stands alone.
    n_batches : int
    seed : int
        Decides the order.
    device : torch.device
    skip : int, default=0
        Batches that are left out at the beginning.
    """
    first = tensors[0]
    if isinstance(first, OnDisk):
        if len(tensors) > 1:
            raise TypeError("rows on disk are trained on without a companion")
        yield from ((batch.to(device),) for batch in _from_disk(first, n_batches, seed, skip))
        return
    order = torch.randperm(len(first), generator=torch.Generator().manual_seed(seed)).to(device)
    # Splitting evenly leaves no last batch of a few rows with a gradient of noise.
    for index in order.tensor_split(n_batches)[skip:]:
        yield tuple(tensor[index] for tensor in tensors if isinstance(tensor, Tensor))


def _from_disk(rows: OnDisk, n_batches: int, seed: int, skip: int) -> Iterator[Tensor]:
    small, larger = divmod(len(rows), n_batches)
    sizes = [small + 1] * larger + [small] * (n_batches - larger)
    groups = rows.groups(seed, sum(sizes[:skip]))
    left = torch.empty(0, *rows.shape[1:])
    for size in sizes[skip:]:
        while len(left) < size:
            left = torch.cat([left, next(groups)])
        batch, left = left[:size], left[size:]
        yield batch
