"""The clients that `receive.py` compares, each doing the same: receive, decode, check, observe.

Each takes a URL and says what it measured. With `errors` it notes, beside, how far the timestamp of
each message is from the moment the sender sent it.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec
import websockets
from prometheus_client import CollectorRegistry, Histogram

from benchmarks.receive_sender import SENT_AT, SYMBOLS
from latency_sweep.contract import experiment
from latency_sweep.contract.timeline import Run
from latency_sweep.nativehist.histogram import NativeHistogram
from latency_sweep.probe import tuning
from latency_sweep.probe.feeds.binance_spot import BinanceSpot
from latency_sweep.probe.measurement.instruments import Instruments
from latency_sweep.probe.measurement.recorder import Recorder
from latency_sweep.probe.net import timestamps_check
from latency_sweep.probe.net.receiving import DEFAULT, Receiving, Timestamps, TimestampsError
from latency_sweep.probe.net.websocket import connect
from latency_sweep.probe.serving.shared_rendering import SharedRenderer
from latency_sweep.probe.tuning import Tuning

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine, Sequence

    Client = Callable[[str, ssl.SSLContext, "Meter"], Coroutine[None, None, None]]

RUN_NS: Final = 10**12
WHOLE_PATH: Final = "probe"
CAPTURING: Final = "probe, --timestamps capture"
SCRAPED: Final = "probe, scraped"
# A hundred times more often than Prometheus does, so that a scrape is no rare event.
SCRAPE_PAUSE_SEC: Final = 0.1
PROTOBUF: Final = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)


@dataclass(slots=True)
class Meter:
    """What a client used from its first message to its last, and how true its timestamps are.

    Attributes:
        errors: whether to note each message's error.
        symbols: how many of the sender's symbols have trades.
        late_ns: timestamp minus the sender's time, in the order received.
        own_ns: from timestamp to program, where the client can tell.
        shared: messages whose timestamp one before them has too.
        cpu_sec: CPU time of the process since `start`.
    """

    errors: bool
    symbols: int = 1
    late_ns: list[int] = field(default_factory=list)
    own_ns: list[int] = field(default_factory=list)
    shared: int = 0
    cpu_sec: float = 0.0
    _cpu_at_start: float = 0.0

    def start(self) -> None:
        """Everything is connected; the first message is about to come."""
        self._cpu_at_start = time.process_time()

    def stop(self) -> None:
        self.cpu_sec = time.process_time() - self._cpu_at_start

    def note(self, payload: bytes | str, timestamp_ns: int) -> None:
        self.late_ns.append(timestamp_ns - int(payload[SENT_AT]))


async def probe(
    url: str,
    tls: ssl.SSLContext,
    meter: Meter,
    *,
    more_symbols: Sequence[str] = (),
    receiving: Receiving = DEFAULT,
) -> None:
    """This project's whole path; with more symbols, whose series have history, it is scraped."""
    symbols = [*SYMBOLS[: meter.symbols], *more_symbols]
    registry = CollectorRegistry()
    feed, recorder = make_recorder(url, symbols, registry)
    receiver = recorder.receiver(feed, recorder.lines[0], lambda: None)

    def record(
        payloads: list[bytes],
        binary: bool,  # noqa: FBT001 - as the hot path calls it
        timestamp_ns: int,
        read_ns: int,
        error_ns: int,
    ) -> None:
        receiver.record(payloads, binary, timestamp_ns, read_ns, error_ns)
        for payload in payloads:
            meter.note(payload, timestamp_ns)
        meter.own_ns += [read_ns - timestamp_ns] * len(payloads)

    for state in recorder.states[meter.symbols :]:
        assert state.histograms is not None
        for histogram in state.histograms.all:
            for number in range(10_000):
                histogram.observe(1e-3 * 1.5 ** (number % 1000 / 1000))
    connection = await connect(
        url,
        headers={},
        tls=_context(url, tls),
        record=record if meter.errors else receiver.record,
        on_rtt=lambda _: None,
        on_step=lambda *_: None,
        receiving=receiving,
    )
    meter.start()
    async with asyncio.TaskGroup() as tasks:
        scraper = tasks.create_task(_scrape(registry)) if more_symbols else None
        await connection.closed
        if scraper is not None:
            scraper.cancel()
    meter.stop()
    meter.shared = recorder.lines[0].shared_timestamps
    for state in recorder.states[: meter.symbols]:
        assert state.sequence is not None
        assert state.sequence.gaps == 0
        assert state.histograms is not None
        assert state.histograms.receive_delay.snapshot().count == state.messages > 0


async def probe_capturing(url: str, tls: ssl.SSLContext, meter: Meter) -> None:
    """The whole path with the timestamps of a packet capture."""
    await probe(url, tls, meter, receiving=Receiving(Timestamps.CAPTURE))


def may_capture() -> bool:
    try:
        timestamps_check.check(Receiving(Timestamps.CAPTURE), "127.0.0.1")
    except TimestampsError:
        return False
    return True


async def probe_scraped(url: str, tls: ssl.SSLContext, meter: Meter) -> None:
    """The whole path with the series of 10 symbols, 40 histograms, scraped all the time."""
    await probe(url, tls, meter, more_symbols=[f"{name}USDT" for name in "ABCDEFGHI"])


async def _scrape(registry: CollectorRegistry) -> None:
    """As the probe's server does it."""
    priority = os.sched_getparam(0).sched_priority
    asyncio.get_running_loop().set_default_executor(
        tuning.background_executor(Tuning(realtime_priority=priority or None))
    )
    renderer = SharedRenderer(registry)
    while True:
        await asyncio.sleep(SCRAPE_PAUSE_SEC)
        await renderer.render(PROTOBUF, "gzip")


async def receiving(url: str, tls: ssl.SSLContext, meter: Meter) -> None:
    """This project's reading alone: timestamps, TLS and frames."""

    def record(payloads: list[bytes], binary: bool, timestamp_ns: int, *_: int) -> None:  # noqa: ARG001, FBT001 - as the hot path calls it
        if meter.errors:
            for payload in payloads:
                meter.note(payload, timestamp_ns)

    connection = await connect(
        url,
        headers={},
        tls=_context(url, tls),
        record=record,
        on_rtt=lambda _: None,
        on_step=lambda *_: None,
    )
    meter.start()
    await connection.closed
    meter.stop()


def _context(url: str, tls: ssl.SSLContext) -> ssl.SSLContext | None:
    return tls if url.startswith("wss:") else None


class JsonPath:
    """The usual way: json, and prometheus_client's histogram."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        bounds = experiment.load().histogram
        self._observe = (
            Histogram(
                "feed_latency_seconds",
                "Event time to receive time.",
                ["stream"],
                registry=CollectorRegistry(),
                buckets=[
                    bounds.classic_min_sec
                    * (bounds.classic_max_sec / bounds.classic_min_sec)
                    ** (i / (bounds.classic_buckets - 1))
                    for i in range(bounds.classic_buckets)
                ],
            )
            .labels("trade")
            .observe
        )
        self._last_ids: dict[str, int] = {}
        self.gaps = 0

    def on_message(self, text: str) -> None:
        timestamp_ns = time.time_ns()
        data = json.loads(text)["data"]
        number, symbol = data["t"], data["s"]
        if number != self._last_ids.get(symbol, number - 1) + 1:
            self.gaps += 1
        self._last_ids[symbol] = number
        self._observe((timestamp_ns - data["E"] * 1000) * 1e-9)
        if self._meter.errors:
            self._meter.note(text, timestamp_ns)


async def websockets_json(url: str, tls: ssl.SSLContext, meter: Meter) -> None:
    path = JsonPath(meter)
    async with websockets.connect(
        url, ssl=_context(url, tls), compression=None, ping_interval=None, max_queue=None
    ) as connection:
        meter.start()
        async for message in connection:
            assert isinstance(message, str)
            path.on_message(message)
        meter.stop()


async def aiohttp_json(url: str, tls: ssl.SSLContext, meter: Meter) -> None:
    path = JsonPath(meter)
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, ssl=tls) as connection,
    ):
        meter.start()
        async for message in connection:
            path.on_message(message.data)
        meter.stop()


class _Trade(msgspec.Struct, gc=False):
    event_time: int = msgspec.field(name="E")
    id: int = msgspec.field(name="t")
    symbol: str = msgspec.field(name="s")


class _TradeFrame(msgspec.Struct, gc=False):
    data: _Trade


async def picows_msgspec(url: str, tls: ssl.SSLContext, meter: Meter) -> None:
    import picows  # noqa: PLC0415 - optional

    decode = msgspec.json.Decoder(_TradeFrame).decode
    observers = {symbol: NativeHistogram().observe for symbol in SYMBOLS}
    last_ids: dict[str, int] = {}
    text = picows.WSMsgType.TEXT

    class Listener(picows.WSListener):
        gaps = 0

        def on_ws_frame(self, _: Any, frame: Any) -> None:
            if frame.msg_type != text:
                if frame.msg_type == picows.WSMsgType.CLOSE:
                    transport.disconnect()
                return
            timestamp_ns = time.time_ns()
            payload = frame.get_payload_as_bytes()
            data = decode(payload).data
            number, symbol = data.id, data.symbol
            if number != last_ids.get(symbol, number - 1) + 1:
                self.gaps += 1
            last_ids[symbol] = number
            observers[symbol]((timestamp_ns - data.event_time * 1000) * 1e-9)
            if meter.errors:
                meter.note(payload, timestamp_ns)

    transport, _ = await picows.ws_connect(Listener, url, ssl_context=_context(url, tls))
    meter.start()
    await transport.wait_disconnected()
    meter.stop()


async def picows_recorder(url: str, tls: ssl.SSLContext, meter: Meter) -> None:
    """The library picows in front of this project's numbers: the very same work after receiving."""
    import picows  # noqa: PLC0415 - optional

    feed, recorder = make_recorder(url, SYMBOLS[: meter.symbols], CollectorRegistry())
    record = recorder.receiver(feed, recorder.lines[0], lambda: None).record
    text = picows.WSMsgType.TEXT

    class Listener(picows.WSListener):
        def on_ws_frame(self, _: Any, frame: Any) -> None:
            if frame.msg_type != text:
                if frame.msg_type == picows.WSMsgType.CLOSE:
                    transport.disconnect()
                return
            timestamp_ns = time.time_ns()
            payload = frame.get_payload_as_bytes()
            record([payload], False, timestamp_ns, timestamp_ns)  # noqa: FBT003 - the hot path's way
            if meter.errors:
                meter.note(payload, timestamp_ns)

    transport, _ = await picows.ws_connect(Listener, url, ssl_context=_context(url, tls))
    meter.start()
    await transport.wait_disconnected()
    meter.stop()


def make_recorder(
    url: str, symbols: Sequence[str], registry: CollectorRegistry
) -> tuple[BinanceSpot, Recorder]:
    """What the probe records trades with, in the middle of a run."""
    feed = BinanceSpot(url.partition("/stream")[0], symbols, ["trade"])
    instruments = Instruments(registry, experiment.load().histogram, "spot")
    recorder = Recorder("spot", feed.channels, instruments)
    now = time.time_ns()
    recorder.begin_run(Run(now - RUN_NS, now - RUN_NS, now + RUN_NS, now + RUN_NS))
    return feed, recorder


CLIENTS: Final[dict[str, Client]] = {
    WHOLE_PATH: probe,
    CAPTURING: probe_capturing,
    SCRAPED: probe_scraped,
    "probe, receiving only": receiving,
    "picows + msgspec": picows_msgspec,
    "picows + the probe's recorder": picows_recorder,
    "aiohttp + json": aiohttp_json,
    "websockets + json": websockets_json,
}
