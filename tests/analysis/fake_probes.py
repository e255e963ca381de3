"""Exporters that look like probes to a Prometheus that scrapes them; latencies are planted."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge

from latency_sweep.contract import metrics
from latency_sweep.contract.metrics import Phase
from latency_sweep.contract.timeline import NS_PER_SEC, Timeline
from latency_sweep.nativehist.bounds import exponential_bounds
from latency_sweep.nativehist.exposition import render, take_snapshot
from latency_sweep.nativehist.instrument import NativeHistogramMetric

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from latency_sweep.contract.experiment import Experiment

PER_SEC = 100
_FEED = ("spot", "trade", "BTCUSDT")
# Events are shown once they have arrived everywhere.
_ARRIVED_SEC = 0.3


@dataclass
class FakeProbe:
    """One exporter.

    Attributes:
        experiment: gives the timeline, and what it says of itself.
        median: of its latencies, seconds.
        own: what it says of its place, by label of `feed_probe_info`.
        version: that it shows.
        seed: of its latencies.
    """

    experiment: Experiment
    median: float
    own: dict[str, str] = field(default_factory=dict)
    version: str = "1"
    seed: int = 0

    def __post_init__(self) -> None:
        self._registry = CollectorRegistry()
        self._lock = threading.Lock()
        self._timeline = Timeline.of(self.experiment.timing)
        self._shown = int((time.time() - _ARRIVED_SEC) * PER_SEC)
        self._rng = np.random.default_rng(self.seed)
        self._latency = NativeHistogramMetric(
            metrics.LATENCY.name,
            metrics.LATENCY.help,
            metrics.LATENCY.labels,
            registry=self._registry,
            unit=metrics.LATENCY.unit,
            schema=8,
            max_buckets=4096,
            classic_bounds=exponential_bounds(1e-6, 10, 20),
        )
        self._messages = self._counter(metrics.MESSAGES).labels(*_FEED)
        for metric in (metrics.LOST, metrics.NEGATIVE_LATENCY):
            self._counter(metric).labels(*_FEED)
        reconnects = self._counter(metrics.RECONNECTS)
        for reason in ("schedule", "stalled"):
            reconnects.labels("spot", reason)
        self._counter(metrics.DISCONNECTED).labels("spot")
        self._counter(metrics.CLOCK_STEPS)
        self._gauge(metrics.CONNECTED).labels("spot").set(1)
        self._gauge(metrics.CLOCK_ERROR_BOUND).labels("kernel").set(1e-5)
        self._gauge(metrics.CLOCK_SYNCHRONIZED).labels("kernel").set(1)
        self._run = self._gauge(metrics.RUN_INFO)
        own = {"version": self.version, "experiment": self.experiment.name, **self.own}
        info = [own.get(label, "local") for label in metrics.PROBE_INFO.labels]
        self._gauge(metrics.PROBE_INFO).labels(*info).set(1)
        started = Gauge(metrics.PROCESS_START, "Start.", registry=self._registry)
        started.set(time.time() + self.seed / 1000)

    def _counter(self, metric: metrics.Metric) -> Counter:
        return Counter(metric.name, metric.help, metric.labels, registry=self._registry)

    def _gauge(self, metric: metrics.Metric) -> Gauge:
        return Gauge(metric.name, metric.help, metric.labels, registry=self._registry)

    def scrape(self, accept: str | None) -> tuple[bytes, dict[str, str]]:
        """What it shows now."""
        with self._lock:
            now_ns = time.time_ns()
            until = int((now_ns / NS_PER_SEC - _ARRIVED_SEC) * PER_SEC)
            for event in range(self._shown, until):
                moment = event * NS_PER_SEC // PER_SEC
                run = self._timeline.run_at(moment)
                latency = self.median * float(self._rng.lognormal(0.0, 0.1))
                self._messages.inc()
                if run.phase_at(moment) is Phase.MEASURE:
                    self._latency.labels(*_FEED, run.label).observe(latency)
            self._shown = max(self._shown, until)
            current = self._timeline.run_at(now_ns)
            self._run.clear()
            self._run.labels(current.label, current.phase_at(now_ns).value).set(1)
            snapshot = take_snapshot(self._registry)
        return render(snapshot, accept)


@contextmanager
def serving(probes: Sequence[FakeProbe]) -> Iterator[list[str]]:
    """Serve them on free ports of 127.0.0.1; their addresses, `HOST:PORT`."""
    with ExitStack() as stack:
        yield [stack.enter_context(_serving(probe)) for probe in probes]


@contextmanager
def _serving(probe: FakeProbe) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body, headers = probe.scrape(self.headers.get("Accept"))
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):  # a scrape that was too slow has gone
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
