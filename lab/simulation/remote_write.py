"""Writes history into a real Prometheus: remote write 1.0, native histograms included.

It has its own encoder of `prompb.WriteRequest`, so that planted data does not depend on the code
under test. Needs python-snappy, which only the `dev` extra installs.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import requests
import snappy

from latency_sweep.nativehist.bounds import bucket_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

# Configuration of a Prometheus that takes history.
HISTORY = """
storage:
  tsdb:
    out_of_order_time_window: 30d
"""
_SERIES_PER_REQUEST = 500
_BYTES_PER_REQUEST = 8_000_000
# The bit of a varint that says that more of its bytes follow.
_MORE = 0x80
_NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Native:
    """A native histogram.

    Attributes:
        sum: of the observations.
        keys: sorted indices of the buckets above zero.
        counts: observations in each of them.
        schema: resolution.
        zeros: observations of zero.
        negative: keys and counts of the buckets below zero, by magnitude.
    """

    sum: float
    keys: NDArray[np.int64]
    counts: NDArray[np.intp]
    schema: int = 8
    zeros: int = 0
    negative: tuple[NDArray[np.int64], NDArray[np.intp]] = (_NONE, _NONE)

    @classmethod
    def of(cls, values: NDArray[np.float64], schema: int = 8) -> Native:
        """The native histogram of some values."""
        positive, negative = (
            np.unique(bucket_keys(magnitudes, schema), return_counts=True)
            for magnitudes in (values[values > 0], -values[values < 0])
        )
        zeros = int(np.count_nonzero(values == 0))
        return cls(float(values.sum()), *positive, schema, zeros, negative)


@dataclass
class History:
    """Samples to be written, by series; times are Unix seconds."""

    series: dict[tuple[tuple[str, str], ...], list[bytes]] = field(default_factory=dict)

    def add(
        self, name: str, labels: Mapping[str, str], moment: float, value: float | Native
    ) -> None:
        """Add a sample to a series."""
        key = tuple(sorted({"__name__": name, **labels}.items()))
        encoded = (
            _field(4, _histogram(value, moment))
            if isinstance(value, Native)
            else _field(2, _double(1, value) + _integer(2, round(moment * 1000)))
        )
        self.series.setdefault(key, []).append(encoded)

    def send(self, url: str) -> None:
        """Write everything, in requests of a size that the server takes."""
        batch: list[bytes] = []
        size = 0
        for labels, samples in self.series.items():
            names = b"".join(
                _field(1, _field(1, name.encode()) + _field(2, value.encode()))
                for name, value in labels
            )
            for group in _groups(samples):
                batch.append(_field(1, names + group))
                size += len(group)
                if len(batch) >= _SERIES_PER_REQUEST or size >= _BYTES_PER_REQUEST:
                    _post(url, b"".join(batch))
                    batch, size = [], 0
        if batch:
            _post(url, b"".join(batch))
        self.series.clear()


def _groups(samples: Iterable[bytes]) -> Iterable[bytes]:
    group: list[bytes] = []
    size = 0
    for sample in samples:
        group.append(sample)
        size += len(sample)
        if size >= _BYTES_PER_REQUEST:
            yield b"".join(group)
            group, size = [], 0
    if group:
        yield b"".join(group)


def _post(url: str, message: bytes) -> None:
    answer = requests.post(
        f"{url}/api/v1/write",
        data=snappy.compress(message),
        headers={
            "Content-Encoding": "snappy",
            "Content-Type": "application/x-protobuf",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        },
        timeout=60,
    )
    assert answer.status_code in {200, 204}, answer.text


def _histogram(native: Native, moment: float) -> bytes:
    """`prompb.Histogram` with integer counts and delta-encoded buckets."""
    in_buckets = int(native.counts.sum()) + int(native.negative[1].sum())
    return b"".join(
        [
            _integer(1, native.zeros + in_buckets),
            _double(3, native.sum),
            _integer(4, _zigzag(native.schema)),
            _double(5, 2.0**-128),
            _integer(6, native.zeros),
            *_buckets(*native.negative, 8),
            *_buckets(native.keys, native.counts, 11),
            _integer(15, round(moment * 1000)),
        ]
    )


def _buckets(
    keys: NDArray[np.int64], counts: NDArray[np.intp], spans_field: int
) -> Iterable[bytes]:
    """Spans, and in the field after them the deltas."""
    if not keys.size:
        return
    starts = np.flatnonzero(np.diff(keys, prepend=keys[0] - 2) != 1)
    ends = np.append(starts[1:], keys.size)
    previous_end = 0
    for first, last in zip(starts.tolist(), ends.tolist(), strict=True):
        # The index of a span's first bucket is one more than its offset from zero.
        offset = int(keys[first]) - previous_end
        yield _field(spans_field, _integer(1, _zigzag(offset)) + _integer(2, last - first))
        previous_end = int(keys[last - 1]) + 1
    deltas = np.diff(counts, prepend=0).astype(np.int64)
    yield _field(spans_field + 1, _varints((deltas << 1) ^ (deltas >> 63)))


def _varints(values: NDArray[np.int64]) -> bytes:
    """Base-128 varints of many values at once."""
    rest = values.astype(np.uint64)
    alive = np.ones(rest.size, dtype=bool)
    columns, used = [], []
    while alive.any():
        more = rest >= _MORE
        used.append(alive)
        columns.append((rest & np.uint64(0x7F)) | np.where(more, np.uint64(0x80), np.uint64(0)))
        alive = alive & more
        rest = rest >> np.uint64(7)
    table, mask = np.stack(columns, axis=1), np.stack(used, axis=1)
    return bytes(table[mask].astype(np.uint8))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= _MORE:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _zigzag(value: int) -> int:
    return (value << 1) ^ (value >> 63)


def _integer(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", value)


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload
