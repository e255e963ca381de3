"""Check of the local clock against the exchange's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import aiohttp

from probe.clock import exchange, time_endpoint
from probe.doctor.result import Result, Status, duration

if TYPE_CHECKING:
    import ssl

    from probe.clock.reading import ClockReading

_NAME: Final = "exchange clock"
# An exchange steers its own clock to a millisecond or so; what is beyond that is a wrong clock.
_TOLERANCE_SEC: Final = 5e-3


async def check_exchange_clock(
    url: str | None, tls: ssl.SSLContext, reading: ClockReading | None
) -> Result:
    """Whether the two clocks agree within what is known of both."""
    expected = f"apart ≤ bounds + {duration(_TOLERANCE_SEC)}"
    if url is None:
        return Result(_NAME, Status.SKIP, "no time endpoint is set", expected)
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as http:
            clock = await exchange.estimate(
                lambda: time_endpoint.fetch(http, url), unit_ns=time_endpoint.UNIT_NS
            )
    except exchange.TimeEndpointError as error:
        wait = error.retry_after_sec
        action = (
            "Check --time-endpoint and the way to it; without it the exchange's clock is unknown."
            if wait is None
            else f"Wait {duration(wait)}: the exchange limits requests from this address."
        )
        return Result(_NAME, Status.WARN, str(error), expected, action)
    side = "behind" if clock.offset_sec > 0 else "ahead"
    known = duration(clock.error_bound_sec)
    found = f"{duration(abs(clock.offset_sec))} {side}, known to {known}"
    bound = clock.error_bound_sec
    if reading is not None and reading.synchronized:
        bound += reading.error_bound_sec
    if abs(clock.offset_sec) <= bound + _TOLERANCE_SEC:
        return Result(_NAME, Status.PASS, found, expected)
    action = "Set this host's clock right: the exchange's is seldom wrong by more than this."
    return Result(_NAME, Status.FAIL, found, expected, action)
