"""HTTP answers that end, whatever the server does: within a time and within a size.

The timeouts of `requests` bound each wait for bytes, so that a server which sends one now and then
is never cut off, and `Response.content` holds whatever comes. Here the time bounds the whole
answer, from its status line on, and the size both what is received and what it is unpacked to.
"""

from __future__ import annotations

import io
import time
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any, Final

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    import requests

# Far above any answer that the queries of this program get: 11,000 points of 1,000 series.
MAX_ANSWER_BYTES: Final = 512 * 1024 * 1024
_CHUNK_BYTES: Final = 64 * 1024


class TooLargeError(Exception):
    """The answer is larger than the limit; the rest of it was not read."""


class BoundedAdapter(HTTPAdapter):
    """Bounds every answer by the read timeout of its request, and by the size limit."""

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,
        verify: bool | str | None,  # noqa: FBT001 - the base class's
        proxies: Mapping[str, str] | None = None,
        cert: tuple[str, str] | str | None = None,
    ) -> HTTPConnectionPool:
        """As in the base class; the connections of the pool bound their answers."""
        pool = super().get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
        assert isinstance(pool, HTTPConnectionPool)
        if pool.ConnectionCls is HTTPConnection:
            pool.ConnectionCls = _PlainConnection
        elif pool.ConnectionCls is HTTPSConnection:
            pool.ConnectionCls = _TlsConnection
        return pool


def read(answer: requests.Response) -> bytes:
    """The body of an answer that was requested with `stream=True`, unpacked.

    Raises:
        TooLargeError: it is larger than the limit.
        requests.RequestException: as `Response.iter_content`.
    """
    body = bytearray()
    with answer:
        for chunk in answer.iter_content(_CHUNK_BYTES):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise TooLargeError
    return bytes(body)


class _BoundedReader(io.RawIOBase):
    """The bytes of one answer; the timeout of the socket is that of the whole answer."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._sock = sock
        self._timeout_sec = sock.gettimeout()
        self._ends_at = time.monotonic() + (self._timeout_sec or 0.0)
        self._left = MAX_ANSWER_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._left <= 0:
            raise TooLargeError
        if self._timeout_sec is None:
            count = self._raw.readinto(buffer)
        else:
            left_sec = self._ends_at - time.monotonic()
            if left_sec <= 0:
                raise TimeoutError
            self._sock.settimeout(left_sec)
            try:
                count = self._raw.readinto(buffer)
            finally:
                self._sock.settimeout(self._timeout_sec)
        self._left -= count or 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundedResponse(HTTPResponse):
    """Reads from the connection within the limits."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        # Nothing was read ahead yet.
        self.fp = io.BufferedReader(_BoundedReader(self.fp.detach(), sock))


class _PlainConnection(HTTPConnection):
    response_class = _BoundedResponse


class _TlsConnection(HTTPSConnection):
    response_class = _BoundedResponse
