"""How right the timestamps are while other programs take the CPU, and whether their bound holds.

A sender gives each message an event time some milliseconds ago and asks the kernel when it handed
each to the loopback interface (SO_TIMESTAMPING): what is received is timestamped right after. The
probe's whole path receives them while 0, 2, 4 and 8 busy loops compete for the machine. Columns:
how far the quantiles of the measured latency are from those of the true one; the share of messages
with an exact timestamp; quantiles of the exported bound of the others; messages whose true time of
receipt is outside of their bound by more than 50 µs, and by how much at most.

    python benchmarks/busy_host.py --rate 2000 --seconds 5
"""

from __future__ import annotations

import argparse
import asyncio
import math
import multiprocessing
import os
import random
import socket
import ssl
import struct
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
from prometheus_client import CollectorRegistry
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from benchmarks.receive_clients import make_recorder
from benchmarks.receive_sender import PATH
from latency_sweep.lab.local.tls import make_certificates
from latency_sweep.probe.net import timestamps_check
from latency_sweep.probe.net.loop import Loop
from latency_sweep.probe.net.nic_timestamps import SO_TIMESTAMPING
from latency_sweep.probe.net.receiving import Receiving, Timestamps, TimestampsError
from latency_sweep.probe.net.timestamped_socket import keep_timestamping_on
from latency_sweep.probe.net.websocket import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

    from latency_sweep.lab.local.tls import Certificates

_T = TypeVar("_T")
_FIRST_ID: Final = 10**9
_TEXT: Final = (
    '{"stream":"btcusdt@trade","data":{"e":"trade","E":%016d,"s":"BTCUSDT","t":%d,'
    '"p":"64000.00000000","q":"0.00100000","T":%016d,"m":true,"M":true}}'
)
_ID_AT: Final = (_TEXT % (0, _FIRST_ID, 0)).index(str(_FIRST_ID))
_ID: Final = slice(_ID_AT, _ID_AT + len(str(_FIRST_ID)))
_QUANTILES: Final = (0.5, 0.99, 0.999)
_MEDIAN_SEC: Final = 2e-3  # of the latency that is made up
_SIGMA: Final = 0.3
_PRIORITY: Final = 40
_TIMEOUT_SEC: Final = 60.0
_CLOSE_NS: Final = 50_000
# linux/net_tstamp.h: when handed to the interface, in software, with the offset, without the data.
_ASK: Final = 1 << 1 | 1 << 4 | 1 << 7 | 1 << 11
_IP_RECVERR: Final = 11
_EXTENDED_ERROR: Final = struct.Struct("=IBBBBII")
_SWITCH_INTERVAL_SEC: Final = 2e-5  # as the probe sets it


@dataclass(frozen=True, slots=True)
class Sent:
    """What the sender knows of each message, Unix nanoseconds.

    Attributes:
        event_ns: its event time.
        earliest_ns: when it was handed to the interface at the earliest.
        latest_ns: and at the latest; the same where the kernel said it of this very message.
    """

    event_ns: list[int]
    earliest_ns: list[int]
    latest_ns: list[int]


@dataclass(frozen=True, slots=True)
class Received:
    """What the probe made of each message, in the order of their ids.

    Attributes:
        ids: which messages.
        timestamp_ns: when they were received, by the probe.
        error_ns: how far off that may be.
        exact: value of `feed_timestamps_exact_total`.
        bounded: observations in `feed_timestamp_error_seconds`.
        missed_reads: value of `feed_capture_missed_reads_total`.
    """

    ids: list[int]
    timestamp_ns: list[int]
    error_ns: list[int]
    exact: int
    bounded: int
    missed_reads: int


def send(certificates: Certificates, rate: float, seconds: float, pipe: Connection) -> None:
    """Serve one client; messages come at random times, as trades do."""
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.cert, certificates.key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pipe.send(listener.getsockname()[1])
        server = Server(listener.accept()[0], context)
    server.upgrade()
    time.sleep(0.5)
    pipe.send(_send_messages(server, rate, int(rate * seconds)))
    with suppress(OSError):
        server.sock.settimeout(10)
        server.sock.recv(65536)
    server.sock.close()


class Server:
    """The sender's side of a connection, whose encrypted bytes it hands to the kernel itself."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def upgrade(self) -> None:
        """Negotiate TLS and accept the WebSocket."""
        self._until_done(self._tls.do_handshake)
        self.sock.sendall(self._outgoing.read())
        protocol = ServerProtocol()
        events: list[object] = []
        while not events:
            protocol.receive_data(self._until_done(lambda: self._tls.read(65536)))
            events += protocol.events_received()
        (request,) = events
        assert isinstance(request, Request)
        protocol.send_response(protocol.accept(request))
        self.send(b"".join(protocol.data_to_send()))

    def send(self, data: bytes) -> int:
        """Send at once; returns the size of the record."""
        self._tls.write(data)
        record = self._outgoing.read()
        self.sock.sendall(record)
        return len(record)

    def _until_done(self, step: Callable[[], _T]) -> _T:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self.sock.sendall(self._outgoing.read())
                self._incoming.write(self.sock.recv(65536))


def _send_messages(server: Server, rate: float, messages: int) -> Sent:
    rng = random.Random(1)
    event_ns: list[int] = []
    ends: list[int] = []  # offset of the last byte of each message
    handed: dict[int, int] = {}  # such an offset, and when
    server.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, _ASK)
    due_ns = time.perf_counter_ns()
    for number in range(messages):
        due_ns += int(rng.expovariate(rate) * 1e9)
        ahead_ns = due_ns - time.perf_counter_ns()
        if ahead_ns > 0:
            time.sleep(ahead_ns * 1e-9)
        latency_ns = int(_MEDIAN_SEC * 1e9 * math.exp(_SIGMA * rng.gauss(0.0, 1.0)))
        event_us = (time.time_ns() - latency_ns) // 1000
        text = (_TEXT % (event_us, _FIRST_ID + number, event_us)).encode()
        size = server.send(Frame(Opcode.TEXT, text).serialize(mask=False))
        ends.append((ends[-1] if ends else -1) + size)
        event_ns.append(event_us * 1000)
        handed.update(_handed(server.sock))
    until = time.monotonic() + _TIMEOUT_SEC
    while ends[-1] not in handed and time.monotonic() < until:
        time.sleep(0.1)  # the receiver has not made room for them yet
        handed.update(_handed(server.sock))
    server.send(Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=False))
    return Sent(event_ns, *_of_each(ends, handed))


def _handed(sock: socket.socket) -> Iterator[tuple[int, int]]:
    """Offset of the last byte of what was sent, and when; of all the kernel has to tell."""
    with suppress(BlockingIOError):
        while True:
            _, ancillary, _, _ = sock.recvmsg(1, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
            at_ns = offset = None
            for _, kind, data in ancillary:
                if kind == SO_TIMESTAMPING:
                    seconds, nanoseconds = struct.unpack_from("@qq", data)
                    at_ns = seconds * 10**9 + nanoseconds
                elif kind == _IP_RECVERR:
                    *_, offset = _EXTENDED_ERROR.unpack_from(data)
            if at_ns is not None and offset is not None:
                yield offset, at_ns


def _of_each(ends: list[int], handed: dict[int, int]) -> tuple[list[int], list[int]]:
    """When each message was handed over at the earliest and at the latest.

    The kernel tells it of the last message in each segment: those before went between the two.
    """
    earliest = list(accumulate((handed.get(end, 0) for end in ends), max))
    latest = []
    following = max(handed.values())
    for end in reversed(ends):
        following = handed.get(end, following)
        latest.append(following)
    latest.reverse()
    return earliest, latest


def receive(url: str, ca: Path, timestamps: Timestamps, pipe: Connection) -> None:
    """The probe's whole path, with a note of each message."""
    sys.setswitchinterval(_SWITCH_INTERVAL_SEC)
    try:
        receiving = timestamps_check.choose(Receiving(timestamps))
        timestamps_check.check(receiving, "127.0.0.1")
    except TimestampsError as error:
        pipe.send(str(error))
        return
    with keep_timestamping_on(), asyncio.Runner(loop_factory=Loop) as runner:
        pipe.send(runner.run(_receive(url, ca, receiving)))


async def _receive(url: str, ca: Path, receiving: Receiving) -> Received:
    feed, recorder = make_recorder(url, ("BTCUSDT",), CollectorRegistry())
    receiver = recorder.receiver(feed, recorder.lines[0], lambda: None)
    ids: list[int] = []
    timestamps_ns: list[int] = []
    errors_ns: list[int] = []

    def record(
        payloads: list[bytes],
        binary: bool,  # noqa: FBT001 - as the hot path calls it
        timestamp_ns: int,
        read_ns: int,
        error_ns: int,
    ) -> None:
        receiver.record(payloads, binary, timestamp_ns, read_ns, error_ns)
        for payload in payloads:
            ids.append(int(payload[_ID]))
            timestamps_ns.append(timestamp_ns)
            errors_ns.append(error_ns)

    connection = await connect(
        f"{url.partition('/stream')[0]}{PATH}",
        headers={},
        tls=ssl.create_default_context(cafile=ca),
        record=record,
        on_rtt=lambda _: None,
        on_step=lambda *_: None,
        receiving=receiving,
    )
    await connection.closed
    histograms = recorder.states[0].histograms
    assert histograms is not None
    assert histograms.timestamp_error is not None
    exact = histograms.exact_timestamps
    assert exact is not None
    return Received(
        ids,
        timestamps_ns,
        errors_ns,
        exact,
        histograms.timestamp_error.count,
        receiving.missed.reads,
    )


def burn() -> None:
    while True:
        pass


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Busy loops beside."""
    with ExitStack() as stack:
        for _ in range(loops):
            process = multiprocessing.Process(target=burn, daemon=True)
            process.start()
            stack.callback(process.join)
            stack.callback(process.terminate)
        yield


def measure(
    loops: int, timestamps: Timestamps, rate: float, seconds: float, certificates: Certificates
) -> tuple[Sent, Received] | str:
    """One round, or why this source of timestamps cannot be had."""
    here, there = multiprocessing.Pipe()
    sender = multiprocessing.Process(
        target=send, args=(certificates, rate, seconds, there), daemon=True
    )
    sender.start()
    url = f"wss://127.0.0.1:{here.recv()}{PATH}"
    result, result_child = multiprocessing.Pipe()
    client = multiprocessing.Process(
        target=receive, args=(url, certificates.ca, timestamps, result_child), daemon=True
    )
    try:
        with busy(loops):
            client.start()
            received: Received | str = result.recv()
            if isinstance(received, str):
                return received
            sent: Sent = here.recv()
    finally:
        for process in (client, sender):
            process.terminate()
            process.join()
    return sent, received


def row(sent: Sent, received: Received) -> str:
    """The columns of one round."""
    chosen = np.array(received.ids) - _FIRST_ID
    event = np.array(sent.event_ns)[chosen]
    earliest, latest = np.array(sent.earliest_ns)[chosen], np.array(sent.latest_ns)[chosen]
    timestamp, error = np.array(received.timestamp_ns), np.array(received.error_ns)
    errors = [
        f"{_off(timestamp - event, earliest - event, latest - event, quantile):+.2f} %"
        for quantile in _QUANTILES
    ]
    outside = np.maximum(timestamp - latest, earliest - timestamp) - error
    outside = outside[outside > _CLOSE_NS]
    bounds = error[error > 0]
    assert received.exact + received.bounded == len(chosen), "a message is in neither metric"
    assert received.bounded == len(bounds)
    return " | ".join(
        (
            *errors,
            f"{100 * received.exact / len(chosen):.1f} %",
            " / ".join(f"{np.quantile(bounds, q) / 1e3:.0f}" for q in _QUANTILES)
            if len(bounds)
            else "-",
            f"{len(outside)} of {len(chosen)}"
            + (f", {outside.max() / 1e3:.0f} µs" if len(outside) else ""),
            str(received.missed_reads),
        )
    )


def _off(
    measured: NDArray[np.int64], low: NDArray[np.int64], high: NDArray[np.int64], quantile: float
) -> float:
    """How far a quantile is from what it may be by the sender's times, per cent."""
    value, least, most = (np.quantile(values, quantile) for values in (measured, low, high))
    return float(100 * (value / np.clip(value, least, most) - 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=float, default=2000, help="messages per second")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each round")
    parser.add_argument("--loops", type=int, nargs="+", default=[0, 2, 4, 8])
    parser.add_argument(
        "--timestamps",
        type=Timestamps,
        nargs="+",
        default=[Timestamps.SOCKET, Timestamps.CAPTURE, Timestamps.AUTO],
    )
    options = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{options.rate:g} messages/s, {options.seconds:g} s a round, load before: {load:.1f}")
    print(
        "| busy loops | source | p50 | p99 | p99.9 | exact | bound of the others, µs | outside "
        "their bound | missed reads |\n|---|---|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        certificates = make_certificates(Path(folder))
        for loops in options.loops:
            for timestamps in options.timestamps:
                found = measure(loops, timestamps, options.rate, options.seconds, certificates)
                columns = found if isinstance(found, str) else row(*found)
                print(f"| {loops} | {timestamps.value} | {columns} |", flush=True)


if __name__ == "__main__":
    main()
