"""Receive timestamps that the network card takes, in the system's time.

The card timestamps with a clock of its own, its PTP hardware clock (PHC). Its raw timestamps are
carried over to the system's clock by the offset between the two, measured around the moment.
(Documentation/networking/timestamping.rst, linux/ptp_clock.h, linux/ethtool.h.)
"""

from __future__ import annotations

import array
import fcntl
import os
import socket
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from latency_sweep.probe.net.receiving import TimestampsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SO_TIMESTAMPING: Final = 37  # asm-generic/socket.h; also the type of the control message
_RX_HARDWARE: Final = 1 << 2
_RAW_HARDWARE: Final = 1 << 6
_SIOCETHTOOL: Final = 0x8946
_SIOCGIFADDR: Final = 0x8915
_SIOCSHWTSTAMP: Final = 0x89B0
_ETHTOOL_GET_TS_INFO: Final = 0x41
_FILTER_ALL: Final = 1
_TS_INFO: Final = struct.Struct("=IIiI3II3I")
_HWTSTAMP_CONFIG: Final = struct.Struct("=iii")
_THREE_TIMESPECS: Final = struct.Struct("@qqqqqq")
_SAMPLES: Final = 5
_OFFSET_HEADER: Final = struct.Struct("=IiII")
_CLOCK_TIME: Final = struct.Struct("=qII")
_OFFSET_SIZE: Final = _OFFSET_HEADER.size + 25 * 3 * _CLOCK_TIME.size
# _IOWR('=', 9, struct ptp_sys_offset_extended)
_PTP_SYS_OFFSET_EXTENDED: Final = 3 << 30 | _OFFSET_SIZE << 16 | ord("=") << 8 | 9
# Reading a card's clock takes some 20 µs; a wider window says that something came between.
_MAX_WINDOW_NS: Final = 100_000
_REFRESH_NS: Final = 500_000_000
# The kernel corrects the system's clock no faster (adjtimex(2)).
_MAX_SLEW_PPM: Final = 500
_NS: Final = 1_000_000_000


class Abilities(NamedTuple):
    """What a network card says of its timestamps (`ethtool -T`).

    Attributes:
        timestamping: flags of SO_TIMESTAMPING that it supports.
        phc_index: number of its clock, -1 without one.
        receive_filters: bits of which received packets it can timestamp.
    """

    timestamping: int
    phc_index: int
    receive_filters: int

    def missing(self) -> str | None:
        """What it lacks for timestamping every received packet, or None."""
        wanted = _RX_HARDWARE | _RAW_HARDWARE
        if self.timestamping & wanted != wanted:
            return "it does not timestamp received packets"
        if not self.receive_filters >> _FILTER_ALL & 1:
            return "it cannot timestamp all received packets"
        return None if self.phc_index >= 0 else "it has no clock that can be read"


def decode(data: bytes) -> int | None:
    """The card's raw timestamp of a SO_TIMESTAMPING control message, ns of its clock, or None."""
    if len(data) < _THREE_TIMESPECS.size:
        return None
    *_, seconds, nanoseconds = _THREE_TIMESPECS.unpack_from(data)
    return seconds * _NS + nanoseconds if seconds or nanoseconds else None


def best_offset_ns(samples: Sequence[tuple[int, int, int]]) -> int | None:
    """System's time minus the card's, from the sample with the narrowest window.

    Args:
        samples: of each: system's time before, the card's, the system's after; nanoseconds.

    Returns:
        The offset in nanoseconds, within half the window; None if every window is too wide.
    """
    before, card, after = min(samples, key=lambda sample: sample[2] - sample[0])
    if not 0 <= after - before <= _MAX_WINDOW_NS:
        return None
    return (before + after) // 2 - card


class NicClock:
    """Carries a card's timestamps over to the system's time.

    Args:
        samples: measures the two clocks beside one another.
        clock: monotonic time, nanoseconds.

    Raises:
        TimestampsError: they cannot be compared.
    """

    def __init__(
        self,
        samples: Callable[[], Sequence[tuple[int, int, int]]],
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._samples = samples
        self._clock = clock
        self._measured_ns = clock()
        offset_ns = best_offset_ns(samples())
        if offset_ns is None:
            raise TimestampsError(
                "--timestamps nic: the card's clock takes too long to read to be compared with the "
                "system's; use --timestamps socket."
            )
        self._offset_ns = offset_ns

    @property
    def error_ns(self) -> int:
        """Bound on the error of the newest conversion: half the window, and the clocks' drift."""
        return _MAX_WINDOW_NS // 2 + _REFRESH_NS * _MAX_SLEW_PPM // 1_000_000

    def to_system_ns(self, card_ns: int) -> int | None:
        """A timestamp in Unix nanoseconds; None while the clocks cannot be compared."""
        now_ns = self._clock()
        if now_ns - self._measured_ns > _REFRESH_NS:
            offset_ns = best_offset_ns(self._samples())
            if offset_ns is None:
                # An old offset may be far off after the system's clock was set.
                return None
            self._offset_ns, self._measured_ns = offset_ns, now_ns
        return card_ns + self._offset_ns


class NicTimestamps:
    """Timestamps of one socket by the card it uses.

    Args:
        sock: connected.

    Raises:
        TimestampsError: the card, its driver or our privileges do not do.
    """

    def __init__(self, sock: socket.socket) -> None:
        name = interface_of(str(sock.getsockname()[0]))
        phc_index = switch_on(name)
        path = Path(f"/dev/ptp{phc_index}")
        try:
            self._device = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise TimestampsError(f"--timestamps nic: {path}: {error.strerror}.") from error
        try:
            self._clock = NicClock(self._read_clocks)
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, _RX_HARDWARE | _RAW_HARDWARE)
        except OSError as error:
            self.close()
            raise TimestampsError(f"--timestamps nic: {path}: {error.strerror}.") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the card's clock."""
        os.close(self._device)

    @property
    def error_ns(self) -> int:
        """Bound on the error of a timestamp, nanoseconds."""
        return self._clock.error_ns

    def timestamp_ns(self, message: bytes) -> int | None:
        """The timestamp of a SO_TIMESTAMPING control message in Unix nanoseconds, or None."""
        card_ns = decode(message)
        return None if card_ns is None else self._clock.to_system_ns(card_ns)

    def _read_clocks(self) -> list[tuple[int, int, int]]:
        request = bytearray(_OFFSET_SIZE)
        _OFFSET_HEADER.pack_into(request, 0, _SAMPLES, 0, 0, 0)
        fcntl.ioctl(self._device, _PTP_SYS_OFFSET_EXTENDED, request)
        return decode_samples(bytes(request))


def decode_samples(answer: bytes) -> list[tuple[int, int, int]]:
    """The samples of a `struct ptp_sys_offset_extended`; see `best_offset_ns`."""
    (count, *_) = _OFFSET_HEADER.unpack_from(answer)
    times = [
        seconds * _NS + nanoseconds
        for seconds, nanoseconds, _ in _CLOCK_TIME.iter_unpack(answer[_OFFSET_HEADER.size :])
    ]
    return [(times[3 * n], times[3 * n + 1], times[3 * n + 2]) for n in range(count)]


def interface_of(address: str) -> str:
    """The interface that has an IP address of ours.

    Raises:
        TimestampsError: none has it.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for _, name in socket.if_nameindex():
            request = struct.pack("16s24x", name.encode())
            try:
                answer = fcntl.ioctl(control, _SIOCGIFADDR, request)
            except OSError:
                continue  # it has no IPv4 address
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    for line in Path("/proc/net/if_inet6").read_text(encoding="ascii").splitlines():
        digits, *_, name = line.split()
        if ":" in address and bytes.fromhex(digits) == socket.inet_pton(socket.AF_INET6, address):
            return name
    raise TimestampsError(f"--timestamps nic: no interface has the address {address}.")


def abilities(name: str) -> Abilities:
    """What an interface's card can do.

    Raises:
        OSError: it does not say.
    """
    info = array.array("B", bytes(_TS_INFO.size))
    _TS_INFO.pack_into(info, 0, _ETHTOOL_GET_TS_INFO, *[0] * 10)
    address, _ = info.buffer_info()
    request = struct.pack("16sP16x", name.encode(), address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCETHTOOL, request)
    _, timestamping, phc_index, _, _, _, _, receive_filters, *_ = _TS_INFO.unpack(info.tobytes())
    return Abilities(timestamping, phc_index, receive_filters)


def why_not(name: str) -> str | None:
    """Why an interface's card cannot timestamp what it receives, and what to do; or None."""
    try:
        missing = abilities(name).missing()
    except OSError as error:
        missing = f"it does not say what it can timestamp ({error.strerror})"
    if missing is None:
        return None
    return (
        f"--timestamps nic: {name}: {missing} (see ethtool -T {name}); use an instance type and "
        "driver with hardware packet timestamps, or --timestamps socket"
    )


def switch_on(name: str) -> int:
    """Let a card timestamp all it receives; returns the number of its clock.

    Raises:
        TimestampsError: it cannot, or we may not.
    """
    why = why_not(name)
    if why is not None:
        raise TimestampsError(f"{why}.")
    config = array.array("B", _HWTSTAMP_CONFIG.pack(0, 0, _FILTER_ALL))
    address, _ = config.buffer_info()
    request = struct.pack("16sP16x", name.encode(), address)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            fcntl.ioctl(control, _SIOCSHWTSTAMP, request)
    except OSError as error:
        raise TimestampsError(
            f"--timestamps nic: {name} cannot be told to timestamp ({error.strerror}); it needs "
            "CAP_NET_ADMIN."
        ) from error
    return abilities(name).phc_index
