"""The documents say what is so."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import deepmixture
from deepmixture import cli

README = Path(__file__).resolve().parent.parent / "README.md"

pytestmark = pytest.mark.skipif(not README.exists(), reason="not a source tree")


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(code) == 1
    # Nothing but the length: what only the defaults do would not be met otherwise.
    quick = {"start": "gmm", "pretrain_epochs": 1, "refine_epochs": 1, "epochs": 1}
    default = partial(deepmixture.DeepMixture, **quick)
    monkeypatch.setattr(deepmixture, "DeepMixture", default, raising=False)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code[0], names)
    new, labels = names["new"], names["labels"]
    assert isinstance(new, np.ndarray)
    assert new.shape == (16, 8, 8)
    np.testing.assert_array_equal(labels, 3)
    assert isinstance(names["model"], deepmixture.MODELS["deepmixture"])


def test_the_readme_names_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    for name in listed:
        assert f"`--model {name}`" in README.read_text(encoding="utf-8")


def test_every_public_name_is_there() -> None:
    for name in deepmixture.__all__:
        assert getattr(deepmixture, name).__doc__ or name == "MODELS"
