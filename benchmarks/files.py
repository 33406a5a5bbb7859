"""The files of the benchmarks: settings, results, and claims on runs."""

import fcntl
import json
import os
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SETTINGS, RESULTS = HERE / "settings", HERE / "results"
Settings = dict[str, Any]
Result = dict[str, Any]

# What the runs of one table are to those of another of the same kind of data: made alike.
MADE_BY = ("model", "parameters")


def tables() -> list[str]:
    """Return the names of all tables."""
    return sorted(file.stem for file in SETTINGS.glob("*.toml"))


def read_settings(table: str) -> Settings:
    """Read the settings of a table.

    The runs of a table that is `like` another have its models and parameters, for settings are
    fixed for a kind of data and not for a data set. `parameters` of the whole table are those of
    each run that does not say otherwise; those that it is `without` are None, which TOML lacks.
    """
    file = SETTINGS / f"{table}.toml"
    if not file.exists():
        raise SystemExit(f"there is no table {table!r}; expected one of {', '.join(tables())}")
    settings = tomllib.loads(file.read_text())
    runs = settings["runs"]
    if "like" in settings:
        others = read_settings(settings["like"])["runs"]
        for name in runs:
            if name not in others:
                raise SystemExit(f"{table} has the run {name!r}, and {settings['like']} has not")
            runs[name] |= {key: others[name][key] for key in MADE_BY}
    for run in runs.values():
        own = run.get("parameters", {}) | dict.fromkeys(run.get("without", ()))
        run["parameters"] = settings.get("parameters", {}) | own
    return settings


def read_results(table: str) -> dict[str, list[Result]]:
    """Return the results of a table by run, runs in the order of the settings, then by seed."""
    found: dict[str, list[Result]] = {run: [] for run in read_settings(table)["runs"]}
    for file in (RESULTS / table).glob("*.json"):
        result = json.loads(file.read_text())
        found[result["run"]].append(result)
    return {run: sorted(of_run, key=lambda r: r["seed"]) for run, of_run in found.items()}


def read_folder(name: str) -> list[Result]:
    """Return the results in a folder of them that is no table, by the names of their files."""
    return [json.loads(file.read_text()) for file in sorted((RESULTS / name).glob("*.json"))]


def result_file(table: str, run: str, seed: int) -> Path:
    """Return where the result of a run goes."""
    return RESULTS / table / f"{run}-seed{seed}.json"


def write(target: Path, result: Result) -> None:
    """Write beside and rename, so that a results file is whole or absent."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_suffix(".tmp")
    beside.write_text(json.dumps(result, indent=2, default=str) + "\n")
    beside.replace(target)


def claim_of(target: Path) -> Path:
    """Return the file that says which process works on a run."""
    return target.with_suffix(".claim")


def claim(target: Path) -> bool:
    """Take a run that has no result, unless a living process has taken it.

    Several processes may work on one table. The claim of a process that was killed is void.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / ".lock").open("w") as lock:
        # Of two that find the same void claim, only one may take it over.
        fcntl.flock(lock, fcntl.LOCK_EX)
        file = claim_of(target)
        if target.exists() or (file.exists() and _alive(file.read_text().strip())):
            return False
        file.write_text(str(os.getpid()))
        return True


def release(target: Path) -> None:
    """Give a claim up."""
    claim_of(target).unlink(missing_ok=True)


def _alive(process: str) -> bool:
    if not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
