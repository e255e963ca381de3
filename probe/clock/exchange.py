"""The exchange's clock against the local one, from its time endpoint.

The server read its clock at some moment between request and answer, so one answer bounds the
offset from both sides, to half the round trip (Cristian, "Probabilistic clock synchronization",
1989). Every further answer narrows the bounds (the intersection of Marzullo and Owicki, 1983), and
every second widens them by what the two clocks may drift apart. Waiting for one round trip of the
smallest kind uses only one answer, and forgets it or trusts it too long.

The time host is not the stream host; what differs between the exchange's own hosts is beyond this
bound.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SAMPLES: Final = 5
MAX_DRIFT_PPM: Final = 15.0  # PHI, the tolerance of a disciplined clock (RFC 5905, section 7.1)


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
        error_bound_sec: bound on the offset's error.
    """

    offset_sec: float
    error_bound_sec: float


class ExchangeClockEstimator:
    """Keeps the interval that holds the exchange's clock minus the local one.

    Args:
        unit_ns: unit of `serverTime` in nanoseconds, as the request asks for it.
        max_drift_ppm: how fast the two clocks may drift apart.
        clock_ns: the local clock.
    """

    def __init__(
        self,
        *,
        unit_ns: int,
        max_drift_ppm: float = MAX_DRIFT_PPM,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._unit_ns = unit_ns
        self._drift = max_drift_ppm * 1e-6
        self._clock_ns = clock_ns
        self._interval: tuple[float, float] | None = None
        self._as_of_ns = 0

    async def update(
        self, fetch: Callable[[], Awaitable[bytes]], *, samples: int = SAMPLES
    ) -> ExchangeClock:
        """Ask for the time a few times and combine the answers with what is known.

        Args:
            fetch: one request to the endpoint; returns the body.
            samples: number of requests.

        Raises:
            TimeEndpointError: from `fetch`, or an answer without a usable `serverTime`; answers
                before it are kept.
        """
        for _ in range(samples):
            sent_ns = self._clock_ns()
            body = await fetch()
            received_ns = self._clock_ns()
            try:
                server_time = msgspec.json.decode(body, type=_ServerTime).server_time
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise TimeEndpointError(f"no serverTime in {body[:80]!r}") from error
            self._observe(sent_ns, server_time * self._unit_ns, received_ns)
        if self._interval is None:
            raise TimeEndpointError("the local clock was set back while the endpoint was asked")
        low, high = self._interval
        return ExchangeClock((low + high) / 2 * 1e-9, (high - low) / 2 * 1e-9)

    def forget(self) -> None:
        """Start afresh, because the local clock was set."""
        self._interval = None

    def _observe(self, sent_ns: int, server_ns: int, received_ns: int) -> None:
        if received_ns < sent_ns:
            self.forget()
            return
        # The server cut its time down to the unit, and the clocks drifted until now.
        drifted = self._drift * (received_ns - sent_ns)
        low = server_ns - received_ns - drifted
        high = server_ns + self._unit_ns - sent_ns + drifted
        if self._interval is not None:
            widened = self._drift * abs(received_ns - self._as_of_ns)
            known_low, known_high = self._interval
            known_low, known_high = known_low - widened, known_high + widened
            # No overlap: one of the clocks was set. Only the new answer is true of it now.
            if known_low <= high and low <= known_high:
                low, high = max(low, known_low), min(high, known_high)
        self._interval = (low, high)
        self._as_of_ns = received_ns


async def estimate(
    fetch: Callable[[], Awaitable[bytes]],
    *,
    unit_ns: int,
    samples: int = SAMPLES,
    clock_ns: Callable[[], int] = time.time_ns,
) -> ExchangeClock:
    """One estimate without a past.

    Raises:
        TimeEndpointError: from `fetch`, or an answer without a usable `serverTime`.
    """
    return await ExchangeClockEstimator(unit_ns=unit_ns, clock_ns=clock_ns).update(
        fetch, samples=samples
    )
