"""How fast two clocks drift apart lies within the bound, whatever the network does."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.probe.clock.drift import (
    HOST_TOLERANCE_NS,
    MAX_POINTS,
    WINDOW_NS,
    Drift,
    DriftEstimator,
)

MS = 1_000_000
SEC = 1_000_000_000
MINUTE = 60 * SEC


def ask(
    estimator: DriftEstimator,
    at_ns: int,
    *,
    offset_ns: float,
    there_ns: int = 5 * MS,
    back_ns: int = 5 * MS,
) -> None:
    """One request whose two ways took so long, told as the estimator is told."""
    estimator.add(at_ns, offset_ns + (there_ns - back_ns) / 2, there_ns + back_ns)


def after_minutes(minutes: int, ppm: float, *, there_ms: int = 5, back_ms: int = 5) -> Drift:
    estimator = DriftEstimator()
    for minute in range(minutes + 1):
        at_ns = minute * MINUTE
        ask(
            estimator,
            at_ns,
            offset_ns=ppm * 1e-6 * at_ns,
            there_ns=there_ms * MS,
            back_ns=back_ms * MS,
        )
    found = estimator.estimate()
    assert found is not None
    return found


@pytest.mark.parametrize("ppm", [50.0, -50.0])
def test_a_crystal_that_nobody_steers_is_proven_within_two_minutes(ppm: float) -> None:
    found = after_minutes(2, ppm)
    assert found.proven > 15e-6
    assert found.ratio == pytest.approx(ppm * 1e-6, abs=found.error_bound)


def test_a_way_that_is_long_and_crooked_does_not_hide_it() -> None:
    assert after_minutes(2, 50.0, there_ms=30, back_ms=200).proven > 15e-6


@given(
    ppm=st.floats(-500, 500),
    offset_ms=st.floats(-1e6, 1e6),
    answers=st.lists(
        st.tuples(
            st.integers(1, 120),
            st.integers(0, 50 * MS),
            st.integers(0, 50 * MS),
            st.integers(-HOST_TOLERANCE_NS, HOST_TOLERANCE_NS),
        ),
        min_size=2,
        max_size=20,
    ),
)
def test_the_true_drift_lies_within_the_bound(
    ppm: float, offset_ms: float, answers: list[tuple[int, int, int, int]]
) -> None:
    estimator = DriftEstimator()
    at_ns = 0
    # The quickest way each way is reached once, as the estimate supposes of its window.
    for pause_sec, there, back, host in [(1, 0, 0, 0), *answers]:
        at_ns += pause_sec * SEC
        offset_ns = offset_ms * MS + ppm * 1e-6 * at_ns + host
        ask(estimator, at_ns, offset_ns=offset_ns, there_ns=20 * MS + there, back_ns=MS + back)
    found = estimator.estimate()
    assert found is not None
    assert abs(found.ratio - ppm * 1e-6) <= found.error_bound + 1e-9


def test_a_clock_that_was_set_ends_the_estimate() -> None:
    estimator = DriftEstimator()
    for minute in range(5):
        ask(estimator, minute * MINUTE, offset_ns=0)
    ask(estimator, 5 * MINUTE, offset_ns=SEC)
    assert estimator.estimate() is None
    ask(estimator, 6 * MINUTE, offset_ns=SEC)
    found = estimator.estimate()
    assert found is not None
    assert found.proven == 0


def test_one_answer_tells_nothing() -> None:
    estimator = DriftEstimator()
    ask(estimator, 0, offset_ns=0)
    assert estimator.estimate() is None


def test_what_is_older_than_the_window_is_forgotten() -> None:
    estimator = DriftEstimator()
    ask(estimator, 0, offset_ns=SEC)
    ask(estimator, WINDOW_NS + 1, offset_ns=0)
    assert estimator.estimate() is None


def test_memory_does_not_grow_with_the_number_of_answers() -> None:
    estimator = DriftEstimator()
    for number in range(3 * MAX_POINTS):
        ask(estimator, number * SEC, offset_ns=0)
    assert len(estimator._points) == MAX_POINTS


def test_a_clock_set_back_leaves_no_answers_of_the_future() -> None:
    estimator = DriftEstimator()
    ask(estimator, MINUTE, offset_ns=0)
    ask(estimator, 0, offset_ns=MINUTE)
    assert estimator.estimate() is None


def test_an_estimate_is_made_anew_after_an_answer_and_after_forgetting() -> None:
    estimator = DriftEstimator()
    ask(estimator, 0, offset_ns=0)
    ask(estimator, MINUTE, offset_ns=0)
    first = estimator.estimate()
    ask(estimator, 2 * MINUTE, offset_ns=0)
    second = estimator.estimate()
    assert first is not None
    assert second is not None
    assert second.error_bound < first.error_bound
    estimator.forget()
    assert estimator.estimate() is None


@given(
    st.lists(
        st.tuples(
            st.integers(1, 100 * SEC),
            st.floats(-10 * MS, 10 * MS),
            st.integers(0, 50 * MS),
        ),
        min_size=2,
        max_size=MAX_POINTS,
    ),
)
def test_every_pair_of_answers_bounds_the_slope(answers: list[tuple[int, float, int]]) -> None:
    estimator = DriftEstimator()
    at_ns = 1_800_000_000 * SEC
    points = []
    for pause_ns, offset_ns, round_trip_ns in answers:
        at_ns += pause_ns
        estimator.add(at_ns, offset_ns, round_trip_ns)
        points.append((at_ns, offset_ns, round_trip_ns))
    points = [point for point in points if point[0] >= at_ns - WINDOW_NS]
    quickest = min(round_trip for _, _, round_trip in points)
    low, high = float("-inf"), float("inf")
    for (at_a, offset_a, trip_a), (at_b, offset_b, trip_b) in combinations(points, 2):
        doubt = 2 * HOST_TOLERANCE_NS + (trip_a + trip_b - 2 * quickest) / 2
        low = max(low, (offset_b - offset_a - doubt) / (at_b - at_a))
        high = min(high, (offset_b - offset_a + doubt) / (at_b - at_a))
    fits = len(points) > 1 and low <= high
    expected = Drift((low + high) / 2, (high - low) / 2) if fits else None
    assert estimator.estimate() == expected
