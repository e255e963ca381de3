"""A thread that encodes hands the core over now and then, and not for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.probe.serving import pauses
from latency_sweep.probe.serving.pauses import Pauses

if TYPE_CHECKING:
    import pytest


class Host:
    """A clock set by hand, on which a sleep takes as long as the host is busy."""

    def __init__(self, wake_ns: int) -> None:
        self.now_ns = 0
        self.sleeps = 0
        self.wake_ns = wake_ns

    def perf_counter_ns(self) -> int:
        return self.now_ns

    def sleep(self, _: float) -> None:
        self.sleeps += 1
        self.now_ns += self.wake_ns


def worked(host: Host, monkeypatch: pytest.MonkeyPatch, work_ns: int, step_ns: int) -> None:
    monkeypatch.setattr(pauses, "time", host)
    pause = Pauses()
    for _ in range(work_ns // step_ns):
        host.now_ns += step_ns
        pause()


def test_short_work_needs_no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(wake_ns=70_000)
    worked(host, monkeypatch, work_ns=200_000, step_ns=20_000)
    assert host.sleeps == 0


def test_long_work_pauses_every_quarter_of_a_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(wake_ns=70_000)
    worked(host, monkeypatch, work_ns=10_000_000, step_ns=50_000)
    assert host.sleeps == 40


def test_where_sleeps_are_long_they_at_most_double_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = Host(wake_ns=5_000_000)
    worked(host, monkeypatch, work_ns=200_000_000, step_ns=50_000)
    assert 200_000_000 < host.now_ns < 2 * 200_000_000 + 60_000_000
