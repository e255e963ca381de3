"""Which format and encoding a scraper wants, from its `Accept` and `Accept-Encoding`."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

if TYPE_CHECKING:
    from collections.abc import Iterator


class Format(Enum):
    """An exposition format and the Content-Type it is sent with; the best one comes first."""

    PROTOBUF = (
        "application/vnd.google.protobuf; "
        "proto=io.prometheus.client.MetricFamily; encoding=delimited"
    )
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    TEXT = CONTENT_TYPE_PLAIN_0_0_4


class _Choice(NamedTuple):
    value: str
    parameters: dict[str, str]
    quality: float


def choose_format(accept: str | None) -> Format:
    """The format of the highest quality; at equal quality the one that says most.

    Only text is given to those who do not name a format, such as a browser or curl, and to those
    who ask for something else altogether.
    """
    best, best_quality = Format.TEXT, 0.0
    offered = [(form, choice.quality) for choice in _choices(accept) for form in _matches(choice)]
    for form in Format:
        quality = max((quality for match, quality in offered if match is form), default=0.0)
        if quality > best_quality:
            best, best_quality = form, quality
    return best


def accepts_gzip(accept_encoding: str | None) -> bool:
    """Whether a gzip body may be sent."""
    qualities = {choice.value: choice.quality for choice in _choices(accept_encoding)}
    return qualities.get("gzip", qualities.get("*", 0.0)) > 0


def _matches(choice: _Choice) -> Iterator[Format]:
    match choice.value:
        case "application/vnd.google.protobuf":
            wanted = {"proto": "io.prometheus.client.MetricFamily", "encoding": "delimited"}
            if all(choice.parameters.get(name) == value for name, value in wanted.items()):
                yield Format.PROTOBUF
        case "application/openmetrics-text":
            if choice.parameters.get("version", "1.0.0") == "1.0.0":
                yield Format.OPENMETRICS
        case "text/plain" | "text/*" | "*/*":
            yield Format.TEXT


def _choices(header: str | None) -> Iterator[_Choice]:
    """Elements of a header of weighted choices (RFC 9110, 12.4.2), without those of bad weights."""
    for element in (header or "").split(","):
        value, *parts = (part.strip() for part in element.split(";"))
        parameters = {}
        for part in parts:
            name, _, text = part.partition("=")
            parameters[name.strip().lower()] = text.strip().strip('"')
        try:
            quality = float(parameters.get("q", "1"))
        except ValueError:
            continue
        if value and 0 <= quality <= 1:
            yield _Choice(value.lower(), parameters, quality)
