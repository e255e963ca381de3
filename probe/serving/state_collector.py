"""Metrics read from the probe's state when scraped, so that the hot path only adds integers."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from latency_sweep.contract import metrics
from latency_sweep.contract.timeline import NS_PER_SEC
from latency_sweep.probe.net.missed_packets import MissedPackets
from latency_sweep.probe.serving.run_losses_families import run_losses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from latency_sweep.probe.connection.session import Session
    from latency_sweep.probe.measurement.channel_state import ChannelState
    from latency_sweep.probe.measurement.recorder import Recorder


class _ChannelFamily(Metric):
    """A value of each channel at one moment; `samples` are made on first use, in any thread.

    Args:
        metric: name and help.
        kind: `counter` or `gauge`.
        labels: of each channel.
        values: of each channel; None leaves it out.
    """

    def __init__(
        self,
        metric: metrics.Metric,
        kind: str,
        labels: Sequence[dict[str, str]],
        values: Sequence[float | None],
    ) -> None:
        super().__init__(metric.name.removesuffix("_total"), metric.help, kind)
        self._sample_name = metric.name
        self._labels = labels
        self._values = values
        # What the base class put here would shadow the property.
        del self.samples

    @cached_property
    def samples(self) -> list[Sample]:  # type: ignore[override]
        """What the formats ask for."""
        return [
            Sample(self._sample_name, labels, value)
            for labels, value in zip(self._labels, self._values, strict=True)
            if value is not None
        ]


class StateCollector(Collector):
    """Exposes the recorder's channels and the session's connection and phase.

    Args:
        market: value of the `market` label.
        recorder: whose channels are exposed.
        session: whose connection and phase are exposed.
        missed: what a packet capture did not see.
    """

    def __init__(
        self,
        market: str,
        recorder: Recorder,
        session: Session,
        missed: MissedPackets | None = None,
    ) -> None:
        self._market = market
        self._recorder = recorder
        self._session = session
        self._channel_labels = [
            dict(
                zip(
                    metrics.FEED,
                    (market, state.channel.stream, state.channel.symbol),
                    strict=True,
                )
            )
            for state in recorder.states
        ]
        self._missed = missed or MissedPackets()

    def collect(self) -> Iterable[Metric]:
        """Yield the families, from one moment of the event loop."""
        now_ns = time.time_ns()
        self._recorder.expire(now_ns, time.monotonic_ns())
        yield from self._channels()
        yield from run_losses(self._market, self._recorder.states)
        yield from self._connection()
        yield from self._timeline(now_ns)
        yield from self._lines()

    def _channels(self) -> Iterable[Metric]:
        yield self._per_channel(metrics.MESSAGES, lambda state: state.messages)
        yield self._per_channel(metrics.BYTES, lambda state: state.payload_bytes)
        for metric, attribute in (
            (metrics.LOST, "lost"),
            (metrics.RECOVERED, "recovered"),
            (metrics.GAPS, "gaps"),
            (metrics.DUPLICATES, "duplicates"),
            (metrics.OUT_OF_ORDER, "out_of_order"),
        ):
            yield self._per_channel(metric, _from_sequence(attribute))
        yield self._per_channel(metrics.RESTARTS, lambda state: state.restarts)
        yield self._per_channel(
            metrics.NEGATIVE_LATENCY,
            lambda state: state.negative if state.channel.has_event_time else None,
        )
        exact = CounterMetricFamily(
            metrics.TIMESTAMPS_EXACT.name,
            metrics.TIMESTAMPS_EXACT.help,
            labels=metrics.TIMESTAMPS_EXACT.labels,
        )
        for channel, run, count in self._recorder.exact_timestamps():
            exact.add_metric([self._market, channel.stream, channel.symbol, run], count)
        yield exact
        newest = [
            state.last_timestamp_ns / NS_PER_SEC if state.last_timestamp_ns else None
            for state in self._recorder.states
        ]
        yield _ChannelFamily(metrics.LAST_MESSAGE, "gauge", self._channel_labels, newest)

    def _connection(self) -> Iterable[Metric]:
        connectivity = self._session.connectivity
        connected = GaugeMetricFamily(
            metrics.CONNECTED.name, metrics.CONNECTED.help, labels=metrics.CONNECTED.labels
        )
        connected.add_metric([self._market], float(connectivity.connected))
        yield connected
        disconnected = CounterMetricFamily(
            metrics.DISCONNECTED.name,
            metrics.DISCONNECTED.help,
            labels=metrics.DISCONNECTED.labels,
        )
        disconnected.add_metric([self._market], connectivity.disconnected_sec)
        yield disconnected
        missed = CounterMetricFamily(
            metrics.CAPTURE_MISSED.name,
            metrics.CAPTURE_MISSED.help,
            labels=metrics.CAPTURE_MISSED.labels,
        )
        missed.add_metric([self._market], self._missed.reads)
        yield missed

    def _lines(self) -> Iterable[Metric]:
        for metric, attribute in (
            (metrics.FIRST_ARRIVALS, "first_arrivals"),
            (metrics.REDUNDANT, "redundant"),
            (metrics.SHARED_TIMESTAMPS, "shared_timestamps"),
            (metrics.WITHOUT_TIMESTAMP, "without_timestamp"),
        ):
            family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
            for line in self._recorder.lines:
                family.add_metric([self._market, line.name], getattr(line, attribute))
            yield family
        info = GaugeMetricFamily(
            metrics.CONNECTION_INFO.name,
            metrics.CONNECTION_INFO.help,
            labels=metrics.CONNECTION_INFO.labels,
        )
        for name, address in sorted(self._session.connectivity.remote_addresses):
            info.add_metric([self._market, name, address], 1.0)
        yield info

    def _timeline(self, now_ns: int) -> Iterable[Metric]:
        run, phase = self._session.phase_at(now_ns)
        info = GaugeMetricFamily(
            metrics.RUN_INFO.name, metrics.RUN_INFO.help, labels=metrics.RUN_INFO.labels
        )
        info.add_metric([run.label, phase.value], 1.0)
        yield info
        started = GaugeMetricFamily(metrics.RUN_PHASE_STARTED.name, metrics.RUN_PHASE_STARTED.help)
        started.add_metric([], run.phase_start_ns(phase) / NS_PER_SEC)
        yield started

    def _per_channel(
        self, metric: metrics.Metric, value: Callable[[ChannelState], int | None]
    ) -> Metric:
        values = [value(state) for state in self._recorder.states]
        return _ChannelFamily(metric, "counter", self._channel_labels, values)


def _from_sequence(attribute: str) -> Callable[[ChannelState], int | None]:
    """A counter of the sequence check; None for channels whose ids can show nothing."""

    def value(state: ChannelState) -> int | None:
        return None if state.sequence is None else int(getattr(state.sequence, attribute))

    return value
