"""Summaries to look at: one of a healthy probe, and its parts with something changed."""

from __future__ import annotations

from typing import Any, Final

from latency_sweep.contract.metrics import Phase
from latency_sweep.nativehist.float_histogram import FloatHistogram
from latency_sweep.probe.summary.records import (
    ClockSummary,
    ExchangeClockSummary,
    LatencySummary,
    ProbeSummary,
    StreamSummary,
)

LATENCIES_SEC: Final = [0.010] * 98 + [0.015, 0.030]


def latency(**changed: Any) -> LatencySummary:
    known: dict[str, Any] = {
        "histogram": FloatHistogram.from_samples(LATENCIES_SEC),
        "minimum_sec": 0.010,
        "p50_sec": 0.010,
        "p99_sec": 0.015,
        "p999_sec": 0.030,
        "maximum_sec": 0.030,
        "mean_sec": 0.0103,
        "jitter_sec": 0.002,
        "exact_ratio": 0.9,
        "late_p99_sec": 0.0002,
        "late_maximum_sec": 0.0004,
    }
    return LatencySummary(**known | changed)


def stream(**changed: Any) -> StreamSummary:
    known: dict[str, Any] = {
        "stream": "trade",
        "symbol": "BTCUSDT",
        "has_event_time": True,
        "messages": 2000,
        "rate": 40.0,
        "latency": latency(),
        "lost": 2,
        "loss_ratio": 0.001,
        "own_p50_sec": 0.00005,
        "own_p99_sec": 0.00025,
    }
    return StreamSummary(**known | changed)


UNTIMED: Final = stream(
    stream="bookTicker", has_event_time=False, latency=None, lost=None, loss_ratio=None
)
SILENT: Final = stream(
    symbol="ETHUSDT", messages=0, rate=0.0, latency=None, own_p50_sec=None, own_p99_sec=None
)


def summary(*streams: StreamSummary, **changed: Any) -> ProbeSummary:
    known: dict[str, Any] = {
        "market": "spot",
        "endpoint": "wss://stream.example:9443",
        "timestamps": "capture",
        "run": "2026-11-29T06:05:00Z",
        "phase": Phase.MEASURE,
        "next_phase_sec": 10.0,
        "start_at": 1_795_932_300.0,
        "measured_sec": 50.0,
        "planned_sec": 60.0,
        "connected": True,
        "was_connected": True,
        "reconnects": 0,
        "streams": streams or (stream(),),
        "clock": ClockSummary("chrony", synchronized=True, error_bound_sec=0.0001),
        "exchange_clock": ExchangeClockSummary(0.0005, 0.0009),
        "clock_steps": 0,
        "negative": 0,
        "last_error": None,
    }
    return ProbeSummary(**known | changed)
