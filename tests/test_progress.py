"""The bar, its plain form, and stopping by Ctrl-C."""

import io
import signal
import threading
from collections.abc import Iterator

import pytest
from rich.console import Console

from deepmixture.progress import Bar, Callback, Silent, StopOnSignal


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Let SIGINT interrupt, as it does not where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def console(terminal: bool) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, force_terminal=terminal, width=120, color_system=None), file


def train(callback: Callback, epochs: int = 3, steps: int = 2) -> int:
    """Call `callback` as the training loop does; return the steps done."""
    done = 0
    callback.begin("training", epochs, steps)
    for epoch in range(1, epochs + 1):
        for _ in range(steps):
            done += 1
            if callback.step():
                return done
        callback.end_epoch(
            {"stage": "training", "epoch": epoch, "seconds": 9.5, "loss": 7.25 / epoch, "kl": 2.5}
        )
    return done


def test_a_terminal_sees_stage_epoch_and_terms() -> None:
    out, file = console(terminal=True)
    bar = Bar(out)
    train(bar)
    bar.close()
    last = file.getvalue()
    assert "training" in last
    assert "epoch 3/3" in last
    assert "loss 2.417" in last
    assert "kl 2.5" in last
    assert "9.5" not in last  # seconds are no term of the bound


def test_elsewhere_the_bar_is_silent_and_verbose_writes_a_line_a_stage() -> None:
    out, file = console(terminal=False)
    bar = Bar(out)
    train(bar)
    bar.close()
    assert file.getvalue() == ""

    bar = Bar(out, verbose=True)
    train(bar, epochs=2)
    train(bar, epochs=5)
    bar.close()
    bar.close()
    lines = file.getvalue().splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "training: epoch 2/2",
        "training: epoch 5/5",
    ]


def test_a_name_in_brackets_is_no_markup() -> None:
    out, file = console(terminal=False)
    bar = Bar(out, verbose=True)
    bar.begin("[bold]", 1, 1)
    bar.end_epoch({"epoch": 1, "loss": 1.0})
    bar.close()
    assert file.getvalue().startswith("[bold]: epoch 1/1")


def test_the_first_signal_stops_after_the_step_and_says_so_once() -> None:
    said: list[str] = []
    with StopOnSignal(Silent(), notice=said.append) as callback:
        assert train(callback) == 6
        signal.raise_signal(signal.SIGINT)
        assert train(callback) == 1
        assert callback.step()
        assert callback.stopped
    assert len(said) == 1


def test_the_second_signal_interrupts_and_the_old_handler_returns() -> None:
    before = signal.getsignal(signal.SIGINT)
    with StopOnSignal(Silent()):
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_calls_are_passed_on_and_the_callback_is_closed() -> None:
    class Recorder(Silent):
        def __init__(self) -> None:
            self.calls: list[str] = []

        def begin(self, stage: str, epochs: int, steps: int, done: int = 0) -> None:
            self.calls.append(f"{stage} {epochs} {steps}")

        def step(self) -> bool:
            self.calls.append("step")
            return True

        def end_epoch(self, record: object) -> None:
            self.calls.append("epoch")

        def close(self) -> None:
            self.calls.append("close")

    recorder = Recorder()
    with StopOnSignal(recorder) as callback:
        assert train(callback) == 1
        callback.end_epoch({})
    assert recorder.calls == ["training 3 2", "step", "epoch", "close"]


def test_in_another_thread_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def work() -> None:
        with StopOnSignal(Silent()) as callback:
            seen.append(signal.getsignal(signal.SIGINT))
            seen.append(train(callback))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before, 6]


def test_a_process_told_to_ignore_signals_does() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopOnSignal(Silent()) as callback:
            signal.raise_signal(signal.SIGINT)
            assert train(callback) == 6
    finally:
        signal.signal(signal.SIGINT, before)
