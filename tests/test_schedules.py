"""Schedules: where they begin and end, and how they go in between."""

import numpy as np
import pytest

from deepmixture import schedules
from deepmixture.schedules import Schedule

PROGRESS = np.linspace(0.0, 1.0, 1001)


def values(schedule: Schedule) -> np.ndarray:
    return np.array([schedule(float(t)) for t in PROGRESS])


@pytest.mark.parametrize(
    ("schedule", "first", "last"),
    [
        (schedules.constant(0.3), 0.3, 0.3),
        (schedules.linear(2.0, 0.5), 2.0, 0.5),
        (schedules.linear(0.0, 1.0, until=0.25), 0.0, 1.0),
        (schedules.geometric(1e-1, 1e-4), 1e-1, 1e-4),
        (schedules.geometric(0.5, 2.0, until=0.5), 0.5, 2.0),
        (schedules.halving(0.8, 3), 0.8, 0.1),
        (schedules.halving(0.8, 3, end=0.3), 0.8, 0.3),
        (schedules.halving(0.8, 0), 0.8, 0.8),
        (schedules.cosine(1.0, 0.2), 1.0, 0.2),
        (schedules.one_cycle(1.0), 0.04, 1e-4),
        (schedules.cyclic(0.0, 1.0, cycles=4), 0.0, 1.0),
        (schedules.cyclic(1.0, 0.2, cycles=3, rising=1.0), 1.0, 0.2),
    ],
)
def test_end_values_and_range(schedule: Schedule, first: float, last: float) -> None:
    assert schedule(0.0) == pytest.approx(first)
    assert schedule(1.0) == pytest.approx(last)
    low, high = min(first, last), max(first, last)
    if schedule(0.3) > high:  # one_cycle alone goes beyond its ends, up to its peak
        high = 1.0
    went = values(schedule)
    assert went.min() >= low - 1e-12
    assert went.max() <= high + 1e-12


def test_linear_and_geometric_are_reached_at_until() -> None:
    line, factor = schedules.linear(1.0, 3.0, until=0.5), schedules.geometric(1.0, 4.0, until=0.5)
    assert line(0.25) == pytest.approx(2.0)
    assert factor(0.25) == pytest.approx(2.0)
    assert line(0.5) == line(0.75) == 3.0
    assert factor(0.5) == factor(0.75) == 4.0


def test_halving_takes_equal_steps() -> None:
    went = values(schedules.halving(8.0, 3))
    levels, counts = np.unique(went, return_counts=True)
    np.testing.assert_array_equal(levels, [1.0, 2.0, 4.0, 8.0])
    np.testing.assert_allclose(counts, 250, atol=1)
    assert schedules.halving(8.0, 3)(1e-12) == 8.0


def test_cosine_is_symmetric_and_slow_at_its_ends() -> None:
    schedule = schedules.cosine(1.0, 0.0)
    assert schedule(0.5) == pytest.approx(0.5)
    assert schedule(0.2) + schedule(0.8) == pytest.approx(1.0)
    assert schedule(0.0) - schedule(0.1) < 0.03 < 0.15 < schedule(0.45) - schedule(0.55)


def test_one_cycle_rises_to_its_peak_and_falls() -> None:
    went = values(schedules.one_cycle(5.0, warm_up=0.3))
    assert went.argmax() == 300
    assert went.max() == 5.0
    assert (np.diff(went[:301]) > 0).all()
    assert (np.diff(went[300:]) < 0).all()


def test_cyclic_repeats_a_line_and_a_rest() -> None:
    schedule = schedules.cyclic(0.0, 1.0, cycles=2, rising=0.5)
    assert [schedule(t) for t in (0.0, 0.125, 0.25, 0.4, 0.5, 0.625, 0.75)] == [
        0.0, 0.5, 1.0, 1.0, 0.0, 0.5, 1.0
    ]  # fmt: skip
