"""The report holds what it should, escapes what it must and opens without a network."""

import base64
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from deepmixture import cards, merge_plots, report, words
from deepmixture.report import Result, write_report


class Page(HTMLParser):
    """Text, addresses and attributes of a page, without what is inside scripts and styles."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: dict[str, str] = {}
        self.styles = ""
        self._open: list[tuple[str, str | None]] = []
        self.feed(source)
        self.text = " ".join(self.words)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._open.append((tag, dict(attrs).get("id")))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if not self._open:
            self.words.append(data.strip())
        elif self._open[-1][0] == "style":
            self.styles += data
        elif self._open[-1][1]:
            self.scripts[self._open[-1][1]] = data

    def count(self, css_class: str) -> int:
        return sum(css_class in (a.get("class") or "").split() for _, a in self.tags)


def make(
    n: int = 30, f: int = 5, k: int = 3, d: int = 2, drawn: int = 4, **fields: object
) -> Result:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(k, 0.3), size=n)
    given: dict[str, object] = {
        "title": "A table",
        "rows": rng.normal(size=(n, f)),
        "labels": p.argmax(1),
        "responsibilities": p,
        "log_density": rng.normal(size=n),
        "latent": rng.normal(size=(n, d)),
        "samples": rng.normal(size=(k, drawn, f)),
    }
    return Result(**{**given, **fields})  # type: ignore[arg-type]


def written(path: Path, result: Result) -> Page:
    write_report(path / "report.html", result)
    return Page((path / "report.html").read_text(encoding="utf-8"))


def typed(points: dict[str, str], name: str, dtype: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(points[name]), dtype)


def test_nothing_is_fetched_from_elsewhere(tmp_path: Path) -> None:
    page = written(tmp_path, make(image_shape=(1, 5)))
    for tag, attributes in page.tags:
        for name in ("src", "href", "action", "poster"):
            address = attributes.get(name)
            assert address is None or address.startswith(("data:", "#")), (tag, address)
    assert not re.search(r"url\((?!data:)|@import", page.styles)
    policy = next(a["content"] for _, a in page.tags if "http-equiv" in a)
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "http" not in policy
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "plotly.js v" in source
    # The library would otherwise offer a button which sends the data away.
    assert source.count("showSendToCloud: false") == 2


def test_names_from_data_are_escaped(tmp_path: Path) -> None:
    bad = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
    record = {"stage": bad, "epoch": 1, "loss": 1.0, bad: 2.0}
    page = written(
        tmp_path,
        make(
            title=bad,
            names=tuple(bad + str(j) for j in range(5)),
            row_names=tuple(bad + str(i) for i in range(30)),
            settings={bad: bad, "nested": {bad: [bad]}},
            decisions=[bad],
            history=[record],
            source=bad,
        ),
    )
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in source
    assert "<img" not in source
    assert html.escape("<script>alert(1)") in source
    assert json.loads(page.scripts["points"])["names"][3] == bad + "3"
    assert not [tag for tag, _ in page.tags if tag == "img"]


def test_the_map_holds_every_row(tmp_path: Path) -> None:
    result = make()
    points = json.loads(written(tmp_path, result).scripts["points"])
    rows = typed(points, "row", "<u4")
    assert sorted(rows) == list(range(30))
    sizes = points["sizes"]
    labels = np.repeat(np.arange(3), sizes)
    np.testing.assert_array_equal(labels, result.labels[rows])
    probability = typed(points, "probability", "<u2") / 10_000
    np.testing.assert_allclose(probability, result.probability[rows], atol=1e-4)
    # Steps are a straight-line image of the latent plane.
    for axis, name in enumerate("xy"):
        steps = typed(points, name, "<i2").astype(float)
        assert np.corrcoef(steps, result.latent[rows, axis])[0, 1] > 0.999999
        assert (steps.min(), steps.max()) == (-32_000, 32_000)


def test_a_number_stands_on_its_cluster_not_between_its_islands() -> None:
    islands = np.concatenate([np.full((10, 2), -20_000.0), np.full((11, 2), 20_000.0)])
    assert report._densest(islands) == [20_000.0, 20_000.0]


def test_a_card_for_each_cluster_the_empty_ones_too(tmp_path: Path) -> None:
    p = np.zeros((30, 4))
    p[:20, 0], p[20:, 2] = 1, 1
    page = written(tmp_path, make(k=4, responsibilities=p, labels=p.argmax(1)))
    assert page.count("card") == 4
    assert page.count("empty") == 2
    assert "of 4; 2 empty" in page.text
    assert "Drawn from the cluster" in page.text


@pytest.mark.parametrize("n", [1, 2, 3, 60])
@pytest.mark.parametrize("k", [1, 2, 60])
@pytest.mark.parametrize("d", [1, 3])
def test_sizes_at_the_edge(tmp_path: Path, n: int, k: int, d: int) -> None:
    if n == 60 and d == 3:
        d = 2  # the layout itself is tested elsewhere
    page = written(tmp_path, make(n=n, k=k, d=d, drawn=0, image_shape=(5, 1)))
    assert page.count("card") == k
    assert sum(json.loads(page.scripts["points"])["sizes"]) == n


def test_image_cards_show_tiles_and_thumbnails(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 17, size=(30, 64), dtype=np.uint8)
    page = written(tmp_path, make(f=64, rows=rows, image_shape=(8, 8)))
    points = json.loads(page.scripts["points"])
    assert (points["thumbnails"]["width"], points["thumbnails"]["slots"]) == (8, None)
    assert page.scripts["sheet-0"].startswith("data:image/png;base64,")
    assert page.count("tiles") == 3 * 3 + 1
    assert page.styles.count("background-image") == 3 * 3 + 1


def test_tables_name_the_columns_that_tell_clusters_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    p = np.eye(2)[np.repeat([0, 1], 15)]
    rows = rng.normal(size=(30, 5))
    rows[15:, 3] += 50
    rows[4, 0] = np.nan
    result = make(
        k=2, rows=rows, names=("a", "b", "c", "height", "e"), responsibilities=p,
        labels=p.argmax(1),
    )  # fmt: skip
    page = written(tmp_path, result)
    profile = [a["title"] or "" for t, a in page.tags if t == "li" and "title" in a]
    assert [line.split(":")[0] == "height" for line in profile] == ([True] + [False] * 4) * 2
    assert page.count("heat") == 1
    assert "nan" not in page.text.lower().split()


def test_embeddings_show_row_numbers(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(30, 100))
    samples = np.stack([rows[[3, 4]], rows[[5, 6]], rows[[7, 8]]]) + 1e-3
    page = written(tmp_path, make(f=100, rows=rows, samples=samples))
    assert page.count("chips") == 3 * 3 + 1
    assert page.count("lines") == 0
    for row in range(3, 9):  # each sample is next to the row it was made from
        assert re.search(rf"\brow {row}\b", page.text.split("nearest to each fresh sample", 1)[1])


WHY = {
    "score_samples": "it has no density",
    "sample": "it <has> no samples",
    "transform": "it has no encoder",
}


@pytest.mark.parametrize("kind", ["image", "table", "embedding"])
def test_what_a_model_cannot_do_is_left_out_or_said(tmp_path: Path, kind: str) -> None:
    f = 80 if kind == "embedding" else 4
    rows = np.random.default_rng(0).normal(size=(30, f))
    shape = (2, 2) if kind == "image" else None
    bare = {"log_density": None, "latent": None, "samples": np.empty((3, 0, f)), "cannot": WHY}
    page = written(tmp_path, make(f=f, rows=rows, image_shape=shape, **bare))
    for why in WHY.values():
        assert page.text.count(why) == 1
    assert "latent dimension" not in page.text
    assert "log density" not in page.text.replace("lowest log density", "")
    assert "Drawn from the cluster" not in page.text
    assert "Map of the rows" in page.text
    assert page.count("card") == 3
    # The rows still have their places on the map, all of them.
    points = json.loads(page.scripts["points"])
    assert sorted(typed(points, "row", "<u4")) == list(range(30))
    assert len(set(zip(typed(points, "x", "<i2"), typed(points, "y", "<i2"), strict=True))) == 30
    everything = written(tmp_path, make(f=f, rows=rows, image_shape=shape))
    for why in WHY.values():
        assert why not in everything.text
    assert "Map of the latent space" in everything.text


def test_column_means_against_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report.pictures, "CHUNK", 7)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(30, 5)) + 1e6
    rows[rng.random((30, 5)) < 0.2] = np.nan
    result = make(rows=rows)
    mean, spread = cards._column_means(result)
    for k in range(3):
        np.testing.assert_allclose(mean[k], np.nanmean(rows[result.labels == k], 0), rtol=1e-12)
        np.testing.assert_allclose(spread[k], np.nanstd(rows[result.labels == k], 0), rtol=1e-6)
    np.testing.assert_allclose(mean[-1], np.nanmean(rows, 0), rtol=1e-12)
    np.testing.assert_allclose(spread[-1], np.nanstd(rows, 0), rtol=1e-6)


def test_history_becomes_one_curve_per_term_and_stage(tmp_path: Path) -> None:
    history = [
        {"stage": "pretraining", "epoch": 1, "seconds": 0.1, "loss": 3.0},
        {"stage": "pretraining", "epoch": 2, "seconds": 0.1, "loss": float("nan")},
        {"stage": "mixture", "epoch": 1, "learning_rate": 1e-3, "kl": np.float32(2), "loss": 9},
    ]
    page = written(tmp_path, make(history=history))
    stages = json.loads(page.scripts["points"])["stages"]
    assert [(s["name"], s["epochs"]) for s in stages] == [
        ("pretraining", [1, 2]),
        ("mixture", [1]),
    ]
    assert stages[0]["series"][0]["values"] == [3.0, None]
    assert [s["name"] for s in stages[1]["series"]] == ["loss", "kl", "learning rate"]
    assert page.count("curve") == 4


def test_settings_and_decisions_are_listed(tmp_path: Path) -> None:
    settings = {"n_clusters": 7, "net": {"hidden": [500, 200], "act": None}, "compile": False}
    page = written(tmp_path, make(settings=settings, decisions=["Columns were standardised."]))
    for word in ("n_clusters", "7", "500, 200", "none", "no", "Columns were standardised."):
        assert word in page.words


def test_a_failure_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "report.html"
    target.write_text("old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(target, make())
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_the_same_seed_writes_the_same_page(tmp_path: Path) -> None:
    write_report(tmp_path / "a.html", make(d=1), seed=5)
    write_report(tmp_path / "b.html", make(d=1), seed=5)
    write_report(tmp_path / "c.html", make(d=1), seed=6)
    a, b, c = ((tmp_path / f"{n}.html").read_bytes() for n in "abc")
    assert a == b
    assert a != c


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0, "0 %"), (1, "100 %"), (0.9999, "> 99.9 %"), (1e-5, "< 0.1 %"), (0.1234, "12.3 %")],
)
def test_percentages_never_round_to_certainty(fraction: float, text: str) -> None:
    assert words.percent(fraction) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.00012345, "0.0001234"),
        (-3, "\N{MINUS SIGN}3"),
        (12345.6, "12,346"),
        (np.nan, "\N{EN DASH}"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert words.number(value) == text


def test_the_merges_that_found_the_number_of_clusters_are_shown(tmp_path: Path) -> None:
    merges = [
        {
            "n_clusters": 3,
            "one": 0,
            "other": 2,
            "connection": 0.2,
            "share": 0.1,
            "done": 1,
            "stability": 0.9,
        },
        {
            "n_clusters": 2,
            "one": 0,
            "other": 1,
            "connection": 0.0,
            "share": 0.4,
            "done": 0,
            "stability": 0.5,
        },
    ]
    curve = merge_plots.connection_curve(merges)
    assert curve.count("<circle") == 2
    assert curve.count('fill="currentColor" stroke') == 1
    assert "3 clusters: 20%" in curve
    assert "2 clusters: 50%" in merge_plots.stability_curve(merges)
    write_report(tmp_path / "with.html", make(merges=merges))
    write_report(tmp_path / "without.html", make())
    assert "The whole merge tree" in (tmp_path / "with.html").read_text(encoding="utf-8")
    assert "How many clusters" not in (tmp_path / "without.html").read_text(encoding="utf-8")
