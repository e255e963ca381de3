"""What late timestamps leave of a quantile is never more than is known, and no less."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.analysis.evidence.timestamps import (
    Readings,
    TimestampErrors,
    lateness,
    least_quantile,
)
from latency_sweep.nativehist.float_histogram import FloatHistogram

QUANTILES = (0.5, 0.9, 0.99, 0.999)


def readings(latencies: list[float], bounds: list[float], exact: int) -> Readings:
    errors = TimestampErrors(FloatHistogram.from_samples(bounds), exact)
    return Readings(FloatHistogram.from_samples(latencies), errors)


def order_statistic(values: np.ndarray, q: float) -> float:
    return float(np.sort(values)[math.ceil(q * len(values) - 1e-6) - 1])


MESSAGES = st.lists(
    st.tuples(st.floats(1e-4, 1.0), st.floats(0.0, 1.0), st.booleans()), min_size=1, max_size=40
)


@given(parts=st.lists(MESSAGES, min_size=1, max_size=3), q=st.sampled_from(QUANTILES))
def test_the_true_quantile_is_never_below_the_least(
    parts: list[list[tuple[float, float, bool]]], q: float
) -> None:
    """Whichever message is how late, as long as it is within its bound."""
    known, truth = [], []
    for messages in parts:
        latency, share, inexact = (np.array(column) for column in zip(*messages, strict=True))
        late = 0.3 * share * inexact
        truth.append(latency)
        bounds = (0.3 * share)[inexact.astype(bool)].tolist()
        known.append(readings((latency + late).tolist(), bounds, int((~inexact).sum())))
    least = least_quantile(known, q)
    assert least is not None
    assert least <= order_statistic(np.concatenate(truth), q)


@given(
    messages=st.lists(st.tuples(st.integers(1, 8), st.integers(0, 4)), min_size=1, max_size=5),
    q=st.sampled_from((0.2, 0.5, 0.99)),
)
def test_some_way_to_pair_readings_with_bounds_has_the_least(
    messages: list[tuple[int, int]], q: float
) -> None:
    """All pairs of whole numbers tried: the smallest quantile of any is what is found."""
    read = np.array([reading for reading, _ in messages], dtype=float)
    bounds = [float(bound) for _, bound in messages]
    smallest = min(order_statistic(read - np.array(late), q) for late in permutations(bounds))
    # Buckets around whole numbers, so that only their width is lost.
    width = 2.0**-8
    latency = FloatHistogram.merge(
        *(
            FloatHistogram(1, value, np.array([value - width]), np.array([value]), np.ones(1))
            for value in read
        )
    )
    errors = TimestampErrors(FloatHistogram.from_samples(bounds), 0)
    least = least_quantile([Readings(latency, errors)], q)
    assert least == pytest.approx(smallest, abs=2 * width + 4 * 0.003)


@given(messages=MESSAGES, q=st.sampled_from(QUANTILES))
def test_halves_of_one_instance_bound_no_more_than_the_whole(
    messages: list[tuple[float, float, bool]], q: float
) -> None:
    """A part twice is the same distribution, whether or not it is pooled before."""
    latency = [reading for reading, *_ in messages]
    bounds = [0.1 * bound for _, bound, inexact in messages if inexact]
    one = readings(latency, bounds, len(latency) - len(bounds))
    whole = readings(2 * latency, 2 * bounds, 2 * (len(latency) - len(bounds)))
    assert least_quantile([one, one], q) == pytest.approx(least_quantile([whole], q), abs=1e-9)


@pytest.mark.parametrize("q", QUANTILES)
def test_exact_timestamps_explain_nothing(q: float) -> None:
    assert lateness([readings([0.001 * k for k in range(1, 101)], [], 100)], q) == 0


def test_one_late_message_in_a_hundred_moves_p99_by_its_neighbours() -> None:
    """Below a late message of any size lies the next smaller one."""
    latencies = [0.001 * k for k in range(1, 1001)]
    found = lateness([readings(latencies, [0.5] * 10, 990)], 0.99)
    assert found == pytest.approx(0.010, rel=0.3)


def test_a_message_of_which_nothing_is_said_counts_as_late_without_limit() -> None:
    latencies = [0.010] * 99 + [0.020]
    assert lateness([readings(latencies, [], 99)], 0.5) == 0
    assert lateness([readings(latencies, [], 0)], 0.5) == math.inf


def test_a_bound_without_end_bounds_nothing() -> None:
    assert lateness([readings([0.01] * 10, [math.inf] * 10, 0)], 0.5) == math.inf


def test_an_instance_that_says_nothing_leaves_the_quantile_unknown() -> None:
    told = readings([0.01] * 10, [], 10)
    assert least_quantile([told, Readings(told.latency, None)], 0.99) is None
    assert lateness([Readings(told.latency, None)], 0.99) is None
    assert TimestampErrors.merge([told.errors, None]) is None
    assert TimestampErrors.merge([]) is None


def test_errors_of_several_parts_add_up() -> None:
    parts = [readings([0.01] * 3, [0.001], 2).errors, readings([0.01] * 2, [0.002], 1).errors]
    merged = TimestampErrors.merge(parts)
    assert merged is not None
    assert (merged.bounds.count, merged.exact) == (2, 3)


def test_without_a_reading_there_is_no_quantile() -> None:
    nothing = readings([], [], 0)
    assert math.isnan(lateness([nothing], 0.99) or 0.0)
