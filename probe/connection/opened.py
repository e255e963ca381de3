"""A connection that is open, and what its supervisor knows of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from latency_sweep.probe.measurement.recorder import ConnectionReceiver
    from latency_sweep.probe.net.websocket import WebSocketConnection


class Opened:
    """A connection, what it delivers to, and what is known of it.

    Attributes:
        connection: the connection.
        receiver: takes its messages.
        shutdown_announced: whether the exchange announced on it that it will close it.
        since: `time.monotonic()` of its opening.
        next_ping: `time.monotonic()` at which the next ping is due.
        noted_ns: timestamp of the newest message that the supervisor has taken note of, 0 for none.
    """

    def __init__(
        self,
        connection: WebSocketConnection,
        receiver: ConnectionReceiver,
        shutdown_announced: asyncio.Event,
    ) -> None:
        self.connection = connection
        self.receiver = receiver
        self.shutdown_announced = shutdown_announced
        self.since = time.monotonic()
        self.next_ping = self.since
        self.noted_ns = 0

    @property
    def age_sec(self) -> float:
        """Seconds since it was opened."""
        return time.monotonic() - self.since

    def has_news(self) -> bool:
        """Whether a message has come since the last time this was asked."""
        newest_ns = self.receiver.newest_ns
        news, self.noted_ns = newest_ns != self.noted_ns, newest_ns
        return news
