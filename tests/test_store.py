"""Saved models: what comes back, what is refused, and what is left alone."""

import ast
import copy
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import deepmixture
from deepmixture import store
from deepmixture.estimator import LatentMixtureEstimator

Make = Callable[..., LatentMixtureEstimator]
Fitted = LatentMixtureEstimator


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def assert_same(a: Fitted, b: Fitted, x: object) -> None:
    np.testing.assert_array_equal(a.labels_, b.labels_)
    np.testing.assert_array_equal(a.predict_proba(x), b.predict_proba(x))
    for method in ("transform", "reconstruct", "score_samples"):
        if hasattr(a, method):
            np.testing.assert_array_equal(getattr(a, method)(x), getattr(b, method)(x))
    if hasattr(a, "sample"):
        np.testing.assert_array_equal(a.sample(7)[0], b.sample(7)[0])
    for name in ("weights_", "means_", "covariances_"):
        if hasattr(a, name):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.fixture(scope="module")
def saved(make: Make, blobs: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that tests read and never write to."""
    path = tmp_path_factory.mktemp("models") / "saved"
    make("vae-gmm", pretrain_epochs=2, hidden=(4,)).fit(blobs).save(path)
    return path


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    shutil.copytree(saved, tmp_path / "model")
    return tmp_path / "model"


# ------------------------------------------------------------------------------- and back


@pytest.mark.parametrize("name", deepmixture.MODELS)
def test_a_model_with_the_networks_of_its_defaults_comes_back(
    name: str, blobs: np.ndarray, tmp_path: Path
) -> None:
    given = deepmixture.MODELS[name]().get_params()
    short = dict.fromkeys(("pretrain_epochs", "epochs", "refine_epochs", "n_init"), 1)
    quick = {"start": "gmm", **short}
    settings = {parameter: value for parameter, value in quick.items() if parameter in given}
    fitted = deepmixture.MODELS[name](3, random_state=0, **settings).fit(blobs)
    fitted.save(tmp_path / "model")
    loaded = deepmixture.load(tmp_path / "model")
    assert loaded.get_params() == fitted.get_params()
    np.testing.assert_array_equal(loaded.predict(blobs), fitted.labels_)


def test_a_loaded_model_answers_as_the_saved_one(
    fitted: Fitted, blobs: np.ndarray, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "model")
    for loaded in (deepmixture.load(tmp_path / "model"), type(fitted).load(tmp_path / "model")):
        assert type(loaded) is type(fitted)
        assert_same(loaded, fitted, blobs)
        assert loaded.get_params() == fitted.get_params()
        for name in ("history_", "n_iter_", "timings_", "decisions_", "interrupted_", "kind_"):
            assert getattr(loaded, name) == getattr(fitted, name)
    # It can be trained anew, and saved again to the same files.
    loaded.save(tmp_path / "again")
    assert contents(tmp_path / "again") == contents(tmp_path / "model")
    np.testing.assert_array_equal(loaded.fit(blobs).labels_, fitted.labels_)


def test_frames_images_and_the_mixture_on_the_latent_come_back(
    make: Make, blobs: np.ndarray, images: np.ndarray, tmp_path: Path
) -> None:
    frame = pd.DataFrame(blobs, columns=list("abcd"))
    settings = {"pretrain_epochs": 2, "epochs": 1}
    for x in (frame, images):
        estimator = make(**settings, clusters_from="latent").fit(x)
        estimator.save(tmp_path / "model")
        loaded = deepmixture.load(tmp_path / "model")
        assert_same(loaded, estimator, x)
        assert loaded.image_shape_ == estimator.image_shape_
    estimator = make("vae-gmm", pretrain_epochs=1).fit(frame)
    estimator.save(tmp_path / "model")
    assert list(deepmixture.load(tmp_path / "model").feature_names_in_) == list("abcd")


def test_own_networks_are_asked_for(make: Make, blobs: np.ndarray, tmp_path: Path) -> None:
    encoder, decoder = nn.Linear(4, 6), nn.Linear(2, 4)
    own = {"encoder": encoder, "decoder": decoder}
    estimator = make("vae-gmm", pretrain_epochs=1, **own).fit(blobs)
    estimator.save(tmp_path / "model")
    with pytest.raises(ValueError, match="encoder= and decoder="):
        deepmixture.load(tmp_path / "model")
    with pytest.raises(ValueError, match="encoder and decoder are not those"):
        deepmixture.load(tmp_path / "model", encoder=nn.Linear(4, 9), decoder=nn.Linear(2, 4))
    before = copy.deepcopy(encoder.state_dict())
    loaded = deepmixture.load(tmp_path / "model", **own)
    assert_same(loaded, estimator, blobs)
    assert all(torch.equal(encoder.state_dict()[name], before[name]) for name in before)
    assert_same(type(estimator).load(tmp_path / "model", **own), estimator, blobs)


def test_networks_that_nobody_asked_for(saved: Path) -> None:
    with pytest.raises(ValueError, match="leave out encoder="):
        deepmixture.load(saved, encoder=nn.Linear(4, 4), decoder=nn.Linear(2, 4))


def test_an_interrupted_fit_can_be_saved(make: Make, blobs: np.ndarray, tmp_path: Path) -> None:
    from deepmixture.progress import Silent

    class Stop(Silent):
        def step(self) -> bool:
            return True

    estimator = make().fit(blobs, callback=Stop())
    estimator.save(tmp_path / "model")
    assert deepmixture.load(tmp_path / "model").interrupted_
    assert_same(deepmixture.load(tmp_path / "model"), estimator, blobs)


def test_a_generator_is_not_saved_but_a_numpy_seed_is(
    make: Make, blobs: np.ndarray, tmp_path: Path
) -> None:
    for seed, expected in ((np.int64(3), 3), (np.random.RandomState(3), None)):
        make("vae-gmm", pretrain_epochs=1, random_state=seed).fit(blobs).save(tmp_path / "model")
        assert deepmixture.load(tmp_path / "model").random_state == expected


def test_loading_leaves_random_numbers_alone(saved: Path) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    deepmixture.load(saved)
    assert torch.equal(torch.rand(3), expected)


def test_the_files_are_safetensors_and_strict_json(saved: Path) -> None:
    from safetensors import safe_open

    assert sorted(contents(saved)) == ["model.json", "model.safetensors"]

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    text = (saved / "model.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=refuse)["format"] == "deepmixture-model"
    with safe_open(saved / "model.safetensors", "np") as tensors:
        assert "labels" in tensors.keys()


def test_nothing_pickles() -> None:
    for file in Path(deepmixture.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in getattr(node, "names", []) if hasattr(alias, "name")]
            names += [getattr(node, "module", None) or ""]
            assert not {"pickle", "joblib", "dill", "cloudpickle", "shelve"} & set(names), file
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in {("torch", "load"), ("torch", "save")}


# ------------------------------------------------------------------------ what is refused


def test_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for name in ("nowhere", "empty", "file"):
        with pytest.raises(FileNotFoundError, match="holds no saved model"):
            deepmixture.load(tmp_path / name)


def test_another_model_than_the_class(saved: Path) -> None:
    with pytest.raises(ValueError, match="holds a VAEGMM; expected a VaDE"):
        deepmixture.VaDE.load(saved)


@pytest.mark.parametrize("file", ["model.json", "model.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_truncated_files(folder: Path, file: str, share: float) -> None:
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="damaged"):
        deepmixture.load(folder)


def test_flipped_bytes(saved: Path, folder: Path) -> None:
    rng = np.random.default_rng(0)
    for file in ("model.json", "model.safetensors"):
        whole = (saved / file).read_bytes()
        for place in rng.integers(len(whole), size=60):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << int(rng.integers(8))
            if file == "model.json" and unharmed(bytes(damaged), whole):
                continue
            (folder / file).write_bytes(damaged)
            with pytest.raises(ValueError, match=r"model\.(json|safetensors)|format"):
                deepmixture.load(folder)
        (folder / file).write_bytes(whole)
    deepmixture.load(folder)


def unharmed(damaged: bytes, whole: bytes) -> bool:
    """Tell whether a flip only turned one blank into another."""
    try:
        return bool(json.loads(damaged) == json.loads(whole))
    except ValueError:
        return False


def test_a_missing_or_foreign_weights_file(saved: Path, folder: Path, blobs: np.ndarray) -> None:
    weights = folder / "model.safetensors"
    weights.unlink()
    with pytest.raises(ValueError, match=r"model\.safetensors is missing"):
        deepmixture.load(folder)
    # The weights of another fit of the same shape.
    other = deepmixture.load(saved).set_params(random_state=1).fit(blobs)
    other.save(folder.parent / "other")
    shutil.copy(folder.parent / "other" / "model.safetensors", weights)
    with pytest.raises(ValueError, match="checksum"):
        deepmixture.load(folder)


def rewrite(folder: Path, change: Callable[[dict], object], *, seal: bool) -> None:
    """Change the description; with `seal`, give it the checksum of the changed one."""
    file = folder / "model.json"
    description = json.loads(file.read_text(encoding="utf-8"))
    change(description)
    if seal:
        description.pop("sha256", None)
        weights = (folder / "model.safetensors").read_bytes()
        description["sha256"] = store._checksum(description, weights)
    file.write_text(json.dumps(description), encoding="utf-8")


def test_a_model_of_before_the_number_of_clusters_was_a_fact(saved: Path, folder: Path) -> None:
    rewrite(folder, lambda description: description["fitted"].pop("n_clusters_"), seal=True)
    loaded = deepmixture.load(folder)
    assert loaded.n_clusters_ == loaded.n_clusters
    np.testing.assert_array_equal(loaded.labels_, deepmixture.load(saved).labels_)


KEYS = ["format", "format_version", "model", "parameters", "own_networks", "scaling", "fitted"]
OTHERS = (..., None, 7, "seven", [7], {"seven": 7}, float("nan"))


def put(key: str, value: object) -> Callable[[dict], object]:
    """Return a change that puts a value in the place of another, or drops it for an ellipsis."""

    def change(description: dict) -> None:
        if value is ...:
            del description[key]
        else:
            description[key] = value

    return change


@pytest.mark.parametrize("key", [*KEYS, "feature_names_in_", "sha256"])
def test_keys_that_are_dropped_or_of_another_type(saved: Path, folder: Path, key: str) -> None:
    whole = (saved / "model.json").read_text(encoding="utf-8")
    for value in OTHERS:
        (folder / "model.json").write_text(whole, encoding="utf-8")
        if json.loads(whole)[key] != value:
            rewrite(folder, put(key, value), seal=False)
            with pytest.raises(ValueError, match=r"damaged|not written by deepmixture|newer"):
                deepmixture.load(folder)


@pytest.mark.parametrize("key", ["model", "parameters", "scaling", "fitted"])
def test_nonsense_with_a_checksum_that_fits(saved: Path, folder: Path, key: str) -> None:
    whole = (saved / "model.json").read_text(encoding="utf-8")
    for value in OTHERS:
        (folder / "model.json").write_text(whole, encoding="utf-8")
        rewrite(folder, put(key, value), seal=True)
        with pytest.raises(ValueError, match=r"is damaged|holds a model"):
            deepmixture.load(folder)


@pytest.mark.parametrize("group", ["parameters", "fitted"])
def test_settings_and_facts_that_are_changed(saved: Path, folder: Path, group: str) -> None:
    whole = (saved / "model.json").read_text(encoding="utf-8")
    for key in json.loads(whole)[group]:
        for value in (..., -1, "seven", [None], {}):
            (folder / "model.json").write_text(whole, encoding="utf-8")

            def change(description: dict, key: str = key, value: object = value) -> None:
                if value is ...:
                    del description[group][key]
                else:
                    description[group][key] = value

            rewrite(folder, change, seal=False)
            with pytest.raises(ValueError, match="damaged"):
                deepmixture.load(folder)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", '"words"', "\x00\xff", "{" * 100_000, "[" * 100_000, "[1, 2"],
)
def test_other_files_of_that_name(folder: Path, text: str) -> None:
    (folder / "model.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"damaged|not written by deepmixture"):
        deepmixture.load(folder)


def test_a_newer_format(folder: Path) -> None:
    def newer(description: dict) -> None:
        description.clear()
        description |= {"format": "deepmixture-model", "format_version": 3, "what": "knows who"}

    rewrite(folder, newer, seal=False)
    with pytest.raises(ValueError, match=r"format 3, newer than the 2 .* update deepmixture"):
        deepmixture.load(folder)


def test_an_older_format(folder: Path) -> None:
    rewrite(folder, lambda d: d.update(format_version=1), seal=False)
    with pytest.raises(ValueError, match=r"model format 1, .* fit the model again"):
        deepmixture.load(folder)


# --------------------------------------------------------------------- what is left alone


def test_an_earlier_model_is_replaced(fitted: Fitted, blobs: np.ndarray, folder: Path) -> None:
    fitted.save(folder)
    assert_same(deepmixture.load(folder), fitted, blobs)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_model_of_an_older_format_is_replaced(saved: Path, folder: Path) -> None:
    rewrite(folder, lambda d: d.update(format_version=1), seal=False)
    deepmixture.load(saved).save(folder)
    assert contents(folder) == contents(saved)


def test_new_and_empty_folders_are_filled(saved: Path, tmp_path: Path) -> None:
    model = deepmixture.load(saved)
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new", "in/between"):
        model.save(str(tmp_path / name))
        assert contents(tmp_path / name) == contents(saved)


def test_the_folder_one_stands_in(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    deepmixture.load(saved).save(".")
    assert contents(tmp_path / "here") == contents(saved)


@pytest.mark.parametrize("what", ["file", "folder", "notes", "damaged", "newer", "elsewhere"])
def test_what_is_no_model_is_left_alone(saved: Path, folder: Path, what: str) -> None:
    target = folder
    if what == "file":
        target = folder.parent / "file"
        target.write_text("mine")
    elif what == "folder":
        target = folder.parent / "folder"
        target.mkdir()
        (target / "mine").write_text("mine")
    elif what == "notes":
        (folder / "notes.txt").write_text("beside the model")
    elif what == "damaged":
        (folder / "model.json").write_text("{")
    elif what == "newer":
        rewrite(folder, lambda d: d.update(format_version=99), seal=False)
    else:
        (folder / "model.json").write_text('{"format": "another program"}')
    before = contents(folder.parent)
    with pytest.raises(FileExistsError, match="left as it is"):
        deepmixture.load(saved).save(target)
    assert contents(folder.parent) == before


class Crash(OSError):
    """The disk is full."""


@pytest.mark.parametrize(
    ("owner", "name", "good_calls"),
    [
        (Path, "rename", 0),
        (Path, "rename", 1),
        (os, "fsync", 0),
        (os, "fsync", 1),
        (store, "write_through", 1),
        (store.tempfile, "mkdtemp", 0),
        (store.tempfile, "mkdtemp", 1),
        (store.json, "dumps", 0),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_a_crash_while_saving_keeps_the_old(
    saved: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    name: str,
    good_calls: int,
    there: bool,
) -> None:
    model = deepmixture.load(saved)
    model.labels_ = model.labels_[::-1].copy()
    target = folder if there else folder.parent / "new"
    if not there and name in ("rename", "mkdtemp") and good_calls:
        return  # where nothing was there, one call is all
    before = contents(folder.parent)
    whole = getattr(owner, name)
    calls = []

    def crash(*args: object, **kwargs: object) -> object:
        calls.append(args)
        if len(calls) == good_calls + 1:
            raise Crash
        return whole(*args, **kwargs)

    monkeypatch.setattr(owner, name, crash)
    with pytest.raises(Crash):
        model.save(target)
    monkeypatch.undo()
    assert contents(folder.parent) == before
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model"]
    model.save(target)
    np.testing.assert_array_equal(deepmixture.load(target).labels_, model.labels_)


def test_where_nothing_can_be_brought_back_it_is_still_there(
    saved: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = deepmixture.load(saved)
    whole, calls = Path.rename, []

    def crash(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) > 1:
            raise Crash
        return whole(self, target)

    monkeypatch.setattr(Path, "rename", crash)
    with pytest.raises(Crash):
        model.save(folder)
    monkeypatch.undo()
    (old,) = folder.parent.glob(".model.old.*/old")
    assert contents(old) == contents(saved)


def test_what_cannot_be_saved_is_named(make: Make, blobs: np.ndarray, tmp_path: Path) -> None:
    estimator = make("vae-gmm", pretrain_epochs=1, hidden=range(3, 5)).fit(blobs)
    estimator.save(tmp_path / "model")
    assert deepmixture.load(tmp_path / "model").hidden == (3, 4)
    estimator.decisions_ = [object()]
    with pytest.raises(TypeError, match="object cannot be saved"):
        estimator.save(tmp_path / "model")
    assert deepmixture.load(tmp_path / "model").hidden == (3, 4)
