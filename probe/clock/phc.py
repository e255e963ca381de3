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
_FILE: Final = "phc_error_bound"
_PATTERN: Final = f"class/net/*/device/{_FILE}"
_CLOCKS: Final = "class/ptp/ptp*"
# The link that EC2's user guide and the bootstrap make with udev, and the name it is made by.
_ENA_LINK: Final = "ptp_ena"
_ENA_CLOCK: Final = "ena-ptp-"


def error_bound_sec(sysfs: Path = _SYSFS) -> float:
    """Largest bound that any network card publishes, in seconds.

    For where it is not known which card's clock chrony follows.

    Raises:
        UnknownBoundError: no card publishes one, or it cannot be read.
    """
    return _largest(sorted(sysfs.glob(_PATTERN)), "but no network card publishes")


def device_error_bound_sec(device: str, sysfs: Path = _SYSFS) -> float:
    """Bound of the card behind a device such as /dev/ptp0, in seconds.

    Raises:
        UnknownBoundError: it is no card's, the card publishes none, or it cannot be read.
    """
    path = Path(device)
    name = path.resolve().name if path.exists() else path.name
    if name == _ENA_LINK:  # the link itself: the devices are hidden from this process
        clocks = [
            clock
            for clock in sorted(sysfs.glob(_CLOCKS))
            if _text(clock / "clock_name").startswith(_ENA_CLOCK)
        ]
    else:
        clocks = [sysfs / "class/ptp" / name]
    files = [clock / "device" / _FILE for clock in clocks]
    return _largest([file for file in files if file.exists()], f"{device}, which publishes no")


def _largest(files: list[Path], lack: str) -> float:
    if not files:
        raise UnknownBoundError(
            f"The clock follows a PTP hardware clock, {lack} {_FILE}; use an ENA driver that "
            "does, or steer the clock by NTP."
        )
    return max(_read_ns(file) for file in files) * 1e-9


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _read_ns(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError) as error:
        raise UnknownBoundError(
            f"{path} has no number of nanoseconds ({error}); is the card's PTP clock enabled?"
        ) from error
