"""A stand-in for the ioctls of Amazon's ENA driver 2.17 and of its clock.

It timestamps what it receives and nothing that it sends, takes the interface down and up at every
set, even if nothing changes, and answers 125 readings of its clock a second.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from latency_sweep.probe.net.card_clock import PTP_SYS_OFFSET_EXTENDED
from latency_sweep.probe.net.nic_timestamps import SIOCETHTOOL, SIOCGHWTSTAMP, SIOCSHWTSTAMP

if TYPE_CHECKING:
    from collections.abc import Callable

SEC = 1_000_000_000
READS_PER_SEC = 125
TX_SOFTWARE, RX_HARDWARE, RAW_HARDWARE = 1 << 1, 1 << 2, 1 << 6
_CONFIG = struct.Struct("=iii")
_REAL_IOCTL = fcntl.ioctl


@dataclass
class Ena:
    """One card; call it in place of `fcntl.ioctl`.

    Attributes:
        privileged: whether the caller has CAP_NET_ADMIN.
        rx_filter: 0 none, 1 all.
        tx_type: what another program has set for sent packets.
        says_raw: whether it reports RAW_HARDWARE, as cards that also timestamp on transmit do.
        has_get: whether the driver knows SIOCGHWTSTAMP.
        ahead_ns: the card's clock minus the system's.
        now_ns: the system's clock.
        downs: how often the interface went down and up.
        reads: moments of the readings of the clock that were answered.
        refused: how many were not.
    """

    privileged: bool = True
    rx_filter: int = 0
    tx_type: int = 0
    says_raw: bool = False
    has_get: bool = True
    ahead_ns: int = 37 * SEC
    now_ns: Callable[[], int] = lambda: 1000 * SEC
    downs: int = 0
    reads: list[int] = field(default_factory=list)
    refused: int = 0

    def __call__(self, descriptor: Any, request: int, argument: Any) -> Any:
        if request == PTP_SYS_OFFSET_EXTENDED:
            return self._compare(argument)
        if request not in (SIOCETHTOOL, SIOCGHWTSTAMP, SIOCSHWTSTAMP):
            return _REAL_IOCTL(descriptor, request, argument)
        (address,) = struct.unpack_from("P", argument, 16)
        if request == SIOCETHTOOL:
            flags = TX_SOFTWARE | RX_HARDWARE | (RAW_HARDWARE if self.says_raw else 0)
            info = struct.pack("=IIiI3II3I", 0x41, flags, 0, 0, 0, 0, 0, 0b11, 0, 0, 0)
            ctypes.memmove(address, info, len(info))
        elif request == SIOCGHWTSTAMP:
            if not self.has_get:
                raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
            ctypes.memmove(address, _CONFIG.pack(0, self.tx_type, self.rx_filter), _CONFIG.size)
        else:
            self._set(address)
        return argument

    def _set(self, address: int) -> None:
        if not self.privileged:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        _, self.tx_type, self.rx_filter = _CONFIG.unpack(ctypes.string_at(address, _CONFIG.size))
        self.downs += 1

    def _compare(self, request: bytearray) -> int:
        (samples,) = struct.unpack_from("=I", request)
        for number in range(samples):
            now = self.now_ns()
            self.reads = [moment for moment in self.reads if moment > now - SEC]
            if len(self.reads) >= READS_PER_SEC:
                self.refused += 1
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            self.reads.append(now)
            for place, moment in enumerate((now, now + 10_000 + self.ahead_ns, now + 20_000)):
                seconds, ns = divmod(moment, SEC)
                struct.pack_into("=qII", request, 16 + 16 * (3 * number + place), seconds, ns, 0)
        return 0
