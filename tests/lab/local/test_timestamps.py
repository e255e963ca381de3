"""The local probes take the best timestamps that their user may have."""

from __future__ import annotations

import socket

import pytest

from latency_sweep.lab.local import timestamps


def test_who_may_not_capture_reads_the_socket_s_timestamps(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(socket, "socket", refuse)
    assert timestamps.best_timestamps() == "socket"


def test_who_may_capture_takes_each_segment_s_own_timestamp() -> None:
    if not timestamps.may_capture():
        pytest.skip("needs CAP_NET_RAW")
    assert timestamps.best_timestamps() == "capture"
