"""Faults that a connection meets while it is being opened: name, TCP, TLS, upgrade, route.

Each first resets the connections there are, so that the probe has to connect again.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from http import HTTPStatus
from typing import TYPE_CHECKING

from latency_sweep.lab.faults.fault import Fault
from latency_sweep.lab.faults.frames import is_data

if TYPE_CHECKING:
    from latency_sweep.lab.faults.certificates import Identity
    from latency_sweep.lab.faults.dns import DnsServer, Silence
    from latency_sweep.lab.faults.proxy import FaultProxy, Link

# 418 is Binance's word for a banned address.
_PHRASES = {418: "I'm a teapot"}


class AtConnect(Fault):
    """Makes the probe connect again."""

    def injected(self, proxy: FaultProxy) -> None:
        """Reset what there is."""
        proxy.reset_links()


class Refuse(AtConnect):
    """Nobody listens: TCP answers with a reset."""

    def injected(self, proxy: FaultProxy) -> None:
        """Stop listening."""
        proxy.stop_listening()
        super().injected(proxy)

    def lifted(self, proxy: FaultProxy) -> None:
        """Listen again."""
        proxy.listen()


class ResetOnAccept(AtConnect):
    """A connection is reset as soon as it is accepted."""

    async def admit(self, sock: socket.socket) -> bool:
        """Never."""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False


class SlowTls(AtConnect):
    """The server takes its time before it answers the TLS handshake."""

    def __init__(self, delay_sec: float) -> None:
        """Answer after this time."""
        self._delay_sec = delay_sec

    async def admit(self, sock: socket.socket) -> bool:  # noqa: ARG002 - as declared
        """Later."""
        await asyncio.sleep(self._delay_sec)
        return True


class BadCertificate(AtConnect):
    """The server shows a certificate that must not be trusted."""

    def __init__(self, identity: Identity) -> None:
        """Show this one."""
        self.identity = identity


class RejectUpgrade(AtConnect):
    """The upgrade is answered with an error, and how long to stay away."""

    def __init__(self, status: int, retry_after_sec: int | None) -> None:
        """Answer with this status."""
        phrase = _PHRASES.get(status) or HTTPStatus(status).phrase
        body = b'{"code":-1003,"msg":"fault laboratory"}'
        wait = f"Retry-After: {retry_after_sec}\r\n" if retry_after_sec is not None else ""
        head = (
            f"HTTP/1.1 {status} {phrase}\r\n{wait}Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self._answer = head.encode() + body

    def answer(self, request: bytes) -> bytes | None:  # noqa: ARG002 - as declared
        """The error."""
        return self._answer


class WrongRoute(AtConnect):
    """Handshake and pings work, but no message ever comes on a connection opened meanwhile."""

    sticky = True

    def downstream(self, link: Link, frames: list[bytes]) -> None:
        """Only control frames."""
        link.send(b"".join(frame for frame in frames if not is_data(frame)))


class DnsFailure(AtConnect):
    """The name cannot be resolved any more."""

    def __init__(self, server: DnsServer, name: str, failure: int | Silence) -> None:
        """Let `name` fail in this way."""
        self._server = server
        self._name = name
        self._failure = failure
        self._before = server.answers[name]

    def injected(self, proxy: FaultProxy) -> None:
        """Forget the name."""
        self._server.answers[self._name] = self._failure
        super().injected(proxy)

    def lifted(self, proxy: FaultProxy) -> None:  # noqa: ARG002 - as declared
        """Know it again."""
        self._server.answers[self._name] = self._before


class DnsChange(AtConnect):
    """The exchange moves to another address; the old one refuses."""

    def __init__(self, server: DnsServer, name: str, address: str) -> None:
        """Let `name` resolve to this address in the end."""
        self._server = server
        self._name = name
        self._address = address

    def injected(self, proxy: FaultProxy) -> None:
        """Be gone; the name still tells the old address."""
        proxy.stop_listening()
        super().injected(proxy)

    def lifted(self, proxy: FaultProxy) -> None:
        """Be at the new one, and tell."""
        proxy.listen(self._address)
        self._server.answers[self._name] = self._address
