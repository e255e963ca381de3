"""A real Prometheus scrapes what is exposed, and answers with what was observed."""

from __future__ import annotations

import math
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import requests
from prometheus_client import CollectorRegistry, Counter, Gauge

from latency_sweep.lab.local.prometheus_process import running_with
from latency_sweep.nativehist.bounds import exponential_bounds
from latency_sweep.nativehist.exposition import render, take_snapshot
from latency_sweep.nativehist.instrument import NativeHistogramFamily, NativeHistogramMetric
from latency_sweep.prometheus.version import NATIVE_HISTOGRAMS_BY_CONFIG

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from latency_sweep.lab.binaries.prometheus_binary import Binaries

WITHIN_SEC = 60
LATENCIES = np.random.default_rng(11).lognormal(-5.5, 0.4, 50_000)

# Shapes that a careless encoder gets wrong, any of which would take the whole target down.
SHAPES: dict[str, tuple[dict[str, Any], list[float]]] = {
    "empty": ({}, []),
    "empty without a zero bucket": ({"zero_threshold": 0.0}, []),
    "only zero": ({}, [0.0, 0.0]),
    "negative": ({}, [-0.002, -0.001, 0.001]),
    "infinite": ({}, [1.0, 1.0, math.inf]),
    "negative infinite": ({}, [-math.inf, 1.0, 1.0]),
    "infinite both ways": ({}, [-math.inf, 1.0, math.inf]),
    "not a number": ({}, [1.0, math.nan]),
    "far apart": ({}, [1e-300, 1e-10, 1.0, 1e300]),
    "lowest resolution": ({"schema": -4}, [1e-300, 1e-10, 1.0, 1e300, -5.0]),
    "wide zero bucket": ({"zero_threshold": 1.4}, [-2.0, 0.5, 1.5, 2.0]),
    "limited": ({"max_buckets": 10}, LATENCIES[:3000].tolist()),
}


class _Server(ThreadingHTTPServer):
    """Serves a registry and remembers the formats it was asked for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.registry = registry
        self.content_types: set[str] = set()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, _Server)
        body, headers = render(
            take_snapshot(self.server.registry),
            self.headers.get("Accept"),
            self.headers.get("Accept-Encoding"),
        )
        self.server.content_types.add(headers["Content-Type"])
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - of the base class
        """Keep the test's output clean."""


@pytest.fixture(scope="module")
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    latency = NativeHistogramMetric(
        "feed_latency_seconds",
        "Latency.",
        ("symbol",),
        registry=registry,
        unit="seconds",
        classic_bounds=exponential_bounds(1e-6, 10, 50),
    )
    for value in LATENCIES.tolist():
        latency.labels("BTCUSDT").observe(value)
    for at, (settings, values) in enumerate(SHAPES.values()):
        shape = NativeHistogramMetric(
            f"shape_{at}_seconds", "A shape.", registry=registry, **settings
        ).labels()
        for value in values:
            shape.observe(value)
    Counter("feed_messages_total", "Messages.", ("symbol",), registry=registry).labels("B").inc(7)
    Gauge("feed_connected", "Connected.", registry=registry).set(1)
    return registry


@pytest.fixture(scope="module")
def server(registry: CollectorRegistry) -> Iterator[_Server]:
    with _Server(registry) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def prometheus_url(
    prometheus_binaries: Binaries, server: _Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("prometheus")
    by_config = prometheus_binaries.version >= NATIVE_HISTOGRAMS_BY_CONFIG
    configuration = (
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        "scrape_configs:\n"
        "  - job_name: probe\n"
        + ("    scrape_native_histograms: true\n" if by_config else "")
        + f"    static_configs: [targets: ['127.0.0.1:{server.server_port}']]\n"
    )
    with running_with(configuration, prometheus_binaries, folder) as prometheus:
        url = f"{prometheus.url}/api/v1/query"
        prometheus.child.wait_until(
            lambda: bool(_query(url, "feed_connected")), within_sec=WITHIN_SEC, what="scrape"
        )
        # All is asked as of the first scrape: if one takes longer than it may, all series end.
        (connected,) = _query(url, "feed_connected[5m]")
        first_sec, _ = connected["values"][0]
        yield f"{url}?time={first_sec}"


def _query(url: str, expression: str) -> list[dict[str, Any]]:
    try:
        answer = requests.get(url, {"query": expression}, timeout=10)
    except requests.ConnectionError:  # it listens before it answers
        return []
    result: list[dict[str, Any]] = answer.json()["data"]["result"] if answer.ok else []
    return result


def _number(url: str, expression: str) -> float:
    (series,) = _query(url, expression)
    return float(series["value"][1])


def test_the_target_is_up_and_is_scraped_as_protobuf(prometheus_url: str, server: _Server) -> None:
    assert _number(prometheus_url, "up") == 1
    (content_type,) = server.content_types
    assert content_type.startswith("application/vnd.google.protobuf")


@pytest.mark.parametrize("q", [0.5, 0.99, 0.999])
def test_quantiles_are_within_half_a_per_cent_of_the_samples(prometheus_url: str, q: float) -> None:
    answer = _number(prometheus_url, f"histogram_quantile({q}, feed_latency_seconds)")
    assert answer == pytest.approx(float(np.quantile(LATENCIES, q)), rel=0.005)


@pytest.mark.parametrize("q", [0, 0.01, 0.3, 0.5, 0.9, 0.99, 0.999, 1])
def test_quantiles_are_those_that_the_probe_itself_reports(
    prometheus_url: str, registry: CollectorRegistry, q: float
) -> None:
    families = take_snapshot(registry).families
    # Infinities that cancel make the sum NaN, which PromQL takes for NaN observations.
    cancelled = f"shape_{list(SHAPES).index('infinite both ways')}_seconds"
    histograms = [
        family
        for family in families
        if isinstance(family, NativeHistogramFamily) and family.name != cancelled
    ]
    answers = {
        family.name: _number(prometheus_url, f"histogram_quantile({q}, {family.name})")
        for family in histograms
    }
    expected = {
        family.name: family.series[0].snapshot.to_float().quantile(q) for family in histograms
    }
    assert len(answers) == len(SHAPES)
    assert answers == pytest.approx(expected, rel=1e-9, nan_ok=True)


def test_count_and_sum_arrive_exactly(prometheus_url: str) -> None:
    assert _number(prometheus_url, "histogram_count(feed_latency_seconds)") == len(LATENCIES)
    total = _number(prometheus_url, "histogram_sum(feed_latency_seconds)")
    assert total == pytest.approx(LATENCIES.sum(), rel=1e-12)


@pytest.mark.parametrize("at", range(len(SHAPES)), ids=list(SHAPES))
def test_every_shape_arrives_as_a_native_histogram(prometheus_url: str, at: int) -> None:
    _, values = list(SHAPES.values())[at]
    (series,) = _query(prometheus_url, f"shape_{at}_seconds")
    _, histogram = series["histogram"]
    assert float(histogram["count"]) == len(values)
    in_buckets = sum(float(count) for *_, count in histogram.get("buckets", []))
    assert in_buckets == sum(not math.isnan(value) for value in values)


def test_counters_and_labels_arrive(prometheus_url: str) -> None:
    (series,) = _query(prometheus_url, "feed_messages_total")
    assert series["metric"]["symbol"] == "B"
    assert float(series["value"][1]) == 7


def test_promtool_finds_nothing_wrong_with_the_text(
    promtool_binary: Path, registry: CollectorRegistry
) -> None:
    body, _ = render(take_snapshot(registry))
    check = subprocess.run(
        [promtool_binary, "check", "metrics"], input=body, capture_output=True, check=False
    )
    assert (check.returncode, check.stdout + check.stderr) == (0, b"")
