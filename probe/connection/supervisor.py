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
from latency_sweep.probe.connection.first_messages import FirstMessages
from latency_sweep.probe.connection.opened import Opened
from latency_sweep.probe.connection.stall_detector import PauseMemory, StallDetector
from latency_sweep.probe.connection.subscribing import SubscribeStep
from latency_sweep.probe.connection.trial import Finding, StallTrial
from latency_sweep.probe.net.errors import ConnectFailed
from latency_sweep.probe.net.racing import AddressHistory
from latency_sweep.probe.net.receiving import DEFAULT
from latency_sweep.probe.net.websocket import connect
from latency_sweep.runtime import logs

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from latency_sweep.probe.connection.connectivity import Connectivity
    from latency_sweep.probe.feeds.base import Feed
    from latency_sweep.probe.measurement.channel_state import Line
    from latency_sweep.probe.measurement.instruments import Instruments
    from latency_sweep.probe.measurement.recorder import Recorder
    from latency_sweep.probe.net.errors import Closed
    from latency_sweep.probe.net.receiving import Receiving
    from latency_sweep.probe.net.websocket import Record, WebSocketConnection

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


class ConnectionSupervisor:
    """One line: at any time one connection, and two while one replaces the other.

    A planned replacement (a new run, the exchange's limit of age or its announced shutdown) is
    open before the old connection is closed, so that nothing is missed. Until then the old one is
    watched as ever: if it is lost first, that is a loss, and the next connection counts under what
    ended it.

    A connection that is silent for suspiciously long gets a trial: a second one is opened beside
    it, and what they bring decides whether the old one is stalled or the market quiet.

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
        pauses: those of the feed, which its lines share.
        tap: makes of what takes the messages something that hands them on besides.
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
        pauses: PauseMemory | None = None,
        tap: Callable[[Record], Record] | None = None,
    ) -> None:
        self._feed = feed
        self._line = line
        self._recorder = recorder
        self._instruments = instruments
        self._connectivity = connectivity
        self._tls = tls
        self._address = address
        self._receiving = receiving
        self._tap = tap
        self._history = AddressHistory()
        self._backoff = backoff or Backoff()
        self._log = logs.logger(__name__, self._log_context)
        self._streams = ",".join(dict.fromkeys(channel.stream for channel in feed.channels))
        # All that changes once the supervisor runs. `run` alone assigns these, in its own task:
        #   _current       the connection in use; None while there is none
        #   _opening       the task that opens the next one; None while none is wanted
        #   _why_next      what the next connection counts under; None for the first one, `quiet`
        #                  for one that is to be tried beside the connection in use
        #   _trial         the trial of the connection in use; None while there is none
        #   _suspended_sec how long the program was suspended in the last wait
        # `replace`, which the session calls too, sets _opening, _why_next and _trial. `stop` sets
        # _stopping. Both, and whatever a connection reports, set _news, which wakes `run`.
        self._current: Opened | None = None
        self._opening: asyncio.Task[Opened] | None = None
        self._why_next: ReconnectReason | None = None
        self._trial: StallTrial | None = None
        self._suspended_sec = 0.0
        self._stopping = False
        self._news = asyncio.Event()
        self._tasks = asyncio.TaskGroup()
        self._stall_detector = StallDetector(pauses or PauseMemory(), STALL_TIMEOUT_SEC)
        self._first_messages = FirstMessages(feed, recorder)

    def stop(self) -> None:
        """End `run` after closing the connection gracefully."""
        self._stopping = True
        self._news.set()

    def replace(self, why: ReconnectReason) -> None:
        """Open a fresh connection, then close the present one.

        Without effect while one is being opened already: it will be as fresh.
        """
        if self._current is None or self._stopping:
            return
        if self._opening is not None:
            if self._why_next is ReconnectReason.QUIET:
                self._why_next = why
            return
        if self._trial is not None:
            self._drop_trial()
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
            if self._trial is not None:
                self._drop_trial()
            if self._current is not None:
                await self._retire(self._current)

    def _supervise(self) -> None:
        """Act on what has happened."""
        if self._current is not None:
            self._watch(self._current)
        if self._trial is not None:
            self._watch_trial(self._trial)
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

    def _open_after(self, previous: Opened | None) -> None:
        """Begin to open a connection, after a pause if the previous one did not last.

        The exchange may end connections again and again; what we plan comes at its own interval.
        """
        pause_sec = 0.0
        if previous is not None:
            if previous.age_sec >= GOOD_CONNECTION_SEC:
                self._backoff.reset()
            elif self._why_next not in PLANNED:
                pause_sec = self._backoff.next_pause_sec()
        self._open_soon(pause_sec)

    def _open_soon(self, pause_sec: float) -> None:
        self._opening = self._tasks.create_task(self._open(pause_sec))
        self._opening.add_done_callback(self._notice)

    async def _open(self, pause_sec: float) -> Opened:
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

    async def _attempt(self) -> Opened:
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
                record=receiver.record if self._tap is None else self._tap(receiver.record),
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
        return Opened(connection, receiver, shutdown_announced)

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

    def _take(self, fresh: Opened) -> None:
        """Go on with a connection just opened, or try it beside a silent one."""
        self._opening = None
        self._connectivity.opened(self._feed, self._line.name, fresh.connection.remote_address)
        why, self._why_next = self._why_next, None
        if why is ReconnectReason.QUIET and self._current is not None:
            self._trial = StallTrial(fresh, self._current, time.monotonic())
            self._log.debug("trial begins", extra={"remote": fresh.connection.remote_address})
        else:
            self._use(fresh, why)
        self._news.set()  # it may have ended already

    def _use(self, fresh: Opened, why: ReconnectReason | None) -> None:
        """Go on with an open connection, and close the one it replaces."""
        old, self._current = self._current, fresh
        self._stall_detector.connected(time.monotonic())
        extra = {
            "remote": fresh.connection.remote_address,
            "reason": why.value if why else "first connection",
            "replaces": None if old is None else old.connection.remote_address,
        }
        self._log.info("connected", extra=extra)
        if why is not None:
            self._count_reconnect(why)
        if old is not None:
            self._tasks.create_task(self._retire(old))

    def _watch_trial(self, trial: StallTrial) -> None:
        """Go on with the fresh connection, or without, once it is known which is healthy."""
        now = time.monotonic()
        fresh = trial.fresh
        if not self._keep_alive(fresh, now):
            self._trial = None
            self._lose(fresh, fresh.connection.closed.result())
            self._history.failed(fresh.connection.remote_address)
            self._try(self._backoff.next_pause_sec())
            return
        trial.excuse(self._suspended_sec)
        finding = trial.look(now)
        if finding is None:
            if trial.is_over(now, self._stall_detector.trial_sec(now)):
                self._stall_detector.undecided()
                self._drop_trial()
            return
        heard = trial.first_heard or now
        level = logging.INFO
        if finding is Finding.STALLED:
            level = logging.WARNING
            self._stall_detector.stalled(trial.silent_sec, heard)
        else:
            self._stall_detector.heard(heard)
        extra = {"finding": finding.name.lower(), "silent_sec": round(trial.silent_sec, 3)}
        self._log.log(level, "trial decided", extra=extra)
        if finding is Finding.TRIAL_STALLED:
            self._drop_trial()
            return
        self._trial = None
        stalled = finding is Finding.STALLED
        self._use(fresh, ReconnectReason.STALLED if stalled else ReconnectReason.QUIET)

    def _try(self, pause_sec: float = 0.0) -> None:
        """Open a connection for a trial, after a pause."""
        self._why_next = ReconnectReason.QUIET
        self._open_soon(pause_sec)

    def _drop_trial(self) -> None:
        """Close the fresh connection of a trial."""
        assert self._trial is not None
        fresh, self._trial = self._trial.fresh, None
        self._tasks.create_task(self._retire(fresh))

    async def _retire(self, opened: Opened) -> None:
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

    def _lose(self, opened: Opened, end: Closed) -> None:
        connection = opened.connection
        if end.kind is not None:
            self._recorder.count_error(end.kind, end.detail, end.fault)
        self._recorder.closed(self._feed)
        self._connectivity.lost(
            self._feed, self._line.name, connection.remote_address, connection.last_read
        )
        if not self._connectivity.has_connection(self._feed):
            self._recorder.interrupted(self._feed)

    def _watch(self, opened: Opened) -> None:
        """Check the present connection, whether it is being replaced or not."""
        now = time.monotonic()
        detector = self._stall_detector
        detector.excuse(self._suspended_sec)
        pinged = now >= opened.next_ping
        if not self._keep_alive(opened, now):
            self._account_for_loss(opened, opened.connection.closed.result())
            return
        if pinged:
            self._first_messages.learn(now)
            self._log_stall_detector("watching for a stalled stream", logging.DEBUG, now)
        watched_sec = opened.age_sec - self._suspended_sec
        self._first_messages.check(opened, now, watched_sec, FIRST_MESSAGE_TIMEOUT_SEC)
        if self._trial is None and opened.has_news():
            detector.heard(now)
        if self._opening is None:
            self._replace_if_due(opened, now)

    def _keep_alive(self, opened: Opened, now: float) -> bool:
        """Ping a connection when that is due, and say whether it is alive."""
        connection = opened.connection
        if not connection.closed.done():
            connection.look()
        unanswered_sec = connection.unanswered_sec(now) - self._suspended_sec
        if (
            unanswered_sec > UNANSWERED_INTERVALS * PING_INTERVAL_SEC
            and not connection.closed.done()
        ):
            detail = f"nothing received for {unanswered_sec:.1f} s since a ping"
            connection.abort(ReconnectReason.STALLED, detail)
        if connection.closed.done():
            return False
        if now >= opened.next_ping:
            connection.ping()
            opened.next_ping = now + PING_INTERVAL_SEC
        return True

    def _replace_if_due(self, opened: Opened, now: float) -> None:
        if opened.shutdown_announced.is_set():
            self.replace(ReconnectReason.SERVER_SHUTDOWN)
        elif opened.age_sec > ROLLOVER_SEC:
            self.replace(ReconnectReason.ROLLOVER)
        elif self._trial is None and self._stall_detector.is_suspect(now):
            self._log_stall_detector("a stream is silent; trying another", logging.INFO, now)
            self._try()

    def _log_stall_detector(self, message: str, level: int, now: float) -> None:
        detector = self._stall_detector
        extra = {
            "pause_sec": round(detector.pause_sec(now), 3),
            "limit_sec": round(detector.limit_sec(now), 3),
        }
        self._log.log(level, message, extra=extra)

    def _account_for_loss(self, opened: Opened, end: Closed) -> None:
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
        why = ReconnectReason.SERVER_SHUTDOWN if announced else end.reason
        if self._trial is not None:
            trial, self._trial = self._trial, None
            self._use(trial.fresh, why)
            return
        self._stall_detector.disconnected()
        self._why_next = why
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
