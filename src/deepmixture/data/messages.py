"""Words for messages."""

from collections.abc import Sequence


def listed(words: Sequence[str]) -> str:
    """Join words for a message: the first five, and how many more there are."""
    return ", ".join(words[:5]) + (f" and {len(words) - 5} more" if len(words) > 5 else "")
