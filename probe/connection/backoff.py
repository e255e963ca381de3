"""Pauses between attempts to connect: exponential with full jitter."""

from __future__ import annotations

import random
from typing import Final

BASE_SEC: Final = 0.5
CAP_SEC: Final = 30.0


class Backoff:
    """Pause lengths that double up to a cap, each drawn between half of it and the whole.

    The floor of half keeps a fleet behind one address below Binance's 300 attempts in five
    minutes; the jitter keeps it from returning in step (Brooker, "Exponential Backoff And
    Jitter", AWS Architecture Blog, 2015).

    Args:
        base_sec: first pause.
        cap_sec: longest pause.
        rng: source of the jitter.
    """

    def __init__(
        self,
        base_sec: float = BASE_SEC,
        cap_sec: float = CAP_SEC,
        rng: random.Random | None = None,
    ) -> None:
        self._base_sec = base_sec
        self._cap_sec = cap_sec
        self._rng = rng or random.Random()  # noqa: S311 - jitter needs no secrecy
        self._attempt = 0

    def next_pause_sec(self) -> float:
        """Length of the next pause, seconds."""
        ceiling = min(self._cap_sec, self._base_sec * 2.0 ** min(self._attempt, 30))
        self._attempt += 1
        return self._rng.uniform(ceiling / 2, ceiling)

    def reset(self) -> None:
        """Start over after a connection that worked."""
        self._attempt = 0
