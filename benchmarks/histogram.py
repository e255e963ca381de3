"""What the native histogram costs and how exact it is, all compared in one run.

    python benchmarks/histogram.py [--observations 100000] [--repeats 9]

Prints medians over repeats. Exits with 1 if a quantile is off by 0.5 % or more; times are never
evaluated, since they depend on the machine.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from bisect import bisect_left
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as ClassicHistogram

from latency_sweep.nativehist.bounds import BOUNDS, MAX_SCHEMA, exponential_bounds
from latency_sweep.nativehist.exposition import render, take_snapshot
from latency_sweep.nativehist.fold import fold
from latency_sweep.nativehist.histogram import NativeHistogram
from latency_sweep.nativehist.instrument import NativeHistogramMetric
from latency_sweep.nativehist.settings import HistogramSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BUCKET_BOUNDS = BOUNDS[MAX_SCHEMA].tolist()
CLASSIC_BOUNDS = exponential_bounds(1e-6, 10, 50)
PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)
MAX_ERROR = 0.005


class ScalarHistogram:
    """The obvious way: find the bucket of each value and count it, with the same bookkeeping."""

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        self.classic = [0] * (len(CLASSIC_BOUNDS) + 1)
        self.count = 0
        self.sum = 0.0

    def observe(self, value: float) -> None:
        fraction, exponent = math.frexp(value)
        key = bisect_left(BUCKET_BOUNDS, fraction) + (exponent - 1) * len(BUCKET_BOUNDS)
        self.buckets[key] = self.buckets.get(key, 0) + 1
        self.classic[bisect_left(CLASSIC_BOUNDS, value)] += 1
        self.count += 1
        self.sum += value


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Formatter)
    parser.add_argument("--observations", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args(arguments)
    if options.observations < 1 or options.repeats < 1:
        parser.error("--observations and --repeats must be at least 1")
    _cost_of_observing(options.observations, options.repeats)
    _cost_of_scraping(options.repeats)
    return 0 if _accuracy() < MAX_ERROR else 1


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of the module's docstring."""


def _cost_of_observing(observations: int, repeats: int) -> None:
    generator = np.random.default_rng(1)
    values = generator.lognormal(-6, 0.3, observations).tolist()
    native = NativeHistogram(HistogramSettings(classic_bounds=CLASSIC_BOUNDS))
    classic = ClassicHistogram("h", "Help.", registry=None, buckets=CLASSIC_BOUNDS)
    ways: dict[str, tuple[Callable[[float], None], Callable[[], object]]] = {
        "native, folding included": (native.observe, native.snapshot),
        "native, one by one": (ScalarHistogram().observe, lambda: None),
        "prometheus_client classic": (classic.observe, lambda: None),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, (observe, finish) in ways.items():
            start = time.perf_counter()
            for value in values:
                observe(value)
            finish()
            spent[name].append((time.perf_counter() - start) / observations * 1e9)
    print(f"observe(), ns per value, 50 classic bounds, schema {MAX_SCHEMA}, median of {repeats}")
    base = median(spent["native, folding included"])
    for name, nanoseconds in spent.items():
        print(f"  {name:28}{median(nanoseconds):8.0f}   {median(nanoseconds) / base:5.2f} x")
    state, batch = native.snapshot(), np.array(values[:2048])
    settings = HistogramSettings(classic_bounds=CLASSIC_BOUNDS)
    stall = _median_ms(lambda: fold(state, batch, settings, 0), repeats)
    print(f"  one fold of {batch.size} values stalls the caller for {stall * 1e3:.0f} us")


def _cost_of_scraping(repeats: int, series: int = 40) -> None:
    print(f"scrape of {series} series, ms, median of {repeats}")
    print("  buckets   capture   fold+encode   encode   bytes   gzip ms   gzip bytes   text")
    for spread in (0.06, 0.75):
        _cost_of_scraping_buckets(repeats, series, spread)


def _cost_of_scraping_buckets(repeats: int, series: int, spread: float) -> None:
    registry = CollectorRegistry()
    metric = NativeHistogramMetric(
        "feed_latency_seconds",
        "Latency.",
        ("symbol", "run"),
        registry=registry,
        classic_bounds=CLASSIC_BOUNDS,
    )
    generator = np.random.default_rng(2)
    buckets = []
    for at in range(series):
        child = metric.labels(f"S{at}", "2026-01-31T06:05:00Z")
        for value in generator.lognormal(-6, spread, 20_000).tolist():
            child.observe(value)
        buckets.append(child.capture().resolve().bucket_count)
    capture = _median_ms(lambda: take_snapshot(registry), repeats)
    fresh = iter([take_snapshot(registry) for _ in range(repeats)])
    first = _median_ms(lambda: render(next(fresh), PROTOBUF), repeats)
    snapshot = take_snapshot(registry)
    body, _ = render(snapshot, PROTOBUF)
    packed, _ = render(snapshot, PROTOBUF, "gzip")
    again = _median_ms(lambda: render(snapshot, PROTOBUF), repeats)
    zipped = _median_ms(lambda: render(snapshot, PROTOBUF, "gzip"), repeats)
    text = _median_ms(lambda: render(snapshot, "text/plain"), repeats)
    print(
        f"  {median(buckets):7.0f}{capture:10.2f}{first:14.2f}{again:9.2f}{len(body):8}"
        f"{zipped:10.2f}{len(packed):13}{text:7.1f}"
    )


def _accuracy(samples: int = 1_000_000) -> float:
    generator = np.random.default_rng(3)
    distributions = {
        "lognormal 4 ms": generator.lognormal(-5.5, 0.3, samples),
        "lognormal, wide": generator.lognormal(-5.5, 1.0, samples),
        "gamma + 1 ms": 0.001 + generator.gamma(2, 0.002, samples),
        "Pareto tail": 0.002 * (1 + generator.pareto(2.5, samples)),
        "two peaks": np.where(
            generator.random(samples) < 0.97,
            generator.normal(0.004, 0.0003, samples),
            generator.normal(0.060, 0.004, samples),
        ),
        "clock offset, partly < 0": generator.normal(0.001, 0.002, samples),
    }
    print(f"quantile errors, {samples:,} samples, schema {MAX_SCHEMA} (0.5 % is allowed)")
    worst = 0.0
    for name, values in distributions.items():
        settings = HistogramSettings()
        histogram = fold(settings.empty(0), values, settings, 0).to_float()
        errors = []
        for q in (0.5, 0.9, 0.99, 0.999):
            exact = float(np.quantile(values, q, method="inverted_cdf"))
            errors.append(abs(histogram.quantile(q) / exact - 1))
        worst = max(worst, *errors)
        print(f"  {name:26}" + "  ".join(f"{error * 100:.3f} %" for error in errors))
    print(f"  worst {worst * 100:.3f} % (columns: p50, p90, p99, p99.9)")
    return worst


def _elapsed_ms(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def _median_ms(call: Callable[[], object], repeats: int) -> float:
    return median(_elapsed_ms(call) for _ in range(repeats))


if __name__ == "__main__":
    sys.exit(main())
