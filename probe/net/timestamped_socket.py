"""TCP sockets whose reads carry the kernel's receive timestamp.

`SO_TIMESTAMPNS` makes Linux hand over, with each `recvmsg`, the CLOCK_REALTIME time at which the
segment holding the last byte returned was received (socket(7); net/ipv4/tcp.c). The timestamp is
taken before the program is woken, so it does not contain the program's own delay.
"""

from __future__ import annotations

import socket
import struct
import time
from typing import TYPE_CHECKING, Final

from latency_sweep.probe.net.nic_timestamps import SO_TIMESTAMPING

if TYPE_CHECKING:
    from latency_sweep.probe.net.nic_timestamps import NicTimestamps

SO_TIMESTAMPNS: Final = 35  # asm-generic/socket.h; Python's socket module does not name it
READ_SIZE: Final = 65536
_TIMESPEC: Final = struct.Struct("@qq")
_ANCILLARY_SIZE: Final = 128
_TIMESTAMPING_TIMEOUT_SEC: Final = 1.0
_SO_BUSY_POLL: Final = 46
_SO_PREFER_BUSY_POLL: Final = 69
_NS: Final = 1_000_000_000


def enable_receive_timestamps(sock: socket.socket) -> None:
    """Ask the kernel for a receive timestamp with every read.

    Raises:
        OSError: the platform has no such timestamps (they are Linux').
    """
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)


def enable_busy_polling(sock: socket.socket, microseconds: int) -> None:
    """Let each read ask the network card's queue instead of waiting for its interrupt.

    Raises:
        PermissionError: without CAP_NET_ADMIN.
    """
    sock.setsockopt(socket.SOL_SOCKET, _SO_BUSY_POLL, microseconds)
    sock.setsockopt(socket.SOL_SOCKET, _SO_PREFER_BUSY_POLL, 1)


def keep_timestamping_on() -> socket.socket:
    """Switch receive timestamps on for this host, and wait until they are.

    The kernel starts timestamping in the background when the first socket asks for it, and stops
    with the last one; packets that come before are without. A socket that asks from the beginning
    and is held makes every later one timestamped from its first packet on.

    Returns:
        The socket to hold, and to close in the end.

    Raises:
        OSError: the platform has no such timestamps.
    """
    holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        holder.bind(("127.0.0.1", 0))
        holder.settimeout(_TIMESTAMPING_TIMEOUT_SEC)
        enable_receive_timestamps(holder)
        deadline = time.monotonic() + _TIMESTAMPING_TIMEOUT_SEC
        while time.monotonic() < deadline:
            holder.sendto(b"?", holder.getsockname())
            if receive(holder, bytearray(1))[1] is not None:
                break
    except BaseException:
        holder.close()
        raise
    return holder


def receive(
    sock: socket.socket, buffer: bytearray | memoryview, nic: NicTimestamps | None = None
) -> tuple[int, int | None, int]:
    """Read once without blocking.

    Args:
        sock: a non-blocking socket with timestamps enabled.
        buffer: filled from its start.
        nic: takes the network card's timestamp instead of the kernel's, where there is one.

    Returns:
        Bytes read (0 at the end of the stream), the kernel's receive timestamp of the last of them
        or None if it gave none, and the time directly after the read; Unix nanoseconds.

    Raises:
        BlockingIOError: nothing to read.
        OSError: the connection failed.
    """
    size, ancillary, _, _ = sock.recvmsg_into([buffer], _ANCILLARY_SIZE)
    now_ns = time.time_ns()
    if nic is not None and size:
        for _, kind, data in ancillary:
            if kind == SO_TIMESTAMPING:
                timestamp_ns = nic.timestamp_ns(data)
                if timestamp_ns is not None:
                    return size, timestamp_ns, now_ns
                break
        else:
            nic.missed()
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack_from(data)
            return size, seconds * _NS + nanoseconds, now_ns
    return size, None, now_ns
