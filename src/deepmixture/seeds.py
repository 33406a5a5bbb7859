"""Seeds, and where the generators of random numbers stand."""

import zlib
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def derive_seed(seed: int, *parts: str | int) -> int:
    """Return a seed that is a function of `seed` and the parts, independent between parts."""
    words = [zlib.crc32(str(part).encode()) for part in parts]
    return int(np.random.SeedSequence([seed, *words]).generate_state(1, np.uint32)[0])


def draw_rows(rng: np.random.Generator, n_rows: int, at_most: int) -> NDArray[np.int64]:
    """Return the numbers, in their order, of at most so many of the rows, none drawn twice."""
    return np.sort(rng.choice(n_rows, min(n_rows, at_most), replace=False))


def seed_noise(seed: int, device: torch.device) -> None:
    """Seed the generators that a model on `device` draws from, and no other."""
    # torch.manual_seed would queue a call for every kind of accelerator, each time it is called.
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def noise_state(device: torch.device) -> dict[str, Tensor]:
    """Return where the generators stand that a model on `device` draws from, by device."""
    states = {"cpu": torch.default_generator.get_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_noise_state(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Put the generators where `noise_state` found them, those that are there."""
    torch.default_generator.set_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
    elif device.type == "mps" and "mps" in states:
        torch.mps.set_rng_state(states["mps"])
