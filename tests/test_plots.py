"""Which rows are shown, where they lie, and whether their pictures are theirs."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepmixture import pictures, plots
from deepmixture.poster import write_poster


def make_result(
    n: int = 40, k: int = 3, d: int = 2, shape: tuple[int, ...] = (4, 4), seed: int = 0
) -> plots.Result:
    rng = np.random.default_rng(seed)
    f = int(np.prod(shape))
    p = rng.dirichlet(np.ones(k), size=n)
    return plots.Result(
        title="Squares",
        rows=rng.integers(0, 256, size=(n, f), dtype=np.uint8),
        labels=p.argmax(1),
        responsibilities=p,
        log_density=rng.normal(size=n),
        latent=rng.normal(size=(n, d)),
        samples=rng.uniform(0, 255, size=(k, 5, f)),
        image_shape=shape,
    )


def decode(address: str) -> np.ndarray:
    picture = Image.open(io.BytesIO(base64.b64decode(address.split(",")[1])))
    return np.asarray(picture.convert("RGB" if picture.mode == "RGB" else "L"))


def tiles_of(found: pictures.Thumbnails, n: int) -> np.ndarray:
    tiles = []
    for address in found.sheets:
        sheet = decode(address)
        for top in range(0, sheet.shape[0], found.height):
            for left in range(0, sheet.shape[1], found.width):
                tiles.append(sheet[top : top + found.height, left : left + found.width])
    return np.stack(tiles[:n])


def test_colours_differ_up_to_36_clusters() -> None:
    assert len({plots.colour(k) for k in range(36)}) == 36
    rgb = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in plots.PALETTE])
    gaps = np.abs(rgb[:, None] - rgb[None]).sum(-1) + 1000 * np.eye(len(rgb))
    assert gaps.min() > 25
    assert plots.colour(36) == plots.colour(0)


# ------------------------------------------------------------------- which rows


def test_typical_is_the_centre_and_least_sure_the_lowest_probability() -> None:
    p0 = np.array([0.9, 0.9, 0.9, 0.6, 0.2])
    result = plots.Result(
        title="",
        rows=np.zeros((5, 2)),
        labels=np.array([0, 0, 0, 0, 1]),
        responsibilities=np.column_stack([p0, 1 - p0]),
        log_density=np.zeros(5),
        latent=np.array([[-1.0], [0.0], [1.1], [0.02], [9.0]]),
        samples=np.zeros((2, 0, 2)),
    )
    assert plots.typical(result, 0, 1).tolist() == [1]  # row 3 is as near, and less sure
    assert 3 not in plots.typical(result, 0, 5)
    assert plots.least_sure(result, 0, 2).tolist() == [3, 2]
    assert plots.typical(result, 1, 5).tolist() == [4]


def test_without_a_latent_space_the_surest_rows_are_typical() -> None:
    given = vars(make_result(k=2))
    result = plots.Result(**{**given, "latent": None})
    mine = np.flatnonzero(result.labels == 0)
    order = mine[np.argsort(-result.probability[mine], kind="stable")]
    assert plots.typical(result, 0, 5).tolist() == order[:5].tolist()
    assert plots.least_sure(result, 0, 5).tolist() == order[::-1][:5].tolist()


@pytest.mark.parametrize("kind", ["image", "table"])
def test_principal_components_keep_the_rows_apart(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "PRINCIPAL_ROWS", 25)
    given = vars(make_result(n=60, shape=(2, 2)))
    rows = given["rows"].astype(float)
    rows[3, 2] = np.nan
    shape = (2, 2) if kind == "image" else None
    result = plots.Result(**{**given, "rows": rows, "image_shape": shape})
    found = plots.principal_components(result)
    assert found.shape == (60, 4)
    # All directions of four columns: nothing but a turn, after columns of a table are scaled.
    known = np.delete(np.arange(60), 3)
    few = np.sort(np.random.default_rng(0).permutation(60)[:25])
    scale = 1.0 if shape else np.nan_to_num(rows[few]).std(axis=0)
    for a, b in ((0, 1), (7, 40), (20, 59)):
        i, j = known[a], known[b - 1]
        apart = np.linalg.norm((rows[i] - rows[j]) / scale)
        assert np.linalg.norm(found[i] - found[j]) == pytest.approx(apart)
    np.testing.assert_array_equal(found, plots.principal_components(result))


def test_an_empty_cluster_has_no_rows() -> None:
    result = make_result(n=2, k=9)
    empty = next(k for k in range(9) if k not in result.labels)
    assert len(plots.typical(result, empty, 4)) == 0
    assert len(plots.least_sure(result, empty, 4)) == 0


def test_nearest_rows_over_several_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "CHUNK", 7)
    rng = np.random.default_rng(1)
    rows, queries = rng.normal(size=(50, 6)), rng.normal(size=(9, 6))
    expected = np.linalg.norm(rows[None] - queries[:, None], axis=2).argmin(1)
    assert plots.nearest_rows(rows, queries).tolist() == expected.tolist()


# ------------------------------------------------------------------------- the map


def test_two_dimensions_are_shown_as_they_are() -> None:
    z = np.random.default_rng(0).normal(size=(30, 2))
    plane, _ = plots.place(z, np.zeros(30, dtype=int))
    np.testing.assert_array_equal(plane, z)


def test_one_dimension_is_laid_out_in_lanes() -> None:
    z = np.linspace(-1, 1, 30)[:, None]
    labels = np.arange(30) % 3
    plane, _ = plots.place(z, labels)
    np.testing.assert_array_equal(plane[:, 0], z[:, 0])
    np.testing.assert_array_equal(np.round(-plane[:, 1]), labels)


@pytest.mark.parametrize("n", [1, 2, 20])
def test_few_rows_are_projected_onto_principal_components(n: int) -> None:
    z = np.random.default_rng(0).normal(size=(n, 5))
    plane, how = plots.place(z, np.zeros(n, dtype=int))
    assert plane.shape == (n, 2)
    assert np.isfinite(plane).all()
    assert "principal" in how
    if n == 2:
        assert np.ptp(plane[:, 0]) == pytest.approx(np.linalg.norm(z[0] - z[1]))


def test_umap_keeps_blobs_apart_and_repeats_itself() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 60)
    z = rng.normal(size=(120, 5)) + 25 * labels[:, None]
    plane, how = plots.place(z, labels, seed=3)
    again, _ = plots.place(z, labels, seed=3)
    np.testing.assert_array_equal(plane, again)
    assert "UMAP" in how
    centres = np.stack([plane[labels == k].mean(0) for k in (0, 1)])
    nearest = np.linalg.norm(plane[:, None] - centres, axis=2).argmin(1)
    np.testing.assert_array_equal(nearest, labels)


def test_rows_beyond_the_fitted_lie_between_their_neighbours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plots, "UMAP_ROWS", 100)
    monkeypatch.setattr(plots.embedding, "umap", lambda z, width, seed: z[:, :width] + 10)
    z = np.random.default_rng(0).uniform(size=(400, 3))
    z[1::2] = z[::2]  # every row has a twin, so many rows coincide with a fitted one
    plane, how = plots.place(z, np.zeros(400, dtype=int), seed=0)
    assert "100" in how
    # The stand-in is linear, so a good interpolation is near to the truth everywhere.
    assert np.abs(plane - z[:, :2] - 10).mean() < 0.12
    assert np.isfinite(plane).all()


# ------------------------------------------------------------------------- pictures


def test_display_range_ignores_what_is_not_finite() -> None:
    rows = np.array([[0.5, np.nan], [2.0, -np.inf]])
    assert pictures.display_range(rows) == (0.5, 2.0)
    assert pictures.display_range(np.full((2, 2), 3.0)) == (3.0, 4.0)
    assert pictures.display_range(np.full((2, 2), np.nan)) == (0.0, 1.0)


def test_pixels_span_black_to_white_and_clip() -> None:
    pixels = pictures.to_pixels(np.array([[-1.0, 0.0, 0.5, 9.0]]), (2, 2), (0.0, 1.0))
    assert pixels.tolist() == [[[0, 0], [128, 255]]]
    assert pictures.to_pixels(np.zeros((3, 16)), (2, 2, 4), (0, 1)).shape == (3, 2, 2, 3)
    assert pictures.to_pixels(np.zeros((3, 8)), (2, 2, 2), (0, 1)).shape == (3, 2, 2)


def test_a_strip_holds_every_image_enlarged_by_a_whole_factor() -> None:
    images = np.random.default_rng(0).integers(0, 256, size=(3, 8, 8), dtype=np.uint8)
    picture = decode(pictures.strip(images))
    assert picture.shape == (56, 3 * 56)
    np.testing.assert_array_equal(picture[3::7, 3::7], np.concatenate(list(images), axis=1))


def test_large_images_are_shrunk() -> None:
    images = np.zeros((2, 400, 200, 3), dtype=np.uint8)
    assert decode(pictures.strip(images, largest_side=100)).shape == (100, 100, 3)


def test_thumbnails_are_exact_and_in_the_order_asked_for() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, size=(300, 12 * 9), dtype=np.uint8)
    order = rng.permutation(300)
    found = pictures.thumbnails(rows, (12, 9), order, (0, 255))
    assert found.slots is None
    assert (found.height, found.width) == (12, 9)
    np.testing.assert_array_equal(tiles_of(found, 300), rows[order].reshape(300, 12, 9))


def test_thumbnails_over_several_sheets() -> None:
    rows = (np.arange(9000) % 251).astype(np.uint8)[:, None].repeat(28 * 28, axis=1)
    found = pictures.thumbnails(rows, (28, 28), np.arange(9000), (0, 250))
    assert len(found.sheets) > 1
    seen = tiles_of(found, 9000)[:, 0, 0]
    expected = pictures.to_pixels(rows[:, :1], (1, 1), (0, 250))[:, 0, 0]
    assert np.abs(seen.astype(int) - expected).max() <= 9  # at least 16 greys


def test_thumbnails_keep_to_the_budget() -> None:
    rows = np.random.default_rng(0).integers(0, 256, size=(500, 784), dtype=np.uint8)
    order = np.arange(500)[::-1]
    everything = pictures.thumbnails(rows, (28, 28), order, (0, 255), budget=10**7)
    assert (everything.width, everything.slots) == (28, None)
    tight = pictures.thumbnails(rows, (28, 28), order, (0, 255), budget=120_000)
    assert tight.slots is None
    assert tight.width < 28
    sample = pictures.thumbnails(rows, (28, 28), order, (0, 255), budget=30_000)
    assert sample.slots is not None
    assert 0 < len(sample.slots) < 500
    assert (np.diff(sample.slots) > 0).all()
    for found, budget in ((everything, 10**7), (tight, 120_000), (sample, 30_000)):
        assert sum(map(len, found.sheets)) < 1.1 * budget


def test_colour_thumbnails_resemble_their_rows() -> None:
    rows = np.repeat([[200, 30, 30], [20, 40, 220]], 10, axis=0).astype(np.uint8)
    rows = np.tile(rows, 20 * 20)
    found = pictures.thumbnails(rows, (20, 20, 3), np.arange(20), (0, 255))
    tiles = tiles_of(found, 20)
    assert tiles.shape == (20, 20, 20, 3)
    centre = tiles[:, 10, 10].astype(int)
    assert (centre[:10, 0] > centre[:10, 2] + 100).all()
    assert (centre[10:, 2] > centre[10:, 0] + 100).all()


# --------------------------------------------------------------------------- poster


@pytest.mark.parametrize("shape", [(8, 8), (8, 4, 3), (100, 60)])
def test_poster_draws_a_line_per_used_cluster(tmp_path: Path, shape: tuple[int, ...]) -> None:
    result = make_result(shape=shape)
    heights = []
    for clusters in (1, 3):
        write_poster(tmp_path / "p.png", result, clusters=clusters)
        picture = np.asarray(Image.open(tmp_path / "p.png"))
        heights.append(picture.shape[0])
        largest = np.argsort(-np.bincount(result.labels), kind="stable")
        for k in largest[:clusters].tolist():
            ink = [int(plots.colour(k)[i : i + 2], 16) for i in (1, 3, 5)]
            assert (picture == ink).all(-1).sum() > 50
    assert heights[0] < heights[1]
    assert [p.name for p in tmp_path.iterdir()] == ["p.png"]


def test_poster_of_a_table_is_refused(tmp_path: Path) -> None:
    result = make_result()
    table = plots.Result(**{**vars(result), "image_shape": None})
    with pytest.raises(ValueError, match="no images"):
        write_poster(tmp_path / "p.png", table)
    assert not list(tmp_path.iterdir())


# --------------------------------------------------------------------------- result


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": np.zeros(3, dtype=int)}, r"labels has shape \(3,\)"),
        ({"labels": np.full(40, 3)}, "labels run from 3 to 3; expected 0 to 2"),
        ({"latent": np.full((40, 2), np.nan)}, "latent holds NaN"),
        ({"samples": np.zeros((2, 5, 16))}, "samples has shape"),
        ({"responsibilities": np.ones(40)}, "responsibilities has shape"),
        ({"names": ("a", "b")}, "names has 2 entries; expected 16"),
        ({"row_names": ("a",)}, "row_names has 1 entries; expected 40"),
        ({"image_shape": (3, 3)}, "image_shape is"),
        ({"rows": np.zeros((0, 16))}, "rows has shape"),
    ],
)
def test_arrays_which_do_not_belong_together_are_refused(
    change: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        plots.Result(**{**vars(make_result()), **change})
