"""The receive time at the start of a recorded line, in every form that recorders write.

| form | example | recorder |
|---|---|---|
| 19, 16 or 13 digits | `1723161253937085768` | ns, µs or ms since 1970: hftbacktest's collector |
| seconds with decimals | `1633998512.0633569` | cryptofeed, with a colon after it |
| ISO 8601 | `2024-08-08T23:54:13.9370850Z` | Tardis |
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

NS_PER_SEC: Final = 1_000_000_000
_DIGITS: Final = {19: 1, 16: 1_000, 13: 1_000_000}
# Then what separates it from the frame, a colon or not.
START: Final = re.compile(
    rb"(?:(?P<whole>\d+)(?:\.(?P<decimals>\d+))?"
    rb"|(?P<second>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:[.,](?P<fraction>\d+))?"
    rb"(?P<zone>Z|[+-]\d\d:?\d\d)?)"
    rb":?[ \t]+"
)
EXPECTED: Final = (
    "expected a receive time (13, 16 or 19 digits since 1970, seconds with decimals, or ISO 8601),"
    " a space and a JSON document"
)


def receive_time_ns(start: re.Match[bytes]) -> int:
    """Unix nanoseconds of a match of `START`; digits below a nanosecond are dropped.

    Raises:
        ValueError: it is no time, or too coarse to measure with; the message says what it is.
    """
    whole, decimals, second, fraction, zone = start.groups()
    if second is not None:
        return _second_ns(second, zone or b"Z") + _fraction_ns(fraction or b"")
    if decimals is not None:
        return int(whole) * NS_PER_SEC + _fraction_ns(decimals)
    unit = _DIGITS.get(len(whole))
    if unit is None:
        raise ValueError(
            f"the receive time has {len(whole)} digits; 13 (ms), 16 (µs) or 19 (ns) since 1970 are"
            " understood, and seconds with decimals"
        )
    return int(whole) * unit


def _fraction_ns(decimals: bytes) -> int:
    return int(decimals[:9].ljust(9, b"0"))


@lru_cache(maxsize=16)
def _second_ns(second: bytes, zone: bytes) -> int:
    """A time without a zone is UTC."""
    text = (second + (b"+0000" if zone == b"Z" else zone)).decode()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"the receive time {second.decode()} is no date") from error
    return round(moment.astimezone(UTC).timestamp()) * NS_PER_SEC
