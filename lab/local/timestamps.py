"""Where the receive timestamps of the local probes come from.

Many processes share this machine's processors, so that no probe reads at once. Of segments that
waited together a socket tells the newest timestamp only, and what the machine did would be measured
in place of the network; a packet socket tells the timestamp of each.
"""

from __future__ import annotations

import socket


def may_capture() -> bool:
    """Whether this user may open packet sockets: CAP_NET_RAW."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0).close()
    except OSError:
        return False
    return True


def best_timestamps() -> str:
    """The `--timestamps` of a probe among many on this machine."""
    return "capture" if may_capture() else "socket"
