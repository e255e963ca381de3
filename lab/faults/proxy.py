"""A proxy between one probe and the exchange that injects faults.

It speaks TLS with its own certificate to the probe and plain TCP to the exchange. So it sees whole
frames and can change bytes, frames, handshakes and connections as a fault requires.
Without a fault it passes everything on, frame by frame, in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, Final, cast

from latency_sweep.lab.faults.fault import Fault
from latency_sweep.lab.faults.frames import FrameCutter
from latency_sweep.runtime.loopback import hold_port

if TYPE_CHECKING:
    import ssl
    from collections.abc import Coroutine, Mapping
    from typing import Self

    from latency_sweep.lab.faults.certificates import Identity

HOST: Final = "127.0.0.1"
_BACKLOG: Final = 64
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
_HANDSHAKE_TIMEOUT_SEC: Final = 30.0


class _Side(asyncio.Protocol):
    """One end of a link: the probe's or the exchange's."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.transport: asyncio.Transport | None = None
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own TLS transport is no subclass of asyncio.Transport.
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.transport = None
        if not self.ended.done():
            self.ended.set_result(None)
        self._link.side_ended(self)

    def data_received(self, data: bytes) -> None:
        self._link.received(self, data)

    def write(self, data: bytes) -> None:
        if data and self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class Link:
    """One connection of the probe through the proxy to the exchange.

    Attributes:
        fault: what happens to it.
        opened: `time.monotonic()` of the upgrade, or of the beginning before it.
        frames: frames passed on or withheld so far.
        well_since: `time.monotonic()` of the first frames passed on without a fault, since the
            last one; None before.
    """

    def __init__(self, proxy: FaultProxy, fault: Fault) -> None:
        self.fault = fault
        self.opened = time.monotonic()
        self.frames = 0
        self.well_since: float | None = None
        self.probe = _Side(self)
        self.exchange = _Side(self)
        self._proxy = proxy
        self._downstream = FrameCutter()
        self._upstream = FrameCutter()
        self._vanished = False

    # What a fault may do.

    def send(self, data: bytes) -> None:
        """Send bytes to the probe."""
        if not self._vanished:
            self.probe.write(data)

    def forward(self, data: bytes) -> None:
        """Send bytes of the probe to the exchange."""
        self.exchange.write(data)

    def close(self) -> None:
        """Close both sides, after what has been sent."""
        self.exchange.abort()
        if self.probe.transport is not None:
            self.probe.transport.close()

    def cut(self) -> None:
        """End the probe's side without a TLS or WebSocket close."""
        self.exchange.abort()
        self.probe.abort()

    def reset(self) -> None:
        """End the probe's side with a TCP reset."""
        if self.probe.transport is not None:
            sock = self.probe.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.cut()

    def half_close(self) -> None:
        """End the probe's side for what is sent, and go on reading what the probe sends."""
        self.exchange.abort()
        if self.probe.transport is not None:
            self.probe.transport.get_extra_info("socket").shutdown(socket.SHUT_WR)

    def vanish(self) -> None:
        """Stop responding without closing: nothing is sent, nothing is read."""
        self._vanished = True
        if self.probe.transport is not None:
            self.probe.transport.pause_reading()
        self.exchange.abort()

    # The sides' events.

    def received(self, side: _Side, data: bytes) -> None:
        """Bytes arrived."""
        if self._vanished:
            return
        if side is self.exchange:
            self._from_exchange(data)
        else:
            self._from_probe(data)

    def side_ended(self, side: _Side) -> None:
        """One side has ended."""
        if side is self.exchange:
            self.fault.exchange_ended(self)
        else:
            self.exchange.abort()
            self._proxy.links.pop(self, None)

    def _from_exchange(self, data: bytes) -> None:
        response, frames = self._downstream.feed(data)
        if response:
            self.send(response)
            self.opened = time.monotonic()
        if frames:
            self.frames += len(frames)
            if self.well_since is None and type(self.fault) is Fault:
                self.well_since = time.monotonic()
            self.fault.downstream(self, frames)

    def _from_probe(self, data: bytes) -> None:
        request, frames = self._upstream.feed(data)
        if request:
            answer = self.fault.answer(request)
            if answer is None:
                self._proxy.spawn(self._reach_exchange(request))
            else:
                self.send(answer)
                if not self.fault.hangs:
                    self.close()
        if frames:
            self.fault.upstream(self, frames)

    async def _reach_exchange(self, request: bytes) -> None:
        host, port = self._proxy.upstream
        try:
            await asyncio.get_running_loop().create_connection(lambda: self.exchange, host, port)
        except OSError:
            self.close()
            return
        if self.probe.transport is None:
            self.exchange.abort()
            return
        self.exchange.write(request)


class FaultProxy:
    """Listens at the address that the probe has for the exchange. A context manager.

    Attributes:
        upstream: host and port of the exchange, plain TCP.
        links: connections of the probe, in the order in which they came.
        accepted: how many connections were accepted.
        port: where it listens, the same through all its life.
    """

    def __init__(
        self, upstream: tuple[str, int], identities: Mapping[Identity, ssl.SSLContext]
    ) -> None:
        """Prepare a proxy; nothing listens yet.

        Args:
            upstream: host and port of the exchange, plain TCP.
            identities: server contexts to choose from.
        """
        self.upstream = upstream
        self.links: dict[Link, None] = {}
        self.accepted = 0
        self.port = 0
        self._identities = identities
        self._fault = Fault()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        # Keeps the port from other programs while nobody listens; who connects is refused.
        self._reservation: socket.socket | None = None
        self._host = HOST

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End every connection and stop listening."""
        self.stop_listening()
        if self._reservation is not None:
            self._reservation.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for link in tuple(self.links):
            link.fault = Fault()
            link.cut()
            for side in (link.probe, link.exchange):
                if side.transport is not None:
                    await side.ended

    def inject(self, fault: Fault) -> None:
        """Inject a fault until `lift`; one at a time."""
        if fault.lasting:
            self._fault = fault
        fault.injected(self)
        for link in tuple(self.links):
            if not link.fault.sticky:
                link.fault = fault
                link.well_since = None
                fault.began(link)

    def lift(self, fault: Fault) -> None:
        """Pass everything on again, first what was held."""
        self._fault = Fault()
        fault.lifted(self)
        for link in tuple(self.links):
            if link.fault is fault and not fault.sticky:
                link.fault = self._fault
                fault.ended(link)

    def listen(self, host: str | None = None) -> None:
        """Accept connections; at the same port as before, if there was one.

        Raises:
            OSError: the port is taken at this address.
        """
        if self._listener is not None:
            return
        self._host = host or self._host
        if self._reservation is None:
            self._reservation = hold_port(0, "")  # at every address: the exchange may move
            self.port = int(self._reservation.getsockname()[1])
        self._listener = hold_port(self.port, self._host)
        self._listener.settimeout(0)
        self._listener.listen(_BACKLOG)
        asyncio.get_running_loop().add_reader(self._listener.fileno(), self._accept)

    def stop_listening(self) -> None:
        """Refuse connections."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None

    def reset_links(self) -> None:
        """Reset every connection."""
        for link in tuple(self.links):
            link.reset()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task that ends with the proxy at the latest."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _accept(self) -> None:
        assert self._listener is not None
        with contextlib.suppress(BlockingIOError, ConnectionError):
            sock, _ = self._listener.accept()
            sock.settimeout(0)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.accepted += 1
            admitting = self.spawn(self._admit(sock))
            # What is cancelled before its first step never gets to close anything.
            admitting.add_done_callback(lambda task: sock.close() if task.cancelled() else None)

    async def _admit(self, sock: socket.socket) -> None:
        """Carry a connection through the fault of the moment and the TLS handshake."""
        fault = self._fault
        try:
            if not await fault.admit(sock):
                sock.close()
                return
        except BaseException:
            sock.close()
            raise
        # The fault may have been lifted while the connection waited.
        fault = self._fault
        link = Link(self, fault)
        self.links[link] = None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: link.probe,
                sock,
                ssl=self._identities[fault.identity],
                ssl_handshake_timeout=_HANDSHAKE_TIMEOUT_SEC,
            )
        except OSError:  # ssl.SSLError among them: the probe refused, or gave up
            self.links.pop(link, None)
        except BaseException:
            self.links.pop(link, None)
            sock.close()
            raise
