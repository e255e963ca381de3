"""The metric table keeps Prometheus' naming rules."""

from __future__ import annotations

import pytest

from latency_sweep.contract import metrics
from latency_sweep.contract.metrics import Metric, MetricKind


@pytest.mark.parametrize("metric", metrics.ALL, ids=lambda metric: metric.name)
def test_names_follow_prometheus_conventions(metric: Metric) -> None:
    assert metric.name.startswith("feed_")
    assert metric.name.endswith("_total") == (metric.kind is MetricKind.COUNTER)
    if metric.kind is MetricKind.NATIVE_HISTOGRAM:
        assert metric.name.endswith("_seconds")
    if metric.unit:
        assert metric.name.endswith(metric.unit)
    assert metric.help.endswith(".")


def test_names_are_unique() -> None:
    names = [metric.name for metric in metrics.ALL]
    assert len(names) == len(set(names))
