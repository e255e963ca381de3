"""Whether this host supports the timestamps and the polling that were chosen."""

from __future__ import annotations

import socket

from latency_sweep.probe.net import nic_timestamps
from latency_sweep.probe.net.capture import PacketCapture
from latency_sweep.probe.net.receiving import Receiving, Timestamps, TimestampsError
from latency_sweep.probe.net.timestamped_socket import enable_busy_polling

_ANY_PORT = 9  # nothing is sent to it


def check(receiving: Receiving, host: str) -> None:
    """Try the options without a connection.

    Args:
        receiving: the options.
        host: the server's name or address, which says which network card will be used.

    Raises:
        TimestampsError: this host does not support them; says why and what it needs.
    """
    if receiving.timestamps is Timestamps.CAPTURE:
        PacketCapture("127.0.0.1", _ANY_PORT, _ANY_PORT).close()
    elif receiving.timestamps is Timestamps.NIC:
        nic_timestamps.switch_on(_interface_towards(host))
    if receiving.busy_poll_us:
        with socket.socket() as sock:
            poll_busily(sock, receiving.busy_poll_us)


def why_no_capture() -> str | None:
    """Why packets cannot be captured here, or None."""
    try:
        PacketCapture("127.0.0.1", _ANY_PORT, _ANY_PORT).close()
    except TimestampsError as error:
        return str(error).rstrip(".")
    return None


def poll_busily(sock: socket.socket, microseconds: int) -> None:
    """`enable_busy_polling`, with an error that says what it needs.

    Raises:
        TimestampsError: without CAP_NET_ADMIN.
    """
    try:
        enable_busy_polling(sock, microseconds)
    except PermissionError:
        raise TimestampsError(
            "--busy-poll-us needs CAP_NET_ADMIN; run as root, give the capability to the service, "
            "or leave it out."
        ) from None


def _interface_towards(host: str) -> str:
    try:
        found = socket.getaddrinfo(host, _ANY_PORT, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as sock:
            sock.connect(address)  # chooses the route; sends nothing
            return nic_timestamps.interface_of(str(sock.getsockname()[0]))
    except OSError as error:
        raise TimestampsError(f"--timestamps nic: no route to {host}: {error.strerror}.") from error
