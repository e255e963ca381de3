"""What is fuzzed: one function for each reader of bytes that others write.

A target takes any bytes. It returns when they were read, or refused as documented; any other
exception and every broken promise is a finding.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import requests
from requests.adapters import BaseAdapter

from latency_sweep.analysis import bounded_http
from latency_sweep.analysis.evidence import archive, jsonl
from latency_sweep.analysis.prometheus_api import PrometheusClient, PrometheusError
from latency_sweep.contract import experiment
from latency_sweep.lab.exchange.sources import replay
from latency_sweep.nativehist.negotiation import accepts_gzip, choose_format
from latency_sweep.probe.clock import chrony, clockbound, time_endpoint
from latency_sweep.probe.clock.exchange import ExchangeClockEstimator, TimeEndpointError
from latency_sweep.probe.clock.reading import ClockError
from latency_sweep.probe.feeds.base import Event, FrameError, Notice
from latency_sweep.probe.feeds.binance_coinm import STREAMS as COINM_STREAMS
from latency_sweep.probe.feeds.binance_coinm import BinanceCoinM
from latency_sweep.probe.feeds.binance_sbe import STREAMS as SBE_STREAMS
from latency_sweep.probe.feeds.binance_sbe import BinanceSbe
from latency_sweep.probe.feeds.binance_spot import STREAMS as SPOT_STREAMS
from latency_sweep.probe.feeds.binance_spot import BinanceSpot
from latency_sweep.probe.feeds.binance_usdm import ROUTES, make_feeds
from tests.fuzz import handshakes
from tests.probe.net.test_framing import cut, reference, split

if TYPE_CHECKING:
    from collections.abc import Callable

    from urllib3.connectionpool import HTTPConnectionPool

    from latency_sweep.probe.feeds.base import Feed

CORPUS: Final = Path(__file__).with_name("corpus")
SYMBOLS: Final = ("BTCUSDT", "ETHUSDT")
_MAX_CUTS: Final = 8


@dataclass(frozen=True, slots=True)
class Target:
    """One reader.

    Attributes:
        name: folder of its corpus.
        run: reads the bytes; see the module.
        longest: bytes of the longest input worth trying.
        share: how many of a fuzzing session's inputs it gets, relative to the others; slow
            readers get fewer.
    """

    name: str
    run: Callable[[bytes], None]
    longest: int
    share: float = 1.0

    @property
    def corpus(self) -> tuple[Path, ...]:
        """The inputs kept, in a stable order."""
        return tuple(sorted((CORPUS / self.name).iterdir()))


def _frames(data: bytes) -> None:
    """However a byte stream is cut, the splitter and `websockets`' core see the same."""
    count = data[0] % _MAX_CUTS if data else 0
    points, stream = [b * 7 for b in data[1 : 1 + count]], data[1 + count :]
    assert split(cut(stream, points)).outcome == reference(stream).outcome


@cache
def _spot() -> Feed:
    return BinanceSpot("wss://feed.test", SYMBOLS, tuple(SPOT_STREAMS))


@cache
def _futures() -> tuple[Feed, ...]:
    streams = [stream for kinds in ROUTES.values() for stream in kinds]
    coinm = BinanceCoinM("wss://feed.test", SYMBOLS, tuple(COINM_STREAMS))
    return (*make_feeds("wss://feed.test", SYMBOLS, streams), coinm)


@cache
def _sbe() -> Feed:
    return BinanceSbe("wss://feed.test", SYMBOLS, tuple(SBE_STREAMS), api_key="key")


def _decode(feed: Feed, frame: bytes, *, binary: bool) -> None:
    try:
        decoded = feed.decode(frame, binary=binary)
    except FrameError:
        return
    if isinstance(decoded, Event):
        assert decoded.channel in feed.channels
        assert 0 <= decoded.first_id <= decoded.last_id
        for moment in (decoded.event_ns, decoded.trade_ns):
            assert moment is None or moment >= 0
    else:
        assert isinstance(decoded, Notice)


def _spot_json(data: bytes) -> None:
    _decode(_spot(), data, binary=False)


def _futures_json(data: bytes) -> None:
    for feed in _futures():
        _decode(feed, data, binary=False)


def _sbe_frames(data: bytes) -> None:
    """The first byte says whether the rest came in a binary frame."""
    _decode(_sbe(), data[1:], binary=bool(data[:1] != b"t"))


class _Answers(BaseAdapter):
    """A server whose next answer is given."""

    body = b""

    def send(
        self, request: requests.PreparedRequest, *_: object, **__: object
    ) -> requests.Response:
        answer = requests.Response()
        answer.status_code = 200
        answer.request = request
        answer.raw = io.BytesIO(self.body)
        return answer

    def close(self) -> None:
        pass


@cache
def _client() -> tuple[PrometheusClient, _Answers]:
    client, answers = PrometheusClient("http://prometheus.test", attempts=1), _Answers()
    client._session.mount("http://", answers)
    client._session.trust_env = False  # looking for proxies took half of the time
    return client, answers


def _prometheus_api(data: bytes) -> None:
    client, answers = _client()
    answers.body = data
    for ask in (
        lambda: client.query("up", at=0),
        lambda: client.query_raw("up[5m]", at=0),
        lambda: client.label_values("region"),
        client.build_info,
    ):
        with suppress(PrometheusError):
            ask()


class _Fed(bounded_http._PlainConnection):
    """A connection on which the given bytes come, and then its end."""

    stream = b""

    def connect(self) -> None:
        self.sock, other = socket.socketpair()
        self._other = other
        other.sendall(self.stream)
        other.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        super().close()
        if hasattr(self, "_other"):
            self._other.close()


class _FedAdapter(bounded_http.BoundedAdapter):
    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> HTTPConnectionPool:
        pool = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = _Fed
        return pool


def _prometheus_stream(data: bytes) -> None:
    """What a server sends, from its status line on."""
    _Fed.stream = data
    with PrometheusClient("http://prometheus.test", attempts=1, timeout_sec=1) as client:
        client._session.mount("http://", _FedAdapter())
        client._session.trust_env = False  # as above
        with suppress(PrometheusError):
            client.query("up", at=0)


async def _ask_time(data: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(data)
            await writer.drain()
        writer.close()

    async with (
        await asyncio.start_server(answer, "127.0.0.1", 0) as server,
        time_endpoint.session() as http,
    ):
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/time"
        estimator = ExchangeClockEstimator()
        with suppress(TimeEndpointError):
            await estimator.update(time_endpoint.TimeEndpoint(http, url).fetch, samples=1)


def _time_endpoint(data: bytes) -> None:
    """What a time endpoint sends, from its status line on."""
    if b"location" in data.lower():
        return  # a redirection may lead out of this machine
    asyncio.run(_ask_time(data))


def _experiment(data: bytes) -> None:
    with suppress(UnicodeDecodeError, experiment.ExperimentError):
        experiment.parse(data.decode(), source="experiment.yaml")


@cache
def _memory() -> Path:
    """A file of this process's own that ends with it."""
    return Path(f"/proc/self/fd/{os.memfd_create('fuzz')}")


def _written(data: bytes) -> Path:
    _memory().write_bytes(data)
    return _memory()


@cache
def _entries() -> pa.Table:
    """The histograms of the archive whose document is in the corpus."""
    lists = {
        "histogram": pa.array([0, 0, 1, 2], pa.int32()),
        "lower_sec": [0.0009, 0.0019, 0.0019, 0.0019],
        "upper_sec": [0.0011, 0.0021, 0.0021, 0.0021],
        "count": [1.0, 2.0, 2.0, 1.0],
    }
    return pa.table(lists)


def _archive(data: bytes) -> None:
    """What begins like JSON is the document in an archive, anything else a file."""
    file = _written(data)
    if data[:1] == b"{":
        pq.write_table(_entries().replace_schema_metadata({archive.METADATA_KEY: data}), file)
    with suppress(archive.ArchiveError):
        archive.read(file)


@cache
def _default_experiment() -> experiment.Experiment:
    return experiment.load()


def _jsonl(data: bytes) -> None:
    with suppress(jsonl.JsonlError):
        jsonl.read(_written(data), _default_experiment())


def _recording(data: bytes) -> None:
    """Plain or gzip, as the first byte says."""
    body = gzip.compress(data[1:], compresslevel=1) if data[:1] == b"z" else data[1:]
    with suppress(replay.ReplayError):
        replay.read_recording(_written(body))


def _negotiation(data: bytes) -> None:
    header = data.decode("latin-1")  # as an HTTP server reads headers
    choose_format(header)
    accepts_gzip(header)


def _chrony(data: bytes) -> None:
    with suppress(ClockError):
        chrony._decode(data, 1)


def _clockbound(data: bytes) -> None:
    with suppress(ClockError):
        clockbound.read(_written(data))


TARGETS: Final = {
    target.name: target
    for target in (
        Target("frames", _frames, 400),
        Target("spot_json", _spot_json, 600, 4),
        Target("futures_json", _futures_json, 600, 4),
        Target("sbe", _sbe_frames, 600, 4),
        Target("negotiation", _negotiation, 200, 2),
        Target("chrony", _chrony, 200, 2),
        Target("clockbound", _clockbound, 200, 0.5),
        Target("prometheus_api", _prometheus_api, 1000, 0.2),
        Target("prometheus_stream", _prometheus_stream, 1000, 0.2),
        Target("time_endpoint", _time_endpoint, 1000, 0.1),
        Target("http_upgrade", handshakes.http_upgrade, 1000),
        Target("tls_bytes", handshakes.tls_bytes, 1000, 0.5),
        Target("tls_changed", handshakes.tls_changed, 60, 0.1),
        Target("recording", _recording, 600, 0.5),
        Target("jsonl", _jsonl, 2000, 0.2),
        Target("experiment", _experiment, 3000, 0.05),
        Target("archive", _archive, 4000, 0.05),
    )
}
