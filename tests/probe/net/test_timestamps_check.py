"""Which source of timestamps a probe uses where it may choose."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from latency_sweep.probe.net.capture import PacketCapture
from latency_sweep.probe.net.receiving import Receiving, Timestamps, TimestampsError
from latency_sweep.probe.net.timestamps_check import check, choose, why_no_capture

if TYPE_CHECKING:
    from collections.abc import Callable

needs_privilege = pytest.mark.skipif(why_no_capture() is not None, reason="needs CAP_NET_RAW")
AUTO = Receiving(Timestamps.AUTO, 50)


def without_packet_sockets(error: OSError) -> Callable[..., socket.socket]:
    """`socket.socket` as it is for a process that may not capture."""

    class Refusing(socket.socket):
        def __init__(self, family: int = socket.AF_INET, *rest: int, **named: int) -> None:
            if family == socket.AF_PACKET:
                raise error
            super().__init__(family, *rest, **named)

    return Refusing


@needs_privilege
def test_auto_is_the_capture_where_it_sees_a_connection_of_its_own() -> None:
    assert choose(AUTO) == Receiving(Timestamps.CAPTURE, 50)


@pytest.mark.parametrize(
    "error",
    [PermissionError(1, "Operation not permitted"), OSError(97, "Address family not supported")],
)
def test_auto_is_the_socket_where_packets_cannot_be_captured_and_says_why(
    monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    monkeypatch.setattr(socket, "socket", without_packet_sockets(error))
    chosen = choose(AUTO)
    assert chosen == Receiving(Timestamps.SOCKET, 50)
    assert "--timestamps capture" in (chosen.no_capture or "")


@needs_privilege
def test_a_capture_that_sees_nothing_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in sandboxes whose network the kernel does not carry."""
    monkeypatch.setattr(PacketCapture, "read", lambda *_: None)
    assert choose(AUTO) == Receiving(Timestamps.SOCKET, 50)
    with pytest.raises(TimestampsError, match=r"does not see what is received.*socket"):
        check(Receiving(Timestamps.CAPTURE), "127.0.0.1")


def test_what_is_asked_for_is_kept() -> None:
    assert choose(Receiving()) == Receiving(Timestamps.SOCKET)
