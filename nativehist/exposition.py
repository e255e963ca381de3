"""Exposition of a registry: captured where the metrics are written, rendered in any thread."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client.exposition import generate_latest as generate_text
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from latency_sweep.nativehist.negotiation import Format, accepts_gzip, choose_format
from latency_sweep.nativehist.protobuf import encode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

# More effort takes several times as long and saves a few per cent.
_GZIP_LEVEL = 1


@dataclass(frozen=True, slots=True)
class RegistrySnapshot:
    """All metric families of a registry at one moment; itself a collector."""

    families: tuple[Metric, ...]

    def collect(self) -> Iterable[Metric]:
        """The families, as prometheus_client's text formats ask for them."""
        return self.families


def take_snapshot(registry: CollectorRegistry) -> RegistrySnapshot:
    """Capture every metric; fast, to be called where the metrics are written."""
    return RegistrySnapshot(tuple(registry.collect()))


def render(
    snapshot: RegistrySnapshot,
    accept: str | None = None,
    accept_encoding: str | None = None,
    *,
    classic: bool = False,
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a response to a scrape.

    Slow and without side effects: to be called in a worker thread.

    Args:
        snapshot: what to render.
        accept: the request's `Accept` header; protobuf, OpenMetrics and plain text are known.
        accept_encoding: the request's `Accept-Encoding` header; gzip is known.
        classic: whether protobuf carries classic buckets beside the native ones; the text formats
            always have them.
    """
    form = choose_format(accept)
    match form:
        case Format.PROTOBUF:
            body = encode(snapshot.collect(), classic=classic)
        case Format.OPENMETRICS:
            body = generate_openmetrics(snapshot)  # type: ignore[no-untyped-call]
        case Format.TEXT:
            body = generate_text(snapshot)
    headers = {"Content-Type": form.value, "Vary": "Accept, Accept-Encoding"}
    if accepts_gzip(accept_encoding):
        body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return body, headers
