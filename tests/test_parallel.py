"""Several processes: a fit by two follows the fit by one, and the loss of one loses nothing."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from deepmixture import VaDE, noise, parallel

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
PROGRAM = """
    import atexit, json, os, sys
    import numpy as np
    import deepmixture as dm
    from torch.distributed import is_initialized

    atexit.register(lambda: print("connected" if is_initialized() else "parted", flush=True))

    COMMON = dict(hidden=(32, 16), n_latent=3, batch_size=45, precision="float32", n_init=2,
                  random_state=0, pretrain_epochs=2, epochs=4)
    rng = np.random.default_rng(0)
    centres = 3.0 * rng.normal(size=(4, 12))
    table = centres[rng.integers(4, size=403)] + rng.normal(size=(403, 12))
    images = rng.random((403, 6, 6)) * (np.arange(403) % 4 == 0)[:, None, None]
    CASES = {
        "vade": (dm.VaDE, table, dict(start="gmm")),
        "vae": (dm.VAEGMM, table, dict(epochs=0)),
        "stacked": (dm.DEC, table, dict(pretraining="stacked", start="gmm")),
        "gmvae": (dm.GMVAE, table, dict(start="gmm", min_information=0.0)),
        "nvisa": (dm.NVISA, table, dict(start="gmm", gradient="top-k", n_samples=3)),
        "nvil": (dm.NVISA, table, dict(start="gmm", gradient="nvil", n_samples=2)),
        "gumbel": (dm.NVISA, table, dict(start="gmm", gradient="gumbel", n_samples=2)),
        "ltvae": (dm.LTVAE, table, dict(start="gmm")),
        "gm-gan": (dm.GMGAN, table, dict(start="gmm")),
        "neighbours": (dm.DeepMixture, table, dict(start="gmm", refine_epochs=2)),
        "mixup": (dm.DeepMixture, table, dict(start="gmm", refine_epochs=2, consistency="mixup")),
        "images": (dm.DeepMixture, images, dict(start="gmm", refine_epochs=2, n_rounds=1)),
    }
    found = {}
    for name, (make, X, settings) in CASES.items():
        settings = {**COMMON, **settings}
        if "epochs" not in make().get_params():
            del settings["epochs"]
        fits = [make(4, devices=devices, **settings).fit(X) for devices in (1, 2)]
        found[name] = dict(
            losses=[[record["loss"] for record in fit.history_] for fit in fits],
            stages=[record["stage"] for record in fits[0].history_],
            labels=[fit.labels_.tolist() for fit in fits],
            rank=dm.parallel.join(2).rank,
        )
    file = sys.argv[1] if found["vade"]["rank"] == 0 else sys.argv[1] + ".other"
    open(file + ".partial", "w").write(json.dumps(found))
    os.rename(file + ".partial", file)
"""


@pytest.fixture(scope="module")
def fits(tmp_path_factory) -> dict:
    """Losses and labels of fits by one and by two processes, as both of the two see them."""
    folder = tmp_path_factory.mktemp("parallel")
    program = folder / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    command = [sys.executable, str(program), str(folder / "found.json")]
    # What they say ends when the last of them does, for which the first one does not wait.
    ran = subprocess.run(
        command, env=ENVIRONMENT, check=True, timeout=300, stdout=subprocess.PIPE, text=True
    )
    files = {"first": folder / "found.json", "other": folder / "found.json.other"}
    found = {name: json.loads(file.read_text()) for name, file in files.items()}
    return {**found, "said": ran.stdout.split()}


CASES = (
    *("vade", "vae", "stacked", "gmvae", "nvisa", "nvil", "gumbel", "ltvae", "gm-gan"),
    *("neighbours", "mixup", "images"),
)


@pytest.mark.parametrize("name", CASES)
def test_a_fit_by_two_processes_follows_the_fit_by_one(fits, name):
    one, two = fits["first"][name]["losses"]
    assert len(one) == len(two) > 0
    assert two == pytest.approx(one, rel=1e-4, abs=1e-4)


def test_they_part_before_the_interpreter_ends(fits):
    assert fits["said"] == ["parted", "parted"]


@pytest.mark.parametrize("name", CASES)
def test_both_processes_end_with_the_same_fit(fits, name):
    assert fits["first"][name]["losses"] == fits["other"][name]["losses"]
    assert fits["first"][name]["labels"] == fits["other"][name]["labels"]


# -------------------------------------------------------------- the command line, and kills

SHORT = "--model vade --clusters 4 --set start=gmm --set hidden=32,16 --latent 3 --batch-size 50"
LENGTH = "--epochs 20 --pretrain-epochs 10 --set n_init=2 --no-report --checkpoint-every 0"
finds_processes = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="finds processes in /proc"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    rng = np.random.default_rng(0)
    rows = 3.0 * rng.normal(size=(4, 12))[rng.integers(4, size=400)] + rng.normal(size=(400, 12))
    path = tmp_path_factory.mktemp("data") / "rows.npy"
    np.save(path, rows)
    return path


def begin(data: Path, *more: object, launcher: str = "") -> subprocess.Popen:
    """Begin a fit by two processes."""
    words = f"{launcher} -m deepmixture fit {data} {SHORT} {LENGTH} --devices 2"
    command = [sys.executable, *words.split(), *map(str, more)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=ENVIRONMENT, text=True, **pipes)


def worker_of(process: subprocess.Popen, rank: int) -> int:
    """Return the process id of a worker."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == process.pid and f"LOCAL_RANK={rank}".encode() in environment:
            return int(entry.name)
    raise ProcessLookupError


def wait_for_a_checkpoint(out: Path, process: subprocess.Popen) -> None:
    while not list(out.glob("checkpoint/*pretraining.safetensors")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory) -> pd.DataFrame:
    """Labels of a fit by two processes."""
    out = tmp_path_factory.mktemp("uninterrupted") / "run"
    process = begin(data, "--out", out)
    said, complained = process.communicate(timeout=200)
    assert process.returncode == 0, complained
    assert said.count("wrote") == 1  # the other process is silent
    return pd.read_parquet(out / "labels.parquet")


@finds_processes
def test_the_loss_of_a_worker_ends_the_fit_with_a_checkpoint_to_go_on_from(
    data, uninterrupted, tmp_path
):
    out = tmp_path / "run"
    process = begin(data, "--out", out)
    wait_for_a_checkpoint(out, process)
    os.kill(worker_of(process, 1), signal.SIGKILL)
    _, complained = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "another process of this fit has ended" in complained
    assert f"--resume {out}" in complained
    assert "Traceback" not in complained

    again = begin(data, "--resume", out)
    _, complained = again.communicate(timeout=200)
    assert again.returncode == 0, complained
    pd.testing.assert_frame_equal(pd.read_parquet(out / "labels.parquet"), uninterrupted)


@finds_processes
def test_torchrun_goes_on_by_itself_when_a_worker_is_killed(data, uninterrupted, tmp_path):
    out = tmp_path / "run"
    launcher = "-m torch.distributed.run --nproc-per-node 2 --max-restarts 1 --standalone"
    process = begin(data, "--resume", out, launcher=launcher)
    wait_for_a_checkpoint(out, process)
    os.kill(worker_of(process, 1), signal.SIGKILL)
    _, complained = process.communicate(timeout=200)
    assert process.returncode == 0, complained
    pd.testing.assert_frame_equal(pd.read_parquet(out / "labels.parquet"), uninterrupted)


def test_a_number_of_processes_that_cannot_be_had_is_refused(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(20, 3))
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ValueError, match="devices=2, but 3 processes were started"):
        VaDE(2, devices=2).fit(rows)
    with pytest.raises(ValueError, match="devices"):
        VaDE(2, devices=0).fit(rows)
    with pytest.raises(ValueError, match=r"devices=3 is too many .* expected at most 2"):
        VaDE(2, devices=3, batch_size=5).fit(rows)


def test_an_interpreter_has_no_program_to_run_again(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    with pytest.raises(ValueError, match="write it to a file, or use devices=1"):
        parallel.join(2, "cpu")


# --------------------------------------------------------------------------------- one process


def test_one_process_draws_what_torch_draws():
    probabilities = torch.tensor([[0.2, 0.3, 0.5]]).expand(50, -1).contiguous()
    torch.manual_seed(0)
    ours = noise.categorical(probabilities)
    torch.manual_seed(0)
    assert torch.equal(ours, torch.multinomial(probabilities, 1)[:, 0])


def test_a_share_has_its_part_of_the_noise_of_the_batch():
    torch.manual_seed(0)
    whole = noise.standard_normal(2, 7, 3)
    processes = parallel.Processes()
    processes.size = 2
    parts = []
    for processes.rank in (0, 1):
        torch.manual_seed(0)
        with processes.sharing(7) as share:
            parts.append(noise.standard_normal(2, share.stop - share.start, 3))
    assert [part.shape[1] for part in parts] == [4, 3]
    assert torch.equal(torch.cat(parts, 1), whole)
