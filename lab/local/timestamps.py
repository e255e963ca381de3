"""Where the receive timestamps of the local probes come from.

Many processes share this machine's processors, so no probe reads immediately. A socket reports only
the newest timestamp of the segments that waited together, which would measure the machine instead
of the network; a packet socket reports the timestamp of each segment.
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
