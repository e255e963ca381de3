"""Check of the kernel's receive stamps."""

from __future__ import annotations

import socket
import statistics
import time
from typing import Final

from latency_sweep.probe.doctor.result import Result, Status, duration
from latency_sweep.probe.net import nic_timestamps, timestamps_check
from latency_sweep.probe.net.receiving import Stamps
from latency_sweep.probe.net.timestamped_socket import enable_receive_stamps, receive

_NAME: Final = "kernel stamps"
_SOURCES_NAME: Final = "stamp sources"
_EXPECTED: Final = "between sending and reading"
_ROUNDS: Final = 50
# Stamping begins some moments after it was asked for: the kernel switches it on in the background.
_PATIENCE_SEC: Final = 1.0
_TIMEOUT_SEC: Final = 1.0


def check_receive_stamps() -> Result:
    """Send over loopback TCP and look whether each stamp lies between sending and reading."""
    try:
        delays_ns = _measure()
    except OSError as error:
        found = f"a loopback connection failed: {error.strerror or error}"
        return Result(_NAME, Status.FAIL, found, _EXPECTED, "Let the probe use TCP on 127.0.0.1.")
    except _StampError as error:
        return Result(
            _NAME,
            Status.FAIL,
            str(error),
            _EXPECTED,
            "Run on a Linux kernel with SO_TIMESTAMPNS, outside sandboxes that hide it; without "
            "stamps the probe's own delay is part of every latency.",
        )
    found = f"{_ROUNDS} of {_ROUNDS}, read {duration(statistics.median(delays_ns) * 1e-9)} later"
    return Result(_NAME, Status.PASS, found, _EXPECTED)


def check_stamp_sources(asked: Stamps, interface: str | None) -> Result:
    """Which stamps besides those of reads can be had here (docs/timestamps.md).

    Args:
        asked: what the configuration asks for.
        interface: the network card towards the exchange, or None if there is no route.
    """
    missing = {Stamps.CAPTURE: timestamps_check.why_no_capture()}
    if interface is None:
        missing[Stamps.NIC] = "no network card"
    else:
        missing[Stamps.NIC] = nic_timestamps.why_not(interface)
    possible = [Stamps.SOCKET, *(source for source, why in missing.items() if why is None)]
    found = ", ".join(possible)
    why = missing.get(asked)
    if why is None:
        return Result(_SOURCES_NAME, Status.PASS, found, f"--stamps {asked} possible")
    return Result(_SOURCES_NAME, Status.FAIL, found, f"--stamps {asked} possible", f"{why}.")


class _StampError(Exception):
    """No stamp, or one that cannot be right."""


def _measure() -> list[int]:
    """From stamp to reading, nanoseconds, per round."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=_TIMEOUT_SEC) as sender,
        server.accept()[0] as receiver,
    ):
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        receiver.settimeout(_TIMEOUT_SEC)
        enable_receive_stamps(receiver)
        deadline = time.monotonic() + _PATIENCE_SEC
        while _round(sender, receiver)[1] is None:
            if time.monotonic() > deadline:
                raise _StampError("the kernel gives none")
        rounds = [_round(sender, receiver) for _ in range(_ROUNDS)]
    delays = []
    for sent_ns, stamp_ns, read_ns in rounds:
        if stamp_ns is None:
            raise _StampError("the kernel gives one only sometimes")
        if not sent_ns <= stamp_ns <= read_ns:
            off = duration((stamp_ns - sent_ns) * 1e-9)
            raise _StampError(f"a stamp lies {off} after sending, which is not before reading")
        delays.append(read_ns - stamp_ns)
    return delays


def _round(sender: socket.socket, receiver: socket.socket) -> tuple[int, int | None, int]:
    sent_ns = time.time_ns()
    sender.sendall(b"x")
    _, stamp_ns, read_ns = receive(receiver, bytearray(1))
    return sent_ns, stamp_ns, read_ns
