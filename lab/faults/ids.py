"""Faults of the numbering: ids that begin anew, and single wrong ones."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from latency_sweep.lab.faults import frames as f
from latency_sweep.lab.faults.fault import Fault

if TYPE_CHECKING:
    from latency_sweep.lab.faults.proxy import Link

# Ids of trades, aggregate trades and books; prices and quantities are strings or lists.
_IDS: Final = re.compile(rb'"(t|a|u|U|pu)":(\d+)')


class Renumber(Fault):
    """The exchange numbers anew, higher up, and goes back in the end."""

    def __init__(self, by: int) -> None:
        """Number `by` higher."""
        self._by = by

    def downstream(self, link: Link, frames: list[bytes]) -> None:
        """Shift all ids."""
        for frame in frames:
            link.send(shift_ids(frame, self._by) if f.is_data(frame) else frame)


def shift_ids(frame: bytes, by: int) -> bytes:
    """The frame with its ids higher by so many."""

    def higher(match: re.Match[bytes]) -> bytes:
        return b'"%b":%d' % (match.group(1), int(match.group(2)) + by)

    return f.text(_IDS.sub(higher, f.payload(frame)))
