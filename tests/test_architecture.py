"""The rules of the architecture: who may import whom, and what nobody may call."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

import deepmixture

PACKAGE = Path(deepmixture.__file__).parent
PROJECT = PACKAGE.parents[1]
FILES = sorted(PACKAGE.rglob("*.py"))
# The mathematics: torch and the standard library alone.
MATHEMATICS = sorted(
    path
    for name in (
        "nets",
        "schedules",
        "densities",
        "priors",
        "latent_tree",
        "likelihoods",
        "gradients",
        "augment",
    )
    if (path := PACKAGE / f"{name}.py").exists()
) + sorted((PACKAGE / "models").glob("*.py"))

# `fit` gives torch's generators back as they were, so the training loop may seed them.
SEEDING = {
    "torch.default_generator.manual_seed",
    "torch.cuda.manual_seed",
    "torch.mps.manual_seed",
}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "joblib"}
FORBIDDEN_CALLS = {
    "print",
    "torch.load",
    *SEEDING,
    "torch.manual_seed",
    "torch.seed",
    "torch.cuda.manual_seed_all",
    "np.random.seed",
    "numpy.random.seed",
    "random.seed",
    "eval",
    "exec",
}


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def breaches(source: str) -> list[str]:
    """List what `source` does that nobody may."""
    tree = ast.parse(source)
    found = [name for name in imported(tree) if name.partition(".")[0] in FORBIDDEN_MODULES]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in FORBIDDEN_CALLS:
                found.append(called)
            for keyword in node.keywords:
                if keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False":
                    found.append("allow_pickle")
                if keyword.arg == "weights_only" and ast.unparse(keyword.value) != "True":
                    found.append("weights_only")
    return found


@pytest.mark.skipif(not (PROJECT / "pyproject.toml").exists(), reason="not a source tree")
def test_imports_point_the_right_way(capsys: pytest.CaptureFixture[str]) -> None:
    code = lint_imports(config_filename=str(PROJECT / "pyproject.toml"), cache_dir=None)
    assert code == 0, capsys.readouterr().out


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nobody_unpickles_prints_or_seeds_globally(path: Path) -> None:
    found = breaches(path.read_text(encoding="utf-8"))
    if path.name == "seeds.py":
        found = [breach for breach in found if breach not in SEEDING]
    assert found == []


@pytest.mark.parametrize("path", MATHEMATICS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_mathematics_imports_torch_alone(path: Path) -> None:
    names = {
        name.partition(".")[0] for name in imported(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert names - set(sys.stdlib_module_names) <= {"torch", "deepmixture"}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import dump",
        "import torch\ntorch.load('x')",
        "np.load('x', allow_pickle=True)",
        "torch.manual_seed(0)",
        "print('x')",
    ],
)
def test_the_scan_sees_a_breach(source: str) -> None:
    assert breaches(source) != []
