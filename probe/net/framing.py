"""Splits a WebSocket byte stream into frames: the hot path beside `websockets`' core.

Complete, unfragmented data messages are cut out here, at a small part of the core's cost per
message. Every other frame (control frames, fragments, violations of the protocol) is for the core,
which keeps the state of the connection. Bytes in, frames out: nothing is called back, and who asks
knows which read the frames are from. Layout of frames: RFC 6455, section 5.2.
"""

from __future__ import annotations

import struct
from enum import Enum
from typing import Final

_FIN: Final = 0x80
_FIN_TEXT: Final = 0x81
_FIN_BINARY: Final = 0x82
_RESERVED_BITS: Final = 0x70
_MASKED: Final = 0x80
_SHORTEST_HEADER: Final = 2
_TWO_NUMBERS: Final = struct.Struct(">HH")  # opcode and length, and the length where it is longer
_LENGTH_IN_2_BYTES: Final = 126
_OPCODE: Final = 0x0F
_CONTINUATION: Final = 0x0
_CLOSE: Final = 0x8
_OPCODES: Final = frozenset({_CONTINUATION, 0x1, 0x2, _CLOSE, 0x9, 0xA})
_DATA_OPCODES: Final = frozenset({_CONTINUATION, 0x1, 0x2})


class Kind(Enum):
    """What a list of bytes from the splitter holds."""

    TEXT = "text"  # payloads of complete text messages, one or more
    BINARY = "binary"  # the same of binary messages
    OTHER = "other"  # one whole frame for the core, or all that follows the end of the flow


Frames = tuple[Kind, list[bytes]]


class FrameSplitter:
    """Finds the frames in the bytes that a server sends.

    After a close frame, or a frame that the core must refuse, everything is `OTHER`.

    Args:
        max_bytes: a longer frame is a violation, for the core to refuse; 65535 or more.
    """

    __slots__ = ("_buffer", "_ended", "_fragmented", "_max_bytes", "_needed")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()  # the beginning of a frame that is not complete yet
        self._needed = _SHORTEST_HEADER  # bytes below which there is no frame in the buffer
        self._fragmented = False  # between the first and the last frame of a message
        self._ended = False

    def split(self, data: bytes) -> list[Frames]:
        """The frames that are complete with these bytes, in order; the bytes may be cut anywhere.

        The core decides what a frame means: once it has seen the end of the connection, what
        follows in the list does not count.
        """
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return []
            data = bytes(self._buffer)
            self._buffer.clear()
        found: list[Frames] = []
        position, size = 0, len(data)
        while position < size and not self._ended:
            start = position
            position = self._split_messages(data, position, found)
            if position < size:
                position = self._split_one(data, position, found)
            if position == start:
                break
        if position < size:
            if self._ended:
                found.append((Kind.OTHER, [data[position:]]))
            else:
                self._buffer += data[position:]
        return found

    def _split_messages(self, data: bytes, position: int, found: list[Frames]) -> int:
        """Cut out the usual: complete messages below 64 KiB; returns where they end.

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
            found.append((Kind.TEXT if opcode == _FIN_TEXT else Kind.BINARY, payloads))
        return position

    def _split_one(self, data: bytes, position: int, found: list[Frames]) -> int:
        """Cut out a frame of any kind; returns where it ends, or starts if it is not complete."""
        payload_at, end = self._extent(data, position)
        if not end:
            return position
        first = data[position]
        if not self._fragmented and first in (_FIN_TEXT, _FIN_BINARY):
            kind = Kind.TEXT if first == _FIN_TEXT else Kind.BINARY
            found.append((kind, [data[payload_at:end]]))
            return end
        found.append((Kind.OTHER, [data[position:end]]))
        opcode = first & _OPCODE
        if opcode in _DATA_OPCODES:
            self._fragmented = not first & _FIN
        self._ended = opcode == _CLOSE
        return end

    def _extent(self, data: bytes, position: int) -> tuple[int, int]:
        """Where the payload of a frame starts and ends; 0 and 0 if it is incomplete or refused."""
        available = len(data) - position
        self._needed = _SHORTEST_HEADER
        if available < _SHORTEST_HEADER:
            return 0, 0
        first, length = data[position], data[position + 1]
        # What the core refuses by the first two bytes; it says what is wrong.
        if first & _RESERVED_BITS or first & _OPCODE not in _OPCODES or length & _MASKED:
            self._ended = True
            return 0, 0
        header = _SHORTEST_HEADER
        if length >= _LENGTH_IN_2_BYTES:
            header += 2 if length == _LENGTH_IN_2_BYTES else 8
            if available < header:
                self._needed = header
                return 0, 0
            length = int.from_bytes(data[position + 2 : position + header], "big")
        if length > self._max_bytes:
            self._ended = True
            return 0, 0
        self._needed = header + length
        if available < self._needed:
            return 0, 0
        return position + header, position + self._needed
