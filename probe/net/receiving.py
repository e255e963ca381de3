"""How a connection receives: where its timestamps come from, and whether it polls."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from latency_sweep.probe.net.missed_packets import MissedPackets

if TYPE_CHECKING:
    from latency_sweep.probe.net.siblings import Siblings


class Timestamps(StrEnum):
    """Where receive timestamps come from; docs/timestamps.md says what each costs and gains."""

    AUTO = "auto"  # capture where the process may and it works, else socket
    SOCKET = "socket"  # the kernel's, with each read: that of the newest segment in it
    CAPTURE = "capture"  # the kernel's, of every segment, from a packet capture of the headers
    NIC = "nic"  # the network card's, with each read


class TimestampsError(Exception):
    """Timestamps or polling cannot be done on this host; says why and what it needs."""


@dataclass(frozen=True, slots=True)
class Receiving:
    """How to receive.

    Attributes:
        timestamps: where receive timestamps come from.
        busy_poll_us: after data came, ask the socket again and again for as many microseconds
            before sleeping; 0 for sleeping at once.
        no_capture: why `auto` came to be the socket, or None.
        missed: counts what a capture does not see.
        siblings: the connections that deliver the same messages, or None for a single one.
    """

    timestamps: Timestamps = Timestamps.SOCKET
    busy_poll_us: int = 0
    no_capture: str | None = field(default=None, compare=False)
    missed: MissedPackets = field(default_factory=MissedPackets, compare=False, repr=False)
    siblings: Siblings | None = field(default=None, compare=False, repr=False)


DEFAULT = Receiving()
