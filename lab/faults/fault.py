"""What a fault may do: the moments at which a proxy asks it. The base does nothing at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.lab.faults.certificates import Identity

if TYPE_CHECKING:
    import socket

    from latency_sweep.lab.faults.proxy import FaultProxy, Link


class Fault:
    """One way in which things go wrong, for one proxy. This one passes everything on.

    Attributes:
        lasting: whether it concerns connections that come later too; else only those there are.
        sticky: whether a connection that it concerns never gets rid of it.
        identity: the certificate that the server shows.
    """

    lasting = True
    sticky = False
    identity = Identity.TRUSTED

    @property
    def withholds(self) -> bool:
        """Whether something is still to come that the probe should have had."""
        return False

    def injected(self, proxy: FaultProxy) -> None:
        """It begins."""

    def lifted(self, proxy: FaultProxy) -> None:
        """It is over."""

    async def admit(self, sock: socket.socket) -> bool:  # noqa: ARG002 - for subclasses
        """Decide on a connection just accepted, before TLS; False to drop it."""
        return True

    def answer(self, request: bytes) -> bytes | None:  # noqa: ARG002 - for subclasses
        """An answer to the upgrade in place of the exchange's, or None."""
        return None

    def began(self, link: Link) -> None:
        """A connection that was there before is concerned from now on."""

    def ended(self, link: Link) -> None:
        """It is no longer; the site to send what was withheld."""

    def downstream(self, link: Link, frames: list[bytes]) -> None:
        """Frames of the exchange for the probe."""
        link.send(b"".join(frames))

    def upstream(self, link: Link, frames: list[bytes]) -> None:
        """Frames of the probe for the exchange, behind the request for the upgrade."""
        link.forward(b"".join(frames))

    def exchange_ended(self, link: Link) -> None:
        """The exchange has closed its side."""
        link.close()
