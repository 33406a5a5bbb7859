"""Scaling of the columns and back, as fitted once and saved with the model."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from deepmixture.data import scratch
from deepmixture.data.moments import log1p_counts
from deepmixture.data.rows import row_slices

Method = Literal["none", "unit", "standard", "global", "log"]
METHODS: tuple[Method, ...] = get_args(Method)

_SENTENCES: dict[Method, str] = {
    "none": "values are taken as they came",
    "standard": "each column is brought to mean 0 and standard deviation 1",
    "global": "columns are centred and divided by one scale, {scale:.4g}",
    "log": "of log(1 + x), columns are centred and divided by one scale, {scale:.4g}",
}


@dataclass(frozen=True, eq=False)
class Scaling:
    """Scaled = (f(x) - offset) / scale, where f is log(1 + x) for "log" and x otherwise.

    The arrays have shape (F,) and are float64: of large values close together, such as times
    in seconds, float32 would keep no differences. A scale of zero is that of a column which did
    not vary: whatever comes is zero when scaled, and the offset when brought back.
    """

    method: Method
    offset: np.ndarray
    scale: np.ndarray

    def __post_init__(self) -> None:
        """Refuse what a damaged file may hold."""
        if self.method not in METHODS:
            raise ValueError(f"scaling is {self.method!r}: expected one of {', '.join(METHODS)}")
        for name in ("offset", "scale"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        fit = self.offset.ndim == 1 and self.offset.shape == self.scale.shape
        if not (fit and np.isfinite(self.offset).all() and np.isfinite(self.scale).all()):
            raise ValueError("offset and scale must be finite and of one shape (F,)")
        if (self.scale < 0).any():
            raise ValueError("scale must not be negative")

    @property
    def constant(self) -> np.ndarray:
        """Which columns did not vary, (F,)."""
        return np.asarray(self.scale == 0)

    def transform(self, values: np.ndarray, clip: bool = False) -> np.ndarray:
        """Scale (N, F) values to float32; what leaves [0, 1] is then brought back if `clip`."""
        self._check_width(values)
        scaled = np.empty(values.shape, np.float32)
        done = 0
        for block in self._blocks(values, clip):
            scaled[done : done + len(block)] = block
            done += len(block)
        return scaled

    def transform_on_disk(self, values: np.ndarray, clip: bool = False) -> np.ndarray:
        """Do what `transform` does in a scratch file, and return it mapped."""
        self._check_width(values)
        return scratch.write(self._blocks(values, clip), values.shape[1], np.float32)

    def _blocks(self, values: np.ndarray, clip: bool) -> Iterator[np.ndarray]:
        divisor = np.where(self.constant, np.inf, self.scale)
        for part in row_slices(values):
            block = values[part].astype(np.float64)
            if self.method == "log":
                log1p_counts(block)
            block -= self.offset
            block /= divisor
            yield np.clip(block, 0.0, 1.0, out=block) if clip else block

    def inverse_transform(self, scaled: np.ndarray) -> np.ndarray:
        """Bring (N, F) scaled values back to the units of the data, in their own dtype."""
        self._check_width(scaled)
        values = np.empty(scaled.shape, np.result_type(scaled, np.float32))
        for part in row_slices(scaled):
            block = scaled[part] * self.scale + self.offset
            values[part] = np.expm1(block, out=block) if self.method == "log" else block
        return values

    def log_jacobian(self, values: np.ndarray) -> np.ndarray:
        """Return log |d scaled / d value| of (N, F) rows, to add to their log-densities."""
        self._check_width(values)
        logs = np.full(len(values), -np.log(self.scale[~self.constant]).sum())
        if self.method == "log":
            for part in row_slices(values):
                logs[part] -= log1p_counts(values[part].astype(np.float64)).sum(axis=1)
        return logs

    def describe(self) -> str:
        """Say in a sentence what is done to the values."""
        offset, scale = self.offset[~self.constant], self.scale[~self.constant]
        if self.method != "unit":
            return _SENTENCES[self.method].format(scale=scale[0])
        low, high = offset[0], offset[0] + scale[0]
        if (offset != low).any() or (scale != scale[0]).any():
            return "each column is brought to between 0 and 1"
        if low == 0 and high == 1:
            return "values lie between 0 and 1 and are taken as they came"
        return f"values from {low:.6g} to {high:.6g} are brought to between 0 and 1"

    def to_dict(self) -> dict[str, Any]:
        """Return the method and the arrays, to be saved."""
        return {"method": self.method, "offset": self.offset, "scale": self.scale}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> "Scaling":
        """Restore what `to_dict` returned."""
        return cls(saved["method"], saved["offset"], saved["scale"])

    def _check_width(self, values: np.ndarray) -> None:
        if values.ndim != 2 or values.shape[1] != len(self.offset):
            raise ValueError(
                f"values have shape {values.shape}: expected (N, {len(self.offset)}), "
                "as when the scaling was fitted"
            )
