"""Recordings of several hosts with known latencies, for tests of whoever reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

START_NS: Final = 1_750_000_000_000_000_000
NS_PER_SEC: Final = 1_000_000_000


@dataclass(frozen=True)
class MadeMarket:
    """Trades at even intervals, each with a delay in the exchange that all hosts share.

    Attributes:
        events: how many.
        per_sec: how many a second.
        first_id: of the first.
        start_ns: event time of the first, Unix nanoseconds.
    """

    events: int = 2_000
    per_sec: int = 20
    first_id: int = 100
    start_ns: int = START_NS
    shared_ns: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(7)
        object.__setattr__(
            self, "shared_ns", (2e6 * rng.lognormal(0, 0.3, self.events)).astype(int)
        )

    def recorded(
        self,
        file: Path,
        *,
        later_ns: int = 0,
        missing: Collection[int] = (),
        symbol: str = "btcusdt",
    ) -> Path:
        """What a host wrote that receives everything `later_ns` later; `missing` are ids."""
        lines = []
        for number in range(self.events):
            identity = self.first_id + number
            if identity in missing:
                continue
            event_ns = self.start_ns + number * NS_PER_SEC // self.per_sec
            received_ns = event_ns + int(self.shared_ns[number]) + later_ns
            lines.append(
                f'{received_ns} {{"stream":"{symbol}@trade","data":{{"e":"trade",'
                f'"E":{event_ns // 1_000_000},"s":"{symbol.upper()}","t":{identity},'
                f'"T":{event_ns // 1_000_000}}}}}\n'
            )
        file.write_text("".join(lines), encoding="utf-8")
        return file
