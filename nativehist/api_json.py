"""Native histograms in the JSON of Prometheus' HTTP API (`"histogram"` and `"histograms"`).

    {"count": "3", "sum": "0.1", "buckets": [[0, "0.01", "0.02", "3"]]}

A bucket is a rule for its bounds, which are read as they are, the lower bound, the upper one and
the count. Numbers are strings, as Go writes them. An empty histogram has no `buckets`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from latency_sweep.nativehist.float_histogram import FloatHistogram

if TYPE_CHECKING:
    from latency_sweep.nativehist.bounds import Floats


# Prometheus counts in 64 bits, so that not even the sum of many overflows a float.
_MOST: Final = 2.0**64


class _Histogram(msgspec.Struct):
    # The lax decoder turns strings into floats on its way.
    count: float
    sum: float
    buckets: list[tuple[int, float, float, float]] = []


_decoder: Final = msgspec.json.Decoder(_Histogram, strict=False)


def decode(text: bytes | msgspec.Raw) -> FloatHistogram:
    """The histogram that a JSON text holds.

    Raises:
        ValueError: the text is no such JSON.
    """
    try:
        try:
            histogram = _decoder.decode(text)
        except msgspec.ValidationError:
            # Go writes "+Inf", which the fast decoder does not take for a number.
            return from_document(msgspec.json.decode(text))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _not_a_histogram() from error
    table = np.array(histogram.buckets, dtype=np.float64).reshape(-1, 4)
    return _from_table(histogram.count, histogram.sum, table[:, 1:])


def from_document(document: Any) -> FloatHistogram:
    """The histogram of a JSON document that is decoded already.

    Raises:
        ValueError: the document has another form.
    """
    try:
        count, total = float(document["count"]), float(document["sum"])
        rows = document.get("buckets") or []
        table = np.array([row[1:4] for row in rows], dtype=np.float64).reshape(-1, 3)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _not_a_histogram() from error
    return _from_table(count, total, table)


def _from_table(count: float, total: float, table: Floats) -> FloatHistogram:
    """From columns of lower bounds, upper bounds and counts, which may be zero."""
    counts = np.append(table[:, 2], count)
    if not np.all((counts >= 0) & (counts <= _MOST)):  # also refuses NaN
        raise _not_a_histogram()
    table = table[table[:, 2] != 0]
    return FloatHistogram(count, total, table[:, 0], table[:, 1], table[:, 2])


def _not_a_histogram() -> ValueError:
    return ValueError("Not a native histogram as Prometheus' API writes one.")
