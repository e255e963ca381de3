"""Check of the kernel's receive timestamps."""

from __future__ import annotations

import socket
import statistics
import time
from typing import Final

from latency_sweep.probe.net import nic_timestamps, timestamps_check
from latency_sweep.probe.net.receiving import Timestamps
from latency_sweep.probe.net.timestamped_socket import enable_receive_timestamps, receive
from latency_sweep.runtime.check_result import CheckResult, CheckStatus, duration

_NAME: Final = "kernel timestamps"
_SOURCES_NAME: Final = "timestamp sources"
_EXPECTED: Final = "between sending and reading"
_ROUNDS: Final = 50
# The kernel switches timestamping on in the background, some moments after it was asked for.
_START_TIMEOUT_SEC: Final = 1.0
_TIMEOUT_SEC: Final = 1.0


def check_receive_timestamps() -> CheckResult:
    """Send over loopback TCP and look whether each timestamp lies between sending and reading."""
    try:
        delays_ns = _measure()
    except OSError as error:
        found = f"a loopback connection failed: {error.strerror or error}"
        return CheckResult(
            _NAME, CheckStatus.FAIL, found, _EXPECTED, "Let the probe use TCP on 127.0.0.1."
        )
    except _TimestampError as error:
        return CheckResult(
            _NAME,
            CheckStatus.FAIL,
            str(error),
            _EXPECTED,
            "Run on a Linux kernel with SO_TIMESTAMPNS, outside sandboxes that hide it; without "
            "timestamps the probe's own delay is part of every latency.",
        )
    found = f"{_ROUNDS} of {_ROUNDS}, read {duration(statistics.median(delays_ns) * 1e-9)} later"
    return CheckResult(_NAME, CheckStatus.PASS, found, _EXPECTED)


def check_timestamp_sources(asked: Timestamps, interface: str | None) -> CheckResult:
    """Which timestamps besides those of reads this host supports (docs/timestamps.md).

    Args:
        asked: what the configuration asks for.
        interface: the network card towards the exchange, or None if there is no route.
    """
    missing = {Timestamps.CAPTURE: timestamps_check.why_no_capture()}
    if interface is None:
        missing[Timestamps.NIC] = "no network card"
    else:
        missing[Timestamps.NIC] = nic_timestamps.why_not(interface)
    possible = [Timestamps.SOCKET, *(source for source, why in missing.items() if why is None)]
    found = ", ".join(possible)
    if asked is Timestamps.AUTO:
        used = Timestamps.CAPTURE if Timestamps.CAPTURE in possible else Timestamps.SOCKET
        why = missing[Timestamps.CAPTURE]
        return CheckResult(
            _SOURCES_NAME,
            CheckStatus.PASS if why is None else CheckStatus.WARN,
            f"{found}; --timestamps auto uses {used}",
            "capture, which a busy host does not disturb",
            "" if why is None else f"{why}.",
        )
    why = missing.get(asked)
    if why is None:
        return CheckResult(_SOURCES_NAME, CheckStatus.PASS, found, f"--timestamps {asked} possible")
    return CheckResult(
        _SOURCES_NAME, CheckStatus.FAIL, found, f"--timestamps {asked} possible", f"{why}."
    )


class _TimestampError(Exception):
    """No timestamp, or one that cannot be right."""


def _measure() -> list[int]:
    """From timestamp to reading, nanoseconds, per round."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=_TIMEOUT_SEC) as sender,
        server.accept()[0] as receiver,
    ):
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        receiver.settimeout(_TIMEOUT_SEC)
        enable_receive_timestamps(receiver)
        deadline = time.monotonic() + _START_TIMEOUT_SEC
        while _round(sender, receiver)[1] is None:
            if time.monotonic() > deadline:
                raise _TimestampError("the kernel gives none")
        rounds = [_round(sender, receiver) for _ in range(_ROUNDS)]
    delays = []
    for sent_ns, timestamp_ns, read_ns in rounds:
        if timestamp_ns is None:
            raise _TimestampError("the kernel gives one only for some reads")
        if not sent_ns <= timestamp_ns <= read_ns:
            off = duration((timestamp_ns - sent_ns) * 1e-9)
            raise _TimestampError(
                f"a timestamp lies {off} after sending, which is not before reading"
            )
        delays.append(read_ns - timestamp_ns)
    return delays


def _round(sender: socket.socket, receiver: socket.socket) -> tuple[int, int | None, int]:
    sent_ns = time.time_ns()
    sender.sendall(b"x")
    _, timestamp_ns, read_ns = receive(receiver, bytearray(1))
    return sent_ns, timestamp_ns, read_ns
