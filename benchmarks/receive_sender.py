"""The sender of `receive.py`: a WebSocket server that knows when it sent each message."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from latency_sweep.lab.local.tls import Certificates

# The sender's clock in nanoseconds travels in the price: every client can read it alike.
_TRADE: Final = (
    '{"e":"trade","E":%s,"s":"%s","t":%d,"p":"%s","q":"0.00100000","T":%s,"m":true,"M":true}'
)
_COMBINED: Final = '{"stream":"%s@trade","data":%s}'
SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
_MICROSECONDS: Final = "x" * 16
_MILLISECONDS: Final = "z" * 13
_NANOSECONDS: Final = "y" * 19
_FIRST_ID: Final = 10**9
SATURATED_WRITE: Final = 64
BURST: Final = 500
_BURST_WRITES: Final = 25
_BURST_SEC: Final = 1e-3
_PATIENCE_SEC: Final = 30.0
_WAKE_UP_NS: Final = 70_000


def path(symbols: int) -> str:
    """Path and query of a URL that asks for the trades of so many of `SYMBOLS`."""
    names = "/".join(f"{symbol.lower()}@trade" for symbol in SYMBOLS[:symbols])
    return f"/stream?streams={names}&timeUnit=MICROSECOND"


PATH: Final = path(1)


def _text(symbol: str, number: int, *, raw: bool = False, microseconds: str = _MICROSECONDS) -> str:
    trade = _TRADE % (microseconds, symbol, number, _NANOSECONDS, microseconds)
    return trade if raw else _COMBINED % (symbol.lower(), trade)


_START: Final = _text(SYMBOLS[0], _FIRST_ID).index("y")
SENT_AT: Final = slice(_START, _START + len(_NANOSECONDS))


@dataclass(frozen=True, slots=True)
class Load:
    """What to send.

    Attributes:
        messages: how many.
        symbols: how many of `SYMBOLS` have trades, which take turns.
        tls: whether over TLS.
        raw: whether as raw streams that the client subscribes to, with times in milliseconds; else
            as combined streams with times in microseconds.
        rate: per second, each in a write of its own; 0 for as fast as the receiver takes them.
        bursts_per_sec: if not 0, bursts of `BURST` messages within a millisecond instead.
    """

    messages: int
    rate: float = 0.0
    bursts_per_sec: float = 0.0
    symbols: int = 1
    tls: bool = True
    raw: bool = False

    @property
    def is_paced(self) -> bool:
        return bool(self.rate or self.bursts_per_sec)

    @property
    def per_write(self) -> int:
        if self.bursts_per_sec:
            return BURST // _BURST_WRITES
        return 1 if self.rate else SATURATED_WRITE

    def due_ns(self) -> Iterator[int]:
        """When each write is due, nanoseconds after the start."""
        for number in range(self.messages // self.per_write):
            if self.bursts_per_sec:
                burst, write = divmod(number, _BURST_WRITES)
                seconds = burst / self.bursts_per_sec + write * _BURST_SEC / _BURST_WRITES
            else:
                seconds = number / self.rate if self.rate else 0.0
            yield int(seconds * 1e9)


def serve(certificates: Certificates, load: Load, cpu: int | None, ready: Connection) -> None:
    """Serve one client; tells its port through `ready`."""
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.cert, certificates.key)
    writes = list(_writes(load))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ready.send(listener.getsockname()[1])
        plain, _ = listener.accept()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(plain, server_side=True) if load.tls else plain as sock:
            _upgrade(sock)
            if load.raw:
                _acknowledge(sock)
            time.sleep(0.3)
            _send(sock, load, writes)
            sock.sendall(Frame(Opcode.CLOSE, struct.pack("!H", 1000)).serialize(mask=False))
            _wait_for_answer(sock)


def _writes(load: Load) -> Iterator[bytes]:
    """What is sent at once, with places for the time."""
    sent = 0
    for _ in load.due_ns():
        texts = []
        for number in range(sent, sent + load.per_write):
            turn, which = divmod(number, load.symbols)
            texts.append(
                _text(
                    SYMBOLS[which],
                    _FIRST_ID + turn,
                    raw=load.raw,
                    microseconds=_MILLISECONDS if load.raw else _MICROSECONDS,
                )
            )
        sent += load.per_write
        frames = (Frame(Opcode.TEXT, text.encode()).serialize(mask=False) for text in texts)
        write = b"".join(frames)
        # A saturated sender has no time for the clock; its messages' times say little anyway.
        yield write if load.is_paced else _timestamped(write)


def _timestamped(write: bytes) -> bytes:
    text = b"%d" % time.time_ns()
    for place in (_MICROSECONDS, _MILLISECONDS, _NANOSECONDS):
        write = write.replace(place.encode(), text[: len(place)])
    return write


def _upgrade(sock: socket.socket) -> None:
    protocol = ServerProtocol()
    while True:
        protocol.receive_data(sock.recv(65536))
        for event in protocol.events_received():
            assert isinstance(event, Request)
            protocol.send_response(protocol.accept(event))
            sock.sendall(b"".join(protocol.data_to_send()))
            return


def _acknowledge(sock: socket.socket) -> None:
    """Answer the subscription, whatever it is to."""
    sock.recv(65536)
    sock.sendall(Frame(Opcode.TEXT, b'{"result":null,"id":1}').serialize(mask=False))


def _send(sock: socket.socket, load: Load, writes: list[bytes]) -> None:
    send = sock.sendall
    if not load.is_paced:
        for write in writes:
            send(write)
        return
    clock = time.perf_counter_ns
    start_ns = clock()
    for write, due_ns in zip(writes, load.due_ns(), strict=True):
        ahead_ns = start_ns + due_ns - clock()
        if ahead_ns > _WAKE_UP_NS:
            # A real-time process that never sleeps is stopped for 50 ms every second.
            time.sleep((ahead_ns - _WAKE_UP_NS) * 1e-9)
        while clock() - start_ns < due_ns:  # spins: timers are too coarse for the rest
            pass
        send(_timestamped(write))


def _wait_for_answer(sock: socket.socket) -> None:
    """Until the client has answered the close frame, or has gone."""
    with contextlib.suppress(OSError):
        sock.settimeout(_PATIENCE_SEC)
        sock.recv(65536)
