"""The local probes take the best stamps that their user may have."""

from __future__ import annotations

import socket

import pytest

from deploy.local import stamps


def test_who_may_not_capture_reads_the_socket_s_stamps(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(socket, "socket", refuse)
    assert stamps.best_stamps() == "socket"


def test_who_may_capture_takes_each_segment_s_own_stamp() -> None:
    if not stamps.may_capture():
        pytest.skip("needs CAP_NET_RAW")
    assert stamps.best_stamps() == "capture"
