"""Splits a WebSocket byte stream into frames: the hot path beside `websockets`' core.

Complete, unfragmented data messages are cut out here, at a small part of the core's cost per
message. Whatever is anything else (control frames, fragments, violations of the protocol) goes to
the core in whole frames and in order, so that it keeps the state of the connection. Layout of
frames: RFC 6455, section 5.2.
"""

from __future__ import annotations

import struct
from enum import Enum
from typing import Final, Protocol

_FIN_TEXT: Final = 0x81
_FIN_BINARY: Final = 0x82
_RESERVED_BITS: Final = 0x70
_MASKED: Final = 0x80
_SHORTEST_HEADER: Final = 2
_TWO_NUMBERS: Final = struct.Struct(">HH")  # opcode and length, and the length where it is longer
_LENGTH_IN_2_BYTES: Final = 126
_OPCODE: Final = 0x0F
_OPCODES: Final = frozenset({0x0, 0x1, 0x2, 0x8, 0x9, 0xA})


class Flow(Enum):
    """What may come next, as the core sees it."""

    MESSAGES = "messages"
    FRAGMENTS = "fragments"  # a fragmented message is under way: data frames are not whole
    ENDED = "ended"  # after a close frame or a violation nothing counts any more


class Sink(Protocol):
    """Takes what a splitter finds, in the order in which it came."""

    def on_messages(self, payloads: list[bytes], *, binary: bool) -> None:
        """Complete messages that came in one frame each, one or more of them."""

    def on_other(self, frame: bytes) -> Flow:
        """The bytes of another frame, or of everything after the flow has ended."""


class FrameSplitter:
    """Finds the frames in the bytes that a server sends.

    Args:
        sink: takes them.
        max_bytes: a longer frame is a violation, for the core to refuse; 65535 or more.
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

    def _split(self, data: bytes) -> int:
        """Deliver the frames in `data`; returns where the first incomplete one starts."""
        position = 0
        while True:
            start = position
            position = self._split_messages(data, position)
            position = self._split_one(data, position)
            if position == start or self._handed_over:
                return position

    def _split_messages(self, data: bytes, position: int) -> int:
        """Deliver the usual: complete messages below 64 KiB; returns where they end.

        The hot path: nothing in it is called for each frame but what cuts the frame out.
        """
        last_header = len(data) - _TWO_NUMBERS.size
        if self._fragmented or position > last_header:
            return position
        unpack = _TWO_NUMBERS.unpack_from
        opcode = data[position]
        if opcode not in (_FIN_TEXT, _FIN_BINARY):
            return position
        shortest = opcode << 8
        medium = shortest | _LENGTH_IN_2_BYTES
        payloads: list[bytes] = []
        append = payloads.append
        size = len(data)
        while True:
            begin, length = unpack(data, position)
            if begin == medium:
                start = position + 4
                end = start + length
            elif shortest <= begin < medium:
                start = position + 2
                end = start + begin - shortest
            else:
                break
            if end > size:
                break
            append(data[start:end])
            position = end
            if position > last_header:
                break
        if payloads:
            self._sink.on_messages(payloads, binary=opcode == _FIN_BINARY)
        return position

    def _split_one(self, data: bytes, position: int) -> int:
        """Deliver a frame of any kind; returns where it ends, or starts if it is not complete."""
        size = len(data)
        self._needed = _SHORTEST_HEADER
        if size - position < _SHORTEST_HEADER:
            return position
        first = data[position]
        length = data[position + 1]
        # Whatever the core refuses by the first two bytes; it says what is wrong.
        if first & _RESERVED_BITS or first & _OPCODE not in _OPCODES or length & _MASKED:
            self._handed_over = True
            return position
        start = position + 2
        if length >= _LENGTH_IN_2_BYTES:
            start += 2 if length == _LENGTH_IN_2_BYTES else 8
            if size < start:
                self._needed = start - position
                return position
            length = int.from_bytes(data[position + 2 : start], "big")
        if length > self._max_bytes:
            self._handed_over = True
            return position
        end = start + length
        if end > size:
            self._needed = end - position
            return position
        if not self._fragmented and first in (_FIN_TEXT, _FIN_BINARY):
            self._sink.on_messages([data[start:end]], binary=first == _FIN_BINARY)
        else:
            flow = self._sink.on_other(data[position:end])
            if flow is Flow.ENDED:
                self._handed_over = True
            self._fragmented = flow is Flow.FRAGMENTS
        return end
