"""Receive timestamps that the network card takes, in the system's time.

Whether a card timestamps is a setting of the card, not of a socket. To set it may take the
interface down and up (ENA does so at every set, even if nothing changes), so it is read first, and
set at most once per card and process. (Documentation/networking/timestamping.rst, linux/ethtool.h.)
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from latency_sweep.probe.net.card_clock import open_clock
from latency_sweep.probe.net.receiving import TimestampsError
from latency_sweep.runtime import logs

if TYPE_CHECKING:
    from latency_sweep.probe.net.card_clock import NicClock

SO_TIMESTAMPING: Final = 37  # asm-generic/socket.h; also the type of the control message
SIOCETHTOOL: Final = 0x8946
SIOCSHWTSTAMP: Final = 0x89B0
SIOCGHWTSTAMP: Final = 0x89B1
_RX_HARDWARE: Final = 1 << 2
_RAW_HARDWARE: Final = 1 << 6
_SIOCGIFADDR: Final = 0x8915
_ETHTOOL_GET_TS_INFO: Final = 0x41
_FILTER_ALL: Final = 1
_TS_INFO: Final = struct.Struct("=IIiI3II3I")
_HWTSTAMP_CONFIG: Final = struct.Struct("=iii")
_THREE_TIMESPECS: Final = struct.Struct("@qqqqqq")
_NS: Final = 1_000_000_000
# Reads without a timestamp of the card after which the kernel's are said to be used instead. What
# was received before the card began has none, and a measurement of its clock may fail.
MANY_MISSES: Final = 20
_DEVICES: Final = Path("/dev")
_LOG: Final = logs.logger(__name__)


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
        """What it lacks for timestamping every received packet, or None.

        SOF_TIMESTAMPING_RAW_HARDWARE is not asked for: a card that timestamps only what it
        receives may not report it (ENA's driver does not), and gives raw timestamps all the same.
        """
        if not self.timestamping & _RX_HARDWARE:
            return "it does not timestamp received packets"
        if not self.receive_filters >> _FILTER_ALL & 1:
            return "it cannot timestamp all received packets"
        return None if self.phc_index >= 0 else "it has no clock that can be read"


class Setting(NamedTuple):
    """What a card timestamps: `struct hwtstamp_config`.

    Attributes:
        flags: HWTSTAMP_FLAG_*.
        tx_type: which sent packets.
        rx_filter: which received packets; 1 for all.
    """

    flags: int
    tx_type: int
    rx_filter: int


@dataclass(slots=True)
class _Card:
    """A card that timestamps, shared by all connections over it."""

    name: str
    clock: NicClock
    misses: int = 0  # since its last timestamp
    fallen_back: bool = False

    def timestamp_ns(self, card_ns: int) -> int | None:
        system_ns = self.clock.to_system_ns(card_ns)
        if system_ns is None:
            self.missed()
            return None
        if self.misses:
            if self.fallen_back:
                _LOG.info("the card's timestamps are used again", extra={"interface": self.name})
            self.misses, self.fallen_back = 0, False
        return system_ns

    def missed(self) -> None:
        self.misses += 1
        if self.misses >= MANY_MISSES and not self.fallen_back:
            self.fallen_back = True
            _LOG.warning(
                "the card gives no timestamps; the kernel's are used instead, as with "
                "--timestamps socket",
                extra={"interface": self.name},
            )


# Of this process, by interface. No entry is ever removed, so that no reconnect sets a card again.
_set_on: dict[str, int] = {}  # number of the card's clock
_refused: dict[str, TimestampsError] = {}
_cards: dict[str, _Card] = {}


def decode(data: bytes) -> int | None:
    """The card's raw timestamp of a SO_TIMESTAMPING control message, ns of its clock, or None."""
    if len(data) < _THREE_TIMESPECS.size:
        return None
    *_, seconds, nanoseconds = _THREE_TIMESPECS.unpack_from(data)
    return seconds * _NS + nanoseconds if seconds or nanoseconds else None


class NicTimestamps:
    """Timestamps of one socket by the card it uses.

    Args:
        sock: connected.

    Raises:
        TimestampsError: the card, its driver or our privileges do not do.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._card = _card(interface_of(str(sock.getsockname()[0])))
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, _RX_HARDWARE | _RAW_HARDWARE)
        except OSError as error:
            raise TimestampsError(
                f"--timestamps nic: the socket takes no SO_TIMESTAMPING ({error.strerror}); use "
                "--timestamps socket."
            ) from error

    @property
    def fallen_back(self) -> bool:
        """Whether the card gives none, or none that its clock can be compared for."""
        return self._card.fallen_back

    @property
    def error_ns(self) -> int:
        """Bound on the error of a timestamp of the card, nanoseconds."""
        return self._card.clock.error_ns

    def close(self) -> None:
        """Nothing to release: the card's clock serves all connections."""

    def timestamp_ns(self, message: bytes) -> int | None:
        """The timestamp of a SO_TIMESTAMPING control message in Unix nanoseconds, or None."""
        card_ns = decode(message)
        if card_ns is None:
            self.missed()
            return None
        return self._card.timestamp_ns(card_ns)

    def missed(self) -> None:
        """A read came without a timestamp of the card."""
        self._card.missed()


def _card(name: str) -> _Card:
    card = _cards.get(name)
    if card is None:
        clock = open_clock(str(_DEVICES / f"ptp{switch_on(name)}"))
        card = _cards[name] = _Card(name, clock)
    return card


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
    answer = _ask(name, SIOCETHTOOL, _TS_INFO.pack(_ETHTOOL_GET_TS_INFO, *[0] * 10))
    _, timestamping, phc_index, _, _, _, _, receive_filters, *_ = _TS_INFO.unpack(answer)
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
    """Let a card timestamp all it receives, and leave alone what it does with what it sends.

    Nothing is set where it does so already, which needs no privilege, and nothing a second time in
    a process.

    Returns:
        The number of its clock, N of /dev/ptpN.

    Raises:
        TimestampsError: it cannot, or we may not.
    """
    if name in _refused:
        raise _refused[name]
    if name not in _set_on:
        why = why_not(name)
        if why is not None:
            raise TimestampsError(f"{why}.")
        before = _setting(name)
        if before is None or before.rx_filter != _FILTER_ALL:
            try:
                _set(name, before or Setting(0, 0, 0))
            except TimestampsError as error:
                _refused[name] = error
                raise
        _set_on[name] = abilities(name).phc_index
    return _set_on[name]


def _setting(name: str) -> Setting | None:
    """What a card timestamps now; None where its driver does not say."""
    try:
        answer = _ask(name, SIOCGHWTSTAMP, bytes(_HWTSTAMP_CONFIG.size))
    except OSError:
        return None
    return Setting(*_HWTSTAMP_CONFIG.unpack(answer))


def _set(name: str, before: Setting) -> None:
    _LOG.info(
        "setting the card to timestamp all it receives; its driver may take the interface down "
        "and up for that",
        extra={"interface": name},
    )
    wanted = before._replace(rx_filter=_FILTER_ALL)
    try:
        answer = _ask(name, SIOCSHWTSTAMP, _HWTSTAMP_CONFIG.pack(*wanted))
    except OSError as error:
        raise TimestampsError(
            f"--timestamps nic: {name} cannot be told to timestamp ({error.strerror}); give the "
            f"probe CAP_NET_ADMIN, or set it beforehand as root: hwstamp_ctl -i {name} -r 1."
        ) from error
    taken = Setting(*_HWTSTAMP_CONFIG.unpack(answer))
    if taken.rx_filter != _FILTER_ALL:  # a driver answers with what it made of it
        raise TimestampsError(
            f"--timestamps nic: {name} timestamps only some packets (filter {taken.rx_filter}, not "
            f"{_FILTER_ALL}); use --timestamps socket."
        )


def _ask(name: str, request: int, data: bytes) -> bytes:
    """An ioctl whose `struct ifreq` points to data; returns what is there afterwards.

    Raises:
        OSError: it was refused.
    """
    buffer = array.array("B", data)
    address, _ = buffer.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, request, struct.pack("16sP16x", name.encode(), address))
    return buffer.tobytes()
