"""Supervises one connection of a feed: opens it, watches it, replaces it however it ends."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from latency_sweep.contract.metrics import PLANNED, ConnectStep, ErrorKind, ReconnectReason
from latency_sweep.probe.connection.backoff import Backoff
from latency_sweep.probe.connection.stall_detector import StallDetector
from latency_sweep.probe.connection.subscribing import SubscribeStep
from latency_sweep.probe.net.errors import ConnectFailed
from latency_sweep.probe.net.racing import AddressHistory
from latency_sweep.probe.net.receiving import DEFAULT
from latency_sweep.probe.net.websocket import connect
from latency_sweep.runtime import logs

if TYPE_CHECKING:
    import ssl

    from latency_sweep.probe.connection.connectivity import Connectivity
    from latency_sweep.probe.feeds.base import Feed
    from latency_sweep.probe.measurement.instruments import Instruments
    from latency_sweep.probe.measurement.recorder import ConnectionReceiver, Line, Recorder
    from latency_sweep.probe.net.errors import Closed
    from latency_sweep.probe.net.receiving import Receiving
    from latency_sweep.probe.net.websocket import WebSocketConnection

STALL_TIMEOUT_SEC: Final = 30.0
FIRST_MESSAGE_TIMEOUT_SEC: Final = 30.0
# One ping in 5 s stays far below Binance's limit of five messages a second.
PING_INTERVAL_SEC: Final = 5.0
# A ping that has been unanswered for this many intervals while nothing else arrived ends the
# connection: what arrives answers a ping or comes of itself, so a live one is never quiet so long.
UNANSWERED_INTERVALS: Final = 2
# Binance cuts a connection after 24 hours; the new one has to run before that.
ROLLOVER_SEC: Final = 24 * 3600.0 - 600.0
# After a connection that lasted this long the backoff starts over. Connections that each last just
# so long are a fifth of the attempts that Binance allows.
GOOD_CONNECTION_SEC: Final = 5.0
# An end that the event loop does not tell of is noticed within this time.
_TICK_SEC: Final = 0.5


class _Opened:
    """A connection, what it delivers to, and what is known of it.

    Attributes:
        connection: the connection.
        receiver: takes its messages.
        shutdown_announced: whether the exchange announced on it that it will close it.
        since: `time.monotonic()` of its opening.
        next_ping: `time.monotonic()` at which the next ping is due.
        channels_checked: whether channels without any message have been reported.
    """

    def __init__(
        self,
        connection: WebSocketConnection,
        receiver: ConnectionReceiver,
        shutdown_announced: asyncio.Event,
    ) -> None:
        self.connection = connection
        self.receiver = receiver
        self.shutdown_announced = shutdown_announced
        self.since = time.monotonic()
        self.next_ping = self.since
        self.channels_checked = False

    @property
    def age_sec(self) -> float:
        return time.monotonic() - self.since


class ConnectionSupervisor:
    """One line: at any time one connection, and two while one replaces the other.

    A planned replacement (a new run, the exchange's limit of age or its announced shutdown) is
    open before the old connection is closed, so that nothing is missed. Until then the old one is
    watched as ever: if it is lost first, that is a loss, and the next connection counts under what
    ended it.

    Args:
        feed: what to subscribe to.
        line: its counters.
        recorder: takes the messages.
        instruments: take durations and reasons.
        connectivity: told of connections opened and lost.
        tls: context for `wss` endpoints.
        address: IP address to use instead of resolving the endpoint's name, or None.
        receiving: where receive timestamps come from, and whether to poll.
        backoff: pauses between failed attempts.
    """

    def __init__(
        self,
        feed: Feed,
        line: Line,
        recorder: Recorder,
        instruments: Instruments,
        connectivity: Connectivity,
        *,
        tls: ssl.SSLContext,
        address: str | None = None,
        receiving: Receiving = DEFAULT,
        backoff: Backoff | None = None,
    ) -> None:
        self._feed = feed
        self._line = line
        self._recorder = recorder
        self._instruments = instruments
        self._connectivity = connectivity
        self._tls = tls
        self._address = address
        self._receiving = receiving
        self._history = AddressHistory()
        self._backoff = backoff or Backoff()
        self._log = logs.logger(__name__, self._log_context)
        self._streams = ",".join(dict.fromkeys(channel.stream for channel in feed.channels))
        # All that changes once the supervisor runs. `run` alone assigns these, in its own task:
        #   _current       the connection in use; None while there is none
        #   _opening       the task that opens the next one; None while none is wanted
        #   _why_next      what the next connection counts under; None for the first one
        #   _suspended_sec how long the program was suspended in the last wait
        # `replace`, which the session calls too, sets _opening and _why_next while nothing is being
        # opened. `stop` sets _stopping. Both, and whatever a connection reports, set _news, which
        # wakes `run`.
        self._current: _Opened | None = None
        self._opening: asyncio.Task[_Opened] | None = None
        self._why_next: ReconnectReason | None = None
        self._suspended_sec = 0.0
        self._stopping = False
        self._news = asyncio.Event()
        self._tasks = asyncio.TaskGroup()
        self._stall_detector = StallDetector(STALL_TIMEOUT_SEC)

    def stop(self) -> None:
        """End `run` after closing the connection gracefully."""
        self._stopping = True
        self._news.set()

    def replace(self, why: ReconnectReason) -> None:
        """Open a fresh connection, then close the present one.

        Without effect while one is being opened already: it will be as fresh.
        """
        if self._current is None or self._opening is not None or self._stopping:
            return
        extra = {"reason": why.value, "age_sec": round(self._current.age_sec, 3)}
        self._log.info("replacing the connection", extra=extra)
        self._why_next = why
        self._open_after(self._current)

    async def run(self) -> None:
        """Stay connected until stopped. To be called once."""
        async with self._tasks:
            self._open_after(None)
            while not self._stopping:
                await self._wait_for_news()
                try:
                    self._supervise()
                except Exception as error:  # noqa: BLE001 - ends this connection, and nothing else
                    self._fail(error)
            if self._opening is not None:
                self._opening.cancel()
                await asyncio.wait([self._opening])
                if not self._opening.cancelled():
                    self._take(self._opening.result())
            if self._current is not None:
                await self._retire(self._current)

    def _supervise(self) -> None:
        """Act on what has happened."""
        if self._current is not None:
            self._watch(self._current)
        if self._opening is not None and self._opening.done():
            self._take(self._opening.result())

    def _fail(self, error: Exception) -> None:
        """The program failed while it supervised the connection: end that, and open another."""
        if self._current is not None:
            self._current.connection.failed(error)  # its end is news
            return
        self._recorder.count_error(ErrorKind.INTERNAL, repr(error), error)
        if self._opening is None:
            self._open_after(None)

    def _open_after(self, previous: _Opened | None) -> None:
        """Begin to open a connection, after a pause if the previous one did not last.

        The exchange may end connections again and again; what we plan comes at its own interval.
        """
        pause_sec = 0.0
        if previous is not None:
            if previous.age_sec >= GOOD_CONNECTION_SEC:
                self._backoff.reset()
            elif self._why_next not in PLANNED:
                pause_sec = self._backoff.next_pause_sec()
        self._opening = self._tasks.create_task(self._open(pause_sec))
        self._opening.add_done_callback(self._notice)

    async def _open(self, pause_sec: float) -> _Opened:
        """A connection, after a pause and as many attempts as it takes."""
        while True:
            await self._pause(pause_sec)
            try:
                return await self._attempt()
            except ConnectFailed as failure:
                fault = failure.__cause__ if failure.kind is ErrorKind.INTERNAL else None
                self._recorder.count_error(failure.kind, str(failure), fault)
                pause_sec = max(self._backoff.next_pause_sec(), failure.retry_after_sec or 0.0)
                extra = {
                    "step": failure.step.value,
                    "retry_after_sec": failure.retry_after_sec,
                    "pause_sec": round(pause_sec, 3),
                }
                self._log.debug("attempt to connect failed", extra=extra)
            except Exception as error:  # noqa: BLE001 - fails this attempt, and nothing else
                self._recorder.count_error(ErrorKind.INTERNAL, repr(error), error)
                pause_sec = self._backoff.next_pause_sec()

    async def _attempt(self) -> _Opened:
        shutdown_announced = asyncio.Event()
        extra = {"host": urlsplit(self._feed.url).netloc, "address": self._address}
        self._log.debug("connecting", extra=extra)

        subscriber = SubscribeStep(self._feed.opening_messages)

        def on_shutdown() -> None:
            if shutdown_announced.is_set():
                return
            self._log.info("the exchange announced that it will close the connection")
            shutdown_announced.set()
            self._news.set()

        receiver = self._recorder.receiver(
            self._feed, self._line, on_shutdown, subscriber.take_answer
        )
        try:
            connection = await connect(
                self._feed.url,
                headers=self._feed.headers,
                tls=self._tls,
                address=self._address,
                receiving=self._receiving,
                history=self._history,
                record=receiver.record,
                on_rtt=self._instruments.rtt.labels(self._feed.market).observe,
                on_step=self._observe_step,
                log=self._log,
            )
            await self._subscribe(subscriber, connection)
        except BaseException:
            self._recorder.closed(self._feed)
            raise
        if self._current is not None and connection.closed.done():
            # It would replace a good connection by none.
            self._recorder.closed(self._feed)
            self._history.failed(connection.remote_address)
            end = connection.closed.result()
            why = f"accepted and ended at once: {end.detail}"
            raise ConnectFailed(ConnectStep.UPGRADE, why, kind=end.kind) from end.fault
        connection.closed.add_done_callback(self._notice)
        return _Opened(connection, receiver, shutdown_announced)

    async def _subscribe(self, subscriber: SubscribeStep, connection: WebSocketConnection) -> None:
        """Subscribe to what the URL does not name."""
        if not self._feed.opening_messages:
            return
        began = time.perf_counter()
        try:
            await subscriber.subscribe(connection)
        except BaseException as error:
            self._history.failed(connection.remote_address)
            connection.abort(ReconnectReason.CONNECTION_LOST, str(error))
            raise
        self._observe_step(ConnectStep.SUBSCRIBE, time.perf_counter() - began)

    def _take(self, fresh: _Opened) -> None:
        """Go on with a connection just opened, and close the one it replaces."""
        old, self._current, self._opening = self._current, fresh, None
        self._connectivity.opened(self._feed, self._line.name, fresh.connection.remote_address)
        self._stall_detector.opened(time.monotonic())
        extra = {
            "remote": fresh.connection.remote_address,
            "reason": self._why_next.value if self._why_next else "first connection",
            "replaces": None if old is None else old.connection.remote_address,
        }
        self._log.info("connected", extra=extra)
        if self._why_next is not None:
            self._count_reconnect(self._why_next)
            self._why_next = None
        if old is not None:
            self._tasks.create_task(self._retire(old))
        self._news.set()  # it may have ended already

    async def _retire(self, opened: _Opened) -> None:
        connection = opened.connection
        try:
            await connection.close()
        except Exception as error:  # noqa: BLE001 - ends this connection, and nothing else
            connection.failed(error)
        end = connection.closed.result()
        extra = {"remote": connection.remote_address, "detail": end.detail}
        self._log.debug("connection closed", extra=extra)
        try:
            self._lose(opened, end)
        except Exception as error:  # noqa: BLE001 - the connection has ended; the others go on
            self._recorder.count_error(ErrorKind.INTERNAL, repr(error), error)

    def _lose(self, opened: _Opened, end: Closed) -> None:
        connection = opened.connection
        if end.kind is not None:
            self._recorder.count_error(end.kind, end.detail, end.fault)
        self._recorder.closed(self._feed)
        self._connectivity.lost(
            self._feed, self._line.name, connection.remote_address, connection.last_read
        )
        if not self._connectivity.has_connection(self._feed):
            self._recorder.interrupted(self._feed)

    def _watch(self, opened: _Opened) -> None:
        """Check the present connection, whether it is being replaced or not."""
        connection = opened.connection
        if not connection.closed.done():
            connection.look()
        now = time.monotonic()
        unanswered_sec = connection.unanswered_sec(now) - self._suspended_sec
        if (
            unanswered_sec > UNANSWERED_INTERVALS * PING_INTERVAL_SEC
            and not connection.closed.done()
        ):
            detail = f"nothing received for {unanswered_sec:.1f} s since a ping"
            connection.abort(ReconnectReason.STALLED, detail)
        if connection.closed.done():
            self._account_for_loss(opened, connection.closed.result())
            return
        self._stall_detector.excuse(self._suspended_sec)
        self._stall_detector.note(now, opened.receiver.newest_ns)
        if now >= opened.next_ping:
            connection.ping()
            opened.next_ping = now + PING_INTERVAL_SEC
            self._log_stall_detector("watching for a stalled stream", logging.DEBUG, now)
        watched_sec = opened.age_sec - self._suspended_sec
        if not opened.channels_checked and watched_sec > FIRST_MESSAGE_TIMEOUT_SEC:
            opened.channels_checked = True
            self._report_channels_without_message(opened.receiver)
        if self._opening is None:
            self._replace_if_due(opened, now)

    def _replace_if_due(self, opened: _Opened, now: float) -> None:
        if opened.shutdown_announced.is_set():
            self.replace(ReconnectReason.SERVER_SHUTDOWN)
        elif opened.age_sec > ROLLOVER_SEC:
            self.replace(ReconnectReason.ROLLOVER)
        elif self._stall_detector.is_stalled(now):
            self._log_stall_detector("stalled stream", logging.WARNING, now)
            self.replace(ReconnectReason.STALLED)

    def _log_stall_detector(self, message: str, level: int, now: float) -> None:
        detector = self._stall_detector
        extra = {
            "pause_sec": round(detector.pause_sec(now), 3),
            "limit_sec": round(detector.limit_sec, 3),
        }
        self._log.log(level, message, extra=extra)

    def _account_for_loss(self, opened: _Opened, end: Closed) -> None:
        self._current = None
        self._lose(opened, end)
        extra = {
            "remote": opened.connection.remote_address,
            "reason": end.reason.value,
            "detail": end.detail,
            "age_sec": round(opened.age_sec, 3),
        }
        self._log.warning("connection ended", extra=extra)
        if opened.age_sec < GOOD_CONNECTION_SEC or end.reason is ReconnectReason.STALLED:
            self._history.failed(opened.connection.remote_address)
        announced = opened.shutdown_announced.is_set()
        self._why_next = ReconnectReason.SERVER_SHUTDOWN if announced else end.reason
        if self._opening is None:
            self._open_after(opened)

    async def _wait_for_news(self) -> None:
        began = time.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(_TICK_SEC):
                await self._news.wait()
        self._news.clear()
        self._suspended_sec = max(0.0, time.monotonic() - began - _TICK_SEC)

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def _notice(self, _: asyncio.Future[Any]) -> None:
        self._news.set()

    def _count_reconnect(self, reason: ReconnectReason) -> None:
        self._instruments.reconnects.labels(self._feed.market, reason.value).inc()

    def _observe_step(self, step: ConnectStep, seconds: float) -> None:
        self._instruments.connect_duration.labels(self._feed.market, step.value).observe(seconds)
        self._log.debug("connect step", extra={"step": step.value, "seconds": round(seconds, 6)})

    def _log_context(self) -> dict[str, object]:
        run = self._recorder.run
        return {
            "connection": self._line.name,
            "stream": self._streams,
            "run": None if run is None else run.label,
        }

    def _report_channels_without_message(self, receiver: ConnectionReceiver) -> None:
        for channel in receiver.channels_without_message():
            self._recorder.count_error(
                ErrorKind.NO_FIRST_MESSAGE,
                f"{channel.stream} of {channel.symbol} sent nothing within "
                f"{FIRST_MESSAGE_TIMEOUT_SEC:g} s of subscribing; is the symbol traded here?",
            )
