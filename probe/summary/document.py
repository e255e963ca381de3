"""A summary as JSON, for programs."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

from latency_sweep.probe.summary import wording
from latency_sweep.runtime.printable import printable_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.probe.summary.records import LatencySummary, ProbeSummary, StreamSummary

JSON_VERSION: Final = 1


def to_json(summary: ProbeSummary, *, complete: bool, failures: Sequence[str] = ()) -> str:
    """One document; times and durations are seconds, shares 0 to 1, and what is unknown is null.

    Args:
        summary: what it says.
        complete: whether all that was planned was measured.
        failures: conditions that are met, one sentence each.
    """
    clock, exchange = summary.clock, summary.exchange_clock
    document = {
        "version": JSON_VERSION,
        "complete": complete,
        "market": summary.market,
        "endpoint": summary.endpoint,
        "connected": summary.was_connected,
        "start_at": summary.start_at,
        "measured_sec": summary.measured_sec,
        "messages": summary.messages,
        "streams": [_stream(stream) for stream in summary.streams],
        "clock": clock
        and {
            "source": clock.source,
            "synchronized": clock.synchronized,
            "error_bound_sec": clock.error_bound_sec,
            "steps": summary.clock_steps,
        },
        "exchange_clock": exchange
        and {"offset_sec": exchange.offset_sec, "error_bound_sec": exchange.error_bound_sec},
        "timestamps": summary.timestamps,
        "negative_latencies": summary.negative,
        "reconnects": summary.reconnects,
        "failed_conditions": list(failures),
        "warnings": wording.warnings(summary, ended=True),
    }
    return printable_json(json.dumps(document, indent=2, ensure_ascii=False)) + "\n"


def _stream(stream: StreamSummary) -> dict[str, Any]:
    return {
        "stream": stream.stream,
        "symbol": stream.symbol,
        "messages": stream.messages,
        "rate_per_sec": stream.rate,
        "latency": None if stream.latency is None else _latency(stream.latency),
        "lost": stream.lost,
        "loss_ratio": stream.loss_ratio,
        "own_delay_p50_sec": stream.own_p50_sec,
        "own_delay_p99_sec": stream.own_p99_sec,
    }


def _latency(found: LatencySummary) -> dict[str, float | None]:
    numbers = {
        "min_sec": found.minimum_sec,
        "p50_sec": found.p50_sec,
        "p99_sec": found.p99_sec,
        "p99.9_sec": found.p999_sec,
        "max_sec": found.maximum_sec,
        "mean_sec": found.mean_sec,
        "jitter_sec": found.jitter_sec,
        "exact_timestamps_ratio": found.exact_ratio,
        "timestamp_error_p99_sec": found.late_p99_sec,
        "timestamp_error_max_sec": found.late_maximum_sec,
    }
    return {
        name: value if value is not None and math.isfinite(value) else None
        for name, value in numbers.items()
    }
