"""The command `deepmixture`: each command is a thin face of the Python interface.

Heavy imports stand inside the commands, so that help is there at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepmixture import fitting, inputs, outputs, terminal
from deepmixture.fitting import Interrupted
from deepmixture.inputs import DIGITS

if TYPE_CHECKING:
    from deepmixture.estimator import LatentMixtureEstimator

INTERRUPTED = 130
BAD_INPUT = 2
SPINS = "20000"  # by itself 300,000, which are milliseconds; alone a fit is as fast
# Told in one sentence; anything else is a bug and shows where. Diverging is an ArithmeticError.
TOLD = (ValueError, TypeError, OSError, ArithmeticError)


app = typer.Typer(
    name="deepmixture",
    help="Find the clusters in your data with deep mixture models, and see them.",
    rich_markup_mode="rich",
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="Start with: deepmixture fit sklearn:digits --out runs/digits",
)

DataArgument = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A .npy, .npz, .zarr, .h5ad, .csv or .parquet file, a folder of .parquet files or of "
        f"images, or {DIGITS}.",
    ),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
KeyOption = Annotated[
    str | None,
    typer.Option(
        help="Array of an .npz file; x_train+x_test joins two. Of .parquet a column of vectors; "
        "of .h5ad a matrix, such as layers/counts or obsm/X_pca."
    ),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier output.")]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", help="Say more; show the traceback of an error.")
]


@app.command()
def fit(
    data: DataArgument,
    model: Annotated[
        str | None,
        typer.Option(help="A name that `deepmixture models` lists; deepmixture by default."),
    ] = None,
    clusters: Annotated[
        str | None, typer.Option(metavar="K", help="Number of clusters, or auto.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same labels; 0 by default.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; by default a new one in runs/.")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Folder of a fit that was stopped or killed, to go on."),
    ] = None,
    checkpoint_every: Annotated[
        float, typer.Option(metavar="SECONDS", help="Between checkpoints within a stage.")
    ] = 60.0,
    key: KeyOption = None,
    kind: Annotated[
        str | None, typer.Option(help="image, table, embedding or counts; found out by default.")
    ] = None,
    likelihood: Annotated[
        str | None, typer.Option(help="bernoulli, gaussian, ...; of the kind by default.")
    ] = None,
    network: Annotated[
        str | None, typer.Option(help="mlp, convolutional or convolutional_valid.")
    ] = None,
    latent: Annotated[int | None, typer.Option(help="Dimensions of the latent space.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of the model itself.")] = None,
    pretrain_epochs: Annotated[int | None, typer.Option(help="Epochs before it.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows in a step.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, float32 or bfloat16.")] = None,
    devices: Annotated[
        int | None,
        typer.Option(metavar="N", help="Processes that share out every batch, one a GPU."),
    ] = None,
    log: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LOGGER",
            help="Log the curves to tensorboard or mlflow, beside log/csv/metrics.csv.",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other parameter of the model."),
    ] = None,
    overwrite: OverwriteOption = False,
    no_report: Annotated[bool, typer.Option("--no-report", help="Leave out the report.")] = False,
    verbose: VerboseOption = False,
) -> None:
    """Find the clusters in DATA and write a folder with all that was found.

    The folder holds the label and the probabilities of each row
    (labels.parquet), the model (model/), the training curves
    (history.parquet), the settings (run.json) and a report to look at
    (report.html). Ctrl-C stops training and keeps the model so far.

    While it trains, checkpoints are kept in the folder. A fit that was killed
    or stopped goes on with --resume, from its own settings and to the same
    result; killed before the first checkpoint, it starts over.

    With --devices N the work is shared out between N processes of this
    machine. Where one of them dies the fit ends, and --resume goes on;
    under torchrun --max-restarts, a command with --resume goes on by itself.

    The curves are logged as they come, to log/csv/metrics.csv and by --log to
    TensorBoard or MLflow (to where MLFLOW_TRACKING_URI says).

    [bold]Examples[/bold]

    \b
    [cyan]deepmixture fit sklearn:digits[/cyan]
    [cyan]deepmixture fit mnist.npz --key x_train+x_test --clusters 10 --out runs/mnist[/cyan]
    [cyan]deepmixture fit customers.csv --clusters 5 --seed 1 --out runs/customers[/cyan]
    [cyan]deepmixture fit customers.parquet --clusters auto[/cyan]
    [cyan]deepmixture fit photos/ --network mlp --epochs 50[/cyan]
    [cyan]deepmixture fit features.npy --model ae-gmm --set n_init=5 --set hidden=200,100[/cyan]
    [cyan]deepmixture fit customers.csv --resume runs/customers[/cyan]
    """
    from deepmixture import parallel

    more = inputs.parse_settings(set_ or [])
    devices = more.get("devices", devices or 1)
    if devices != 1 and parallel.helps():
        try:
            return fitting.help_to_fit(devices, more.get("device", device or "auto"), data, key)
        except TOLD:
            # The first process met it too, or it is the first process that was lost.
            raise typer.Exit(BAD_INPUT) from None
    given = {
        "n_clusters": inputs.number_of_clusters(clusters),
        "random_state": seed,
        "kind": kind,
        "likelihood": likelihood,
        "network": network,
        "n_latent": latent,
        "epochs": epochs,
        "pretrain_epochs": pretrain_epochs,
        "batch_size": batch_size,
        "device": device,
        "precision": precision,
        "devices": devices,
    }
    settings = {name: value for name, value in given.items() if value is not None} | more
    request = fitting.Request(
        data,
        key,
        model,
        settings,
        out,
        resume,
        checkpoint_every,
        log=log or [],
        overwrite=overwrite,
        with_report=not no_report,
        verbose=verbose,
    )
    fitting.fit_into_folder(request)


@app.command()
def predict(
    run: RunArgument,
    data: DataArgument,
    out: Annotated[Path, typer.Option(help="A .parquet or .csv file to write.")],
    key: KeyOption = None,
    overwrite: OverwriteOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Assign the rows of DATA to the clusters of RUN.

    The table has a line for each row: its label and probability, the
    probability of every cluster (responsibility_0, ...) and, of a model
    that has one, a bound on the log density, which is low where a row is
    unlike all others.

    [bold]Examples[/bold]

    \b
    [cyan]deepmixture predict runs/mnist mnist.npz --key x_test --out test.parquet[/cyan]
    [cyan]deepmixture predict runs/customers new.csv --out new-labels.csv[/cyan]
    """
    from deepmixture import run_folder

    outputs.check_new_file(out, run_folder.TABLE_SUFFIXES, overwrite=overwrite)
    run_folder.read_about(run)
    rows, _ = inputs.open_data(data, key)

    from deepmixture import load, results

    estimator: LatentMixtureEstimator = load(run / run_folder.MODEL)
    assignments = results.assign(estimator, rows)
    run_folder.write_table(out, assignments.columns(rows.row_names))
    console = terminal.console()
    terminal.show_clusters(console, assignments)
    terminal.say(console, f"wrote {out}")


@app.command()
def sample(
    run: RunArgument,
    out: Annotated[Path, typer.Option(help="A .npz, .npy or .csv file to write.")],
    n: Annotated[int, typer.Option("-n", "--number", help="Number of rows.")] = 100,
    cluster: Annotated[int | None, typer.Option(help="Only from this cluster.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same rows.")] = 0,
    overwrite: OverwriteOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Draw new rows from the model of RUN, in the units of the data.

    A model that can draw none, such as DEC, says so.

    [bold]Examples[/bold]

    \b
    [cyan]deepmixture sample runs/mnist -n 100 --out new.npz[/cyan]
    [cyan]deepmixture sample runs/mnist -n 64 --cluster 3 --out threes.npy[/cyan]
    [cyan]deepmixture sample runs/customers -n 1000 --out new.csv[/cyan]
    """
    import numpy as np

    from deepmixture import run_folder

    outputs.check_new_file(out, (".npz", ".npy", ".csv"), overwrite=overwrite)
    run_folder.read_about(run)

    from deepmixture import load

    estimator: LatentMixtureEstimator = load(run / run_folder.MODEL)
    if "sample" in estimator.cannot:
        name = type(estimator).__name__
        raise ValueError(f"{name} cannot draw rows: {estimator.cannot['sample']}")
    x, labels = estimator.sample(n, cluster=cluster, random_state=seed)
    if out.suffix.lower() == ".csv":
        flat = x.reshape(len(x), -1)
        names = getattr(estimator, "feature_names_in_", None)
        if names is None:
            names = [f"x{i}" for i in range(flat.shape[1])]
        columns = {str(name): flat[:, i] for i, name in enumerate(names)}
        run_folder.write_table(out, [{**columns, "cluster": labels}])
    else:
        with outputs.new_file(out) as hidden, hidden.open("wb") as file:
            if out.suffix.lower() == ".npz":
                np.savez(file, x=x, labels=labels)
            else:
                np.save(file, x)
    terminal.say(
        terminal.console(), f"wrote {out}: {x.shape[0]} rows of shape {tuple(x.shape[1:])}"
    )


@app.command()
def score(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder of a run, or a table by `predict`.")
    ],
    labels: Annotated[
        str,
        typer.Option(help=f"Known classes: a .npy, .npz, .csv or .parquet file, or {DIGITS}."),
    ],
    labels_key: Annotated[
        str | None, typer.Option(help="Array of an .npz file; y_train+y_test joins two.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="Column of a table.")] = None,
    train_rows: Annotated[
        int | None, typer.Option(help="Score the first N rows and the rest apart, too.")
    ] = None,
    verbose: VerboseOption = False,
) -> None:
    """Score the clusters of RUN against known classes, which training never saw.

    [bold]Examples[/bold]

    \b
    [cyan]deepmixture score runs/digits --labels sklearn:digits[/cyan]
    [cyan]deepmixture score runs/mnist --labels mnist.npz --labels-key y_train+y_test[/cyan]
    [cyan]deepmixture score runs/digits --labels classes.npy --train-rows 1000[/cyan]
    [cyan]deepmixture score test.parquet --labels truth.csv --column species[/cyan]
    """
    from deepmixture.label_files import read_found_labels

    found = read_found_labels(run)
    known = inputs.read_known_labels(labels, labels_key, column)
    if len(known) != len(found):
        raise ValueError(f"{labels} has {len(known)} labels, but {run} has {len(found)} rows")
    parts = {"all": slice(None)}
    if train_rows is not None:
        if not 0 < train_rows < len(found):
            raise ValueError(
                f"--train-rows is {train_rows}; expected between 1 and {len(found) - 1}"
            )
        parts |= {"train": slice(train_rows), "test": slice(train_rows, None)}

    from deepmixture.metrics import score_clustering

    scores = {name: score_clustering(known[part], found[part]) for name, part in parts.items()}
    terminal.show_scores(terminal.console(), scores)


@app.command()
def report(
    run: RunArgument,
    data: Annotated[
        str | None, typer.Option(help="The data, if they are no longer where they were.")
    ] = None,
    key: KeyOption = None,
    out: Annotated[
        Path | None, typer.Option(help="An .html file to write; by default that of the run.")
    ] = None,
    poster: Annotated[
        Path | None, typer.Option(help="A .png file to write too, of typical and drawn images.")
    ] = None,
    verbose: VerboseOption = False,
) -> None:
    """Write the report of RUN again: one HTML file that opens offline.

    [bold]Examples[/bold]

    \b
    [cyan]deepmixture report runs/mnist[/cyan]
    [cyan]deepmixture report runs/mnist --data elsewhere/mnist.npz --key x_train+x_test[/cyan]
    [cyan]deepmixture report runs/mnist --poster mnist.png[/cyan]
    """
    from deepmixture import run_folder

    out = out or run / run_folder.REPORT
    outputs.check_new_file(out, (".html",), overwrite=True)
    if poster is not None:
        outputs.check_new_file(poster, (".png",), overwrite=True)
    about = run_folder.read_about(run)
    assignments = run_folder.read_assignments(run)
    history = run_folder.read_history(run)
    was = about["data"]
    rows, _ = inputs.open_data(data or was["data"], key or (None if data else was["key"]))
    if len(rows) != len(assignments.labels):
        raise ValueError(
            f"{rows.source} has {len(rows)} rows, but {run} was fitted on "
            f"{len(assignments.labels)}: name the same data by --data and --key"
        )

    from deepmixture import load, results

    estimator: LatentMixtureEstimator = load(run / run_folder.MODEL)
    result = results.collect(estimator, rows, assignments, history, about)
    if poster is not None:
        from deepmixture.poster import write_poster

        write_poster(poster, result)
        terminal.say(terminal.console(), f"wrote {poster}")
    from deepmixture.report import write_report

    write_report(out, result, seed=about["seed"] or 0)
    terminal.say(terminal.console(), f"wrote {out}")


@app.command()
def models(verbose: VerboseOption = False) -> None:
    """List the models there are.

    [bold]Examples[/bold]

    \b
    [cyan]deepmixture models[/cyan]
    [cyan]deepmixture models --verbose[/cyan]  (what --set takes, and what a model cannot do)
    """
    from deepmixture import MODELS

    console = terminal.console()
    width = max(map(len, MODELS))
    for name, estimator in MODELS.items():
        summary = (estimator.__doc__ or "").strip().partition("\n")[0]
        terminal.say(console, f"{name:<{width}}  {summary}")
        if verbose:
            for parameter, value in estimator().get_params(deep=False).items():
                terminal.say(console, f"{'':<{width}}  {parameter}={value!r}")
            for method, why in estimator.cannot.items():
                terminal.say(console, f"{'':<{width}}  no {method}: {why}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    0 is success, 2 bad usage or input (told in one sentence), 130 an interruption by Ctrl-C.
    """
    # Before torch is there: a thread of OpenMP that waits looks so often, and then sleeps. Looking
    # takes the time of the thread it waits for where other processes have the cores.
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    command = typer.main.get_command(app)
    try:
        with terminal.short_warnings():
            code = command.main(args=words, prog_name="deepmixture", standalone_mode=False)
    except Interrupted as stop:
        terminal.complain("interrupted", str(stop))
        return INTERRUPTED
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:
        usage = getattr(error, "format_message", None)
        if usage is not None:
            terminal.complain("error", usage())
            return BAD_INPUT
        if "--verbose" in words or not isinstance(error, TOLD):
            raise
        terminal.complain("error", str(error))
        return BAD_INPUT
    if code == INTERRUPTED:
        terminal.complain("interrupted", "nothing was written")
    return int(code or 0)
