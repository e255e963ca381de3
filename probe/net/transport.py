"""A TCP or TLS byte stream whose socket the program owns, so that it gets kernel timestamps.

TLS runs over memory buffers (`ssl.MemoryBIO`): a library that owned the socket would read it
without asking for the timestamp.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import ssl
import time
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from latency_sweep.contract.metrics import ConnectStep, ErrorKind
from latency_sweep.probe.net import timestamped_socket
from latency_sweep.probe.net.errors import failing_at
from latency_sweep.probe.net.limits import MAX_TURN_NS, MAX_UNSENT_BYTES, LimitExceededError
from latency_sweep.probe.net.nic_timestamps import NicTimestamps
from latency_sweep.probe.net.racing import AddressHistory, race
from latency_sweep.probe.net.receiving import DEFAULT, Receiving, Timestamps
from latency_sweep.probe.net.timestamp_error import (
    CARD_QUEUE_NS,
    KERNEL_QUEUE_NS,
    TimestampError,
)
from latency_sweep.probe.net.tls_records import TlsRecords
from latency_sweep.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from latency_sweep.probe.net.capture import PacketCapture
    from latency_sweep.probe.net.missed_packets import MissedPackets
    from latency_sweep.probe.net.racing import AddressInfo
    from latency_sweep.probe.net.siblings import Siblings
    from latency_sweep.runtime.logs import ContextLogger

_T = TypeVar("_T")
_LOG: Final = logs.logger(__name__)

# Reads before the event loop gets a turn: enough for a burst, not enough to starve a scrape.
_READS_PER_TURN: Final = 16
_RECORD_SIZE: Final = 16384  # the largest that TLS allows (RFC 8446, section 5.1)
_LEAST_READ_BYTES: Final = 1024
# A segment that waited this long may have waited for one that was lost.
_PROMPT_NS: Final = 1_000_000
# How often a socket that nothing comes to is found empty.
_CHECK_SEC: Final = 1e-3
_CHECK_NS: Final = 1_000_000


class Receiver(Protocol):
    """Takes what a transport receives."""

    def bytes_received(
        self, data: bytes, timestamp_ns: int, read_ns: int, error_ns: int, /
    ) -> None:
        """Take plain bytes.

        Args:
            data: the bytes.
            timestamp_ns: when they were received, Unix nanoseconds.
            read_ns: when the program had read them, Unix nanoseconds.
            error_ns: how far off the timestamp may be for what ends in them, nanoseconds; 0 if it
                is exact.
        """

    def stream_ended(self, error: Exception | None) -> None:
        """Called once: the peer closed (None) or the stream broke."""

    def failed(self, error: Exception) -> None:
        """Called in place of that if the program failed or the peer exceeded a limit."""


class Transport:
    """An established byte stream. Make one with `open_transport`."""

    def __init__(
        self,
        sock: socket.socket,
        remote_address: str,
        tls: _Tls | None,
        *,
        capture: PacketCapture | None = None,
        nic: NicTimestamps | None = None,
        missed: MissedPackets | None = None,
        siblings: Siblings | None = None,
        busy_poll_us: int = 0,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._tls = tls
        self._capture = capture
        self._missed = missed
        self._siblings = siblings
        self._nic = nic
        self._busy_poll_ns = busy_poll_us * 1000
        self._polling_until_ns = 0
        self._polling: asyncio.Handle | None = None
        self._next_look: asyncio.Handle | None = None
        self._buffer = bytearray(timestamped_socket.READ_SIZE)
        self._view = memoryview(self._buffer)
        self._window = self._view  # its beginning, which one read may fill
        self._unsent = bytearray()
        self._receiver: Receiver | None = None
        self._error = TimestampError(
            time.time_ns(), KERNEL_QUEUE_NS if nic is None else CARD_QUEUE_NS
        )
        self._asked_ns = 0  # time before the newest read
        self._unread_since_ns: int | None = None  # on a sibling, see `Siblings`
        self._next_check: asyncio.Handle | None = None
        self._closed = False
        # The kernel reports a broken stream once, to the sender here; the reader sees only the end.
        self._send_error: Exception | None = None
        self.remote_address = remote_address
        self.reads_without_timestamp = 0

    def start(self, receiver: Receiver) -> None:
        """Deliver everything received from now on to `receiver`."""
        self._receiver = receiver
        if self._siblings is not None:
            self._siblings.join(self._sock.fileno(), self._error)
        self._loop.add_reader(self._sock.fileno(), self._on_readable)
        if self._tls is not None:  # what came together with the end of the handshake
            now_ns = time.time_ns()
            self._deliver(b"", now_ns, now_ns, self._error.bound_ns(now_ns, now_ns))
        if self._capture is None and not self._closed:
            self._next_check = self._loop.call_later(_CHECK_SEC, self._check)

    def write(self, data: bytes) -> None:
        """Send bytes, now or as soon as the socket takes them.

        What cannot be sent ends the stream, in the loop's next turn.

        Raises:
            LimitExceededError: the peer takes nothing of what is sent.
        """
        if self._closed:
            return
        try:
            data = self._tls.encrypt(data) if self._tls else data
        except ssl.SSLError as error:
            self._sending_failed(error)
        else:
            self._send(data)

    def look(self) -> None:
        """Read what there is without having been told.

        libuv stops to watch a socket once it has reported an error of it. If it reports the error
        together with data, and the read takes only the data, nobody is told of the end.
        """
        self._next_look = None
        if self._receiver is not None:
            self._on_readable()

    def close(self) -> None:
        """Release the socket; nothing is delivered any more."""
        if self._closed:
            return
        self._closed = True
        self._receiver = None
        if self._siblings is not None:
            self._siblings.leave(self._sock.fileno())
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        for handle in (self._polling, self._next_look, self._next_check):
            if handle is not None:
                handle.cancel()
        for source in (self._capture, self._nic):
            if source is not None:
                source.close()

    def _check(self) -> None:
        """Find the socket empty while nothing comes, so that the bound on what comes is tight."""
        self._next_check = None
        try:
            if time.time_ns() - self._asked_ns > _CHECK_NS:
                self._read()
        except Exception as error:  # noqa: BLE001 - ends this connection, and nothing else
            self._fail(error)
        if not self._closed:
            self._next_check = self._loop.call_later(_CHECK_SEC, self._check)

    def _on_readable(self) -> None:
        try:
            self._read()
            if self._busy_poll_ns and self._polling is None and not self._closed:
                self._polling_until_ns = time.monotonic_ns() + self._busy_poll_ns
                self._polling = self._loop.call_soon(self._poll)
        except Exception as error:  # noqa: BLE001 - ends this connection, and nothing else
            self._fail(error)

    def _poll(self) -> None:
        """Ask again in every turn of the loop, until nothing has come for long enough."""
        self._polling = None
        try:
            now_ns = time.monotonic_ns()
            if self._read():
                self._polling_until_ns = now_ns + self._busy_poll_ns
            if now_ns < self._polling_until_ns and not self._closed:
                self._polling = self._loop.call_soon(self._poll)
        except Exception as error:  # noqa: BLE001 - ends this connection, and nothing else
            self._fail(error)

    def _read(self) -> bool:
        """Read what there is, up to limits; returns whether there was anything."""
        spent_ns = 0
        asked_ns = time.time_ns()
        for number in range(_READS_PER_TURN):
            if self._closed:
                return True
            self._asked_ns = asked_ns
            try:
                size, timestamp_ns, read_ns = timestamped_socket.receive(
                    self._sock, self._window, self._nic
                )
            except (BlockingIOError, InterruptedError):
                self._error.found_empty(asked_ns)
                if self._send_error is not None:
                    self._end(self._send_error)
                return number > 0
            except OSError as error:
                self._end(error)
                return True
            if size == 0:
                self._end(self._send_error)
                return True
            took_all = size < len(self._window)
            self._deliver_read(size, timestamp_ns, read_ns, took_all=took_all)
            if took_all:
                self._error.found_empty(asked_ns)
                if self._send_error is None:
                    return True
            asked_ns = time.time_ns()
            took_ns = asked_ns - read_ns
            self._adapt_reads(took_ns)
            spent_ns += took_ns
            if spent_ns > MAX_TURN_NS:
                break
        self._go_on_if_broken()
        return True

    def _go_on_if_broken(self) -> None:
        """Read on in the next turn, where the loop may not tell of it again; see `look`."""
        if not self._closed and (self._send_error is not None or _is_broken(self._sock)):
            self._look_soon()

    def _adapt_reads(self, took_ns: int) -> None:
        """Ask for less at a time if a full read takes long to work off, as tiny frames do."""
        size = len(self._window)
        if took_ns > MAX_TURN_NS and size > _LEAST_READ_BYTES:
            self._window = self._view[: size // 2]
        elif took_ns < MAX_TURN_NS // 4 and size < timestamped_socket.READ_SIZE:
            self._window = self._view[: size * 2]

    def _look_soon(self) -> None:
        if self._next_look is None and not self._closed:
            self._next_look = self._loop.call_soon(self.look)

    def _deliver_read(
        self, size: int, timestamp_ns: int | None, read_ns: int, *, took_all: bool
    ) -> None:
        """Deliver what has been read, each part with its timestamp and how far off that may be.

        Args:
            size: bytes in the buffer.
            timestamp_ns: the kernel's, of the newest segment in it, or None.
            read_ns: the time after the read.
            took_all: whether nothing was left: else the newest segment need not be in it whole.
        """
        received, error = self._view[:size], self._error
        last_at = size - 1 if self._tls is None else self._tls.records.last_start(received)
        exact = timestamp_ns is not None and took_all and not error.is_overtaken(timestamp_ns)
        if timestamp_ns is None:
            self.reads_without_timestamp += 1
            timestamp_ns = read_ns
        siblings = self._siblings
        self._unread_since_ns = (
            siblings.unread_since_ns(self._sock.fileno())
            if siblings is not None and len(siblings) > 1
            else None
        )
        if self._capture is not None and self._deliver_captured(
            size, timestamp_ns, read_ns, alone=exact and not last_at
        ):
            return
        bound_ns = error.bound_ns(timestamp_ns, read_ns)
        last_ns = 0
        if self._nic is not None:
            last_ns = self._nic.error_ns
            bound_ns += last_ns
        if not exact or last_at < 0:
            last_at, last_ns = 0, bound_ns
        if last_at:
            self._deliver(received[:last_at], timestamp_ns, read_ns, bound_ns)
        if not self._closed:
            self._deliver(received[last_at:], timestamp_ns, read_ns, last_ns)

    def _deliver_captured(self, size: int, timestamp_ns: int, read_ns: int, *, alone: bool) -> bool:
        """Deliver each captured segment with its own timestamp.

        Args:
            size: bytes in the buffer.
            timestamp_ns: of the newest segment in it.
            read_ns: the time after the read.
            alone: whether that timestamp is right for all of it, so that nothing needs to be asked.

        Returns:
            False, and nothing delivered, where nothing was asked or a segment was not captured.
        """
        assert self._capture is not None
        if alone and read_ns - timestamp_ns < _PROMPT_NS:
            self._capture.skip(size)
            return False
        pieces = self._capture.read(size)
        if pieces is None:
            if self._missed is not None:
                self._missed.count(self.remote_address)
            return False
        start = 0
        for end, piece_ns in pieces:
            self._deliver(self._view[start:end], piece_ns, read_ns, 0)
            if self._closed:
                break
            start = end
        return True

    def _deliver(
        self, received: bytes | memoryview, timestamp_ns: int, read_ns: int, error_ns: int
    ) -> None:
        if self._tls is None:
            data, ended, error = bytes(received), False, None
        else:
            data, ended, error = self._tls.decrypt(received)
        if self._unread_since_ns is not None:
            error_ns = max(error_ns, timestamp_ns - self._unread_since_ns)
        if data and self._receiver is not None:
            self._receiver.bytes_received(data, timestamp_ns, read_ns, error_ns)
        if ended:
            self._end(error)
        elif self._tls is not None and not self._closed:
            self._send(self._tls.pending_output())

    def _end(self, error: Exception | None) -> None:
        receiver = self._receiver
        self.close()
        if receiver is not None:
            receiver.stream_ended(error)

    def _fail(self, error: Exception) -> None:
        """End the stream for what the program raised."""
        receiver = self._receiver
        try:
            self.close()
        finally:
            if receiver is not None:
                receiver.failed(error)

    def _sending_failed(self, error: Exception) -> None:
        """Read what came before, then end the stream: bytes are missing in what the peer gets."""
        self._send_error = self._send_error or error
        self._unsent.clear()
        if self._receiver is not None:
            self._look_soon()

    def _send(self, data: bytes) -> None:
        if not data or self._send_error is not None:
            return
        if not self._unsent:
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self._sending_failed(error)
                return
            if sent == len(data):
                return
            data = data[sent:]
            self._loop.add_writer(self._sock.fileno(), self._on_writable)
        self._unsent += data
        if len(self._unsent) > MAX_UNSENT_BYTES:
            detail = f"the server reads nothing: more than {MAX_UNSENT_BYTES} bytes are unsent"
            raise LimitExceededError(ErrorKind.UNSENT_BYTES, detail)

    def _on_writable(self) -> None:
        try:
            self._send_unsent()
        except Exception as error:  # noqa: BLE001 - ends this connection, and nothing else
            self._fail(error)

    def _send_unsent(self) -> None:
        try:
            sent = self._sock.send(self._unsent)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._sending_failed(error)
        else:
            del self._unsent[:sent]
        if not self._unsent:
            self._loop.remove_writer(self._sock.fileno())


def _is_broken(sock: socket.socket) -> bool:
    """Whether the kernel knows of an error of a socket, though there may be data left to read."""
    poll = select.poll()
    poll.register(sock, 0)  # errors are reported unasked
    return bool(poll.poll(0))


class _Tls:
    """TLS over memory buffers."""

    def __init__(self, context: ssl.SSLContext, server_name: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self.handshake_bytes = 0  # received in it
        self.records = TlsRecords()

    async def handshake(self, sock: socket.socket) -> None:
        """Negotiate over a connected socket."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                await loop.sock_sendall(sock, self._outgoing.read())
                data = await loop.sock_recv(sock, timestamped_socket.READ_SIZE)
                if not data:
                    raise ConnectionResetError("the server closed during the handshake") from None
                self._incoming.write(data)
                self.handshake_bytes += len(data)
                self.records.last_start(data)
            except ssl.SSLError:
                with contextlib.suppress(OSError):  # the alert is a courtesy
                    await loop.sock_sendall(sock, self._outgoing.read())
                raise
            else:
                break
        await loop.sock_sendall(sock, self._outgoing.read())

    def decrypt(self, data: bytes | memoryview) -> tuple[bytes, bool, Exception | None]:
        """Plain bytes of encrypted ones, whether the stream ended after them, and at what fault."""
        incoming, read = self._incoming, self._object.read
        if data:
            incoming.write(data)
        parts, ended, error = [], False, None
        try:
            # A read takes one record. Asking for one more than there are costs an exception.
            while part := read(_RECORD_SIZE):
                parts.append(part)
                if not incoming.pending:
                    break
            else:
                ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            ended = True
        except ssl.SSLError as fault:  # what came before it was received
            ended, error = True, fault
        return parts[0] if len(parts) == 1 else b"".join(parts), ended, error

    def encrypt(self, data: bytes) -> bytes:
        """Encrypted bytes of plain ones."""
        self._object.write(data)
        return self._outgoing.read()

    def pending_output(self) -> bytes:
        """What TLS itself wants to send: key updates and alerts."""
        return self._outgoing.read() if self._outgoing.pending else b""


async def open_transport(
    host: str,
    port: int,
    *,
    address: str | None,
    tls: ssl.SSLContext | None,
    timeout_sec: float,
    on_step: Callable[[ConnectStep, float], None],
    receiving: Receiving = DEFAULT,
    history: AddressHistory | None = None,
    log: ContextLogger = _LOG,
) -> Transport:
    """Resolve, connect and, with a TLS context, negotiate.

    Args:
        host: name or address; also the name the certificate must carry.
        port: TCP port.
        address: IP address to use instead of resolving the name, or None.
        tls: context, or None for plain TCP.
        timeout_sec: limit of each step.
        on_step: told the duration in seconds of each step that succeeded.
        receiving: where timestamps come from, and whether to poll.
        history: orders the addresses, and is told which failed; None for none before this.
        log: told which addresses there are, and why one did not do.

    Raises:
        ConnectFailed: naming the step, or what `receiving` asks for that cannot be had.
    """
    history = history or AddressHistory()
    addresses = await _step(
        ConnectStep.DNS, resolve(address or host, port), timeout_sec=timeout_sec, on_step=on_step
    )
    log.debug("resolved", extra={"host": host, "addresses": [info[4][0] for info in addresses]})
    link = await _step(
        ConnectStep.TCP,
        race(addresses, receiving, history, log),
        timeout_sec=timeout_sec,
        on_step=on_step,
    )
    capture = link.capture
    try:
        if capture is not None and not capture.proves_itself():
            receiving.missed.count(link.remote_address)
            capture.close()
            capture = None
        encryption = None
        if tls is not None:
            encryption = await _step(
                ConnectStep.TLS,
                _negotiate(tls, host, link.sock, capture),
                timeout_sec=timeout_sec,
                on_step=on_step,
            )
        with failing_at(ConnectStep.TCP, timeout_sec):
            nic = NicTimestamps(link.sock) if receiving.timestamps is Timestamps.NIC else None
    except BaseException:
        history.failed(link.remote_address)
        link.close()
        raise
    return Transport(
        link.sock,
        link.remote_address,
        encryption,
        capture=capture,
        nic=nic,
        missed=receiving.missed,
        siblings=receiving.siblings,
        busy_poll_us=receiving.busy_poll_us,
    )


async def _step(
    step: ConnectStep,
    work: Awaitable[_T],
    *,
    timeout_sec: float,
    on_step: Callable[[ConnectStep, float], None],
) -> _T:
    started = time.perf_counter()
    with failing_at(step, timeout_sec):
        async with asyncio.timeout(timeout_sec):
            result = await work
    on_step(step, time.perf_counter() - started)
    return result


async def resolve(host: str, port: int) -> Sequence[AddressInfo]:
    """All addresses of a name, as `socket.getaddrinfo` gives them."""
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


async def _negotiate(
    context: ssl.SSLContext, server_name: str, sock: socket.socket, capture: PacketCapture | None
) -> _Tls:
    encryption = _Tls(context, server_name)
    await encryption.handshake(sock)
    if capture is not None:
        capture.read(encryption.handshake_bytes)
    return encryption
