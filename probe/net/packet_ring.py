"""Captured packets in memory shared with the kernel: reading one takes no system call.

Version 2 of the ring (Documentation/networking/packet_mmap.rst): the kernel hands over each packet
as soon as it is there, where version 3 waits until a block is full.
"""

from __future__ import annotations

import mmap
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket

# linux/if_packet.h
_SOL_PACKET: Final = 263
_PACKET_RX_RING: Final = 5
_PACKET_STATISTICS: Final = 6
_PACKET_VERSION: Final = 10
_TPACKET_V2: Final = 1
_STATUS_USER: Final = 1
_STATUS_KERNEL: Final = 0
# struct tpacket2_hdr: status, bytes, bytes captured, offsets of the link's and network's headers,
# seconds and nanoseconds.
_HEADER: Final = struct.Struct("=IIIHHII")
_STATUS: Final = struct.Struct("=I")
_REQUEST: Final = struct.Struct("=IIII")
_STATISTICS: Final = struct.Struct("=II")
_FRAME_SIZE: Final = 256  # the header and the place of the address take 80
_BLOCK_SIZE: Final = 2**16
_NS: Final = 1_000_000_000

FRAMES: Final = 2**14
SNAPSHOT_SIZE: Final = 128  # bytes of a packet that fit; the headers of IP and TCP, with options


class PacketRing:
    """The ring of a packet socket, empty at first.

    Args:
        sock: the packet socket; whoever made it closes it. What waits in it is dropped.

    Raises:
        OSError: the kernel has no such ring, or no memory for it.
    """

    __slots__ = ("_at", "_memory", "_size", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._size = FRAMES * _FRAME_SIZE
        self._at = 0
        sock.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V2)
        request = _REQUEST.pack(_BLOCK_SIZE, self._size // _BLOCK_SIZE, _FRAME_SIZE, FRAMES)
        sock.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
        self._memory = mmap.mmap(sock.fileno(), self._size, mmap.MAP_SHARED)

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()

    def next(self) -> tuple[bytes, int] | None:
        """The oldest packet: its headers and its timestamp in Unix nanoseconds; None without one.

        The place is the kernel's again.
        """
        at, memory = self._at, self._memory
        status, _, size, _, network, seconds, nanoseconds = _HEADER.unpack_from(memory, at)
        if not status & _STATUS_USER:
            return None
        packet = memory[at + network : at + network + size]
        self._release()
        return packet, seconds * _NS + nanoseconds

    def skip(self) -> None:
        """Drop the oldest packet, if there is one."""
        (status,) = _STATUS.unpack_from(self._memory, self._at)
        if status & _STATUS_USER:
            self._release()

    def dropped(self) -> int:
        """Packets that found the ring full since the last call."""
        answer = self._sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
        _, dropped = _STATISTICS.unpack(answer)
        return int(dropped)

    def _release(self) -> None:
        _STATUS.pack_into(self._memory, self._at, _STATUS_KERNEL)
        self._at = (self._at + _FRAME_SIZE) % self._size
