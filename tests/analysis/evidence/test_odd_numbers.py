"""What a server says that is no number of anything counts as not known."""

from __future__ import annotations

import math
from typing import Any

import pytest

from latency_sweep.analysis.evidence import silence
from latency_sweep.analysis.evidence.attribution import SourceGroup
from latency_sweep.analysis.evidence.collect import SelectionError, collect
from latency_sweep.analysis.evidence.label_names import LabelNames
from latency_sweep.analysis.evidence.run_queries import RunReader, SeriesSelector
from latency_sweep.analysis.evidence.silence import RunSilence
from latency_sweep.analysis.evidence.sources import SourceQuery
from latency_sweep.analysis.prometheus_api import FloatSample, Matrix, Vector
from latency_sweep.contract import experiment
from latency_sweep.contract.targets import Target
from latency_sweep.contract.timeline import NS_PER_SEC, Timeline

NOW = 1_800_000_000.0
TOKYO = Target("i-1", "ap-northeast-1", "apne1-az4", "c6in.large")
RUN = Timeline.of(experiment.load().timing).run_at(int(NOW - 86_400) * NS_PER_SEC)
SELECTOR = SeriesSelector(
    "sweep", "spot", ("trade",), (), SourceGroup(SourceQuery("sweep", "spot", LabelNames()))
)


class Server:
    """Answers every query with one value.

    Args:
        value: of each sample but those of what makes an instance known.
        runs: values of the label `run`.
    """

    url = "http://prometheus:9090"

    def __init__(self, value: float, runs: tuple[str, ...] = ()) -> None:
        self._value = value
        self._runs = runs

    def now(self) -> float:
        return NOW

    def query(self, expression: str, **_: Any) -> Vector:
        seen = expression.startswith("sum by") and "count_over_time" in expression
        labels = {**TOKYO._asdict(), "stream": "trade", "symbol": "BTCUSDT"}
        return Vector((FloatSample(labels, 240.0 if seen else self._value),), ())

    def query_range(self, _: str, **__: Any) -> Matrix:
        return Matrix(())

    def query_raw(self, _: str, **__: Any) -> Matrix:
        return Matrix(())

    def label_values(self, name: str, *_: Any, **__: Any) -> tuple[str, ...]:
        return self._runs if name == "run" else ("sweep",)


def test_a_counter_that_no_probe_has_is_not_known() -> None:
    client: Any = Server(1e300)
    reader = RunReader(client, SELECTOR, RUN, scrape_interval_sec=15.0, now=NOW)
    assert reader.read()[TOKYO].evidence.reconnects is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_not_known(value: float) -> None:
    client: Any = Server(value)
    reader = RunReader(client, SELECTOR, RUN, scrape_interval_sec=15.0, now=NOW)
    observed = reader.read()[TOKYO]
    assert (observed.evidence.messages, observed.evidence.lost) == (None, None)
    assert observed.evidence.clock_error_bound_sec is None
    assert (observed.restarts, observed.channels) == (0, {})
    assert silence.read(client, SELECTOR, RUN, 15.0) == RunSilence()


@pytest.mark.parametrize("label", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_run_at_the_end_of_all_years_does_not_fit(label: str) -> None:
    client: Any = Server(1.0, (label,))
    with pytest.raises(SelectionError, match="do not fit the timing"):
        collect(client, experiment.load())
