"""Splits a WebSocket byte stream into frames: the hot path beside `websockets`' core.

Complete, unfragmented data messages are cut out here, at a small part of the core's cost per
message. Whatever is anything else (control frames, fragments, violations of the protocol) goes to
the core in whole frames and in order, so that it keeps the state of the connection. Layout of
frames: RFC 6455, section 5.2.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Protocol

_FIN_TEXT: Final = 0x81
_FIN_BINARY: Final = 0x82
_RESERVED_BITS: Final = 0x70
_MASKED: Final = 0x80
_SHORTEST_HEADER: Final = 2
_LENGTH_IN_2_BYTES: Final = 126
_LENGTH_IN_8_BYTES: Final = 127


class Flow(Enum):
    """What may come next, as the core sees it."""

    MESSAGES = "messages"
    FRAGMENTS = "fragments"  # a fragmented message is under way: data frames are not whole
    ENDED = "ended"  # after a close frame or a violation nothing counts any more


class Sink(Protocol):
    """Takes what a splitter finds, in the order in which it came."""

    def on_data(self, payload: bytes, *, binary: bool) -> None:
        """A complete message that came in one frame."""

    def on_other(self, frame: bytes) -> Flow:
        """The bytes of another frame, or of everything after the flow has ended."""


class FrameSplitter:
    """Finds the frames in the bytes that a server sends.

    Args:
        sink: takes them.
        max_bytes: a longer frame is a violation, for the core to refuse.
    """

    __slots__ = ("_buffer", "_fragmented", "_handed_over", "_max_bytes", "_needed", "_sink")

    def __init__(self, sink: Sink, max_bytes: int) -> None:
        self._sink = sink
        self._max_bytes = max_bytes
        self._buffer = bytearray()  # the beginning of a frame that is not complete yet
        self._needed = _SHORTEST_HEADER  # bytes without which looking at it is in vain
        self._fragmented = False
        self._handed_over = False

    def feed(self, data: bytes) -> None:
        """Take bytes as they come, cut anywhere."""
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return
            data = bytes(self._buffer)
            self._buffer.clear()
        position = 0 if self._handed_over else self._split(data)
        if self._handed_over:
            self._sink.on_other(data[position:])
        elif position < len(data):
            self._buffer += data[position:]

    def _split(self, data: bytes) -> int:  # noqa: C901 - the hot path: one loop without calls
        """Deliver the frames in `data`; returns where the first incomplete one starts."""
        sink = self._sink
        position, size = 0, len(data)
        self._needed = _SHORTEST_HEADER
        while size - position >= _SHORTEST_HEADER:
            first = data[position]
            length = data[position + 1]
            start = position + 2
            if length >= _LENGTH_IN_2_BYTES:
                if length == _LENGTH_IN_2_BYTES:
                    start += 2
                elif length == _LENGTH_IN_8_BYTES:
                    start += 8
                if length > _LENGTH_IN_8_BYTES or size < start:
                    if length & _MASKED:  # a server must not mask
                        self._handed_over = True
                    else:
                        self._needed = start - position
                    return position
                length = int.from_bytes(data[position + 2 : start], "big")
            if first & _RESERVED_BITS or length > self._max_bytes:
                self._handed_over = True
                return position
            end = start + length
            if end > size:
                self._needed = end - position
                return position
            if not self._fragmented and first in (_FIN_TEXT, _FIN_BINARY):
                sink.on_data(data[start:end], binary=first == _FIN_BINARY)
            else:
                flow = sink.on_other(data[position:end])
                if flow is Flow.ENDED:
                    self._handed_over = True
                    return end
                self._fragmented = flow is Flow.FRAGMENTS
            position = end
        return position
