"""What chronyd says of the clock, asked over its command port.

Requests and replies are packets of version 6 of chrony's command protocol (its `candm.h`), all
numbers in network order. `tracking` is among the requests that chronyd answers to every local
user; asking it costs one datagram each way, where running `chronyc` would cost a process a second.
"""

from __future__ import annotations

import secrets
import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from latency_sweep.probe.clock import phc, refclocks
from latency_sweep.probe.clock.reading import ClockError, ClockReading, UnknownBoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NAME: Final = "chrony"
WITH_PHC_NAME: Final = "chrony+phc"
ADDRESS: Final = ("127.0.0.1", 323)
TIMEOUT_SEC: Final = 1.0

_VERSION: Final = 6
_REQUEST_TYPE: Final = 1
_REPLY_TYPE: Final = 2
_REQ_TRACKING: Final = 33
_RPY_TRACKING: Final = 5
_SUCCESS: Final = 0
# version, type, 2 reserved, command, attempt, sequence, 8 reserved
_REQUEST: Final = struct.Struct("!BB2xHHL8x")
# version, type, 2 reserved, command, reply, status, 6 reserved, sequence, 8 reserved
_REPLY: Final = struct.Struct("!BB2xHHH6xL8x")
# reference id, its address (16), the address' family, 2 reserved, stratum, leap, time of last
# update (high, low, ns), then floats: correction, last offset, RMS offset, frequency, residual
# frequency, skew, root delay, root dispersion, update interval
_TRACKING: Final = struct.Struct("!L16xH2xHHLLL9l")
# A request must be as long as its reply, so that chronyd cannot be used to amplify traffic.
_PADDING: Final = b"\0" * (_REPLY.size + _TRACKING.size - _REQUEST.size)
_LONGEST_REPLY: Final = 1024

_LEAP_UNSYNCHRONISED: Final = 3
_LOCAL_REFERENCE: Final = 0x7F7F0101  # chronyd's `local` directive: it follows nothing but itself
_NO_ADDRESS: Final = 0  # IPADDR_UNSPEC: the reference is no server
_REFCLOCKS_STRATUM: Final = 1  # a server's client has at least 2
# Names of a card's clock where the configuration cannot be read: chronyd's own, and a usual one.
_CARDS_NAMES: Final = ("PHC", "PTP")
_NO_HIGH_SECONDS: Final = 0x7FFFFFFF
# chronyd calls a clock synchronised long after its sources stopped answering. Eight missed updates
# empty NTP's register of reachability (RFC 5905, section 13), and then it is free-running.
_MISSED_UPDATES: Final = 8
_MIN_UPDATE_AGE_SEC: Final = 60.0  # updates come in a burst when chronyd starts


@dataclass(frozen=True, slots=True)
class Tracking:
    """chronyd's `tracking` report.

    Attributes:
        reference_id: 32 bits that name what the clock follows.
        address_family: of the server that it follows, 0 if it follows none.
        stratum: 1 if it follows a reference clock, more if a server; 0 if nothing.
        leap_status: 0 normal, 1 and 2 a leap second is due, 3 not synchronised.
        updated_sec: time of the last update, Unix seconds.
        correction_sec: what is to be added to the local clock; positive when it is slow.
        root_delay_sec: round trip to the primary reference.
        root_dispersion_sec: error accumulated on the way from it, until now.
        update_interval_sec: time between the last two updates.
    """

    reference_id: int
    address_family: int
    stratum: int
    leap_status: int
    updated_sec: float
    correction_sec: float
    root_delay_sec: float
    root_dispersion_sec: float
    update_interval_sec: float

    @property
    def refclock(self) -> str | None:
        """Name of the reference clock that is followed, or None.

        Such a clock has any name (PHC0, PPS1, GPS, or one that is also a server's address), but no
        address. chronyd knows its jitter and not its error. Time set by hand counts as one.
        """
        if self.leap_status == _LEAP_UNSYNCHRONISED or self.reference_id == _LOCAL_REFERENCE:
            return None
        if self.address_family != _NO_ADDRESS and self.stratum > _REFCLOCKS_STRATUM:
            return None
        return self.reference_id.to_bytes(4, "big").rstrip(b"\0").decode("ascii", "replace")

    def synchronized(self, now_sec: float) -> bool:
        """Whether the clock follows something else than itself, and lately."""
        max_age_sec = max(_MISSED_UPDATES * self.update_interval_sec, _MIN_UPDATE_AGE_SEC)
        return (
            self.leap_status != _LEAP_UNSYNCHRONISED
            and self.reference_id != _LOCAL_REFERENCE
            and abs(now_sec - self.updated_sec) <= max_age_sec
        )


def read(
    address: tuple[str, int] = ADDRESS,
    *,
    phc_bound_sec: Callable[[], float] = phc.error_bound_sec,
    configured: Callable[[], Mapping[str, refclocks.Refclock]] = refclocks.configured,
    timeout_sec: float = TIMEOUT_SEC,
) -> ClockReading:
    """Ask chronyd how far the clock is off.

    The bound is |offset| + root dispersion + root delay / 2 (EC2 user guide, ClockBound's README;
    the root distance of RFC 5905, section 11.1), and the reference clock's own bound where it
    follows one. Blocks up to `timeout_sec`.

    Raises:
        UnknownBoundError: it follows a reference clock whose bound is not known.
        ClockError: it does not answer, or not as expected.
    """
    tracking = ask(address, timeout_sec=timeout_sec)
    bound = (
        abs(tracking.correction_sec) + tracking.root_dispersion_sec + tracking.root_delay_sec / 2
    )
    refclock = tracking.refclock
    if refclock is not None:
        bound += _refclock_bound_sec(refclock, configured().get(refclock), phc_bound_sec)
    return ClockReading(
        offset_sec=0.0 - tracking.correction_sec,
        error_bound_sec=bound,
        synchronized=tracking.synchronized(time.time()),
        source=NAME if refclock is None else WITH_PHC_NAME,
    )


def _refclock_bound_sec(
    name: str, directive: refclocks.Refclock | None, phc_bound_sec: Callable[[], float]
) -> float:
    """What a reference clock itself may be off by; only network cards publish it."""
    if directive is not None and directive.driver == refclocks.PHC_DRIVER:
        return phc.device_error_bound_sec(directive.parameter)
    if directive is None and name.startswith(_CARDS_NAMES):
        return phc_bound_sec()
    kind = "" if directive is None else f" (driver {directive.driver})"
    raise UnknownBoundError(
        f"chronyd follows the reference clock {name!r}{kind}, and nothing says how far that is "
        "off; steer the clock by NTP, or by a network card's PTP clock, as `refclock PHC` in a "
        "configuration that the probe can read."
    )


def ask(address: tuple[str, int] = ADDRESS, *, timeout_sec: float = TIMEOUT_SEC) -> Tracking:
    """One `tracking` request.

    Raises:
        ClockError: no answer in time, or not as expected.
    """
    sequence = secrets.randbits(32)
    request = _REQUEST.pack(_VERSION, _REQUEST_TYPE, _REQ_TRACKING, 0, sequence) + _PADDING
    deadline = time.monotonic() + timeout_sec
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(address)
            sock.settimeout(timeout_sec)
            sock.send(request)
            while True:
                tracking = _decode(sock.recv(_LONGEST_REPLY), sequence)
                if tracking is not None:
                    return tracking
                sock.settimeout(max(deadline - time.monotonic(), 1e-3))
    except OSError as error:
        host, port = address
        raise ClockError(
            f"chronyd does not answer on {host} port {port} ({error}); start it, and let its "
            "configuration keep cmdport."
        ) from error


def _decode(packet: bytes, sequence: int) -> Tracking | None:
    """The report, or None for the answer to another request."""
    if len(packet) < _REPLY.size:
        raise ClockError(f"chronyd's answer has {len(packet)} bytes; is it chronyd that answers?")
    version, kind, command, reply, status, echo = _REPLY.unpack_from(packet)
    if (version, kind, command) != (_VERSION, _REPLY_TYPE, _REQ_TRACKING):
        raise ClockError(
            f"chronyd answered with version {version} of its protocol, not {_VERSION}; "
            "use chrony 2.2 or newer."
        )
    if echo != sequence:
        return None
    if status != _SUCCESS or reply != _RPY_TRACKING:
        raise ClockError(f"chronyd refused to report its state (status {status}); ask chronyc why.")
    if len(packet) < _REPLY.size + _TRACKING.size:
        raise ClockError(f"chronyd's report is cut off after {len(packet)} bytes; ask again.")
    reference_id, family, stratum, leap, high, low, nanoseconds, *floats = _TRACKING.unpack_from(
        packet, _REPLY.size
    )
    correction, _last, _rms, _freq, _residual, _skew, delay, dispersion, interval = map(
        _float, floats
    )
    seconds = low if high == _NO_HIGH_SECONDS else high << 32 | low
    return Tracking(
        reference_id=reference_id,
        address_family=family,
        stratum=stratum,
        leap_status=leap,
        updated_sec=seconds + nanoseconds * 1e-9,
        correction_sec=correction,
        root_delay_sec=delay,
        root_dispersion_sec=dispersion,
        update_interval_sec=interval,
    )


def _float(raw: int) -> float:
    """Decode chrony's float: signed 7-bit exponent, signed 25-bit coefficient, no hidden bit."""
    coefficient = raw & 0x1FFFFFF
    if coefficient >= 1 << 24:
        coefficient -= 1 << 25
    return float(coefficient) * 2.0 ** ((raw >> 25) - 25)
