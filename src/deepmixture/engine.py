"""The training loop: one for every model, on Lightning Fabric.

It knows no model: a model is called on a batch and gives a loss and named terms. Order and noise
are functions of (seed, stage, epoch), so a run can be repeated to the bit on one machine.
"""

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from deepmixture import parallel
from deepmixture.batches import ScaledRows, in_blocks, shuffled
from deepmixture.checkpoint import Step, Unsaved
from deepmixture.hardware import Hardware, fabric
from deepmixture.progress import Callback
from deepmixture.schedules import Schedule
from deepmixture.seeds import derive_seed, noise_state, seed_noise, set_noise_state

CHUNK = 512
STEPS_BETWEEN_STATES = 100
SLOWEST = 3.0**-2.5  # below a rate divided by three thrice
NOT_SAVED = Unsaved()
POSITION = ("epoch", "done", "totals", "seconds", "slower", "first_break")
Record = dict[str, str | int | float]


def adam(parameters: Sequence[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    """Return Adam with its usual settings, in one pass over memory."""
    return torch.optim.Adam(parameters, lr=rate, fused=True)


class Memory(Protocol):
    """What a stage changes beside the weights of its model, and a checkpoint holds with them."""

    def state_dict(self) -> dict[str, Any]:
        """Return it as containers, plain values and tensors."""

    def load_state_dict(self, state: dict[str, Any], /) -> object:
        """Take it back; called before the model's weights are."""


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
    memory : Memory, optional
        What `before_epoch` and the model change that is no weight of the model.
    """

    name: str
    epochs: int
    learning_rate: Schedule
    batch_size: int = 256
    knobs: Mapping[str, Schedule] = field(default_factory=dict)
    optimiser: Callable[[Sequence[nn.Parameter], float], torch.optim.Optimizer] = adam
    before_epoch: Callable[[int], bool] | None = None
    memory: Memory | None = None


class TrainingDiverged(ArithmeticError):
    """The loss became NaN or infinite; the message names stage, epoch, term and remedies."""


def train(
    model: nn.Module,
    tensors: Sequence[ScaledRows],
    stage: Stage,
    hardware: Hardware,
    seed: int,
    callback: Callback,
    step: Step | Unsaved = NOT_SAVED,
) -> tuple[list[Record], bool]:
    """Minimise the loss of `model` over the rows of `tensors`.

    Parameters
    ----------
    model : nn.Module
        Called as `model(*batch, knobs)`; returns the loss and its named terms.
    tensors : sequence of Tensor or OnDisk
        Each with N rows, tensors on the device; a batch takes the same rows of each.
    stage : Stage
    hardware : Hardware
    seed : int
    callback : Callback
        Told of every epoch; asked after every step whether to stop.
    step : Step, optional
        Where checkpoints are kept, and what is there is gone on from.

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
    training = _Training(model, tensors, stage, hardware, seed, callback, step)
    try:
        return training.run()
    finally:
        model.eval()


class _Training:
    """A stage while it is trained."""

    def __init__(
        self,
        model: nn.Module,
        tensors: Sequence[ScaledRows],
        stage: Stage,
        hardware: Hardware,
        seed: int,
        callback: Callback,
        step: Step | Unsaved,
    ) -> None:
        self.model, self.tensors, self.stage = model, tensors, stage
        self.hardware, self.seed, self.callback, self.step = hardware, seed, callback, step
        self.processes, self.fabric = parallel.current(), fabric(hardware)
        self.learned = [p for p in model.parameters() if p.requires_grad]
        self.optimiser = stage.optimiser(self.learned, stage.learning_rate(0.0))
        self.n_steps = math.ceil(len(tensors[0]) / stage.batch_size)  # in an epoch
        self.knobs = {name: torch.zeros((), device=hardware.device) for name in stage.knobs}
        self.history: list[Record] = []
        self.epoch, self.done = 0, 0  # epochs, and steps of the one in hand
        self.totals: dict[str, Tensor] = {}  # of the loss and its terms in this epoch
        self.seconds = 0.0  # of this epoch, before it was gone on with
        self.slower, self.first_break = 1.0, ""
        self.stopped = False

    def run(self) -> tuple[list[Record], bool]:
        """Train, from where the step stands to the end of the stage."""
        found = self.processes.once(self.step.load)
        if found is not None and found[1]:
            self._take_result(found[0])
            self.callback.recall(self.history)
            return self.history, False
        if found is None:
            self.good = self._state()
        else:
            self._go_on(found[0])
            self.callback.recall(self.history)
        done = self.epoch * self.n_steps + self.done
        self.callback.begin(self.stage.name, self.stage.epochs, self.n_steps, done)
        self.model.train()
        while self.epoch < self.stage.epochs and not self.stopped:
            began = time.perf_counter() - self.seconds
            if self.done == 0 and self._ends_before_epoch():
                break
            rate = self._run_epoch(began)
            self._end_epoch(rate, time.perf_counter() - began)
        if not self.stopped:
            self.step.save(self._result(), finished=True)
        return self.history, self.stopped

    def _ends_before_epoch(self) -> bool:
        if self.stage.before_epoch is None:
            return False
        ends = self.stage.before_epoch(self.epoch)
        self.model.train()
        return ends

    def _run_epoch(self, began: float) -> float:
        """Take the steps of an epoch that are left, and return the last learning rate."""
        stage, optimiser = self.stage, self.optimiser
        epoch_seed = derive_seed(self.seed, stage.name, self.epoch)
        if self.done == 0:
            self.totals = {}
            seed_noise(epoch_seed, self.hardware.device)
        device = self.hardware.device
        for batch in shuffled(self.tensors, self.n_steps, epoch_seed, device, self.done):
            rate = self._rate(self.done)
            for group in optimiser.param_groups:
                group["lr"] = rate
            for name, schedule in stage.knobs.items():
                self.knobs[name].fill_(schedule(self._progress(self.done)))
            terms = self._differentiate(batch)
            optimiser.step()
            for name, term in terms.items():
                before = self.totals.get(name)
                self.totals[name] = term.clone() if before is None else before + term
            self.done += 1
            self.stopped = self.processes.any(self.callback.step())
            if self.stopped or self.step.due():
                self.seconds = time.perf_counter() - began
                self.step.save(self._position())
            if self.stopped:
                break
        return self._rate(self.done - 1)

    def _differentiate(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Leave the gradient of the loss in the parameters; return the loss and its terms."""
        if self.processes.size > 1:
            return self._differentiate_share(batch)
        # Fabric's wrappers of model, backward and optimiser cost two milliseconds a step.
        with self.fabric.autocast():
            loss, terms = self.model(*batch, self.knobs)
        self.optimiser.zero_grad()
        loss.backward()
        return {"loss": loss.detach(), **terms}

    def _differentiate_share(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Do the same with this process's share of the batch, and add up over the processes."""
        with self.processes.sharing(len(batch[0])) as share:
            with self.fabric.autocast():
                mine = [tensor[share.start : share.stop] for tensor in batch]
                loss, terms = self.model(*mine, self.knobs)
            self.optimiser.zero_grad()
            (share.weight * loss).backward()
            named = {"loss": loss.detach(), **terms}
            parts = [share.weight * term.float() for term in named.values()]
            return dict(zip(named, parallel.add_gradients(self.learned, parts), strict=True))

    def _progress(self, done: int) -> float:
        done += self.epoch * self.n_steps
        return done / max(self.stage.epochs * self.n_steps - 1, 1)

    def _rate(self, done: int) -> float:
        return self.slower * self.stage.learning_rate(self._progress(done))

    def _end_epoch(self, rate: float, seconds: float) -> None:
        """Record the epoch, or step back from it to the last good state."""
        means = {name: float(total) / self.done for name, total in self.totals.items()}
        self.done, self.seconds = 0, 0.0
        if not all(map(math.isfinite, means.values())):
            self.first_break = self.first_break or _where_it_broke(means, self.stage, self.epoch)
            if self.slower < SLOWEST:
                raise TrainingDiverged(self.first_break)
            self._restore(self.good)
            self.slower /= 3.0
            self.epoch = self.good["epoch"]
            del self.history[self.epoch :]
            return
        self.epoch += 1
        if (self.epoch - self.good["epoch"]) * self.n_steps >= STEPS_BETWEEN_STATES:
            self.good = self._state()
        record: Record = {"stage": self.stage.name, "epoch": self.epoch}
        if self.slower < 1.0:
            record["rate_factor"] = self.slower
        record |= {"seconds": seconds, "learning_rate": rate, **means}
        self.history.append(record)
        self.callback.end_epoch(record)

    # ------------------------------------------------------------------------------ its state

    def _weights(self) -> dict[str, Any]:
        memory = self.stage.memory
        return {
            "memory": None if memory is None else memory.state_dict(),
            "weights": self.model.state_dict(),
        }

    def _load_weights(self, state: Mapping[str, Any]) -> None:
        if self.stage.memory is not None:
            self.stage.memory.load_state_dict(state["memory"])
        self.model.load_state_dict(state["weights"])

    def _state(self) -> dict[str, Any]:
        """Return a copy of what training changes, to step back to."""
        state = self._weights() | {"optimiser": self.optimiser.state_dict()}
        return {"epoch": self.epoch} | copy.deepcopy(state)

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._load_weights(state)
        # Copied, or the next steps would be written into the state.
        self.optimiser.load_state_dict(copy.deepcopy(state["optimiser"]))

    def _result(self) -> dict[str, Any]:
        noise = noise_state(self.hardware.device)
        return self._weights() | {"history": self.history, "noise": noise}

    def _take_result(self, result: Mapping[str, Any]) -> None:
        self._load_weights(result)
        self.history = result["history"]
        set_noise_state(result["noise"], self.hardware.device)

    def _position(self) -> dict[str, Any]:
        """Return all that a training needs to go on from this step."""
        state = self._result() | {"optimiser": self.optimiser.state_dict(), "good": self.good}
        return state | {name: getattr(self, name) for name in POSITION}

    def _go_on(self, position: Mapping[str, Any]) -> None:
        self._take_result(position)
        self._restore(position)
        self.good = position["good"]
        for name in POSITION:
            setattr(self, name, position[name])
        device = self.hardware.device
        self.totals = {name: total.to(device) for name, total in self.totals.items()}


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
    function: Callable[[Tensor], Tensor], rows: ScaledRows, hardware: Hardware, chunk: int = CHUNK
) -> Tensor:
    """Apply `function` to rows (N, ...) in chunks and return the results (N, ...) on the CPU.

    Every chunk has the same number of rows, the last filled up with zeros: matrix multiplication
    rounds differently for different shapes, and the result of a row must not depend on which
    rows came with it.
    """
    results = []
    for block in in_blocks(rows):
        for start in range(0, len(block), chunk):
            part = block[start : start + chunk].to(hardware.device)
            filled = torch.zeros(chunk, *part.shape[1:], dtype=part.dtype, device=part.device)
            filled[: len(part)] = part
            results.append(function(filled)[: len(part)].cpu())
    return torch.cat(results)
