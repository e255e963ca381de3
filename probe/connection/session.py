"""One market on the timeline: supervised connections, fresh ones for every run."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from latency_sweep.contract.metrics import ErrorKind, Phase, ReconnectReason
from latency_sweep.contract.timeline import NS_PER_SEC
from latency_sweep.probe.clock.steps import StepDetector
from latency_sweep.probe.connection.backoff import Backoff
from latency_sweep.probe.connection.connectivity import Connectivity
from latency_sweep.probe.connection.stall_detector import PauseMemory
from latency_sweep.probe.connection.supervisor import ConnectionSupervisor
from latency_sweep.probe.net.receiving import DEFAULT
from latency_sweep.probe.net.siblings import Siblings
from latency_sweep.runtime import logs

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from latency_sweep.contract.timeline import Run, Timeline
    from latency_sweep.probe.feeds.base import Feed
    from latency_sweep.probe.measurement.instruments import Instruments
    from latency_sweep.probe.measurement.recorder import Recorder
    from latency_sweep.probe.net.receiving import Receiving
    from latency_sweep.probe.net.websocket import Record

_LOG: Final = logs.logger(__name__)
# The wall clock may be stepped while we sleep towards a time it shows.
_TICK_SEC: Final = 1.0
# A smaller step of the clock does not change which run the probe is in time for.
_SET_SEC: Final = 0.5


class Session:
    """Runs one market's feeds through one run after the other.

    Args:
        feeds: what to subscribe to, each with connections of its own.
        timeline: when runs begin and end.
        recorder: takes the messages; it has as many lines as there are parallel connections.
        instruments: take durations and reasons.
        tls: context for `wss` endpoints.
        addresses: IP address for each line, or None for whatever the name resolves to.
        receiving: where receive timestamps come from, and whether to poll.
        backoff: makes the pauses between failed attempts.
        tap: see `ConnectionSupervisor`.
    """

    def __init__(
        self,
        feeds: Sequence[Feed],
        timeline: Timeline,
        recorder: Recorder,
        instruments: Instruments,
        *,
        tls: ssl.SSLContext,
        addresses: Sequence[str | None] = (None,),
        receiving: Receiving = DEFAULT,
        backoff: Callable[[], Backoff] = Backoff,
        tap: Callable[[Record], Record] | None = None,
    ) -> None:
        self._timeline = timeline
        self._recorder = recorder
        # All that changes while the session runs, beside what the supervisors and the recorder
        # keep for themselves: `stop` sets _stopping; `_begin` alone sets _warm_from_ns, and which
        # run the recorder is in; `_follow_timeline` sets _current, _joined_ns and _waited; the
        # supervisors report to the connectivity.
        self._stopping = asyncio.Event()
        self._warm_from_ns: int | None = None
        self._current: Run | None = None  # on the timeline, whether it is recorded or not
        self._joined_ns = 0
        self._waited = False  # between blocks, for the first one of them
        self.connectivity = Connectivity(feeds)
        pauses = {feed.url: PauseMemory() for feed in feeds}
        self._supervisors = [
            ConnectionSupervisor(
                feed,
                line,
                recorder,
                instruments,
                self.connectivity,
                tls=tls,
                address=address,
                receiving=shared,
                backoff=backoff(),
                pauses=pauses[feed.url],
                tap=tap,
            )
            for feed in feeds
            # Also a single line has two connections while one replaces the other.
            for shared in (replace(receiving, siblings=Siblings()),)
            for line, address in zip(recorder.lines, addresses, strict=True)
        ]

    def stop(self) -> None:
        """End `run` after closing all connections gracefully; not ready from now on."""
        self._stopping.set()
        self.connectivity.end()
        for supervisor in self._supervisors:
            supervisor.stop()

    def phase_at(self, unix_ns: int) -> tuple[Run, Phase]:
        """The run and phase this probe is in; `wait` names the run it waits for."""
        run = self._timeline.run_at(unix_ns)
        if self._recorder.run is None or self._recorder.run.start_ns != run.start_ns:
            to_come = run if run.start_ns > unix_ns else self._timeline.run_after(run)
            return to_come, Phase.WAIT
        return run, run.phase_at(unix_ns)

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    @property
    def ready(self) -> bool:
        """Connected, warmed up at least once, and not about to stop."""
        warm = self._warm_from_ns is not None and time.time_ns() >= self._warm_from_ns
        return warm and self.connectivity.connected and not self.stopping

    async def run(self) -> None:
        """Take part in one run after the other until stopped."""
        async with asyncio.TaskGroup() as tasks:
            for supervisor in self._supervisors:
                tasks.create_task(supervisor.run())
            await self._follow_timeline()

    async def _follow_timeline(self) -> None:
        self._joined_ns = time.time_ns()
        steps = StepDetector(threshold_sec=_SET_SEC)
        while not self._stopping.is_set():
            pause_sec = _TICK_SEC
            try:
                pause_sec = min(self._follow_timeline_once(steps), _TICK_SEC)
                self._recorder.report_unlogged_errors()
            except Exception as error:  # noqa: BLE001 - is tried again; the connections go on
                self._recorder.count_error(ErrorKind.INTERNAL, repr(error), error)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_sec):
                    await self._stopping.wait()

    def _follow_timeline_once(self, steps: StepDetector) -> float:
        """Be in the run that is due; returns the seconds until its end, or to the next block."""
        current, now_ns = self._current, time.time_ns()
        if steps.check() is not None:
            self._joined_ns = now_ns  # the clock was set: as if the probe had just started
            _LOG.debug("joining the timeline anew: the clock was set")
        run = self._timeline.run_at(now_ns)
        if current is not None and 0 < current.start_ns - now_ns <= _SET_SEC * NS_PER_SEC:
            run = current  # set back a little: a run that has begun does not begin again
        if run != current and run.start_ns > now_ns:
            self._waited = True  # between blocks
            if self._recorder.run is not None:
                self._begin(None)
            return (run.start_ns - now_ns) / NS_PER_SEC
        # A probe that joins later would measure only a part of the run.
        takes_part = self._joined_ns < run.measure_start_ns
        if run != current:
            if current is not None or self._waited:
                for supervisor in self._supervisors:
                    supervisor.replace(ReconnectReason.SCHEDULE)
            self._begin(run if takes_part else None)
            self._current = run
        elif takes_part and self._recorder.run is None:
            self._begin(run)
        return (run.end_ns - now_ns) / NS_PER_SEC

    def _begin(self, run: Run | None) -> None:
        """Record a run, or none until the next."""
        if run is None:
            _LOG.info("no run to take part in; waiting for the next")
        else:
            measured_sec = (run.measure_end_ns - run.measure_start_ns) // NS_PER_SEC
            extra = {"run": run.label, "measured_sec": measured_sec}
            _LOG.info("run begins", extra=extra)
            warm_from_ns = run.measure_start_ns
            # The first one is the earliest, unless the clock was ahead then.
            self._warm_from_ns = min(self._warm_from_ns or warm_from_ns, warm_from_ns)
        self._recorder.begin_run(run)
