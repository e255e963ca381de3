"""Recordings of raw frames, one frame per line: what was received, and when.

A line is a receive time (see `receive_time`) and a message as it came: of a combined stream,
`{"stream":"btcusdt@trade","data":{...}}`, or of a raw one, `{"e":"trade",...}`, whose stream's name
has to be given. Lines that recorders write besides are skipped: snapshots of the book, answers to
subscriptions, headers, arrays of many symbols.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from latency_sweep.contract.compressed_lines import CompressedLines, UnreadableFileError
from latency_sweep.contract.receive_time import EXPECTED, START, receive_time_ns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NS_PER_US: Final = 1_000
NS_PER_MS: Final = 1_000_000
# No recorder's clock is that wrong; times in another unit or zone are.
MAX_LATENCY_NS: Final = 3_600_000_000_000
MAX_NUMBER: Final = 2**63 - 1
# Times inside frames: their unit by the number of digits, in nanoseconds.
TIME_UNITS_NS: Final = {13: NS_PER_MS, 16: NS_PER_US}
# Headers, requests and connects, as cryptofeed writes them; `wss://... <- 1.5: {...}` for instance.
_NO_FRAME: Final = re.compile(rb"configuration: |(?:wss?|https?)://\S+ (?:<-|->|<->) ")
_STREAM_OF_EVENT: Final = {"depthUpdate": "depth", "markPriceUpdate": "markPrice"}
# Which keys hold a message's first and last sequence id, by its event.
_ID_KEYS: Final = {
    "trade": ("t", "t"),
    "aggTrade": ("a", "a"),
    "depthUpdate": ("U", "u"),
    # Spot's best quote names no event.
    "bookTicker": ("u", "u"),
    "": ("u", "u"),
}


class UnusableRecordingError(Exception):
    """The recording cannot be used; the message names the file, the line and the fix."""


@dataclass(frozen=True, slots=True)
class ReceivedFrame:
    """One recorded message. Times are Unix nanoseconds.

    Attributes:
        received_ns: local receive time R.
        stream: full stream name, `btcusdt@depth@100ms`.
        ids: first and last sequence id; 0 if it has none.
        event_ns: event time E; None if it has none.
        trade_ns: trade time T, or 0.
        data: the payload as it came, without the wrapping of a combined stream.
    """

    received_ns: int
    stream: str
    ids: tuple[int, int]
    event_ns: int | None
    trade_ns: int
    data: bytes


class _Document(msgspec.Struct):
    """A combined message, or the keys of a raw one that say what it is."""

    stream: Any = None
    data: msgspec.Raw = msgspec.Raw(b"null")
    e: Any = None
    s: Any = None
    u: Any = None
    b: Any = None
    last_update_id: Any = msgspec.field(default=None, name="lastUpdateId")


class _Message(msgspec.Struct):
    e: Any = None
    E: Any = None
    T: Any = None
    t: Any = None
    a: Any = None
    u: Any = None
    U: Any = None


class Recording:
    """One file, read frame by frame.

    Attributes:
        path: of the file.
        notes: what was odd about it, a sentence each; known once all frames have been read.
    """

    def __init__(self, path: Path, streams: Sequence[str] = ()) -> None:
        """A recording, not read yet.

        Args:
            path: plain, gzip, bzip2, xz or Zstandard.
            streams: names of the streams whose raw messages it holds; those of others are skipped.
        """
        self.path = path
        self.notes: tuple[str, ...] = ()
        self._streams = {(*_symbol_and_kind(name),): name for name in streams}
        self._documents = msgspec.json.Decoder(_Document)
        self._messages = msgspec.json.Decoder(_Message)

    def __iter__(self) -> Iterator[ReceivedFrame]:
        """The frames in the order of the file.

        A last line without an end that cannot be read was cut off, and is dropped with a note.

        Raises:
            UnusableRecordingError: unreadable, a malformed line, or no frame at all.
        """
        lines, found, notes = CompressedLines(self.path), False, []
        try:
            for number, line in enumerate(lines, start=1):
                try:
                    frame = self._frame(line)
                except ValueError as error:
                    if not line.endswith(b"\n") and number > 1:
                        notes.append(f"{self.path}: line {number}, the last, was cut off.")
                        break
                    raise UnusableRecordingError(f"{self.path}, line {number}: {error}.") from error
                if frame is not None:
                    found = True
                    yield frame
        except UnreadableFileError as error:
            raise UnusableRecordingError(str(error)) from error
        if lines.cut_off:
            notes.append(f"{self.path}: its compressed data end in the middle of a block.")
        self.notes = tuple(notes)
        if not found:
            raise UnusableRecordingError(f"{self.path}: holds no recorded frame.")

    def _frame(self, line: bytes) -> ReceivedFrame | None:
        """The frame of a line; None if the line is no frame.

        Raises:
            ValueError: it is malformed; the message says how.
        """
        start = START.match(line)
        if start is None:
            if not line.strip() or _NO_FRAME.match(line):
                return None
            raise ValueError(EXPECTED)
        received_ns = receive_time_ns(start)
        text = line[start.end() :].strip()
        try:
            if not text.startswith(b"{"):
                if text.startswith(b"["):
                    msgspec.json.decode(text)
                    return None
                raise ValueError(EXPECTED)
            document = self._documents.decode(text)
            stream, data = self._stream(document), text
            if document.stream is not None:
                data = bytes(document.data)
            if stream is None or not data.startswith(b"{"):
                return None
            message = self._messages.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ValueError(f"not valid JSON: {error}") from error
        except RecursionError as error:
            raise ValueError("the JSON document is nested too deeply") from error
        return _received(received_ns, stream, message, data)

    def _stream(self, document: _Document) -> str | None:
        """The full name of a message's stream; None if the message is to be skipped.

        Raises:
            ValueError: it is a raw message, and no stream's name was given.
        """
        if document.stream is not None:
            return document.stream if isinstance(document.stream, str) else None
        event = document.e
        # Spot's best quotes and partial books name no event; the latter not even a symbol.
        quote = event is None and document.u is not None and isinstance(document.s, str)
        if not (isinstance(event, str) and isinstance(document.s, str)) and not quote:
            partial = [name for name in self._streams.values() if _is_partial_book(name)]
            known = document.last_update_id is not None and len(self._streams) == 1
            return partial[0] if known and partial else None
        kind = "bookTicker" if event is None else _STREAM_OF_EVENT.get(event, event)
        symbol = document.s.lower()
        if not self._streams:
            raise ValueError(
                "a message of a raw stream does not name its stream; name it with --stream, such"
                f" as {symbol}@{kind}{'@100ms' if kind == 'depth' else ''}"
            )
        return self._streams.get((symbol, kind)) or self._streams.get(("", kind))


def channel_of(stream: str) -> tuple[str, str]:
    """Symbol in upper case and stream of a full name: `BTCUSDT` and `depth@100ms`.

    Streams of all symbols, `!bookTicker` and `!miniTicker@arr`, belong to none.
    """
    symbol, at, rest = stream.partition("@")
    return (symbol.upper(), rest) if at and not stream.startswith("!") else ("", stream)


def _symbol_and_kind(name: str) -> tuple[str, str]:
    """`btcusdt` and `depth` of `btcusdt@depth@100ms`; no symbol in `!bookTicker`."""
    symbol, stream = channel_of(name)
    return symbol.lower(), stream.partition("@")[0].removeprefix("!")


def _is_partial_book(name: str) -> bool:
    return re.fullmatch(r"depth\d+", _symbol_and_kind(name)[1]) is not None


def _received(received_ns: int, stream: str, message: _Message, data: bytes) -> ReceivedFrame:
    event_ns = _time_ns(message.E)
    if event_ns is not None and abs(received_ns - event_ns) > MAX_LATENCY_NS:
        raise ValueError(
            f'the event time "E":{message.E} is not within an hour of the receive time: one of the'
            " two is in another unit or time zone"
        )
    trade_ns = _time_ns(message.T) or 0
    ids = _ids(message)
    if max(*ids, trade_ns) > MAX_NUMBER or min(*ids, trade_ns) < 0:
        raise ValueError("a sequence id or the trade time is negative or larger than 64 bits hold")
    return ReceivedFrame(received_ns, stream, ids, event_ns, trade_ns, data)


def _time_ns(value: Any) -> int | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    unit = TIME_UNITS_NS.get(len(str(value))) if 0 < value <= MAX_NUMBER else None
    if unit is None:
        raise ValueError(f"the time {value} is neither milliseconds nor microseconds since 1970")
    return value * unit


def _ids(message: _Message) -> tuple[int, int]:
    kind = "" if message.e is None else message.e
    keys = _ID_KEYS.get(kind) if isinstance(kind, str) else None
    if keys is None:
        return 0, 0
    first, last = (getattr(message, key) for key in keys)
    if isinstance(first, int) and isinstance(last, int):
        return first, last
    return 0, 0
