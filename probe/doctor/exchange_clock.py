"""Checks of the local clock against the exchange's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from latency_sweep.contract.clocks import EXCHANGE_TOLERANCE_SEC, MAX_DRIFT_RATIO
from latency_sweep.probe.clock import exchange, time_endpoint
from latency_sweep.runtime.check_result import CheckResult, CheckStatus, duration

if TYPE_CHECKING:
    import ssl

    from latency_sweep.probe.clock.reading import ClockReading

_NAME: Final = "exchange clock"
_DRIFT_NAME: Final = "clock drift"
_PPM: Final = 1e-6
# What an undisciplined crystal drifts; a larger uncertainty says nothing.
_MAX_UNCERTAINTY: Final = 50e-6


class ExchangeClockCheck:
    """Asks the time endpoint whenever told to, and keeps what came of it.

    Args:
        url: of the endpoint, or None where there is none.
        tls: CAs to trust.
    """

    def __init__(self, url: str | None, tls: ssl.SSLContext) -> None:
        self._url = url
        self._tls = tls
        self._estimator = exchange.ExchangeClockEstimator()
        self._refusal: exchange.TimeEndpointError | None = None

    async def ask(self) -> None:
        """A few requests; none any more after a refusal."""
        if self._url is None or self._refusal is not None:
            return
        async with time_endpoint.session(self._tls) as http:
            try:
                await self._estimator.update(time_endpoint.TimeEndpoint(http, self._url).fetch)
            except exchange.TimeEndpointError as error:
                self._refusal = error

    def check_clock(self, reading: ClockReading | None) -> CheckResult:
        """Whether the two clocks agree within what is known of both."""
        expected = f"apart ≤ bounds + {duration(EXCHANGE_TOLERANCE_SEC)}"
        if self._url is None:
            return CheckResult(_NAME, CheckStatus.SKIP, "no time endpoint is set", expected)
        if self._refusal is not None:
            wait = self._refusal.retry_after_sec
            action = (
                "Check --time-endpoint and the path to it; without it the exchange's clock is "
                "unknown."
                if wait is None
                else f"Wait {duration(wait)}: the exchange limits requests from this address."
            )
            return CheckResult(_NAME, CheckStatus.WARN, str(self._refusal), expected, action)
        clock = self._estimator.known()
        assert clock is not None, "asked, and not refused"
        side = "behind" if clock.offset_sec > 0 else "ahead"
        known = duration(clock.error_bound_sec)
        found = f"{duration(abs(clock.offset_sec))} {side}, known to {known}"
        bound = clock.error_bound_sec
        if reading is not None and reading.synchronized:
            bound += reading.error_bound_sec
        if abs(clock.offset_sec) <= bound + EXCHANGE_TOLERANCE_SEC:
            return CheckResult(_NAME, CheckStatus.PASS, found, expected)
        action = (
            "Set this host's clock right ('chronyc makestep'): the exchange's is rarely wrong by "
            "more than this. If its source calls it right, the source is wrong: change it."
        )
        return CheckResult(_NAME, CheckStatus.FAIL, found, expected, action)

    def check_drift(self, *, stepped: bool) -> CheckResult:
        """Whether the local clock runs at the exchange's rate, as far as the time watched tells.

        Args:
            stepped: whether the local clock was set in between.
        """
        expected = f"≤ {MAX_DRIFT_RATIO / _PPM:g} ppm"
        clock = self._estimator.known()
        if self._refusal is not None or clock is None:
            return CheckResult(
                _DRIFT_NAME, CheckStatus.SKIP, "the exchange's clock is unknown", expected
            )
        if stepped or clock.drift is None:
            return CheckResult(_DRIFT_NAME, CheckStatus.SKIP, "a clock was set meanwhile", expected)
        # The exchange's clock seems to gain what this one loses.
        rate = f"{-clock.drift.ratio / _PPM:+.3g} ppm ± {clock.drift.error_bound / _PPM:.2g}"
        if clock.drift.proven > MAX_DRIFT_RATIO:
            action = (
                "Let chrony steer the clock and check it with 'chronyc tracking': its rate is not "
                "corrected, or wrongly."
            )
            return CheckResult(_DRIFT_NAME, CheckStatus.FAIL, rate, expected, action)
        if clock.drift.error_bound > _MAX_UNCERTAINTY:
            found = (
                f"not above {clock.drift.error_bound / _PPM:.0f} ppm; --watch-sec 120 measures it"
            )
            return CheckResult(_DRIFT_NAME, CheckStatus.SKIP, found, expected)
        return CheckResult(_DRIFT_NAME, CheckStatus.PASS, rate, expected)
