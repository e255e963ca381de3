"""A network card's clock beside the system's: its timestamps in Unix nanoseconds.

The clock of a card (PTP hardware clock, PHC) has a scale of its own. Timestamps are carried over by
the offset between the two, measured by reading the card's between two readings of the system's
(PTP_SYS_OFFSET_EXTENDED of linux/ptp_clock.h).
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from typing import TYPE_CHECKING, Final

from latency_sweep.probe.net.receiving import TimestampsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SAMPLES: Final = 5
_OFFSET_HEADER: Final = struct.Struct("=IiII")
_CLOCK_TIME: Final = struct.Struct("=qII")
_OFFSET_SIZE: Final = _OFFSET_HEADER.size + 25 * 3 * _CLOCK_TIME.size
# _IOWR('=', 9, struct ptp_sys_offset_extended)
PTP_SYS_OFFSET_EXTENDED: Final = 3 << 30 | _OFFSET_SIZE << 16 | ord("=") << 8 | 9
# Reading a card's clock takes some 20 µs; a wider window says that something came between.
_MAX_WINDOW_NS: Final = 100_000
# ENA answers 125 readings a second, and refuses all for a while after one too many (its README).
# A measurement takes five; chronyd reads the same clock some ten to twenty-five times a second.
_REFRESH_NS: Final = 500_000_000
# The kernel corrects the system's clock no faster (adjtimex(2)).
_MAX_SLEW_PPM: Final = 500
_NS: Final = 1_000_000_000


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
        samples: measures the two clocks beside one another; an OSError if the card refuses.
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
        self._tried_ns = clock()
        try:
            self._offset_ns = best_offset_ns(samples())
        except OSError as error:
            raise TimestampsError(
                f"--timestamps nic: the card's clock cannot be read ({error.strerror}); "
                "use --timestamps socket."
            ) from error
        if self._offset_ns is None:
            raise TimestampsError(
                "--timestamps nic: the card's clock takes too long to read to be compared with the "
                "system's; use --timestamps socket."
            )

    @property
    def error_ns(self) -> int:
        """Bound on the error of a conversion: half of the widest window, and the clocks' drift."""
        return _MAX_WINDOW_NS // 2 + _REFRESH_NS * _MAX_SLEW_PPM // 1_000_000

    def to_system_ns(self, card_ns: int) -> int | None:
        """A timestamp in Unix nanoseconds; None while the clocks cannot be compared.

        The clocks are compared twice a second, whether that succeeds or not: a card that refuses
        because it was asked too often must not be asked with every message.
        """
        now_ns = self._clock()
        if now_ns - self._tried_ns > _REFRESH_NS:
            self._tried_ns = now_ns
            try:
                # Without an answer there is no offset: the old one may be far off after the
                # system's clock was set.
                self._offset_ns = best_offset_ns(self._samples())
            except OSError:
                self._offset_ns = None
        return None if self._offset_ns is None else card_ns + self._offset_ns


def read_clocks(device: int) -> list[tuple[int, int, int]]:
    """Samples of an open /dev/ptpN; see `best_offset_ns`.

    Raises:
        OSError: the card refuses.
    """
    request = bytearray(_OFFSET_SIZE)
    _OFFSET_HEADER.pack_into(request, 0, _SAMPLES, 0, 0, 0)
    fcntl.ioctl(device, PTP_SYS_OFFSET_EXTENDED, request)
    return decode_samples(bytes(request))


def decode_samples(answer: bytes) -> list[tuple[int, int, int]]:
    """The samples of a `struct ptp_sys_offset_extended`; see `best_offset_ns`."""
    (count, *_) = _OFFSET_HEADER.unpack_from(answer)
    times = [
        seconds * _NS + nanoseconds
        for seconds, nanoseconds, _ in _CLOCK_TIME.iter_unpack(answer[_OFFSET_HEADER.size :])
    ]
    return [(times[3 * n], times[3 * n + 1], times[3 * n + 2]) for n in range(count)]


def open_clock(path: str) -> NicClock:
    """The clock behind a /dev/ptpN, which stays open as long as the process runs.

    Raises:
        TimestampsError: it cannot be opened or read.
    """
    try:
        device = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise TimestampsError(
            f"--timestamps nic: {path}: {error.strerror}; it must exist and be readable by the "
            "probe's user (docs/timestamps.md)."
        ) from error
    try:
        return NicClock(lambda: read_clocks(device))
    except BaseException:
        os.close(device)
        raise
