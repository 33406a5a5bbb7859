"""Sections on tables of runs: all models beside one another, each data set, parts, calibration."""

from collections.abc import Callable, Mapping
from statistics import mean
from typing import Any

from benchmarks.cells import (
    beside,
    cell,
    circumstances,
    epochs,
    minutes,
    score_of,
    spread,
    table,
    used_clusters,
)
from benchmarks.files import Result, Settings, read_results, read_settings

COMPARED = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "imagenette": "imagenette features",
    "cifar10": "CIFAR-10 features",
}
APART = ("mnist_apart", "fashion_mnist_apart")
PARTS = ("parts_digits", "parts_imagenette", "parts_mnist")


def comparison_section() -> str:
    """Return the accuracy of every model on every data set, beside what was published."""
    return "\n".join(
        [
            "## All models on all data sets",
            "",
            "Accuracy, one to one, in percent: mean ± std over the seeds (worst to best), how "
            "many seeds where there are several, and the published best in brackets. Fitted on "
            "all rows without labels. The published features of photographs came from another "
            "network (ResNet-50, STL-10 in place of imagenette): read ours beside k-means on "
            "the same features.",
            "",
            *comparison(list(COMPARED), accuracy_of),
        ]
    )


def comparison(
    tables: list[str], tell: Callable[[str, list[Result], Mapping[str, Any]], str]
) -> list[str]:
    """Return the lines of a table with a line a run and a column a data set."""
    by_run = {name: read_results(name) for name in tables}
    # A data set appears with its first result.
    tables = [name for name in tables if any(by_run[name].values())]
    settings = {name: read_settings(name) for name in tables}
    runs = dict.fromkeys(run for of_table in settings.values() for run in of_table["runs"])
    rows = [
        [
            run,
            *(
                tell(name, by_run[name].get(run, []), settings[name]["runs"].get(run, {}))
                for name in tables
            ),
        ]
        for run in runs
        if any(by_run[name].get(run) for name in tables)
    ]
    return table(["", *(COMPARED[name] for name in tables)], rows)


def parts_section() -> str:
    """Return what DeepMixture loses without each of its parts."""
    settings = [read_settings(name) for name in PARTS]
    found = [read_results(name) for name in PARTS]
    if not any(of_run for of_table in found for of_run in of_table.values()):
        return ""
    whole = [read_results(of["of"])["deepmixture"] for of in settings]
    rows = [["all of it", *(cell(of_run, "all", "accuracy") for of_run in whole)]]
    rows += [
        [run, *(cell(of_table.get(run, []), "all", "accuracy") for of_table in found)]
        for run in found[0]
    ]
    said = [f"- {run}: {facts['text']}" for run, facts in settings[0]["runs"].items()]
    return "\n".join(
        [
            "## What each part of DeepMixture gives",
            "",
            f"Command: `make bench-{' bench-'.join(PARTS)}`. The defaults with one part taken "
            "away or replaced; accuracy, one to one: mean ± std (worst to best) where there are "
            "several seeds.",
            "",
            *table(["", *(COMPARED.get(of["of"], of["of"]) for of in settings)], rows),
            "",
            *said,
            "",
            circumstances(
                [r for of_table in found for of_run in of_table.values() for r in of_run]
            ),
        ]
    )


def calibration_section() -> str:
    """Return how far DeepMixture's probabilities are from the share of rows that are right."""
    rows, judged = [], []
    for name in ("digits", *COMPARED):
        found = [r for r in read_results(name).get("deepmixture", []) if "temperature" in r]
        if not found:
            continue
        judged += found
        rows.append(
            [
                COMPARED.get(name, name),
                str(len(found)),
                spread(map(score_of("all", "accuracy"), found)),
                f"{mean([result['temperature'] for result in found]):.2f}",
                *confidence_and_error([result["calibration_of_q"] for result in found]),
                *confidence_and_error([result["calibration"] for result in found]),
            ]
        )
    if not rows:
        return ""
    head = ["data", "seeds", "accuracy", "temperature"]
    head += ["mean probability by q(y\\|x)", "calibration error"]
    head += ["mean probability at the temperature", "calibration error"]
    return "\n".join(
        [
            "## How sure, and how often right",
            "",
            "From the runs `deepmixture` of the tables above, in percent; the expected "
            "calibration error with 15 bins, mean over the seeds (worst). A results file has its "
            "reliability curves. The temperature of `predict_proba` comes from other clusterings "
            "of the rows, without a label; none of them says which clusters are no classes.",
            "",
            *table(head, rows),
            "",
            circumstances(judged),
        ]
    )


def confidence_and_error(curves: list[dict[str, Any]]) -> list[str]:
    """Return the mean probabilities and the calibration errors of reliability curves, as cells."""
    errors = [curve["error"] for curve in curves]
    return [
        spread(map(mean_confidence, curves)),
        f"{100 * mean(errors):.1f} ({100 * max(errors):.1f})",
    ]


def mean_confidence(curve: Mapping[str, Any]) -> float:
    """Return the mean probability of the label over all rows, of a reliability curve."""
    weighted = zip(curve["confidence"], curve["count"], strict=True)
    return float(sum(share * count for share, count in weighted) / sum(curve["count"]))


def accuracy_of(name: str, found: list[Result], run: Mapping[str, Any]) -> str:
    seeds = f", {len(found)} seeds" if len(found) > 1 else ""
    return beside(cell(found, "all", "accuracy") + seeds, run, "accuracy")


def table_section(name: str) -> str:
    """Return the page's section on one table: scores beside published ones, and notes."""
    settings = read_settings(name)
    by_run = {
        run: found
        for run, found in read_results(name).items()
        if found or "not_run" in settings["runs"][run]
    }
    if not any(by_run.values()):
        return ""
    head = ["run", "seeds", "accuracy", "accuracy, test part", "many to one", "surest member"]
    head += ["NMI = V-measure", "ARI", "used clusters", "epochs", "minutes a fit"]
    rows = []
    for run, found in by_run.items():
        facts = settings["runs"][run]
        ours = "not run" if "not_run" in facts else cell(found, "all", "accuracy")
        cells = [run, str(len(found)), beside(ours, facts, "accuracy")]
        cells.append(cell(found, "test", "accuracy"))
        cells += [
            beside(cell(found, "all", score), facts, score)
            for score in ("many_to_one_accuracy", "surest_member_accuracy", "v_measure", "ari")
        ]
        rows.append([*cells, used_clusters(found, "all"), epochs(found), minutes(found)])
    return "\n".join(
        [
            f"## {settings['title']}",
            "",
            f"Command: `make bench-{name}`. {settings.get('text', '')}".strip(),
            "",
            *table(head, rows),
            *notes(settings, by_run),
            "",
            circumstances([result for found in by_run.values() for result in found]),
        ]
    )


def v_measure_section() -> str:
    """Return the section on the V-measure of VaDE, train and test part apart."""
    settings = read_settings("v_measure")
    by_run = {run: found for run, found in read_results("v_measure").items() if found}
    if not by_run:
        return ""
    head = ["run", "seeds", "clusters", "V-measure, train part", "V-measure, test part"]
    head += ["accuracy, test part", "used clusters", "epochs", "minutes a fit"]
    rows = []
    for run, found in by_run.items():
        facts = settings["runs"][run]
        cells = [run, str(len(found)), str(facts.get("n_clusters", settings["n_clusters"]))]
        for part in ("train", "test"):
            ours = cell(found, part, "v_measure")
            cells.append(beside(ours, facts, f"v_measure_{part}"))
        cells += [cell(found, "test", "accuracy"), used_clusters(found, "all")]
        rows.append([*cells, epochs(found), minutes(found)])
    return "\n".join(
        [
            f"## {settings['title']}",
            "",
            f"Command: `make bench-v_measure`. {settings['text']}",
            "",
            *table(head, rows),
            *notes(settings, by_run),
            "",
            circumstances([result for found in by_run.values() for result in found]),
        ]
    )


def notes(settings: Settings, by_run: Mapping[str, list[Result]]) -> list[str]:
    """Return what is to be said of single runs: shortened, tried, failed, other facets."""
    lines = []
    for run, found in by_run.items():
        facts = settings["runs"][run]
        lines += [
            f"- {run}: {facts[key]}" for key in ("shortened", "note", "not_run") if key in facts
        ]
        lines += [
            f"- {run}, seed {result['seed']}, ended: {result['failed']}."
            for result in found
            if "failed" in result
        ]
        lines += [
            f"- {run}, seed {result['seed']}: accuracy by each of its facets, the main one first, "
            + ", ".join(f"{100 * facet['accuracy']:.2f}" for facet in result["facets"])
            + "."
            for result in found
            if "facets" in result
        ]
    return ["", *lines] if lines else []


def digits_section() -> str:
    """Return the table of the digits that ship with scikit-learn."""
    settings = read_settings("digits")
    by_run = {run: found for run, found in read_results("digits").items() if found}
    if not by_run:
        return ""
    rows = [
        [
            run,
            str(len(found)),
            *(cell(found, "all", name) for name in ("accuracy", "nmi")),
            f"{mean(result['wall_seconds'] for result in found):.0f}",
        ]
        for run, found in by_run.items()
    ]
    return "\n".join(
        [
            f"## {settings['title']}",
            "",
            "Command: `make bench-digits`.",
            "",
            *table(["run", "seeds", "accuracy", "NMI", "seconds a fit"], rows),
            "",
            circumstances([result for found in by_run.values() for result in found]),
        ]
    )
