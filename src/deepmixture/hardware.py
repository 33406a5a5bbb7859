"""Where the computation runs, on how many threads, and in which precision."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from lightning_fabric import Fabric

SMALL_STEP = 2**27
"""Weights times rows of a batch, up to which a step of fully connected layers has one thread. With
two, steps of tables, which have fewer, are no shorter; those of images and embeddings are."""


@dataclass(frozen=True)
class Hardware:
    """Where the computation runs, and in which precision it multiplies matrices."""

    device: torch.device
    bfloat16: bool

    def __str__(self) -> str:
        return f"{self.device.type}, {'bfloat16 autocast' if self.bfloat16 else 'float32'}"


def choose_hardware(device: str = "auto", precision: str = "auto") -> Hardware:
    """Resolve "auto": CUDA, then MPS, then CPU; bfloat16 where it is multiplied natively.

    Raises
    ------
    ValueError
        If a name is not known or the device is not there.
    """
    if device == "auto":
        mps = torch.backends.mps.is_available()
        device = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device={device!r} cannot be used here ({str(error).splitlines()[0]}); "
            "expected 'auto', 'cpu', or an accelerator that this machine has, such as 'cuda'"
        ) from None
    if precision not in ("auto", "float32", "bfloat16"):
        raise ValueError(
            f"precision={precision!r} is not known; expected 'auto', 'float32' or 'bfloat16'"
        )
    native = {"cuda": _cuda_multiplies_bfloat16, "cpu": _cpu_multiplies_bfloat16}
    bfloat16 = precision == "bfloat16" or (
        precision == "auto" and native.get(chosen.type, lambda: False)()
    )
    return Hardware(chosen, bfloat16)


def _cuda_multiplies_bfloat16() -> bool:
    return torch.cuda.get_device_capability()[0] >= 8


def _cpu_multiplies_bfloat16() -> bool:
    # Older torch versions lack the one or the other question; then the answer is no.
    questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, question, lambda: False)() for question in questions)


@contextmanager
def one_thread() -> Iterator[None]:
    """Give BLAS and OpenMP one thread.

    Threads that share out little work wait for one another at every product. Alone on a machine
    they gain nothing; beside other processes each waits until all others have had their turn.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


@contextmanager
def threads_kept() -> Iterator[None]:
    """Give torch back the threads it had: numba, where it shares its OpenMP, sets all cores."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def threads_for(model: nn.Module, batch_size: int) -> Iterator[None]:
    """Give the steps of a model one thread where they are small, and else those that torch has."""
    weights = list(model.parameters())
    # The weights of a convolution say little of its work.
    dense = all(weight.ndim <= 2 for weight in weights)
    small = dense and batch_size * sum(weight.numel() for weight in weights) <= SMALL_STEP
    with threads_kept():
        if small:
            torch.set_num_threads(1)
        yield


def fabric(hardware: Hardware) -> "Fabric":
    """Return the Fabric whose autocast has that precision."""
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.precision import MixedPrecision, Precision

    kind = hardware.device.type
    # Given as a plugin and not by name, the precision is not announced at every stage.
    plugin = MixedPrecision("bf16-mixed", device=kind) if hardware.bfloat16 else Precision()
    index = hardware.device.index
    devices = 1 if index is None or kind == "cpu" else [index]
    return Fabric(accelerator=kind, devices=devices, plugins=[plugin])
