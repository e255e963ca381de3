"""Whether every feed of a market has a connection, and for how long one had none."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.probe.feeds.base import Feed


class Connectivity:
    """Follows the connections of a market's feeds through all their lines.

    Args:
        feeds: all of them; the market is connected while each has a connection.
    """

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._urls = [feed.url for feed in feeds]
        self._connections: Counter[str] = Counter()
        self._was_connected = False
        self._incomplete_since: float | None = None
        self._disconnected_sec = 0.0
        self._ended = False
        # Of each line of each feed; two while one replaces the other.
        self._addresses: defaultdict[tuple[str, str], list[str]] = defaultdict(list)

    @property
    def connected(self) -> bool:
        """Whether every feed has a connection."""
        return all(self._connections[url] > 0 for url in self._urls)

    def has_connection(self, feed: Feed) -> bool:
        """Whether one feed has a connection."""
        return self._connections[feed.url] > 0

    @property
    def remote_addresses(self) -> set[tuple[str, str]]:
        """Line and address of every connection; feeds of a line may have different ones."""
        return {
            (line, address)
            for (_, line), addresses in self._addresses.items()
            for address in addresses
        }

    @property
    def disconnected_sec(self) -> float:
        """Seconds in which a feed had no connection, since all had one for the first time."""
        since = self._incomplete_since
        return self._disconnected_sec + (time.monotonic() - since if since is not None else 0.0)

    def opened(self, feed: Feed, line: str, remote_address: str) -> None:
        """A line has opened a connection."""
        self._connections[feed.url] += 1
        self._addresses[feed.url, line].append(remote_address)
        if self.connected:
            self._was_connected = True
            self._disconnected_sec = self.disconnected_sec
            self._incomplete_since = None

    def lost(self, feed: Feed, line: str, remote_address: str) -> None:
        """A connection of a line is gone: not always the older of two."""
        self._connections[feed.url] -= 1
        self._addresses[feed.url, line].remove(remote_address)
        incomplete = self._was_connected and not self.connected
        if incomplete and self._incomplete_since is None and not self._ended:
            self._incomplete_since = time.monotonic()

    def end(self) -> None:
        """The probe closes its connections itself: time without them no longer counts."""
        self._ended = True
        self._disconnected_sec = self.disconnected_sec
        self._incomplete_since = None
