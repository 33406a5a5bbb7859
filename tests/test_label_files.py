"""Labels from the files people have."""

from pathlib import Path

import numpy as np
import pytest

from deepmixture.label_files import read_labels
from deepmixture.run_folder import write_table

LABELS = np.array([3, 1, 2, 3])


def test_every_kind_of_file_gives_the_same_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", LABELS)
    np.save(tmp_path / "tall.npy", LABELS[:, None])
    np.savez(tmp_path / "one.npz", anything=LABELS)
    np.savez(tmp_path / "parts.npz", x=np.zeros((4, 2)), y_train=LABELS[:3], y_test=LABELS[3:])
    np.savez(tmp_path / "usual.npz", x=np.zeros((4, 2)), y=LABELS)
    write_table(tmp_path / "named.csv", [{"size": [0.5, 1, 2, 3], "species": LABELS}])
    write_table(tmp_path / "usual.parquet", [{"size": [0.5, 1, 2, 3], "label": LABELS}])
    read = [
        read_labels(tmp_path / "y.npy"),
        read_labels(tmp_path / "tall.npy"),
        read_labels(tmp_path / "one.npz"),
        read_labels(tmp_path / "parts.npz", key="y_train+y_test"),
        read_labels(tmp_path / "usual.npz"),
        read_labels(tmp_path / "named.csv", column="species"),
        read_labels(tmp_path / "usual.parquet"),
    ]
    for labels in read:
        np.testing.assert_array_equal(labels, LABELS)


def test_words_are_labels_too(tmp_path: Path) -> None:
    write_table(tmp_path / "words.csv", [{"species": ["cat", "dog", "cat"]}])
    assert read_labels(tmp_path / "words.csv").tolist() == ["cat", "dog", "cat"]


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", a=LABELS, b=LABELS)
    np.save(tmp_path / "square.npy", np.zeros((4, 4)))
    np.save(tmp_path / "objects.npy", np.array([{}, 1], dtype=object))
    (tmp_path / "damaged.npz").write_bytes((tmp_path / "two.npz").read_bytes()[:200])
    (tmp_path / "array.npz").write_bytes((tmp_path / "square.npy").read_bytes())
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    (tmp_path / "gap.csv").write_text("a,b\n1,2\n,3\n")
    (tmp_path / "notes.txt").write_text("1\n2\n")
    cases: dict[tuple[str, str | None, str | None], str] = {
        ("nothing.npy", None, None): "there is no file",
        ("notes.txt", None, None): "expected .npy, .npz, .csv or .parquet",
        ("two.npz", None, None): "name one by --labels-key: a, b",
        ("two.npz", "a+c", None): "no array 'c'; it has a, b",
        ("square.npy", None, None): r"shape \(4, 4\); expected one label a row",
        ("square.npy", "a", None): "has no keys",
        ("square.npy", None, "a"): "has no columns",
        ("objects.npy", None, None): "cannot be read",
        ("damaged.npz", None, None): "cannot be read",
        ("array.npz", None, None): "not an archive",
        ("damaged.parquet", None, None): "cannot be read",
        ("gap.csv", None, None): "name one by --column: a, b",
        ("gap.csv", None, "a"): "has 1 empty entries",
        ("gap.csv", None, "c"): "no column 'c'",
    }
    for (name, key, column), complaint in cases.items():
        with pytest.raises((ValueError, FileNotFoundError), match=complaint):
            read_labels(tmp_path / name, key=key, column=column)
