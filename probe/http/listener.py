"""Accepts the metrics endpoint's connections, limits their number and rate, and does TLS."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from latency_sweep.contract.metrics import RejectionReason
from latency_sweep.probe.http.client_address import client_of
from latency_sweep.probe.http.connection_limiter import ConnectionLimiter
from latency_sweep.probe.http.token_bucket import TokenBuckets
from latency_sweep.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from latency_sweep.probe.http.limits import EndpointLimits
    from latency_sweep.probe.http.policy import LivePolicy

_LOG: Final = logs.logger(__name__)
# Long, so that a flood that waits in it leaves room for others; the kernel caps it at `somaxconn`.
_BACKLOG: Final = 4096
# After so many rejected connections the next ones wait, so that a flood costs little CPU time.
# Others wait with them, so it is not long.
_REJECTED_AT_ONCE: Final = 16
_PAUSE_SEC: Final = 0.01
# Out of descriptors or memory: wait until others finish.
_EXHAUSTED_PAUSE_SEC: Final = 0.5
_CLOSE_WITHIN_SEC: Final = 5.0
_REASONS: Final = {
    "HTTP_REQUEST": RejectionReason.PLAIN_HTTP,
    "HTTPS_PROXY_REQUEST": RejectionReason.PLAIN_HTTP,
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": RejectionReason.NO_CLIENT_CERTIFICATE,
    "CERTIFICATE_VERIFY_FAILED": RejectionReason.WRONG_CLIENT_CERTIFICATE,
}


class Listener:
    """The listening sockets and the connections they accepted.

    Args:
        make_protocol: makes the HTTP server's protocol for a connection.
        policy: whether and how TLS is spoken.
        limits: how many connections.
        rejected: called with the reason of each rejection.
    """

    def __init__(
        self,
        make_protocol: Callable[[], asyncio.Protocol],
        policy: LivePolicy,
        limits: EndpointLimits,
        rejected: Callable[[RejectionReason], None],
    ) -> None:
        self._make_protocol = make_protocol
        self._policy = policy
        self._limits = limits
        self._rejected = rejected
        self._rates = TokenBuckets(limits.new_per_sec, limits.burst)
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._opening: set[asyncio.Task[None]] = set()
        # In the order in which they were accepted, each with the task that opens it.
        self._open: dict[ConnectionLimiter, asyncio.Task[None]] = {}
        self._all_closed = asyncio.Event()

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port.

        Args:
            host: a name or address; empty for all of this host, and so is `::`, for IPv4 too.
            port: 0 for any free one, the same for all addresses.

        Raises:
            OSError: the address cannot be listened on.
        """
        loop = asyncio.get_running_loop()
        host_is_any_ipv6 = _is_any_ipv6(host) and socket.has_dualstack_ipv6()
        found = await loop.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                bound = (address[0], port, *address[2:])
                listening = socket.create_server(
                    bound,
                    family=family,
                    backlog=_BACKLOG,
                    # Otherwise a socket of IPv6 leaves IPv4 to one of its own, if there is one.
                    dualstack_ipv6=host_is_any_ipv6 and family is socket.AF_INET6,
                )
                self._sockets.append(listening)
                listening.setblocking(False)  # noqa: FBT003 - as the standard library has it
                port = listening.getsockname()[1]
        except OSError:
            await self.stop_accepting()
            raise
        self._accepting = [loop.create_task(self._accept(s)) for s in self._sockets]
        return port

    async def stop_accepting(self) -> None:
        """Listen no more; connections that are open stay."""
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        self._accepting.clear()
        for listening in self._sockets:
            listening.close()
        self._sockets.clear()

    async def wait_closed(self) -> None:
        """Wait until all connections are closed; after a while they are cut off."""
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        if self._open:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_WITHIN_SEC):
                    await self._all_closed.wait()
        for limiter in list(self._open):
            limiter.abort()
        if self._open:
            await self._all_closed.wait()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        logged, rejected = False, 0
        while True:
            try:
                connection, peer = await loop.sock_accept(listening)
            except OSError as error:
                if not logged:
                    extra = {"error": error.strerror}
                    _LOG.error("the metrics port cannot accept connections", extra=extra)
                    logged = True
                await asyncio.sleep(_EXHAUSTED_PAUSE_SEC)
                continue
            logged = False
            client = client_of(str(peer[0]))
            reason = self._reason_against(client)
            if reason is not None:
                connection.close()
                self._rejected(reason)
                extra = {"reason": reason.value, "client": client}
                _LOG.debug("connection rejected", extra=extra)
                rejected += 1
                if rejected % _REJECTED_AT_ONCE == 0:
                    await asyncio.sleep(_PAUSE_SEC)
                continue
            policy = self._policy.current
            limiter = ConnectionLimiter(
                self._make_protocol(),
                client,
                policy,
                limits=self._limits,
                rejected=self._rejected,
                ended=self._lost,
            )
            opening = loop.create_task(self._accepted(connection, limiter))
            self._open[limiter] = opening
            self._all_closed.clear()
            self._opening.add(opening)
            opening.add_done_callback(partial(self._opened, connection, limiter))

    def _reason_against(self, client: str) -> RejectionReason | None:
        if not self._rates.take(client):
            return RejectionReason.RATE
        return None if self._make_room(client) else RejectionReason.CONNECTIONS

    def _make_room(self, client: str) -> bool:
        """Whether there is room for one more connection, if need be instead of a stranger's.

        Who is connecting is known only later: it may be a client that can authenticate. What gives
        way is the oldest connection of the client that has most without having authenticated.
        """
        limits = self._limits
        strangers = [limiter for limiter in self._open if not limiter.authenticated]
        reserved = 0 if self._policy.current.open_to_all else limits.reserved
        if sum(limiter.client == client for limiter in self._open) >= limits.connections_per_client:
            strangers = [limiter for limiter in strangers if limiter.client == client]
        elif (
            len(self._open) < limits.connections and len(strangers) < limits.connections - reserved
        ):
            return True
        if not strangers:
            return False
        heaviest, _ = Counter(limiter.client for limiter in strangers).most_common(1)[0]
        self._disconnect(next(limiter for limiter in strangers if limiter.client == heaviest))
        return True

    def _disconnect(self, limiter: ConnectionLimiter) -> None:
        self._rejected(RejectionReason.CONNECTIONS)
        extra = {"reason": RejectionReason.CONNECTIONS.value, "client": limiter.client}
        _LOG.debug("connection closed for a new one", extra=extra)
        opening = self._open[limiter]
        if opening.done():
            limiter.abort()
        else:
            opening.cancel()
        self._lost(limiter)

    async def _accepted(self, connection: socket.socket, limiter: ConnectionLimiter) -> None:
        """Open the connection; with TLS that is its handshake."""
        policy = limiter.policy
        times = (
            {}
            if policy.context is None
            else {
                "ssl_handshake_timeout": self._limits.handshake_sec,
                "ssl_shutdown_timeout": _CLOSE_WITHIN_SEC,
            }
        )
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: limiter, connection, ssl=policy.context, **times
            )
        except OSError as error:
            reason = _reason(error)
            extra = {"reason": reason.value, "client": limiter.client, "error": error}
            _LOG.debug("handshake failed", extra=extra)
            self._rejected(reason)
            self._lost(limiter)
        finally:
            if limiter not in self._open:
                connection.close()

    def _opened(
        self, connection: socket.socket, limiter: ConnectionLimiter, opening: asyncio.Task[None]
    ) -> None:
        self._opening.discard(opening)
        if opening.cancelled():  # perhaps before its first step, which would close it
            self._lost(limiter)
            connection.close()
        elif (error := opening.exception()) is not None:
            # No traceback: its client could fill the log.
            extra = {"client": limiter.client, "error": type(error).__name__}
            _LOG.error("a connection could not be opened", extra=extra)
            self._lost(limiter)
            connection.close()

    def _lost(self, limiter: ConnectionLimiter) -> None:
        self._open.pop(limiter, None)
        if not self._open:
            self._all_closed.set()


def is_loopback(host: str) -> bool:
    """Whether a host given to `Listener.start` can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_any_ipv6(host: str) -> bool:
    try:
        return ipaddress.IPv6Address(host).is_unspecified
    except ValueError:
        return False


def _reason(error: OSError) -> RejectionReason:
    """What a handshake failed at."""
    if isinstance(error, ssl.SSLError):
        return _REASONS.get(error.reason or "", RejectionReason.TLS)
    # How asyncio and uvloop report a handshake that took too long.
    if isinstance(error, TimeoutError) or type(error) is ConnectionAbortedError:
        return RejectionReason.SLOW
    return RejectionReason.TLS
