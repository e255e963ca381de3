"""Faults while a connection is being opened: name resolution, TCP, TLS, upgrade, route.

Each first resets the existing connections, so that the probe has to reconnect.
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

# Binance answers a banned address with 418.
_PHRASES = {418: "I'm a teapot"}


class AtConnect(Fault):
    """Makes the probe reconnect."""

    def injected(self, proxy: FaultProxy) -> None:
        """Reset the existing connections."""
        proxy.reset_links()


class Refuse(AtConnect):
    """Nothing listens on the port: TCP answers with a reset."""

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
        """Reset it and drop it."""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False


class SlowTls(AtConnect):
    """The server answers the TLS handshake late."""

    def __init__(self, delay_sec: float) -> None:
        """Answer after `delay_sec`."""
        self._delay_sec = delay_sec

    async def admit(self, sock: socket.socket) -> bool:  # noqa: ARG002 - as declared
        """Wait."""
        await asyncio.sleep(self._delay_sec)
        return True


class BadCertificate(AtConnect):
    """The server presents a certificate that must not be trusted."""

    def __init__(self, identity: Identity) -> None:
        """Present the certificate of `identity`."""
        self.identity = identity


class RejectUpgrade(AtConnect):
    """The upgrade is rejected with an HTTP error, with or without `Retry-After`."""

    def __init__(self, status: int, retry_after_sec: int | None) -> None:
        """Reject with `status`."""
        phrase = _PHRASES.get(status) or HTTPStatus(status).phrase
        body = b'{"code":-1003,"msg":"fault laboratory"}'
        wait = f"Retry-After: {retry_after_sec}\r\n" if retry_after_sec is not None else ""
        head = (
            f"HTTP/1.1 {status} {phrase}\r\n{wait}Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self._answer = head.encode() + body

    def answer(self, request: bytes) -> bytes | None:  # noqa: ARG002 - as declared
        """The HTTP error."""
        return self._answer


class AnswerAnotherProtocol(AtConnect):
    """The upgrade is answered by a server that does not speak HTTP and waits for an answer."""

    hangs = True

    def answer(self, request: bytes) -> bytes | None:  # noqa: ARG002 - as declared
        """The greeting of an SSH server."""
        return b"SSH-2.0-OpenSSH_9.6\r\n"


class WrongRoute(AtConnect):
    """Handshake and pings work, but a connection opened meanwhile never delivers a message."""

    sticky = True

    def downstream(self, link: Link, frames: list[bytes]) -> None:
        """Pass control frames only."""
        link.send(b"".join(frame for frame in frames if not is_data(frame)))


class DnsFailure(AtConnect):
    """The name cannot be resolved."""

    def __init__(self, server: DnsServer, name: str, failure: int | Silence) -> None:
        """Let the resolution of `name` fail with `failure`."""
        self._server = server
        self._name = name
        self._failure = failure
        self._before = server.answers[name]

    def injected(self, proxy: FaultProxy) -> None:
        """Let the name fail, then reset."""
        self._server.answers[self._name] = self._failure
        super().injected(proxy)

    def lifted(self, proxy: FaultProxy) -> None:  # noqa: ARG002 - as declared
        """Restore the answer."""
        self._server.answers[self._name] = self._before


class DnsChange(AtConnect):
    """The exchange moves to another address; the old one refuses."""

    def __init__(self, server: DnsServer, name: str, address: str) -> None:
        """Let `name` resolve to `address` once the fault is lifted."""
        self._server = server
        self._name = name
        self._address = address

    def injected(self, proxy: FaultProxy) -> None:
        """Stop listening; the name still resolves to the old address."""
        proxy.stop_listening()
        super().injected(proxy)

    def lifted(self, proxy: FaultProxy) -> None:
        """Listen at the new address and update the name."""
        proxy.listen(self._address)
        self._server.answers[self._name] = self._address
