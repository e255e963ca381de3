"""A port that is kept is refused, and free for who asks for it by number only."""

from __future__ import annotations

import socket

import pytest

from deploy.local.loopback import kept

HOST = "127.0.0.1"


def free_port() -> int:
    with socket.create_server((HOST, 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_connections_to_a_kept_port_are_refused_until_somebody_listens_again() -> None:
    port = free_port()
    with kept(port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port))
        with (
            socket.create_server((HOST, port)),
            socket.create_connection((HOST, port)) as client,
        ):
            assert client.getpeername() == (HOST, port)


def test_a_kept_port_is_no_free_one() -> None:
    """Who asks for any port is given each of them sooner or later, but for those that are had."""
    port = free_port()
    with kept(port), socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((HOST, port))


def test_a_port_that_somebody_listens_at_cannot_be_kept() -> None:
    with (
        socket.create_server((HOST, 0)) as server,
        pytest.raises(OSError, match="in use"),
        kept(server.getsockname()[1]),
    ):
        pass
