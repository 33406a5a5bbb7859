"""The report: one HTML file which shows a clustering and opens without a network."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from deepmixture import merge_plots, pictures, plots
from deepmixture.cards import SURE, Json, Shown
from deepmixture.outputs import new_file
from deepmixture.plots import Result
from deepmixture.words import base64_of, finite, in_words, number, percent

__all__ = ["Result", "write_report"]

FAIRLY_SURE = 0.9


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
    with new_file(Path(path)) as hidden:
        hidden.write_text(page, encoding="utf-8")


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
    environment.filters["value"] = in_words
    show = Shown(result)
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


def _facts(result: Result, show: Shown) -> list[Json]:
    n, f = int(show.sizes.sum()), result.rows.shape[1]
    used = int(np.count_nonzero(show.sizes))
    k = result.n_clusters
    what = f"{f:,} column{'s' * (f != 1)}"
    if result.image_shape is not None:
        what = " \N{MULTIPLICATION SIGN} ".join(str(s) for s in result.image_shape) + " pixels"
    filled = show.sizes[show.sizes > 0]
    share = percent(filled.min() / n), percent(filled.max() / n)
    fairly = percent((show.probability >= FAIRLY_SURE).mean())
    facts = [
        {"value": f"{n:,}", "name": "rows", "note": what},
        {
            "value": f"{used}",
            "name": "cluster" + "s" * (used != 1),
            "note": "none empty" if used == k else f"of {k}; {k - used} empty",
        },
        {
            "value": percent(show.probability.mean()),
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
            {"value": number(np.median(finite)), "name": "median log density", "note": "of a row"}
        )
    return facts


def _sizes(result: Result, show: Shown) -> list[Json]:
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
                "share": percent(n / show.sizes.sum()),
                "mean": percent(p.mean()) if len(p) else "\N{EN DASH}",
                "parts": [round(100 * part / largest, 3) for part in parts],
                "word": f"{parts[0]:,} rows at {SURE:g} or more, {parts[1]:,} from "
                f"{FAIRLY_SURE:g}, {parts[2]:,} below",
            }
        )
    return lines


def _map(result: Result, show: Shown, seed: int) -> tuple[Json, list[str], str]:
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
        "x": base64_of(steps[:, 0]),
        "y": base64_of(steps[:, 1]),
        "row": base64_of(order.astype("<u4")),
        "probability": base64_of(np.round(show.probability[order] * 10_000).astype("<u2")),
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
        "slots": None if small.slots is None else base64_of(small.slots.astype("<u4")),
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
        epoch = finite(record.get("epoch"))
        stage["epochs"].append(len(stage["epochs"]) + 1 if epoch is None else epoch)
        stage["records"].append(record)
    # In the order in which the fit first named them, which is that of the columns on disk, too.
    named = dict.fromkeys(key for record in history for key in record if key not in aside)
    order = sorted(named, key=lambda key: (key != "loss", key == "learning_rate"))
    for stage in stages:
        records = stage.pop("records")
        series: list[Json] = []
        for key in order:
            values = [finite(record.get(key)) for record in records]
            known = [v for v in values if v is not None]
            if known:
                name = str(key).replace("_", " ")
                series.append({"name": name, "values": values, "last": number(known[-1])})
        stage["series"] = series
    return stages
