"""Sections on measurements: of steps, of fits that were killed or streamed, of criteria."""

import json
from collections.abc import Callable, Mapping

from benchmarks import files
from benchmarks.cells import WITHOUT, circumstances, spread, table
from benchmarks.comparisons import peers_section
from benchmarks.files import Result


def measured(name: str) -> Result | None:
    """Return the result of a measurement, if it was made."""
    file = files.RESULTS / f"{name}.json"
    return json.loads(file.read_text()) if file.exists() else None


def section(name: str) -> str:
    """Return what is told of a measurement, if it was made."""
    result = measured(name)
    return MEASUREMENTS[name](result) if result else ""


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


def predicting_section(result: Result) -> str:
    """Return what `predict` takes over what it must, and whether rows are predicted alone."""
    columns = {
        "model": "{model}",
        "rows": "{n_rows:,}",
        "ms": "{milliseconds_of_predict:.0f}",
        "products, ms": "{milliseconds_of_products:.0f}",
        "over the floor": "{over_the_floor:.2f}",
    }
    differ = [step["model"] for step in result["steps"] if not step["same_alone"]]
    said = (
        f"Command: `{result['command']}`. The floor is the time of the matrix products and "
        "convolutions that `predict` computes, each measured alone on tensors of the same shapes, "
        "strides and types. Images of MNIST, the papers' network, and of DeepMixture the "
        "convolutions of q(y|x); medians. Rows that are predicted one at a time, in sevens and in "
        "thousands have, to the bit, the labels and probabilities of all rows at once, with all "
        f"models{' but ' + ', '.join(differ) if differ else ''}."
    )
    return steps_section("Predict over its floor", said, result, columns)


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


def start_up_section(result: Result) -> str:
    """Return how long it takes to import the package and to show the help."""
    columns = {
        "process": "`{process}`",
        "s": "{seconds:.2f}",
        "s beyond torch's": "{seconds_beyond_torch:+.2f}",
    }
    said = (
        f"Command: `{result['command']}`. Fresh processes from start to end, turn about; medians "
        f"of {result['turns']} turns."
    )
    return steps_section("Start-up", said, result, columns)


def busy_section(result: Result) -> str:
    """Return how long a small fit takes beside other processes."""
    columns = {
        "data": "{data}",
        "busy processes beside it": "{beside}",
        "threads": "{threads}",
        "s": "{seconds:.1f}",
    }
    said = (
        f"Command: `{result['command']}`. Fits of few passes by DeepMixture on "
        f"{result['hardware']['cores']} cores, beside processes that do nothing but count. "
        "[What the command does](processes.md#a-machine-with-other-work)."
    )
    return steps_section("A busy machine", said, result, columns)


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


def criteria_section() -> str:
    """Return which label-free criterion ranks runs as their accuracy does."""
    names = {
        "mutual_information": "I(x; y)",
        "told_when_changed": "I(y; y') of changed rows",
        "agreement": "agreement with the other runs",
        "evidence": "bound on log p(x)",
        "own_posterior": "q(y\\|x) names p(y\\|x)'s cluster",
    }
    found = files.read_folder("criteria")
    if not found:
        return ""
    rows = []
    for judged in found:
        accuracy = [run["accuracy"] for run in judged["runs"]]
        cells = [
            f"{said['rank_correlation']:+.2f}, {100 * said['of_four']:.2f}" if said else WITHOUT
            for said in (judged["criteria"].get(name) for name in names)
        ]
        rows.append([judged["table"], str(len(accuracy)), spread(accuracy), *cells])
    return "\n".join(
        [
            "## Which run to keep",
            "",
            f"Command: `{found[0]['command']}`. Runs of DeepMixture from different seeds; of each "
            "criterion the rank correlation with the accuracy over the runs, and the mean "
            "accuracy of the run that it keeps of four. No label enters a criterion. Where there "
            "is a dash, the runs are from before the criterion was there.",
            "",
            *table(["data", "runs", "accuracy of all runs", *names.values()], rows),
            "",
            circumstances(found),
        ]
    )


MEASUREMENTS: dict[str, Callable[[Result], str]] = {
    "peers": peers_section,
    "floor": floor_section,
    "predicting": predicting_section,
    "compiled": compiled_section,
    "batched": batched_section,
    "mixtures": mixtures_section,
    "streaming": streaming_section,
    "kills": kills_section,
    "start_up": start_up_section,
    "busy": busy_section,
}
