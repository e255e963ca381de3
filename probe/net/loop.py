"""The event loop: uvloop's, except that it never waits for a name.

A resolver that is out of reach answers after half a minute, and the system's call cannot be
cancelled. uvloop and asyncio wait for it when they are closed, so that a program which was told to
stop would go on until then.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import uvloop

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable


class Loop(uvloop.Loop):
    """An event loop that does not wait for unanswered lookups when it is closed."""

    async def getaddrinfo(
        self,
        host: str | bytes | None,
        port: str | bytes | int | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - as the standard library has it
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """As `socket.getaddrinfo`; asks in a thread unless the host is an address already."""
        with suppress(socket.gaierror):
            numeric = flags | socket.AI_NUMERICHOST
            return socket.getaddrinfo(host, port, family, type, proto, numeric)
        answer: Future[list[Any]] = self.create_future()

        def ask() -> None:
            try:
                found = socket.getaddrinfo(host, port, family, type, proto, flags)
            except Exception as error:  # noqa: BLE001 - passed on to the caller
                self._tell(answer, answer.set_exception, error)
            else:
                self._tell(answer, answer.set_result, found)

        # The interpreter does not wait for daemons when it ends.
        threading.Thread(target=ask, name="lookup", daemon=True).start()
        return await answer

    def _tell(
        self, answer: Future[list[Any]], resolve: Callable[[Any], None], what: object
    ) -> None:
        def tell() -> None:
            if not answer.done():
                resolve(what)

        with suppress(RuntimeError):  # the loop is closed
            self.call_soon_threadsafe(tell)
