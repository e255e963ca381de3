"""A TCP or TLS byte stream whose socket the program owns, so that it gets kernel stamps.

TLS runs over memory buffers (`ssl.MemoryBIO`): a library that owned the socket would read it
without asking for the stamp.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from probe.contract.metrics import ConnectPhase
from probe.net import stamped_socket
from probe.net.errors import ConnectFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    _AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]

_T = TypeVar("_T")

# Reads before the event loop gets a turn: enough for a burst, not enough to starve a scrape.
_READS_PER_TURN: Final = 16


class Receiver(Protocol):
    """Takes what a transport receives."""

    def bytes_received(self, data: bytes, stamp_ns: int, read_ns: int) -> None:
        """Plain bytes, the kernel's stamp of the last of them, and the time of the read."""

    def stream_ended(self, error: Exception | None) -> None:
        """Called once: the peer closed (None) or the stream broke."""


class Transport:
    """An established byte stream. Make one with `open_transport`."""

    def __init__(self, sock: socket.socket, tls: _Tls | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._tls = tls
        self._buffer = bytearray(stamped_socket.READ_SIZE)
        self._view = memoryview(self._buffer)
        self._unsent = bytearray()
        self._receiver: Receiver | None = None
        self._closed = False
        self.remote_address: str = str(sock.getpeername()[0])
        self.unstamped_reads = 0

    def start(self, receiver: Receiver) -> None:
        """Deliver everything received from now on to `receiver`."""
        self._receiver = receiver
        self._loop.add_reader(self._sock.fileno(), self._on_readable)
        if self._tls is not None:  # what came together with the end of the handshake
            self._deliver(b"", time.time_ns(), time.time_ns())

    def write(self, data: bytes) -> None:
        """Send bytes, now or as soon as the socket takes them."""
        if self._closed:
            return
        self._send(self._tls.encrypt(data) if self._tls else data)

    def close(self) -> None:
        """Release the socket; nothing is delivered any more."""
        if self._closed:
            return
        self._closed = True
        self._receiver = None
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()

    def _on_readable(self) -> None:
        for _ in range(_READS_PER_TURN):
            if self._closed:
                return
            try:
                size, stamp_ns, read_ns = stamped_socket.receive(self._sock, self._buffer)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._end(error)
                return
            if size == 0:
                self._end(None)
                return
            if stamp_ns is None:
                self.unstamped_reads += 1
                stamp_ns = read_ns
            self._deliver(bytes(self._view[:size]), stamp_ns, read_ns)
            if size < stamped_socket.READ_SIZE:
                return

    def _deliver(self, data: bytes, stamp_ns: int, read_ns: int) -> None:
        ended, error = False, None
        if self._tls is not None:
            try:
                data, ended = self._tls.decrypt(data)
            except ssl.SSLError as problem:
                ended, error, data = True, problem, b""
        if data and self._receiver is not None:
            self._receiver.bytes_received(data, stamp_ns, read_ns)
        if ended:
            self._end(error)
        elif self._tls is not None and not self._closed:
            self._send(self._tls.pending_output())

    def _end(self, error: Exception | None) -> None:
        receiver = self._receiver
        self.close()
        if receiver is not None:
            receiver.stream_ended(error)

    def _send(self, data: bytes) -> None:
        if not data:
            return
        if not self._unsent:
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                return  # the reader meets the same error and reports it
            if sent == len(data):
                return
            data = data[sent:]
            self._loop.add_writer(self._sock.fileno(), self._on_writable)
        self._unsent += data

    def _on_writable(self) -> None:
        try:
            sent = self._sock.send(self._unsent)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            sent = len(self._unsent)
        del self._unsent[:sent]
        if not self._unsent:
            self._loop.remove_writer(self._sock.fileno())


class _Tls:
    """TLS over memory buffers."""

    def __init__(self, context: ssl.SSLContext, server_name: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)

    async def handshake(self, sock: socket.socket) -> None:
        """Negotiate over a connected socket."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                await loop.sock_sendall(sock, self._outgoing.read())
                data = await loop.sock_recv(sock, stamped_socket.READ_SIZE)
                if not data:
                    raise ConnectionResetError("the server closed during the handshake") from None
                self._incoming.write(data)
            except ssl.SSLError:
                with contextlib.suppress(OSError):  # the alert is a courtesy
                    await loop.sock_sendall(sock, self._outgoing.read())
                raise
            else:
                break
        await loop.sock_sendall(sock, self._outgoing.read())

    def decrypt(self, data: bytes) -> tuple[bytes, bool]:
        """Plain bytes of encrypted ones, and whether the peer ended the stream."""
        if data:
            self._incoming.write(data)
        parts = []
        try:
            while part := self._object.read(stamped_socket.READ_SIZE):
                parts.append(part)
        except ssl.SSLWantReadError:
            return b"".join(parts), False
        except ssl.SSLZeroReturnError:
            pass
        return b"".join(parts), True

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
    on_phase: Callable[[ConnectPhase, float], None],
) -> Transport:
    """Resolve, connect and, with a TLS context, negotiate.

    Args:
        host: name or address; also the name the certificate must carry.
        port: TCP port.
        address: IP address to use instead of resolving the name, or None.
        tls: context, or None for plain TCP.
        timeout_sec: limit of each step.
        on_phase: told the duration in seconds of each step that succeeded.

    Raises:
        ConnectFailed: naming the step.
    """
    addresses = await _step(
        ConnectPhase.DNS, resolve(address or host, port), timeout_sec=timeout_sec, on_phase=on_phase
    )
    sock = await _step(
        ConnectPhase.TCP, _connect(addresses), timeout_sec=timeout_sec, on_phase=on_phase
    )
    try:
        session = None
        if tls is not None:
            session = _Tls(tls, host)
            await _step(
                ConnectPhase.TLS,
                session.handshake(sock),
                timeout_sec=timeout_sec,
                on_phase=on_phase,
            )
        return Transport(sock, session)
    except BaseException:
        sock.close()
        raise


async def _step(
    phase: ConnectPhase,
    work: Awaitable[_T],
    *,
    timeout_sec: float,
    on_phase: Callable[[ConnectPhase, float], None],
) -> _T:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(timeout_sec):
            result = await work
    except TimeoutError as error:
        raise ConnectFailed(phase, f"no answer within {timeout_sec:g} s") from error
    except (OSError, UnicodeError) as error:  # ssl.SSLError and gaierror are OSErrors
        raise ConnectFailed(phase, str(error)) from error
    on_phase(phase, time.perf_counter() - started)
    return result


async def resolve(host: str, port: int) -> Sequence[_AddressInfo]:
    """All addresses of a name, as `socket.getaddrinfo` gives them."""
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


async def _connect(addresses: Sequence[_AddressInfo]) -> socket.socket:
    failure: OSError = OSError("the name has no address")
    for family, kind, protocol, _, address in addresses:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(0)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stamped_socket.enable_receive_stamps(sock)
            await asyncio.get_running_loop().sock_connect(sock, address)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure
