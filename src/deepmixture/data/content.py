"""What was read, before it is checked and laid out as rows."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Content:
    """What was read, and words for where it was."""

    values: np.ndarray
    source: str
    names: tuple[str, ...] | None = None
    row_names: tuple[str, ...] | None = None
    was_sparse: bool = False
    is_frame: bool = False
