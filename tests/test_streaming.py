"""Rows that are too many for memory give what rows in memory give, within noise."""

import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from sklearn.metrics import adjusted_rand_score
from tests.killing import Killed, Killer

import deepmixture
from deepmixture import batches
from deepmixture.batches import OnDisk
from deepmixture.data import open_rows, scratch, streams
from deepmixture.estimator import LatentMixtureEstimator

Make = Callable[..., LatentMixtureEstimator]
CPU = torch.device("cpu")
LITTLE = 1e-7  # gigabytes: everything goes to the disk


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> OnDisk:
    """10,007 rows of two columns, the number of the row and its double, in groups of 2,048."""
    monkeypatch.setattr(batches, "GROUP_BYTES", 2 * 1024 * 8)
    numbers = np.arange(10_007, dtype=np.float32)
    values = np.stack([numbers, 2 * numbers], axis=1)
    return OnDisk(scratch.write([values[:4000], values[4000:]], 2, np.float32), CPU)


def epoch(rows: OnDisk, seed: int, n_batches: int = 101, skip: int = 0) -> list[torch.Tensor]:
    return [batch for (batch,) in batches.shuffled([rows], n_batches, seed, CPU, skip)]


def test_every_row_comes_once_an_epoch_in_even_batches(on_disk: OnDisk) -> None:
    found = epoch(on_disk, seed=0)
    assert {len(batch) for batch in found} == {99, 100}
    rows = torch.cat(found)
    torch.testing.assert_close(rows[:, 1], 2 * rows[:, 0])
    assert rows[:, 0].sort().values.equal(torch.arange(10_007.0))


def test_the_order_is_random_and_a_function_of_the_seed(on_disk: OnDisk) -> None:
    one, again, other = (torch.cat(epoch(on_disk, seed))[:, 0] for seed in (0, 0, 1))
    assert one.equal(again)
    assert not one.equal(other)
    assert (one.diff() == 1).float().mean() < 0.01
    # Rows of one batch come from far apart.
    assert all(batch[:, 0].std() > 500 for batch in epoch(on_disk, seed=0))


@pytest.mark.parametrize("skip", [1, 20, 21, 57, 100, 101])
def test_an_epoch_can_be_gone_on_with(skip: int, on_disk: OnDisk) -> None:
    whole, rest = epoch(on_disk, seed=3), epoch(on_disk, seed=3, skip=skip)
    assert len(rest) == 101 - skip
    assert all(a.equal(b) for a, b in zip(whole[skip:], rest, strict=True))


def test_a_sample_is_of_different_rows_in_their_order(on_disk: OnDisk) -> None:
    found = batches.sample(on_disk, 500, seed=0)[:, 0]
    assert len(found) == 500
    assert (found.diff() > 0).all()
    assert batches.sample(on_disk, 20_000, seed=0)[:, 0].equal(torch.arange(10_007.0))
    assert batches.sample(on_disk[:], 500, seed=0)[:, 0].equal(found)


@pytest.mark.parametrize("name", [name for name in deepmixture.MODELS if name != "n2d"])
def test_every_model_finds_distant_groups_on_disk(
    name: str, make: Make, blobs: np.ndarray, classes: np.ndarray
) -> None:
    in_memory = make(name).fit(blobs)
    on_disk, again = (make(name, memory_limit=LITTLE).fit(blobs) for _ in range(2))
    assert adjusted_rand_score(in_memory.labels_, classes) > 0.9
    assert adjusted_rand_score(on_disk.labels_, classes) > 0.9
    np.testing.assert_array_equal(on_disk.labels_, again.labels_)
    for one, other in zip(on_disk.model_.parameters(), again.model_.parameters(), strict=True):
        assert one.equal(other)
    assert any("scratch file" in sentence for sentence in on_disk.decisions_)


def test_a_model_says_the_same_of_rows_on_disk(make: Make, blobs: np.ndarray) -> None:
    model = make().fit(blobs)
    before = model.predict(blobs), model.predict_proba(blobs), model.transform(blobs)
    density = model.score_samples(blobs)
    model.set_params(memory_limit=LITTLE)
    after = model.predict(blobs), model.predict_proba(blobs), model.transform(blobs)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(density, model.score_samples(blobs))


def test_pixels_on_disk_are_clipped_too(make: Make, images: np.ndarray) -> None:
    model = make(memory_limit=LITTLE).fit(images // 2)
    assert model.predict(images).shape == (len(images),)


def test_a_killed_fit_on_disk_goes_on_to_the_same_bits(
    make: Make, blobs: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "BLOCK_ROWS", 16)
    monkeypatch.setattr(batches, "GROUP_BYTES", 48 * 16)
    settings = {"pretrain_epochs": 3, "epochs": 3, "memory_limit": LITTLE}
    whole = make(**settings).fit(blobs)
    for steps in (2, 3, 4):
        with pytest.raises(Killed):
            make(**settings).fit(
                blobs, callback=Killer(steps), resume_from=tmp_path, checkpoint_every=0
            )
    pieces = make(**settings).fit(blobs, resume_from=tmp_path)
    for one, other in zip(whole.model_.parameters(), pieces.model_.parameters(), strict=True):
        assert one.equal(other)


@pytest.fixture
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepmixture.stages.MOST_ROWS", 100)
    monkeypatch.setattr("deepmixture.stages.SAMPLED_ROWS", 80)


@pytest.mark.usefixtures("few_are_many")
@pytest.mark.parametrize("name", ["deepmixture", "vade", "dec"])
def test_of_many_rows_in_memory_a_sample_starts(
    name: str, make: Make, blobs: np.ndarray, classes: np.ndarray
) -> None:
    model = make(name).fit(blobs)
    assert len(model.labels_) == len(blobs)
    assert adjusted_rand_score(model.labels_, classes) > 0.9
    assert "The start was found on 80 of the rows." in model.decisions_


@pytest.mark.usefixtures("few_are_many")
def test_a_given_start_of_many_rows_is_refused(make: Make, blobs: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a given start has a label for each row"):
        make("deepmixture", start=np.arange(len(blobs)) % 3).fit(blobs)


@pytest.mark.parametrize("limit", [0, -1.0, float("nan")])
def test_a_memory_limit_that_is_none_is_refused(
    limit: float, make: Make, blobs: np.ndarray
) -> None:
    with pytest.raises(ValueError, match="memory_limit"):
        make(memory_limit=limit).fit(blobs)


# ------------------------------------------------------------------------------------- the sources


def test_large_parquet_files_are_read_in_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(500, 3)).astype(np.float32) for _ in range(3)]
    for number, part in enumerate(parts):
        columns = {name: part[:, i] for i, name in enumerate("abc")}
        parquet.write_table(pa.table(columns), tmp_path / f"{number}.parquet", row_group_size=64)
    small = open_rows(tmp_path)
    monkeypatch.setattr(streams, "MOST_AT_ONCE", 1000)
    large = open_rows(tmp_path)
    assert isinstance(large.values, np.memmap)
    np.testing.assert_array_equal(large.values, small.values)
    assert large.names == small.names == ("a", "b", "c")
    parquet.write_table(pa.table({"other": [1.0]}), tmp_path / "9.parquet")
    with pytest.raises(ValueError, match=r"9\.parquet has other columns than 0\.parquet"):
        open_rows(tmp_path)


def test_batches_are_joined() -> None:
    rows = np.arange(24.0).reshape(12, 2)

    def some() -> Iterator[np.ndarray]:
        yield from (rows[:5], rows[5:6], rows[6:])

    np.testing.assert_array_equal(open_rows(some()).values, rows)
    pictures = np.arange(120, dtype=np.uint8).reshape(5, 4, 6)
    found = open_rows(iter([pictures[:2], pictures[2:]]))
    assert found.image_shape == (4, 6)
    np.testing.assert_array_equal(found.values, pictures.reshape(5, 24))
    data = torch.utils.data.TensorDataset(torch.from_numpy(rows), torch.zeros(12))
    loader = torch.utils.data.DataLoader(data, batch_size=5)
    np.testing.assert_array_equal(open_rows(loader).values, rows)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "gives no batches"),
        ([np.zeros((2, 3)), np.zeros((2, 4))], "batch 1 has rows of shape"),
        ([np.zeros(3)], "a batch of X has shape"),
        ([np.array([["a", "b"]])], "a batch of X has shape"),
    ],
)
def test_batches_that_are_none_are_refused(given: list[np.ndarray], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        open_rows(iter(given))


def test_arrays_in_chunks_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zarr = pytest.importorskip("zarr")
    rows = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
    store = zarr.create_array(tmp_path / "rows.zarr", data=rows, chunks=(64, 5))
    for most in (1e9, 1000):
        monkeypatch.setattr(streams, "MOST_AT_ONCE", most)
        monkeypatch.setattr(streams, "BLOCK_BYTES", 2000)
        np.testing.assert_array_equal(open_rows(store).values, rows)
        np.testing.assert_array_equal(open_rows(tmp_path / "rows.zarr").values, rows)
    zarr.create_group(tmp_path / "many.zarr")
    with pytest.raises(ValueError, match="holds a group of arrays"):
        open_rows(tmp_path / "many.zarr")


def test_a_scratch_file_that_cannot_be_written_says_so(
    make: Make, blobs: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(OSError, match=r"scratch file .* name another folder by TMPDIR"):
            make(memory_limit=LITTLE).fit(blobs)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(tmp_path.iterdir()) == []


def test_what_was_written_to_a_map_is_not_forgotten(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.zeros((10, 3)))
    for mode in ("r+", "c"):
        mapped = np.load(tmp_path / "rows.npy", mmap_mode=mode)
        mapped[3] = 7.0
        scratch.forget(mapped)
        assert (mapped[3] == 7.0).all()
