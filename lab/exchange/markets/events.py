"""A message of the exchange before it is a frame: identity, times, and how to write it down."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from websockets.frames import Frame, Opcode

if TYPE_CHECKING:
    from collections.abc import Sequence


class TimeUnit(Enum):
    """Unit of every time in a message, as the URL asks for it; the value is in nanoseconds."""

    MILLISECOND = 1_000_000
    MICROSECOND = 1_000


class MarketEvent(ABC):
    """One message of one stream, the same for every site.

    Attributes:
        stream: full stream name, `btcusdt@depth@100ms`.
        kind: the part after `@`, up to the next one: `depth`.
        first_id: first sequence id of the message, 0 if it has none.
        last_id: last sequence id of the message, 0 if it has none.
        event_ns: event time E on the true time line, Unix nanoseconds.
        trade_ns: trade time T likewise, 0 if the message has none.
        depart_ns: when it leaves the exchange; E, except for a recorded message.
    """

    __slots__ = ("depart_ns", "event_ns", "first_id", "kind", "last_id", "stream", "trade_ns")

    def __init__(
        self,
        stream: str,
        *,
        ids: tuple[int, int] = (0, 0),
        event_ns: int,
        trade_ns: int = 0,
        depart_ns: int | None = None,
    ) -> None:
        """A message of a stream.

        Args:
            stream: full stream name.
            ids: first and last sequence id.
            event_ns: event time on the true time line.
            trade_ns: trade time likewise, or 0.
            depart_ns: when it leaves the exchange; `event_ns` if None.
        """
        self.stream = stream
        self.kind = stream_kind(stream)
        self.first_id, self.last_id = ids
        self.event_ns = event_ns
        self.trade_ns = trade_ns
        self.depart_ns = event_ns if depart_ns is None else depart_ns

    def postpone(self, delay_ns: int) -> None:
        """Delay the event; only before its first frame is made."""
        self.event_ns += delay_ns
        self.depart_ns += delay_ns
        self.trade_ns += delay_ns if self.trade_ns else 0

    @abstractmethod
    def frame(self, unit: TimeUnit, *, combined: bool) -> bytes:
        """The complete WebSocket frame, made once and shared by all connections.

        Args:
            unit: unit of its times, where the format leaves a choice.
            combined: whether to wrap it with its stream's name, where the format does so.
        """


class JsonEvent(MarketEvent):
    """A message in JSON.

    The payload is `text[0] time[0] text[1] time[1] ... text[n]`, so that the times can be written
    in either unit and nothing else changes.
    """

    __slots__ = ("_frames", "_offset_ns", "_text", "_times_ns")

    def __init__(
        self,
        stream: str,
        *,
        ids: tuple[int, int] = (0, 0),
        event_ns: int,
        trade_ns: int = 0,
        depart_ns: int | None = None,
        text: tuple[bytes, ...],
        times_ns: tuple[int, ...] = (),
        offset_ns: int = 0,
    ) -> None:
        """A message with `len(times_ns) + 1` pieces of text; see `MarketEvent` for the others.

        Args:
            stream: full stream name.
            ids: first and last sequence id.
            event_ns: event time on the true time line.
            trade_ns: trade time likewise, or 0.
            depart_ns: when it leaves the exchange; `event_ns` if None.
            text: the payload around the times.
            times_ns: the times inside the payload, Unix nanoseconds.
            offset_ns: error of the exchange's clock, added to every time that is written.
        """
        super().__init__(stream, ids=ids, event_ns=event_ns, trade_ns=trade_ns, depart_ns=depart_ns)
        self._text = text
        self._times_ns = times_ns
        self._offset_ns = offset_ns
        self._frames: dict[tuple[TimeUnit, bool], bytes] = {}

    def postpone(self, delay_ns: int) -> None:
        """See `MarketEvent.postpone`; the times inside the payload move too."""
        super().postpone(delay_ns)
        self._times_ns = tuple(time_ns + delay_ns for time_ns in self._times_ns)

    def payload(self, unit: TimeUnit) -> bytes:
        """The bare JSON document of the raw streams."""
        pieces = [self._text[0]]
        for time_ns, after in zip(self._times_ns, self._text[1:], strict=True):
            pieces.append(b"%d" % ((time_ns + self._offset_ns) // unit.value))
            pieces.append(after)
        return b"".join(pieces)

    def frame(self, unit: TimeUnit, *, combined: bool) -> bytes:
        """See `MarketEvent.frame`."""
        key = unit, combined
        frame = self._frames.get(key)
        if frame is None:
            payload = self.payload(unit)
            frame = self._frames[key] = text_frame(
                b'{"stream":"%b","data":%b}' % (self.stream.encode(), payload)
                if combined
                else payload
            )
        return frame


class EventSource(Protocol):
    """Where events come from: the generated market or a recording."""

    def next_ns(self) -> int | None:
        """Unix nanoseconds of the next event, or None while there is none to wait for."""
        ...

    def take_due(self, now_ns: int) -> Sequence[MarketEvent]:
        """The events due at `now_ns`, in order of time."""
        ...


def text_frame(payload: bytes) -> bytes:
    """A complete unmasked WebSocket text frame."""
    return Frame(Opcode.TEXT, payload).serialize(mask=False)


def binary_frame(payload: bytes) -> bytes:
    """A complete unmasked WebSocket binary frame."""
    return Frame(Opcode.BINARY, payload).serialize(mask=False)


def stream_kind(stream: str) -> str:
    """`depth` of `btcusdt@depth@100ms`; the whole name if there is no `@`."""
    parts = stream.split("@", 2)
    return parts[1] if len(parts) > 1 else stream
