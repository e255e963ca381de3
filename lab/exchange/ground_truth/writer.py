"""Writing the ground truth: what was sent to a site, when, and what was lost on purpose.

One file per site: a header of 48 bytes, then records of 48 bytes, little-endian (`RECORD`).
The streams of each market are given numbers by records of their own (`outcome` 255) before the
first use: `connection` is the market's index in `config.MARKET_NAMES`, and the name is UTF-8 in the
40 bytes from `first_id` on, padded with zeros. `ground_truth.reader` reads the file.

`event_ns` and `trade_ns` are on the true time line: the configured error of the exchange's clock,
kept in the header, is in the frames but not here. So `send_ns - event_ns` is the true latency from
the exchange to the sending socket.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from latency_sweep.lab.exchange.config import MARKET_NAMES

if TYPE_CHECKING:
    from pathlib import Path

    from latency_sweep.lab.exchange.config import MarketName
    from latency_sweep.lab.exchange.markets.events import MarketEvent

MAGIC: Final = b"BXTRUTH1"
HEADER: Final = struct.Struct("<8sq32x")
LAYOUT: Final = struct.Struct("<IHBxqqqqq")
NAME_BYTES: Final = 40
NAME_LAYOUT: Final = struct.Struct(f"<IHBx{NAME_BYTES}s")
NAME_OUTCOME: Final = 255
RECORD: Final = np.dtype(
    [
        ("connection", "<u4"),
        ("stream_number", "<u2"),
        ("outcome", "u1"),
        ("padding", "u1"),
        ("first_id", "<i8"),
        ("last_id", "<i8"),
        ("event_ns", "<i8"),
        ("trade_ns", "<i8"),
        ("send_ns", "<i8"),
    ]
)
BUFFER_BYTES: Final = 1 << 20


class MessageOutcome(IntEnum):
    """The outcome of a message on one connection.

    `DROPPED` is scripted loss; `UNSENT` was queued when the connection ended.
    """

    SENT = 1
    DROPPED = 2
    DUPLICATE = 3
    UNSENT = 4


class GroundTruthWriter:
    """Appends records to one site's file; buffered, so `flush` before reading."""

    def __init__(self, path: Path, clock_offset_ns: int) -> None:
        """Start a new file, replacing an older one.

        Raises:
            OSError: the file cannot be made.
        """
        self._file = path.open("wb", buffering=0)
        self._buffer = bytearray(HEADER.pack(MAGIC, clock_offset_ns))
        self._numbers: dict[tuple[MarketName, str], int] = {}

    def record(
        self,
        market: MarketName,
        connection: int,
        event: MarketEvent,
        send_ns: int,
        outcome: MessageOutcome,
    ) -> None:
        """Record one message; `send_ns` is 0 for one that was not sent."""
        number = self._numbers.get((market, event.stream))
        if number is None:
            number = self._name(market, event.stream)
        self._buffer += LAYOUT.pack(
            connection,
            number,
            outcome,
            event.first_id,
            event.last_id,
            event.event_ns,
            event.trade_ns,
            send_ns,
        )
        if len(self._buffer) >= BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand everything to the operating system.

        Raises:
            OSError: it does not take everything.
        """
        while self._buffer:
            # A disk that has room for a part takes that part, and fails only when asked again.
            del self._buffer[: self._file.write(self._buffer)]

    def close(self) -> None:
        """Flush and close the file."""
        self.flush()
        self._file.close()

    def _name(self, market: MarketName, stream: str) -> int:
        number = self._numbers[market, stream] = len(self._numbers)
        self._buffer += NAME_LAYOUT.pack(
            MARKET_NAMES.index(market), number, NAME_OUTCOME, stream.encode()[:NAME_BYTES]
        )
        return number
