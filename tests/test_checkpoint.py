"""A fit that was killed goes on to the same bits, and a broken checkpoint says so."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.killing import Killed, Killer
from torch import Tensor

import deepmixture
from deepmixture import checkpoint
from deepmixture.estimator import LatentMixtureEstimator
from deepmixture.progress import Silent

Make = Callable[..., LatentMixtureEstimator]
FEW = {"pretrain_epochs": 2, "epochs": 3}


class Stopper(Killer):
    """Stop the fit cleanly at one of its steps, as Ctrl-C does."""

    def step(self) -> bool:
        self.left -= 1
        return self.left < 0


def state(estimator: LatentMixtureEstimator) -> dict[str, Tensor]:
    """All tensors of a fitted estimator."""
    found = dict(estimator.model_.state_dict())
    return found | {"labels": torch.from_numpy(estimator.labels_)}


def assert_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value.equal(other[name]), name


def few(name: str) -> dict[str, object]:
    """Settings of a fit of some tens of steps that passes through every stage."""
    settings: dict[str, object] = {"pretrain_epochs": 2, "batch_size": 40}
    if name not in ("ae-gmm", "vae-gmm", "n2d"):
        settings["epochs"] = 4
    if name == "deepmixture":
        settings |= {"refine_epochs": 2, "n_init": 2}
    if name in ("dec", "idec"):
        settings["update_steps"] = 6
    if name == "nvisa":
        settings["gradient"] = "nvil"
    if name == "ltvae":
        settings |= {"facets": "search", "search_epochs": 1, "hold_epochs": 2, "n_latent": 3}
    if "epochs" not in settings:
        settings["pretrain_epochs"] = 6
    return settings


@pytest.mark.parametrize("name", deepmixture.MODELS)
def test_a_fit_killed_again_and_again_ends_in_the_same_bits(
    name: str, make: Make, blobs: np.ndarray, tmp_path: Path
) -> None:
    whole = make(name, **few(name)).fit(blobs)
    kills = 0
    while True:
        # Every third time the stage in hand is begun again, for want of a checkpoint within it.
        killer = Killer(steps=3 + kills % 3)
        every = 1e9 if kills % 3 == 2 else 0.0
        try:
            pieces = make(name, **few(name))
            pieces.fit(blobs, callback=killer, resume_from=tmp_path, checkpoint_every=every)
        except Killed:
            kills += 1
            assert kills < 200
            continue
        break
    assert kills > 2
    assert_same(state(whole), state(pieces))
    assert len(whole.history_) == len(pieces.history_)
    for record, other in zip(whole.history_, pieces.history_, strict=True):
        assert {**record, "seconds": 0} == {**other, "seconds": 0}


def test_a_stopped_fit_can_be_gone_on_with(make: Make, blobs: np.ndarray, tmp_path: Path) -> None:
    whole = make(**FEW).fit(blobs)
    stopped = make(**FEW).fit(blobs, callback=Stopper(9), resume_from=tmp_path)
    assert stopped.interrupted_
    on = make(**FEW).fit(blobs, resume_from=tmp_path)
    assert not on.interrupted_
    assert_same(state(whole), state(on))


def test_a_seed_that_was_drawn_is_kept(make: Make, blobs: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        make(random_state=None, **FEW).fit(blobs, callback=Killer(9), resume_from=tmp_path)
    one = make(random_state=None, **FEW).fit(blobs, resume_from=tmp_path)
    again = make(random_state=None, **FEW).fit(blobs, resume_from=tmp_path)
    assert one.seed_ == again.seed_
    assert_same(state(one), state(again))


def test_the_guard_against_nan_goes_on_too(blobs: np.ndarray, tmp_path: Path) -> None:
    # The first steps break, so that the rate is a third from then on.
    def fit(folder: Path | None, steps: int = 10**6) -> LatentMixtureEstimator:
        breaking = BreakingModel()
        return breaking.fit(blobs, folder, Killer(steps))

    whole = fit(None)
    for steps in (3, 8, 13):
        with pytest.raises(Killed):
            fit(tmp_path, steps)
    pieces = fit(tmp_path)
    assert whole.keys() == pieces.keys()
    assert_same(whole, pieces)


class BreakingModel:
    """A stage whose loss is NaN in its second epoch, as long as the rate is high."""

    def fit(self, rows: np.ndarray, folder: Path | None, callback: Silent) -> dict[str, Tensor]:
        from deepmixture import engine, schedules
        from deepmixture.hardware import choose_hardware

        class Line(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                torch.manual_seed(0)
                self.line = torch.nn.Linear(rows.shape[1], 1)

            def forward(self, x: Tensor, knobs: object) -> tuple[Tensor, dict[str, Tensor]]:
                distance = (self.line.weight.detach() - self.first).abs().max()
                loss = self.line(x).square().mean()
                return loss + torch.where(distance > 0.2, torch.nan, 0.0), {}

        model = Line()
        model.first = model.line.weight.detach().clone()
        x = torch.from_numpy(rows).float()
        stage = engine.Stage("line", 6, schedules.constant(0.05), batch_size=40)
        step = engine.NOT_SAVED
        if folder is not None:
            step = checkpoint.Journal(folder, {}, {}, every=0.0).step("line")
        hardware = choose_hardware("cpu", "float32")
        history, _ = engine.train(model, [x], stage, hardware, 0, callback, step)
        assert any("rate_factor" in record for record in history) or folder is not None
        return dict(model.state_dict())


# ------------------------------------------------------------------------------------- a real kill

FITS = """
import hashlib, os, random, signal, sys, time
import numpy as np, torch
torch.set_num_threads(1)
import deepmixture
from sklearn import mixture  # imported once, before the fits are forked off
from deepmixture import cluster, starts, engine, checkpoint
import lightning_fabric, safetensors.torch

rng = np.random.default_rng(0)
blobs = 8.0 * rng.normal(size=(3, 4))[rng.integers(0, 3, 400)] + rng.normal(size=(400, 4))

def fit(folder):
    estimator = deepmixture.DeepMixture(
        n_clusters=3, hidden=(64,), n_latent=2, start="gmm", pretrain_epochs=20, refine_epochs=20,
        epochs=20, batch_size=40, precision="float32", random_state=0)
    estimator.fit(blobs, resume_from=folder, checkpoint_every=0.02)
    digest = hashlib.sha256()
    for value in [*estimator.model_.state_dict().values(), torch.from_numpy(estimator.labels_)]:
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()

def forked(folder, file):
    child = os.fork()
    if child == 0:
        try:
            with open(file, "w") as stream:
                stream.write(fit(folder))
        finally:
            os._exit(0)
    return child

def wait(child):
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])

base = sys.argv[1]
wanted, kills, fits, moments = int(sys.argv[2]), 0, 0, random.Random(0)
began = time.monotonic()
wait(forked(None, base + "/whole"))
whole, seconds = open(base + "/whole").read(), time.monotonic() - began
while kills < wanted:
    fits += 1
    folder, file = f"{base}/fit{fits}", f"{base}/found{fits}"
    while True:
        child = forked(folder, file)
        if kills >= wanted:
            assert not wait(child)
            break
        time.sleep(moments.uniform(0.0, 0.5 * seconds))
        os.kill(child, signal.SIGKILL)
        if not wait(child):
            break
        kills += 1
    found = open(file).read()
    assert found == whole and len(found) == 64, (found, whole)
print(kills, "kills in", fits, "fits, all with the bits of the fit that was not killed")
"""


def test_sigkill_at_random_moments(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FITS, str(tmp_path), "25"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("25 kills")


# ------------------------------------------------------------------------------ what can go wrong


@pytest.fixture
def begun(make: Make, blobs: np.ndarray, tmp_path: Path) -> Path:
    """The checkpoints of a fit that was killed in its last stage but one."""
    with pytest.raises(Killed):
        make(**FEW).fit(blobs, callback=Killer(12), resume_from=tmp_path, checkpoint_every=0)
    return tmp_path


def newest(folder: Path) -> Path:
    return max(file for file in folder.glob("*.safetensors") if "previous" not in file.name)


@pytest.mark.parametrize("damage", ["half", "empty", "bit"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    damage: str, begun: Path, make: Make, blobs: np.ndarray
) -> None:
    file = newest(begun)
    content = bytearray(file.read_bytes())
    if damage == "bit":
        content[-1] ^= 1
    kept = {"half": len(content) // 2, "empty": 0, "bit": len(content)}[damage]
    file.write_bytes(content[:kept])
    with pytest.warns(UserWarning, match=f"{file.name} is damaged.*an earlier state is taken"):
        found = make(**FEW).fit(blobs, resume_from=begun)
    assert_same(state(make(**FEW).fit(blobs)), state(found))


def test_a_damaged_result_is_computed_again(begun: Path, make: Make, blobs: np.ndarray) -> None:
    min(begun.glob("*.safetensors")).write_bytes(b"nothing")
    with pytest.warns(UserWarning, match="is damaged"):
        found = make(**FEW).fit(blobs, resume_from=begun)
    assert_same(state(make(**FEW).fit(blobs)), state(found))


def test_other_settings_are_refused(begun: Path, make: Make, blobs: np.ndarray) -> None:
    files = {file: file.read_bytes() for file in begun.iterdir()}
    with pytest.raises(ValueError, match=r"of another fit: learning_rate was 0\.01 and is 0\.1"):
        make(**FEW, learning_rate=0.1).fit(blobs, resume_from=begun)
    with pytest.raises(ValueError, match="of another fit: values was"):
        make(**FEW).fit(blobs + 1e-3 * (blobs > 1), resume_from=begun)
    with pytest.raises(ValueError, match="model was 'vade' and is 'ae-gmm'"):
        make("ae-gmm").fit(blobs, resume_from=begun)
    assert files == {file: file.read_bytes() for file in begun.iterdir()}


def test_what_is_no_folder_of_checkpoints_is_refused(
    make: Make, blobs: np.ndarray, tmp_path: Path
) -> None:
    file = tmp_path / "thesis.txt"
    file.write_text("of years")
    with pytest.raises(ValueError, match=r"is a file; expected a folder"):
        make(**FEW).fit(blobs, resume_from=file)
    with pytest.raises(ValueError, match=r"holds thesis\.txt and no fit\.json"):
        make(**FEW).fit(blobs, resume_from=tmp_path)
    (tmp_path / "fit.json").write_text("{")
    with pytest.raises(ValueError, match=r"fit\.json is damaged"):
        make(**FEW).fit(blobs, resume_from=tmp_path)
    (tmp_path / "fit.json").write_text(
        '{"format": "deepmixture checkpoint", "format_version": 99}'
    )
    with pytest.raises(ValueError, match="checkpoint format 99"):
        make(**FEW).fit(blobs, resume_from=tmp_path)


@pytest.mark.parametrize("every", ["soon", True])
def test_an_interval_that_is_no_number_is_refused(
    every: object, make: Make, blobs: np.ndarray
) -> None:
    with pytest.raises(TypeError, match="checkpoint_every must be a number of seconds"):
        make().fit(blobs, checkpoint_every=every)
    with pytest.raises(ValueError, match="at least 0 seconds"):
        make().fit(blobs, checkpoint_every=-1.0)


def test_a_full_disk_is_told_and_leaves_the_checkpoint_before(
    make: Make, blobs: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        make(**FEW).fit(blobs, callback=Killer(12), resume_from=tmp_path, checkpoint_every=0)
    files = {file: file.read_bytes() for file in tmp_path.iterdir()}
    # A limit on the size of files ends a write as a full disk does.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(
            OSError, match=r"could not be written: File too large; that of '.*' is"
        ):
            make(**FEW).fit(blobs, resume_from=tmp_path, checkpoint_every=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert files == {file: file.read_bytes() for file in tmp_path.iterdir()}
    found = make(**FEW).fit(blobs, resume_from=tmp_path)
    assert_same(state(make(**FEW).fit(blobs)), state(found))


def test_other_circumstances_are_told(begun: Path, make: Make, blobs: np.ndarray) -> None:
    file = begun / "fit.json"
    file.write_text(file.read_text().replace('"threads": 1', '"threads": 96'))
    with pytest.warns(UserWarning, match="threads was 96 and is 1"):
        make(**FEW).fit(blobs, resume_from=begun)


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    one = torch.arange(6.0).reshape(2, 3)
    tree = {
        "tensors": [one, one, one.T, torch.tensor(1.5, dtype=torch.bfloat16), torch.zeros(0)],
        "arrays": (np.arange(3), np.array([], dtype=np.float64), np.eye(2)[::-1]),
        "plain": {1: None, "2": True, "e": 0.1 + 0.2, "inf": float("inf"), "s": "é"},
    }
    file = tmp_path / "tree.safetensors"
    file.write_bytes(checkpoint.as_bytes(tree, finished=True))
    found, finished = checkpoint.read_tree(file)
    assert finished
    assert found["plain"] == tree["plain"]
    for value, other in zip(tree["tensors"], found["tensors"], strict=True):
        assert value.dtype == other.dtype
        assert value.equal(other)
    for value, other in zip(tree["arrays"], found["arrays"], strict=True):
        assert value.dtype == other.dtype
        np.testing.assert_array_equal(value, other)
    with pytest.raises(TypeError, match="object cannot be part of a checkpoint"):
        checkpoint.as_bytes({"what": object()}, finished=True)
    assert os.path.getsize(file) < 3000
