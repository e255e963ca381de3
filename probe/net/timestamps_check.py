"""Whether this host supports the timestamps and the polling that were chosen."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Final

from latency_sweep.probe.net import nic_timestamps
from latency_sweep.probe.net.capture import PacketCapture
from latency_sweep.probe.net.receiving import Receiving, Timestamps, TimestampsError
from latency_sweep.probe.net.timestamped_socket import enable_busy_polling

_ANY_PORT: Final = 9  # nothing is sent to it
_TIMEOUT_SEC: Final = 1.0


def choose(receiving: Receiving) -> Receiving:
    """Settle `auto` for this host: capture if it works here, else the socket's timestamps.

    Returns:
        The same with the source to use, and why it is not a capture.
    """
    if receiving.timestamps is not Timestamps.AUTO:
        return receiving
    why = why_no_capture()
    timestamps = Timestamps.CAPTURE if why is None else Timestamps.SOCKET
    return replace(receiving, timestamps=timestamps, no_capture=why)


def check(receiving: Receiving, host: str) -> None:
    """Try the options without a connection.

    Args:
        receiving: the options.
        host: the server's name or address, which says which network card will be used.

    Raises:
        TimestampsError: this host does not support them; says why and what it needs.
    """
    if receiving.timestamps is Timestamps.CAPTURE:
        _prove_capture()
    elif receiving.timestamps is Timestamps.NIC:
        nic_timestamps.switch_on(_interface_towards(host))
    if receiving.busy_poll_us:
        with socket.socket() as sock:
            poll_busily(sock, receiving.busy_poll_us)


def why_no_capture() -> str | None:
    """Why packets cannot be captured here, or None."""
    try:
        _prove_capture()
    except TimestampsError as error:
        return str(error).rstrip(".")
    return None


def _prove_capture() -> None:
    """Capture a connection of our own, over loopback.

    Raises:
        TimestampsError: it is not allowed, or what was received is not in it.
    """
    with socket.socket() as receiver:
        receiver.settimeout(_TIMEOUT_SEC)
        try:
            with socket.create_server(("127.0.0.1", 0)) as server:
                receiver.bind(("127.0.0.1", 0))
                port = server.getsockname()[1]
                capture = PacketCapture("127.0.0.1", port, receiver.getsockname()[1])
                try:
                    receiver.connect(("127.0.0.1", port))
                    with server.accept()[0] as sender:
                        sender.sendall(b"x")
                        receiver.recv(1)
                    captured = capture.read(1) is not None
                finally:
                    capture.close()
        except OSError as error:
            raise TimestampsError(
                f"--timestamps capture: a loopback connection failed: {error.strerror or error}."
            ) from error
    if not captured:
        raise TimestampsError(
            "--timestamps capture: the packet socket does not see what is received; use "
            "--timestamps socket."
        )


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
