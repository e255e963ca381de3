"""The exchange's clock against the local one, from its time endpoint.

The server's time lies somewhere between request and answer: offset = server - midpoint, known to
half the round trip (Cristian, "Probabilistic clock synchronization", 1989). The sample with the
smallest round trip wins. The time host is not the stream host; what differs between the
exchange's own hosts is beyond this bound.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SAMPLES: Final = 5


class TimeEndpointError(Exception):
    """The endpoint refused, or answered nonsense.

    Attributes:
        retry_after_sec: what it asked to wait, or None.
    """

    def __init__(self, detail: str, *, retry_after_sec: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_sec = retry_after_sec


class _ServerTime(msgspec.Struct):
    server_time: int = msgspec.field(name="serverTime")


@dataclass(frozen=True, slots=True)
class ExchangeClock:
    """Estimate of the exchange's clock.

    Attributes:
        offset_sec: exchange clock minus local clock.
        error_bound_sec: half the round trip of the sample used.
    """

    offset_sec: float
    error_bound_sec: float


async def estimate(
    fetch: Callable[[], Awaitable[bytes]],
    *,
    unit_ns: int,
    samples: int = SAMPLES,
    clock_ns: Callable[[], int] = time.time_ns,
) -> ExchangeClock:
    """Ask for the time a few times and keep the best answer.

    Args:
        fetch: one request to the endpoint; returns the body.
        unit_ns: unit of `serverTime` in nanoseconds, as the request asked for it.
        samples: number of requests.
        clock_ns: the local clock.

    Raises:
        TimeEndpointError: from `fetch`, or an answer without a usable `serverTime`.
    """
    best: ExchangeClock | None = None
    for _ in range(samples):
        sent_ns = clock_ns()
        body = await fetch()
        received_ns = clock_ns()
        try:
            server_ns = msgspec.json.decode(body, type=_ServerTime).server_time * unit_ns
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise TimeEndpointError(f"no serverTime in {body[:80]!r}") from error
        middle_ns = (sent_ns + received_ns) / 2
        bound = abs(received_ns - sent_ns) / 2 * 1e-9
        if best is None or bound < best.error_bound_sec:
            best = ExchangeClock((server_ns - middle_ns) * 1e-9, bound)
    assert best is not None, "samples must be positive"
    return best
