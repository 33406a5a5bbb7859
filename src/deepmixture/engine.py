"""The training loop: one for every model, on Lightning Fabric.

It knows no model: a model is called on a batch and gives a loss and named terms. Order and noise
are functions of (seed, stage, epoch), so a run can be repeated to the bit on one machine.
"""

import copy
import math
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from deepmixture.progress import Callback
from deepmixture.schedules import Schedule

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CHUNK = 512
STEPS_BETWEEN_STATES = 100
SLOWEST = 3.0**-2.5  # below a rate divided by three thrice
Record = dict[str, str | int | float]


def adam(parameters: Sequence[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    """Return Adam with its usual settings, in one pass over memory."""
    return torch.optim.Adam(parameters, lr=rate, fused=True)


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    Parameters
    ----------
    name : str
    epochs : int
    learning_rate : Schedule
        Of the progress through the stage.
    batch_size : int, default=256
    knobs : mapping of str to Schedule
        Quantities that move while the model trains, handed to it at every step.
    optimiser : callable, default=adam
        From parameters and a first rate to an optimiser.
    before_epoch : callable, optional
        Called with the number of the epoch, from 0, before it begins: it may change the tensors
        that are trained on in place, and ends the stage by returning True.
    """

    name: str
    epochs: int
    learning_rate: Schedule
    batch_size: int = 256
    knobs: Mapping[str, Schedule] = field(default_factory=dict)
    optimiser: Callable[[Sequence[nn.Parameter], float], torch.optim.Optimizer] = adam
    before_epoch: Callable[[int], bool] | None = None


@dataclass(frozen=True)
class Hardware:
    """Where the computation runs, and in which precision it multiplies matrices."""

    device: torch.device
    bfloat16: bool

    def __str__(self) -> str:
        return f"{self.device.type}, {'bfloat16 autocast' if self.bfloat16 else 'float32'}"


class TrainingDiverged(ArithmeticError):
    """The loss became NaN or infinite; the message names stage, epoch, term and remedies."""


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


def derive_seed(seed: int, *parts: str | int) -> int:
    """Return a seed that is a function of `seed` and the parts, independent between parts."""
    words = [zlib.crc32(str(part).encode()) for part in parts]
    return int(np.random.SeedSequence([seed, *words]).generate_state(1, np.uint32)[0])


def seed_noise(seed: int, device: torch.device) -> None:
    """Seed the generators that a model on `device` draws from, and no other."""
    # torch.manual_seed would queue a call for every kind of accelerator, each time it is called.
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def train(
    model: nn.Module,
    tensors: Sequence[Tensor],
    stage: Stage,
    hardware: Hardware,
    seed: int,
    callback: Callback,
) -> tuple[list[Record], bool]:
    """Minimise the loss of `model` over the rows of `tensors`.

    Parameters
    ----------
    model : nn.Module
        Called as `model(*batch, knobs)`; returns the loss and its named terms.
    tensors : sequence of Tensor
        Each with N rows, on the device; a batch takes the same rows of each.
    stage : Stage
    hardware : Hardware
    seed : int
    callback : Callback
        Told of every epoch; asked after every step whether to stop.

    Returns
    -------
    list of dict
        One record an epoch: stage, epoch, seconds, learning_rate, loss and the terms.
    bool
        Whether the callback stopped the training.

    Raises
    ------
    TrainingDiverged
        If the loss is no longer finite, and was not three times before, each time from the last
        good state on with a third of the rate.
    """
    fabric = _fabric(hardware)
    learned = [p for p in model.parameters() if p.requires_grad]
    optimiser = stage.optimiser(learned, stage.learning_rate(0.0))
    model.train()

    n_rows = len(tensors[0])
    n_steps = math.ceil(n_rows / stage.batch_size)
    knobs = {name: torch.zeros((), device=hardware.device) for name in stage.knobs}
    callback.begin(stage.name, stage.epochs, n_steps)
    history: list[Record] = []
    stopped = False
    good = _State(model, optimiser)
    slower = 1.0
    first_break = ""
    epoch = 0
    while epoch < stage.epochs:
        began = time.perf_counter()
        if stage.before_epoch is not None:
            if stage.before_epoch(epoch):
                break
            model.train()
        epoch_seed = derive_seed(seed, stage.name, epoch)
        seed_noise(epoch_seed, hardware.device)
        order = torch.randperm(n_rows, generator=torch.Generator().manual_seed(epoch_seed))
        totals: dict[str, Tensor] = {}
        rate = 0.0
        done = 0
        # Splitting evenly leaves no last batch of a few rows with a gradient of noise.
        for index in order.to(hardware.device).tensor_split(n_steps):
            progress = (epoch * n_steps + done) / max(stage.epochs * n_steps - 1, 1)
            rate = slower * stage.learning_rate(progress)
            for group in optimiser.param_groups:
                group["lr"] = rate
            for name, schedule in stage.knobs.items():
                knobs[name].fill_(schedule(progress))
            # Fabric's wrappers of model, backward and optimiser cost two milliseconds a step.
            with fabric.autocast():
                loss, terms = model(*(tensor[index] for tensor in tensors), knobs)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            for name, term in {"loss": loss.detach(), **terms}.items():
                totals[name] = totals[name] + term if name in totals else term.clone()
            done += 1
            if callback.step():
                stopped = True
                break
        means = {name: float(total) / done for name, total in totals.items()}
        if not all(map(math.isfinite, means.values())):
            first_break = first_break or _where_it_broke(means, stage, epoch)
            if slower < SLOWEST:
                raise TrainingDiverged(first_break)
            good.restore(model, optimiser)
            slower /= 3.0
            epoch = good.epoch
            del history[epoch:]
            continue
        epoch += 1
        if (epoch - good.epoch) * n_steps >= STEPS_BETWEEN_STATES:
            good = _State(model, optimiser, epoch)
        record: Record = {"stage": stage.name, "epoch": epoch}
        if slower < 1.0:
            record["rate_factor"] = slower
        record |= {"seconds": time.perf_counter() - began, "learning_rate": rate, **means}
        history.append(record)
        callback.end_epoch(record)
        if stopped:
            break
    model.eval()
    return history, stopped


def _fabric(hardware: Hardware) -> "Fabric":
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.precision import MixedPrecision, Precision

    kind = hardware.device.type
    # Given as a plugin and not by name, the precision is not announced at every stage.
    plugin = MixedPrecision("bf16-mixed", device=kind) if hardware.bfloat16 else Precision()
    index = hardware.device.index
    devices = 1 if index is None or kind == "cpu" else [index]
    return Fabric(accelerator=kind, devices=devices, plugins=[plugin])


class _State:
    """A copy of model and optimiser, to step back to."""

    def __init__(self, model: nn.Module, optimiser: torch.optim.Optimizer, epoch: int = 0) -> None:
        self.epoch = epoch
        self.weights = {name: value.clone() for name, value in model.state_dict().items()}
        self.optimiser = copy.deepcopy(optimiser.state_dict())

    def restore(self, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        model.load_state_dict(self.weights)
        optimiser.load_state_dict(copy.deepcopy(self.optimiser))


def _where_it_broke(means: Mapping[str, float], stage: Stage, epoch: int) -> str:
    broken = [name for name, value in means.items() if not math.isfinite(value)]
    term = next((name for name in broken if name != "loss"), "loss")
    return (
        f"training diverged: {term} is {means[term]} in epoch {epoch + 1} of the stage "
        f"{stage.name!r}; try a smaller learning_rate, precision='float32', or look for "
        "extreme values in X (three times a smaller rate from the last good state did not help)"
    )


@torch.inference_mode()
def evaluate(
    function: Callable[[Tensor], Tensor], rows: Tensor, hardware: Hardware, chunk: int = CHUNK
) -> Tensor:
    """Apply `function` to rows (N, ...) in chunks and return the results (N, ...) on the CPU.

    Every chunk has the same number of rows, the last filled up with zeros: matrix multiplication
    rounds differently for different shapes, and the result of a row must not depend on which
    rows came with it.
    """
    results = []
    for start in range(0, len(rows), chunk):
        part = rows[start : start + chunk].to(hardware.device)
        filled = torch.zeros(chunk, *rows.shape[1:], dtype=rows.dtype, device=hardware.device)
        filled[: len(part)] = part
        results.append(function(filled)[: len(part)].cpu())
    return torch.cat(results)
