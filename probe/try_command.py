"""`probe try`: measure for a while, show a live table, print a final one."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.contract.timeline import NS_PER_SEC, Run, Timeline
from latency_sweep.probe import app
from latency_sweep.probe.stop import Stop
from latency_sweep.probe.summary import document, text, wording
from latency_sweep.probe.try_screen import Screen, wants_color
from latency_sweep.runtime import standard_output
from latency_sweep.runtime.progress import duration

if TYPE_CHECKING:
    from latency_sweep.probe.command_line import TryOptions
    from latency_sweep.probe.settings import Settings
    from latency_sweep.probe.summary.collect import CapturedSummary, ProbeParts
    from latency_sweep.probe.summary.records import ProbeSummary

# What was sent just before the end may still arrive, and a gap before it turn out to be a loss.
_SETTLE_SEC: Final = 2
_REDRAW_SEC: Final = 1.0
_LOOK_SEC: Final = 0.02
# An exchange that was not reached until then is not waited for any longer.
_CONNECT_WITHIN_SEC: Final = 10.0
_CENTURY_NS: Final = 100 * 365 * 86_400 * NS_PER_SEC
# The measurement of its run began in 1970: a session that starts now takes part in none, and the
# one that is measured begins with the connection instead.
_NO_SCHEDULE: Final = Timeline(NS_PER_SEC, 2 * _CENTURY_NS, NS_PER_SEC)
_SIGNALLED: Final = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
}


@dataclass(frozen=True, slots=True)
class _Measured:
    """The numbers at the end, and the signal that ended it early, if one did."""

    summary: ProbeSummary
    ended_by: signal.Signals | None


def run(options: TryOptions, settings: Settings) -> ExitCode:
    """Measure and print; returns the exit code.

    Raises:
        SettingsError: the settings cannot work together.
    """
    with Screen(sys.stderr if options.json else sys.stdout) as screen:
        measured = app.run_with(settings, lambda probe: _measure(probe, options, screen))
    summary = measured.summary
    failures = [each for condition in options.fail_if for each in condition.failures(summary)]
    code = _exit_code(measured, failed=bool(failures))
    if code is ExitCode.EXCHANGE_UNREACHABLE:
        # Nothing was measured that a condition could be about.
        failures = []
    if options.json:
        report = document.to_json(summary, complete=measured.ended_by is None, failures=failures)
        unwritten = standard_output.write(report, encoding="utf-8")
    elif code is not ExitCode.EXCHANGE_UNREACHABLE:
        unwritten = standard_output.write(
            text.render(
                summary,
                width=_width(),
                color=wants_color(sys.stdout),
                failures=failures,
            )
        )
    else:
        unwritten = None
    if unwritten is not None and not isinstance(unwritten, BrokenPipeError):
        print(f"probe: the report cannot be written: {unwritten.strerror}.", file=sys.stderr)
    if code is ExitCode.EXCHANGE_UNREACHABLE:
        print(f"probe: {wording.no_connection(summary)}", file=sys.stderr)
    elif code is ExitCode.NO_DATA:
        print(f"probe: {_no_message(summary)}", file=sys.stderr)
    return code


def _exit_code(measured: _Measured, *, failed: bool) -> ExitCode:
    if measured.ended_by is not None:
        return _SIGNALLED[measured.ended_by]
    if not measured.summary.was_connected:
        return ExitCode.EXCHANGE_UNREACHABLE
    if not measured.summary.messages:
        return ExitCode.NO_DATA
    return ExitCode.CHECK_FAILED if failed else ExitCode.DONE


def _no_message(summary: ProbeSummary) -> str:
    streams = ", ".join(stream.name for stream in summary.streams)
    return (
        f"connected, but no message of {streams} arrived in {duration(summary.measured_sec)}; "
        "check --symbols and --streams, or measure longer."
    )


def _width() -> int:
    """Columns for the final table: those of the terminal, or as many as fit everywhere."""
    if sys.stdout is None or not sys.stdout.isatty():
        return text.WIDTH
    return shutil.get_terminal_size((text.WIDTH, 0)).columns


async def _measure(probe: app.Probe, options: TryOptions, screen: Screen) -> _Measured:
    parts = await probe.assemble(_NO_SCHEDULE)
    over = asyncio.Event()
    stop = Stop(over.set)
    watch = _Watch(parts, screen, options.duration_sec, over)
    async with probe.watching(parts.recorder):
        watching = asyncio.create_task(watch.run())
        try:
            await stop.run(parts.session.run(), _nothing)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    # Without one after a second signal, which does not wait.
    final = watch.final or parts.capture().resolve()
    return _Measured(final, stop.first)


async def _nothing() -> None:
    """What follows the end: nothing."""


class _Watch:
    """Shows the numbers each second, and ends the session when the time is over.

    Args:
        parts: whose numbers.
        screen: where they are shown.
        duration_sec: how long to measure.
        over: set to end early.

    Attributes:
        final: the numbers at the end, None until then.
    """

    def __init__(
        self, parts: ProbeParts, screen: Screen, duration_sec: int, over: asyncio.Event
    ) -> None:
        self._parts = parts
        self._screen = screen
        self._duration_sec = duration_sec
        self._measured_at = 0.0
        self._over = over
        self.final: ProbeSummary | None = None

    async def run(self) -> None:
        """Show until the time is over, or the exchange was not reached in time."""
        try:
            if await self._reach():
                self._begin()
                while await self._wait():
                    await asyncio.to_thread(self._show, self._parts.capture())
            self.final = await asyncio.to_thread(self._parts.capture().resolve)
        finally:
            self._parts.session.stop()

    async def _reach(self) -> bool:
        """Wait for the connection, which may take as long as name resolution and TLS do."""
        now = show_at = time.monotonic()
        give_up_at = now + _CONNECT_WITHIN_SEC
        while self._parts.session.connectivity.complete_from is None:
            if self._over.is_set() or now >= give_up_at:
                return False
            if now >= show_at:
                show_at = now + _REDRAW_SEC
                await asyncio.to_thread(self._show, self._parts.capture())
            await self._sleep(_LOOK_SEC)
            now = time.monotonic()
        return True

    def _begin(self) -> None:
        """Measure what is sent from now on."""
        now_ns = time.time_ns()
        end_ns = now_ns + self._duration_sec * NS_PER_SEC
        self._measured_at = time.monotonic() + self._duration_sec
        self._parts.recorder.begin_run(Run(now_ns, now_ns, end_ns, end_ns + _CENTURY_NS))

    async def _wait(self) -> bool:
        """Wait for the next second; returns whether it goes on then."""
        left_sec = self._measured_at + _SETTLE_SEC - time.monotonic()
        await self._sleep(min(_REDRAW_SEC, max(0.0, left_sec)))
        return left_sec > 0 and not self._over.is_set()

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()

    def _show(self, captured: CapturedSummary) -> None:
        """Calculate and draw, in a thread: it takes milliseconds that the reader does not have."""
        summary = captured.resolve()
        left_sec = self._measured_at - time.monotonic()
        if not summary.connected:
            doing = "reconnecting" if summary.was_connected else "connecting"
        elif left_sec > 0:
            doing = f"measuring, {duration(left_sec)} left"
        else:
            doing = "measuring, waiting for late messages"
        self._screen.show(summary, doing)
