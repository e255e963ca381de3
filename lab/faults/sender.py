"""A market that sends at a given rate: one stream of trades, in bursts of a millisecond.

    python -m latency_sweep.lab.faults.sender [PEM]

Prints `{"port": N}` and serves WebSocket connections on 127.0.0.1: over TLS with the certificate
and key of a PEM file, or plain. The number of trades per second is read from standard input, line
by line, and starts at zero. Ids are consecutive whether or not anyone is connected. At the end of
the input, connections are closed and the last line reports the first and the last id that were
sent, and the last id of the market.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from typing import TYPE_CHECKING, Final, cast

import uvloop
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

if TYPE_CHECKING:
    from collections.abc import Iterable

_TICK_SEC: Final = 0.001
_FAREWELL_SEC: Final = 1.0
# Payload lengths of 126 to 65535 bytes take a header of four.
_HEADER: Final = b"\x81\x7e"
_PAYLOAD: Final = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,'
    b'"p":"64012.37000000","q":"0.00100000","T":%d,"m":true,"M":true}}'
)
_FIRST_ID: Final = 1_000_000_000


class _Connection(asyncio.Protocol):
    """One connection."""

    def __init__(self, market: _Market) -> None:
        self._market = market
        self._websocket = ServerProtocol()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass

    def data_received(self, data: bytes) -> None:
        self._websocket.receive_data(data)
        for event in self._websocket.events_received():
            if isinstance(event, Request):
                self._websocket.send_response(self._websocket.accept(event))
                self._market.sessions[self] = None
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._market.sessions.pop(self, None)

    def close(self) -> None:
        if self._websocket.state is OPEN:
            self._websocket.send_close(1001)
        self._flush()

    @property
    def open(self) -> bool:
        return self._websocket.state is OPEN

    def _flush(self) -> None:
        for data in self._websocket.data_to_send():
            if data:
                self.transport.write(data)
            else:
                self.transport.close()


class _Market:
    """The ids and the connections."""

    def __init__(self) -> None:
        self.sessions: dict[_Connection, None] = {}
        self.rate = 0.0
        self.next_id = _FIRST_ID
        self.first_sent = 0
        self.last_sent = 0

    async def run(self) -> None:
        owed = 0.0
        last = time.perf_counter()
        while True:
            await asyncio.sleep(_TICK_SEC)
            now = time.perf_counter()
            owed += (now - last) * self.rate
            last = now
            count = int(owed)
            owed -= count
            if count:
                self._send(range(self.next_id, self.next_id + count))
                self.next_id += count

    def _send(self, ids: range) -> None:
        listening = [session for session in self.sessions if session.open]
        if not listening:
            return
        data = b"".join(_frames(ids, time.time_ns() // 1000))
        for session in listening:
            session.transport.write(data)
        self.first_sent = self.first_sent or ids.start
        self.last_sent = ids[-1]


def _frames(ids: Iterable[int], now_us: int) -> Iterable[bytes]:
    for number in ids:
        payload = _PAYLOAD % (now_us, number, now_us)
        yield _HEADER + len(payload).to_bytes(2, "big") + payload


async def serve(certificate: str | None) -> None:
    """Run until the input ends."""
    market = _Market()
    loop = asyncio.get_running_loop()
    tls = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
    server = await loop.create_server(lambda: _Connection(market), "127.0.0.1", 0, ssl=tls)
    sending = asyncio.create_task(market.run())
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await _read_rates(market)
    sending.cancel()
    for session in tuple(market.sessions):
        session.close()
    server.close()
    deadline = time.monotonic() + _FAREWELL_SEC
    while market.sessions and time.monotonic() < deadline:  # noqa: ASYNC110 - a deadline too
        await asyncio.sleep(_TICK_SEC)
    report: dict[str, int] = {
        "first_sent": market.first_sent,
        "last_sent": market.last_sent,
        "last": market.next_id - 1,
    }
    print(json.dumps(report), flush=True)


async def _read_rates(market: _Market) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        market.rate = float(line)


def main() -> None:
    """Serve on uvloop, which is fast enough."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(sys.argv[1] if len(sys.argv) > 1 else None))


if __name__ == "__main__":
    main()
