"""The life of a feed's connection: fresh for every run, replaced however it ends."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from probe.contract.metrics import ErrorKind, Phase, ReconnectReason
from probe.contract.timeline import NS_PER_SEC
from probe.net.backoff import Backoff
from probe.net.errors import Closed, ConnectFailed
from probe.net.websocket import connect

if TYPE_CHECKING:
    import ssl

    from probe.contract.metrics import ConnectPhase
    from probe.contract.timeline import Run, Timeline
    from probe.feeds.base import Feed
    from probe.instruments import Instruments
    from probe.net.websocket import WebSocketConnection
    from probe.recorder import Recorder

_LOG = logging.getLogger(__name__)
# Binance pings every 20 s, so an open connection is never silent for longer than that.
SILENCE_TIMEOUT_SEC: Final = 30.0
FIRST_MESSAGE_TIMEOUT_SEC: Final = 30.0
# One ping in 5 s stays far below Binance's limit of five messages a second.
PING_INTERVAL_SEC: Final = 5.0
# A connection that lasted this long was a good one: the next attempt starts without a pause.
GOOD_CONNECTION_SEC: Final = 10.0
_TICK_SEC: Final = 1.0


class ConnectionLife:
    """Whether there is a connection, and for how long there was none.

    Attributes:
        connected: whether there is one now.
        remote_address: address of the server in use, or empty.
    """

    def __init__(self) -> None:
        self.connected = False
        self.remote_address = ""
        self._lost_at: float | None = None
        self._disconnected_sec = 0.0

    @property
    def disconnected_sec(self) -> float:
        """Seconds without a connection since the first one."""
        current = time.monotonic() - self._lost_at if self._lost_at is not None else 0.0
        return self._disconnected_sec + current

    def opened(self, remote_address: str) -> None:
        """A connection is there."""
        self._disconnected_sec = self.disconnected_sec
        self._lost_at = None
        self.connected = True
        self.remote_address = remote_address

    def lost(self) -> None:
        """It is gone."""
        self.connected = False
        self.remote_address = ""
        self._lost_at = time.monotonic()


class Session:
    """Keeps one feed connected and its recorder on the timeline.

    Args:
        feed: what to subscribe to.
        timeline: when runs begin and end.
        recorder: takes the messages.
        instruments: take the durations and reasons.
        tls: context for `wss` endpoints.
        shutdown_announced: set when the exchange is about to close the connection.
        backoff: pauses between failed attempts.
    """

    def __init__(
        self,
        feed: Feed,
        timeline: Timeline,
        recorder: Recorder,
        instruments: Instruments,
        *,
        tls: ssl.SSLContext,
        shutdown_announced: asyncio.Event,
        backoff: Backoff | None = None,
    ) -> None:
        self._feed = feed
        self._timeline = timeline
        self._recorder = recorder
        self._instruments = instruments
        self._tls = tls
        self._backoff = backoff or Backoff()
        self._shutdown_announced = shutdown_announced
        self._stopping = asyncio.Event()
        self._replaces: ReconnectReason | None = None
        self._warm_from_ns: int | None = None
        self.life = ConnectionLife()

    def stop(self) -> None:
        """End `run` after closing the connection in good order."""
        self._stopping.set()

    def phase_at(self, unix_ns: int) -> tuple[Run, Phase]:
        """The run and phase this probe is in; `wait` names the run it waits for."""
        run = self._timeline.run_at(unix_ns)
        if self._recorder.run is None or self._recorder.run.start_ns != run.start_ns:
            return self._timeline.run_after(run), Phase.WAIT
        return run, run.phase_at(unix_ns)

    @property
    def ready(self) -> bool:
        """Connected, and warmed up at least once."""
        warm = self._warm_from_ns is not None and time.time_ns() >= self._warm_from_ns
        return warm and self.life.connected

    async def run(self) -> None:
        """Take part in one run after the other until stopped."""
        # Who joins after a measurement began would pair with others on a part of it only.
        joined_ns = time.time_ns()
        while not self._stopping.is_set():
            run = self._timeline.run_at(time.time_ns())
            takes_part = joined_ns < run.measure_start_ns
            if takes_part and self._warm_from_ns is None:
                self._warm_from_ns = run.measure_start_ns
            self._recorder.begin_run(run if takes_part else None)
            await self._stay_connected(run.end_ns)

    async def _stay_connected(self, end_ns: int) -> None:
        while not self._stopping.is_set() and time.time_ns() < end_ns:
            connection = await self._connect(end_ns)
            if connection is None:
                continue
            opened = time.monotonic()
            closed = await self._supervise(connection, end_ns)
            self.life.lost()
            self._replaces = closed.reason
            if closed.reason is not ReconnectReason.SCHEDULE:
                _LOG.warning("connection ended: %s: %s", closed.reason.value, closed.detail)
                if time.monotonic() - opened >= GOOD_CONNECTION_SEC:
                    self._backoff.reset()
                else:
                    await self._pause(self._backoff.next_pause_sec(), end_ns)

    async def _connect(self, end_ns: int) -> WebSocketConnection | None:
        """One attempt; None after a failure and its pause."""
        self._shutdown_announced.clear()
        planned = self._replaces in {None, ReconnectReason.SCHEDULE}
        self._recorder.begin_connection(planned=planned)
        try:
            connection = await connect(
                self._feed.url,
                headers=self._feed.headers,
                tls=self._tls,
                on_message=self._recorder.on_message,
                on_rtt=self._instruments.rtt.labels(self._feed.market).observe,
                on_phase=self._observe_phase,
            )
        except ConnectFailed as failure:
            self._recorder.count_error(failure.kind, str(failure))
            pause = max(self._backoff.next_pause_sec(), failure.retry_after_sec or 0.0)
            await self._pause(pause, end_ns)
            return None
        self.life.opened(connection.remote_address)
        if self._replaces is not None:
            labels = (self._feed.market, self._replaces.value)
            self._instruments.reconnects.labels(*labels).inc()
            self._replaces = None
        return connection

    async def _supervise(self, connection: WebSocketConnection, end_ns: int) -> Closed:
        """Wait for the end of the connection or of the run, watching for silence meanwhile."""
        next_ping = opened = time.monotonic()
        checked_channels = False
        while not connection.closed.done():
            remaining_sec = (end_ns - time.time_ns()) / NS_PER_SEC
            if remaining_sec <= 0 or self._stopping.is_set():
                await connection.close()
                return Closed(ReconnectReason.SCHEDULE, "end of the run")
            if self._shutdown_announced.is_set():
                await connection.close()
                return Closed(ReconnectReason.SERVER_SHUTDOWN, "announced by the exchange")
            now = time.monotonic()
            if now - connection.last_read > SILENCE_TIMEOUT_SEC:
                detail = f"nothing received for {SILENCE_TIMEOUT_SEC:g} s"
                connection.abort(ReconnectReason.SILENCE, detail)
                break
            if now >= next_ping:
                connection.ping()
                next_ping = now + PING_INTERVAL_SEC
            if not checked_channels and now - opened > FIRST_MESSAGE_TIMEOUT_SEC:
                checked_channels = True
                self._report_silent_channels()
            await self._wait_for_news(connection, min(remaining_sec, _TICK_SEC))
        return connection.closed.result()

    async def _wait_for_news(self, connection: WebSocketConnection, timeout_sec: float) -> None:
        waits: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(self._stopping.wait()),
            asyncio.ensure_future(self._shutdown_announced.wait()),
        ]
        try:
            await asyncio.wait(
                [connection.closed, *waits],
                timeout=timeout_sec,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for wait in waits:
                wait.cancel()

    async def _pause(self, seconds: float, end_ns: int) -> None:
        remaining_sec = max(0.0, (end_ns - time.time_ns()) / NS_PER_SEC)
        with suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, remaining_sec)):
                await self._stopping.wait()

    def _observe_phase(self, phase: ConnectPhase, seconds: float) -> None:
        self._instruments.connect_duration.labels(self._feed.market, phase.value).observe(seconds)

    def _report_silent_channels(self) -> None:
        for channel in self._recorder.silent_channels():
            self._recorder.count_error(
                ErrorKind.NO_FIRST_MESSAGE,
                f"{channel.stream} of {channel.symbol} sent nothing within "
                f"{FIRST_MESSAGE_TIMEOUT_SEC:g} s of subscribing; is the symbol traded here?",
            )
