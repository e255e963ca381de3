"""A port that is kept is refused, and free for who asks for it by number only."""

from __future__ import annotations

import socket

import pytest

from latency_sweep.runtime.loopback import hold_port

HOST = "127.0.0.1"


def test_connections_to_a_kept_port_are_refused_until_somebody_listens_again() -> None:
    with hold_port(0) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port))
        with (
            socket.create_server((HOST, port)),
            socket.create_connection((HOST, port)) as client,
        ):
            assert client.getpeername() == (HOST, port)


def test_a_kept_port_is_no_free_one() -> None:
    """Who asks for any port is given each of them sooner or later, but for those that are had."""
    in_use = pytest.raises(OSError, match="in use")
    with hold_port(0) as holder, socket.socket() as other, in_use:
        other.bind(holder.getsockname())


def test_a_port_that_somebody_listens_at_cannot_be_kept() -> None:
    with socket.create_server((HOST, 0)) as server, pytest.raises(OSError, match="in use"):
        hold_port(server.getsockname()[1])
