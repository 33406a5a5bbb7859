"""The command: what it writes, what it refuses, and what it leaves alone."""

import html
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import deepmixture
from deepmixture import cli, results, run_folder

COMMANDS = ["fit", "predict", "sample", "score", "report", "models"]
SMALL = ["--clusters", "3", "--epochs", "2", "--pretrain-epochs", "2", "--latent", "2"]
SMALL += ["--precision", "float32", "--set", "hidden=16,8", "--set", "n_init=2"]
SMALL += ["--model", "vade", "--set", "start=gmm"]  # the graph takes seconds to compile
CLASSES = np.repeat([0, 1, 2], 20)


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 rows around three distant centres."""
    path = tmp_path_factory.mktemp("data") / "blobs.npy"
    noise = np.random.default_rng(0).normal(size=(60, 5))
    np.save(path, noise + 10.0 * CLASSES[:, None])
    return path


@pytest.fixture(scope="module")
def fitted(blobs: Path) -> Path:
    """A run that tests read and never write to."""
    run = blobs.parent / "run"
    assert cli.main(["fit", str(blobs), *SMALL, "--out", str(run)]) == 0
    return run


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() if p.is_file() else b"" for p in sorted(folder.rglob("*"))}


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line on standard error."""
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    start = "deepmixture: error: "
    assert lines[0].startswith(start)
    return lines[0].removeprefix(start)


# ---------------------------------------------------------------------------------- help


def test_help_comes_without_the_heavy_libraries() -> None:
    code = (
        "import sys; from deepmixture.cli import main; main([]); "
        "heavy = {'torch', 'sklearn', 'pyarrow', 'plotly', 'numpy'} & set(sys.modules); "
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_by_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--help"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "Examples" in lines
    assert any(line.startswith(f"deepmixture {command}") for line in lines)


def test_waiting_threads_soon_sleep_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", "")  # so that it is put back
    monkeypatch.delenv("GOMP_SPINCOUNT")
    assert cli.main(["models"]) == 0
    assert os.environ["GOMP_SPINCOUNT"] == cli.SPINS
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert cli.main(["models"]) == 0
    assert os.environ["GOMP_SPINCOUNT"] == "7"


def test_models_are_listed_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(deepmixture.MODELS)
    assert all(len(line.split()) > 3 for line in lines)


# ----------------------------------------------------------------------------------- fit


def test_fit_writes_a_whole_run(fitted: Path, blobs: Path) -> None:
    names = {path.name for path in fitted.iterdir()}
    assert names == {
        "labels.parquet",
        "history.parquet",
        "run.json",
        "report.html",
        "model",
        "log",
    }

    table = pq.read_table(fitted / "labels.parquet")
    responsibilities = [f"responsibility_{k}" for k in range(3)]
    assert table.column_names == ["row", "label", "probability", *responsibilities, "log_density"]
    columns = {name: table[name].to_numpy() for name in table.column_names}
    p = np.column_stack([columns[name] for name in responsibilities])
    np.testing.assert_array_equal(columns["row"], np.arange(60))
    np.testing.assert_allclose(p.sum(1), 1.0, atol=1e-6)
    np.testing.assert_array_equal(columns["label"], p.argmax(1))
    np.testing.assert_array_equal(columns["probability"], p.max(1))

    estimator = deepmixture.load(fitted / "model")
    rows = np.load(blobs)
    np.testing.assert_array_equal(estimator.predict(rows), columns["label"])
    np.testing.assert_array_equal(estimator.labels_, columns["label"])
    np.testing.assert_allclose(estimator.score_samples(rows), columns["log_density"], rtol=1e-5)

    history = run_folder.read_history(fitted)
    assert len(history) == len(estimator.history_)
    assert all(np.isfinite(record["loss"]) for record in history)

    about = json.loads((fitted / "run.json").read_text())
    assert about["seed"] == 0
    assert about["settings"]["n_clusters"] == 3
    assert about["settings"]["hidden"] == [16, 8]
    assert about["data"]["data"] == str(blobs.resolve())
    assert about["versions"]["deepmixture"] == deepmixture.__version__
    assert about["decisions"] == estimator.decisions_
    assert about["interrupted"] is False
    assert about["seconds"]


def test_fit_says_what_it_decided_and_wrote(
    blobs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert cli.main(["fit", str(blobs), *SMALL, "--out", str(run), "--no-report"]) == 0
    out, err = capsys.readouterr()
    about = json.loads((run / "run.json").read_text())
    assert all(decision in out for decision in about["decisions"])
    assert str(run) in out
    assert "mean probability" in out
    assert "\x1b" not in out  # no colours and no bar where there is no terminal
    assert "deepmixture" not in err
    assert not (run / "report.html").exists()


def test_the_seed_decides(blobs: Path, fitted: Path, tmp_path: Path) -> None:
    tables = []
    for seed in ("0", "1"):
        run = tmp_path / seed
        words = ["fit", str(blobs), *SMALL, "--seed", seed, "--out", str(run), "--no-report"]
        assert cli.main(words) == 0
        tables.append(pq.read_table(run / "labels.parquet"))
    assert tables[0].equals(pq.read_table(fitted / "labels.parquet"))
    assert not tables[1].equals(tables[0])


def test_an_earlier_run_is_replaced_on_request_only(
    blobs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fit", str(blobs), *SMALL, "--out", str(tmp_path / "run"), "--no-report"]
    assert cli.main(words) == 0
    before = snapshot(tmp_path)
    capsys.readouterr()
    assert cli.main(words) == 2
    assert "--overwrite" in complaint(capsys)
    assert snapshot(tmp_path) == before
    assert cli.main([*words, "--overwrite", "--seed", "5"]) == 0
    assert list(snapshot(tmp_path)) == list(before)
    assert run_folder.read_about(tmp_path / "run")["seed"] == 5


def test_without_a_name_runs_are_numbered(
    blobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["fit", str(blobs), *SMALL, "--no-report", "--model", "vade"]
    assert cli.main(words) == 0
    assert cli.main(words) == 0
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["blobs-vade", "blobs-vade-2"]


def test_the_digits_come_with_the_program(tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["fit", "sklearn:digits", *SMALL, "--epochs", "1", "--pretrain-epochs", "1"]
    words += ["--model", "vade", "--network", "mlp", "--out", str(run), "--no-report"]
    assert cli.main(words) == 0
    about = run_folder.read_about(run)
    assert about["data"]["rows"] == 1797
    assert about["data"]["image_shape"] == [8, 8]
    sample = tmp_path / "new.npy"
    assert cli.main(["sample", str(run), "-n", "4", "--out", str(sample)]) == 0
    assert np.load(sample).shape == (4, 8, 8)
    assert cli.main(["score", str(run), "--labels", "sklearn:digits"]) == 0


def test_a_report_that_fails_does_not_lose_the_run(
    blobs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no more ink")

    monkeypatch.setattr(results, "collect", fail)
    run = tmp_path / "run"
    assert cli.main(["fit", str(blobs), *SMALL, "--out", str(run)]) == 0
    assert "warning: the report could not be written: no more ink" in capsys.readouterr().err
    assert len(run_folder.read_assignments(run).labels) == 60
    assert deepmixture.load(run / "model").n_clusters == 3


# ------------------------------------------------------------------------ predict, sample


def test_predict_gives_training_rows_their_labels(
    blobs: Path, fitted: Path, tmp_path: Path
) -> None:
    trained = pq.read_table(fitted / "labels.parquet")
    for name in ("new.parquet", "new.csv"):
        out = tmp_path / name
        assert cli.main(["predict", str(fitted), str(blobs), "--out", str(out)]) == 0
        table = run_folder.read_table(out)
        assert table.column_names == trained.column_names
        assert table["label"].to_pylist() == trained["label"].to_pylist()
        np.testing.assert_allclose(
            table["log_density"].to_numpy(), trained["log_density"].to_numpy(), rtol=1e-5
        )


def test_samples_come_from_the_cluster_that_was_asked_for(
    blobs: Path, fitted: Path, tmp_path: Path
) -> None:
    words = ["sample", str(fitted), "-n", "7", "--cluster", "2"]
    for name in ("new.npz", "new.npy", "new.csv"):
        assert cli.main([*words, "--out", str(tmp_path / name)]) == 0
    with np.load(tmp_path / "new.npz") as archive:
        x, labels = archive["x"], archive["labels"]
    assert x.shape == (7, 5)
    assert labels.tolist() == [2] * 7
    np.testing.assert_array_equal(np.load(tmp_path / "new.npy"), x)
    table = run_folder.read_table(tmp_path / "new.csv")
    assert table.column_names == ["x0", "x1", "x2", "x3", "x4", "cluster"]
    np.testing.assert_allclose(table["x4"].to_numpy(), x[:, 4], rtol=1e-6)


@pytest.fixture(scope="module")
def without_density(blobs: Path) -> Path:
    """A run of a model that has no density and draws no rows."""
    run = blobs.parent / "dec"
    assert cli.main(["fit", str(blobs), *SMALL, "--model", "dec", "--out", str(run)]) == 0
    return run


def test_a_model_without_density_predicts_and_reports(
    blobs: Path, without_density: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = without_density
    table = pq.read_table(run / "labels.parquet")
    assert "log_density" not in table.column_names
    out = tmp_path / "new.csv"
    assert cli.main(["predict", str(run), str(blobs), "--out", str(out)]) == 0
    again = run_folder.read_table(out)
    assert again.column_names == table.column_names
    assert again["label"].to_pylist() == table["label"].to_pylist()
    assert cli.main(["report", str(run), "--out", str(tmp_path / "again.html")]) == 0
    for page in (run / "report.html", tmp_path / "again.html"):
        text = page.read_text(encoding="utf-8")
        for missing in ("sample", "score_samples"):
            assert html.escape(deepmixture.DEC.cannot[missing]) in text
    np.save(tmp_path / "y.npy", CLASSES)
    capsys.readouterr()
    assert cli.main(["score", str(run), "--labels", str(tmp_path / "y.npy")]) == 0
    assert "accuracy" in scores(capsys.readouterr().out)


def test_a_model_that_draws_no_rows_says_why(
    without_density: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sample", str(without_density), "--out", str(tmp_path / "new.npz")]
    assert cli.main(words) == 2
    why = deepmixture.DEC.cannot["sample"]
    assert complaint(capsys) == f"DEC cannot draw rows: {why}"
    assert list(tmp_path.iterdir()) == []


class Bare(deepmixture.DEC):
    """A model that has no latent space either."""

    cannot = {**deepmixture.DEC.cannot, "transform": "it <has> no encoder"}  # noqa: RUF012


def test_a_model_without_a_latent_space_is_reported(
    blobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(deepmixture.MODELS, "dec", Bare)
    images = np.load(blobs)[:, :4].reshape(60, 2, 2)
    np.save(tmp_path / "images.npy", images)
    run, poster = tmp_path / "run", tmp_path / "poster.png"
    words = ["fit", str(tmp_path / "images.npy"), *SMALL, "--model", "dec", "--network", "mlp"]
    assert cli.main([*words, "--out", str(run), "--no-report"]) == 0
    assert cli.main(["report", str(run), "--poster", str(poster)]) == 0
    assert poster.exists()
    assert "it &lt;has&gt; no encoder" in (run / "report.html").read_text(encoding="utf-8")


def test_models_tell_what_they_cannot_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "--verbose"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    for model in deepmixture.MODELS.values():
        for method, why in model.cannot.items():
            assert f"no {method}: {why}" in lines


# ------------------------------------------------------------------------- score, report


def scores(text: str) -> dict[str, list[str]]:
    """Read the printed table: name of a score to its figures."""
    rows = {}
    for line in text.splitlines()[1:]:
        words = line.split()
        figures = [word for word in words if word[0].isdigit()]
        rows[" ".join(words[: -len(figures)])] = figures
    return rows


def test_scores_of_train_and_test_rows(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run_folder.read_assignments(fitted).labels
    known = (found + 1) % 3
    known[50:] = 7  # the last ten rows: one class that is not seen before
    np.save(tmp_path / "y.npy", known)
    words = ["score", str(fitted), "--labels", str(tmp_path / "y.npy"), "--train-rows", "50"]
    assert cli.main(words) == 0
    out = capsys.readouterr().out
    assert out.split()[:3] == ["all", "train", "test"]
    accuracy = scores(out)["accuracy"]
    assert accuracy[1] == "1.0000"
    assert float(accuracy[0]) < 1.0
    assert float(accuracy[2]) == pytest.approx(np.bincount(found[50:]).max() / 10)


def test_a_table_by_predict_is_scored_too(
    blobs: Path, fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "new.csv"
    assert cli.main(["predict", str(fitted), str(blobs), "--out", str(table)]) == 0
    capsys.readouterr()
    labels = ["--labels", str(fitted / "labels.parquet"), "--column", "label"]
    assert cli.main(["score", str(table), *labels]) == 0
    assert scores(capsys.readouterr().out)["accuracy"] == ["1.0000"]


def test_the_report_is_written_again(fitted: Path, tmp_path: Path) -> None:
    assert (fitted / "report.html").stat().st_size > 10_000
    before = snapshot(fitted)
    out = tmp_path / "again.html"
    assert cli.main(["report", str(fitted), "--out", str(out)]) == 0
    assert out.read_bytes() == (fitted / "report.html").read_bytes()
    assert snapshot(fitted) == before


# ----------------------------------------------------------------------------- bad input


def test_the_report_comes_with_a_poster_of_images(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, size=(40, 6, 6)).astype(np.uint8)
    np.save(tmp_path / "images.npy", images)
    run, poster = tmp_path / "run", tmp_path / "poster.png"
    words = ["fit", str(tmp_path / "images.npy"), *SMALL, "--out", str(run), "--no-report"]
    assert cli.main(words) == 0
    assert cli.main(["report", str(run), "--poster", str(poster)]) == 0
    with Image.open(poster) as picture:
        assert picture.width > 400
    assert (run / "report.html").exists()


@pytest.fixture
def workplace(blobs: Path, fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with good and bad things in it, as the current one."""
    monkeypatch.chdir(tmp_path)
    rows = np.load(blobs)
    np.save("good.npy", rows)
    np.save("narrow.npy", rows[:, :3])
    np.save("few.npy", rows[:2])
    np.save("one.npy", rows[:1])
    np.save("empty.npy", rows[:0])
    np.save("flat.npy", rows[:, 0])
    np.savez("two.npz", a=rows, b=rows)
    rows[7, 3] = np.nan
    np.save("hole.npy", rows)
    Path("words.csv").write_text("size,name\n1,ann\n2,bob\n")
    Path("damaged.npz").write_bytes(Path("two.npz").read_bytes()[:300])
    Path("file").write_text("mine")
    Path("folder").mkdir()
    Path("folder/notes.txt").write_text("mine")
    Path("broken").mkdir()
    for path in fitted.iterdir():
        if path.is_file():
            Path("broken", path.name).write_bytes(path.read_bytes())
    Path("broken/model").mkdir()
    for path in (fitted / "model").iterdir():
        Path("broken/model", path.name).write_bytes(path.read_bytes()[:-100])
    Path("run").symlink_to(fitted)
    np.save("y.npy", CLASSES[:9])
    return tmp_path


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("fit", "DATA"),
        ("fit nothing.npy --out new", "nothing.npy"),
        ("fit folder/notes.txt --out new", "notes.txt"),
        ("fit empty.npy --out new", "0 sample"),
        ("fit one.npy --out new", "too few rows"),
        ("fit few.npy --out new", "too few rows"),
        ("fit flat.npy --out new", "1D array"),
        ("fit hole.npy --out new", "column 3"),
        ("fit words.csv --out new", "'name'"),
        ("fit damaged.npz --out new", "damaged.npz"),
        ("fit two.npz --out new", "a, b"),
        ("fit two.npz --key c --out new", "'c'"),
        ("fit sklearn:iris --out new", "sklearn:digits"),
        ("fit good.npy --out folder", "not empty"),
        ("fit good.npy --out folder --overwrite", "not a deepmixture run"),
        ("fit good.npy --out file", "existing file"),
        ("fit good.npy --out file/new", "is a file"),
        ("fit good.npy --out .", "current folder"),
        ("fit good.npy --out run", "--overwrite"),
        ("fit good.npy --out new --clusters 0", "n_clusters"),
        ("fit good.npy --out new --clusters many", "--clusters"),
        ("fit good.npy --out new --model dream", "vade"),
        ("fit good.npy --out new --clusters many", "no whole number and not 'auto'"),
        ("fit good.npy --out new --likelihood bernoulli", "[0, 1]"),
        ("fit good.npy --out new --network convolutional", "images"),
        ("fit good.npy --out new --set n_cluster=3", "n_clusters"),
        ("fit good.npy --out new --set n_clusters", "NAME=VALUE"),
        ("fit good.npy --out new --device tpu", "tpu"),
        ("fit good.npy --out new --bogus", "--bogus"),
        ("dance", "dance"),
        ("predict nothing good.npy --out new.csv", "nothing"),
        ("predict folder good.npy --out new.csv", "folder"),
        ("predict run narrow.npy --out new.csv", "3 features"),
        ("predict run hole.npy --out new.csv", "column 3"),
        ("predict run good.npy --out new.txt", ".parquet, .csv"),
        ("predict run good.npy --out folder", "folder"),
        ("predict broken good.npy --out new.csv", "damaged"),
        ("sample run --out new.png", ".npz"),
        ("sample run --cluster 3 --out new.npy", "cluster"),
        ("sample run -n 0 --out new.npy", "n_samples"),
        ("sample run --out good.npy", "exists"),
        ("score run --labels nothing.npy", "nothing.npy"),
        ("score run --labels y.npy", "9 labels"),
        ("score good.npy --labels y.npy", "column"),
        ("score run --labels run/labels.parquet --train-rows 60", "--train-rows"),
        ("report folder", "folder"),
        ("report run --data few.npy --out new.html", "2 rows"),
    ],
)
def test_bad_input_is_told_in_one_sentence_and_harms_nothing(
    words: str, told: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(workplace)
    arguments = words.split()
    if arguments[:2] == ["fit", "good.npy"]:
        arguments[2:2] = SMALL
    assert cli.main(arguments) == 2
    assert told in complaint(capsys)
    assert snapshot(workplace) == before


def test_verbose_shows_where_an_error_arose(workplace: Path) -> None:
    with pytest.raises(FileNotFoundError):
        cli.main(["fit", "nothing.npy", "--out", "new", "--verbose"])


# --------------------------------------------------------------------- as a real process


def test_the_exit_code_and_the_streams_of_a_process(workplace: Path) -> None:
    command = [sys.executable, "-m", "deepmixture", "fit", "nothing.npy", "--out", "new"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "deepmixture: error: there is no file or folder nothing.npy\n"


def test_ctrl_c_keeps_the_model_so_far(blobs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    # A test run in the background may have been told to ignore Ctrl-C, and would pass that on.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from deepmixture.cli import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", code, "fit", str(blobs), *SMALL, "--verbose"]
    command += ["--epochs", "1000000", "--out", str(run), "--no-report"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if line.startswith("pretraining"):
                break
        time.sleep(0.5)  # into the stage that follows
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == cli.INTERRUPTED, err
    assert f"wrote {run}" in out
    on = f"go on: deepmixture fit {blobs} --resume {run}"
    assert err.splitlines()[-1] == f"deepmixture: interrupted: the model so far is in {run}; {on}"
    assert run_folder.read_about(run)["interrupted"] is True
    estimator = deepmixture.load(run / "model")
    assert estimator.interrupted_
    assert len(estimator.predict(np.load(blobs))) == 60


def stop_after(steps: int, monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> None:
    """Have the next fit end after so many steps: by Ctrl-C, or by an error."""
    left = iter(range(steps))

    def step(bar: object) -> bool:
        if next(left, None) is not None:
            return False
        if error is not None:
            raise error
        return True

    monkeypatch.setattr("deepmixture.progress.Bar.step", step)


@pytest.mark.parametrize(
    ("error", "said_again"),
    [(None, []), (KeyboardInterrupt(), SMALL), (OSError("the disk is gone"), [])],
)
def test_a_fit_that_ended_early_is_gone_on_with(
    error: BaseException | None,
    said_again: list[str],
    blobs: Path,
    fitted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    words = ["fit", str(blobs), "--no-report"]
    with monkeypatch.context() as patched:
        stop_after(3, patched, error)
        begin = [*words, *SMALL, "--out", str(run), "--checkpoint-every", "0"]
        assert cli.main(begin) == (2 if isinstance(error, OSError) else cli.INTERRUPTED)
    assert f"--resume {run}" in capsys.readouterr().err
    assert (run / "checkpoint").is_dir()
    if error is not None:
        assert cli.main([*words, *SMALL, "--out", str(run)]) == 2
        assert "not finished; go on with it by --resume" in complaint(capsys)
    # Of its own settings, none of which must be said again.
    assert cli.main([*words, *said_again, "--resume", str(run)]) == 0
    assert f"going on with the fit in {run}" in capsys.readouterr().out
    assert not (run / "checkpoint").exists()
    weights = [folder / "model" / "model.safetensors" for folder in (run, fitted)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    before = snapshot(run)
    assert cli.main([*words, "--resume", str(run)]) == 0
    assert "is finished" in capsys.readouterr().out
    assert snapshot(run) == before


def test_a_fit_killed_before_its_first_checkpoint_starts_over(
    blobs: Path, fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = ["fit", str(blobs), *SMALL, "--no-report", "--resume", str(run)]
    assert cli.main([*words, "--out", str(tmp_path / "other")]) == 2
    assert "is another" in complaint(capsys)
    assert cli.main(words) == 0
    assert "starting over" in capsys.readouterr().out
    assert (run / "run.json").is_file()


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("option", ["--resume", "--out"])
def test_a_checkpoint_of_another_program_is_left_alone(
    option: str,
    finished: bool,
    blobs: Path,
    fitted: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    if finished:
        shutil.copytree(fitted, run)
    (run / "checkpoint").mkdir(parents=True)
    (run / "checkpoint" / "weights.pt").write_text("of weeks")
    before = snapshot(tmp_path)
    words = ["fit", str(blobs), *SMALL, "--no-report", option, str(run)]
    assert cli.main([*words, "--overwrite"]) == 2
    said = "also holds checkpoint" if finished else "not a deepmixture run"
    assert said in complaint(capsys)
    assert snapshot(tmp_path) == before


def test_a_fit_that_fails_at_once_leaves_no_folder(
    blobs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fit", str(blobs), "--set", "consistency=affine", "--out", str(tmp_path / "run")]
    assert cli.main(words) == 2
    assert "needs images" in complaint(capsys)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_before_training_writes_nothing(
    blobs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("deepmixture.inputs.open_data", interrupt)
    code = cli.main(["fit", str(blobs), "--out", str(tmp_path / "run")])
    assert code == cli.INTERRUPTED
    assert capsys.readouterr().err == "deepmixture: interrupted: nothing was written\n"
    assert list(tmp_path.iterdir()) == []


def test_the_default_finds_the_number_of_clusters(blobs: Path, tmp_path: Path) -> None:
    words = ["fit", str(blobs), "--clusters", "auto", "--out", str(tmp_path / "run")]
    words += ["--epochs", "5", "--pretrain-epochs", "20", "--latent", "2", "--set", "hidden=16,8"]
    assert cli.main([*words, "--set", "refine_epochs=20"]) == 0
    about = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert about["model"] == "deepmixture"
    assert any("3 clusters were found" in sentence for sentence in about["decisions"])
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "How many clusters" in report
