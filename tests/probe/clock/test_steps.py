"""A clock that is set is noticed; one that is steered is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.probe.clock.steps import StepDetector, read_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

US = 1_000


def scripted(pairs: Sequence[tuple[int, int]]) -> Callable[[], tuple[int, int]]:
    remaining = iter(pairs)
    return lambda: next(remaining)


def ticking(times: Sequence[int]) -> Callable[[], int]:
    remaining = iter(times)
    return lambda: next(remaining)


@pytest.mark.parametrize("step_ns", [1_000_000_000, -1_000_000_000, 60 * US, -60 * US])
def test_a_step_is_told_with_its_sign(step_ns: int) -> None:
    detector = StepDetector(read=scripted([(0, 0), (step_ns, 0)]))
    assert detector.check() == pytest.approx(step_ns * 1e-9)


def test_a_step_is_told_once() -> None:
    detector = StepDetector(read=scripted([(0, 0), (10**9, 0), (10**9, 0)]))
    assert detector.check() == pytest.approx(1.0)
    assert detector.check() is None


@given(
    st.integers(-(10**12), 10**12),
    st.lists(st.tuples(st.integers(-20 * US, 20 * US), st.integers(0, 10**9)), max_size=20),
)
def test_noise_of_reading_is_no_step(base_ns: int, noise: list[tuple[int, int]]) -> None:
    pairs = [(base_ns, 0), *((base_ns + error, width) for error, width in noise)]
    detector = StepDetector(read=scripted(pairs))
    assert [detector.check() for _ in noise] == [None] * len(noise)


def test_a_reading_that_was_interrupted_hides_no_more_than_its_own_doubt() -> None:
    detector = StepDetector(read=scripted([(0, 0), (900 * US, 1000 * US), (1_000_000 * US, 0)]))
    assert detector.check() is None
    assert detector.check() is not None


def test_the_narrowest_of_a_few_readings_counts() -> None:
    boots = ticking([0, 1000, 2000, 2010, 3000, 3900, 4000, 4900, 5000, 5900])
    reals = ticking([500, 7005, 500, 500, 500])
    assert read_pair(reals, boots) == (5000, 10)


def test_this_machine_s_clock_is_read_within_a_narrow_window() -> None:
    detector = StepDetector(threshold_sec=0.5)
    assert detector.check() is None
