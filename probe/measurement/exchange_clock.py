"""Polls the exchange's clock and exposes what is known of it."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from latency_sweep.contract.metrics import ErrorKind
from latency_sweep.probe.clock import time_endpoint
from latency_sweep.probe.clock.exchange import ExchangeClockEstimator, TimeEndpointError
from latency_sweep.runtime import logs

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from latency_sweep.contract.experiment import MarketData
    from latency_sweep.probe.measurement.error_log import CountError
    from latency_sweep.probe.measurement.instruments import Instruments

_LOG: Final = logs.logger(__name__)


class ExchangeClockMonitor:
    """Asks the time endpoint of a market at an interval.

    Args:
        data: names the market and its endpoint.
        instruments: show what is known.
        count_error: called for each failure, with a sentence about it.
        interval_sec: between polls, seconds.
        tls: certificate authorities to trust.
        monotonic: seconds that no setting of a clock moves.
    """

    def __init__(
        self,
        data: MarketData,
        instruments: Instruments,
        count_error: CountError,
        *,
        interval_sec: float,
        tls: ssl.SSLContext,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._data = data
        self._instruments = instruments
        self._count_error = count_error
        self._interval_sec = interval_sec
        self._tls = tls
        self._monotonic = monotonic
        self._estimator = ExchangeClockEstimator()
        self._wanted = asyncio.Event()

    def clock_was_set(self) -> None:
        """Forget all that was known, because the local clock was set, and ask at once."""
        self._estimator.forget()
        self._show()
        self._wanted.set()

    async def run(self) -> None:
        """Poll and expose until cancelled; returns at once where there is no endpoint.

        An endpoint that asked for a pause is not polled until it is over. The exposed error bound
        grows meanwhile.
        """
        url = self._data.time_endpoint
        if url is None:
            return
        async with time_endpoint.session(self._tls) as http:
            endpoint = time_endpoint.TimeEndpoint(http, url)
            ask_from = self._monotonic()
            while True:
                self._wanted.clear()
                try:
                    if self._monotonic() >= ask_from:
                        pause_sec = await self._ask(endpoint)
                        ask_from = self._monotonic() + pause_sec
                    self._show()
                except Exception as error:  # noqa: BLE001 - is tried again; the probe goes on
                    self._count_error(ErrorKind.INTERNAL, repr(error), error)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._interval_sec):
                        await self._wanted.wait()

    async def _ask(self, endpoint: time_endpoint.TimeEndpoint) -> float:
        """A few requests; returns the pause that the endpoint asks for, seconds."""
        try:
            clock = await self._estimator.update(endpoint.fetch)
        except TimeEndpointError as error:
            self._count_error(error.kind, str(error), None)
            return error.retry_after_sec or 0.0
        extra = {
            "offset_sec": round(clock.offset_sec, 9),
            "error_bound_sec": round(clock.error_bound_sec, 9),
            "drift_ratio": clock.drift.ratio if clock.drift else None,
        }
        _LOG.debug("exchange clock", extra=extra)
        return 0.0

    def _show(self) -> None:
        """Expose what is known, and no stale value of what is not."""
        instruments, market = self._instruments, self._data.market
        clock = self._estimator.known()
        drift = clock.drift if clock else None
        for gauge, value in (
            (instruments.exchange_clock_offset, clock.offset_sec if clock else None),
            (instruments.exchange_clock_error_bound, clock.error_bound_sec if clock else None),
            (instruments.exchange_clock_drift, drift.ratio if drift else None),
            (instruments.exchange_clock_drift_bound, drift.error_bound if drift else None),
        ):
            if value is not None:
                gauge.labels(market).set(value)
                continue
            with suppress(KeyError):
                gauge.remove(market)
