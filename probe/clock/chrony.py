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

from latency_sweep.probe.clock import phc
from latency_sweep.probe.clock.reading import ClockError, ClockReading

if TYPE_CHECKING:
    from collections.abc import Callable

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
# reference id, its address (20), stratum, leap, time of last update (high, low, ns), then floats:
# correction, last offset, RMS offset, frequency, residual frequency, skew, root delay, root
# dispersion, update interval
_TRACKING: Final = struct.Struct("!L20xHHLLL9l")
# A request must be as long as its reply, so that chronyd cannot be used to amplify traffic.
_PADDING: Final = b"\0" * (_REPLY.size + _TRACKING.size - _REQUEST.size)
_LONGEST_REPLY: Final = 1024

_LEAP_UNSYNCHRONISED: Final = 3
_LOCAL_REFERENCE: Final = 0x7F7F0101  # chronyd's `local` directive: it follows nothing but itself
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
        leap_status: 0 normal, 1 and 2 a leap second is due, 3 not synchronised.
        updated_sec: time of the last update, Unix seconds.
        correction_sec: what is to be added to the local clock; positive when it is slow.
        root_delay_sec: round trip to the primary reference.
        root_dispersion_sec: error accumulated on the way from it, until now.
        update_interval_sec: time between the last two updates.
    """

    reference_id: int
    leap_status: int
    updated_sec: float
    correction_sec: float
    root_delay_sec: float
    root_dispersion_sec: float
    update_interval_sec: float

    @property
    def follows_phc(self) -> bool:
        """Whether the reference is a PTP hardware clock; to chronyd PHC0, PHC1 and so on."""
        return self.reference_id.to_bytes(4, "big").startswith(b"PHC")

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
    timeout_sec: float = TIMEOUT_SEC,
) -> ClockReading:
    """Ask chronyd how far the clock is off.

    The bound is |offset| + root dispersion + root delay / 2 (EC2 user guide, ClockBound's README;
    the root distance of RFC 5905, section 11.1), and the hardware clock's own bound where it is
    the reference. Blocks up to `timeout_sec`.

    Raises:
        UnknownBoundError: it follows a PTP hardware clock whose bound is not known.
        ClockError: it does not answer, or not as expected.
    """
    tracking = ask(address, timeout_sec=timeout_sec)
    bound = (
        abs(tracking.correction_sec) + tracking.root_dispersion_sec + tracking.root_delay_sec / 2
    )
    if tracking.follows_phc:
        bound += phc_bound_sec()
    return ClockReading(
        offset_sec=0.0 - tracking.correction_sec,
        error_bound_sec=bound,
        synchronized=tracking.synchronized(time.time()),
        source=WITH_PHC_NAME if tracking.follows_phc else NAME,
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
    reference_id, _stratum, leap, high, low, nanoseconds, *floats = _TRACKING.unpack_from(
        packet, _REPLY.size
    )
    correction, _last, _rms, _freq, _residual, _skew, delay, dispersion, interval = map(
        _float, floats
    )
    seconds = low if high == _NO_HIGH_SECONDS else high << 32 | low
    return Tracking(
        reference_id=reference_id,
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
