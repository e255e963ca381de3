"""Takes a probe's numbers: what is quick in the event loop, what takes time in any thread."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from latency_sweep.contract.metrics import PLANNED, ErrorKind
from latency_sweep.contract.timeline import NS_PER_SEC
from latency_sweep.probe.summary.records import (
    ClockSummary,
    ExchangeClockSummary,
    LatencySummary,
    ProbeSummary,
    StreamSummary,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prometheus_client import Counter, Gauge

    from latency_sweep.contract.timeline import Run
    from latency_sweep.nativehist.histogram import CapturedHistogram, NativeHistogram
    from latency_sweep.nativehist.snapshot import HistogramSnapshot
    from latency_sweep.probe.connection.session import Session
    from latency_sweep.probe.measurement.channel_state import ChannelState, RunHistograms
    from latency_sweep.probe.measurement.instruments import Instruments
    from latency_sweep.probe.measurement.recorder import Recorder

_TAIL: Final = 0.99
_QUANTILES: Final = (0.5, _TAIL, 0.999)
_OF_TIME_ENDPOINT: Final = {
    ErrorKind.TIME_ENDPOINT,
    ErrorKind.TIME_ENDPOINT_SIZE,
    ErrorKind.TIME_ENDPOINT_INFORMATIONAL,
    ErrorKind.TIME_ENDPOINT_RETRY_AFTER,
}


@dataclass(frozen=True, slots=True)
class ProbeParts:
    """The running parts that the numbers are in.

    Attributes:
        market: which one.
        endpoint: WebSocket base URL.
        timestamps: source of the receive timestamps.
        recorder: channels and histograms.
        session: connections and phase.
        instruments: clocks and reconnects.
    """

    market: str
    endpoint: str
    timestamps: str
    recorder: Recorder
    session: Session
    instruments: Instruments

    def capture(self) -> CapturedSummary:
        """This moment's numbers, to be resolved later; to be called in the event loop."""
        return CapturedSummary(self)


class CapturedSummary:
    """A probe's numbers as they were at one moment; cheap to take.

    Args:
        parts: whose numbers.
    """

    def __init__(self, parts: ProbeParts) -> None:
        recorder, session = parts.recorder, parts.session
        now_ns = time.time_ns()
        recorder.expire(now_ns, time.monotonic_ns())
        run, histograms = recorder.newest_measured(now_ns)
        scheduled, phase = session.phase_at(now_ns)
        connected_from = session.connectivity.complete_from
        connected_ns = now_ns
        if connected_from is not None:
            connected_ns = now_ns - round((time.monotonic() - connected_from) * NS_PER_SEC)
        measured_sec = 0.0 if run is None else _measured_sec(run, connected_ns, now_ns)
        self._streams = [
            _CapturedStream(state, filled, measured_sec)
            for state, filled in zip(recorder.states, histograms, strict=True)
        ]
        self._summary = ProbeSummary(
            market=parts.market,
            endpoint=parts.endpoint,
            timestamps=parts.timestamps,
            run=None if run is None else run.label,
            phase=phase,
            next_phase_sec=max(0, scheduled.phase_end_ns(phase) - now_ns) / NS_PER_SEC,
            start_at=None if run is None else run.measure_start_ns / NS_PER_SEC,
            measured_sec=measured_sec,
            planned_sec=0.0
            if run is None
            else (run.measure_end_ns - run.measure_start_ns) / NS_PER_SEC,
            connected=session.connectivity.connected,
            was_connected=connected_from is not None,
            reconnects=_unplanned(parts.instruments.reconnects),
            streams=(),
            clock=_clock(parts.instruments),
            exchange_clock=_exchange_clock(parts.instruments),
            clock_steps=int(sum(_values(parts.instruments.clock_steps).values())),
            negative=sum(state.negative for state in recorder.states),
            last_error=_newest_error(recorder.newest_errors),
        )

    def resolve(self) -> ProbeSummary:
        """Calculate quantiles and means: milliseconds, in any thread, once."""
        streams = tuple(stream.resolve() for stream in self._streams)
        return replace(self._summary, streams=streams)


class _CapturedStream:
    def __init__(
        self, state: ChannelState, filled: RunHistograms | None, measured_sec: float
    ) -> None:
        self._channel = state.channel
        self._measured_sec = measured_sec
        self._all_messages = state.messages
        check = state.sequence
        self._lost = None if check is None else max(0, check.lost - check.recovered)
        self._latency = _capture(filled.latency if filled else None)
        self._variation = _capture(filled.variation if filled else None)
        self._timestamp_error = _capture(filled.timestamp_error if filled else None)
        self._own = _capture(filled.receive_delay if filled else None)

    def resolve(self) -> StreamSummary:
        own = self._own.resolve() if self._own is not None else None
        messages = 0 if own is None else own.count
        own_p50 = own_p99 = None
        if own is not None and messages:
            own_p50, own_p99 = map(float, own.to_float().quantiles((0.5, _TAIL)))
        everything = self._all_messages + (self._lost or 0)
        return StreamSummary(
            stream=self._channel.stream,
            symbol=self._channel.symbol,
            has_event_time=self._channel.has_event_time,
            messages=messages,
            rate=messages / self._measured_sec if self._measured_sec > 0 else None,
            latency=self._resolve_latency(),
            lost=self._lost,
            loss_ratio=None if self._lost is None or not everything else self._lost / everything,
            own_p50_sec=own_p50,
            own_p99_sec=own_p99,
        )

    def _resolve_latency(self) -> LatencySummary | None:
        if self._latency is None or self._variation is None or self._timestamp_error is None:
            return None
        found = self._latency.resolve()
        if not found.count:
            return None
        variation, errors = self._variation.resolve(), self._timestamp_error.resolve()
        histogram = found.to_float()
        p50, p99, p999 = map(float, histogram.quantiles(_QUANTILES))
        return LatencySummary(
            histogram=histogram,
            minimum_sec=found.minimum,
            p50_sec=p50,
            p99_sec=p99,
            p999_sec=p999,
            maximum_sec=found.maximum,
            mean_sec=found.mean,
            jitter_sec=variation.mean if variation.count else None,
            exact_ratio=1 - min(1.0, errors.count / found.count),
            late_p99_sec=_bound_within(errors, found.count, _TAIL),
            late_maximum_sec=errors.maximum if errors.count else 0.0,
        )


def _bound_within(errors: HistogramSnapshot, messages: int, share: float) -> float:
    """The bound that a share of all messages is within; the exact ones have a bound of zero.

    Args:
        errors: of the messages whose timestamp is not exact, seconds.
        messages: all of them, those included.
        share: 0 to 1.
    """
    inexact = min(1.0, errors.count / messages)
    if inexact <= 1 - share:
        return 0.0
    return errors.to_float().quantile(1 - (1 - share) / inexact)


def _capture(histogram: NativeHistogram | None) -> CapturedHistogram | None:
    return None if histogram is None else histogram.capture()


def _measured_sec(run: Run, connected_ns: int, now_ns: int) -> float:
    since_ns = max(run.measure_start_ns, connected_ns)
    return max(0, min(now_ns, run.measure_end_ns) - since_ns) / NS_PER_SEC


def _newest_error(errors: Mapping[ErrorKind, str]) -> str | None:
    """Detail of the newest error of the feed itself."""
    found = [detail for kind, detail in errors.items() if kind not in _OF_TIME_ENDPOINT]
    return found[-1] if found else None


def _unplanned(reconnects: Counter) -> int:
    planned = {reason.value for reason in PLANNED}
    found = _values(reconnects)
    return int(sum(count for (_, reason), count in found.items() if reason not in planned))


def _clock(instruments: Instruments) -> ClockSummary | None:
    bounds = _values(instruments.clock_error_bound)
    for (source,), synchronized in _values(instruments.clock_synchronized).items():
        bound = bounds.get((source,), math.nan)
        return ClockSummary(source, bool(synchronized), bound if math.isfinite(bound) else None)
    return None


def _exchange_clock(instruments: Instruments) -> ExchangeClockSummary | None:
    offsets = list(_values(instruments.exchange_clock_offset).values())
    bounds = list(_values(instruments.exchange_clock_error_bound).values())
    return ExchangeClockSummary(offsets[0], bounds[0]) if offsets and bounds else None


def _values(instrument: Counter | Gauge) -> dict[Sequence[str], float]:
    """Values by the values of the labels, in the metric's order of labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in instrument.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }
