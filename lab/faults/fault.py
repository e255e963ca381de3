"""The hooks that a proxy calls on a fault. The base class passes everything on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.lab.faults.certificates import Identity

if TYPE_CHECKING:
    import socket

    from latency_sweep.lab.faults.proxy import FaultProxy, Link


class Fault:
    """One fault of one proxy. The base class passes everything on.

    Attributes:
        lasting: whether it affects later connections too, or only the existing ones.
        sticky: whether a connection stays affected after the fault is lifted.
        hangs: whether a connection stays open after its own `answer`.
        identity: the certificate that the server presents.
    """

    lasting = True
    sticky = False
    hangs = False
    identity = Identity.TRUSTED

    @property
    def withholds(self) -> bool:
        """Whether anything is held back that the probe should have received."""
        return False

    def injected(self, proxy: FaultProxy) -> None:
        """Called when the fault begins."""

    def lifted(self, proxy: FaultProxy) -> None:
        """Called when the fault is lifted."""

    async def admit(self, sock: socket.socket) -> bool:  # noqa: ARG002 - for subclasses
        """Called for an accepted connection before TLS; False drops it."""
        return True

    def answer(self, request: bytes) -> bytes | None:  # noqa: ARG002 - for subclasses
        """The answer to the upgrade instead of the exchange's, or None."""
        return None

    def began(self, link: Link) -> None:
        """Called for each existing connection when the fault begins."""

    def ended(self, link: Link) -> None:
        """Called for each affected connection when the fault is lifted; sends what was held."""

    def downstream(self, link: Link, frames: list[bytes]) -> None:
        """Handle frames from the exchange to the probe."""
        link.send(b"".join(frames))

    def upstream(self, link: Link, frames: list[bytes]) -> None:
        """Handle frames from the probe to the exchange, after the upgrade."""
        link.forward(b"".join(frames))

    def exchange_ended(self, link: Link) -> None:
        """Called when the exchange has closed its side."""
        link.close()
