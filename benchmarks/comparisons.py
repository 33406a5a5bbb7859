"""Sections on comparisons: with ClustPy's epochs and fits, and with plain ways by the defaults."""

from collections.abc import Sequence
from statistics import mean

from benchmarks import files
from benchmarks.cells import circumstances
from benchmarks.files import Result
from benchmarks.others import DECIDED_ON


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
            "components of weighted words, as counts of 2,000 words and as these by tf-idf, and "
            "so are the texts of 20 newsgroups and Reuters; as sentences they are embedded by a "
            "network (MiniLM), of these two, and of tf-idf, 4,000. A column of words in a table "
            "is one of zeros and ones for each. 5,000 images are of MNIST, 5,000 articles of "
            "Fashion-MNIST, and the small "
            "images are of MNIST in 16 x 16 pixels, of each digit as many as USPS has. Letters "
            "are drawn by a thousand fonts, A to J, and by four hundred, a to z. Deep and "
            "shallow cells, and those of twelve kinds, are simulated (Zappia et al. 2017), and so "
            "are logarithms of shares of cells, of those twelve kinds and of fifteen others. What "
            "was standardised, or brought to its principal components (of tables those with 95% "
            "of the variance), came so to all. How "
            "tables and embeddings start, where embeddings are seen from, how counts weigh and "
            "how clusters of images are joined was decided on the data with a star; the others "
            "played no part.",
            "",
            *summary,
            f"| data | rows x columns | DeepMixture | {' | '.join(ways)} | s a fit |",
            "|---|---|---|" + "---|" * (len(ways) + 1),
            *map(row, found),
            "",
            circumstances(found),
        ]
    )
