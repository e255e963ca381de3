"""Token buckets: a burst, then a steady rate."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Final

_MAX_NAMES: Final = 1024


class TokenBucket:
    """A bucket that is full at first.

    Args:
        per_sec: how many tokens come back in a second.
        burst: how many it holds.
    """

    def __init__(self, per_sec: float, burst: int) -> None:
        self._per_sec = per_sec
        self._burst = burst
        self._tokens = float(burst)
        self._seen = time.monotonic()

    def take(self) -> bool:
        """Take a token; false if there is none."""
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._seen) * self._per_sec)
        self._seen = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class TokenBuckets:
    """A bucket for each name, of the names seen most recently.

    Args:
        per_sec: how many tokens come back to each in a second.
        burst: how many each holds.
    """

    def __init__(self, per_sec: float, burst: int) -> None:
        self._per_sec = per_sec
        self._burst = burst
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, name: str) -> bool:
        """Take a token from a name's bucket; false if there is none."""
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = TokenBucket(self._per_sec, self._burst)
            if len(self._buckets) > _MAX_NAMES:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(name)
        return bucket.take()
