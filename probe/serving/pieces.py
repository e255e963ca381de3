"""A body that is written piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp.payload import Payload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp.abc import AbstractStreamWriter


class Pieces(Payload):
    """A body of known size whose pieces are written one after the other.

    Written at once, megabytes would be copied and encrypted in one turn of the event loop. The
    next piece waits until the client has taken most of those before it.

    Args:
        pieces: the body; may be shared by many answers.
    """

    _autoclose = True  # there is nothing to close

    def __init__(self, pieces: Sequence[bytes]) -> None:
        super().__init__(pieces, content_type="application/octet-stream")
        self._pieces = pieces
        self._size = sum(map(len, pieces))

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The whole body as text."""
        return b"".join(self._pieces).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write all pieces."""
        for piece in self._pieces:
            await writer.write(piece)
