"""Keeps one connection of a feed alive: opens it, watches it, replaces it however it ends."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from probe.contract.metrics import ErrorKind, ReconnectReason
from probe.net.backoff import Backoff
from probe.net.errors import Closed, ConnectFailed
from probe.net.receiving import DEFAULT
from probe.net.websocket import connect
from probe.silence import StreamSilence

if TYPE_CHECKING:
    import ssl

    from probe.contract.metrics import ConnectPhase
    from probe.feeds.base import Feed
    from probe.instruments import Instruments
    from probe.life import ConnectionLife
    from probe.net.receiving import Receiving
    from probe.net.websocket import WebSocketConnection
    from probe.recorder import ConnectionReceiver, Line, Recorder

_LOG = logging.getLogger(__name__)
# Binance pings every 20 s, so an open connection is never silent for longer than that.
SILENCE_TIMEOUT_SEC: Final = 30.0
FIRST_MESSAGE_TIMEOUT_SEC: Final = 30.0
# One ping in 5 s stays far below Binance's limit of five messages a second.
PING_INTERVAL_SEC: Final = 5.0
# Binance cuts a connection after 24 hours; the new one has to run before that.
ROLLOVER_SEC: Final = 24 * 3600.0 - 600.0
# A connection that lasted this long was a good one: after it, pauses begin anew. Connections that
# each last just so long are a fifth of the attempts that Binance allows.
GOOD_CONNECTION_SEC: Final = 5.0
_TICK_SEC: Final = 1.0


class _Opened:
    """A connection, what it delivers to, and since when."""

    def __init__(self, connection: WebSocketConnection, receiver: ConnectionReceiver) -> None:
        self.connection = connection
        self.receiver = receiver
        self.since = time.monotonic()

    @property
    def age_sec(self) -> float:
        return time.monotonic() - self.since


class ConnectionKeeper:
    """One line: at any time one connection, and two while one replaces the other.

    A planned replacement (a new run, the exchange's limit of age or its announced shutdown) is
    open before the old connection is closed, so that nothing is missed.

    Args:
        feed: what to subscribe to.
        line: its counters.
        recorder: takes the messages.
        instruments: take durations and reasons.
        life: told of connections opened and lost.
        tls: context for `wss` endpoints.
        address: IP address to use instead of resolving the endpoint's name, or None.
        receiving: where receive stamps come from, and whether to poll.
        backoff: pauses between failed attempts.
    """

    def __init__(
        self,
        feed: Feed,
        line: Line,
        recorder: Recorder,
        instruments: Instruments,
        life: ConnectionLife,
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
        self._life = life
        self._tls = tls
        self._address = address
        self._receiving = receiving
        self._backoff = backoff or Backoff()
        self._stopping = asyncio.Event()
        self._replacement_wanted = asyncio.Event()
        self._why_replace = ReconnectReason.SCHEDULE
        self._lost_by: ReconnectReason | None = None
        self._silence = StreamSilence(SILENCE_TIMEOUT_SEC)
        self._retiring: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """End `run` after closing the connection in good order."""
        self._stopping.set()

    def replace(self, why: ReconnectReason) -> None:
        """Open a fresh connection, then close the present one."""
        self._why_replace = why
        self._replacement_wanted.set()

    async def run(self) -> None:
        """Stay connected until stopped."""
        opened: _Opened | None = None
        while not self._stopping.is_set():
            if opened is None:
                opened = await self._open()
                continue
            end = await self._supervise(opened)
            if end is None:
                if not self._stopping.is_set():
                    opened = await self._replace(opened)
                continue
            await self._account_for_loss(opened, end)
            opened = None
        if opened is not None:
            await self._retire(opened)
        await asyncio.gather(*self._retiring)

    async def _open(self) -> _Opened | None:
        """One attempt; None after a failure and its pause."""
        self._replacement_wanted.clear()
        receiver = self._recorder.receiver(self._feed, self._line, self._on_shutdown)
        try:
            connection = await connect(
                self._feed.url,
                headers=self._feed.headers,
                tls=self._tls,
                address=self._address,
                receiving=self._receiving,
                on_messages=receiver.on_messages,
                on_rtt=self._instruments.rtt.labels(self._feed.market).observe,
                on_phase=self._observe_phase,
            )
        except ConnectFailed as failure:
            self._recorder.closed(self._feed)
            self._recorder.count_error(failure.kind, str(failure))
            await self._pause(max(self._backoff.next_pause_sec(), failure.retry_after_sec or 0.0))
            return None
        self._life.opened(self._feed, self._line.name, connection.remote_address)
        if self._lost_by is not None:
            self._count_reconnect(self._lost_by)
            self._lost_by = None
        self._silence.opened(time.monotonic())
        return _Opened(connection, receiver)

    async def _replace(self, old: _Opened) -> _Opened | None:
        """A fresh connection beside the old one, which is then closed; None if both failed."""
        why = self._why_replace
        while not self._stopping.is_set():
            fresh = await self._open()
            if fresh is not None:
                self._count_reconnect(why)
                task = asyncio.create_task(self._retire(old))
                self._retiring.add(task)
                task.add_done_callback(self._retiring.discard)
                return fresh
            if old.connection.closed.done():
                # What the exchange announced, or the limit of age, came before the replacement.
                reason = why if why is ReconnectReason.SERVER_SHUTDOWN else None
                end = old.connection.closed.result()
                await self._account_for_loss(old, Closed(reason or end.reason, end.detail))
                return None
        return old

    async def _retire(self, opened: _Opened) -> None:
        await opened.connection.close()
        self._lose()

    def _lose(self) -> None:
        self._recorder.closed(self._feed)
        self._life.lost(self._feed, self._line.name)

    async def _account_for_loss(self, opened: _Opened, end: Closed) -> None:
        self._lose()
        if not self._life.has_connection(self._feed):
            self._recorder.interrupted(self._feed)
        self._lost_by = end.reason
        _LOG.warning("connection ended: %s: %s", end.reason.value, end.detail)
        if opened.age_sec >= GOOD_CONNECTION_SEC:
            self._backoff.reset()
        else:
            await self._pause(self._backoff.next_pause_sec())

    async def _supervise(self, opened: _Opened) -> Closed | None:
        """Watch a connection; how it ended, or None if it is to be replaced or closed."""
        connection = opened.connection
        next_ping = time.monotonic()
        checked_channels = False
        while not connection.closed.done():
            if self._stopping.is_set() or self._replacement_wanted.is_set():
                return None
            now = time.monotonic()
            if now - connection.last_read > SILENCE_TIMEOUT_SEC:
                detail = f"nothing received for {SILENCE_TIMEOUT_SEC:g} s"
                connection.abort(ReconnectReason.SILENCE, detail)
                break
            if opened.age_sec > ROLLOVER_SEC:
                self.replace(ReconnectReason.ROLLOVER)
                return None
            self._silence.note(now, opened.receiver.newest_ns)
            if now >= next_ping:
                connection.ping()
                next_ping = now + PING_INTERVAL_SEC
            if not checked_channels and opened.age_sec > FIRST_MESSAGE_TIMEOUT_SEC:
                checked_channels = True
                self._report_silent_channels(opened.receiver)
            if self._silence.is_suspicious(now):
                _LOG.warning("the connection is alive but brings no messages; trying another")
                self.replace(ReconnectReason.SILENCE)
                return None
            await self._wait_for_news(connection)
        return connection.closed.result()

    async def _wait_for_news(self, connection: WebSocketConnection) -> None:
        waits: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(self._stopping.wait()),
            asyncio.ensure_future(self._replacement_wanted.wait()),
        ]
        try:
            await asyncio.wait(
                [connection.closed, *waits],
                timeout=_TICK_SEC,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for wait in waits:
                wait.cancel()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _on_shutdown(self) -> None:
        self.replace(ReconnectReason.SERVER_SHUTDOWN)

    def _count_reconnect(self, reason: ReconnectReason) -> None:
        self._instruments.reconnects.labels(self._feed.market, reason.value).inc()

    def _observe_phase(self, phase: ConnectPhase, seconds: float) -> None:
        self._instruments.connect_duration.labels(self._feed.market, phase.value).observe(seconds)

    def _report_silent_channels(self, receiver: ConnectionReceiver) -> None:
        for channel in receiver.silent_channels():
            self._recorder.count_error(
                ErrorKind.NO_FIRST_MESSAGE,
                f"{channel.stream} of {channel.symbol} sent nothing within "
                f"{FIRST_MESSAGE_TIMEOUT_SEC:g} s of subscribing; is the symbol traded here?",
            )
