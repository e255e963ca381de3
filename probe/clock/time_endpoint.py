"""Asking the exchange's time endpoint over HTTP, within what the exchange allows an address.

Binance counts requests by weight per address and minute (6,000 for spot, 2,400 for USD-M; this
endpoint weighs 1), says in every answer how much is used, answers 429 beyond it, and 418 with a
ban of two minutes to three days to those who go on. Whoever else trades from this address needs
that weight more than an estimate of the clock does.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import aiohttp

from latency_sweep.probe.clock.exchange import TimeEndpointError

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT_SEC: Final = 5.0
# Half of the smallest of the limits: beyond it the rest of the minute is left to others.
MOST_WEIGHT: Final = 1_200
_MINUTE_SEC: Final = 60.0
_HEADERS: Final = {"X-MBX-TIME-UNIT": "MICROSECOND"}
_WEIGHT: Final = "X-MBX-USED-WEIGHT-1M"
_OK: Final = 200
# Where an answer does not say how long: to the end of the minute, and the shortest ban.
_PAUSES_SEC: Final = {418: 120.0, 429: _MINUTE_SEC}


class TimeEndpoint:
    """One endpoint, and how much of its limit is used.

    Args:
        http: makes the requests.
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
                body = await response.read()
        except aiohttp.ClientConnectorError as error:
            raise TimeEndpointError(f"{self._url}: {error.strerror}") from error
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
            raise TimeEndpointError(
                f"{self._url} answered {response.status}",
                retry_after_sec=_number(response.headers.get("Retry-After"))
                or _PAUSES_SEC.get(response.status),
            )
        return body


def _number(header: str | None) -> float | None:
    return float(header) if header and header.isascii() and header.isdigit() else None
