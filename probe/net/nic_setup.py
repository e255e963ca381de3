"""Sets the network card towards the internet to timestamp all it receives; run as root at boot.

`python -m latency_sweep.probe.net.nic_setup`: what the probe then asks of the card needs no
privilege. It ends once there is a route again, because a driver may take the interface down and up.
"""

from __future__ import annotations

import socket
import sys
import time
from typing import TYPE_CHECKING, Final

from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.probe.net import nic_timestamps
from latency_sweep.probe.net.receiving import TimestampsError

if TYPE_CHECKING:
    from collections.abc import Callable

_ANYWHERE: Final = ("192.0.2.1", 9)  # documentation address; nothing is sent to it
_ROUTE_TIMEOUT_SEC: Final = 30.0
_PAUSE_SEC: Final = 0.2


def main() -> int:
    """Set it; returns an exit code."""
    try:
        name = interface_outwards()
        nic_timestamps.switch_on(name)
        wait_for(interface_outwards)
    except (TimestampsError, OSError) as error:
        print(f"nic_setup: {error}", file=sys.stderr)
        return ExitCode.CHECK_FAILED
    print(f"nic_setup: {name} timestamps all it receives")
    return ExitCode.DONE


def interface_outwards() -> str:
    """The interface of the route to the internet.

    Raises:
        OSError: there is no route.
        TimestampsError: no interface has its address.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(_ANYWHERE)
        return nic_timestamps.interface_of(str(sock.getsockname()[0]))


def wait_for(interface: Callable[[], str], timeout_sec: float = _ROUTE_TIMEOUT_SEC) -> None:
    """Wait until there is a route.

    Args:
        interface: finds the interface of the route.
        timeout_sec: how long to wait.

    Raises:
        OSError: there is none in time.
        TimestampsError: the same.
    """
    deadline = time.monotonic() + timeout_sec
    while True:
        try:
            interface()
        except (OSError, TimestampsError):
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SEC)
        else:
            return


if __name__ == "__main__":
    sys.exit(main())
