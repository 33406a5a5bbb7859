"""The rows of a report as its page shows them: pictures, lines of a table or plain numbers."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from deepmixture import pictures, plots
from deepmixture.plots import Result
from deepmixture.words import number, percent

TYPICAL, UNSURE, DRAWN = 24, 12, 12  # how many rows a card shows
LARGE = 48  # images of more pixels a side get half as many, twice as large
TABLE_ROWS, TABLE_COLUMNS = 4, 5
PROFILE_COLUMNS, HEAT_COLUMNS = 8, 40
TABLE_BELOW = 64  # columns without names are shown one by one up to here
SURE = 0.99

Json = dict[str, Any]


class Shown:
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
        text = f"{self.name(row)} · {percent(p)}"
        others = np.nan_to_num(self.result.responsibilities[row].astype(np.float64))
        others[self.result.labels[row]] = -1.0
        if p < SURE and len(others) > 1 and others.max() > 0:
            text += f", cluster {others.argmax()} {percent(others.max())}"
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
            "share": percent(n / self.sizes.sum()),
            "mean": percent(probability.mean()) if len(probability) else "",
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
                f"{self.name(r)} · cluster {k} · log density {number(v)}"
                for r, k, v in zip(rows.tolist(), labels, values, strict=True)
            ]
        if self.kind == "image":
            return group | self._pictures(np.asarray(result.rows[rows]), words)
        if self.kind == "table":
            heads = [self.name(r) for r in rows.tolist()]
            last = [percent(p) for p in self.probability[rows]]
            head = "probability"
            if density is not None:
                last, head = [number(v) for v in density[rows]], "log density"
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
            {"head": h, "cells": [number(v) for v in row[columns]], "last": p}
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
                "mean": number(self.mean[k][j]),
                "spread": number(self.spread[k][j]),
                "total": number(self.mean[-1][j]),
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
                        "word": f"{self.names[j]}: {number(self.mean[k][j])} in cluster {k}, "
                        f"{number(self.mean[-1][j])} in all ({z[k, j]:+.2f} sd)",
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
