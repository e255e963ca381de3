"""Does the probe's memory, or its number of series, grow? Hours of it in one table.

The real probe runs against a sender of its own on 127.0.0.1, over TLS: trades and best quotes of
four symbols, paced, every few milliseconds a write. Its connections are broken again and again,
runs follow one another, and it is scraped as Prometheus scrapes. Each sample is the probe's
resident memory and, from inside, how many objects it holds; without tracemalloc, which would be
most of what it measures. Growth is the slope of a line through block means, with a 95 % interval;
the first quarter is warm-up and left out. What is bounded fills up for an hour (the exchange's
answers, once a minute), so growth below 4 MiB a day is tolerated, and a descriptor an hour.

The simulated exchange keeps ground truth and latency for each message, which caps it well below
20,000 messages a second on one core; hence this sender.

    python benchmarks/soak.py --minutes 30 --rate 20000
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import math
import multiprocessing
import os
import ssl
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import requests
from aiohttp import web
from scipy import stats
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from latency_sweep.lab.exchange.server import new_loop
from latency_sweep.lab.exchange.web import rest_app
from latency_sweep.lab.local.tls import make_certificates
from latency_sweep.probe import cli
from latency_sweep.runtime.loopback import get

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

    from latency_sweep.lab.local.tls import Certificates

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
STREAMS: Final = ("trade", "bookTicker")
TICK_SEC: Final = 0.002
MAX_BUFFER: Final = 64 << 20  # a client that does not read is cut, as Binance does
BLOCKS: Final = 12
WARM_UP: Final = 0.25
TOLERATED_KIB_PER_MIN: Final = 4 * 1024 / (24 * 60)
# Sizes that are usual, for what the interpreter only counts.
BLOCK_BYTES: Final = 64
OBJECT_BYTES: Final = 512
PROTOBUF: Final = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)
# The child's part: the probe's own command, with a thread that counts objects beside it.
INSIDE: Final = "--inside"


class Peer(asyncio.Protocol):
    """One connection of the sender: handshake and control frames by websockets' core."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._protocol = ServerProtocol()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._protocol.send_response(self._protocol.accept(event))
                self._market.peers.add(self)
        for reply in self._protocol.data_to_send():
            if reply:
                self.transport.write(reply)
            else:
                self._market.peers.discard(self)
                self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._market.peers.discard(self)


class Market:
    """Sends to every connection alike; ids belong to the market, so reconnecting leaves gaps."""

    def __init__(self, rate: float) -> None:
        self.peers: set[Peer] = set()
        self._rate = rate
        self._ids = itertools.count(10**9)
        self._cut = itertools.cycle((self._close, self._reset))

    async def run(self, reconnect_sec: float) -> None:
        """Send on time; break all connections every `reconnect_sec`."""
        started = time.monotonic()
        due = 0
        next_cut = started + reconnect_sec
        while True:
            await asyncio.sleep(TICK_SEC)
            now = time.monotonic()
            if now > next_cut:
                next_cut += reconnect_sec
                cut = next(self._cut)
                for peer in tuple(self.peers):
                    cut(peer)
            wanted = int((now - started) * self._rate)
            # What a stalled machine missed is not caught up with in one burst.
            due = max(due, wanted - int(self._rate))
            if not self.peers:
                due = wanted
                continue
            batch = b"".join(self._frame(number) for number in range(due, wanted))
            due = wanted
            for peer in tuple(self.peers):
                peer.transport.write(batch)
                if peer.transport.get_write_buffer_size() > MAX_BUFFER:
                    self._reset(peer)

    def _frame(self, number: int) -> bytes:
        symbol = SYMBOLS[number % len(SYMBOLS)]
        name, stream = symbol.lower(), STREAMS[number // len(SYMBOLS) % len(STREAMS)]
        identity = next(self._ids)
        if stream == "trade":
            # Consecutive within a symbol's stream, as trade ids are.
            identity = 10**9 + number // (len(SYMBOLS) * len(STREAMS))
            now_us = time.time_ns() // 1000
            data = (
                f'{{"e":"trade","E":{now_us},"s":"{symbol}","t":{identity},"p":"97000.01000000",'
                f'"q":"0.00100000","T":{now_us - 900},"m":true,"M":true}}'
            )
        else:
            data = (
                f'{{"u":{identity},"s":"{symbol}","b":"97000.00000000","B":"1.20000000",'
                f'"a":"97000.01000000","A":"0.70000000"}}'
            )
        text = f'{{"stream":"{name}@{stream}","data":{data}}}'.encode()
        return struct.pack("!BBH", 0x81, 126, len(text)) + text

    def _close(self, peer: Peer) -> None:
        frame = Frame(Opcode.CLOSE, struct.pack("!H", 1001)).serialize(mask=False)
        self.peers.discard(peer)
        peer.transport.write(frame)
        peer.transport.close()

    def _reset(self, peer: Peer) -> None:
        self.peers.discard(peer)
        peer.transport.abort()


def serve(certificates: Certificates, rate: float, reconnect_sec: float, ready: Connection) -> None:
    """The sender's process: announces its ports, then runs until it is ended."""

    async def main() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.cert, certificates.key)
        market = Market(rate)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Peer(market), "127.0.0.1", 0, ssl=context)
        runner = web.AppRunner(rest_app(0), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ready.send((server.sockets[0].getsockname()[1], runner.addresses[0][1]))
        await market.run(reconnect_sec)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


def inside(counts: Path, interval_sec: float, arguments: Sequence[str]) -> int:
    """Run the probe's command, and write down how many objects it holds."""

    def count() -> None:
        draft = counts.with_suffix(".new")
        while True:
            # Frozen objects, those of the start, are not among the tracked ones.
            found = {"blocks": sys.getallocatedblocks(), "tracked": len(gc.get_objects())}
            draft.write_text(json.dumps(found))
            draft.replace(counts)
            time.sleep(interval_sec)

    threading.Thread(target=count, daemon=True).start()
    return cli.main(arguments)


class Sample(NamedTuple):
    """One look at the probe; see `COLUMNS` for units."""

    minute: float
    rss_kib: int
    blocks: int
    tracked: int
    threads: int
    descriptors: int
    series: int
    connected: bool
    phase: str
    messages: float
    reconnects: float


class Probe:
    """The probe's process, seen from outside."""

    def __init__(self, process: subprocess.Popen[str], url: str, counts: Path) -> None:
        self._process = process
        self._url = url
        self._counts = counts

    def sample(self, minute: float) -> Sample:
        """Scrape it twice, as Prometheus does and in text, and look at its memory."""
        requests_url = f"{self._url}/metrics"
        with requests.Session() as session:
            session.trust_env = False
            session.get(requests_url, headers={"Accept": PROTOBUF}, timeout=60).raise_for_status()
        lines = [line for line in get(requests_url).text.splitlines() if not line.startswith("#")]
        status = dict(line.split(":", 1) for line in self._file("status").read_text().splitlines())
        counts = json.loads(self._counts.read_text()) if self._counts.exists() else {}
        return Sample(
            minute=minute,
            rss_kib=int(status["VmRSS"].split()[0]),
            blocks=counts.get("blocks", 0),
            tracked=counts.get("tracked", 0),
            threads=int(status["Threads"]),
            descriptors=sum(1 for _ in self._file("fd").iterdir()),
            series=len(lines),
            connected=_total(lines, "feed_connected") > 0,
            phase=_label(lines, "feed_run_info", "phase"),
            messages=_total(lines, "feed_messages_total"),
            reconnects=_total(lines, "feed_reconnects_total"),
        )

    def _file(self, name: str) -> Path:
        return Path(f"/proc/{self._process.pid}/{name}")


def _total(lines: Sequence[str], name: str) -> float:
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in lines
        if line.startswith((f"{name}{{", f"{name} "))
    )


def _label(lines: Sequence[str], name: str, label: str) -> str:
    line = next((line for line in lines if line.startswith(name)), "")
    return line.partition(f'{label}="')[2].partition('"')[0]


@dataclass(frozen=True)
class Slope:
    """Growth per minute with its 95 % interval."""

    value: float
    low: float
    high: float

    def verdict(self, tolerated: float) -> str:
        """Whether growth beyond what is tolerated is proven, excluded, or neither."""
        if self.low > tolerated:
            return "GROWS"
        return "does not grow" if self.high <= tolerated else "not known; run longer"


def slope(samples: Sequence[Sample], value: Callable[[Sample], float]) -> Slope:
    """Ordinary least squares on block means: neighbouring samples are not independent."""
    width = max(1, len(samples) // BLOCKS)
    blocks = [samples[start : start + width] for start in range(0, len(samples), width)]
    blocks = [block for block in blocks if len(block) == width]
    if len(blocks) < 3:
        return Slope(math.nan, math.nan, math.nan)
    fit = stats.linregress(
        [statistics.fmean(sample.minute for sample in block) for block in blocks],
        [statistics.fmean(value(sample) for sample in block) for block in blocks],
    )
    doubt = float(fit.stderr * stats.t.ppf(0.975, len(blocks) - 2))
    return Slope(float(fit.slope), float(fit.slope) - doubt, float(fit.slope) + doubt)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for; see `main`."""

    minutes: float
    rate: float
    reconnect_sec: float
    run_sec: int
    interval_sec: float
    rows: int


def watch(options: Options, folder: Path) -> list[Sample]:
    """Start sender and probe, sample until the time is over, end both."""
    certificates = make_certificates(folder)
    ready, ready_child = multiprocessing.Pipe()
    sender = multiprocessing.Process(
        target=serve,
        args=(certificates, options.rate, options.reconnect_sec, ready_child),
        daemon=True,
    )
    sender.start()
    port, http_port = ready.recv()
    counts = folder / "counts.json"
    arguments = {
        "--symbols": ",".join(SYMBOLS),
        "--streams": ",".join(STREAMS),
        "--market": "spot",
        "--endpoint": f"wss://127.0.0.1:{port}",
        "--time-endpoint": f"http://127.0.0.1:{http_port}/api/v3/time",
        "--warmup-sec": "5",
        "--measurement-sec": str(options.run_sec - 10),
        "--cooldown-sec": "5",
        "--metrics-port": "0",
        "--final-scrape-wait-sec": "0",
        "--clock-source": "shared",
        "--ca-file": str(certificates.ca),
        "--log-level": "error",
    }
    child = [sys.executable, __file__, INSIDE, str(counts), str(options.interval_sec), "run"]
    process = subprocess.Popen(
        [*child, *itertools.chain.from_iterable(arguments.items())],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    try:
        assert process.stdout is not None
        probe = Probe(process, json.loads(process.stdout.readline())["metrics_url"], counts)
        return _sample_until_the_end(options, probe)
    finally:
        process.terminate()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        sender.terminate()
        sender.join()


COLUMNS: Final = (
    f"{'min':>6} {'RSS KiB':>8} {'blocks':>8} {'tracked':>8} {'threads':>7} {'fds':>4} "
    f"{'series':>6} {'phase':>8} {'messages':>11} {'reconnects':>10}"
)


def _sample_until_the_end(options: Options, probe: Probe) -> list[Sample]:
    print(COLUMNS, flush=True)
    samples: list[Sample] = []
    started = time.monotonic()
    printed = -math.inf
    while (minute := (time.monotonic() - started) / 60) < options.minutes:
        sample = probe.sample(minute)
        samples.append(sample)
        if minute - printed >= options.minutes / options.rows:
            printed = minute
            print(
                f"{sample.minute:6.1f} {sample.rss_kib:8d} {sample.blocks:8d} "
                f"{sample.tracked:8d} {sample.threads:7d} {sample.descriptors:4d} "
                f"{sample.series:6d} {sample.phase:>8} {sample.messages:11.0f} "
                f"{sample.reconnects:10.0f}",
                flush=True,
            )
        time.sleep(options.interval_sec)
    return samples


def report(samples: Sequence[Sample]) -> bool:
    """Print slopes and counts; whether anything grew."""
    kept = [s for s in samples if s.minute >= WARM_UP * samples[-1].minute]
    span_sec = (kept[-1].minute - kept[0].minute) * 60
    rate = (kept[-1].messages - kept[0].messages) / span_sec
    print(
        f"\nafter warm-up: {span_sec / 60:.1f} min, {rate:.0f} messages/s received, "
        f"{kept[-1].reconnects - kept[0].reconnects:.0f} reconnects, {len(kept)} samples"
    )
    grew = False
    for name, tolerated, value in (
        ("resident memory, KiB/min", TOLERATED_KIB_PER_MIN, lambda s: s.rss_kib),
        ("allocated blocks /min", TOLERATED_KIB_PER_MIN * 1024 / BLOCK_BYTES, lambda s: s.blocks),
        ("tracked objects /min", TOLERATED_KIB_PER_MIN * 1024 / OBJECT_BYTES, lambda s: s.tracked),
        ("file descriptors /min", 1 / 60, lambda s: s.descriptors),
    ):
        found = slope(kept, value)
        verdict = found.verdict(tolerated)
        grew |= verdict == "GROWS"
        print(
            f"{name:26} {found.value:+9.2f}  95 % [{found.low:+.2f}, {found.high:+.2f}]  "
            f"tolerated {tolerated:.2g}  {verdict}"
        )
    # A connection's address is exposed only while there is a connection.
    connected = [s for s in kept if s.connected]
    measuring = [s.series for s in connected if s.phase == "measure"]
    print(f"series in measurement      {min(measuring)} to {max(measuring)}")
    others = [s.series for s in connected if s.phase != "measure"]
    if others:
        print(f"series between them        {min(others)} to {max(others)} (two runs are exposed)")
    return grew or min(measuring) != max(measuring)


def main() -> int:
    if sys.argv[1:2] == [INSIDE]:
        return inside(Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=20_000, help="messages per second")
    parser.add_argument("--reconnect-sec", type=float, default=15.0, help="between forced cuts")
    parser.add_argument("--run-sec", type=int, default=60, help="length of the probe's runs")
    parser.add_argument("--interval-sec", type=float, default=5.0, help="between samples")
    parser.add_argument("--rows", type=int, default=30, help="samples printed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        samples = watch(Options(**vars(options)), Path(folder))
    return int(report(samples))


if __name__ == "__main__":
    sys.exit(main())
