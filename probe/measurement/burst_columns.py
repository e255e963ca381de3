"""What the messages of a burst add to the histograms, column by column instead of one by one."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.probe.feeds.base import EventRun

_SEC_PER_NS = 1e-9
_DOUBLE_BYTES = 8


class RunValues(NamedTuple):
    """The values of one run in seconds, each in the order of arrival, as doubles in bytes.

    Attributes:
        latency: from the event to the receive timestamp.
        variation: difference of each latency from the one before; one less than the others where
            the first message has none before it.
        exchange_delay: from the trade to the event; None where messages do not say.
        receive_delay: from the receive timestamp to the program.
    """

    latency: bytes
    variation: bytes
    exchange_delay: bytes | None
    receive_delay: bytes


def values_of(
    runs: Sequence[tuple[EventRun, int | None]], timestamp_ns: int, own_delay_sec: float
) -> list[RunValues]:
    """The values of several runs, calculated together: numpy has a price per call.

    Args:
        runs: each with the latency of the message before it, nanoseconds, or None.
        timestamp_ns: receive timestamp of all, Unix nanoseconds, less than a century from any of
            their times.
        own_delay_sec: from there to the program, seconds.
    """
    event_ns: list[int] = []
    trade_ns: list[int] = []
    for run, _ in runs:
        event_ns += run.event_ns
        # Where there is none, the place is filled and not looked at.
        trade_ns += run.event_ns if run.trade_ns is None else run.trade_ns
    sent = np.array(event_ns, dtype=np.int64)
    latencies = timestamp_ns - sent
    before = np.empty_like(latencies)
    before[1:] = latencies[:-1]
    start = 0
    for run, before_ns in runs:
        if before_ns is not None:
            before[start] = before_ns
        start += len(run.event_ns)
    latency = (latencies * _SEC_PER_NS).tobytes()
    variation = (np.abs(latencies - before) * _SEC_PER_NS).tobytes()
    exchange_delay = ((sent - np.array(trade_ns, dtype=np.int64)) * _SEC_PER_NS).tobytes()
    receive_delay = struct.pack("d", own_delay_sec)
    values = []
    start = 0
    for run, before_ns in runs:
        count = len(run.event_ns)
        end = start + count * _DOUBLE_BYTES
        values.append(
            RunValues(
                latency[start:end],
                variation[start if before_ns is not None else start + _DOUBLE_BYTES : end],
                None if run.trade_ns is None else exchange_delay[start:end],
                receive_delay * count,
            )
        )
        start = end
    return values
