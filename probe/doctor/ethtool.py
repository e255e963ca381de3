"""A network card's own counters, as `ethtool -S` shows them (ethtool's ioctl, linux/ethtool.h)."""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from typing import Final

_SIOCETHTOOL: Final = 0x8946
_GET_STRINGS: Final = 0x1B
_GET_STATISTICS: Final = 0x1D
_GET_SET_INFO: Final = 0x37
_STATISTICS_SET: Final = 1
_NAME_SIZE: Final = 32
_INTERFACE_NAME_SIZE: Final = 16


def read_statistics(interface: str) -> dict[str, int]:
    """All counters of an interface by name; none where its driver keeps none.

    Raises:
        OSError: there is no such interface, or its driver does not know the request.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        info = struct.pack("=IIQI", _GET_SET_INFO, 0, 1 << _STATISTICS_SET, 0)
        info = _request(sock, interface, info)
        _, _, mask, count = struct.unpack("=IIQI", info)
        if not mask:
            return {}
        strings = struct.pack("=III", _GET_STRINGS, _STATISTICS_SET, count)
        names = _request(sock, interface, strings + bytes(count * _NAME_SIZE))[12:]
        head = struct.pack("=II", _GET_STATISTICS, count)
        values = _request(sock, interface, head + bytes(count * 8))[8:]
    return {
        names[index * _NAME_SIZE :][:_NAME_SIZE].split(b"\0", 1)[0].decode(): value
        for index, (value,) in enumerate(struct.iter_unpack("=Q", values))
    }


def _request(sock: socket.socket, interface: str, command: bytes) -> bytes:
    """Let the kernel fill in a command, whose address goes into a `struct ifreq`."""
    buffer = array.array("B", command)
    address, _ = buffer.buffer_info()
    name = interface.encode()[: _INTERFACE_NAME_SIZE - 1]
    fcntl.ioctl(sock, _SIOCETHTOOL, struct.pack("@16sP16x", name, address))
    return buffer.tobytes()
