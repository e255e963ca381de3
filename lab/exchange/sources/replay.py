"""Replay of recorded frames: the same bytes and the same latencies, moved to now.

A frame recorded at R with event time E is sent at R + shift with E + shift, so that an ideal
receiver measures R - E again, negative ones included. At speed 1 the shift is one constant; at
another speed each frame has its own, and when the machine pauses, it grows for all that follow (see
`pausing`). It is a whole number of milliseconds, so that it is exact in the digits of either unit.
Only the digits of `"E"` and `"T"` are edited; all other bytes stay.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from latency_sweep.lab.exchange.ground_truth.writer import NAME_BYTES
from latency_sweep.lab.exchange.markets.events import JsonEvent, TimeUnit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from latency_sweep.lab.exchange.config import Replay

NS_PER_US: Final = 1_000
NS_PER_MS: Final = 1_000_000
NS_PER_SEC: Final = 1_000_000_000
# From the start to the first frame, so that it is not late.
LEAD_NS: Final = 200_000_000
GZIP_MAGIC: Final = b"\x1f\x8b"
LINE: Final = re.compile(rb"([0-9]{16}) (\{.*\})\s*")
COMBINED: Final = re.compile(rb'\{"stream":"([^"\\]+)","data":(\{.*\})\}')
# A quote inside a JSON string is escaped, so `"E":` can only be a key.
TIME_FIELD: Final = re.compile(rb'("[ET]":)([0-9]{13,19})(?=[,}])')
# No recorder's clock is that wrong; times in another unit are.
MAX_LATENCY_NS: Final = 3_600 * NS_PER_SEC
MAX_NUMBER: Final = 2**63 - 1
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
        event_ns: event time E, or the receive timestamp if there is none.
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


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a recording, plain or gzip.

    Raises:
        ReplayError: it cannot be read, or the archive is damaged.
    """
    try:
        with path.open("rb") as start:
            compressed = start.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        with gzip.open(path) if compressed else path.open("rb") as lines:
            yield from lines
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ReplayError(f"{path}: cannot be read: {reason}.") from error


def read_recording(path: Path, unit: TimeUnit, limit: int | None = None) -> list[RecordedFrame]:
    """Read lines of `<receive timestamp, 16 digits of Unix µs> <raw combined frame>`.

    Skipped are lines whose document has no `stream` (REST snapshots), and frames whose data is a
    list (`!miniTicker@arr`): those are messages of many symbols with a time each.

    Args:
        path: plain text or gzip.
        unit: unit of the times inside the frames.
        limit: most frames to return.

    Raises:
        ReplayError: unreadable, a malformed line, or no frame at all.
    """
    frames = list(islice(_frames(path, unit), limit))
    if not frames:
        raise ReplayError(f"{path}: holds no recorded frame.")
    return frames


def _frames(path: Path, unit: TimeUnit) -> Iterator[RecordedFrame]:
    previous_ns = 0
    for number, line in enumerate(lines_of(path), start=1):
        try:
            frame = _parse(line, unit)
        except ValueError as error:
            raise ReplayError(f"{path}, line {number}: {error}.") from error
        if frame is None:
            continue
        if frame.received_ns < previous_ns:
            raise ReplayError(f"{path}, line {number}: the receive timestamp steps back; sort it.")
        previous_ns = frame.received_ns
        yield frame


def _parse(line: bytes, unit: TimeUnit) -> RecordedFrame | None:
    match = LINE.fullmatch(line)
    if match is None:
        raise ValueError("expected 16 digits of microseconds, a space and a JSON document")
    try:
        document = json.loads(match[2])
    except ValueError as error:
        raise ValueError(f"not valid JSON: {error}") from error
    except RecursionError as error:
        raise ValueError("the JSON document is nested too deeply") from error
    if "stream" not in document or isinstance(document.get("data"), list):
        return None
    combined = COMBINED.fullmatch(match[2])
    if combined is None:
        raise ValueError('expected {"stream":"...","data":{...}} without spaces between')
    if len(combined[1]) > NAME_BYTES:
        raise ValueError(f"the stream's name is longer than {NAME_BYTES} bytes")
    data: dict[str, Any] = document["data"]
    received_ns = int(match[1]) * NS_PER_US
    event_ns = _time_ns(data, "E", unit) or received_ns
    if abs(received_ns - event_ns) > MAX_LATENCY_NS:
        raise ValueError(
            f'the event time "E":{data["E"]} is no {unit.name.lower()}s '
            "within an hour of the receive timestamp"
        )
    ids, trade_ns = _ids(data), _time_ns(data, "T", unit)
    if max(*ids, trade_ns) > MAX_NUMBER or min(*ids, trade_ns) < 0:
        raise ValueError("a sequence id or the trade time is negative or larger than 64 bits hold")
    pieces = TIME_FIELD.split(combined[2])
    # split() yields text, key, digits, text, key, digits, ..., text
    return RecordedFrame(
        received_ns=received_ns,
        stream=combined[1].decode(),
        ids=ids,
        event_ns=event_ns,
        trade_ns=trade_ns,
        text=(
            *(text + key for text, key in zip(pieces[0::3], pieces[1::3], strict=False)),
            pieces[-1],
        ),
        times_ns=tuple(int(digits) * unit.value for digits in pieces[2::3]),
    )


def _time_ns(data: dict[str, Any], key: str, unit: TimeUnit) -> int:
    value = data.get(key)
    return value * unit.value if isinstance(value, int) else 0


def _ids(data: dict[str, Any]) -> tuple[int, int]:
    kind = data.get("e")
    first_key, last_key = {
        "trade": ("t", "t"),
        "aggTrade": ("a", "a"),
        "depthUpdate": ("U", "u"),
        # Spot's best quote names no event.
        "bookTicker": ("u", "u"),
        None: ("u", "u"),
    }.get(kind if kind is None or isinstance(kind, str) else "", ("", ""))
    first, last = data.get(first_key), data.get(last_key)
    if isinstance(first, int) and isinstance(last, int):
        return first, last
    return 0, 0


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
        unit = TimeUnit[config.time_unit]
        self._frames = read_recording(config.file, unit, config.limit)
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
