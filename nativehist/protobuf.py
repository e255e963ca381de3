"""The protobuf exposition format, the only one that carries native histograms.

Messages and field numbers are those of `io.prometheus.client.MetricFamily`, in
`prompb/io/prometheus/client/metrics.proto` of prometheus/prometheus; families follow one another,
each behind its length as a varint. Classic buckets are omitted unless asked for: Prometheus takes
the native ones and would only read past the others, unless its configuration says
`always_scrape_classic_histograms`.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from latency_sweep.nativehist.instrument import NativeHistogramFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray
    from prometheus_client.metrics_core import Metric

    from latency_sweep.nativehist.instrument import NativeSeries
    from latency_sweep.nativehist.snapshot import HistogramSnapshot
    from latency_sweep.nativehist.sparse_buckets import SparseBuckets

# MetricType, and the field of Metric that holds a value of this type.
_COUNTER, _GAUGE, _UNTYPED, _HISTOGRAM = 0, 1, 3, 4
_VALUE_FIELD: Final = {_COUNTER: 3, _GAUGE: 2, _UNTYPED: 5}
_TYPES: Final = {"counter": _COUNTER, "gauge": _GAUGE, "info": _GAUGE, "stateset": _GAUGE}

_VARINT, _FIXED64, _LENGTH = 0, 1, 2
# A longer gap between populated buckets costs more as zeros than as a new span (client_golang).
_MAX_FILLED_GAP: Final = 2


def encode(
    families: Iterable[Metric],
    *,
    classic: bool = False,
    pause: Callable[[], None] | None = None,
) -> Iterator[bytes]:
    """Metric families in the delimited protobuf format, in pieces: a series, or less, each.

    Types that the format has no message for here (summaries, classic histograms) are sent sample by
    sample as untyped families: the same series under the same names.

    Args:
        families: what to encode.
        classic: whether native histograms carry their classic buckets too.
        pause: called after each native histogram, where others may want the core.
    """
    for family in families:
        for pieces in _families(family, classic=classic, pause=pause):
            yield _varint(sum(map(len, pieces)))
            yield from pieces


def _families(
    family: Metric, *, classic: bool, pause: Callable[[], None] | None
) -> Iterator[list[bytes]]:
    if isinstance(family, NativeHistogramFamily):
        histograms = (
            _metric(series.labels, _bytes(7, _histogram(series.snapshot, classic=classic)))
            for series in _pausing(family.series, pause)
        )
        if family.series:
            yield _family(family.name, family, _HISTOGRAM, histograms)
        return
    kind = _TYPES.get(family.type, _UNTYPED)
    created: dict[tuple[str, ...], float] = {}
    metrics: dict[str, list[bytes]] = {}
    if kind == _COUNTER:
        created = {
            tuple(sample.labels.values()): sample.value
            for sample in family.samples
            if sample.name == f"{family.name}_created"
        }
    for sample in family.samples:
        if kind == _COUNTER and sample.name == f"{family.name}_created":
            continue
        value = _double(1, sample.value)
        start = created.get(tuple(sample.labels.values()))
        if start is not None:
            value += _bytes(3, _timestamp(start))
        metric = _metric(sample.labels, _bytes(_VALUE_FIELD[kind], value))
        metrics.setdefault(sample.name, []).append(metric)
    for name, encoded in metrics.items():
        yield _family(name, family, kind, encoded)


def _pausing(
    series: Iterable[NativeSeries], pause: Callable[[], None] | None
) -> Iterator[NativeSeries]:
    for one in series:
        yield one
        if pause is not None:
            pause()


def _family(name: str, family: Metric, kind: int, metrics: Iterable[bytes]) -> list[bytes]:
    """The pieces of a family; joining them all at once would take long where there are many."""
    head = _string(1, name) + _string(2, family.documentation) + _integer(3, kind)
    # A unit that is not the end of the name makes the family invalid.
    unit = family.unit if family.unit and name.endswith(f"_{family.unit}") else ""
    return [head, *(_bytes(4, metric) for metric in metrics), _string(5, unit)]


def _metric(labels: Mapping[str, str], value: bytes) -> bytes:
    return b"".join(_label(name, text) for name, text in labels.items()) + value


@lru_cache(maxsize=4096)
def _label(name: str, value: str) -> bytes:
    return _bytes(1, _string(1, name) + _string(2, value))


def _histogram(snapshot: HistogramSnapshot, *, classic: bool) -> bytes:
    negative, positive = _buckets(snapshot.negative, 9), _buckets(snapshot.positive, 12)
    if not snapshot.zero_threshold and not snapshot.zero_count and not negative and not positive:
        # Nothing else would tell an empty native histogram from an empty classic one.
        positive = _bytes(12, b"")
    return (
        _integer(1, snapshot.count)
        + _double(2, snapshot.sum)
        + (_classic_buckets(snapshot) if classic else b"")
        + _integer(5, _zigzag(snapshot.schema))
        + _double(6, snapshot.zero_threshold)
        + _integer(7, snapshot.zero_count)
        + negative
        + positive
        + _bytes(15, _timestamp(snapshot.created))
    )


def _classic_buckets(snapshot: HistogramSnapshot) -> bytes:
    """Cumulative counts; the bucket up to infinity is the count, as client_golang has it."""
    buckets = zip(snapshot.classic_bounds, snapshot.classic_counts, strict=True)
    return b"".join(_bytes(3, _integer(1, count) + _double(2, bound)) for bound, count in buckets)


def _buckets(buckets: SparseBuckets, spans_field: int) -> bytes:
    """Spans, and in the field after them the deltas."""
    if not len(buckets):
        return b""
    keys, counts = buckets.keys, buckets.counts
    gaps = keys[1:] - keys[:-1] - 1
    filled = np.where(gaps <= _MAX_FILLED_GAP, gaps, 0)
    places = np.concatenate(([0], np.cumsum(filled + 1)))
    dense = np.zeros(places[-1] + 1, dtype=np.int64)
    dense[places] = counts
    deltas = np.diff(dense, prepend=0)
    breaks = np.flatnonzero(gaps > _MAX_FILLED_GAP)
    starts = np.concatenate(([0], places[breaks + 1], [dense.size]))
    offsets = [int(keys[0]), *gaps[breaks].tolist()]
    lengths = np.diff(starts).tolist()
    spans = (_span(spans_field, *span) for span in zip(offsets, lengths, strict=True))
    return b"".join(spans) + _bytes(spans_field + 1, _packed(deltas))


@lru_cache(maxsize=1024)  # sparse tails repeat the same few spans by the hundred
def _span(field: int, offset: int, length: int) -> bytes:
    return _bytes(field, _integer(1, _zigzag(offset)) + _integer(2, length))


def _packed(values: NDArray[np.int64]) -> bytes:
    """Varints of zigzag values, one after the other: seven bits in each byte, the lowest first."""
    zigzags = ((values << 1) ^ (values >> 63)).view(np.uint64)
    bits = int(zigzags.max()).bit_length()
    if bits <= 7:  # noqa: PLR2004 - then every varint is one byte
        return zigzags.astype(np.uint8).tobytes()
    shifts = np.arange(0, bits, 7, dtype=np.uint64)
    rest = zigzags[:, np.newaxis] >> shifts  # each number without the bytes before
    in_use = rest > 0
    in_use[:, 0] = True
    rest &= np.uint64(0x7F)
    rest[:, :-1] |= in_use[:, 1:].astype(np.uint64) << np.uint64(7)  # more of it follows
    return rest[in_use].astype(np.uint8).tobytes()


def _timestamp(unix_sec: float) -> bytes:
    seconds, nanos = divmod(round(unix_sec * 1e9), 1_000_000_000)
    return _integer(1, seconds) + _integer(2, nanos)


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _varint(value: int) -> bytes:
    if value < 0x80:  # noqa: PLR2004 - one byte holds seven bits
        return value.to_bytes()
    encoded = bytearray()
    while value >= 0x80:  # noqa: PLR2004
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value) if value else b""


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | _FIXED64) + struct.pack("<d", value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | _LENGTH) + _varint(len(value)) + value


def _string(field: int, value: str) -> bytes:
    return _bytes(field, value.encode()) if value else b""
