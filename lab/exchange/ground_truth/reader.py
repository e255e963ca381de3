"""Reading the ground truth of a simulated exchange into a table; format: `ground_truth_file`.

table = read_ground_truth(folder / "tokyo.truth")
sent = table[table["outcome"] == "sent"]
latency_sec = (sent["send_ns"] - sent["event_ns"]) / 1e9
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from latency_sweep.lab.exchange.config import MARKET_NAMES
from latency_sweep.lab.exchange.ground_truth.writer import (
    HEADER,
    MAGIC,
    NAME_LAYOUT,
    NAME_OUTCOME,
    RECORD,
    MessageOutcome,
)

if TYPE_CHECKING:
    from pathlib import Path


class GroundTruthError(Exception):
    """The file is not a ground truth; the message names it."""


def read_ground_truth(path: Path) -> pd.DataFrame:
    """Read one site's ground truth, in the order in which it was written.

    Returns:
        Columns `connection` (a number that is unique in the exchange), `market`, `stream` (as on
        the wire, `btcusdt@depth@100ms`), `symbol` (upper case, empty if the stream has none),
        `first_id`, `last_id`, `event_ns`, `trade_ns` (0 if none), `send_ns` (Unix nanoseconds right
        before the write; 0 if not sent) and `outcome` (`sent`, `dropped`, `duplicate`, `unsent`).
        The frame's `attrs["clock_offset_ns"]` is the configured error of the exchange's clock.

    Raises:
        GroundTruthError: the file is not a ground truth.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    if len(data) < HEADER.size or not data.startswith(MAGIC):
        raise GroundTruthError(f"{path}: not a ground truth file.")
    _, clock_offset_ns = HEADER.unpack_from(data)
    # A file read while it is written may end inside a record.
    whole = (len(data) - HEADER.size) // RECORD.itemsize
    records = np.frombuffer(data, RECORD, whole, HEADER.size)

    is_name = records["outcome"] == NAME_OUTCOME
    streams = [_name_of(data, position) for position in np.flatnonzero(is_name).tolist()]
    markets = [MARKET_NAMES[number] for number in records["connection"][is_name].tolist()]
    symbols = [_symbol_of(stream) for stream in streams]
    messages = records[~is_name]
    numbers = messages["stream_number"].astype(np.intp)
    columns: dict[str, object] = {
        "connection": messages["connection"],
        "market": np.array(markets, dtype=object)[numbers],
        "stream": np.array(streams, dtype=object)[numbers],
        "symbol": np.array(symbols, dtype=object)[numbers],
    }
    columns |= {
        name: messages[name] for name in ("first_id", "last_id", "event_ns", "trade_ns", "send_ns")
    }
    outcomes = np.array(["", *(outcome.name.lower() for outcome in MessageOutcome)], dtype=object)
    columns["outcome"] = outcomes[messages["outcome"].astype(np.intp)]
    table = pd.DataFrame(columns)
    table.attrs["clock_offset_ns"] = clock_offset_ns
    return table


def _name_of(data: bytes, position: int) -> str:
    offset = HEADER.size + position * RECORD.itemsize
    name: bytes = NAME_LAYOUT.unpack_from(data, offset)[3]
    return name.rstrip(b"\0").decode()


def _symbol_of(stream: str) -> str:
    symbol = stream.partition("@")[0]
    return "" if symbol.startswith("!") else symbol.upper()
