"""The report: one HTML file which shows a clustering and opens without a network."""

from __future__ import annotations

import base64
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepmixture import merge_plots, pictures, plots
from deepmixture.plots import Result

__all__ = ["Result", "write_report"]

TYPICAL, UNSURE, DRAWN = 24, 12, 12  # how many rows a card shows
LARGE = 48  # images of more pixels a side get half as many, twice as large
TABLE_ROWS, TABLE_COLUMNS = 4, 5
PROFILE_COLUMNS, HEAT_COLUMNS = 8, 40
TABLE_BELOW = 64  # columns without names are shown one by one up to here
SURE, FAIRLY_SURE = 0.99, 0.9

Json = dict[str, Any]


def write_report(path: str | os.PathLike[str], result: Result, seed: int = 0) -> None:
    """Write the report on a clustering.

    Parameters
    ----------
    path : path
        The HTML file to write; written beside and renamed into place.
    result : Result
        What there is to show.
    seed : int
        Seed of the map and of the choice of thumbnails.
    """
    page = _render(result, seed)
    target = Path(path)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.write_text(page, encoding="utf-8")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _render(result: Result, seed: int) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("deepmixture"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["value"] = _value
    show = _Shown(result)
    points, sheets, how = _map(result, show, seed)
    return environment.get_template("report.html.j2").render(
        title=result.title,
        source=result.source,
        facts=_facts(result, show),
        sizes=_sizes(result, show),
        heat=show.heat(),
        cards=[show.card(k) for k in range(result.n_clusters)],
        unlikely=show.unlikely(),
        cannot=result.cannot,
        typical="are the surest of their cluster"
        if result.latent is None
        else "lie nearest to the centre of their cluster in the latent space",
        place="rows" if result.latent is None else "latent space",
        tile=show.tile,
        strips=show.strips,
        stages=_stages(result.history),
        merges=result.merges,
        connection_curve=merge_plots.connection_curve(result.merges) if result.merges else "",
        stability_curve=merge_plots.stability_curve(result.merges) if result.merges else "",
        settings=result.settings,
        decisions=result.decisions,
        how=how,
        points=points,
        sheets=sheets,
        plotly_js=get_plotlyjs(),
    )


class _Shown:
    """Rows as the page shows them: pictures, table lines or plain numbers."""

    def __init__(self, result: Result) -> None:
        self.result = result
        self.probability = result.probability
        self.sizes = result.all_sizes
        self.shown = np.bincount(result.labels, minlength=result.n_clusters)
        self.strips: list[str] = []
        self.tile: Json = {}
        f = result.rows.shape[1]
        if result.image_shape is not None:
            self.kind = "image"
            self.limits = pictures.display_range(result.rows)
            self.tile = _tile(result.image_shape)
        elif result.names is not None or f < TABLE_BELOW:
            self.kind = "table"
            self.names = result.names or tuple(f"column {j}" for j in range(f))
            self.mean, self.spread = _column_means(result)
        else:
            self.kind = "embedding"
            self._nearest()

    def name(self, row: int) -> str:
        names = self.result.row_names
        return f"row {row}" if names is None else names[row]

    def word(self, row: int) -> str:
        """Name the row, its probability, and its second choice if it is unsure."""
        p = self.probability[row]
        text = f"{self.name(row)} · {_percent(p)}"
        others = np.nan_to_num(self.result.responsibilities[row].astype(np.float64))
        others[self.result.labels[row]] = -1.0
        if p < SURE and len(others) > 1 and others.max() > 0:
            text += f", cluster {others.argmax()} {_percent(others.max())}"
        return text

    def card(self, k: int) -> Json:
        n = int(self.sizes[k])
        fewer = 2 if self.kind == "embedding" else self.tile.get("share", 1)
        counts = [c // fewer for c in (TYPICAL, UNSURE, DRAWN)]
        if self.kind == "table":
            counts = [TABLE_ROWS] * 3
        typical = plots.typical(self.result, k, counts[0])
        unsure = plots.least_sure(self.result, k, counts[1])
        columns = self._most_distinguishing(k)
        near = "" if self.result.latent is None else "near the centre, "
        probability = self.probability[self.result.labels == k]
        groups = [
            self._group("Most typical", f"{near}surely members", typical, columns),
            self._group("Least sure", "lowest probability of belonging", unsure, columns),
            self._drawn(k, counts[2], columns),
        ]
        return {
            "cluster": k,
            "colour": plots.colour(k),
            "n": n,
            "share": _percent(n / self.sizes.sum()),
            "mean": _percent(probability.mean()) if len(probability) else "",
            "profile": self._profile(k),
            "groups": [group for group in groups if group],
        }

    def unlikely(self) -> Json | None:
        """Rows with the lowest density."""
        density = self.result.log_density
        if density is None or len(density) < 3 or not np.isfinite(density).any():
            return None
        count = 8 if self.kind == "table" else TYPICAL
        rows = np.argsort(np.where(np.isnan(density), np.inf, density), kind="stable")
        columns = self._most_distinguishing(None)
        return self._group("", "", rows[: min(count, len(rows) // 2)], columns, density)

    def _group(
        self,
        title: str,
        note: str,
        rows: np.ndarray,
        columns: np.ndarray,
        density: np.ndarray | None = None,
    ) -> Json | None:
        if len(rows) == 0:
            return None
        result, group = self.result, {"title": title, "note": note}
        words = [self.word(r) for r in rows.tolist()]
        if density is not None:
            labels, values = result.labels[rows], density[rows]
            words = [
                f"{self.name(r)} · cluster {k} · log density {_number(v)}"
                for r, k, v in zip(rows.tolist(), labels, values, strict=True)
            ]
        if self.kind == "image":
            return group | self._pictures(np.asarray(result.rows[rows]), words)
        if self.kind == "table":
            heads = [self.name(r) for r in rows.tolist()]
            last = [_percent(p) for p in self.probability[rows]]
            head = "probability"
            if density is not None:
                last, head = [_number(v) for v in density[rows]], "log density"
            return group | self._lines(np.asarray(result.rows[rows]), heads, columns, head, last)
        return group | {"form": "chips", "items": words}

    def _drawn(self, k: int, n: int, columns: np.ndarray) -> Json | None:
        samples = self.result.samples[k][:n]
        if len(samples) == 0:
            return None
        group: Json = {"title": "Drawn from the cluster", "note": "made by the model, not data"}
        if self.kind == "image":
            return group | self._pictures(samples, [""] * len(samples))
        if self.kind == "table":
            heads = [f"sample {i}" for i in range(len(samples))]
            return group | self._lines(samples, heads, columns, "", [""] * len(samples))
        rows = self.near_samples[k][: len(samples)].tolist()
        group["note"] = "the real row nearest to each fresh sample"
        labels = self.result.labels
        items = [self.name(r) + ("" if labels[r] == k else f", cluster {labels[r]}") for r in rows]
        return group | {"form": "chips", "items": items}

    def _nearest(self) -> None:
        k, n, f = self.result.samples.shape
        n = min(n, DRAWN)
        queries = self.result.samples[:, :n].reshape(k * n, f)
        self.near_samples = plots.nearest_rows(self.result.rows, queries).reshape(k, n)

    def _pictures(self, rows: np.ndarray, words: list[str]) -> Json:
        shape = self.result.image_shape
        assert shape is not None
        pixels = pictures.to_pixels(rows, shape, self.limits)
        self.strips.append(pictures.strip(pixels))
        last = max(len(words) - 1, 1)
        tiles = [{"at": round(100 * i / last, 4), "word": w} for i, w in enumerate(words)]
        return {"form": "tiles", "strip": len(self.strips) - 1, "tiles": tiles}

    def _lines(
        self, rows: np.ndarray, heads: list[str], columns: np.ndarray, head: str, last: list[str]
    ) -> Json:
        lines = [
            {"head": h, "cells": [_number(v) for v in row[columns]], "last": p}
            for h, row, p in zip(heads, rows, last, strict=True)
        ]
        names = [self.names[j] for j in columns]
        return {"form": "lines", "columns": names, "last": head, "lines": lines}

    # ------------------------------------------------------ columns of a table

    def _standardised(self) -> np.ndarray:
        """Column means of each cluster, in standard deviations from those of all rows: (K, F)."""
        total, spread = self.mean[-1], self.spread[-1]
        return np.asarray((self.mean[:-1] - total) / np.where(spread > 0, spread, 1.0))

    def _most_distinguishing(self, k: int | None) -> np.ndarray:
        if self.kind != "table":
            return np.zeros(0, dtype=np.intp)
        z = np.abs(np.nan_to_num(self._standardised()))
        strength = z.max(axis=0) if k is None or self.shown[k] == 0 else z[k]
        return np.argsort(-strength, kind="stable")[:TABLE_COLUMNS]

    def _profile(self, k: int) -> list[Json]:
        if self.kind != "table" or self.shown[k] == 0:
            return []
        z = np.nan_to_num(self._standardised()[k])
        limit = max(2.0, float(np.abs(z).max()))
        return [
            {
                "name": self.names[j],
                "z": f"{z[j]:+.2f}".replace("-", "\N{MINUS SIGN}"),
                "left": round(50 + 50 * min(z[j], 0) / limit, 2),
                "width": round(50 * abs(z[j]) / limit, 2),
                "high": bool(z[j] > 0),
                "mean": _number(self.mean[k][j]),
                "spread": _number(self.spread[k][j]),
                "total": _number(self.mean[-1][j]),
            }
            for j in np.argsort(-np.abs(z), kind="stable")[:PROFILE_COLUMNS]
        ]

    def heat(self) -> Json | None:
        """Means of each cluster column by column, the most distinguishing columns first."""
        if self.kind != "table" or np.count_nonzero(self.shown) < 2:
            return None
        z = self._standardised()
        share = self.shown[:, None] / self.shown.sum()
        between = (np.nan_to_num(z) ** 2 * share).sum(axis=0)
        columns = np.argsort(-between, kind="stable")[:HEAT_COLUMNS]
        lines = [
            {
                "cluster": k,
                "cells": [
                    {
                        "high": bool(z[k, j] > 0),
                        "strength": round(100 * min(abs(z[k, j]) / 2, 1.0)),
                        "word": f"{self.names[j]}: {_number(self.mean[k][j])} in cluster {k}, "
                        f"{_number(self.mean[-1][j])} in all ({z[k, j]:+.2f} sd)",
                    }
                    for j in columns
                    if np.isfinite(z[k, j])
                ],
            }
            for k in np.flatnonzero(self.shown).tolist()
        ]
        hidden = len(self.names) - len(columns)
        return {"columns": [self.names[j] for j in columns], "lines": lines, "hidden": hidden}


def _column_means(result: Result) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations per cluster, then over all rows: (K + 1, F), NaN ignored."""
    k, f = result.n_clusters, result.rows.shape[1]
    count, first, second = (np.zeros((k, f)) for _ in range(3))
    # Squares of values far from zero would cancel: measure from a typical row.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column of nothing but NaN
        origin = np.nan_to_num(np.nanmean(result.rows[:1000].astype(np.float64), axis=0))
    for start, part in pictures.chunks(result.rows):
        x = part.astype(np.float64) - origin
        member = np.eye(k)[result.labels[start : start + len(part)]].T
        known = np.isfinite(x)
        x = np.where(known, x, 0.0)
        count += member @ known
        first += member @ x
        second += member @ x**2
    count, first, second = (np.vstack([s, s.sum(axis=0)]) for s in (count, first, second))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = first / count
        spread = np.sqrt(np.maximum(second / count - mean**2, 0.0))
    return mean + origin, spread


def _tile(shape: Sequence[int]) -> Json:
    """Shape of an image on the page, and how many stand side by side in a card."""
    large = max(shape[:2]) > LARGE
    return {
        "height": shape[0],
        "width": shape[1],
        "columns": 6 if large else 12,
        "room": 88 if large else 42,
        "share": 2 if large else 1,
    }


# ------------------------------------------------------------------------- sections


def _facts(result: Result, show: _Shown) -> list[Json]:
    n, f = int(show.sizes.sum()), result.rows.shape[1]
    used = int(np.count_nonzero(show.sizes))
    k = result.n_clusters
    what = f"{f:,} column{'s' * (f != 1)}"
    if result.image_shape is not None:
        what = " \N{MULTIPLICATION SIGN} ".join(str(s) for s in result.image_shape) + " pixels"
    filled = show.sizes[show.sizes > 0]
    share = _percent(filled.min() / n), _percent(filled.max() / n)
    fairly = _percent((show.probability >= FAIRLY_SURE).mean())
    facts = [
        {"value": f"{n:,}", "name": "rows", "note": what},
        {
            "value": f"{used}",
            "name": "cluster" + "s" * (used != 1),
            "note": "none empty" if used == k else f"of {k}; {k - used} empty",
        },
        {
            "value": _percent(show.probability.mean()),
            "name": "mean probability",
            "note": f"{fairly} at {FAIRLY_SURE:g} or more",
        },
        {
            "value": share[0]
            if used == 1
            else f"{share[0]} \N{EN DASH} {share[1]}".replace(" %", "", 1),
            "name": "cluster size",
            "note": f"{filled.min():,} to {filled.max():,} rows",
        },
    ]
    if result.latent is not None:
        d = result.latent.shape[1]
        facts.append({"value": f"{d}", "name": "latent dimension" + "s" * (d != 1), "note": ""})
    density = np.empty(0) if result.log_density is None else result.log_density
    finite = density[np.isfinite(density)]
    if len(finite):
        facts.append(
            {"value": _number(np.median(finite)), "name": "median log density", "note": "of a row"}
        )
    return facts


def _sizes(result: Result, show: _Shown) -> list[Json]:
    """Each cluster's size as a bar, its rows parted by how sure they are."""
    largest = int(show.sizes.max())
    lines = []
    for k, n in enumerate(show.sizes.tolist()):
        p = show.probability[result.labels == k]
        of_all = n / max(1, len(p))
        parts = [
            round(of_all * np.count_nonzero(of_such))
            for of_such in (p >= SURE, (p < SURE) & (p >= FAIRLY_SURE), p < FAIRLY_SURE)
        ]
        lines.append(
            {
                "cluster": k,
                "colour": plots.colour(k),
                "n": n,
                "share": _percent(n / show.sizes.sum()),
                "mean": _percent(p.mean()) if len(p) else "\N{EN DASH}",
                "parts": [round(100 * part / largest, 3) for part in parts],
                "word": f"{parts[0]:,} rows at {SURE:g} or more, {parts[1]:,} from "
                f"{FAIRLY_SURE:g}, {parts[2]:,} below",
            }
        )
    return lines


def _map(result: Result, show: _Shown, seed: int) -> tuple[Json, list[str], str]:
    """Pack the map: points in the order of their clusters, as typed arrays in base64."""
    if result.latent is not None:
        plane, how = plots.place(result.latent, result.labels, seed)
    else:
        coordinates = plots.principal_components(result, seed)
        plane, how = plots.place(coordinates, result.labels, seed, "principal component")
    order = np.argsort(result.labels, kind="stable")
    low, high = plane.min(axis=0), plane.max(axis=0)
    width = np.where(high > low, high - low, 1.0)
    # 65,000 steps a side are finer than any screen.
    steps = np.round((plane[order] - low) / width * 64_000 - 32_000).astype("<i2")
    middle = {}
    for k in np.flatnonzero(show.shown).tolist():
        middle[k] = _densest(steps[result.labels[order] == k].astype(np.float64))
    points: Json = {
        "x": _base64(steps[:, 0]),
        "y": _base64(steps[:, 1]),
        "row": _base64(order.astype("<u4")),
        "probability": _base64(np.round(show.probability[order] * 10_000).astype("<u2")),
        "sizes": show.shown.tolist(),
        "colours": [plots.colour(k) for k in range(result.n_clusters)],
        "middle": middle,
        "names": None if result.row_names is None else list(result.row_names),
        "thumbnails": None,
        "stages": _stages(result.history),
    }
    if result.image_shape is None:
        return points, [], how
    small = pictures.thumbnails(result.rows, result.image_shape, order, show.limits, seed=seed)
    points["thumbnails"] = {
        "columns": small.columns,
        "perSheet": small.per_sheet,
        "width": small.width,
        "height": small.height,
        "slots": None if small.slots is None else _base64(small.slots.astype("<u4")),
    }
    if small.slots is not None:
        how += f" Pictures are kept for {len(small.slots):,} of the rows."
    return points, small.sheets, how


def _densest(steps: np.ndarray) -> list[float]:
    """Where to write a cluster's number: in the fullest of 16 x 16 cells, not between islands."""
    cell = np.clip((steps + 32_000) // 4_000, 0, 15) @ [16, 1]
    cells, counts = np.unique(cell, return_counts=True)
    inside = steps[cell == cells[counts.argmax()]]
    return [float(v) for v in np.median(inside, axis=0)]


def _stages(history: Sequence[Mapping[str, object]]) -> list[Json]:
    """Group the history by stage: epochs, and one series for each term."""
    stages: list[Json] = []
    aside = ("stage", "epoch", "seconds")
    for record in history:
        name = str(record.get("stage", "training"))
        if not stages or stages[-1]["name"] != name:
            stages.append({"name": name, "epochs": [], "records": []})
        stage = stages[-1]
        epoch = _finite(record.get("epoch"))
        stage["epochs"].append(len(stage["epochs"]) + 1 if epoch is None else epoch)
        stage["records"].append(record)
    for stage in stages:
        records = stage.pop("records")
        keys = dict.fromkeys(key for record in records for key in record if key not in aside)
        series: list[Json] = []
        for key in sorted(keys, key=lambda key: (key != "loss", key == "learning_rate")):
            values = [_finite(record.get(key)) for record in records]
            known = [v for v in values if v is not None]
            if known:
                name = str(key).replace("_", " ")
                series.append({"name": name, "values": values, "last": _number(known[-1])})
        stage["series"] = series
    return stages


# ----------------------------------------------------------------------------- words


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")


def _finite(value: object) -> float | None:
    """Return a number which JSON can hold, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return None
    return float(value) if math.isfinite(value) else None


def _number(value: float) -> str:
    """Four significant digits, with a true minus sign."""
    if not math.isfinite(value):
        return "\N{EN DASH}"
    small = f"{value:,.0f}" if 1e4 <= abs(value) < 1e7 else f"{value:.4g}"
    return small.replace("-", "\N{MINUS SIGN}")


def _percent(fraction: float) -> str:
    """One decimal; never rounded up to a certainty or down to nothing."""
    percent = 100 * float(fraction)
    if 99.95 <= percent < 100:
        return "> 99.9 %"
    if 0 < percent < 0.05:
        return "< 0.1 %"
    return f"{percent:.0f} %" if percent in (0, 100) else f"{percent:.1f} %"


def _value(value: object) -> str:
    """Write a setting for people."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        text = ", ".join(_value(v) for v in value[:20])
        return text + (f" and {len(value) - 20:,} more" if len(value) > 20 else "")
    text = str(value)
    return text if len(text) <= 300 else text[:300] + "…"
