"""Replay of recorded frames: the same bytes and the same latencies, moved to now.

A frame recorded at R with event time E is sent at R + shift with E + shift, so that an ideal
receiver measures R - E again, negative ones included. At speed 1 the shift is one constant; at
another speed each frame has its own, and when the machine pauses, it grows for all that follow (see
`pausing`). It is a whole number of milliseconds, so that it is exact in the digits of either unit.
Only the digits of `"E"` and `"T"` are edited; all other bytes stay.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from latency_sweep.contract.recorded_frames import (
    TIME_UNITS_NS,
    Recording,
    UnusableRecordingError,
)
from latency_sweep.lab.exchange.ground_truth.writer import NAME_BYTES
from latency_sweep.lab.exchange.markets.events import JsonEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from latency_sweep.contract.recorded_frames import ReceivedFrame
    from latency_sweep.lab.exchange.config import Replay

NS_PER_US: Final = 1_000
NS_PER_MS: Final = 1_000_000
NS_PER_SEC: Final = 1_000_000_000
# From the start to the first frame, so that it is not late.
LEAD_NS: Final = 200_000_000
# A quote inside a JSON string is escaped, so `"E":` can only be a key.
TIME_FIELD: Final = re.compile(rb'("[ET]"\s*:\s*)([0-9]{13}|[0-9]{16})(?=\s*[,}])')
# Frames of several connections may be written that far out of order.
MAX_DISORDER_NS: Final = NS_PER_SEC
# By how much all pauses of the machine together may delay a recording. Whoever measures it leaves
# that much time after its end.
MAX_PAUSES_NS: Final = NS_PER_SEC


class ReplayError(Exception):
    """The recording cannot be used; the message names the file, the line and the fix."""


@dataclass(frozen=True, slots=True)
class RecordedFrame:
    """One recorded message. Times are Unix nanoseconds of the recording.

    Attributes:
        received_ns: local receive timestamp R.
        stream: full stream name.
        ids: first and last sequence id, 0 if none.
        event_ns: event time E, or the receive time if there is none.
        trade_ns: trade time T, or 0.
        text: the payload around its times.
        times_ns: the times inside the payload.
    """

    received_ns: int
    stream: str
    ids: tuple[int, int]
    event_ns: int
    trade_ns: int
    text: tuple[bytes, ...]
    times_ns: tuple[int, ...]


def read_recording(
    path: Path, streams: Sequence[str] = (), limit: int | None = None
) -> list[RecordedFrame]:
    """Read a recording in any format that `Recording` knows, by ascending receive times.

    Recorders with several connections write frames a little out of order; those are sorted.

    Args:
        path: of the file.
        streams: full names of the streams whose raw messages it holds.
        limit: most frames to return.

    Raises:
        ReplayError: unreadable, a malformed line, no frame at all, or a clock that was set back.
    """
    try:
        frames = [_replayed(frame) for frame in islice(Recording(path, streams), limit)]
    except UnusableRecordingError as error:
        raise ReplayError(str(error)) from error
    except ValueError as error:
        raise ReplayError(f"{path}: {error}.") from error
    latest_ns = 0
    for frame in frames:
        back_ns = latest_ns - frame.received_ns
        if back_ns > MAX_DISORDER_NS:
            raise ReplayError(
                f"{path}: a receive time is {back_ns / NS_PER_SEC:.3f} s before an earlier line's: "
                "the recorder's clock was set back; cut the file there, or sort it."
            )
        latest_ns = max(latest_ns, frame.received_ns)
    return sorted(frames, key=lambda frame: frame.received_ns)


def _replayed(frame: ReceivedFrame) -> RecordedFrame:
    """A frame as it is kept for replay.

    Raises:
        ValueError: the stream's name is too long.
    """
    if len(frame.stream.encode()) > NAME_BYTES:
        raise ValueError(
            f"the stream's name {frame.stream[:20]}... is longer than {NAME_BYTES} bytes"
        )
    # split() yields text, key, digits, text, key, digits, ..., text
    pieces = TIME_FIELD.split(frame.data)
    return RecordedFrame(
        received_ns=frame.received_ns,
        stream=frame.stream,
        ids=frame.ids,
        event_ns=frame.received_ns if frame.event_ns is None else frame.event_ns,
        trade_ns=frame.trade_ns,
        text=(
            *(text + key for text, key in zip(pieces[0::3], pieces[1::3], strict=False)),
            pieces[-1],
        ),
        times_ns=tuple(int(digits) * TIME_UNITS_NS[len(digits)] for digits in pieces[2::3]),
    )


class ReplaySource:
    """Recorded frames as an `events.Source`; silent before its start and after its end."""

    def __init__(
        self, config: Replay, *, offset_ns: int, may_start: Callable[[], bool], now_ns: int
    ) -> None:
        """Read the recording.

        Args:
            config: what to replay, and how fast.
            offset_ns: error of the exchange's clock, added to every time that is sent.
            may_start: whether every site has a subscriber; asked until it is true, unless the
                configuration names a start.
            now_ns: Unix time.

        Raises:
            ReplayError: the file cannot be used, or the start has passed.
        """
        self._frames = read_recording(config.file, config.streams, config.limit)
        self._speed = config.speed
        self._offset_ns = offset_ns
        self._may_start = may_start
        self._start_ns: int | None = None
        self._position = 0
        if config.start_at is not None:
            self._start_ns = round(config.start_at * NS_PER_SEC)
            if self._start_ns < now_ns:
                raise ReplayError(f"replay.start_at {config.start_at:.3f} has already passed.")

    @property
    def total(self) -> int:
        """Number of frames to send."""
        return len(self._frames)

    @property
    def sent(self) -> int:
        """Number of frames sent so far."""
        return self._position

    def next_ns(self) -> int | None:
        """Unix nanoseconds of the next frame; None before the start is known and after the end."""
        if self._start_ns is None or self._position == len(self._frames):
            return None
        frame = self._frames[self._position]
        return frame.received_ns + self._shift_ns(frame, self._start_ns)

    def audience_changed(self, now_ns: int) -> None:
        """Start as soon as every site has a subscriber."""
        if self._start_ns is None and self._may_start():
            self._start_ns = now_ns + LEAD_NS

    def take_due(self, now_ns: int) -> list[JsonEvent]:
        """The frames due at `now_ns`, in order."""
        events: list[JsonEvent] = []
        while (due_ns := self.next_ns()) is not None and due_ns <= now_ns:
            frame = self._frames[self._position]
            events.append(self._event(frame, due_ns))
            self._position += 1
        return events

    def _shift_ns(self, frame: RecordedFrame, start_ns: int) -> int:
        first_ns = self._frames[0].received_ns
        elapsed_ns = round((frame.received_ns - first_ns) / self._speed)
        shift_ns = start_ns + elapsed_ns - frame.received_ns
        return shift_ns - shift_ns % NS_PER_MS

    def _event(self, frame: RecordedFrame, due_ns: int) -> JsonEvent:
        shift_ns = due_ns - frame.received_ns
        return JsonEvent(
            frame.stream,
            ids=frame.ids,
            event_ns=frame.event_ns + shift_ns,
            trade_ns=frame.trade_ns + shift_ns if frame.trade_ns else 0,
            depart_ns=due_ns,
            text=frame.text,
            times_ns=tuple(time_ns + shift_ns for time_ns in frame.times_ns),
            offset_ns=self._offset_ns,
        )
