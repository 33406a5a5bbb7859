"""What is said of the rows, where they are more than memory or a page can hold."""

import numpy as np
import pytest

from deepmixture import open_rows, report, results, run_folder

ABOUT = {
    "model": "vade",
    "seed": 0,
    "settings": {},
    "data": {},
    "seconds": {},
    "versions": {},
    "decisions": ["Decided."],
}


@pytest.fixture(scope="module")
def estimator(make, blobs):
    return make().fit(blobs)


def test_rows_are_assigned_alike_in_memory_and_in_parts_on_disk(estimator, blobs, monkeypatch):
    rows = open_rows(blobs)
    whole = results.assign(estimator, rows)
    monkeypatch.setattr("deepmixture.data.scratch.HELD_BYTES", 0)
    monkeypatch.setattr(results, "ROWS_A_PART", 7)
    parts = results.assign(estimator, rows)
    assert isinstance(parts.responsibilities, np.memmap)
    np.testing.assert_array_equal(parts.labels, whole.labels)
    np.testing.assert_array_equal(parts.responsibilities, whole.responsibilities)
    np.testing.assert_array_equal(parts.log_density, whole.log_density)
    np.testing.assert_array_equal(parts.labels, estimator.labels_)


def test_a_page_shows_a_part_of_many_rows_and_the_sizes_of_all(
    estimator, blobs, tmp_path, monkeypatch
):
    rows = open_rows(blobs)
    assignments = results.assign(estimator, rows)
    monkeypatch.setattr(results, "SHOWN_ROWS", 20)
    shown = results.collect(estimator, rows, assignments, [], ABOUT)
    assert len(shown.rows) == len(shown.labels) == len(shown.latent) == 20
    assert shown.all_sizes.tolist() == np.bincount(assignments.labels).tolist()
    numbers = [int(name.removeprefix("row ")) for name in shown.row_names]
    np.testing.assert_array_equal(shown.rows, blobs[numbers])
    np.testing.assert_array_equal(shown.labels, assignments.labels[numbers])
    report.write_report(tmp_path / "report.html", shown)
    page = (tmp_path / "report.html").read_text()
    assert f"This page shows 20 of {len(blobs)} rows" in page
    assert shown.row_names[0] in page


def test_rows_that_have_names_keep_them_in_a_part():
    rows = results.replace(open_rows(np.eye(4)), row_names=("a", "b", "c", "d"))
    assert rows.part(slice(1, 3)).row_names == ("b", "c")
    assert rows.part(np.array([3, 0])).row_names == ("d", "a")
    assert run_folder.Assignments(np.arange(4), np.eye(4)).part(np.array([3])).labels == [3]
