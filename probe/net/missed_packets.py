"""Counts what a packet capture did not see, and logs when it begins."""

from __future__ import annotations

from typing import Final

from latency_sweep.runtime import logs

_LOG: Final = logs.logger(__name__)


class MissedPackets:
    """Reads whose segments were not all captured, of all connections.

    Attributes:
        reads: how many since the start.
    """

    __slots__ = ("_logged", "reads")

    def __init__(self) -> None:
        self.reads = 0
        self._logged: set[str] = set()

    def count(self, remote_address: str) -> None:
        """Count one; the first from each address is logged."""
        self.reads += 1
        if remote_address not in self._logged:
            self._logged.add(remote_address)
            _LOG.warning(
                "packets not captured: their messages have the socket's timestamp, within a bound",
                extra={"remote": remote_address},
            )
