"""What a run leaves behind is written whole or not at all."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from deepmixture import outputs, run_folder


def fill(folder: Path) -> None:
    run_folder.write_about(folder / run_folder.ABOUT, {"model": "vade"})
    run_folder.write_history(folder / run_folder.HISTORY, [{"epoch": 1, "loss": 2.0}])


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "run"
    seen = []

    def watch(folder: Path) -> None:
        fill(folder)
        seen.append(target.exists())

    assert run_folder.write_folder(target, watch) == target
    assert seen == [False]
    assert run_folder.read_about(target)["model"] == "vade"
    assert [path.name for path in target.parent.iterdir()] == ["run"]


@pytest.mark.parametrize("failure", [OSError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there(tmp_path: Path, failure: type[BaseException]) -> None:
    run_folder.write_folder(tmp_path / "run", fill)
    before = contents(tmp_path)

    def fail(folder: Path) -> None:
        fill(folder)
        raise failure

    for target, overwrite in ((tmp_path / "run", True), (tmp_path / "other", False)):
        with pytest.raises(failure):
            run_folder.write_folder(target, fail, overwrite=overwrite)
    assert contents(tmp_path) == before


def test_overwriting_replaces_the_whole_run(tmp_path: Path) -> None:
    run_folder.write_folder(tmp_path / "run", fill)
    run_folder.write_folder(
        tmp_path / "run",
        lambda folder: run_folder.write_about(folder / run_folder.ABOUT, {"model": "other"}),
        overwrite=True,
    )
    assert run_folder.read_about(tmp_path / "run")["model"] == "other"
    assert list(contents(tmp_path)) == ["run", f"run/{run_folder.ABOUT}"]


def test_a_folder_that_was_used_meanwhile_is_kept_and_the_run_gets_a_number(
    tmp_path: Path,
) -> None:
    target = tmp_path / "run"

    def meanwhile(folder: Path) -> None:
        fill(folder)
        target.mkdir()
        (target / "notes.txt").write_text("mine")

    written = run_folder.write_folder(target, meanwhile, overwrite=True)
    assert written == tmp_path / "run-2"
    assert run_folder.read_about(written)["model"] == "vade"
    assert (target / "notes.txt").read_text() == "mine"


def test_only_a_run_without_foreign_files_is_replaceable(tmp_path: Path) -> None:
    run_folder.write_folder(tmp_path / "run", fill)
    run_folder.check_new_folder(tmp_path / "run", overwrite=True)
    with pytest.raises(ValueError, match="holds an earlier run"):
        run_folder.check_new_folder(tmp_path / "run")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"also holds notes\.txt"):
        run_folder.check_new_folder(tmp_path / "run", overwrite=True)
    with pytest.raises(ValueError, match="not a deepmixture run"):
        run_folder.check_new_folder(tmp_path, overwrite=True)


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    run_folder.check_new_folder(tmp_path / "run")
    assert run_folder.write_folder(tmp_path / "run", fill) == tmp_path / "run"


def test_places_that_cannot_hold_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="is an existing file"):
        run_folder.check_new_folder(tmp_path / "file")
    with pytest.raises(ValueError, match="is a file, not a folder"):
        run_folder.check_new_folder(tmp_path / "file" / "run")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="current folder"):
        run_folder.check_new_folder(Path())

    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OSError, match="cannot write run: Permission denied"):
        run_folder.check_new_folder(Path("run"))


def test_a_file_is_replaced_at_the_end_only(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(ValueError, match="exists"):
        outputs.check_new_file(path, run_folder.TABLE_SUFFIXES)
    with suppress(KeyboardInterrupt), outputs.new_file(path) as hidden:
        hidden.write_text("half")
        raise KeyboardInterrupt
    assert contents(tmp_path) == {"table.csv": b"old"}
    with outputs.new_file(path) as hidden:
        hidden.write_text("new")
    assert contents(tmp_path) == {"table.csv": b"new"}


def test_assignments_and_history_come_back(tmp_path: Path) -> None:
    responsibilities = np.array([[0.25, 0.75], [1.0, 0.0]])
    given = run_folder.Assignments(np.array([1, 0]), responsibilities, np.array([-3.5, -1.0]))
    (columns,) = given.columns(("a.png", "b.png"))
    assert columns["probability"].tolist() == given.probability().tolist() == [0.75, 1.0]
    run_folder.write_table(tmp_path / run_folder.LABELS, [columns])
    back = run_folder.read_assignments(tmp_path)
    np.testing.assert_array_equal(back.labels, given.labels)
    np.testing.assert_array_equal(back.responsibilities, given.responsibilities)
    np.testing.assert_array_equal(back.log_density, given.log_density)

    without = run_folder.Assignments(given.labels, responsibilities)
    assert "log_density" not in next(without.columns())
    run_folder.write_table(tmp_path / run_folder.LABELS, without.columns())
    assert run_folder.read_assignments(tmp_path).log_density is None

    history = [
        {"stage": "pretraining", "loss": 2.0},
        {"stage": "training", "loss": 1.0, "kl": 3.0},
    ]
    run_folder.write_history(tmp_path / run_folder.HISTORY, history)
    assert run_folder.read_history(tmp_path) == history


def test_assignments_of_many_rows_come_back_part_by_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    given = run_folder.Assignments(rng.integers(0, 3, 50), rng.dirichlet(np.ones(3), 50))
    run_folder.write_table(tmp_path / run_folder.LABELS, given.columns())
    monkeypatch.setattr("deepmixture.data.scratch.HELD_BYTES", 0)
    monkeypatch.setattr(run_folder, "ROWS_A_PART", 7)
    back = run_folder.read_assignments(tmp_path)
    assert isinstance(back.responsibilities, np.memmap)
    np.testing.assert_array_equal(back.labels, given.labels)
    np.testing.assert_array_equal(back.responsibilities, given.responsibilities)


def test_a_run_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    about = tmp_path / run_folder.ABOUT
    with pytest.raises(FileNotFoundError, match="there is no run"):
        run_folder.read_about(tmp_path / "nothing")
    with pytest.raises(ValueError, match="holds no"):
        run_folder.read_about(tmp_path)
    for text, complaint in {
        '{"format": "deepmixture run", "form': "is damaged",
        '{"name": "web-app"}': "another program",
        '{"format": "deepmixture run", "format_version": 99}': "update deepmixture",
    }.items():
        about.write_text(text)
        with pytest.raises(ValueError, match=complaint):
            run_folder.read_about(tmp_path)
    (tmp_path / run_folder.LABELS).write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match="damaged"):
        run_folder.read_assignments(tmp_path)
    for column, lacking in {"label": "responsibility_0", "responsibility_0": "label"}.items():
        run_folder.write_table(tmp_path / run_folder.LABELS, [{column: [1]}])
        with pytest.raises(ValueError, match=f"not written by deepmixture.* {lacking}"):
            run_folder.read_assignments(tmp_path)


def test_a_folder_caught_between_its_names_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    run = tmp_path / "run"
    (run / "checkpoint").mkdir(parents=True)
    replace = Path.replace

    with monkeypatch.context() as patched:

        def once(self: Path, target: Path) -> Path:
            patched.setattr(Path, "replace", killed)
            return replace(self, target)

        patched.setattr("shutil.rmtree", killed)  # no clean-up comes after a kill
        patched.setattr(Path, "replace", once)
        with pytest.raises(Killed):
            run_folder.write_folder(run, lambda folder: None)
    assert not run.exists()
    run_folder.recover(run)
    assert (run / "checkpoint").is_dir()
    run_folder.recover(run)
    assert (run / "checkpoint").is_dir()


def test_what_lies_beside_a_checkpoint_is_not_replaced(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoint").mkdir(parents=True)
    (run / "checkpoint" / "fit.json").write_text("{}")
    run_folder.check_new_folder(run, overwrite=True)
    with pytest.raises(ValueError, match="--resume"):
        run_folder.check_new_folder(run)
    (run / "thesis.txt").write_text("of years")
    with pytest.raises(ValueError, match="not a deepmixture run"):
        run_folder.check_new_folder(run, overwrite=True)


@pytest.mark.parametrize("name", ["labels.parquet", "labels.csv"])
def test_a_table_written_in_parts_is_that_written_at_once(name, tmp_path, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    responsibilities = rng.dirichlet(np.ones(3), 10)
    given = run_folder.Assignments(responsibilities.argmax(1), responsibilities, rng.random(10))
    names = [f"{row}.png" for row in range(10)]
    run_folder.write_table(tmp_path / "once" / name, given.columns(names))
    monkeypatch.setattr(run_folder, "ROWS_A_PART", 4)
    assert [len(part["row"]) for part in given.columns()] == [4, 4, 2]
    run_folder.write_table(tmp_path / "parts" / name, given.columns(names))
    once, parts = (run_folder.read_table(tmp_path / way / name) for way in ("once", "parts"))
    assert parts.equals(once)
    assert parts["row"].to_pylist() == list(range(10))
