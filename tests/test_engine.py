"""The training loop: order, schedules, repeatability, stopping, divergence, and evaluation."""

import math
from collections.abc import Mapping
from itertools import chain

import pytest
import torch
from torch import Tensor, nn

from deepmixture import engine, nets, schedules, seeds
from deepmixture.engine import Stage, TrainingDiverged
from deepmixture.hardware import Hardware, choose_hardware
from deepmixture.likelihoods import Bernoulli
from deepmixture.models.autoencoder import VAE
from deepmixture.models.vade import VaDE
from deepmixture.priors import DiagonalMixture
from deepmixture.progress import Silent

CPU = Hardware(torch.device("cpu"), bfloat16=False)
CPU_BFLOAT16 = Hardware(torch.device("cpu"), bfloat16=True)
N_ROWS = 50


class Spy(nn.Module):
    """Note what it is called with; one weight, on which the loss has the slope one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.batches: list[list[int]] = []
        self.weights: list[float] = []
        self.knobs: list[dict[str, float]] = []

    def forward(self, x: Tensor, knobs: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        self.batches.append(x[:, 0].long().tolist())
        self.weights.append(self.weight.item())
        self.knobs.append({name: knob.item() for name, knob in knobs.items()})
        return self.weight + 0.0, {"mean_row": x.mean()}


class Recorder(Silent):
    """Note every call, and stop after a given step."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.began: list[tuple[str, int, int]] = []
        self.records: list[Mapping[str, object]] = []
        self.steps, self.stop_after = 0, stop_after

    def begin(self, stage: str, epochs: int, steps: int, done: int = 0) -> None:
        self.began.append((stage, epochs, steps))

    def step(self) -> bool:
        self.steps += 1
        return self.steps == self.stop_after

    def end_epoch(self, record: Mapping[str, object]) -> None:
        self.records.append(record)


def numbered() -> Tensor:
    return torch.arange(float(N_ROWS))[:, None]


def stage(epochs: int = 3, batch_size: int = 16, **changes: object) -> Stage:
    settings = {"learning_rate": schedules.constant(1e-2)} | changes
    return Stage("evidence", epochs, batch_size=batch_size, **settings)


def vade() -> VaDE:
    torch.manual_seed(0)
    encoder, decoder = nets.mlp_pair(6, 6, 2, hidden=(16, 16))
    return VaDE(encoder, nets.NormalHead(16, 2), decoder, Bernoulli(), DiagonalMixture(3, 2))


def rows(n_rows: int = 200) -> Tensor:
    """Two kinds of rows, with a little noise."""
    generator = torch.Generator().manual_seed(1)
    kind = torch.randint(2, (n_rows, 1), generator=generator)
    pattern = torch.tensor([0.9, 0.1, 0.9, 0.1, 0.9, 0.1])
    p = torch.where(kind == 1, pattern, 1 - pattern)
    return torch.bernoulli(p, generator=generator)


def test_every_row_is_seen_once_an_epoch_in_batches_of_even_size() -> None:
    spy = Spy()
    engine.train(spy, [numbered()], stage(), CPU, 0, Silent())
    assert [len(batch) for batch in spy.batches] == [13, 13, 12, 12] * 3
    epochs = [list(chain(*spy.batches[start : start + 4])) for start in (0, 4, 8)]
    for order in epochs:
        assert sorted(order) == list(range(N_ROWS))
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_a_batch_takes_the_same_rows_of_every_tensor() -> None:
    class Pairs(Spy):
        def forward(self, x: Tensor, y: Tensor, knobs: Mapping[str, Tensor]) -> object:
            assert torch.equal(y, x.square())
            return super().forward(x, knobs)

    spy = Pairs()
    engine.train(spy, [numbered(), numbered().square()], stage(epochs=1), CPU, 0, Silent())
    assert len(spy.batches) == 4


def test_learning_rate_and_knobs_follow_their_schedules_to_the_end() -> None:
    """With a constant gradient, Adam moves a weight by the learning rate at every step."""
    spy = Spy()
    knobs = {"kl_weight": schedules.linear(0.0, 1.0), "temperature": schedules.cosine(2.0, 0.5)}
    rate = schedules.linear(0.1, 0.01)
    engine.train(spy, [numbered()], stage(learning_rate=rate, knobs=knobs), CPU, 0, Silent())
    progress = torch.arange(12) / 11
    moves = -torch.tensor([*spy.weights, spy.weight.item()]).diff()
    torch.testing.assert_close(moves, 0.1 - 0.09 * progress, rtol=1e-4, atol=0)
    went = torch.tensor([knob["kl_weight"] for knob in spy.knobs])
    torch.testing.assert_close(went, progress)
    assert spy.knobs[0] == {"kl_weight": 0.0, "temperature": 2.0}
    assert spy.knobs[-1] == {"kl_weight": 1.0, "temperature": 0.5}


def test_history_and_callback_get_one_record_an_epoch() -> None:
    recorder = Recorder()
    rate = schedules.linear(0.5, 0.1)
    history, stopped = engine.train(
        Spy(), [numbered()], stage(batch_size=25, learning_rate=rate), CPU, 0, recorder
    )
    assert not stopped
    assert recorder.began == [("evidence", 3, 2)]
    assert recorder.steps == 6
    assert recorder.records == history
    assert list(history[0]) == [
        "stage", "epoch", "seconds", "learning_rate", "loss", "mean_row"
    ]  # fmt: skip
    assert [record["stage"] for record in history] == ["evidence"] * 3
    assert [record["epoch"] for record in history] == [1, 2, 3]
    assert [record["mean_row"] for record in history] == [pytest.approx(24.5)] * 3
    assert history[-1]["learning_rate"] == pytest.approx(0.1)
    assert history[0]["loss"] > history[1]["loss"] > history[2]["loss"]


def test_what_is_frozen_stays_and_the_model_is_left_evaluating() -> None:
    model = vade()
    model.encoder.requires_grad_(False)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    engine.train(model, [rows()], stage(epochs=1), CPU, 0, Silent())
    assert not model.training
    for name, weight in model.named_parameters():
        assert torch.equal(weight, before[name]) == name.startswith("encoder"), name


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    def trained(seed: int, disturbed: bool = False) -> tuple[dict[str, Tensor], list[float]]:
        model = vade()
        if disturbed:
            torch.rand(17)  # the state of the global generator must not matter
        history, _ = engine.train(model, [rows()], stage(), CPU, seed, Silent())
        return model.state_dict(), [record["loss"] for record in history]

    weights, losses = trained(7)
    again, losses_again = trained(7, disturbed=True)
    assert losses == losses_again
    assert all(torch.equal(weight, again[name]) for name, weight in weights.items())
    other, losses_other = trained(8)
    assert losses != losses_other
    assert not any(torch.equal(weight, other[name]) for name, weight in weights.items())


def test_derived_seeds_differ_by_seed_and_by_every_part() -> None:
    found = [
        seeds.derive_seed(*parts)
        for parts in [(0, "a", 1), (1, "a", 1), (0, "b", 1), (0, "a", 2), (0, "a"), (0, "a1")]
    ]
    assert len(set(found)) == len(found)
    assert seeds.derive_seed(0, "a", 1) == found[0]


def test_the_callback_stops_training_after_the_step() -> None:
    spy, recorder = Spy(), Recorder(stop_after=6)
    history, stopped = engine.train(spy, [numbered()], stage(), CPU, 0, recorder)
    assert stopped
    assert len(spy.batches) == recorder.steps == 6
    assert [record["epoch"] for record in history] == [1, 2]
    assert history[1]["mean_row"] == pytest.approx(
        sum(sum(batch) / len(batch) for batch in spy.batches[4:]) / 2
    )
    assert not spy.training


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_divergence_names_stage_epoch_and_term(value: float) -> None:
    class Diverges(Spy):
        def forward(self, x: Tensor, knobs: Mapping[str, Tensor]) -> object:
            super().forward(x, knobs)
            term = self.weight + (value if len(self.batches) > 4 else 0.0)
            return term, {"fine": x.mean(), "prior": term.detach()}

    recorder = Recorder()
    message = rf"prior is {value} in epoch 2 of the stage 'evidence'; try a smaller learning_rate"
    with pytest.raises(TrainingDiverged, match=message):
        engine.train(Diverges(), [numbered()], stage(), CPU, 0, recorder)
    assert len(recorder.records) == 1


def test_a_broken_step_is_taken_back_and_goes_on_at_a_smaller_rate() -> None:
    class BreaksOnce(Spy):
        def forward(self, x: Tensor, knobs: Mapping[str, Tensor]) -> object:
            super().forward(x, knobs)
            broken = len(self.batches) == 5
            loss = (self.weight - 1.0).square() + (float("nan") * self.weight if broken else 0.0)
            return loss, {"prior": loss.detach()}

    model = BreaksOnce()
    history, stopped = engine.train(model, [numbered()], stage(), CPU, 0, Recorder())
    assert not stopped
    assert [record["epoch"] for record in history] == list(range(1, stage().epochs + 1))
    assert model.weight.isfinite()
    assert history[-1]["rate_factor"] == pytest.approx(1 / 3)
    assert all(math.isfinite(float(record["loss"])) for record in history)


@pytest.mark.parametrize("hardware", [CPU, CPU_BFLOAT16], ids=str)
@pytest.mark.parametrize("kind", ["vade", "vae"])
def test_training_reduces_the_loss_in_either_precision(kind: str, hardware: Hardware) -> None:
    model: nn.Module = vade()
    if kind == "vae":
        model = VAE(model.encoder, model.head, model.decoder, model.likelihood)
    knobs = {"kl_weight": schedules.constant(1.0)}
    dtypes: set[torch.dtype] = set()
    model.decoder.register_forward_hook(lambda module, given, result: dtypes.add(result.dtype))
    history, _ = engine.train(model, [rows()], stage(25, 50, knobs=knobs), hardware, 0, Silent())
    assert history[-1]["loss"] < history[0]["loss"] - 0.5
    assert dtypes == {torch.bfloat16 if hardware.bfloat16 else torch.float32}
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    terms = [term for name, term in history[-1].items() if name in ("reconstruction", "prior")]
    assert all(torch.tensor(term).isfinite() for term in terms)


def test_terms_are_float32_under_bfloat16() -> None:
    model, x = vade().requires_grad_(False), rows(8)
    noise = torch.randn(2, 8, 2)
    with torch.autocast("cpu", torch.bfloat16):
        low = model.bound(x, noise)
    for name, term in model.bound(x, noise).items():
        assert low[name].dtype == torch.float32
        torch.testing.assert_close(low[name], term, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("convolutional", [False, True])
def test_evaluation_of_a_row_does_not_depend_on_its_company(convolutional: bool) -> None:
    torch.manual_seed(0)
    if convolutional:
        encoder, decoder = nets.convolutional_pair((8, 8, 1), 1, 4, channels=(8, 8), width=32)
    else:
        encoder, decoder = nets.mlp_pair(64, 64, 4, hidden=(100, 32))
    head = nets.NormalHead(32, 4)
    decoder = nets.LeadingDimensions(decoder)
    model = VaDE(encoder, head, decoder, Bernoulli(), DiagonalMixture(3, 4)).eval()
    x, noise = torch.rand(300, 64), torch.randn(3, 1, 4)

    def answers(part: Tensor) -> Tensor:
        bound = model.log_weights(part, noise).logsumexp(0)
        return torch.cat([model.latent(part), model.log_q_y(part), bound[:, None]], 1)

    together = engine.evaluate(answers, x, CPU, chunk=128)
    assert together.shape == (300, 8)
    for row in (0, 127, 128, 299):
        assert torch.equal(engine.evaluate(answers, x[row : row + 1], CPU, 128)[0], together[row])
    order = torch.randperm(300)
    assert torch.equal(engine.evaluate(answers, x[order], CPU, 128), together[order])
    torch.testing.assert_close(together, answers(x).detach())


def test_evaluation_keeps_no_graph() -> None:
    assert not engine.evaluate(nn.Linear(2, 3), torch.randn(5, 2), CPU).requires_grad


def test_hardware_is_chosen_by_name() -> None:
    assert choose_hardware("cpu", "float32") == CPU
    assert choose_hardware("cpu", "bfloat16") == CPU_BFLOAT16
    assert str(CPU) == "cpu, float32"
    assert str(CPU_BFLOAT16) == "cpu, bfloat16 autocast"


@pytest.mark.parametrize("native", [False, True])
def test_automatic_precision_asks_the_processor(
    native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for question in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, question, lambda: native, raising=False)
    assert choose_hardware("cpu").bfloat16 is native
    assert not choose_hardware("cpu", "float32").bfloat16


def test_automatic_device_is_the_cpu_where_there_is_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_hardware().device.type == "cpu"


@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [
        ("warp", "auto", r"device='warp' cannot be used here .*expected 'auto', 'cpu'"),
        ("cuda:99", "auto", r"device='cuda:99' cannot be used here"),
        ("cpu", "float16", r"precision='float16' is not known; expected 'auto', 'float32' or"),
    ],
)
def test_hardware_that_is_not_there(device: str, precision: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose_hardware(device, precision)
