"""Run benchmarks: `python -m benchmarks run mnist`, then `python -m benchmarks table`.

Data is read from the folder in the environment variable DEEPMIXTURE_DATA. A run whose results
file is there already is skipped, so an interrupted table goes on where it stopped, and several
processes may work on one table: none begins what another one is at.
"""

import argparse
from pathlib import Path

from benchmarks import files


def main() -> int:
    """Read the command line; return 1 where a run ended in an error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run a table, skipping what has its results file")
    run.add_argument("table", help=", ".join(files.tables()))
    run.add_argument("--only", nargs="*", help="these runs of the table")
    run.add_argument("--seeds", nargs="*", type=int)
    run.add_argument("--threads", type=int, help="threads of the matrix products")
    run.add_argument("--share", type=Path, help="folder in which runs share their beginnings")
    run.add_argument("--keep", type=Path, help="folder in which the fitted models are saved")
    commands.add_parser("table", help="write the pages from the results files")
    figures = commands.add_parser("figures", help="draw samples and the map of a saved model")
    figures.add_argument("model", type=Path, help="a saved model, or the folder of a run")
    figures.add_argument("--name", help="of the pictures; else that of the folder")
    figures.add_argument("--table", default="mnist", help="whose test rows are shown")
    figures.add_argument("--rows", type=int, default=10_000, help="test rows, and prior samples")
    figures.add_argument("--no-map", action="store_true", help="samples alone; a map takes long")
    figures.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.command == "table":
        from benchmarks.pages import write_pages

        write_pages()
        return 0
    if arguments.threads:
        from benchmarks.hardware import set_threads

        set_threads(arguments.threads)
    if arguments.command == "figures":
        from benchmarks.figures import draw

        with_map = not arguments.no_map
        draw(arguments.model, arguments.name, arguments.table, arguments.rows, with_map)
        return 0
    from benchmarks.runner import run_table

    if arguments.share:
        from benchmarks.sharing import share_beginnings

        share_beginnings(arguments.share)
    well = run_table(arguments.table, arguments.only, arguments.seeds, arguments.keep)
    return 0 if well else 1


if __name__ == "__main__":
    raise SystemExit(main())
