"""Polls the local clock's error bound and exposes it; detects steps of the clock."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from latency_sweep.contract.metrics import ErrorKind
from latency_sweep.probe.clock import local
from latency_sweep.probe.clock.reading import ClockError
from latency_sweep.probe.clock.steps import StepDetector
from latency_sweep.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from latency_sweep.probe.clock.reading import ClockReading
    from latency_sweep.probe.measurement.error_log import CountError
    from latency_sweep.probe.measurement.instruments import Instruments

INTERVAL_SEC: Final = 1.0

_LOG: Final = logs.logger(__name__)


class LocalClockMonitor:
    """Reads a source of the local clock's error at an interval, and detects steps.

    Args:
        source: name of the source, a key of `clock.local.SOURCES`.
        instruments: show what is known.
        on_step: called when the clock was set.
        count_error: told of a fault of the program, which is tried again.
    """

    def __init__(
        self,
        source: str,
        instruments: Instruments,
        on_step: Callable[[], None],
        count_error: CountError,
    ) -> None:
        self._read = local.SOURCES[source]
        self._source = source  # the one that answered last; `auto` chooses among several
        self._instruments = instruments
        self._on_step = on_step
        self._count_error = count_error
        self._logged = ""

    async def run(self) -> None:
        """Read and show until cancelled."""
        detector = StepDetector()
        while True:
            try:
                await self._poll(detector)
            except Exception as error:  # noqa: BLE001 - is tried again; the probe goes on
                self._count_error(ErrorKind.INTERNAL, repr(error), error)
                self._show_unknown(repr(error))
            await asyncio.sleep(INTERVAL_SEC)

    async def _poll(self, detector: StepDetector) -> None:
        try:
            # Off the loop: asking a daemon may take up to a second.
            reading = await asyncio.to_thread(self._read)
        except ClockError as error:
            self._show_unknown(str(error))
        else:
            self._show(reading)
        step_sec = detector.check()
        if step_sec is not None:
            self._instruments.clock_steps.inc()
            extra = {"step_sec": f"{step_sec:+.6f}"}
            _LOG.warning("the local clock was set", extra=extra)
            self._on_step()

    def _show(self, reading: ClockReading) -> None:
        extra = {
            "source": reading.source,
            "offset_sec": round(reading.offset_sec, 9),
            "error_bound_sec": round(reading.error_bound_sec, 9),
            "synchronized": reading.synchronized,
        }
        _LOG.debug("local clock", extra=extra)
        if reading.source != self._source:
            self._forget(self._source)
            self._source = reading.source
        instruments = self._instruments
        instruments.clock_offset.labels(reading.source).set(reading.offset_sec)
        instruments.clock_error_bound.labels(reading.source).set(reading.error_bound_sec)
        instruments.clock_synchronized.labels(reading.source).set(reading.synchronized)

    def _show_unknown(self, error: str) -> None:
        if error != self._logged:
            self._logged = error
            extra = {"source": self._source, "error": error}
            _LOG.warning("the local clock's error bound is unknown", extra=extra)
        self._forget(self._source)
        self._instruments.clock_synchronized.labels(self._source).set(0)

    def _forget(self, source: str) -> None:
        """Stop exposing a source, so that no stale value stays."""
        instruments = self._instruments
        for gauge in (
            instruments.clock_offset,
            instruments.clock_error_bound,
            instruments.clock_synchronized,
        ):
            with suppress(KeyError):
                gauge.remove(source)
