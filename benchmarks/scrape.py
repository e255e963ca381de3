"""How long does a scrape of a large probe delay the reader?

A probe's own registry, collector and metrics port with 1,024 streams, each histogram with a few
hundred buckets, are scraped without a pause in every format. A kernel timer measures the event
loop's delay meanwhile, as `feed_event_loop_delay_seconds` does, every millisecond. Exits with 1
where the p99 is not below the limit that docs/reliability.md promises.

    python benchmarks/scrape.py --scrapes 20 --niceness -20
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import http.client
import os
import ssl
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from prometheus_client import CollectorRegistry

from latency_sweep.contract import experiment
from latency_sweep.contract.timeline import NS_PER_SEC, Run, Timeline
from latency_sweep.lab.local.tls import make_certificates
from latency_sweep.nativehist.negotiation import Format
from latency_sweep.probe import tuning
from latency_sweep.probe.app import SWITCH_INTERVAL_SEC
from latency_sweep.probe.connection.session import Session
from latency_sweep.probe.feeds.binance_spot import BinanceSpot
from latency_sweep.probe.http.policy import LivePolicy
from latency_sweep.probe.measurement.instruments import Instruments
from latency_sweep.probe.measurement.loop_timer import loop_timer
from latency_sweep.probe.measurement.recorder import Recorder
from latency_sweep.probe.net.loop import Loop
from latency_sweep.probe.options import settings_of
from latency_sweep.probe.serving.server import ProbeServer
from latency_sweep.probe.serving.state_collector import StateCollector
from latency_sweep.probe.summary.collect import ProbeParts

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT_SEC: Final = 0.020
_STREAMS: Final = ("trade", "aggTrade", "depth@100ms", "bookTicker")
_SAMPLED_EVERY_NS: Final = 1_000_000
_SYMBOLS: Final = 256
_BATCHES: Final = 5
_OBSERVED: Final = 5000  # of each histogram: some hundred buckets, and a part still to be folded
_FORMATS: Final = {
    "protobuf": Format.PROTOBUF.value,
    "OpenMetrics": Format.OPENMETRICS.value,
    "text": Format.TEXT.value,
}


class Scraped(NamedTuple):
    """What scraping in one format took.

    Attributes:
        size: bytes of an answer as sent.
        took_sec: the median of a scrape.
        delays_sec: of the event loop, a sample each millisecond, shape (n,).
    """

    size: int
    took_sec: float
    delays_sec: np.ndarray[tuple[int], np.dtype[np.float64]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Scrape in all formats; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scrapes", type=int, default=20, help="in each format")
    parser.add_argument("--niceness", type=int, help="as of `probe run`")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    sys.setswitchinterval(SWITCH_INTERVAL_SEC)
    chosen = tuning.Tuning(niceness=given.niceness)
    with tuning.applied(chosen), asyncio.Runner(loop_factory=Loop) as runner:
        held = runner.run(_measure(chosen, given.scrapes, np.random.default_rng(given.seed)))
    return 0 if held else 1


async def _measure(chosen: tuning.Tuning, scrapes: int, rng: np.random.Generator) -> bool:
    asyncio.get_running_loop().set_default_executor(tuning.background_executor(chosen))
    registry = CollectorRegistry()
    config = experiment.load()
    instruments = Instruments(registry, config.histogram, "spot")
    symbols = [f"SYMBOL{number:03}USDT" for number in range(_SYMBOLS)]
    feed = BinanceSpot("ws://127.0.0.1:1", symbols, list(_STREAMS))
    recorder = Recorder("spot", feed.channels, instruments)
    session = Session(
        [feed], Timeline.of(config.timing), recorder, instruments, tls=ssl.create_default_context()
    )
    registry.register(StateCollector("spot", recorder, session))
    gc.collect()
    gc.freeze()
    _fill(recorder, rng)
    held = True
    print(f"{len(feed.channels):,} streams")
    print(f"{'scrape':26} {'MB':>7} {'took ms':>8} {'loop p50 ms':>12} {'p99 ms':>8} {'max ms':>8}")
    with tempfile.TemporaryDirectory() as folder:
        files = make_certificates(Path(folder))
        for tls in (False, True):
            web_config = Path(folder) / "web.yml"
            web_config.write_text(
                f"tls_server_config: {{cert_file: {files.cert}, key_file: {files.key}}}\n"
            )
            server = ProbeServer(
                settings_of(["--metrics-port", "0"], {}),
                registry,
                ProbeParts("spot", feed.url, "socket", recorder, session, instruments),
                version="0",
                policy=LivePolicy(web_config if tls else None, None),
                rejected=lambda _: None,
            )
            port = await server.start()
            for name, accept in _FORMATS.items():
                for encoding in ("identity", "gzip"):
                    found = await _scrape(
                        port, accept, encoding, scrapes, files.ca if tls else None
                    )
                    p50, p99 = np.quantile(found.delays_sec, (0.5, 0.99))
                    held &= bool(p99 < LIMIT_SEC)
                    what = ", ".join([name, *["gzip"] * (encoding == "gzip"), *["TLS"] * tls])
                    print(
                        f"{what:26} {found.size / 1e6:7.2f} {found.took_sec * 1e3:8.0f} "
                        f"{p50 * 1e3:12.2f} {p99 * 1e3:8.2f} {found.delays_sec.max() * 1e3:8.2f}",
                        flush=True,
                    )
            await server.stop()
    return held


def _fill(recorder: Recorder, rng: np.random.Generator) -> None:
    """Give every channel of a run in the middle of its measurement something to show."""
    now_ns = time.time_ns()
    recorder.begin_run(
        Run(now_ns - NS_PER_SEC, now_ns, now_ns + 3600 * NS_PER_SEC, now_ns + 3660 * NS_PER_SEC)
    )
    for state in recorder.states:
        state.messages, state.payload_bytes, state.last_timestamp_ns = 5000, 10**6, now_ns
        assert state.histograms is not None
        for histogram in state.histograms.all:
            for batch in np.split(rng.lognormal(-6, 0.3, _OBSERVED), _BATCHES):
                histogram.extend(batch.tolist())
                histogram.maybe_fold()


async def _scrape(
    port: int, accept: str, encoding: str, scrapes: int, ca_file: Path | None
) -> Scraped:
    delays_ns: list[int] = []
    command = [sys.executable, __file__, "--in-process", str(port), accept, encoding, str(scrapes)]
    process = await asyncio.create_subprocess_exec(
        *command, str(ca_file or ""), stdout=asyncio.subprocess.PIPE
    )
    with loop_timer(_SAMPLED_EVERY_NS, delays_ns.append):
        said, _ = await process.communicate()
    if process.returncode:
        sys.exit("the scraper failed")
    size, took_sec = said.split()
    return Scraped(int(size), float(took_sec), np.array(delays_ns) * 1e-9)


def _scrape_from_here(port: str, accept: str, encoding: str, scrapes: str, ca_file: str) -> None:
    """Scrape again and again on one connection, and print the size and the median duration."""
    os.setpriority(os.PRIO_PROCESS, 0, 0)
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
    if ca_file:
        context = ssl.create_default_context(cafile=ca_file)
        connection = http.client.HTTPSConnection("127.0.0.1", int(port), context=context)
    took, size = [], 0
    for _ in range(int(scrapes)):
        began = time.perf_counter()
        connection.request(
            "GET", "/metrics", headers={"Accept": accept, "Accept-Encoding": encoding}
        )
        answer = connection.getresponse()
        size = len(answer.read())
        assert answer.status == http.HTTPStatus.OK
        took.append(time.perf_counter() - began)
    print(size, statistics.median(took))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--in-process"]:
        _scrape_from_here(*sys.argv[2:])
    else:
        sys.exit(main())
