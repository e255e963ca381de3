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
from latency_sweep.probe.http.connection_limiter import ConnectionLimiter
from latency_sweep.probe.http.token_bucket import TokenBuckets
from latency_sweep.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from latency_sweep.probe.http.limits import EndpointLimits
    from latency_sweep.probe.http.policy import LivePolicy

_LOG: Final = logs.logger(__name__)
_BACKLOG: Final = 256
# After each rejected connection the next ones wait, so that a flood costs little CPU time.
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
        self._open: dict[ConnectionLimiter, str] = {}
        self._per_address: Counter[str] = Counter()
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
        logged = False
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
            address = str(peer[0])
            reason = self._reason_against(address)
            if reason is not None:
                connection.close()
                self._rejected(reason)
                extra = {"reason": reason.value, "client": address}
                _LOG.debug("connection rejected", extra=extra)
                await asyncio.sleep(_PAUSE_SEC)
                continue
            self._per_address[address] += 1
            opening = loop.create_task(self._accepted(connection, address))
            self._opening.add(opening)
            opening.add_done_callback(partial(self._opened, connection))

    def _reason_against(self, address: str) -> RejectionReason | None:
        limits = self._limits
        if (
            self._per_address.total() >= limits.connections
            or self._per_address[address] >= limits.connections_per_address
        ):
            return RejectionReason.CONNECTIONS
        return None if self._rates.take(address) else RejectionReason.RATE

    async def _accepted(self, connection: socket.socket, address: str) -> None:
        """Open the connection; with TLS that is its handshake."""
        policy = self._policy.current
        limiter = ConnectionLimiter(
            self._make_protocol(), policy, self._limits, self._rejected, self._lost
        )
        self._open[limiter] = address
        self._all_closed.clear()
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
            extra = {"reason": reason.value, "client": address, "error": error}
            _LOG.debug("handshake failed", extra=extra)
            self._rejected(reason)
            self._lost(limiter)
        except BaseException:
            self._lost(limiter)
            raise
        finally:
            if limiter not in self._open:
                connection.close()

    def _opened(self, connection: socket.socket, opening: asyncio.Task[None]) -> None:
        self._opening.discard(opening)
        if opening.cancelled():  # perhaps before its first step, which would close it
            connection.close()

    def _lost(self, limiter: ConnectionLimiter) -> None:
        address = self._open.pop(limiter, None)
        if address is None:
            return
        self._per_address[address] -= 1
        if not self._per_address[address]:
            del self._per_address[address]
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
