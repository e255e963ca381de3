"""A connection that is alive and brings nothing is told from a market that is quiet."""

from __future__ import annotations

from latency_sweep.probe.connection.stall_detector import (
    MAX_LIMIT_SEC,
    PAUSES,
    StallDetector,
)


def a_busy_stream(pause_sec: float = 0.5) -> StallDetector:
    detector = StallDetector(30.0)
    detector.opened(0.0)
    for number in range(1, 11):
        detector.note(number * pause_sec, number)
    return detector


def test_a_busy_stream_that_ends_becomes_suspicious_after_the_patience() -> None:
    detector = a_busy_stream()
    assert not detector.is_stalled(5.0 + 30.0)
    assert detector.is_stalled(5.0 + 30.1)


def test_a_stream_that_is_often_quiet_is_given_more_time() -> None:
    detector = a_busy_stream(pause_sec=20.0)
    assert not detector.is_stalled(200.0 + PAUSES * 20.0)
    assert detector.is_stalled(200.0 + PAUSES * 20.0 + 1.0)


def test_asking_without_a_new_message_does_not_end_the_stall_detector() -> None:
    detector = a_busy_stream()
    detector.note(35.0, 10)
    assert detector.is_stalled(35.1)


def test_each_fresh_connection_that_brings_nothing_is_given_twice_the_time() -> None:
    detector = StallDetector(30.0)
    detector.opened(0.0)
    assert detector.is_stalled(31.0)
    detector.opened(31.0)
    assert not detector.is_stalled(31.0 + 60.0)
    assert detector.is_stalled(31.0 + 61.0)


def test_a_message_ends_the_growth_of_the_patience() -> None:
    detector = StallDetector(30.0)
    for moment in (0.0, 31.0, 92.0):
        detector.opened(moment)
    detector.note(100.0, 1)
    detector.opened(200.0)
    assert detector.is_stalled(231.0)


def test_patience_has_a_limit() -> None:
    detector = StallDetector(30.0)
    for _ in range(100):
        detector.opened(0.0)
    assert detector.is_stalled(MAX_LIMIT_SEC + 1.0)


def test_the_pause_between_two_connections_is_none_of_the_market() -> None:
    detector = a_busy_stream()
    detector.opened(1000.0)
    detector.note(1001.0, 1)
    assert detector.is_stalled(1001.0 + 31.0)


def test_time_in_which_the_program_stood_still_is_no_stall_detector() -> None:
    detector = a_busy_stream()
    detector.excuse(100.0)
    assert not detector.is_stalled(5.0 + 100.0 + 30.0)
    assert detector.is_stalled(5.0 + 100.0 + 30.1)


def test_time_in_which_the_program_stood_still_is_no_pause_of_the_market() -> None:
    detector = a_busy_stream()
    detector.excuse(100.0)
    detector.note(105.5, 11)
    assert detector.is_stalled(105.5 + 30.1)
