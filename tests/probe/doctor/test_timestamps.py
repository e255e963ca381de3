"""Kernel timestamps are looked for on a real loopback connection."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from latency_sweep.probe.doctor import timestamps
from latency_sweep.probe.net import timestamps_check
from latency_sweep.probe.net.receiving import Timestamps
from latency_sweep.runtime.check_result import CheckStatus

if TYPE_CHECKING:
    import socket


def test_this_kernel_timestamps_between_sending_and_reading() -> None:
    result = timestamps.check_receive_timestamps()
    assert result.status is CheckStatus.PASS, result.found
    assert result.found.startswith("50 of 50, read ")


def test_a_kernel_without_timestamps_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timestamps, "enable_receive_timestamps", lambda _sock: None)
    monkeypatch.setattr(timestamps, "_START_TIMEOUT_SEC", 0.0)
    result = timestamps.check_receive_timestamps()
    assert (result.status, result.found) == (CheckStatus.FAIL, "the kernel gives none")


@pytest.mark.parametrize("error_sec", [-1, 1])
def test_a_timestamp_that_cannot_be_right_fails(
    monkeypatch: pytest.MonkeyPatch, error_sec: int
) -> None:
    def receive(sock: socket.socket, buffer: bytearray) -> tuple[int, int | None, int]:
        size = sock.recv_into(buffer)
        now_ns = time.time_ns()
        return size, now_ns + error_sec * 10**9, now_ns

    monkeypatch.setattr(timestamps, "receive", receive)
    result = timestamps.check_receive_timestamps()
    assert result.status is CheckStatus.FAIL
    assert "not before reading" in result.found


def test_no_loopback_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_sock: socket.socket) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(timestamps, "enable_receive_timestamps", refuse)
    result = timestamps.check_receive_timestamps()
    assert result.status is CheckStatus.FAIL
    assert "Operation not permitted" in result.found


def test_the_sources_of_timestamps_that_can_be_had_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timestamps_check, "why_no_capture", lambda: None)
    result = timestamps.check_timestamp_sources(Timestamps.SOCKET, "lo")
    assert (result.status, result.found) == (CheckStatus.PASS, "socket, capture")


def test_a_source_that_is_asked_for_and_cannot_be_had_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timestamps_check, "why_no_capture", lambda: "needs CAP_NET_RAW")
    result = timestamps.check_timestamp_sources(Timestamps.CAPTURE, None)
    assert (result.status, result.found) == (CheckStatus.FAIL, "socket")
    assert "CAP_NET_RAW" in result.action


@pytest.mark.parametrize(
    ("why", "status", "used"),
    [(None, CheckStatus.PASS, "capture"), ("needs CAP_NET_RAW", CheckStatus.WARN, "socket")],
)
def test_auto_uses_the_best_source_that_works_and_warns_of_a_lesser_one(
    monkeypatch: pytest.MonkeyPatch, why: str | None, status: CheckStatus, used: str
) -> None:
    monkeypatch.setattr(timestamps_check, "why_no_capture", lambda: why)
    result = timestamps.check_timestamp_sources(Timestamps.AUTO, "lo")
    assert result.status is status
    assert result.found.endswith(f"--timestamps auto uses {used}")
    assert (why or "") in result.action
