"""One WebSocket connection: handshake, requests, limits, pings and the ways it ends.

`websockets`' Sans-I/O core speaks the protocol; the bytes go through the site's `Outbox`, which
adds the latency. What the client sends is handled one inbound latency after its arrival, so that a
reply comes back after a whole round trip.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from latency_sweep.lab.exchange.commands import (
    BadParameterError,
    Subscriptions,
    UnknownPathError,
    parse_target,
)
from latency_sweep.lab.exchange.delivery import END, Outbox
from latency_sweep.lab.exchange.markets.events import text_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from latency_sweep.lab.exchange.commands import Opening
    from latency_sweep.lab.exchange.config import MarketName
    from latency_sweep.lab.exchange.delivery import Dispatcher, SiteState, StallMode
    from latency_sweep.lab.exchange.markets.events import MarketEvent
    from latency_sweep.lab.exchange.markets.rules import ConnectionLimits, Rules

NS_PER_SEC: Final = 1e9
NS_PER_MS: Final = 1_000_000
# How long a closing connection may take before it is cut.
CLOSE_TIMEOUT_SEC: Final = 5.0
API_KEY_HEADER: Final = "X-MBX-APIKEY"
NO_KEY: Final = '{"code":-2014,"msg":"API-key format invalid."}'
WRONG_KEY: Final = '{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}'
# Of a request line, and of a message: Binance documents neither, clients found both.
MAX_TARGET_CHARS: Final = 8_000
MAX_INBOUND_BYTES: Final = 4_096


@dataclass(frozen=True, slots=True)
class MarketContext:
    """What all connections of a market share.

    Attributes:
        market: its name.
        rules: the market's rules.
        api_keys: keys that open a connection, where one is needed.
        dispatcher: carries the events.
        limits: what a connection is allowed.
        clock_offset_ns: error of the exchange's clock.
        next_number: gives each connection its number.
        joined: called with a connection when it is made.
        left: called with a connection when it has ended.
        audience_changed: called when subscriptions changed.
    """

    market: MarketName
    rules: Rules
    api_keys: frozenset[str]
    dispatcher: Dispatcher
    limits: ConnectionLimits
    clock_offset_ns: int
    next_number: Callable[[], int]
    joined: Callable[[ServerConnection], None]
    left: Callable[[ServerConnection], None]
    audience_changed: Callable[[], None]


class _RefusedError(Exception):
    """A connection is refused; the text is the body of the answer."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class ServerConnection(asyncio.Protocol):
    """The server's side of one connection."""

    def __init__(self, site: SiteState, context: MarketContext) -> None:
        """A connection of `site` that is not made yet."""
        self.site = site
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._websocket = ServerProtocol(logger=logging.getLogger(__name__))
        self._arrived: deque[bytes] = deque()
        self._last_arrival_ns = 0
        self._unit = context.rules.units[0]
        self._route = ""
        self._subscriptions: Subscriptions | None = None
        self._inbound_times: deque[float] = deque(maxlen=context.limits.messages_per_sec)
        self._pings: dict[bytes, asyncio.TimerHandle] = {}
        self._ping_timer: asyncio.TimerHandle | None = None
        self._lifetime_timer: asyncio.TimerHandle | None = None
        self._end_timer: asyncio.TimerHandle | None = None
        self._direct = False
        self._end_reason = "client"
        self._lost = False

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection."""
        # asyncio's own TLS transport is no subclass of asyncio.Transport.
        self._transport = cast("asyncio.Transport", transport)
        number = self._context.next_number()
        self._outbox = Outbox(
            self.site, self.market, number, self._transport, self._context.dispatcher
        )
        self._context.joined(self)
        self.site.connections += 1

    def data_received(self, data: bytes) -> None:
        """Handle the bytes after the inbound latency, in order."""
        now_ns = time.time_ns()
        due_ns = max(self._last_arrival_ns, now_ns + self.site.latency.next_ns(now_ns))
        self._last_arrival_ns = due_ns
        self._arrived.append(data)
        self._loop.call_later((due_ns - now_ns) / NS_PER_SEC, self._handle_arrived)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Clean up."""
        self._lost = True
        self._leave()
        if self._end_timer is not None:
            self._end_timer.cancel()
        self._outbox.discard()
        self.site.connections -= 1
        self.site.disconnects[self._end_reason] += 1
        self._context.left(self)

    def pause_writing(self) -> None:
        """Hold further messages while the client does not read."""
        self._outbox.set_congested(congested=True)

    def resume_writing(self) -> None:
        """Continue sending."""
        self._outbox.set_congested(congested=False)

    # The dispatcher's side.

    def receive(self, event: MarketEvent) -> None:
        """Queue a message of a subscribed stream."""
        assert self._subscriptions is not None
        frame = event.frame(self._unit, combined=self._subscriptions.combined)
        self._outbox.deliver(event, frame)

    # The exchange's side.

    @property
    def market(self) -> MarketName:
        """The market it is connected to."""
        return self._context.market

    @property
    def streams(self) -> list[str]:
        """Subscribed streams; empty before the handshake and while closing."""
        return self._subscriptions.names if self._subscriptions else []

    def send_text(self, text: bytes) -> None:
        """Send a text message that belongs to no stream."""
        if self._websocket.state is OPEN:
            self._outbox.control(text_frame(text))

    def announce_shutdown(self) -> None:
        """Send the `serverShutdown` event."""
        if self._subscriptions is None:
            return
        moment = (time.time_ns() + self._context.clock_offset_ns) // self._unit.value
        payload = b'{"e":"serverShutdown","E":%d}' % moment
        if self._subscriptions.combined:
            payload = b'{"stream":"!serverShutdown","data":%b}' % payload
        self.send_text(payload)

    def stall(self, mode: StallMode | None) -> None:
        """Stall, or resume with None."""
        self._outbox.set_stall(mode)

    def close(self, code: int, text: str, reason: str, *, at_once: bool = False) -> None:
        """Close with a close frame behind what is queued, or in place of it if `at_once`.

        Args:
            code: WebSocket close code.
            text: reason inside the close frame.
            reason: name under which the end is counted.
            at_once: discard what is queued.
        """
        if self._websocket.state is not OPEN:
            self.cut(reason)
            return
        self._end_reason = reason
        self._begin_end()
        self._websocket.send_close(code, text)
        if at_once:
            self._outbox.discard()
            self._direct = True
        self._send_pending()

    def cut(self, reason: str) -> None:
        """End the connection without a close frame, as a lost network would."""
        if not self._lost:
            self._end_reason = reason
            self._transport.abort()

    # The protocol.

    def _handle_arrived(self) -> None:
        data = self._arrived.popleft()
        if self._lost:
            return
        self._websocket.receive_data(data)
        for event in self._websocket.events_received():
            if isinstance(event, Request):
                self._open(event)
            elif isinstance(event, Frame):
                self._take(event)
        self._send_pending()

    def _open(self, request: Request) -> None:
        try:
            opening = self._admit(request)
        except _RefusedError as refusal:
            self._end_reason = "rejected"
            response = self._websocket.reject(refusal.status, f"{refusal}\n")
            self._websocket.send_response(response)
            return
        response = self._websocket.accept(request)
        self._websocket.send_response(response)
        if self._websocket.state is not OPEN:
            self._end_reason = "rejected"
            return
        self._send_pending()
        limits = self._context.limits
        self._unit = opening.unit
        self._route = opening.route
        self._subscriptions = Subscriptions(opening, limits.streams)
        self._context.dispatcher.subscribe(self, self._carried(opening.streams))
        self._context.audience_changed()
        self._ping_timer = self._loop.call_later(limits.ping_interval_sec, self._ping)
        self._lifetime_timer = self._loop.call_later(limits.lifetime_sec, self._lifetime_over)

    def _admit(self, request: Request) -> Opening:
        """Parse the request for a connection, or refuse it."""
        context = self._context
        if self.market in self.site.refusing:
            raise _RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "out of service")
        if context.rules.needs_key:
            # Binance does not say which status it answers with.
            key = request.headers.get(API_KEY_HEADER)
            if key is None:
                raise _RefusedError(HTTPStatus.UNAUTHORIZED, NO_KEY)
            if key not in context.api_keys:
                raise _RefusedError(HTTPStatus.FORBIDDEN, WRONG_KEY)
        if len(request.path) > MAX_TARGET_CHARS:
            text = f"more than {MAX_TARGET_CHARS} characters"
            raise _RefusedError(HTTPStatus.REQUEST_URI_TOO_LONG, text)
        try:
            opening = parse_target(request.path, context.rules)
        except UnknownPathError as error:
            raise _RefusedError(HTTPStatus.NOT_FOUND, str(error)) from error
        except BadParameterError as error:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from error
        if len(opening.streams) > context.limits.streams:
            text = f"more than {context.limits.streams} streams"
            raise _RefusedError(HTTPStatus.BAD_REQUEST, text)
        return opening

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self._begin_end()
            return
        if self._websocket.state is not OPEN:
            return
        if self._is_too_fast():
            self.close(CloseCode.POLICY_VIOLATION, "Too many requests", "rate_limit")
        elif frame.opcode is Opcode.PONG:
            self._match_pong(bytes(frame.data))
        elif len(frame.data) > MAX_INBOUND_BYTES:
            text = f"more than {MAX_INBOUND_BYTES} bytes"
            self.close(CloseCode.MESSAGE_TOO_BIG, text, "message_too_big")
        elif frame.opcode is Opcode.TEXT and frame.fin:
            self._answer(bytes(frame.data))
        elif frame.opcode is not Opcode.PING:
            text = "expected text in one frame"
            self.close(CloseCode.UNSUPPORTED_DATA, text, "unsupported_data")

    def _is_too_fast(self) -> bool:
        times, now = self._inbound_times, self._loop.time()
        too_fast = len(times) == times.maxlen and now - times[0] < 1.0
        times.append(now)
        return too_fast

    def _answer(self, text: bytes) -> None:
        assert self._subscriptions is not None
        before = set(self._subscriptions.names)
        reply = self._subscriptions.answer(text)
        self.send_text(reply)
        after = set(self._subscriptions.names)
        self._context.dispatcher.unsubscribe(self, before - after)
        self._context.dispatcher.subscribe(self, self._carried(after - before))
        self._context.audience_changed()

    def _carried(self, streams: Iterable[str]) -> set[str]:
        """The streams that exist on this connection's route; the others stay silent."""
        exists = self._context.rules.routes[self._route]
        return {stream for stream in streams if exists(stream)}

    def _ping(self) -> None:
        limits = self._context.limits
        payload = b"%d" % (time.time_ns() // NS_PER_MS)
        self._websocket.send_ping(payload)
        self._send_pending()
        if payload not in self._pings:
            self._pings[payload] = self._loop.call_later(
                limits.pong_timeout_sec, self._no_pong, payload
            )
        self._ping_timer = self._loop.call_later(limits.ping_interval_sec, self._ping)

    def _match_pong(self, payload: bytes) -> None:
        """A pong answers its ping and every earlier one; any other pong means nothing."""
        if payload not in self._pings:
            return
        for earlier in list(self._pings):
            self._pings.pop(earlier).cancel()
            if earlier == payload:
                return

    def _no_pong(self, payload: bytes) -> None:
        self._pings.pop(payload, None)
        self.close(CloseCode.POLICY_VIOLATION, "Pong timeout", "pong_timeout")

    def _lifetime_over(self) -> None:
        self.close(CloseCode.GOING_AWAY, "", "lifetime")

    def _send_pending(self) -> None:
        """Hand what the protocol wants to write to the outbox."""
        for data in self._websocket.data_to_send():
            if not self._direct:
                self._outbox.control(data)
            elif data == END:
                self._transport.close()
            else:
                self._transport.write(data)

    def _begin_end(self) -> None:
        """Unsubscribe, and end within a bounded time."""
        self._leave()
        if self._end_timer is None:
            self._end_timer = self._loop.call_later(CLOSE_TIMEOUT_SEC, self.cut, self._end_reason)

    def _leave(self) -> None:
        if self._subscriptions is not None:
            streams = set(self._subscriptions.names)
            self._context.dispatcher.unsubscribe(self, streams)
            self._subscriptions = None
            self._context.audience_changed()
        for timer in (self._ping_timer, self._lifetime_timer, *self._pings.values()):
            if timer is not None:
                timer.cancel()
        self._pings.clear()
