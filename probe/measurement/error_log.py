"""How often errors of a kind are logged: a few a minute, and the others by their number."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from latency_sweep.contract.metrics import ErrorKind

    # Kind, a sentence about it, and the exception if it is a fault of the program.
    CountError = Callable[[ErrorKind, str, BaseException | None], None]

LOGGED_PER_MINUTE: Final = 5
_MINUTE_SEC: Final = 60.0


@dataclass(slots=True)
class _Minute:
    until: float
    logged: int = 0
    suppressed: int = 0


class ErrorLog:
    """Decides which errors are logged, so that a flood of one kind cannot fill a disk.

    A minute begins with the first error of a kind, and after it with the next one.

    Args:
        monotonic: seconds that no setting of a clock moves.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._minutes: dict[ErrorKind, _Minute] = {}

    def admit(self, kind: ErrorKind) -> bool:
        """Whether to log an error of this kind that has just happened."""
        minute = self._minutes.get(kind)
        if minute is None:
            minute = self._minutes[kind] = _Minute(self._monotonic() + _MINUTE_SEC)
        if minute.logged < LOGGED_PER_MINUTE:
            minute.logged += 1
            return True
        minute.suppressed += 1
        return False

    def is_last(self, kind: ErrorKind) -> bool:
        """Whether the one just logged is the last of this minute."""
        return self._minutes[kind].logged == LOGGED_PER_MINUTE

    def ended(self) -> Iterator[tuple[ErrorKind, int]]:
        """The kinds whose minute is over, each with how many were not logged in it."""
        now = self._monotonic()
        for kind, minute in list(self._minutes.items()):
            if now >= minute.until:
                del self._minutes[kind]
                yield kind, minute.suppressed
