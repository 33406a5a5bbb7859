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
    settings = tomllib.loads((HERE / "settings" / f"{table}.toml").read_text())
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


def mnist_section() -> str:
    """Return the MNIST tables."""
    settings = tomllib.loads((HERE / "settings" / "mnist.toml").read_text())
    by_run = {run: found for run, found in results("mnist").items() if found}
    lines = [
        f"## {settings['title']}",
        "",
        "Command: `python -m benchmarks run mnist`. Fitted on train and test images joined,",
        "without labels; accuracy is Hungarian (one to one). Mean ± std over the seeds, with the",
        "worst and the best seed. Published figures are single best runs (accuracy) or a",
        "reproduction's (V-measure, test part), as quoted in the papers.",
        "",
        "| run | seeds | accuracy | published | V-measure × 100 | published | NMI × 100 "
        "| ARI × 100 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for run, found in by_run.items():
        facts = settings["runs"][run]
        cells = [run, str(len(found))]
        for name in ("accuracy", "v_measure"):
            cells += [spread(map(score_of("all", name), found)), published(facts, name)]
        cells += [spread(map(score_of("all", name), found)) for name in ("nmi", "ari")]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "The same fits, read on the 60,000 train and the 10,000 test images apart:",
        "",
        "| run | accuracy, train | accuracy, test | V-measure, train | V-measure, test "
        "| used clusters | epochs | minutes a fit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for run, found in by_run.items():
        cells = [run]
        for name in ("accuracy", "v_measure"):
            cells += [spread(map(score_of(part, name), found)) for part in ("train", "test")]
        used = {int(result["scores"]["all"]["used_clusters"]) for result in found}
        cells.append(", ".join(map(str, sorted(used))))
        cells.append(", ".join(sorted({str(result["epochs"]) for result in found})))
        cells.append(f"{mean(result['wall_seconds'] / 60 for result in found):.1f}")
        lines.append("| " + " | ".join(cells) + " |")
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
            accuracy, v_measure = (
                spread(map(score_of("all", name), found)) for name in ("accuracy", "v_measure")
            )
            lines.append(
                f"| {run} | {accuracy} | {published(facts, 'accuracy')} "
                f"| {v_measure} | {published(facts, 'v_measure')} |"
            )
    return "\n".join(lines)


def write_page() -> None:
    """Write docs/benchmarks.md, and the table between the two marks in the README."""
    page = ROOT / "docs" / "benchmarks.md"
    page.parent.mkdir(exist_ok=True)
    sections = [
        section for section in (mnist_section(), digits_section(), peers_section()) if section
    ]
    head = "# Benchmarks\n\nGenerated by `python -m benchmarks table`; do not edit."
    page.write_text("\n\n".join([head, *sections]) + "\n")
    readme = ROOT / "README.md"
    before, mark, rest = readme.read_text().partition("<!-- results -->\n")
    _, end, after = rest.partition("<!-- end of results -->")
    readme.write_text(f"{before}{mark}{readme_block()}\n{end}{after}")
