"""A connection that is alive and brings nothing is suspected, as its pauses tell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.probe.connection.stall_detector import (
    MAX_LEARNT_SEC,
    MAX_LIMIT_SEC,
    MEMORY_SEC,
    PAUSES,
    PauseMemory,
    StallDetector,
)

LEAST_SEC = 30.0


def connected_at(now: float, memory: PauseMemory | None = None) -> StallDetector:
    detector = StallDetector(memory or PauseMemory(), LEAST_SEC)
    detector.connected(now)
    return detector


def busy_until(now: float) -> StallDetector:
    detector = connected_at(now - 5.0)
    for number in range(11):
        detector.heard(now - 5.0 + number * 0.5)
    return detector


def test_a_busy_stream_that_ends_is_suspected_after_the_least_limit() -> None:
    detector = busy_until(5.0)
    assert not detector.is_suspect(5.0 + LEAST_SEC)
    assert detector.is_suspect(5.0 + LEAST_SEC + 0.1)


def test_a_stream_that_is_often_quiet_is_given_more_time() -> None:
    detector = connected_at(0.0)
    detector.heard(45.0)
    assert not detector.is_suspect(45.0 + PAUSES * 45.0)
    assert detector.is_suspect(45.0 + PAUSES * 45.0 + 0.1)


def test_a_pause_that_spans_a_replacement_is_learnt_whole() -> None:
    detector = connected_at(0.0)
    detector.heard(10.0)
    detector.connected(50.0)
    detector.heard(55.0)
    assert detector.limit_sec(55.0) == PAUSES * 45.0


def test_a_replacement_is_not_suspected_for_the_silence_before_it() -> None:
    detector = busy_until(5.0)
    detector.connected(30.0)
    assert not detector.is_suspect(30.0 + LEAST_SEC)


def test_a_pause_with_an_outage_in_it_is_learnt_only_from_the_outage_s_end() -> None:
    """What the market sent meanwhile was missed."""
    detector = busy_until(5.0)
    detector.disconnected()
    detector.connected(1000.0)
    detector.heard(1040.0)
    assert detector.limit_sec(1040.0) == PAUSES * 40.0


def test_lines_share_the_pauses_of_their_feed() -> None:
    memory = PauseMemory()
    first, second = connected_at(0.0, memory), connected_at(0.0, memory)
    first.heard(45.0)
    assert second.limit_sec(45.0) == PAUSES * 45.0


def test_a_stalled_connection_teaches_only_what_its_trial_was_silent_for() -> None:
    detector = busy_until(5.0)
    detector.stalled(12.0, 300.0)
    assert detector.limit_sec(300.0) == PAUSES * 12.0
    assert not detector.is_suspect(300.0 + PAUSES * 12.0)


def test_each_trial_that_brings_nothing_lasts_twice_as_long_as_the_one_before() -> None:
    detector = busy_until(5.0)
    lengths = []
    for _ in range(7):
        lengths.append(detector.trial_sec(40.0))
        detector.undecided()
    assert lengths == [30.0, 60.0, 120.0, 240.0, 480.0, MAX_LIMIT_SEC, MAX_LIMIT_SEC]


def test_a_message_ends_the_growth_of_the_trials() -> None:
    detector = busy_until(5.0)
    detector.undecided()
    detector.heard(40.0)
    assert detector.trial_sec(40.0) == PAUSES * 35.0
    assert detector.trial_sec(40.0) == detector.limit_sec(40.0)


def test_time_in_which_the_program_was_suspended_is_no_silence() -> None:
    detector = busy_until(5.0)
    detector.excuse(100.0)
    assert not detector.is_suspect(5.0 + 100.0 + LEAST_SEC)
    assert detector.is_suspect(5.0 + 100.0 + LEAST_SEC + 0.1)
    detector.heard(105.5)
    assert detector.limit_sec(105.5) == LEAST_SEC


def test_a_market_closed_for_hours_is_forgotten_after_one_to_two_days() -> None:
    memory = PauseMemory()
    memory.learn(0.5, 0.0)
    memory.learn(8 * 3600.0, 8 * 3600.0)
    assert memory.limit_sec(1.9 * MEMORY_SEC, LEAST_SEC) == MAX_LIMIT_SEC
    assert memory.limit_sec(2.0 * MEMORY_SEC, LEAST_SEC) == LEAST_SEC


@pytest.mark.parametrize("periods", [3, 10])
def test_a_memory_nobody_asked_for_long_forgets_all_the_same(periods: int) -> None:
    memory = PauseMemory()
    memory.learn(60.0, 0.0)
    assert memory.longest_sec(periods * MEMORY_SEC) == 0.0


@given(
    st.lists(st.tuples(st.floats(0.0, 1e6), st.floats(0.0, 1e5)), min_size=1, max_size=20),
    st.floats(0.0, 1e6),
)
def test_whatever_is_learnt_the_limit_is_bounded_and_no_recent_pause_is_suspicious(
    pauses: list[tuple[float, float]], later: float
) -> None:
    memory, now = PauseMemory(), 0.0
    for pause, apart in pauses:
        now += apart
        memory.learn(pause, now)
        assert memory.longest_sec(now) >= min(pause, MAX_LEARNT_SEC)
        assert memory.limit_sec(now, LEAST_SEC) >= min(pause, MAX_LIMIT_SEC)
    assert LEAST_SEC <= memory.limit_sec(now + later, LEAST_SEC) <= MAX_LIMIT_SEC
    longest = memory.longest_sec(now)
    assert memory.longest_sec(now + later) <= longest
