"""The exchange's clock against the local one, from its time endpoint.

The server read its clock at some moment between request and answer, so one answer bounds the
offset from both sides, to half the round trip (Cristian, "Probabilistic clock synchronization",
1989). Every further answer narrows the bounds (the intersection of Marzullo and Owicki, 1983), and
every second widens them by what the two clocks may drift apart. Waiting for one round trip of the
smallest kind uses only one answer, and forgets it or trusts it too long. Of each few requests the
one with the smallest round trip also tells how fast the clocks drift apart (`drift`).

The time host is not the stream host; what differs between the exchange's own hosts is beyond this
bound.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from latency_sweep.contract.clocks import MAX_DRIFT_RATIO
from latency_sweep.contract.metrics import ErrorKind
from latency_sweep.probe.clock.drift import Drift, DriftEstimator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SAMPLES: Final = 5
# Spot tells microseconds when asked to, USD-M milliseconds whatever is asked. As microseconds this
# is 1973, as milliseconds the year 5138.
_SMALLEST_IN_MICROSECONDS: Final = 100_000_000_000_000
_US_NS: Final = 1_000
_MS_NS: Final = 1_000_000


class TimeEndpointError(Exception):
    """The endpoint refused, or answered nonsense.

    Attributes:
        kind: value of the `kind` label it is counted under.
        retry_after_sec: what it asked to wait, or None.
    """

    def __init__(
        self,
        detail: str,
        *,
        kind: ErrorKind = ErrorKind.TIME_ENDPOINT,
        retry_after_sec: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.retry_after_sec = retry_after_sec


class _ServerTime(msgspec.Struct):
    # Of 64 bits, as JSON can have numbers that no clock shows and no float holds.
    server_time: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = msgspec.field(name="serverTime")


@dataclass(frozen=True, slots=True)
class ExchangeClock:
    """Estimate of the exchange's clock.

    Attributes:
        offset_sec: exchange clock minus local clock.
        error_bound_sec: bound on the offset's error.
        drift: rate of the exchange's clock against the local one, or None while it is not known.
    """

    offset_sec: float
    error_bound_sec: float
    drift: Drift | None = None


class ExchangeClockEstimator:
    """Keeps the interval that holds the exchange's clock minus the local one.

    Args:
        max_drift: how fast the two clocks may drift apart, as a ratio.
        clock_ns: the local clock.
    """

    def __init__(
        self,
        *,
        max_drift: float = MAX_DRIFT_RATIO,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._max_drift = max_drift
        self._drift = DriftEstimator()
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
        quickest: tuple[int, float, int] | None = None
        for _ in range(samples):
            sent_ns = self._clock_ns()
            body = await fetch()
            received_ns = self._clock_ns()
            try:
                server_time = msgspec.json.decode(body, type=_ServerTime).server_time
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise TimeEndpointError(f"no serverTime in {body[:80]!r}") from error
            unit_ns = _unit_ns(server_time)
            server_ns = server_time * unit_ns
            self._observe(sent_ns, server_ns, received_ns, unit_ns)
            took_ns = received_ns - sent_ns
            if took_ns >= 0 and (quickest is None or took_ns < quickest[2]):
                offset_ns = server_ns + unit_ns / 2 - (sent_ns + received_ns) / 2
                quickest = received_ns, offset_ns, took_ns
        if self._interval is None or quickest is None:
            raise TimeEndpointError("the local clock was set back while the endpoint was asked")
        self._drift.add(*quickest)
        return self._clock_of(*self._interval)

    def known(self) -> ExchangeClock | None:
        """What is known without asking: the last estimate, its bound grown until now."""
        if self._interval is None:
            return None
        low, high = self._interval
        widened = self._max_drift * abs(self._clock_ns() - self._as_of_ns)
        return self._clock_of(low - widened, high + widened)

    def forget(self) -> None:
        """Start afresh, because the local clock was set."""
        self._interval = None
        self._drift.forget()

    def _clock_of(self, low_ns: float, high_ns: float) -> ExchangeClock:
        middle_sec, half_sec = (low_ns + high_ns) / 2 * 1e-9, (high_ns - low_ns) / 2 * 1e-9
        return ExchangeClock(middle_sec, half_sec, self._drift.estimate())

    def _observe(self, sent_ns: int, server_ns: int, received_ns: int, unit_ns: int) -> None:
        if received_ns < sent_ns:
            self.forget()
            return
        # The server cut its time down to the unit, and the clocks drifted until now.
        drifted = self._max_drift * (received_ns - sent_ns)
        low = server_ns - received_ns - drifted
        high = server_ns + unit_ns - sent_ns + drifted
        if self._interval is not None:
            widened = self._max_drift * abs(received_ns - self._as_of_ns)
            known_low, known_high = self._interval
            known_low, known_high = known_low - widened, known_high + widened
            # No overlap: one of the clocks was set. Only the new answer is true of it now.
            if known_low <= high and low <= known_high:
                low, high = max(low, known_low), min(high, known_high)
        self._interval = (low, high)
        self._as_of_ns = received_ns


def _unit_ns(server_time: int) -> int:
    return _US_NS if server_time >= _SMALLEST_IN_MICROSECONDS else _MS_NS
