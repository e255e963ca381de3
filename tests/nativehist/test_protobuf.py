"""The protobuf format, read by an independent decoder."""

from __future__ import annotations

import gzip
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Info, Summary

from latency_sweep.nativehist.exposition import render, render_pieces, take_snapshot
from latency_sweep.nativehist.instrument import NativeHistogramMetric
from latency_sweep.nativehist.protobuf import _packed, _varint, _zigzag

if TYPE_CHECKING:
    from collections.abc import Callable

    Decode = Callable[[bytes], dict[str, Any]]

PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)


def _scrape(registry: CollectorRegistry, decode: Decode) -> dict[str, Any]:
    body, headers = render(take_snapshot(registry), PROTOBUF)
    assert headers["Content-Type"].startswith("application/vnd.google.protobuf")
    return decode(body)


def _encoded(values: list[float], decode: Decode, **kwargs: Any) -> Any:
    registry = CollectorRegistry()
    metric = NativeHistogramMetric("h_seconds", "Help.", registry=registry, **kwargs)
    for value in values:
        metric.labels().observe(value)
    return _scrape(registry, decode)["h_seconds"].metric[0].histogram


def _spans(spans: Any) -> list[tuple[int, int]]:
    return [(span.offset, span.length) for span in spans]


def _counts(spans: Any, deltas: Any) -> dict[int, int]:
    """Counts by bucket, read as Prometheus reads spans and deltas."""
    remaining = iter(deltas)
    counts, key, count = {}, 0, 0
    for span in spans:
        key += span.offset
        for _ in range(span.length):
            count += next(remaining)
            counts[key] = count
            key += 1
    assert not list(remaining)
    return {key: count for key, count in counts.items() if count}


@given(
    st.lists(st.one_of(st.floats(), st.floats(-0.01, 0.05), st.sampled_from([0.0, 1.0, 1.01]))),
    st.integers(-4, 8),
    st.sampled_from([0.0, 2.0**-128, 0.001]),
)
def test_what_is_decoded_is_the_histogram_that_was_observed(
    decode: Decode, values: list[float], schema: int, zero_threshold: float
) -> None:
    registry = CollectorRegistry()
    metric = NativeHistogramMetric(
        "h", "Help.", ("l",), registry=registry, schema=schema, zero_threshold=zero_threshold
    )
    child = metric.labels("x")
    for value in values:
        child.observe(value)
    decoded = _scrape(registry, decode)["h"].metric[0].histogram
    snapshot = child.snapshot()
    assert decoded.sample_count == len(values)
    assert decoded.sample_sum == pytest.approx(snapshot.sum, nan_ok=True, rel=0)
    assert decoded.schema == schema
    assert decoded.zero_threshold == zero_threshold
    assert decoded.zero_count == snapshot.zero_count
    positive = _counts(decoded.positive_span, decoded.positive_delta)
    negative = _counts(decoded.negative_span, decoded.negative_delta)
    assert positive == snapshot.positive.as_dict()
    assert negative == snapshot.negative.as_dict()
    start = decoded.start_timestamp
    assert start.seconds + start.nanos / 1e9 == pytest.approx(snapshot.created, abs=1e-6)


@pytest.mark.parametrize(
    ("values", "schema", "spans", "deltas"),
    [
        ([0, 1, 2, 3], 3, [(0, 1), (7, 1), (4, 1)], [1, 0, 0]),
        ([0, 1, 1.2, 1.4, 1.8, 2], 2, [(0, 5)], [1, -1, 2, -2, 2]),
        (
            [0, 1, 1.2, 1.4, 1.8, 2, math.inf],
            2,
            [(0, 5), (4092, 1)],
            [1, -1, 2, -2, 2, -1],
        ),
        ([0.0156251, 0.0625, 0.1, 5, 6, 7], -1, [(-2, 5)], [2, -1, -1, 0, 3]),
    ],
)
def test_spans_and_deltas_are_those_of_the_go_client(
    decode: Decode,
    values: list[float],
    schema: int,
    spans: list[tuple[int, int]],
    deltas: list[int],
) -> None:
    histogram = _encoded(values, decode, schema=schema)
    assert _spans(histogram.positive_span) == spans
    assert list(histogram.positive_delta) == deltas


def test_the_negative_bucket_of_infinity_has_a_span_of_its_own(decode: Decode) -> None:
    histogram = _encoded([0, 1, -math.inf], decode, schema=2)
    assert _spans(histogram.negative_span) == [(4097, 1)]
    assert list(histogram.negative_delta) == [1]


def test_an_empty_histogram_with_an_empty_zero_bucket_is_marked_native(decode: Decode) -> None:
    assert _spans(_encoded([], decode, zero_threshold=0).positive_span) == [(0, 0)]
    assert _spans(_encoded([], decode).positive_span) == []


def test_classic_buckets_are_left_to_the_text_formats(decode: Decode) -> None:
    assert not _encoded([0.5], decode, classic_bounds=(1.0,)).bucket


def test_classic_buckets_come_beside_native_ones_on_request(decode: Decode) -> None:
    registry = CollectorRegistry()
    metric = NativeHistogramMetric(
        "h_seconds", "Help.", registry=registry, classic_bounds=(0.001, 1.0)
    )
    for value in (0.5, 0.5, 2.0):
        metric.labels().observe(value)
    body, _ = render(take_snapshot(registry), PROTOBUF, classic=True)
    histogram = decode(body)["h_seconds"].metric[0].histogram
    buckets = [(bucket.upper_bound, bucket.cumulative_count) for bucket in histogram.bucket]
    assert buckets == [(0.001, 0), (1.0, 2)]
    assert histogram.sample_count == 3
    assert sum(_counts(histogram.positive_span, histogram.positive_delta).values()) == 3


def test_counts_beyond_one_byte_survive(decode: Decode) -> None:
    histogram = _encoded([1.0] * 300 + [1.1] * 70_000, decode, schema=3)
    assert _counts(histogram.positive_span, histogram.positive_delta) == {0: 300, 2: 70_000}


def test_counters_carry_total_and_their_start(decode: Decode) -> None:
    registry = CollectorRegistry()
    counter = Counter("feed_messages_total", "Messages.", ("symbol",), registry=registry)
    counter.labels("BTCUSDT").inc(3)
    family = _scrape(registry, decode)["feed_messages_total"]
    (metric,) = family.metric
    assert (family.type, family.help) == (0, "Messages.")
    assert [(pair.name, pair.value) for pair in metric.label] == [("symbol", "BTCUSDT")]
    assert metric.counter.value == 3
    assert metric.counter.start_timestamp.seconds > 1_700_000_000


def test_gauges_keep_value_and_unit(decode: Decode) -> None:
    registry = CollectorRegistry()
    Gauge("offset_seconds", "Offset.", unit="seconds", registry=registry).set(-0.5)
    family = _scrape(registry, decode)["offset_seconds"]
    assert (family.type, family.unit, family.metric[0].gauge.value) == (1, "seconds", -0.5)


def test_a_unit_that_total_follows_is_left_out(decode: Decode) -> None:
    registry = CollectorRegistry()
    Counter("off_seconds", "Off.", unit="seconds", registry=registry)
    assert _scrape(registry, decode)["off_seconds_total"].unit == ""


def test_info_is_a_gauge_of_one(decode: Decode) -> None:
    registry = CollectorRegistry()
    Info("build", "Build.", registry=registry).info({"version": "1"})
    family = _scrape(registry, decode)["build_info"]
    assert (family.type, family.metric[0].gauge.value) == (1, 1)


def test_other_types_are_sent_sample_by_sample(decode: Decode) -> None:
    registry = CollectorRegistry()
    Summary("size", "Size.", registry=registry).observe(2)
    families = _scrape(registry, decode)
    assert families["size_sum"].type == 3
    assert families["size_sum"].metric[0].untyped.value == 2
    assert families["size_count"].metric[0].untyped.value == 1


def test_labels_of_any_script_arrive(decode: Decode) -> None:
    registry = CollectorRegistry()
    metric = NativeHistogramMetric("h", "Größe.", ("l",), registry=registry)
    metric.labels("日本\n").observe(1)
    family = _scrape(registry, decode)["h"]
    assert family.help == "Größe."
    assert family.metric[0].label[0].value == "日本\n"


def test_a_family_without_series_is_left_out(decode: Decode) -> None:
    registry = CollectorRegistry()
    NativeHistogramMetric("h", "Help.", ("l",), registry=registry)
    assert _scrape(registry, decode) == {}


def test_a_rendering_pauses_after_each_series_and_while_it_compresses() -> None:
    registry = CollectorRegistry()
    metric = NativeHistogramMetric("m", "Help.", ["n"], registry=registry)
    for number in range(5):
        for value in range(5000):
            metric.labels(number).observe(1.001**value)
    snapshot = take_snapshot(registry)
    accept = (
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
    )
    pauses: list[None] = []

    def pause() -> None:
        pauses.append(None)

    plain, _ = render_pieces(snapshot, accept, pause=pause)
    assert len(pauses) == 5
    packed, _ = render_pieces(snapshot, accept, "gzip", pause=pause)
    assert len(pauses) - 2 * 5 >= sum(map(len, plain)) // 8192
    assert gzip.decompress(b"".join(packed)) == b"".join(plain)


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=50))
def test_deltas_of_any_size_are_varints_one_after_the_other(values: list[int]) -> None:
    expected = b"".join(_varint(_zigzag(value)) for value in values)
    assert _packed(np.array(values, dtype=np.int64)) == expected
