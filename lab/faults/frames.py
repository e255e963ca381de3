"""A WebSocket byte stream in whole frames, and frames as no server should send them.

Layout of frames: RFC 6455, section 5.2.
"""

from __future__ import annotations

from typing import Final

from websockets.frames import Frame, Opcode

END_OF_HEADERS: Final = b"\r\n\r\n"
_MASK: Final = b"\x11\x22\x33\x44"
_SHORTEST_HEADER: Final = 2
_LENGTH_IN_2_BYTES: Final = 126
_LENGTH_IN_8_BYTES: Final = 127
_CONTROL: Final = 0x08
_OPCODE: Final = 0x0F
_MASKED: Final = 0x80


class FrameCutter:
    """Cuts what a well-behaved peer sends into its HTTP head, without a body, and whole frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._upgraded = False

    def feed(self, data: bytes) -> tuple[bytes, list[bytes]]:
        """Take bytes as they come.

        Returns:
            The HTTP head if it just became complete, else nothing; and the complete frames.
        """
        self._buffer += data
        head = b""
        if not self._upgraded:
            end = self._buffer.find(END_OF_HEADERS)
            if end < 0:
                return b"", []
            cut = end + len(END_OF_HEADERS)
            head = bytes(self._buffer[:cut])
            del self._buffer[:cut]
            self._upgraded = True
        return head, self._frames()

    def _frames(self) -> list[bytes]:
        buffer = self._buffer
        frames: list[bytes] = []
        position = 0
        while (end := _end_of_frame(buffer, position)) is not None and end <= len(buffer):
            frames.append(bytes(buffer[position:end]))
            position = end
        del buffer[:position]
        return frames


def _end_of_frame(buffer: bytearray, start: int) -> int | None:
    """Where a frame ends, or None while the length in its header is incomplete."""
    body = start + _SHORTEST_HEADER
    if len(buffer) < body:
        return None
    length = buffer[start + 1] & ~_MASKED
    if length >= _LENGTH_IN_2_BYTES:
        more = 2 if length == _LENGTH_IN_2_BYTES else 8
        if len(buffer) < body + more:
            return None
        length = int.from_bytes(buffer[body : body + more], "big")
        body += more
    if buffer[start + 1] & _MASKED:
        body += len(_MASK)
    return body + length


def is_data(frame: bytes) -> bool:
    """Whether a frame carries data; the others are pings, pongs and the close frame."""
    return not frame[0] & _CONTROL


def is_ping(frame: bytes) -> bool:
    """Whether a frame is a ping."""
    return frame[0] & _OPCODE == Opcode.PING


def is_close(frame: bytes) -> bool:
    """Whether a frame is a close frame."""
    return frame[0] & _OPCODE == Opcode.CLOSE


def payload(frame: bytes) -> bytes:
    """The payload of an unmasked frame."""
    length = frame[1]
    if length == _LENGTH_IN_2_BYTES:
        return frame[4:]
    return frame[10:] if length == _LENGTH_IN_8_BYTES else frame[2:]


def text(data: bytes) -> bytes:
    """An unmasked text frame."""
    return Frame(Opcode.TEXT, data).serialize(mask=False)


def in_fragments(frame: bytes, pieces: int) -> bytes:
    """The message of a text frame in fragments, with a ping between any two of them."""
    data = payload(frame)
    size = len(data) // pieces + 1
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    out = []
    for number, part in enumerate(parts):
        opcode = Opcode.CONT if number else Opcode.TEXT
        if number:
            out.append(Frame(Opcode.PING, b"between").serialize(mask=False))
        out.append(Frame(opcode, part, fin=number == len(parts) - 1).serialize(mask=False))
    return b"".join(out)


def masked(frame: bytes) -> bytes:
    """The frame as only a client may send it."""
    data = payload(frame)
    header = bytearray(frame[: len(frame) - len(data)])
    header[1] |= _MASKED
    return bytes(header) + _MASK + bytes(b ^ _MASK[i % 4] for i, b in enumerate(data))


def oversize(size: int) -> bytes:
    """The beginning of a text frame that announces this many bytes."""
    return b"\x81\x7f" + size.to_bytes(8, "big") + b"{" * 1024


def with_bad_utf8(frame: bytes) -> bytes:
    """The frame with a byte in its text that no UTF-8 text contains."""
    data = bytearray(payload(frame))
    data[len(data) // 2] = 0xFF
    return frame[: len(frame) - len(data)] + bytes(data)


def ping_flood(count: int) -> bytes:
    """So many empty pings."""
    return Frame(Opcode.PING, b"").serialize(mask=False) * count


def continuation_flood(count: int) -> bytes:
    """The beginning of a message, and so many empty continuations of it."""
    begin = Frame(Opcode.TEXT, b"", fin=False).serialize(mask=False)
    return begin + Frame(Opcode.CONT, b"", fin=False).serialize(mask=False) * count


def message_flood(count: int) -> bytes:
    """So many empty messages."""
    return Frame(Opcode.TEXT, b"").serialize(mask=False) * count


def close(code: int | None) -> bytes:
    """A close frame with any code, a forbidden one too, or without one."""
    body = b"" if code is None else code.to_bytes(2, "big") + b"fault laboratory"
    return bytes([0x88, len(body)]) + body
