"""One WebSocket connection: the protocol by `websockets`' Sans-I/O core, the bytes by us.

The core does the handshake, control frames, fragments and all checks; complete data messages are
cut out before it, see `framing`. Nobody but the transport touches the socket, so every message
keeps the kernel's timestamp of the read that completed it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from websockets.client import ClientProtocol
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from latency_sweep.contract.metrics import ConnectStep, ErrorKind, ReconnectReason
from latency_sweep.probe.net.errors import (
    Closed,
    ConnectFailed,
    closed_by,
    connect_failed,
    failing_at,
)
from latency_sweep.probe.net.framing import FrameSplitter, Kind
from latency_sweep.probe.net.limits import (
    MAX_CONTINUATION_FRAMES_PER_SEC,
    MAX_CONTROL_FRAMES_PER_SEC,
    MAX_INTERIM_RESPONSES,
    MAX_RESPONSE_BYTES,
    FrameRateLimit,
    LimitExceededError,
)
from latency_sweep.probe.net.receiving import DEFAULT
from latency_sweep.probe.net.transport import open_transport
from latency_sweep.runtime import logs

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from latency_sweep.probe.net.racing import AddressHistory
    from latency_sweep.probe.net.receiving import Receiving
    from latency_sweep.probe.net.transport import Transport
    from latency_sweep.runtime.logs import ContextLogger

    # Payloads, whether they came in binary frames, kernel timestamp and time of the read, Unix ns,
    # and how far off the timestamp may be, ns.
    Record = Callable[[list[bytes], bool, int, int, int], None]

MAX_MESSAGE_BYTES: Final = 8 * 2**20
CONNECT_TIMEOUT_SEC: Final = 10.0
CLOSE_TIMEOUT_SEC: Final = 5.0
_LOOK_INTERVAL_SEC: Final = 0.5
_MAX_OPEN_PINGS: Final = 64
_HTTP: Final = b"HTTP/"
_TLS_RECORDS: Final = (b"\x15\x03", b"\x16\x03")  # an alert and a handshake
_SWITCHING_PROTOCOLS: Final = b"HTTP/1.1 101"
_INTERIM_RESPONSE: Final = b"HTTP/1.1 1"
_END_OF_HEADERS: Final = b"\r\n\r\n"
_CONTROL: Final = 0x8
# What the core ends a connection for; anything else that it raises is a fault of the program.
_VIOLATIONS: Final = (ProtocolError, PayloadTooBig, UnicodeDecodeError)
_QUOTED_BYTES: Final = 40  # of an answer that is not HTTP

_LOG: Final = logs.logger(__name__)

# The core logs each frame at debug level; asking it costs time in the hot path.
_CORE_LOG: Final = logging.getLogger(f"{__name__}.core")
_CORE_LOG.setLevel(logging.WARNING)


class WebSocketConnection:
    """A connection from upgrade to close. Make one with `connect`.

    Attributes:
        closed: resolves once, when the connection has ended, with how it ended.
        last_read: `time.monotonic()` of the newest bytes received.
    """

    def __init__(
        self,
        transport: Transport,
        protocol: ClientProtocol,
        record: Record,
        on_rtt: Callable[[float], None],
        log: ContextLogger = _LOG,
    ) -> None:
        self._transport = transport
        self._protocol = protocol
        self._record = record
        self._on_rtt = on_rtt
        self._log = log
        self._splitter = FrameSplitter(MAX_MESSAGE_BYTES)
        self._upgraded: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        # An attempt that is cancelled leaves nobody to look at how it ended.
        self._upgraded.add_done_callback(_look_at)
        self._response = bytearray()
        self._response_bytes = 0
        self._interim_responses = 0
        self._rejected = False  # what follows is the body of the answer
        self._fragments = bytearray()
        self._fragments_binary = False
        self._control_frames = FrameRateLimit(
            MAX_CONTROL_FRAMES_PER_SEC, ErrorKind.CONTROL_FRAMES, "control frames"
        )
        self._continuation_frames = FrameRateLimit(
            MAX_CONTINUATION_FRAMES_PER_SEC, ErrorKind.CONTINUATION_FRAMES, "continuation frames"
        )
        self._pings: dict[bytes, float] = {}
        self._ping_number = 0
        self._close_timer: asyncio.TimerHandle | None = None
        self.closed: asyncio.Future[Closed] = asyncio.get_running_loop().create_future()
        self.last_read = time.monotonic()

    @property
    def remote_address(self) -> str:
        """IP address of the server in use."""
        return self._transport.remote_address

    @property
    def reads_without_timestamp(self) -> int:
        """Reads without a kernel timestamp, timestamped by the program instead."""
        return self._transport.reads_without_timestamp

    async def upgrade(self, headers: Mapping[str, str], timeout_sec: float) -> None:
        """Do the opening handshake.

        Raises:
            ConnectFailed: rejected, no WebSocket, or no answer in time.
        """
        request = self._protocol.connect()
        request.headers.update(headers)
        self._protocol.send_request(request)
        self._transport.start(self)
        self._flush()
        with failing_at(ConnectStep.UPGRADE, timeout_sec):
            async with asyncio.timeout(timeout_sec):
                await self._look_until(self._upgraded)

    def ping(self) -> None:
        """Send a ping; its round trip is reported when the pong arrives."""
        if self._protocol.state is not State.OPEN:
            return
        self._ping_number += 1
        payload = self._ping_number.to_bytes(8, "big")
        if len(self._pings) >= _MAX_OPEN_PINGS:
            self._pings.clear()
        self._pings[payload] = time.monotonic()
        try:
            self._protocol.send_ping(payload)
            self._flush()
        except Exception as error:  # noqa: BLE001 - ends this connection, and nothing else
            self.failed(error)

    def look(self) -> None:
        """Notice an end that the event loop was not told of; see `Transport.look`."""
        self._transport.look()

    def unanswered_sec(self, now: float) -> float:
        """How long a ping has been unanswered while nothing else arrived; 0 if there is none.

        Args:
            now: `time.monotonic()`.
        """
        since = [sent for sent in self._pings.values() if sent >= self.last_read]
        return now - min(since) if since else 0.0

    def send_text(self, payload: bytes) -> None:
        """Send a text message, unless the connection has ended."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_text(payload)
            self._flush()

    async def close(self) -> None:
        """Close gracefully: messages the server sent before its own close frame still arrive."""
        if self._protocol.state is State.OPEN:
            self._log.debug("close frame sent", extra={"code": int(CloseCode.NORMAL_CLOSURE)})
            try:
                self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
                self._flush()
                self._expect_end()
            except Exception as error:  # noqa: BLE001 - ends this connection, and nothing else
                self.failed(error)
        await self._look_until(self.closed)

    async def _look_until(self, future: asyncio.Future[Any]) -> None:
        """Wait for a future that what is received resolves, while nobody else calls `look`."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_INTERVAL_SEC):
                    await asyncio.shield(future)
                    return
            self.look()

    def abort(self, reason: ReconnectReason, detail: str) -> None:
        """Drop the connection at once."""
        self._finish(Closed(reason, detail))

    def failed(self, error: Exception) -> None:
        """Drop the connection: it exceeded a limit, or the program failed; see `Receiver`."""
        self._finish(closed_by(error))

    def bytes_received(
        self, data: bytes, timestamp_ns: int, read_ns: int, error_ns: int, /
    ) -> None:
        """Pass on what is complete; see `transport.Receiver`."""
        self.last_read = time.monotonic()
        protocol = self._protocol
        if protocol.state is State.CONNECTING:  # for good, if the upgrade was refused
            data = self._receive_response(data)
        for kind, frames in self._splitter.split(data):
            if kind is Kind.OTHER:
                self._receive_frame(frames[0], timestamp_ns, read_ns, error_ns)
                if protocol.close_rcvd is not None or protocol.parser_exc is not None:
                    break
            else:
                self._record(frames, kind is Kind.BINARY, timestamp_ns, read_ns, error_ns)
        if protocol.close_rcvd is not None or protocol.parser_exc is not None:
            # Nothing more counts: whether the server hangs up now or never makes no difference.
            if not self.closed.done():
                self.stream_ended(None)
        elif protocol.close_expected():
            self._expect_end()

    def stream_ended(self, error: Exception | None) -> None:
        """The byte stream is over; see `Receiver`."""
        protocol = self._protocol
        if error is not None and protocol.handshake_exc is None:
            # At the end of the stream the core would only say that there was no valid answer.
            self._fail_upgrade(str(error))
        if protocol.state is not State.CLOSED:
            protocol.receive_eof()
        self._finish(self._how_it_ended(error))

    def _close_timed_out(self) -> None:
        try:
            self.stream_ended(None)
        except Exception as error:  # noqa: BLE001 - ends this connection, and nothing else
            self.failed(error)

    def _receive_response(self, data: bytes) -> bytes:
        """Take the answer to the upgrade; returns the first frames if they came with it."""
        self._response += data
        self._response_bytes += len(data)
        if self._rejected:
            self._give_response_to_core(data)
            return b""
        if not self._response.startswith(_HTTP[: len(self._response)]):
            self._fail_upgrade(_not_http(self._response))
            return b""
        if self._skip_interim_responses():
            return b""
        end = self._response.find(_END_OF_HEADERS)
        # Also while so little of it is there that it may still become an acceptance.
        accepted = self._response.startswith(_SWITCHING_PROTOCOLS[: len(self._response)])
        if accepted and end < 0 and self._response_bytes < MAX_RESPONSE_BYTES:
            return b""
        # A rejection has a body, which the core reads to its end; an acceptance has none.
        cut = end + len(_END_OF_HEADERS) if accepted and end >= 0 else len(self._response)
        response, frames = bytes(self._response[:cut]), bytes(self._response[cut:])
        self._response.clear()
        self._rejected = not accepted
        self._give_response_to_core(response)
        return frames if self._protocol.state is State.OPEN else b""

    def _give_response_to_core(self, response: bytes) -> None:
        self._protocol.receive_data(response)
        for event in self._protocol.events_received():
            assert isinstance(event, Response)
            self._on_response(event)
        if self._protocol.handshake_exc is not None and not self._upgraded.done():
            cause = self._protocol.handshake_exc.__cause__
            detail = f"the answer is not valid HTTP: {cause or self._protocol.handshake_exc}"
            self._fail_upgrade(detail)
        self._flush()

    def _skip_interim_responses(self) -> bool:
        """Drop whole 1xx answers before the one that counts (RFC 9110, section 15.2).

        Returns:
            Whether there is one that is not complete.

        Raises:
            LimitExceededError: too many, or one that is too long.
        """
        response = self._response
        while (
            len(response) >= len(_SWITCHING_PROTOCOLS)
            and response.startswith(_INTERIM_RESPONSE)
            and not response.startswith(_SWITCHING_PROTOCOLS)
        ):
            end = response.find(_END_OF_HEADERS)
            self._interim_responses += end >= 0
            if (
                self._interim_responses > MAX_INTERIM_RESPONSES
                or self._response_bytes > MAX_RESPONSE_BYTES
            ):
                detail = "too many informational answers (1xx) in place of the final one"
                raise LimitExceededError(ErrorKind.INTERIM_RESPONSES, detail)
            if end < 0:
                return True
            del response[: end + len(_END_OF_HEADERS)]
        return False

    def _fail_upgrade(self, detail: str) -> None:
        """Fail at once instead of waiting for an end of the answer that need not come."""
        if not self._upgraded.done():
            self._upgraded.set_exception(ConnectFailed(ConnectStep.UPGRADE, detail))

    def _on_response(self, response: Response) -> None:
        if self._upgraded.done():
            return
        server = ", ".join(response.headers.get_all("Server")) or None
        extra = {"status": response.status_code, "server": server}
        self._log.debug("upgrade answered", extra=extra)
        rejection = self._protocol.handshake_exc
        if rejection is None:
            self._upgraded.set_result(response)
        else:
            self._upgraded.set_exception(connect_failed(ConnectStep.UPGRADE, rejection))

    def _receive_frame(self, frame: bytes, timestamp_ns: int, read_ns: int, error_ns: int) -> None:
        """Let the core take a frame that is no complete message, and act on what it makes of it.

        Raises:
            LimitExceededError: too many of its kind in a second.
        """
        limit = self._control_frames if frame[0] & _CONTROL else self._continuation_frames
        limit.count()
        if self._protocol.state is not State.CLOSED:
            self._protocol.receive_data(frame)
        for event in self._protocol.events_received():
            assert isinstance(event, Frame)
            self._on_frame(event, timestamp_ns, read_ns, error_ns)
        self._flush()

    def _on_frame(self, frame: Frame, timestamp_ns: int, read_ns: int, error_ns: int) -> None:
        opcode = frame.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            binary = opcode is Opcode.BINARY
            if frame.fin:
                self._record([bytes(frame.data)], binary, timestamp_ns, read_ns, error_ns)
            else:
                self._fragments[:] = frame.data
                self._fragments_binary = binary
        elif opcode is Opcode.CONT:
            self._fragments += frame.data
            if frame.fin:
                message = bytes(self._fragments)
                self._fragments.clear()
                self._record([message], self._fragments_binary, timestamp_ns, read_ns, error_ns)
        elif opcode is Opcode.PONG:
            sent = self._pings.pop(bytes(frame.data), None)
            if sent is not None:
                # Between two readings of a monotonic clock, less the time it waited to be read.
                waited_sec = (read_ns - timestamp_ns) * 1e-9
                self._on_rtt(self.last_read - sent - waited_sec)
        elif opcode is Opcode.CLOSE:
            self._log.debug("close frame received", extra={"close": str(self._protocol.close_rcvd)})

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:  # an empty item asks for a half-close; the socket is closed whole
                self._transport.write(data)

    def _expect_end(self) -> None:
        if self._close_timer is None and not self.closed.done():
            loop = asyncio.get_running_loop()
            self._close_timer = loop.call_later(CLOSE_TIMEOUT_SEC, self._close_timed_out)

    def _how_it_ended(self, error: Exception | None) -> Closed:
        protocol = self._protocol
        close = protocol.close_rcvd
        if close is not None:
            return Closed(ReconnectReason.SERVER_CLOSE, str(close))
        fault = protocol.parser_exc
        if isinstance(fault, _VIOLATIONS):
            return Closed(ReconnectReason.PROTOCOL_ERROR, str(fault))
        if fault is not None and not isinstance(fault, EOFError):
            return closed_by(fault)
        return Closed(ReconnectReason.CONNECTION_LOST, str(error or "the server hung up"))

    def _finish(self, closed: Closed) -> None:
        if not self._upgraded.done():
            detail = str(self._protocol.handshake_exc or closed.detail)
            failure = ConnectFailed(ConnectStep.UPGRADE, detail, kind=closed.kind)
            failure.__cause__ = closed.fault
            self._upgraded.set_exception(failure)
        if not self.closed.done():
            self.closed.set_result(closed)
        if self._close_timer is not None:
            self._close_timer.cancel()
        self._transport.close()


def _look_at(done: asyncio.Future[Response]) -> None:
    """Tell the event loop that a failure has been seen, else it logs one that nobody awaits."""
    if not done.cancelled():
        done.exception()


def _not_http(response: bytes | bytearray) -> str:
    if response.startswith(_TLS_RECORDS):
        return "the server speaks TLS; use wss:// in the endpoint"
    return f"the answer is not HTTP: {bytes(response[:_QUOTED_BYTES])!r}"


async def connect(
    url: str,
    *,
    headers: Mapping[str, str],
    tls: ssl.SSLContext | None,
    record: Record,
    on_rtt: Callable[[float], None],
    on_step: Callable[[ConnectStep, float], None],
    address: str | None = None,
    timeout_sec: float = CONNECT_TIMEOUT_SEC,
    receiving: Receiving = DEFAULT,
    history: AddressHistory | None = None,
    log: ContextLogger = _LOG,
) -> WebSocketConnection:
    """Open a WebSocket connection.

    Args:
        url: `ws://` or `wss://` URL.
        headers: extra headers of the upgrade request.
        tls: context used for `wss`.
        record: called with complete data messages of one read, from the event loop; see `Record`.
        on_rtt: called with the seconds between a `ping` and its pong.
        on_step: called with the seconds each step of connecting took.
        address: IP address to use instead of resolving the URL's host, or None.
        timeout_sec: limit of each step.
        receiving: where timestamps come from, and whether to poll.
        history: orders the host's addresses, and is told which failed; None for none before this.
        log: told what the server answers, and of close frames.

    Raises:
        ConnectFailed: naming the step that failed and why.
    """
    with failing_at(ConnectStep.DNS, timeout_sec):
        uri = parse_uri(url)
    transport = await open_transport(
        uri.host,
        uri.port,
        address=address,
        tls=tls if uri.secure else None,
        timeout_sec=timeout_sec,
        on_step=on_step,
        receiving=receiving,
        history=history,
        log=log,
    )
    # No extensions: decompression would run inside the measured path.
    protocol = ClientProtocol(uri, max_size=MAX_MESSAGE_BYTES, logger=_CORE_LOG)
    connection = WebSocketConnection(transport, protocol, record, on_rtt, log)
    started = time.perf_counter()
    try:
        await connection.upgrade(headers, timeout_sec)
    except BaseException as error:
        if history is not None:
            history.failed(transport.remote_address)
        connection.abort(ReconnectReason.CONNECTION_LOST, str(error))
        raise
    on_step(ConnectStep.UPGRADE, time.perf_counter() - started)
    return connection
