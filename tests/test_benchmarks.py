"""The benchmarks: settings that can be run, runs that go on where they stopped, true pages."""

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("benchmarks", reason="not a source tree")

from benchmarks import (
    baselines,
    cells,
    figures,
    files,
    floor,
    pages,
    predicting,
    runner,
    sharing,
    tables,
)
from benchmarks.__main__ import main

from deepmixture import MODELS, TrainingDiverged, open_rows
from deepmixture.checks import check_parameters
from deepmixture.cluster.pretrained import Pretrained
from deepmixture.estimator import LatentMixtureEstimator

Make = Callable[..., LatentMixtureEstimator]

SETTINGS = """
title = "Blobs"
data = "blobs.npz"
key = "x_train+x_test"
labels = "y_train+y_test"
n_train = 80
n_clusters = 3
seeds = [0, 1]

[parameters]
hidden = [8]
n_latent = 2
pretrain_epochs = 2

[runs.ae]
model = "ae-gmm"
published = { accuracy = 12.5 }

[runs.vae]
model = "vae-gmm"
parameters = { pretrain_epochs = 1 }
seeds = [0]
note = "a note."

[runs.thousand]
model = "ae-gmm"
not_run = "too dear."
"""


@pytest.fixture
def place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blobs: np.ndarray, classes: np.ndarray
) -> Path:
    """A folder with one table, `blobs`, and its data."""
    parts = {"x_train": blobs[:80], "x_test": blobs[80:]}
    parts |= {"y_train": classes[:80], "y_test": classes[80:]}
    np.savez(tmp_path / "blobs.npz", **parts)
    monkeypatch.setenv("DEEPMIXTURE_DATA", str(tmp_path))
    for name in ("settings", "results"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(files, name.upper(), tmp_path / name)
    (tmp_path / "settings" / "blobs.toml").write_text(SETTINGS)
    return tmp_path


def written(place: Path) -> set[str]:
    return {file.name for file in (place / "results" / "blobs").iterdir()} - {".lock"}


def test_every_setting_of_every_table_is_one_of_its_estimator() -> None:
    known = {**MODELS, **baselines.BASELINES}
    for table in files.tables():
        settings = files.read_settings(table)
        assert {"title", "data", "n_clusters", "seeds"} <= set(settings)
        for run in settings["runs"].values():
            estimator = known[run["model"]](run.get("n_clusters", settings["n_clusters"]))
            estimator.set_params(random_state=0, **run["parameters"])
            if isinstance(estimator, LatentMixtureEstimator):
                check_parameters(estimator)


def test_a_fit_that_shares_its_beginning_is_the_fit_alone(
    make: Make, blobs: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = make(epochs=2).fit(blobs)
    for name in ("_pretrain", "_start"):
        monkeypatch.setattr(Pretrained, name, getattr(Pretrained, name))
    sharing.share_beginnings(tmp_path)
    make(epochs=1).fit(blobs)
    shared = make(epochs=2).fit(blobs)
    assert len(list(tmp_path.iterdir())) == 2  # a representation, and a start
    for one, other in zip(alone.model_.parameters(), shared.model_.parameters(), strict=True):
        assert one.equal(other)


def test_rows_of_the_test_part_can_be_scored_by_a_fit_that_never_saw_them(
    place: Path, blobs: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    fit = MODELS["vae-gmm"].fit

    def count(estimator: LatentMixtureEstimator, X: Any) -> LatentMixtureEstimator:
        seen.append(len(X))
        return fit(estimator, X)

    monkeypatch.setattr(MODELS["vae-gmm"], "fit", count)
    settings = files.read_settings("blobs") | {"fit_on": 80}
    result = runner.run_one(settings, settings["runs"]["vae"], seed=0)
    assert seen == [80]
    assert result["n_rows"] == 80 < len(blobs)
    curve = result["calibration"]
    assert sum(curve["count"]) == len(blobs)
    assert set(result["scores"]) == {"all", "train", "test"}


def test_a_thinned_class_keeps_its_share_of_rows(place: Path, classes: np.ndarray) -> None:
    file = place / "settings" / "thin.toml"
    file.write_text(
        SETTINGS.replace(
            "seeds = [0, 1]", "thinned = { classes = [0], share = 0.3 }\nseeds = [0]", 1
        )
    )
    settings = files.read_settings("thin")
    left = runner.load_classes(settings)
    assert len(runner.load_rows(settings)) == len(left)
    assert [int((left == k).sum()) for k in (1, 2)] == [40, 30]
    assert 5 <= int((left == 0).sum()) <= 25


def test_every_result_belongs_to_a_run() -> None:
    for folder in files.RESULTS.iterdir():
        if folder.is_dir() and folder.name not in (
            "criteria",
            "figures",
            "others",
            "whole_fits",
        ):
            for run, found in files.read_results(folder.name).items():
                for result in found:
                    assert files.result_file(folder.name, run, result["seed"]).exists()


def test_the_pages_are_those_of_the_results() -> None:
    for path, text in pages.pages().items():
        assert (pages.ROOT / path).read_text() == text, f"run `python -m benchmarks table`: {path}"


def test_settings_are_inherited(place: Path) -> None:
    (place / "settings" / "like.toml").write_text(
        'like = "blobs"\n[runs.vae]\npublished = { accuracy = 1.0 }\n'
    )
    settings = files.read_settings("blobs")
    run = files.read_settings("like")["runs"]["vae"]
    assert run["model"] == "vae-gmm"
    assert run["parameters"] == settings["runs"]["vae"]["parameters"]
    assert run["parameters"] == {"hidden": [8], "n_latent": 2, "pretrain_epochs": 1}
    assert run["published"] == {"accuracy": 1.0}
    assert "note" not in run
    (place / "settings" / "like.toml").write_text('like = "blobs"\n[runs.gan]\n')
    with pytest.raises(SystemExit, match="like has the run 'gan', and blobs has not"):
        files.read_settings("like")


def test_what_a_run_is_without_is_none(place: Path) -> None:
    file = place / "settings" / "none.toml"
    file.write_text('[parameters]\nstart = "gmm"\n[runs.a]\nwithout = ["start", "x"]\n[runs.b]\n')
    runs = files.read_settings("none")["runs"]
    assert runs["a"]["parameters"] == {"start": None, "x": None}
    assert runs["b"]["parameters"] == {"start": "gmm"}


def test_all_runs_of_a_seed_come_before_the_next_seed(place: Path) -> None:
    settings = files.read_settings("blobs")
    assert runner.plan(settings, None, None) == [(0, "ae"), (0, "vae"), (1, "ae")]
    assert runner.plan(settings, ["vae"], [7, 8]) == [(7, "vae"), (8, "vae")]
    assert runner.plan(settings, ["thousand"], None) == []


def test_a_table_goes_on_where_it_stopped(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runner.run_table("blobs", ["ae"], [0])
    assert written(place) == {"ae-seed0.json"}
    first = (place / "results" / "blobs" / "ae-seed0.json").read_text()
    assert runner.run_table("blobs", None, None, keep=place / "kept")
    assert written(place) == {"ae-seed0.json", "ae-seed1.json", "vae-seed0.json"}
    assert (place / "results" / "blobs" / "ae-seed0.json").read_text() == first
    kept = {folder.name for folder in (place / "kept").iterdir()}
    assert kept == {"blobs-ae-seed1", "blobs-vae-seed0"}
    monkeypatch.setattr(runner, "run_one", None)  # nothing is left to do
    assert runner.run_table("blobs", None, None)


def test_a_result_says_how_it_was_made(place: Path, classes: np.ndarray) -> None:
    runner.run_table("blobs", ["ae"], [1])
    (result,) = files.read_results("blobs")["ae"]
    assert result["seed"] == result["parameters"]["random_state"] == 1
    assert result["parameters"]["pretrain_epochs"] == 2
    assert result["hardware"]["threads"] == 1
    assert result["n_rows"] == 120
    assert 0 < result["wall_seconds"] < 60
    assert len(result["commit"]) == 40
    calibration = result["calibration"]
    assert 0.0 <= calibration["error"] <= 1.0
    assert sum(calibration["count"]) == result["n_rows"]
    parts = result["scores"]
    whole = (80 * parts["train"]["accuracy"] + 40 * parts["test"]["accuracy"]) / 120
    assert parts["all"]["many_to_one_accuracy"] >= parts["all"]["accuracy"]
    assert whole >= parts["all"]["accuracy"] - 1e-9  # the parts are matched each on their own
    assert parts["all"]["classes"] == len(np.unique(classes))


def test_a_training_that_diverges_is_a_result(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(self: Any, X: object) -> None:
        raise TrainingDiverged("reconstruction is nan")

    monkeypatch.setattr(MODELS["ae-gmm"], "fit", diverge)
    assert runner.run_table("blobs", ["ae"], None)
    found = files.read_results("blobs")["ae"]
    assert [result["failed"] for result in found] == ["reconstruction is nan"] * 2
    assert cells.cell(found, "all", "accuracy") == "diverged"
    assert "scores" not in found[0]
    page = tables.table_section("blobs")
    assert "| ae | 2 | diverged [12.50] |" in page
    assert "- ae, seed 1, ended: reconstruction is nan." in page


def test_a_mistake_is_no_result_and_costs_no_other_run(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def mistake(self: Any, X: object) -> None:
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr(MODELS["ae-gmm"], "fit", mistake)
    assert not runner.run_table("blobs", None, [0])
    assert "a mistake" in capsys.readouterr().err
    assert written(place) == {"vae-seed0.json"}


def test_a_run_that_is_not_there_is_named(place: Path) -> None:
    with pytest.raises(SystemExit, match="blobs has no run 'vaed': ae, vae, thousand"):
        runner.run_table("blobs", ["vaed"], None)
    with pytest.raises(SystemExit, match="no table 'blob'; expected one of blobs"):
        files.read_settings("blob")


def test_a_claim_is_held_by_one_living_process(place: Path) -> None:
    target = files.result_file("blobs", "ae", 0)
    assert files.claim(target)
    assert not files.claim(target)
    files.release(target)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for void in (str(ended.pid), "", "nobody"):
        files.claim_of(target).write_text(void)
        assert files.claim(target)
        assert files.claim_of(target).read_text() == str(os.getpid())
    files.claim_of(target).write_text(str(os.getppid()))
    assert not files.claim(target)
    files.release(target)
    files.write(target, {})
    assert not files.claim(target)


def _claimed(target: Path, start: Any, stay: Any, answers: Any) -> None:
    start.wait()
    answers.put(files.claim(target))
    stay.wait()


def test_of_many_processes_one_takes_a_run(place: Path) -> None:
    """Also where all of them find the claim of a process that was killed."""
    target = files.result_file("blobs", "ae", 0)
    target.parent.mkdir()
    files.claim_of(target).write_text("999999999")
    fork = multiprocessing.get_context("fork")
    start, stay, answers = fork.Event(), fork.Event(), fork.Queue()
    racers = [fork.Process(target=_claimed, args=(target, start, stay, answers)) for _ in range(8)]
    for racer in racers:
        racer.start()
    start.set()
    taken = [answers.get(timeout=20) for _ in racers]
    stay.set()
    for racer in racers:
        racer.join()
    assert sum(taken) == 1


@pytest.mark.parametrize("name", baselines.BASELINES)
def test_the_baselines_cluster(name: str, blobs: np.ndarray, classes: np.ndarray) -> None:
    made = baselines.BASELINES[name](3, random_state=0)
    labels = made.fit(open_rows(blobs)).labels_
    assert runner.score_clustering(classes, labels)["accuracy"] > 0.95


def test_a_spread_is_of_percentages() -> None:
    assert cells.spread([0.5]) == "50.00"
    assert cells.spread([0.5, 0.6]) == "55.00 ± 7.07 (50.00 to 60.00)"


def results_of(*accuracies: float | None) -> list[files.Result]:
    return [
        {"failed": "nan"} if value is None else {"scores": {"all": {"accuracy": value}}}
        for value in accuracies
    ]


def test_a_cell_tells_what_did_not_come_to_an_end() -> None:
    assert cells.cell([], "all", "accuracy") == cells.WITHOUT
    assert cells.cell(results_of(0.25), "all", "accuracy") == "25.00"
    assert cells.cell(results_of(0.25), "all", "ari") == cells.WITHOUT
    assert cells.cell(results_of(0.25), "test", "accuracy") == cells.WITHOUT
    assert cells.cell(results_of(None, None), "all", "accuracy") == "diverged"
    assert cells.cell(results_of(None, 0.25), "all", "accuracy") == "25.00, 1 of 2 diverged"


def test_a_section_shows_ours_beside_what_is_published(place: Path) -> None:
    runner.run_table("blobs", None, None)
    page = tables.table_section("blobs")
    ours = cells.cell(files.read_results("blobs")["ae"], "all", "accuracy")
    assert f"| ae | 2 | {ours} [12.50] |" in page
    assert "- vae: a note." in page
    assert "| thousand | 0 | not run |" in page
    assert "- thousand: too dear." in page
    assert "1 thread(s) a fit" in page


def test_figures_of_a_saved_model(
    place: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    np.savez(place / "blobs.npz", x_train=images[:80], x_test=images[80:])
    monkeypatch.setattr(figures, "PICTURES", place / "images")
    make("ae-gmm", network="mlp", pretrain_epochs=2).fit(images).save(place / "kept")
    pictures = figures.draw(place / "kept", None, "blobs", n_rows=30)
    assert [picture.name for picture in pictures] == ["kept-samples.png", "kept-map.png"]
    assert all(picture.stat().st_size > 1000 for picture in pictures)
    facts = json.loads((place / "results" / "figures" / "kept.json").read_text())
    assert facts["n_rows"] == facts["n_prior"] == 30
    assert "![kept-map.png](images/kept-map.png)" in pages.figures_page()
    # Of a model without samples and rows that are no images the map of the rows is left.
    x = images.reshape(len(images), -1)[:, :10] + np.arange(10) / 10
    np.savez(place / "blobs.npz", x_train=x[:80], x_test=x[80:])
    make("dec", pretrain_epochs=2, epochs=2).fit(x).save(place / "dec")
    (only,) = figures.draw(place / "dec", "other", "blobs", n_rows=30)
    assert only.name == "other-map.png"


def test_test_rows_are_of_the_test_part(place: Path, blobs: np.ndarray) -> None:
    settings = files.read_settings("blobs")
    np.testing.assert_array_equal(figures.test_rows(settings, 100).values, blobs[80:])
    few = figures.test_rows(settings, 7).values
    assert len(few) == 7
    assert (few[:, None] == blobs[None, 80:]).all(2).any(1).all()


def test_prior_samples_are_those_of_the_mixture(make: Any, blobs: np.ndarray) -> None:
    estimator = make("ae-gmm", pretrain_epochs=2).fit(blobs)
    z, y = figures.prior_samples(estimator, 20_000)
    np.testing.assert_allclose(np.bincount(y) / len(y), estimator.weights_, atol=0.02)
    for cluster, covariance in enumerate(estimator.covariances_):
        scale = np.sqrt(np.diag(covariance))
        own = z[y == cluster]
        assert (abs(own.mean(0) - estimator.means_[cluster]) < 5 * scale / len(own) ** 0.5).all()
        np.testing.assert_allclose(own.std(0), scale, rtol=0.05)


def test_products_are_seen_with_gradients_and_without() -> None:
    layers = torch.nn.Sequential(torch.nn.Conv1d(1, 2, 3), torch.nn.Flatten(), torch.nn.ReLU())
    layers.append(torch.nn.Linear(12, 4))
    with floor.Products() as trained:
        layers(torch.ones(5, 1, 8))
    with torch.inference_mode(), floor.Products() as predicted:
        layers(torch.ones(5, 1, 8))
    assert [key[0] for key in trained.calls] == ["convolution", "addmm"]
    assert trained.calls == predicted.calls
    assert floor.seconds_alone(predicted) > 0


def test_a_row_that_depends_on_its_neighbours_is_found(make: Make, blobs: np.ndarray) -> None:
    fitted = make(epochs=1).fit(blobs)
    assert predicting.same_alone(fitted.predict_proba, blobs)
    assert not predicting.same_alone(lambda rows: rows - rows.mean(0), blobs)


def test_the_command_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    command = ["benchmarks", "run", "blobs", "--only", "vae", "--seeds", "3", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", command)
    try:
        assert main() == 0
    finally:
        torch.set_num_threads(threads)
    assert written(place) == {"vae-seed3.json"}
    monkeypatch.setattr(sys, "argv", [*command[:4], "nothing"])
    with pytest.raises(SystemExit, match="blobs has no run 'nothing'"):
        main()
