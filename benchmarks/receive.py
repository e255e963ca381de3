"""How fast, and how truthfully, a client receives: this probe beside other WebSocket clients.

Each client runs in a process of its own against a sender process on 127.0.0.1, over TLS, with
trade frames of about 200 bytes. Two modes:

- saturated: as fast as the client takes them; CPU microseconds per message of the client process;
- paced: at a given rate; how much later than the moment of sending the client's stamp is.

Rounds alternate between the clients, so that a machine that gets slower slows all of them; medians
and ratios are what to quote. Needs `pip install picows` for that row.

    python benchmarks/receive.py --messages 200000 --rate 10000 --rounds 3
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import multiprocessing
import ssl
import statistics
import struct
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import uvloop
import websockets
from prometheus_client import CollectorRegistry
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from deploy.local.tls import Certificates, make_certificates
from probe.contract import experiment
from probe.contract.timeline import Run
from probe.feeds.binance_spot import BinanceSpot
from probe.instruments import Instruments
from probe.net.websocket import connect
from probe.recorder import Recorder

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

PATH = "/stream?streams=btcusdt@trade&timeUnit=MICROSECOND"
# The sender's clock, in nanoseconds, travels in the price: all clients can read it alike.
FRAME = (
    '{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,'
    '"p":"%019d","q":"0.00100000","T":%d,"m":true,"M":true}}'
)
_START = (FRAME % (10**15, 10**9, 0, 0)).index('"p":"') + len('"p":"')
SENT_AT = slice(_START, _START + 19)
BATCH = 64


def frame(number: int) -> bytes:
    now_ns = time.time_ns()
    event_us = now_ns // 1000
    payload = FRAME % (event_us, 10**9 + number, now_ns, event_us)
    return Frame(Opcode.TEXT, payload.encode()).serialize(mask=False)


class Sender(asyncio.Protocol):
    """Upgrades, waits for one byte in a frame, then sends."""

    def __init__(self, messages: int, rate: float) -> None:
        self.messages = messages
        self.rate = rate
        self.protocol = ServerProtocol()
        self.writable = asyncio.Event()
        self.writable.set()
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass

    def data_received(self, data: bytes) -> None:
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if isinstance(event, Request):
                self.protocol.send_response(self.protocol.accept(event))
                self.task = asyncio.create_task(self.send())
        for reply in self.protocol.data_to_send():
            if reply:
                self.transport.write(reply)

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    async def send(self) -> None:
        await asyncio.sleep(0.2)
        if self.rate:
            await self._send_paced()
        else:
            for start in range(0, self.messages, BATCH):
                await self.writable.wait()
                batch = range(start, min(start + BATCH, self.messages))
                self.transport.write(b"".join(map(frame, batch)))
        self.transport.write(Frame(Opcode.CLOSE, struct.pack("!H", 1000)).serialize(mask=False))
        await self.writable.wait()
        self.transport.close()

    async def _send_paced(self) -> None:
        interval = 1 / self.rate
        due = time.perf_counter()
        for number in range(self.messages):
            due += interval
            while time.perf_counter() < due:  # spins: timers are too coarse for this
                await asyncio.sleep(0)
            self.transport.write(frame(number))


def serve(certificates: Certificates, messages: int, rate: float, ready: Connection) -> None:
    async def main() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.cert, certificates.key)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: Sender(messages, rate), "127.0.0.1", 0, ssl=context
        )
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


class Delays:
    """Collects how late stamps are, nanoseconds."""

    def __init__(self) -> None:
        self.late_ns: list[int] = []

    def on_message(self, frame: bytes, binary: bool, stamp_ns: int, read_ns: int) -> None:  # noqa: ARG002, FBT001 - as the hot path calls it
        self.note(frame, stamp_ns)

    def note(self, payload: bytes | str, stamp_ns: int) -> None:
        self.late_ns.append(stamp_ns - int(payload[SENT_AT]))


async def probe_client(url: str, tls: ssl.SSLContext, delays: Delays, *, whole: bool) -> None:
    """This project: kernel stamps; with `whole`, decoding, sequence and histograms too."""
    if whole:
        feed = BinanceSpot(url.removesuffix(PATH), ["BTCUSDT"], ["trade"])
        instruments = Instruments(CollectorRegistry(), experiment.load().histogram, "spot")
        recorder = Recorder("spot", feed.channels, instruments)
        now = time.time_ns()
        recorder.begin_run(Run(now, now, now + 10**12, now + 10**12))
        on_message = recorder.receiver(feed, recorder.lines[0], lambda: None).on_message
    else:
        on_message = delays.on_message
    connection = await connect(
        url,
        headers={},
        tls=tls,
        on_message=on_message,
        on_rtt=lambda _: None,
        on_phase=lambda *_: None,
    )
    await connection.closed


async def websockets_client(url: str, tls: ssl.SSLContext, delays: Delays) -> None:
    async with websockets.connect(
        url, ssl=tls, compression=None, ping_interval=None, max_queue=None
    ) as connection:
        async for message in connection:
            delays.note(message, time.time_ns())


async def aiohttp_client(url: str, tls: ssl.SSLContext, delays: Delays) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(url, ssl=tls) as connection:
        async for message in connection:
            delays.note(message.data, time.time_ns())


async def picows_client(url: str, tls: ssl.SSLContext, delays: Delays) -> None:
    import picows  # noqa: PLC0415 - optional

    class Listener(picows.WSListener):
        def on_ws_frame(self, _: Any, frame: Any) -> None:
            if frame.msg_type == picows.WSMsgType.TEXT:
                delays.note(frame.get_payload_as_bytes(), time.time_ns())

    transport, _ = await picows.ws_connect(Listener, url, ssl_context=tls)
    await transport.wait_disconnected()


CLIENTS = {
    "probe, receiving": lambda *a: probe_client(*a, whole=False),
    "probe, whole path": lambda *a: probe_client(*a, whole=True),
    "picows": picows_client,
    "aiohttp": aiohttp_client,
    "websockets": websockets_client,
}


def receive(name: str, url: str, authority: Path, result: Connection) -> None:
    delays = Delays()
    tls = ssl.create_default_context(cafile=authority)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        started = time.process_time()
        runner.run(CLIENTS[name](url, tls, delays))
        cpu_sec = time.process_time() - started
    delays.late_ns.sort()
    result.send((cpu_sec, delays.late_ns))


def measure(name: str, certificates: Certificates, messages: int, rate: float) -> dict[str, float]:
    """One round of one client."""
    ready, ready_child = multiprocessing.Pipe()
    server = multiprocessing.Process(
        target=serve, args=(certificates, messages, rate, ready_child), daemon=True
    )
    server.start()
    url = f"wss://127.0.0.1:{ready.recv()}{PATH}"
    result, result_child = multiprocessing.Pipe()
    client = multiprocessing.Process(
        target=receive, args=(name, url, certificates.authority, result_child), daemon=True
    )
    client.start()
    cpu_sec, late_ns = result.recv()
    client.join()
    server.terminate()
    server.join()
    measured = {"cpu_us": cpu_sec * 1e6 / messages}
    if late_ns:
        measured["p50_us"] = late_ns[len(late_ns) // 2] / 1e3
        measured["p99_us"] = late_ns[int(len(late_ns) * 0.99)] / 1e3
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--rate", type=float, default=10_000, help="of the paced mode, per second")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    names = [n for n in CLIENTS if n != "picows" or importlib.util.find_spec("picows")]
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        certificates = make_certificates(Path(folder))
        for _ in range(options.rounds):
            for name in names:
                saturated = measure(name, certificates, options.messages, 0)
                paced = measure(name, certificates, options.messages // 5, options.rate)
                rounds[name].append(
                    {
                        "cpu_us": saturated["cpu_us"],
                        "paced_p50_us": paced.get("p50_us", float("nan")),
                        "paced_p99_us": paced.get("p99_us", float("nan")),
                    }
                )
    medians = {
        name: {key: statistics.median(r[key] for r in results) for key in results[0]}
        for name, results in rounds.items()
    }
    if options.json:
        print(json.dumps(medians, indent=2))
        return
    base = medians["probe, receiving"]["cpu_us"]
    print(
        f"{options.messages} messages, paced {options.rate:g}/s, {options.rounds} rounds, medians"
    )
    print(f"{'client':20} {'CPU µs/msg':>10} {'ratio':>6} {'late p50 µs':>12} {'late p99 µs':>12}")
    for name, row in medians.items():
        print(
            f"{name:20} {row['cpu_us']:10.2f} {row['cpu_us'] / base:6.1f} "
            f"{row['paced_p50_us']:12.0f} {row['paced_p99_us']:12.0f}"
        )


if __name__ == "__main__":
    main()
