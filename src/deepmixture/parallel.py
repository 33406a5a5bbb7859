"""Data parallel training: several processes on one machine, each with its share of every batch.

All processes run the same program on the same rows and with the same seed. A batch is shared out
by rows. Random numbers that belong to rows are drawn for the whole batch in every process, which
takes those of its share; gradients, and what a model sums up over a batch, are added over the
processes. So a fit by several follows that by one, but for the order of additions. What is no
matter of rows, such as a start or a file, is that of the first process, which tells the others.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")
STARTED_BY_US = "DEEPMIXTURE_STARTED"
MEETING_PLACE = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "NODE_RANK", "LOCAL_RANK")
LONGEST_WAIT = timedelta(days=7)  # for a start, which the first process finds alone


class ProcessLost(ConnectionError):
    """Another process of the fit has ended."""


@dataclass(frozen=True)
class Share:
    """The rows from `start` to `stop` of a batch of `n_rows`."""

    n_rows: int
    start: int
    stop: int

    @property
    def weight(self) -> float:
        """Return the share as a part of one."""
        return (self.stop - self.start) / self.n_rows


class Processes:
    """The processes of a fit, as one of them sees them.

    Parameters
    ----------
    fabric : Fabric, optional
        Launched; without it there is one process.
    """

    def __init__(self, fabric: Fabric | None = None) -> None:
        self._fabric = fabric
        self.rank = 0 if fabric is None else fabric.global_rank
        self.size = 1 if fabric is None else fabric.world_size

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """Return the device of this process, where all were given the name of one."""
        if self._fabric is None or self._fabric.device.type == "cpu":
            return name
        return str(self._fabric.device)

    def once(self, compute: Callable[[], T]) -> T:
        """Compute something in the first process and tell the others."""
        return cast(T, self.tell(compute() if self.first else None))

    def tell(self, said: T) -> T:
        """Return what the first process said, in all; what another one says is not heard."""
        if self._fabric is None:
            return said
        with _told():
            told: Any = self._fabric.broadcast(said)
        return cast(T, told)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any of the processes."""
        if self._fabric is None:
            return flag
        return bool(self.add(torch.tensor([float(flag)], device=self._fabric.device)).item())

    def add(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes; it may be changed in place."""
        if self._fabric is None:
            return tensor
        with _told():
            summed = self._fabric.all_reduce(tensor, reduce_op="sum")
        return cast(Tensor, summed)

    def gather(self, tensor: Tensor, gradients: bool = False) -> Tensor:
        """Return the tensors (...) of all processes, equal in shape, as (size, ...)."""
        if self._fabric is None:
            return tensor[None]
        with _told():
            found = self._fabric.all_gather(tensor, sync_grads=gradients)
        return cast(Tensor, found)

    @contextmanager
    def sharing(self, n_rows: int) -> Iterator[Share]:
        """Let `share`, `whole_batch` and `total` know that a batch of `n_rows` is shared out."""
        global _share
        per_process, more = divmod(n_rows, self.size)
        start = self.rank * per_process + min(self.rank, more)
        _share = Share(n_rows, start, start + per_process + (self.rank < more))
        try:
            yield _share
        finally:
            _share = None


ALONE = Processes()
_joined: Processes | None = None
_others: list[subprocess.Popen[bytes]] = []
_current = ALONE
_share: Share | None = None


def current() -> Processes:
    """Return the processes of the fit that is going on."""
    return _current


@contextmanager
def among(devices: int, device: str) -> Iterator[Processes]:
    """Let what follows be the work of so many processes, which are started if they are not there.

    Raises
    ------
    ValueError
        See `join`.
    """
    global _current
    before, _current = _current, join(devices, device)
    try:
        yield _current
    finally:
        _current = before


def join(devices: int, device: str = "auto") -> Processes:
    """Return this program's processes, so many of them, and start those that are not there.

    The others run this program again from its beginning, unless torchrun started them.

    Raises
    ------
    ValueError
        If the program has another number of processes already, or cannot be run again because it
        is typed into an interpreter.
    """
    global _joined
    if devices == 1:
        return ALONE
    if _joined is None:
        _joined = _launch(devices, device)
    if _joined.size != devices:
        raise ValueError(f"devices={devices} cannot be had: {_joined.size} processes are running")
    return _joined


def helps() -> bool:
    """Whether this program was started to help the first process of a fit."""
    return os.environ.get("LOCAL_RANK", "0") != "0"


def _launch(devices: int, device: str) -> Processes:
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    if "LOCAL_RANK" not in os.environ:
        _start_others(devices)
    elif os.environ.get("WORLD_SIZE") != str(devices):
        raise ValueError(
            f"devices={devices}, but {os.environ.get('WORLD_SIZE', 'another number of')} "
            "processes were started; expected the same number"
        )
    elif STARTED_BY_US in os.environ:
        # Ctrl-C goes to all processes of a terminal; the first one stops, and tells the others.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    atexit.register(_part)
    kind = "auto" if device == "auto" else torch.device(device).type
    strategy = DDPStrategy(timeout=LONGEST_WAIT)
    fabric = Fabric(accelerator=kind, devices=devices, strategy=strategy)
    with _told():
        if "TORCHELASTIC_RESTART_COUNT" in os.environ:
            _meet(fabric.device.type)
        fabric.launch()
        fabric.barrier()
    if _others:
        # They are connected; a program that this one runs has processes of its own.
        for name in MEETING_PLACE:
            del os.environ[name]
    return Processes(fabric)


def _meet(kind: str) -> None:
    """Connect the processes that torchrun started, on a page of its own for every restart.

    Its store outlives the processes, and holds the addresses of those that have died.
    """
    from torch.distributed import (  # type: ignore[attr-defined]
        PrefixStore,
        TCPStore,
        init_process_group,
    )

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    theirs = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == str(True)
    store = TCPStore(address, port, size, is_master=not theirs and rank == 0)
    page = PrefixStore(f"attempt {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    backend = "nccl" if kind == "cuda" else "gloo"
    init_process_group(backend, store=page, rank=rank, world_size=size, timeout=LONGEST_WAIT)


def _part() -> None:
    """Close the connections while there is an interpreter yet.

    Threads of the backend may hold the last tensors; one that meets the interpreter's end aborts
    the program, whatever it has done.
    """
    from torch.distributed import destroy_process_group, is_initialized

    if is_initialized():
        destroy_process_group()


def _start_others(devices: int) -> None:
    """Run this program again, so often that there are `devices` processes."""
    import __main__

    module = getattr(__main__, "__spec__", None)
    if module is not None:
        command = [sys.executable, "-m", module.name, *sys.argv[1:]]
    elif hasattr(__main__, "__file__"):
        command = [sys.executable, os.path.abspath(sys.argv[0]), *sys.argv[1:]]
    else:
        raise ValueError(
            f"devices={devices} runs the program again in every process, and there is none to "
            "run: write it to a file, or use devices=1"
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= zip(MEETING_PLACE, ("127.0.0.1", str(port), str(devices), "0", "0"), strict=True)
    for rank in range(1, devices):
        theirs = {**os.environ, "LOCAL_RANK": str(rank), STARTED_BY_US: "1"}
        _others.append(subprocess.Popen(command, env=theirs))


@contextmanager
def _told() -> Iterator[None]:
    """Turn what a broken connection raises into one sentence."""
    try:
        yield
    except RuntimeError as error:
        raise ProcessLost(
            f"another process of this fit has ended ({str(error).splitlines()[0]})"
        ) from error


# ------------------------------------------------------------------------------ rows of a batch


def share() -> Share | None:
    """Return this process's share of the batch, where one is shared out now."""
    return _share


def whole_batch(tensor: Tensor, dim: int = 0) -> Tensor:
    """Return the rows of the whole batch, along `dim`, of which `tensor` has a share."""
    if _share is None:
        return tensor
    size = _current.size
    most = -(-_share.n_rows // size)
    rows = tensor.detach().movedim(dim, 0)
    filled = rows.new_zeros(most, *rows.shape[1:])
    filled[: len(rows)] = rows
    # The first shares have a row more where the batch cannot be shared out evenly.
    longer = _share.n_rows % size or size
    gathered = _current.gather(filled)
    parts = [part[: most - (rank >= longer)] for rank, part in enumerate(gathered)]
    return torch.cat(parts).movedim(0, dim)


def total(tensor: Tensor) -> Tensor:
    """Return the sum over the shares of a batch, with its gradient."""
    return tensor if _share is None else _current.gather(tensor, gradients=True).sum(0)


def add_gradients(parameters: Sequence[Tensor], terms: Sequence[Tensor]) -> list[Tensor]:
    """Add gradients, in place, and single numbers over the processes; return the numbers."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([part.reshape(-1) for part in (*gradients, *terms)])
    summed = torch.split(_current.add(flat), [part.numel() for part in (*gradients, *terms)])
    for gradient, part in zip(gradients, summed, strict=False):
        gradient.copy_(part.view_as(gradient))
    return [part.reshape(()) for part in summed[len(gradients) :]]
