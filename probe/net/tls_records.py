"""Where the records of a TLS stream end, from their headers alone (RFC 8446, section 5.1)."""

from __future__ import annotations

from typing import Final

_HEADER_SIZE: Final = 5


class TlsRecords:
    """Follows the records through the pieces in which a stream is read.

    A record can be decrypted once its last byte is there, so everything in it is received then.
    """

    __slots__ = ("_header", "_left")

    def __init__(self) -> None:
        self._header = bytearray()  # of a record whose length is not known yet
        self._left = 0  # bytes that complete the current record

    def last_start(self, data: bytes | memoryview) -> int:
        """Follow the next bytes of the stream.

        Args:
            data: those bytes.

        Returns:
            Where in them the record starts that ends with their last byte, 0 if it began before;
            -1 if they end within a record.
        """
        size = len(data)
        if not self._left and not self._header and size > _HEADER_SIZE:
            # What nearly every read is: one whole record.
            length = data[3] << 8 | data[4]
            if length == size - _HEADER_SIZE:
                return 0
        start = position = 0
        while position < size:
            start = position
            if not self._left:
                missing = _HEADER_SIZE - len(self._header)
                self._header += data[position : position + missing]
                position += missing
                if position > size:
                    return -1
                self._left = self._header[3] << 8 | self._header[4]
                self._header.clear()
            step = min(self._left, size - position)
            self._left -= step
            position += step
        return -1 if self._left or self._header else start
