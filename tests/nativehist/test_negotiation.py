"""Which format a scraper gets."""

from __future__ import annotations

import gzip

import pytest
from prometheus_client import CollectorRegistry, Gauge

from latency_sweep.nativehist.exposition import render, take_snapshot
from latency_sweep.nativehist.negotiation import Format, accepts_gzip, choose_format

PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
PROMETHEUS = (
    f"{PROTOBUF};q=0.6,{OPENMETRICS};escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, Format.TEXT),
        ("", Format.TEXT),
        ("*/*", Format.TEXT),
        (BROWSER, Format.TEXT),
        ("application/json", Format.TEXT),
        (PROMETHEUS, Format.PROTOBUF),
        (PROTOBUF, Format.PROTOBUF),
        (f"{PROTOBUF};q=0.2,text/plain;q=0.7", Format.TEXT),
        (f"{PROTOBUF};q=0,text/plain;q=0.1", Format.TEXT),
        (f"{OPENMETRICS},{PROTOBUF}", Format.PROTOBUF),
        (f"text/plain;q=0.5,{OPENMETRICS};q=0.5", Format.OPENMETRICS),
        ("application/openmetrics-text", Format.OPENMETRICS),
        ("application/openmetrics-text;version=0.0.1;q=0.9,text/plain;q=0.1", Format.TEXT),
        ("application/vnd.google.protobuf;proto=other;encoding=delimited", Format.TEXT),
        ("application/vnd.google.protobuf;encoding=text", Format.TEXT),
        (
            PROTOBUF.replace("=io", '= "io')
            .replace("Family", 'Family" ')
            .replace("app", "App")
            .replace("encoding", " Encoding ")
            + " ; Q=1.0",
            Format.PROTOBUF,
        ),
        (f"{PROTOBUF};q=lots", Format.TEXT),
        (f"{PROTOBUF};q=nan", Format.TEXT),
        (f"{PROTOBUF};q=7", Format.TEXT),
        (",;,;;q,", Format.TEXT),
    ],
)
def test_the_format_of_the_highest_quality_is_chosen(accept: str | None, expected: Format) -> None:
    assert choose_format(accept) is expected


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("deflate, GZip;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("*, gzip;q=0", False),
        ("br", False),
    ],
)
def test_gzip_is_used_where_it_is_accepted(accept_encoding: str | None, *, expected: bool) -> None:
    assert accepts_gzip(accept_encoding) is expected


@pytest.mark.parametrize("accept", [PROMETHEUS, OPENMETRICS, "text/plain"])
def test_headers_say_what_the_body_is(accept: str) -> None:
    registry = CollectorRegistry()
    Gauge("up_down", "A gauge.", registry=registry).set(1)
    snapshot = take_snapshot(registry)
    plain, plain_headers = render(snapshot, accept)
    packed, packed_headers = render(snapshot, accept, "gzip")
    assert "Content-Encoding" not in plain_headers
    assert packed_headers == plain_headers | {"Content-Encoding": "gzip"}
    assert plain_headers["Content-Type"] == choose_format(accept).value
    assert plain_headers["Vary"] == "Accept, Accept-Encoding"
    assert gzip.decompress(packed) == plain
    assert b"up_down" in plain
