"""How wrong the PTP hardware clock of an EC2 network card is, as the Nitro system says.

A PTP hardware clock tells chrony nothing of its error, so chrony takes it for perfect. The ENA
driver publishes the bound, in nanoseconds, beside the device (EC2 user guide, "Compare timestamps
for your Linux instances").
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from latency_sweep.probe.clock.reading import UnknownBoundError

_SYSFS: Final = Path("/sys")
_PATTERN: Final = "class/net/*/device/phc_error_bound"


def error_bound_sec(sysfs: Path = _SYSFS) -> float:
    """Largest bound that any network card publishes, in seconds.

    Which card's clock chrony follows cannot be seen from its reference id, hence the largest.

    Raises:
        UnknownBoundError: no card publishes one, or it cannot be read.
    """
    bounds = [_read_ns(path) for path in sorted(sysfs.glob(_PATTERN))]
    if not bounds:
        raise UnknownBoundError(
            "The clock follows a PTP hardware clock, but no network card publishes "
            "phc_error_bound; use an ENA driver that does, or steer the clock by NTP."
        )
    return max(bounds) * 1e-9


def _read_ns(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError) as error:
        raise UnknownBoundError(
            f"{path} has no number of nanoseconds ({error}); is the card's PTP clock enabled?"
        ) from error
