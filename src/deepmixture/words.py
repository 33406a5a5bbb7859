"""How the report writes numbers and settings, for people and for JSON."""

import base64
import math

import numpy as np


def number(value: float) -> str:
    """Four significant digits, with a true minus sign."""
    if not math.isfinite(value):
        return "\N{EN DASH}"
    small = f"{value:,.0f}" if 1e4 <= abs(value) < 1e7 else f"{value:.4g}"
    return small.replace("-", "\N{MINUS SIGN}")


def percent(fraction: float) -> str:
    """One decimal; never rounded up to a certainty or down to nothing."""
    share = 100 * float(fraction)
    if 99.95 <= share < 100:
        return "> 99.9 %"
    if 0 < share < 0.05:
        return "< 0.1 %"
    return f"{share:.0f} %" if share in (0, 100) else f"{share:.1f} %"


def in_words(value: object) -> str:
    """Write a setting for people."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        text = ", ".join(in_words(v) for v in value[:20])
        return text + (f" and {len(value) - 20:,} more" if len(value) > 20 else "")
    text = str(value)
    return text if len(text) <= 300 else text[:300] + "…"


def finite(value: object) -> float | None:
    """Return a number which JSON can hold, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return None
    return float(value) if math.isfinite(value) else None


def base64_of(values: np.ndarray) -> str:
    """Return the bytes of an array, for the page to read as a typed array."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")
