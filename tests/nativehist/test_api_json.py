"""Histograms in the JSON of the HTTP API, and what becomes of one on its way there and back."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from latency_sweep.nativehist import api_json, protobuf
from latency_sweep.nativehist.float_histogram import FloatHistogram
from latency_sweep.nativehist.instrument import NativeHistogramMetric
from tests.nativehist.reference import upper_bound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Decode = Callable[[bytes], dict[str, Any]]
    Row = tuple[int, str, str, str]


def test_the_api_form_is_read() -> None:
    buckets = [[3, "-1", "1", "1"], [0, "1", "2", "3"], [0, "2", "4", "0"]]
    document = {"count": "4", "sum": "0.5", "buckets": buckets}
    histogram = api_json.from_document(document)
    assert api_json.decode(json.dumps(document).encode()) == histogram
    assert (histogram.count, histogram.sum) == (4, 0.5)
    assert histogram.lower.tolist() == [-1, 1]
    assert histogram.upper.tolist() == [1, 2]
    assert histogram.counts.tolist() == [1, 3]


def test_an_empty_histogram_of_the_api_has_no_buckets() -> None:
    assert api_json.from_document({"count": "0", "sum": "0"}) == FloatHistogram.empty()


@pytest.mark.parametrize(
    "document",
    [None, [], {}, {"count": "1"}, {"count": "x", "sum": "0"}]
    + [{"count": "1", "sum": "1", "buckets": b} for b in ([[0, "1"]], [["a"] * 4], 3)],
)
def test_another_form_is_refused(document: object) -> None:
    with pytest.raises(ValueError, match="Not a native histogram"):
        api_json.from_document(document)
    with pytest.raises(ValueError, match="Not a native histogram"):
        api_json.decode(json.dumps(document).encode())


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b'{"count":"1","sum":"1","buckets":[[' * 9])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="Not a native histogram"):
        api_json.decode(text)


@pytest.mark.parametrize(
    "bucket", [[0, "2", "1", "1"], [0, "1", "2", "-1"], [0, "1", "NaN", "1"], [0, "1", "2", "NaN"]]
)
def test_impossible_buckets_are_refused(bucket: list[Any]) -> None:
    document = {"count": "1", "sum": "1", "buckets": [bucket]}
    with pytest.raises(ValueError, match="istogram"):
        api_json.decode(json.dumps(document).encode())


@given(
    st.lists(st.one_of(st.floats(), st.floats(-0.01, 0.05), st.sampled_from([0.0, 1.0, 1.01]))),
    st.integers(-4, 8),
    st.sampled_from([0.0, 2.0**-128, 0.001, 1.4]),
)
def test_a_histogram_comes_back_from_protobuf_and_json_as_it_was_observed(
    decode: Decode, values: list[float], schema: int, zero_threshold: float
) -> None:
    metric = NativeHistogramMetric(
        "h",
        "Help.",
        registry=CollectorRegistry(),
        schema=schema,
        zero_threshold=zero_threshold,
    )
    for value in values:
        metric.labels().observe(value)
    message = decode(b"".join(protobuf.encode(metric.collect())))["h"].metric[0].histogram
    document = _as_the_server_answers(message)
    observed = metric.labels().snapshot()
    assert api_json.decode(json.dumps(document).encode()) == observed.to_float()
    assert api_json.from_document(document) == observed.to_float()


def _as_the_server_answers(message: Any) -> dict[str, Any]:
    """The JSON of a decoded protobuf histogram (`util/jsonutil` of Prometheus)."""
    schema, zero = message.schema, message.zero_threshold
    rows: list[Row] = []
    for key, count in reversed([*_counts(message.negative_span, message.negative_delta)]):
        inner, outer = max(upper_bound(key - 1, schema), zero), upper_bound(key, schema)
        rows.append((1, _go(-outer), _go(-inner), str(count)))
    if message.zero_count:
        rows.append((3, _go(-zero), _go(zero), str(message.zero_count)))
    for key, count in _counts(message.positive_span, message.positive_delta):
        inner, outer = max(upper_bound(key - 1, schema), zero), upper_bound(key, schema)
        rows.append((0, _go(inner), _go(outer), str(count)))
    document: dict[str, Any] = {"count": str(message.sample_count), "sum": _go(message.sample_sum)}
    return {**document, "buckets": rows} if rows else document


def _counts(spans: Any, deltas: Any) -> Iterator[tuple[int, int]]:
    """Keys and counts of the populated buckets of one sign."""
    remaining, key, count = iter(deltas), 0, 0
    for span in spans:
        key += span.offset
        for _ in range(span.length):
            count += next(remaining)
            if count:
                yield key, count
            key += 1


def _go(value: float) -> str:
    """A number as Go writes it."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)
