"""Asking the exchange's time endpoint over HTTP."""

from __future__ import annotations

from typing import Final

import aiohttp

from probe.clock.exchange import TimeEndpointError

UNIT_NS: Final = 1_000  # microseconds, asked for by header
TIMEOUT_SEC: Final = 5.0
_HEADERS: Final = {"X-MBX-TIME-UNIT": "MICROSECOND"}
_OK: Final = 200


async def fetch(http: aiohttp.ClientSession, url: str) -> bytes:
    """One request for the time in microseconds; returns the body.

    Raises:
        TimeEndpointError: no answer, or one that refuses; with what it asked to wait.
    """
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SEC)
    try:
        async with http.get(url, headers=_HEADERS, timeout=timeout) as response:
            body = await response.read()
            if response.status != _OK:
                pause = response.headers.get("Retry-After", "")
                raise TimeEndpointError(
                    f"{url} answered {response.status}",
                    retry_after_sec=float(pause) if pause.isascii() and pause.isdigit() else None,
                )
            return body
    except aiohttp.ClientConnectorError as error:
        raise TimeEndpointError(f"{url}: {error.strerror}") from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise TimeEndpointError(f"{url}: {str(error) or type(error).__name__}") from error
