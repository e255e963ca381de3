"""Axes of the charts."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from latency_sweep.analysis.report.charts.scale import Scale

VALUES = st.lists(
    st.floats(min_value=-1e6, max_value=1e6, allow_subnormal=False), min_size=1, max_size=20
)


@given(VALUES)
@example([2.3031826714884976e-221, 2.303182674073623e-221])
@example([1e-300, 5e-300])
@example([-866914.0, -866914.0000000001])
@example([-20016.91883957025, -20016.918838520574])
def test_every_value_and_every_tick_lies_on_the_axis(values: list[float]) -> None:
    scale = Scale.over(values)
    assert all(0 <= scale.at(value) <= 100 for value in values)
    assert all(scale.low <= tick <= scale.high for tick in scale.ticks())


@given(VALUES)
def test_larger_values_never_lie_further_left(values: list[float]) -> None:
    scale = Scale.over(values)
    positions = [scale.at(value) for value in sorted(values)]
    assert positions == sorted(positions)


def test_values_of_different_magnitude_get_a_logarithmic_axis() -> None:
    scale = Scale.over([0.001, 0.01, 0.1])
    assert scale.log
    assert scale.at(0.01) == pytest.approx(50)
    assert set(scale.ticks()) == {0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1}


def test_values_at_or_below_zero_get_a_linear_axis() -> None:
    assert not Scale.over([-0.001, 0.0, 100.0]).log


@pytest.mark.parametrize("values", [[], [None], [math.nan, math.inf], [0.0], [5.0, 5.0]])
def test_there_is_an_axis_whatever_the_values(values: list[float | None]) -> None:
    scale = Scale.over(values)
    assert scale.low < scale.high
    assert len(scale.ticks()) >= 2


def test_values_beyond_the_axis_lie_on_its_ends() -> None:
    scale = Scale.over([1.0, 2.0])
    assert (scale.at(-10.0), scale.at(10.0)) == (0.0, 100.0)
