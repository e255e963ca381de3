"""A flood of one kind of error is not a flood of the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from latency_sweep.contract.metrics import ErrorKind
from latency_sweep.probe.measurement.error_log import LOGGED_PER_MINUTE, ErrorLog

if TYPE_CHECKING:
    import pytest
    from prometheus_client import CollectorRegistry

    from latency_sweep.probe.measurement.recorder import Recorder


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_some_of_a_kind_are_logged_in_each_minute() -> None:
    clock = Clock()
    log = ErrorLog(clock)
    for _ in range(3):
        admitted = [log.admit(ErrorKind.BAD_JSON) for _ in range(100)]
        assert sum(admitted) == LOGGED_PER_MINUTE
        assert list(log.ended()) == []
        clock.now += 60
        assert list(log.ended()) == [(ErrorKind.BAD_JSON, 100 - LOGGED_PER_MINUTE)]
        assert list(log.ended()) == []


def test_one_kind_leaves_another_its_own() -> None:
    log = ErrorLog(Clock())
    for _ in range(100):
        log.admit(ErrorKind.BAD_JSON)
    assert log.admit(ErrorKind.INTERNAL)


def test_the_log_says_how_many_were_only_counted(
    recorder: Recorder, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    recorder._error_log = ErrorLog(clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            recorder.count_error(ErrorKind.INTERNAL, "a fault", ValueError("here"))
        clock.now = 61.0
        recorder.report_unlogged_errors()
    errors = [r for r in caplog.records if r.message == "feed error"]
    assert len(errors) == LOGGED_PER_MINUTE
    assert all(record.exc_info for record in errors)
    (told,) = [r for r in caplog.records if r.message == "feed errors that were only counted"]
    assert vars(told)["context"]["number"] == 100 - LOGGED_PER_MINUTE
    labels = {"market": "spot", "kind": "internal"}
    assert registry.get_sample_value("feed_errors_total", labels) == 100
