"""Pages and the README's table, generated from the results files; no figure is typed by hand."""

import json
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
Result = dict[str, Any]


def results(table: str) -> dict[str, list[Result]]:
    """Return the results of a table by run, in the order of the settings file."""
    settings = settings_of(table)
    found: dict[str, list[Result]] = {run: [] for run in settings["runs"]}
    for file in sorted((HERE / "results" / table).glob("*.json")):
        result = json.loads(file.read_text())
        found[result["run"]].append(result)
    return found


def spread(values: Iterable[float]) -> str:
    """Return "mean ± std (worst to best)" of shares, in percent."""
    percent = [100 * value for value in values]
    deviation = stdev(percent) if len(percent) > 1 else 0.0
    return f"{mean(percent):.2f} ± {deviation:.2f} ({min(percent):.2f} to {max(percent):.2f})"


def score_of(part: str, name: str) -> Callable[[Result], float]:
    """Return a function from a result to one of its scores."""
    return lambda result: float(result["scores"][part][name])


def published(run: dict[str, Any], name: str) -> str:
    """Return the published figure of a run, or a dash."""
    value = run.get("published", {}).get(name)
    return "–" if value is None else f"{value:.2f}"


COMPARED = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "imagenette": "imagenette features",
    "cifar10": "CIFAR-10 features",
}
WITHOUT = "–"


def settings_of(table: str) -> Result:
    """Return the settings file of a table."""
    return tomllib.loads((HERE / "settings" / f"{table}.toml").read_text())


def finished(found: Iterable[Result]) -> list[Result]:
    """Return the results of the runs that came to an end."""
    return [result for result in found if "failed" not in result]


def cell(found: list[Result], part: str, name: str) -> str:
    """Return mean, spread, worst and best of a score; "diverged" where no run came to an end."""
    ended = finished(found)
    if not ended:
        return "diverged" if found else WITHOUT
    if any(name not in result["scores"][part] for result in ended):
        return WITHOUT
    return spread(map(score_of(part, name), ended))


def comparison_section() -> str:
    """Return the accuracy of every model on every data set, beside what was published."""
    tables = {table: settings_of(table) for table in COMPARED}
    by_run = {table: results(table) for table in COMPARED}
    runs = dict.fromkeys(run for settings in tables.values() for run in settings["runs"])
    lines = [
        "## All models on all data sets",
        "",
        "Accuracy, one to one, in percent: mean ± std over the seeds (worst to best, seeds), and "
        "the published best in brackets. Fitted on all rows without labels. The published "
        "features of photographs came from another network (ResNet-50, STL-10 in place of "
        "imagenette): read ours beside k-means on the same features.",
        "",
        "| | " + " | ".join(COMPARED.values()) + " |",
        "|---" * (1 + len(COMPARED)) + "|",
    ]
    for run in runs:
        cells = [run]
        for table, settings in tables.items():
            found = by_run[table].get(run, [])
            known = published(settings["runs"].get(run, {}), "accuracy")
            ours = cell(found, "all", "accuracy") + (f", {len(found)}" if len(found) > 1 else "")
            cells.append(ours if known == WITHOUT else f"{ours} [{known}]")
        if set(cells[1:]) != {WITHOUT} and any(by_run[table].get(run) for table in tables):
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def table_section(table: str) -> str:
    """Return the page's section on one table: scores beside published ones, parts, notes."""
    settings = settings_of(table)
    by_run = {run: found for run, found in results(table).items() if found}
    if not by_run:
        return ""
    lines = [
        f"## {settings['title']}",
        "",
        f"Command: `python -m benchmarks run {table}`. {settings.get('text', '')}".strip(),
        "",
        "| run | seeds | accuracy | published | many to one | surest member | V-measure × 100 "
        "| published | NMI × 100 | ARI × 100 |",
        "|---" * 10 + "|",
    ]
    for run, found in by_run.items():
        facts = settings["runs"][run]
        cells = [run, str(len(found)), cell(found, "all", "accuracy")]
        cells += [published(facts, "accuracy")]
        cells += [
            cell(found, "all", name) for name in ("many_to_one_accuracy", "surest_member_accuracy")
        ]
        cells += [cell(found, "all", "v_measure"), published(facts, "v_measure")]
        cells += [cell(found, "all", name) for name in ("nmi", "ari")]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "The same fits, read on the train and the test part apart:",
        "",
        "| run | accuracy, train | accuracy, test | V-measure, train | V-measure, test "
        "| used clusters | epochs | minutes a fit |",
        "|---" * 8 + "|",
    ]
    for run, found in by_run.items():
        if ended := finished(found):
            cells = [run]
            for name in ("accuracy", "v_measure"):
                cells += [cell(ended, part, name) for part in ("train", "test")]
            used = {int(result["scores"]["all"]["used_clusters"]) for result in ended}
            cells.append(", ".join(map(str, sorted(used))))
            cells.append(", ".join(sorted({str(result["epochs"]) for result in ended})))
            cells.append(f"{mean(result['wall_seconds'] / 60 for result in ended):.1f}")
            lines.append("| " + " | ".join(cells) + " |")
    notes = [
        f"- {run}: {settings['runs'][run]['note']}"
        for run in by_run
        if "note" in settings["runs"][run]
    ]
    failures = [
        f"- {run}, seed {result['seed']}: {result['failed']}."
        for run, found in by_run.items()
        for result in found
        if "failed" in result
    ]
    lines += ["", *notes, *failures] if notes or failures else []
    return "\n".join([*lines, "", circumstances([r for found in by_run.values() for r in found])])


def digits_section() -> str:
    """Return the table of the digits that ship with scikit-learn."""
    settings = tomllib.loads((HERE / "settings" / "digits.toml").read_text())
    by_run = {run: found for run, found in results("digits").items() if found}
    if not by_run:
        return ""
    lines = [
        f"## {settings['title']}",
        "",
        "Command: `python -m benchmarks run digits`.",
        "",
        "| run | seeds | accuracy | NMI × 100 | seconds a fit |",
        "|---|---|---|---|---|",
    ]
    for run, found in by_run.items():
        cells = [run, str(len(found))]
        cells += [spread(map(score_of("all", name), found)) for name in ("accuracy", "nmi")]
        cells.append(f"{mean(result['wall_seconds'] for result in found):.0f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", circumstances([r for found in by_run.values() for r in found])])


def circumstances(found: list[Result]) -> str:
    """Return a sentence on where the results were made."""
    processors = {result["hardware"]["processor"] for result in found}
    threads = {str(result["hardware"]["threads"]) for result in found}
    commits = {result["commit"][:7] for result in found}
    versions = {f"torch {result['versions']['torch']}" for result in found}
    return (
        f"Hardware: {', '.join(sorted(processors))}, {' or '.join(sorted(threads))} thread(s) a "
        f"fit, other work on the same machine; {', '.join(sorted(versions))}; "
        f"commits {', '.join(sorted(commits))}."
    )


def peers_section() -> str:
    """Return the comparison of epoch times, if it was made."""
    file = HERE / "results" / "peers.json"
    if not file.exists():
        return ""
    result = json.loads(file.read_text())
    rows = [
        f"| {name} | {1e3 * times['median_seconds_per_step']:.1f} "
        f"| {times['median_seconds_per_step'] * result['steps_per_epoch']:.1f} |"
        for name, times in result["timings"].items()
    ]
    return "\n".join(
        [
            "## Beside ClustPy's VaDE",
            "",
            "Command: `python -m benchmarks.peers`. The same network (784-500-500-2000-10), data "
            f"({result['n_rows']:,} rows of MNIST), batch of {result['batch_size']} and "
            f"{result['hardware']['threads']} threads, turn about in one process; the times are "
            "medians.",
            "",
            "| | ms a step | seconds an epoch of 70,000 rows |",
            "|---|---|---|",
            *rows,
            "",
            "Ratio of the epochs, median of the turns: "
            + ", ".join(f"{name} {value:.1f}" for name, value in result["ratios"].items())
            + ".",
            "",
            circumstances([result]),
        ]
    )


def readme_block() -> str:
    """Return the short table of the README."""
    settings = tomllib.loads((HERE / "settings" / "mnist.toml").read_text())
    lines = [
        "| MNIST, no labels used | accuracy, mean ± std (worst to best seed) | published best "
        "| V-measure × 100 | published |",
        "|---|---|---|---|---|",
    ]
    for run, found in results("mnist").items():
        if found:
            facts = settings["runs"][run]
            accuracy, v_measure = (cell(found, "all", name) for name in ("accuracy", "v_measure"))
            lines.append(
                f"| {run} | {accuracy} | {published(facts, 'accuracy')} "
                f"| {v_measure} | {published(facts, 'v_measure')} |"
            )
    return "\n".join(lines)


def write_page() -> None:
    """Write docs/benchmarks.md, and the table between the two marks in the README."""
    page = ROOT / "docs" / "benchmarks.md"
    page.parent.mkdir(exist_ok=True)
    tables = [table_section(table) for table in (*COMPARED, "ablation", "v_measure")]
    sections = [comparison_section(), *tables, digits_section(), peers_section()]
    sections = [section for section in sections if section]
    head = "# Benchmarks\n\nGenerated by `python -m benchmarks table`; do not edit."
    page.write_text("\n\n".join([head, *sections]) + "\n")
    readme = ROOT / "README.md"
    before, mark, rest = readme.read_text().partition("<!-- results -->\n")
    _, end, after = rest.partition("<!-- end of results -->")
    readme.write_text(f"{before}{mark}{readme_block()}\n{end}{after}")
