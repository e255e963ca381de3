"""The size of a request's head, however its bytes are cut."""

from __future__ import annotations

from enum import Enum
from typing import Final

_END: Final = b"\r\n\r\n"


class HeadState(Enum):
    """What is known of a head so far."""

    INCOMPLETE = "incomplete"
    COMPLETE = "complete"
    LINE_TOO_LONG = "line too long"
    TOO_LARGE = "too large"


class RequestHead:
    """Measures one request's head.

    Args:
        max_line: longest request line in bytes, its line break not counted.
        max_head: most bytes of request line and headers together.

    Attributes:
        rest: what came beyond the head's end.
    """

    def __init__(self, max_line: int, max_head: int) -> None:
        self._max_line = max_line
        self._max_head = max_head
        self._size = 0
        self._line_ended = False
        self._tail = b""
        self.rest = b""

    @property
    def empty(self) -> bool:
        """Whether nothing of it has come yet."""
        return not self._size

    def feed(self, data: bytes) -> HeadState:
        """Take the next bytes of the connection, which may go on beyond the head."""
        window = self._tail + data
        end = window.find(_END)
        size = self._size - len(self._tail) + (len(window) if end < 0 else end + len(_END))
        if not self._line_ended:
            line_end = window.find(b"\n")
            self._line_ended = line_end >= 0
            line = self._size - len(self._tail) + (line_end if line_end >= 0 else len(window))
            if line > self._max_line + 1:
                return HeadState.LINE_TOO_LONG
        if size > self._max_head:
            return HeadState.TOO_LARGE
        if end >= 0:
            self.rest = window[end + len(_END) :]
            return HeadState.COMPLETE
        self._size += len(data)
        self._tail = window[-(len(_END) - 1) :]
        return HeadState.INCOMPLETE
