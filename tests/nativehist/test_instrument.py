"""Native histograms in a registry: children, expiry, and what text formats see."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from latency_sweep.nativehist.exposition import PIECE_BYTES, render, render_pieces, take_snapshot
from latency_sweep.nativehist.instrument import NativeHistogramMetric

if TYPE_CHECKING:
    from collections.abc import Callable

PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)


def _metric(registry: CollectorRegistry | None = None, **kwargs: Any) -> NativeHistogramMetric:
    return NativeHistogramMetric(
        "feed_latency_seconds",
        "Latency.",
        ("symbol", "run"),
        registry=registry or CollectorRegistry(),
        **kwargs,
    )


def test_equal_label_values_are_one_child_however_given() -> None:
    metric = _metric()
    assert metric.labels("BTC", 1) is metric.labels(run="1", symbol="BTC")
    assert metric.labels("BTC", "1") is not metric.labels("BTC", "2")


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (("BTC",), {}),
        (("BTC", "1", "2"), {}),
        ((), {"symbol": "BTC"}),
        ((), {"symbol": "BTC", "other": "1"}),
        (("BTC",), {"run": "1"}),
    ],
)
def test_wrong_labels_are_refused(values: tuple[str, ...], named: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="feed_latency_seconds: expected a value for each"):
        _metric().labels(*values, **named)


@pytest.mark.parametrize("label", ["le", "__x", "a-b", "é", ""])
def test_label_names_that_prometheus_forbids_are_refused(label: str) -> None:
    with pytest.raises(ValueError, match="cannot be a label name"):
        NativeHistogramMetric("h", "Help.", (label,), registry=None)


def test_a_unit_that_is_not_the_end_of_the_name_is_refused() -> None:
    with pytest.raises(ValueError, match="does not end in its unit"):
        NativeHistogramMetric("h", "Help.", registry=None, unit="seconds")


def test_a_name_is_registered_only_once() -> None:
    registry = CollectorRegistry()
    _metric(registry)
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        _metric(registry)


def _exposed(registry: CollectorRegistry) -> set[tuple[str, ...]]:
    text = generate_latest(registry).decode()
    return {
        (sample.labels["symbol"], sample.labels["run"])
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_series_of_a_finished_run_leave() -> None:
    registry = CollectorRegistry()
    metric = _metric(registry)
    for symbol, run in (("BTC", "1"), ("ETH", "1"), ("BTC", "2")):
        metric.labels(symbol, run)
    assert metric.remove_matching({"run": "1"}) == 2
    assert _exposed(registry) == {("BTC", "2")}
    assert metric.remove_matching({"run": "1"}) == 0
    metric.remove("BTC", "2")
    assert _exposed(registry) == set()


def test_removing_what_is_not_there_says_so() -> None:
    with pytest.raises(KeyError):
        _metric().remove("BTC", "1")
    with pytest.raises(ValueError, match="has no label ran"):
        _metric().remove_matching({"ran": "1"})


def test_text_has_exact_classic_buckets_that_its_parser_reads_back() -> None:
    registry = CollectorRegistry()
    metric = _metric(registry, classic_bounds=(0.001, 0.01, 1.0))
    for value in (-0.5, 0.001, 0.002, 5.0):
        metric.labels("BTC", "1").observe(value)
    text = generate_latest(registry).decode()
    (family,) = text_string_to_metric_families(text)
    samples = {(s.name, s.labels.get("le")): s.value for s in family.samples}
    assert family.type == "histogram"
    assert samples == {
        ("feed_latency_seconds_bucket", "0.001"): 2,
        ("feed_latency_seconds_bucket", "0.01"): 3,
        ("feed_latency_seconds_bucket", "1.0"): 3,
        ("feed_latency_seconds_bucket", "+Inf"): 4,
        ("feed_latency_seconds_sum", None): pytest.approx(4.503),
        ("feed_latency_seconds_count", None): 4,
    }


def test_openmetrics_is_read_back_with_its_unit() -> None:
    registry = CollectorRegistry()
    metric = _metric(registry, classic_bounds=(0.001,), unit="seconds")
    metric.labels("BTC", "1").observe(0.5)
    text = generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]
    (family,) = parse_openmetrics(text)  # type: ignore[no-untyped-call]
    assert (family.type, family.unit) == ("histogram", "seconds")
    assert [sample.value for sample in family.samples] == [0, 1, 0.5, 1]


def test_a_snapshot_stays_as_it_was_taken() -> None:
    registry = CollectorRegistry()
    metric = _metric(registry)
    metric.labels("BTC", "1").observe(1)
    snapshot = take_snapshot(registry)
    metric.labels("BTC", "1").observe(1)
    metric.labels("ETH", "1").observe(1)
    metric.remove("BTC", "1")
    body, _ = render(snapshot)
    assert 'feed_latency_seconds_count{run="1",symbol="BTC"} 1.0' in body.decode()
    assert "ETH" not in body.decode()


def test_a_metric_without_labels_is_exposed_from_the_start() -> None:
    registry = CollectorRegistry()
    NativeHistogramMetric("rtt_seconds", "Round trip.", registry=registry)
    assert b"rtt_seconds_count 0.0" in generate_latest(registry)


def test_series_may_come_and_go_during_scrapes() -> None:
    registry = CollectorRegistry()
    metric = _metric(registry)
    stop = threading.Event()
    errors: list[BaseException] = []

    def churn() -> None:
        try:
            for run in range(300):
                for symbol in range(10):
                    metric.labels(symbol, run).observe(1.0)
                metric.remove_matching({"run": str(run)})
        except BaseException as error:  # noqa: BLE001 - handed to the test
            errors.append(error)
        finally:
            stop.set()

    thread = threading.Thread(target=churn)
    thread.start()
    while not stop.is_set():
        render(take_snapshot(registry))
    thread.join()
    assert errors == []
    assert _exposed(registry) == set()


LABEL_VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@given(
    generate=st.sampled_from([generate_latest, generate_openmetrics]),
    labels=st.dictionaries(st.from_regex(r"[a-z]{1,3}", fullmatch=True), LABEL_VALUES, max_size=3),
    values=st.lists(st.floats()),
)
def test_text_is_what_prometheus_client_writes(
    generate: Callable[[Any], bytes], labels: dict[str, str], values: list[float]
) -> None:
    assume(not labels.keys() & {"le", "quantile"})
    registry = CollectorRegistry()
    metric = NativeHistogramMetric(
        "h", "Help.", tuple(labels), registry=registry, classic_bounds=(-1e9, 0.1, 1, 1e7)
    )
    metric.labels(*labels.values()).extend(values)
    Counter("c", "Help.", registry=registry).inc()
    accept = "application/openmetrics-text" if generate is generate_openmetrics else "text/plain"
    registry_snapshot = take_snapshot(registry)
    assert render(registry_snapshot, accept)[0] == generate(registry_snapshot)


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text", PROTOBUF])
@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_no_piece_of_a_large_registry_is_large(accept: str, encoding: str) -> None:
    registry = CollectorRegistry()
    metric = _metric(registry, classic_bounds=tuple(range(20)))
    for number in range(300):
        metric.labels(str(number), "1").extend([(number + 1) * 1.01**step for step in range(300)])
    pieces, _ = render_pieces(take_snapshot(registry), accept, encoding)
    assert sum(map(len, pieces)) > PIECE_BYTES // 4
    assert max(map(len, pieces)) < 2 * PIECE_BYTES
