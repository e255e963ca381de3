"""Asking the exchange's time endpoint over HTTP, within what the exchange allows an address.

Binance counts requests by weight per address and minute (6,000 for spot, 2,400 for USD-M; this
endpoint weighs 1), says in every answer how much is used, answers 429 beyond it, and 418 with a
ban of two minutes to three days to those who go on. Whoever else trades from this address needs
that weight more than an estimate of the clock does.

Whatever answers, one request ends within a time and reads a bounded number of bytes: the body, the
informational answers (1xx) before it and the pause that it asks for have limits of their own.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler

from latency_sweep.contract.metrics import ErrorKind
from latency_sweep.probe.clock.exchange import TimeEndpointError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from aiohttp.connector import Connection

TIMEOUT_SEC: Final = 5.0
# Of headers and body. The time takes a few hundred, an error's page a few thousand.
MAX_ANSWER_BYTES: Final = 64 * 1024
MAX_INFORMATIONAL: Final = 8
# The longest ban of the exchange; whoever asks for more is not believed.
MAX_BAN_SEC: Final = 3 * 86_400.0
MAX_PAUSE_SEC: Final = 3_600.0
# Half of the smallest of the limits: beyond it the rest of the minute is left to others.
MOST_WEIGHT: Final = 1_200
_MINUTE_SEC: Final = 60.0
_HEADERS: Final = {"X-MBX-TIME-UNIT": "MICROSECOND", "Accept-Encoding": "identity"}
_WEIGHT: Final = "X-MBX-USED-WEIGHT-1M"
_OK: Final = 200
_BANNED: Final = 418
# Where an answer does not say how long: to the end of the minute, and the shortest ban.
_PAUSES_SEC: Final = {_BANNED: 120.0, 429: _MINUTE_SEC}


class _LimitError(aiohttp.ClientError):
    """An answer beyond a limit, and the kind it is counted under."""

    def __init__(self, kind: ErrorKind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class _Protocol(ResponseHandler):
    """Gives the library a bounded part of each answer, and closes the connection beyond it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._answer_bytes = 0

    def begin(self) -> None:
        """The bytes that come from now on are of another answer."""
        self._answer_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Pass on what is within the limit; see the base class."""
        left = MAX_ANSWER_BYTES - self._answer_bytes
        self._answer_bytes += len(data)
        if left > 0:
            super().data_received(data[:left])
        if self._answer_bytes > MAX_ANSWER_BYTES and self.transport is not None:
            self.transport.close()

    def check(self) -> None:
        """Raise `_LimitError` if the connection was closed because of the limit."""
        if self._answer_bytes > MAX_ANSWER_BYTES:
            detail = f"the answer is larger than {MAX_ANSWER_BYTES} bytes"
            raise _LimitError(ErrorKind.TIME_ENDPOINT_SIZE, detail)


class _Response(aiohttp.ClientResponse):
    """Reads a bounded number of informational answers; the library reads any number."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Read up to the end of the headers; see the base class."""
        protocol = connection.protocol
        assert isinstance(protocol, _Protocol)
        self._bounded = protocol
        protocol.begin()
        read_any, heads = protocol.read, 0

        async def read() -> Any:
            nonlocal heads
            heads += 1
            if heads > MAX_INFORMATIONAL + 1:
                detail = f"more than {MAX_INFORMATIONAL} informational answers came before it"
                raise _LimitError(ErrorKind.TIME_ENDPOINT_INFORMATIONAL, detail)
            return await read_any()

        protocol.read = read  # type: ignore[method-assign]
        try:
            return await super().start(connection)
        except _LimitError:
            raise
        except aiohttp.ClientError:
            protocol.check()
            raise
        finally:
            protocol.read = read_any  # type: ignore[method-assign]

    async def read(self) -> bytes:
        """The body, as it was sent; see the base class."""
        try:
            body = await super().read()
        except aiohttp.ClientError:
            self._bounded.check()
            raise
        self._bounded.check()  # where the end of the connection is that of the body
        return body


class _Connector(aiohttp.TCPConnector):
    def __init__(self, tls: ssl.SSLContext | None) -> None:
        super().__init__(ssl=True if tls is None else tls)
        # The library has no public way to choose it.
        self._factory = partial(_Protocol, loop=asyncio.get_running_loop())  # type: ignore[assignment]


def session(tls: ssl.SSLContext | None = None) -> aiohttp.ClientSession:
    """An HTTP session for time endpoints; to be made where an event loop runs.

    Args:
        tls: CAs to trust; those of the system if None.
    """
    return aiohttp.ClientSession(
        connector=_Connector(tls),
        response_class=_Response,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


class TimeEndpoint:
    """One endpoint, and how much of its limit is used.

    Args:
        http: makes the requests; from `session`.
        url: of the endpoint.
        now: Unix seconds.
    """

    def __init__(
        self, http: aiohttp.ClientSession, url: str, *, now: Callable[[], float] = time.time
    ) -> None:
        self._http = http
        self._url = url
        self._now = now
        self._busy_until = 0.0

    async def fetch(self) -> bytes:
        """One request for the time, in microseconds where it is told in them; returns the body.

        Raises:
            TimeEndpointError: no answer, one that refuses, or none asked for because this address
                has used much of its limit; with how long to wait.
        """
        wait_sec = self._busy_until - self._now()
        if 0 < wait_sec <= _MINUTE_SEC:
            raise TimeEndpointError(
                f"{self._url} is not asked: this address has used more than {MOST_WEIGHT} of its "
                "request weight in this minute",
                retry_after_sec=wait_sec,
            )
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SEC)
        try:
            async with self._http.get(self._url, headers=_HEADERS, timeout=timeout) as response:
                body = await self._body(response)
        except aiohttp.ClientConnectorError as error:
            raise TimeEndpointError(f"{self._url}: {error.strerror}") from error
        except _LimitError as error:
            raise TimeEndpointError(f"{self._url}: {error}", kind=error.kind) from error
        except aiohttp.ClientResponseError as error:
            # Its text has the URL again, and a drawing of several lines.
            reason = " ".join(error.message.split()) or type(error).__name__
            raise TimeEndpointError(f"{self._url}: {reason}") from error
        # A ValueError is about the host of a redirection that cannot be a name.
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise TimeEndpointError(f"{self._url}: {reason}") from error
        if (_number(response.headers.get(_WEIGHT)) or 0.0) > MOST_WEIGHT:
            now = self._now()
            self._busy_until = now + _MINUTE_SEC - now % _MINUTE_SEC
        if response.status != _OK:
            raise self._refusal(response)
        return body

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        packed = response.headers.get("Content-Encoding", "identity")
        if packed != "identity":
            raise TimeEndpointError(f"{self._url}: the answer is packed with {packed[:80]!r}")
        return await response.read()

    def _refusal(self, response: aiohttp.ClientResponse) -> TimeEndpointError:
        detail = f"{self._url} answered {response.status}"
        most_sec = MAX_BAN_SEC if response.status == _BANNED else MAX_PAUSE_SEC
        asked_sec = _number(response.headers.get("Retry-After"))
        if asked_sec is not None and asked_sec > most_sec:
            return TimeEndpointError(
                f"{detail} and asked for a pause of {asked_sec:g} s; it is asked again in "
                f"{most_sec:g} s",
                kind=ErrorKind.TIME_ENDPOINT_RETRY_AFTER,
                retry_after_sec=most_sec,
            )
        pause_sec = asked_sec or _PAUSES_SEC.get(response.status)
        return TimeEndpointError(detail, retry_after_sec=pause_sec)


def _number(header: str | None) -> float | None:
    return float(header) if header and header.isascii() and header.isdigit() else None
