"""Whether every feed of a market has a connection, and for how long one had none."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.probe.feeds.base import Feed

# Outages that a later one may turn out to overlap: it began before it was noticed.
_RECENT_OUTAGES: Final = 16


class Connectivity:
    """Follows the connections of a market's feeds through all their lines.

    A lost connection was none since its last byte, however late that is noticed. So an outage of a
    feed counts from the last byte of any of its connections.

    Args:
        feeds: all of them; the market is connected while each has a connection.
    """

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._urls = [feed.url for feed in feeds]
        self._connections: Counter[str] = Counter()
        self._last_bytes: dict[str, float] = {}  # of the connections a feed has lost
        self._complete_from: float | None = None  # when all had a connection for the first time
        self._incomplete_since: float | None = None
        self._recent: deque[tuple[float, float]] = deque(maxlen=_RECENT_OUTAGES)
        self._disconnected_sec = 0.0
        self._ended = False
        # Of each line of each feed; two while one replaces the other.
        self._addresses: defaultdict[tuple[str, str], list[str]] = defaultdict(list)

    @property
    def connected(self) -> bool:
        """Whether every feed has a connection."""
        return all(self._connections[url] > 0 for url in self._urls)

    @property
    def complete_from(self) -> float | None:
        """When every feed had a connection for the first time, `time.monotonic()`, or None."""
        return self._complete_from

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
        if not self.connected:
            return
        now = time.monotonic()
        if self._complete_from is None:
            self._complete_from = now
        if self._incomplete_since is not None:
            self._recent.append((self._incomplete_since, now))
            self._disconnected_sec += now - self._incomplete_since
            self._incomplete_since = None

    def lost(self, feed: Feed, line: str, remote_address: str, last_byte: float) -> None:
        """A connection of a line is gone: not always the older of two.

        Args:
            feed: whose connection it was.
            line: of the connection.
            remote_address: of the server.
            last_byte: `time.monotonic()` of the last byte received on it.
        """
        url = feed.url
        self._connections[url] -= 1
        self._addresses[url, line].remove(remote_address)
        self._last_bytes[url] = max(self._last_bytes.get(url, last_byte), last_byte)
        if self._connections[url] <= 0 and self._complete_from is not None and not self._ended:
            self._begin_outage(max(self._last_bytes[url], self._complete_from))

    def _begin_outage(self, since: float) -> None:
        """Count from then on, once: outages of several feeds may overlap."""
        if self._incomplete_since is not None:
            since = min(since, self._incomplete_since)
        while self._recent and self._recent[-1][1] > since:
            began, ended = self._recent.pop()
            self._disconnected_sec -= ended - began
            since = min(since, began)
        self._incomplete_since = since

    def end(self) -> None:
        """The probe closes its connections itself: time without them no longer counts."""
        self._ended = True
        self._disconnected_sec = self.disconnected_sec
        self._incomplete_since = None
