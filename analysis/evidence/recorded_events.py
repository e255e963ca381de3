"""Events of recordings in columns, and the same event found again in another host's recording.

A message has the same sequence ids wherever it arrives, so the receive times of one event at two
hosts differ by their paths and their clocks alone: the exchange's clock, and how long the exchange
took, are the same for both.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latency_sweep.contract.recorded_frames import Recording, channel_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from latency_sweep.contract.recorded_frames import ReceivedFrame

Integers = NDArray[np.int64]
NO_EVENT_TIME = 0


class EventChannel(NamedTuple):
    """What numbers its messages by itself: a stream, `depth@100ms`, of one symbol."""

    stream: str
    symbol: str


@dataclass(frozen=True, slots=True)
class ChannelEvents:
    """The numbered messages of a channel at one host, by ascending id; all shapes (events,).

    Attributes:
        received_ns: receive times, Unix nanoseconds; of a message that came twice, the first.
        event_ns: event times likewise, `NO_EVENT_TIME` where there is none.
        first: first sequence ids.
        last: last sequence ids; each occurs once.
    """

    received_ns: Integers
    event_ns: Integers
    first: Integers
    last: Integers

    @classmethod
    def of(cls, columns: Sequence[Sequence[int]]) -> ChannelEvents:
        """From the columns of the fields, in any order of the rows."""
        received, event, first, last = (np.array(column, dtype=np.int64) for column in columns)
        order = np.lexsort((received, last))
        kept = order[np.append(True, np.diff(last[order]) != 0)] if order.size else order
        return cls(received[kept], event[kept], first[kept], last[kept])

    def at(self, rows: Integers) -> ChannelEvents:
        """Some of the events."""
        return ChannelEvents(
            self.received_ns[rows], self.event_ns[rows], self.first[rows], self.last[rows]
        )


@dataclass(frozen=True, slots=True)
class HostRecording:
    """All that one host recorded.

    Attributes:
        name: of the host.
        channels: its numbered messages.
        spans_ns: from the first to the last event time of each file, Unix nanoseconds.
        notes: what was odd about its files.
    """

    name: str
    channels: dict[EventChannel, ChannelEvents]
    spans_ns: tuple[tuple[int, int], ...]
    notes: tuple[str, ...]


class _Span:
    """From the first to the last event of a file; where none has a time, by receive time.

    Event times are the same everywhere, whatever the clock of the host.
    """

    def __init__(self) -> None:
        self._of_events: tuple[int, int] | None = None
        self._of_receipt: tuple[int, int] | None = None

    def add(self, frame: ReceivedFrame) -> None:
        self._of_receipt = _widened(self._of_receipt, frame.received_ns)
        if frame.event_ns is not None:
            self._of_events = _widened(self._of_events, frame.event_ns)

    def found(self) -> tuple[int, int]:
        return self._of_events or self._of_receipt or (0, 0)


def _widened(span: tuple[int, int] | None, moment: int) -> tuple[int, int]:
    return (moment, moment) if span is None else (min(span[0], moment), max(span[1], moment))


def read_host(name: str, files: Sequence[Path], streams: Sequence[str] = ()) -> HostRecording:
    """Read every recording of a host.

    Args:
        name: of the host.
        files: its recordings.
        streams: full names of the streams whose raw messages they hold.

    Raises:
        UnusableRecordingError: a file cannot be used.
    """
    columns: dict[str, tuple[array[int], ...]] = {}
    spans: list[tuple[int, int]] = []
    notes: list[str] = []
    for file in files:
        recording = Recording(file, streams)
        span = _Span()
        for frame in recording:
            received = frame.received_ns
            span.add(frame)
            if frame.ids == (0, 0):
                continue
            into = columns.get(frame.stream)
            if into is None:
                into = columns[frame.stream] = tuple(array("q") for _ in range(4))
            row = (received, frame.event_ns or NO_EVENT_TIME, *frame.ids)
            for column, value in zip(into, row, strict=True):
                column.append(value)
        spans.append(span.found())
        notes += recording.notes
    channels = {}
    for stream, found in columns.items():
        symbol, kind = channel_of(stream)
        channels[EventChannel(kind, symbol)] = ChannelEvents.of(found)
    return HostRecording(name, channels, tuple(sorted(spans)), tuple(notes))


def in_common(events: Sequence[ChannelEvents]) -> list[ChannelEvents]:
    """The messages of a channel that all hosts received, row by row the same.

    Where hosts asked for event times in different units, all get the finest: an event happened
    once, and the coarser unit only cuts digits off.
    """
    shared = reduce(
        lambda one, other: np.intersect1d(one, other, assume_unique=True),
        (each.last for each in events),
    )
    parts = [each.at(np.searchsorted(each.last, shared)) for each in events]
    same = np.all([each.first == parts[0].first for each in parts], axis=0)
    rows = np.flatnonzero(same)
    parts = [each.at(rows) for each in parts]
    event_ns = np.max([each.event_ns for each in parts], axis=0)
    return [ChannelEvents(p.received_ns, event_ns, p.first, p.last) for p in parts]


def missed(events: Sequence[ChannelEvents]) -> list[tuple[Integers, Integers]]:
    """What each host missed of the messages that any host received.

    Returns:
        For each host the event times of those messages, Unix nanoseconds, by ascending id, and
        beside each how many messages the host did receive before it: neighbours with the same
        number were missed in a row.
    """
    everything = np.unique(np.concatenate([each.last for each in events]))
    event_ns = np.zeros(everything.size, dtype=np.int64)
    for each in events:
        event_ns[np.searchsorted(everything, each.last)] = each.event_ns
    found = []
    for each in events:
        absent = ~np.isin(everything, each.last, assume_unique=True)
        before = np.cumsum(~absent)
        found.append((event_ns[absent], before[absent].astype(np.int64)))
    return found
