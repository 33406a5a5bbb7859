"""How results become the cells of a table, and what is said of where they were made."""

from collections.abc import Callable, Iterable, Mapping
from statistics import mean, stdev
from typing import Any

from benchmarks.files import Result

WITHOUT = "–"


def spread(values: Iterable[float]) -> str:
    """Return "mean ± std (worst to best)" of shares in percent, of one share that alone."""
    percent = [100 * value for value in values]
    if len(percent) == 1:
        return f"{percent[0]:.2f}"
    span = f"{min(percent):.2f} to {max(percent):.2f}"
    return f"{mean(percent):.2f} ± {stdev(percent):.2f} ({span})"


def score_of(part: str, name: str) -> Callable[[Result], float]:
    """Return a function from a result to one of its scores."""
    return lambda result: float(result["scores"][part][name])


def finished(found: Iterable[Result]) -> list[Result]:
    """Return the results of the runs that came to an end."""
    return [result for result in found if "failed" not in result]


def cell(found: list[Result], part: str, name: str) -> str:
    """Return mean, spread, worst and best of a score over the runs that came to an end.

    How many did not is said beside it; without results or without this score there is a dash.
    """
    ended = finished(found)
    if found and not ended:
        return "diverged"
    if not found or any(name not in result["scores"].get(part, {}) for result in ended):
        return WITHOUT
    diverged = len(found) - len(ended)
    said = f", {diverged} of {len(found)} diverged" if diverged else ""
    return spread(map(score_of(part, name), ended)) + said


def published(run: Mapping[str, Any], name: str) -> str:
    """Return the published figure of a run, what is said in its place, or a dash."""
    value = run.get("published", {}).get(name)
    return WITHOUT if value is None else value if isinstance(value, str) else f"{value:.2f}"


def beside(ours: str, run: Mapping[str, Any], name: str) -> str:
    """Return a score of ours with the published one in brackets."""
    known = published(run, name)
    return ours if known == WITHOUT else f"{ours} [{known}]"


def table(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    """Return the lines of a table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def used_clusters(found: list[Result], part: str) -> str:
    """Return how many clusters hold rows, each number that occurs among the runs."""
    used = {int(result["scores"][part]["used_clusters"]) for result in finished(found)}
    return ", ".join(map(str, sorted(used))) or WITHOUT


def epochs(found: list[Result]) -> str:
    """Return the epochs of all stages, each number that occurs; k-means and the like have none."""
    passed = {int(result["epochs"]) for result in finished(found) if result["epochs"]}
    return f"{min(passed)} to {max(passed)}" if len(passed) > 1 else str(*passed) or WITHOUT


def minutes(found: list[Result]) -> str:
    """Return the mean wall time of a fit."""
    # A run that diverged says how long that took only since it is recorded.
    seconds = [result["wall_seconds"] for result in found if "wall_seconds" in result]
    return f"{mean(seconds) / 60:.1f}" if seconds else WITHOUT


def circumstances(found: list[Result]) -> str:
    """Return a sentence on where the results were made."""
    processors = {result["hardware"]["processor"] for result in found}
    threads = {str(result["hardware"]["threads"]) for result in found}
    commits = {result["commit"][:7] for result in found}
    versions = {f"torch {result['versions']['torch']}" for result in found}
    shared = any(r["hardware"]["threads"] < r["hardware"]["cores"] for r in found)
    busy = ", other work on the same machine" if shared else ""
    return (
        f"Hardware: {', '.join(sorted(processors))}, {' or '.join(sorted(threads))} thread(s) a "
        f"fit{busy}; {', '.join(sorted(versions))}; "
        f"commits {', '.join(sorted(commits))}."
    )
