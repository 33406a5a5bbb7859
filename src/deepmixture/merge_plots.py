"""How the number of clusters was found, drawn: connection and stability at each number, as SVG."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

LEFT, BOTTOM, RIGHT, TOP = 44, 26, 14, 8
WEAKEST = 1e-3


def connection_curve(
    merges: Sequence[Mapping[str, float]], width: int = 720, height: int = 220
) -> str:
    """Draw the strongest connection at each number of clusters, on a logarithmic axis.

    Filled points are merges that were done; the first hollow one stands at the number of clusters
    that was found, and the deeper it lies below the last filled one, the surer that number is.
    """

    def level(connection: float) -> float:
        return float(np.log(np.clip(connection, WEAKEST, 1.0)) / np.log(WEAKEST))

    return _curve(
        merges,
        [merge["connection"] for merge in merges],
        level,
        ticks=(1.0, 0.1, 0.01, 0.001),
        label="strongest connection at each number of clusters",
        size=(width, height),
    )


def stability_curve(
    merges: Sequence[Mapping[str, float]], width: int = 720, height: int = 160
) -> str:
    """Draw how alike the clusterings of parts of the rows are at each number of clusters."""
    return _curve(
        merges,
        [merge["stability"] for merge in merges],
        lambda stability: 1.0 - float(np.clip(stability, 0.0, 1.0)),
        ticks=(1.0, 0.5, 0.0),
        label="stability at each number of clusters",
        size=(width, height),
    )


def _curve(
    merges: Sequence[Mapping[str, float]],
    values: Sequence[float],
    level: Callable[[float], float],
    ticks: Sequence[float],
    label: str,
    size: tuple[int, int],
) -> str:
    """Draw values over the number of clusters; `level` is 0 at the top and 1 at the bottom."""
    width, height = size
    number = np.array([merge["n_clusters"] for merge in merges], dtype=float)
    x = LEFT + (number - 2) / max(number.max() - 2, 1) * (width - LEFT - RIGHT)

    def place(value: float) -> float:
        return TOP + level(value) * (height - BOTTOM - 2 * TOP)

    y = [place(value) for value in values]
    lines = [
        f'<svg viewBox="0 0 {width} {height}" role="img" style="max-width:{width}px" '
        f'aria-label="{label}" font-size="11">'
    ]
    for tick in ticks:
        at = place(tick)
        lines.append(
            f'<path d="M{LEFT} {at:.1f}H{width}" stroke="currentColor" opacity=".15"/>'
            f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end" fill="currentColor">'
            f"{100 * tick:g}%</text>"
        )
    for step in range(0, len(merges), max(1, len(merges) // 15)):
        lines.append(
            f'<text x="{x[step]:.1f}" y="{height - 6}" text-anchor="middle" fill="currentColor">'
            f"{number[step]:.0f}</text>"
        )
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    lines.append(f'<polyline points="{path}" fill="none" stroke="currentColor" opacity=".35"/>')
    for merge, value, a, b in zip(merges, values, x, y, strict=True):
        fill = "currentColor" if merge["done"] else "none"
        lines.append(
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4" fill="{fill}" stroke="currentColor">'
            f"<title>{merge['n_clusters']} clusters: {100 * value:.2g}%</title>"
            "</circle>"
        )
    return "".join([*lines, "</svg>"])
