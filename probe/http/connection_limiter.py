"""Limits one connection's time and the size of its requests, in front of the HTTP server."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Final, cast

from latency_sweep.contract.metrics import RejectionReason
from latency_sweep.probe.http.request_head import HeadState, RequestHead
from latency_sweep.probe.http.tls import alternative_names
from latency_sweep.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from latency_sweep.probe.http.limits import EndpointLimits
    from latency_sweep.probe.http.policy import Policy

_LOG: Final = logs.logger(__name__)
_REJECTIONS: Final = {
    HeadState.LINE_TOO_LONG: (RejectionReason.REQUEST_LINE, b"414 URI Too Long"),
    HeadState.TOO_LARGE: (RejectionReason.HEADERS, b"431 Request Header Fields Too Large"),
}


class _State(Enum):
    NEW = "new"
    HEAD = "head"
    ANSWER = "answer"
    IDLE = "idle"


class ConnectionLimiter(asyncio.Protocol):
    """The protocol of one connection; passes on what is within the limits.

    The server gets the head of one request at a time and never a body: nothing served here has one.
    A client that sends its request byte by byte, or never reads the response, is disconnected at
    the time limit, whatever it has sent until then.

    Args:
        inner: the HTTP server's protocol.
        client: who is connected.
        policy: under which the connection was made.
        limits: of size and time.
        rejected: called with the reason of each rejection.
        ended: called once the connection is gone.

    Attributes:
        client: who is connected.
        policy: under which the connection was made.
        authenticated: whether the client has shown the credentials or certificate that are needed.
    """

    def __init__(
        self,
        inner: asyncio.Protocol,
        client: str,
        policy: Policy,
        *,
        limits: EndpointLimits,
        rejected: Callable[[RejectionReason], None],
        ended: Callable[[ConnectionLimiter], None],
    ) -> None:
        self.client = client
        self.policy = policy
        self.authenticated = False
        self._inner = inner
        self._limits = limits
        self._rejected = rejected
        self._ended = ended
        self._state = _State.NEW
        self._head = self._new_head()
        self._next = bytearray()
        self._discarding = False
        self._understood = False
        self._accepted = False
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept the connection, unless its certificate has none of the allowed names."""
        # uvloop's transports are of no common class.
        self._transport = opened = cast("asyncio.Transport", transport)
        names = self.policy.allowed_names
        certificate = opened.get_extra_info("peercert")
        if names is not None and certificate and not names & alternative_names(certificate):
            self._rejected(RejectionReason.WRONG_CLIENT_CERTIFICATE)
            opened.abort()
            return
        self._accepted = True
        self.authenticated = self.policy.verifies_clients and not self.policy.credentials.needed
        self._inner.connection_made(opened)
        self._wait(self._limits.head_sec)

    def data_received(self, data: bytes) -> None:
        """Pass a request's head on, as long as it is within the limits."""
        transport = self._transport
        if transport is None or transport.is_closing() or self._discarding:
            return
        if self._state is _State.ANSWER or self._next:
            self._keep(data)
            return
        if self._head.empty:
            data = data.lstrip(b"\r\n")  # as RFC 9112, 2.2 recommends
            if not data:
                return
        if self._state is _State.IDLE:
            self._begin_head()
        state = self._head.feed(data)
        if state in _REJECTIONS:
            self._reject(state)
            return
        if state is HeadState.COMPLETE:
            self._begin_answer()
            self._keep(self._head.rest)
            data = data.removesuffix(self._head.rest)
        self._pass_on(data)

    def discard(self) -> None:
        """Read what else the client sends, so that it sees the answer, and drop it."""
        self._discarding = True
        self._next.clear()
        if self._transport is not None:
            self._transport.resume_reading()

    def eof_received(self) -> bool | None:
        """The client sends nothing more."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """The client reads more slowly than the response is written."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._timer is not None:
            self._timer.cancel()
        self._transport = None
        if self._accepted:
            self._inner.connection_lost(exc)
        self._ended(self)

    def understood(self) -> None:
        """What was received is a request, and is being handled."""
        self._understood = True

    def answered(self) -> None:
        """A response was written."""
        if not self._understood:
            self._rejected(RejectionReason.MALFORMED)
        self._understood = False
        self._head = self._new_head()
        self._state = _State.IDLE
        self._wait(self._limits.answer_sec if self._unread else self._idle_sec)
        if self._next:
            # Only after the server has finished with this one.
            asyncio.get_running_loop().call_soon(self._begin_next)

    def abort(self) -> None:
        """Disconnect."""
        if self._transport is not None:
            self._transport.abort()

    def _keep(self, data: bytes) -> None:
        """Keep what comes before its turn, one byte more than a head's at most."""
        self._next += data[: self._limits.head + 1 - len(self._next)]
        if len(self._next) > self._limits.head and self._transport is not None:
            self._transport.pause_reading()

    def _begin_next(self) -> None:
        following = bytes(self._next)
        self._next.clear()
        if self._transport is None or self._transport.is_closing():
            return
        if len(following) > self._limits.head:
            # Some of it was dropped.
            self._transport.close()
            return
        self.data_received(following)

    def _pass_on(self, data: bytes) -> None:
        try:
            self._inner.data_received(data)
        except Exception as error:  # noqa: BLE001 - whatever a client sends ends its connection only
            # No traceback: its client could fill the log.
            extra = {"client": self.client, "error": type(error).__name__}
            _LOG.error("a request could not be read", extra=extra)
            self._rejected(RejectionReason.MALFORMED)
            self.abort()

    @property
    def _idle_sec(self) -> float:
        if self.authenticated or self.policy.open_to_all:
            return self._limits.idle_sec
        return min(self._limits.idle_sec, self._limits.stranger_idle_sec)

    @property
    def _unread(self) -> bool:
        transport = self._transport
        return transport is not None and transport.get_write_buffer_size() > 0

    def _new_head(self) -> RequestHead:
        return RequestHead(self._limits.request_line, self._limits.head)

    def _begin_head(self) -> None:
        self._state = _State.HEAD
        self._wait(self._limits.head_sec)

    def _begin_answer(self) -> None:
        self._state = _State.ANSWER
        self._wait(self._limits.answer_sec)

    def _wait(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._time_is_up)

    def _time_is_up(self) -> None:
        if self._state in {_State.NEW, _State.HEAD} or self._unread:
            self._rejected(RejectionReason.SLOW)
        self.abort()

    def _reject(self, state: HeadState) -> None:
        assert self._transport is not None
        reason, status = _REJECTIONS[state]
        self._rejected(reason)
        head = b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        self._transport.write(head)
        self._transport.close()
        # Nor may a client that does not read this keep its connection.
        self._wait(self._limits.head_sec)
