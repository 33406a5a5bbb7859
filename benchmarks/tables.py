"""Pages and the README's table, generated from the results files; no figure is typed by hand."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from benchmarks import files
from benchmarks.files import Result, Settings, read_results, read_settings
from benchmarks.others import DECIDED_ON

ROOT = files.HERE.parent
COMPARED = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "imagenette": "imagenette features",
    "cifar10": "CIFAR-10 features",
}
APART = ("mnist_apart", "fashion_mnist_apart")
PARTS = ("parts_digits", "parts_imagenette", "parts_mnist")
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


def measured(name: str) -> Result | None:
    """Return the result of a measurement, if it was made."""
    file = files.RESULTS / f"{name}.json"
    return json.loads(file.read_text()) if file.exists() else None


def section(name: str) -> str:
    """Return what is told of a measurement, if it was made."""
    result = measured(name)
    return MEASUREMENTS[name](result) if result else ""


def peers_section(result: Result) -> str:
    """Return the comparison of epoch times."""
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
            + f". {at_the_floor(result)}".rstrip(),
            "",
            circumstances([result]),
            *whole_fits(),
        ]
    )


def at_the_floor(result: Result) -> str:
    """Return what the ratio would be of a step that took no more than it must."""
    if "floor" not in result:
        return ""
    return (
        "A step of ours that took no more than its matrix products, in bfloat16 at this "
        f"processor's rate, and the bytes of Adam would be {result['floor']['ratio']:.1f} times "
        "as fast as ClustPy's."
    )


def whole_fits() -> list[str]:
    """Return the comparisons of whole fits, as far as they were made."""
    found = files.read_folder("whole_fits")
    if not found:
        return []
    lines = [
        "",
        "Whole fits at each one's defaults, and of DeepMixture by a short schedule to at least "
        "what ClustPy's VaDE comes to. Since then the default representation of images has 25 "
        "epochs in place of 15.",
    ]
    for n_rows in sorted({result["n_rows"] for result in found}):
        lines += whole_fits_of([result for result in found if result["n_rows"] == n_rows])
    return lines


def whole_fits_of(found: Sequence[Result]) -> list[str]:
    """Return the comparison of whole fits of the same rows."""
    peer = next((r["seconds"] for r in found if r["name"] == "ClustPy-VaDE"), None)

    def ratio(result: Result) -> str:
        return "–" if peer is None else f"{peer / result['seconds']:.1f}"

    rows = [
        f"| {result['name']} | {result['seconds']:.0f} | {ratio(result)} "
        f"| {100 * result['scores']['nmi']:.1f} | {100 * result['scores']['accuracy']:.1f} |"
        for result in sorted(found, key=lambda result: result["seconds"])
    ]
    return [
        "",
        f"{found[0]['n_rows']:,} images of MNIST, {found[0]['hardware']['threads']} thread(s), "
        f"seed {found[0]['seed']} (`{found[0]['command']}`):",
        "",
        "| | seconds | times as fast as ClustPy's VaDE | NMI | accuracy |",
        "|---|---|---|---|---|",
        *rows,
        "",
        circumstances(found),
    ]


def others_section() -> str:
    """Return the comparison on small tables and counts, if it was made."""
    found = files.read_folder("others")
    if not found:
        return ""
    ways = list(found[0]["others"])

    def lost(result: Result) -> float:
        best = max(scores["nmi"] for scores in result["others"].values())
        return max(0.0, 100 * (best - mean(scores["nmi"] for scores in result["deepmixture"])))

    def losses(results: Sequence[Result]) -> str:
        many = sum(lost(result) > 2 for result in results)
        return f"{mean(map(lost, results)):.1f}, and more than 2 on {many}"

    def means_of(results: Sequence[Result]) -> str:
        ours = mean(mean(scores["nmi"] for scores in r["deepmixture"]) for r in results)
        others = (
            f"{way} {100 * mean(r['others'][way]['nmi'] for r in results):.1f}" for way in ways
        )
        return f"DeepMixture {100 * ours:.1f}, {', '.join(others)}"

    tables = [result for result in found if result.get("kind") == "table"]
    unseen = [result for result in tables if result["data"] not in DECIDED_ON]
    rest = [result for result in found if result.get("kind") != "table"]

    summary = [
        f"On the {len(results)} {what} DeepMixture loses to the best of the three, on the mean, "
        f"{losses(results)}. Mean NMI: {means_of(results)}.\n"
        for what, results in (
            ("tables", tables),
            ("tables without a star", unseen),
            ("embeddings, images and counts", rest),
        )
        if results
    ]

    def row(result: Result) -> str:
        ours = [100 * scores["nmi"] for scores in result["deepmixture"]]
        star = "*" if result["data"] in DECIDED_ON else ""
        cells = [f"{100 * result['others'][way]['nmi']:.1f}" for way in ways]
        spread = f" ({min(ours):.1f} to {max(ours):.1f})" if len(ours) > 1 else ""
        shape = f"{result['rows']:,} x {result['columns']:,}, K = {result['clusters']}"
        means = " | ".join([f"{mean(ours):.1f}{spread}", *cells])
        return f"| {result['data']}{star} | {shape} | {means} | {mean(result['seconds']):.0f} |"

    return "\n".join(
        [
            "## Tables, texts and counts, by the defaults",
            "",
            "Command: `python -m benchmarks.others`. NMI; DeepMixture's is the mean over seeds "
            "(worst to best). The documentation of eight libraries is there as 128 principal "
            "components of weighted words and as counts of 2,000 words, and so are the texts of "
            "20 newsgroups and Reuters; a column of words in a table is one of zeros and ones for "
            "each. How a table starts, where embeddings are seen from and how counts weigh was "
            "decided on the data with a star; the others played no part in it.",
            "",
            *summary,
            f"| data | rows x columns | DeepMixture | {' | '.join(ways)} | s a fit |",
            "|---|---|---|" + "---|" * (len(ways) + 1),
            *map(row, found),
            "",
            circumstances(found),
        ]
    )


def floor_section(result: Result) -> str:
    """Return what steps take over what they must."""
    columns = {
        "model": "{model}",
        "stage": "{stage}",
        "batch": "{batch_size}",
        "ms a step": "{milliseconds_a_step:.1f}",
        "products, ms": "{milliseconds_of_products:.1f}",
        "Adam, ms": "{milliseconds_of_adam:.1f}",
        "over the floor": "{over_the_floor:.2f}",
    }
    said = (
        f"Command: `{result['command']}`. The floor is the time of a step's matrix products, "
        "each measured alone on tensors of the same shapes, strides and types, and of the "
        "bytes that Adam moves, at the measured bandwidth of a copy "
        f"({result['gigabytes_a_second']:.0f} GB/s). Steps on MNIST with the papers' network, "
        "medians. Pretraining is the same step in all models: by what they differ there is "
        "the noise of the measurement."
    )
    return steps_section("A step over its floor", said, result, columns)


def compiled_section(result: Result) -> str:
    """Return what the compiler of PyTorch makes of steps."""
    columns = {
        "model": "{model}",
        "stage": "{stage}",
        "ms a step": "{milliseconds_eager:.1f}",
        "ms compiled": "{milliseconds_compiled:.1f}",
        "ratio": "{over_eager:.2f}",
        "s to compile": "{seconds_to_compile:.0f}",
    }
    said = (
        f"Command: `{result['command']}`. Forward and backward pass at a batch of "
        f"{result['steps'][0]['batch_size']}, as PyTorch runs them and by `torch.compile`; "
        "medians of steps that took turns. Fits on a CPU do not compile their steps."
    )
    return steps_section("Steps that are compiled", said, result, columns)


def batched_section(result: Result) -> str:
    """Return what is gained by training several runs as one computation."""
    columns = {
        "columns": "{n_features}",
        "network": "{hidden}",
        "batch": "{batch_size}",
        "ms in turn": "{milliseconds_in_turn:.1f}",
        "ms together": "{milliseconds_together:.1f}",
        "times as fast": "{times_as_fast:.2f}",
    }
    said = (
        f"Command: `{result['command']}`. A step of the autoencoders of "
        f"{result['steps'][0]['n_runs']} runs, each after the other and as one batched "
        "computation; medians of steps that took turns. `n_init` runs are trained one after "
        "the other: on a CPU little is gained of small networks, whose fits spend most of "
        "their time on starts, and nothing of large ones."
    )
    return steps_section("Several runs trained together", said, result, columns)


def mixtures_section(result: Result) -> str:
    """Return how fast mixtures of normals are fitted, beside scikit-learn's."""
    columns = {
        "rows": "{n_rows:,}",
        "columns": "{n_columns}",
        "clusters": "{n_clusters}",
        "steps of EM": "{steps_of_em:.0f}",
        "scikit-learn, ms": "{milliseconds_scikit_learn:.0f}",
        "ours, ms": "{milliseconds_ours:.0f}",
        "times as fast": "{times_as_fast:.1f}",
    }
    apart = max(step["largest_difference_of_means"] for step in result["steps"])
    said = (
        f"Command: `{result['command']}`. Whole fits from the same k-means, of which starts try "
        "many; medians of fits that took turns. The mixtures are the same: of their means no "
        f"entry differs by more than {apart:.0e}."
    )
    return steps_section("Mixtures of normals", said, result, columns)


def steps_section(title: str, said: str, result: Result, columns: Mapping[str, str]) -> str:
    """Return a section on steps that were measured: what is said of them, and their table."""
    lines = [f"## {title}", "", said, "", *steps_table(result, columns)]
    return "\n".join([*lines, "", circumstances([result])])


def steps_table(result: Result, columns: Mapping[str, str]) -> list[str]:
    """Return a line a step that was measured; of each column the format of its cells."""
    cells = columns.values()
    return table(
        list(columns), [[cell.format(**step) for cell in cells] for step in result["steps"]]
    )


def kills_section(result: Result) -> str:
    """Return what became of the fits that were killed."""
    return "\n".join(
        [
            "## Killed at random moments",
            "",
            f"Command: `{result['command']}`. `deepmixture fit {result['data']} --resume RUN` was "
            f"killed by SIGKILL after a random time, and started again until it ended: "
            f"{result['kills']} kills in {result['fits']} fits of "
            f"{result['seconds_of_a_whole_fit']:.0f} seconds, a checkpoint every "
            f"{result['seconds_between_checkpoints']:g} seconds. Fits whose weights and labels "
            "equal those of a fit that was left alone, byte by byte: "
            f"{result['fits_with_the_same_bits']} of {result['fits']}.",
            "",
            circumstances([result]),
        ]
    )


def streaming_section(result: Result) -> str:
    """Return the fits on rows larger than memory beside ones in memory."""
    same = []
    if fits := measured("streaming-equal"):
        cells = [
            f"{'scratch file' if fit['on_disk'] else 'memory'} {100 * fit['nmi']:.1f} "
            f"({fit['last_loss']:.2f})"
            for fit in fits["fits"]
        ]
        same = [
            "",
            f"The same {fits['fits'][0]['rows']:,} rows from both, by `{fits['command']}`, NMI "
            f"(and last loss) with seeds 0 and 1: {', '.join(cells)}.",
        ]
    wide = measured("streaming-784-columns")
    return "\n".join(
        [
            "## More rows than fit in memory",
            "",
            "VaDE (256-256-10, an epoch of pretraining, two of its own) on Parquet files of ten "
            f"normals, in batches of {result['batch_size']}; each line is a process of its own, "
            "in this order.",
            *streamed(result),
            "",
            "At ten million rows, where an epoch has ten thousand steps, the last stage of VaDE "
            "merges clusters that the stages before it had found; its bound rises as it does.",
            *(streamed(wide) if wide else []),
            *same,
            "",
            circumstances([result, *([wide] if wide else [])]),
        ]
    )


def streamed(result: Result) -> list[str]:
    """Return the table of one number of columns."""
    runs = [*result["in_memory"][:1], result["on_disk"], *result["in_memory"][1:]]
    rows = [
        [
            "scratch file" if run is result["on_disk"] else "memory",
            f"{run['rows']:,}",
            f"{run['peak_resident_gigabytes']:.2f}",
            f"{min(run['microseconds_a_row_and_epoch']['pretraining']):.1f}",
            f"{run['seconds_to_open']:.0f}",
            f"{run['seconds_to_fit']:.0f}",
            f"{run['seconds_to_predict']:.0f}",
            f"{100 * run['nmi']:.1f}",
        ]
        for run in runs
    ]
    head = ["rows are in", "rows", "most resident, GB", "µs a row and epoch", "open, s", "fit, s"]
    return [
        "",
        f"{result['columns']} columns, by `{result['command']}`; cost of a row from the scratch "
        f"file by that of one in memory: {result['cost_a_row_over_that_in_memory']:.2f}.",
        "",
        *table([*head, "predict, s", "NMI"], rows),
    ]


def criteria_section(result: Result) -> str:
    """Return which label-free criterion ranks runs as their accuracy does."""
    names = {
        "mutual_information": "I(x; y)",
        "agreement": "agreement with the other runs",
        "evidence": "bound on log p(x)",
        "own_posterior": "q(y\\|x) names p(y\\|x)'s cluster",
    }
    rows = []
    for of_table in result["tables"]:
        accuracy = [run["accuracy"] for run in of_table["runs"]]
        cells = [
            f"{said['rank_correlation']:+.2f}, {100 * said['of_four']:.2f}"
            for said in (of_table["criteria"][name] for name in names)
        ]
        rows.append([of_table["table"], str(len(accuracy)), spread(accuracy), *cells])
    return "\n".join(
        [
            "## Which run to keep",
            "",
            f"Command: `{result['command']}`. Runs of DeepMixture from different seeds; of each "
            "criterion the rank correlation with the accuracy over the runs, and the mean "
            "accuracy of the run that it keeps of four. No label enters a criterion.",
            "",
            *table(["data", "runs", "accuracy of all runs", *names.values()], rows),
            "",
            circumstances([result]),
        ]
    )


MEASUREMENTS: dict[str, Callable[[Result], str]] = {
    "criteria": criteria_section,
    "peers": peers_section,
    "floor": floor_section,
    "compiled": compiled_section,
    "batched": batched_section,
    "mixtures": mixtures_section,
    "streaming": streaming_section,
    "kills": kills_section,
}


def figures_page() -> str:
    """Return the page of pictures, from the files that say how each was made."""
    made = files.read_folder("figures")
    if not made:
        return ""
    lines = [
        "# Samples and maps",
        "",
        "Generated by `python -m benchmarks table`; do not edit. The pictures are drawn by "
        "`python -m benchmarks figures MODEL` from models that `python -m benchmarks run TABLE "
        "--keep FOLDER` saved.",
        "",
        "**Samples**: a line a cluster, the largest first; left the most typical test rows, right "
        "rows drawn by ancestral sampling (y, then z from p(z|y), then the mean of p(x|z)). "
        "**Maps**: one t-SNE of encoded test rows and of latents drawn from the prior, in two "
        "panels with the same axes. Where the prior has places that no row has, or lacks some "
        "that rows have, it is no good model of them.",
    ]
    for facts in made:
        lines += ["", f"## {facts['name']}", "", figure_facts(facts), ""]
        lines += [f"![{picture}](images/{picture})" for picture in facts["pictures"]]
    return "\n".join([*lines, "", circumstances(made)]) + "\n"


def figure_facts(facts: Result) -> str:
    """Return a sentence on how the pictures of a model were made."""
    said = f"`{facts['model']}`, {facts['n_rows']:,} test rows of {facts['table']}"
    if "perplexity" in facts:
        said += (
            f", {facts['n_prior']:,} prior samples; t-SNE with a perplexity of "
            f"{facts['perplexity']:g}, {facts['seconds'] / 60:.1f} minutes"
        )
    return said + "."


def readme_block() -> str:
    """Return the short table of the README."""

    def short(name: str, found: list[Result], run: Mapping[str, Any]) -> str:
        ended = [100 * score_of("all", "accuracy")(result) for result in finished(found)]
        if not ended:
            return "diverged" if found else WITHOUT
        ours = f"{mean(ended):.1f}" + (f" ± {stdev(ended):.1f}" if len(ended) > 1 else "")
        # What is published of features is of other features.
        return beside(ours, run if "features" not in COMPARED[name] else {}, "accuracy")

    return "\n".join(comparison(list(COMPARED), short))


def pages() -> dict[str, str]:
    """Return the text of every generated file, by its path from the root."""
    sections = [
        comparison_section(),
        *map(table_section, (*COMPARED, *APART, "mnist_alone", "mnist_thinned", "ablation")),
        v_measure_section(),
        digits_section(),
        parts_section(),
        calibration_section(),
        others_section(),
        *(section(name) for name in MEASUREMENTS),
    ]
    head = "# Benchmarks\n\nGenerated by `python -m benchmarks table`; do not edit."
    figures = figures_page()
    if figures:
        head += " Samples and maps of the fitted models are in [figures.md](figures.md)."
    readme = (ROOT / "README.md").read_text()
    before, mark, rest = readme.partition("<!-- results -->\n")
    _, end, after = rest.partition("<!-- end of results -->")
    written = {
        "docs/benchmarks.md": "\n\n".join([head, *filter(None, sections)]) + "\n",
        "README.md": f"{before}{mark}{readme_block()}\n{end}{after}",
    }
    return written | ({"docs/figures.md": figures} if figures else {})


def write_pages() -> None:
    """Write the pages, and the table between the two marks in the README."""
    for path, text in pages().items():
        (ROOT / path).write_text(text)
