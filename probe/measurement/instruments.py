"""Every metric of the contract as an instrument in one registry."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge

from latency_sweep.contract import metrics
from latency_sweep.contract.metrics import ConnectStep, ErrorKind, ReconnectReason, RejectionReason
from latency_sweep.nativehist.bounds import exponential_bounds
from latency_sweep.nativehist.instrument import NativeHistogramMetric

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from latency_sweep.contract.experiment import HistogramConfig
    from latency_sweep.contract.metrics import Metric

# Histograms labelled by run: their series are dropped when the next run is measured.
PER_RUN = (
    metrics.LATENCY,
    metrics.EXCHANGE_DELAY,
    metrics.DELAY_VARIATION,
    metrics.RECEIVE_DELAY,
    metrics.CONNECTION_LATENCY,
    metrics.TIMESTAMP_ERROR,
)
# A resolution of 10 % is enough for the probe's health, at a tenth of the buckets.
_OWN_SCHEMA: Final = 3


class Instruments:
    """The instruments that are written to directly; the rest is collected from state.

    Args:
        registry: where they live.
        resolution: buckets of the histograms.
        market: value of the `market` label, used to start every series at zero.
    """

    def __init__(
        self, registry: CollectorRegistry, resolution: HistogramConfig, market: str
    ) -> None:
        self._registry = registry
        self._resolution = resolution
        self.per_run = {metric.name: self._histogram(metric) for metric in PER_RUN}
        self.rtt = self._histogram(metrics.RTT)
        self.connect_duration = self._histogram(metrics.CONNECT_DURATION)
        self.loop_delay = self._histogram(metrics.LOOP_DELAY, schema=_OWN_SCHEMA)
        self.gc_pause = self._histogram(metrics.GC_PAUSE, schema=_OWN_SCHEMA)
        self.reconnects = self._counter(metrics.RECONNECTS)
        self.errors = self._counter(metrics.ERRORS)
        self.clock_offset = self._gauge(metrics.CLOCK_OFFSET)
        self.clock_error_bound = self._gauge(metrics.CLOCK_ERROR_BOUND)
        self.clock_synchronized = self._gauge(metrics.CLOCK_SYNCHRONIZED)
        self.clock_steps = self._counter(metrics.CLOCK_STEPS)
        self.exchange_clock_offset = self._gauge(metrics.EXCHANGE_CLOCK_OFFSET)
        self.exchange_clock_error_bound = self._gauge(metrics.EXCHANGE_CLOCK_ERROR_BOUND)
        self.exchange_clock_drift = self._gauge(metrics.EXCHANGE_CLOCK_DRIFT)
        self.exchange_clock_drift_bound = self._gauge(metrics.EXCHANGE_CLOCK_DRIFT_BOUND)
        self.rejected_requests = self._counter(metrics.HTTP_REJECTED_REQUESTS)
        self.config_reload_successful = self._gauge(metrics.CONFIG_RELOAD_SUCCESSFUL)
        self.config_reload_success = self._gauge(metrics.CONFIG_RELOAD_SUCCESS)
        self.probe_info = self._gauge(metrics.PROBE_INFO)
        self.build_info = self._gauge(metrics.BUILD_INFO)
        self.rtt.labels(market)
        for generation in range(len(gc.get_count())):
            self.gc_pause.labels(generation)
        for step in ConnectStep:
            self.connect_duration.labels(market, step.value)
        for reason in ReconnectReason:
            self.reconnects.labels(market, reason.value)
        for kind in ErrorKind:
            self.errors.labels(market, kind.value)
        for refusal in RejectionReason:
            self.rejected_requests.labels(refusal.value)

    def _histogram(self, metric: Metric, schema: int | None = None) -> NativeHistogramMetric:
        resolution = self._resolution
        return NativeHistogramMetric(
            metric.name,
            metric.help,
            metric.labels,
            registry=self._registry,
            unit=metric.unit,
            schema=resolution.native_schema if schema is None else schema,
            max_buckets=resolution.max_buckets,
            classic_bounds=exponential_bounds(
                resolution.classic_min_sec,
                resolution.classic_max_sec,
                resolution.classic_buckets,
            ),
        )

    def _counter(self, metric: Metric) -> Counter:
        return Counter(metric.name, metric.help, metric.labels, registry=self._registry)

    def _gauge(self, metric: Metric) -> Gauge:
        return Gauge(metric.name, metric.help, metric.labels, registry=self._registry)
