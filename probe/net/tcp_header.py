"""What a captured packet says of its place in a TCP stream (RFC 791, RFC 8200, RFC 9293)."""

from __future__ import annotations

from typing import NamedTuple

_IPV4_HEADER = 20
_IPV6_HEADER = 40
_SYN = 0x02


class Segment(NamedTuple):
    """One TCP segment.

    Attributes:
        sequence: 32-bit sequence number of its first byte.
        size: bytes of data; -1 where the packet does not say (beyond 64 KiB).
        syn: whether it opens a connection; it then takes one sequence number itself.
    """

    sequence: int
    size: int
    syn: bool


def parse(packet: bytes | bytearray) -> Segment | None:
    """Read the headers of an IP packet that carries TCP; the data itself may be cut off.

    Returns:
        The segment, or None where the headers are not complete.
    """
    if len(packet) < _IPV4_HEADER:
        return None
    if packet[0] >> 4 == 4:  # noqa: PLR2004 - the version of IP
        tcp_at = (packet[0] & 0xF) * 4
        total = int.from_bytes(packet[2:4], "big")
    else:
        tcp_at = _IPV6_HEADER
        total = int.from_bytes(packet[4:6], "big")
        total += _IPV6_HEADER if total else 0
    if len(packet) < tcp_at + _IPV4_HEADER:  # TCP's shortest header is as long
        return None
    header = (packet[tcp_at + 12] >> 4) * 4
    return Segment(
        int.from_bytes(packet[tcp_at + 4 : tcp_at + 8], "big"),
        total - tcp_at - header if total else -1,
        bool(packet[tcp_at + 13] & _SYN),
    )
