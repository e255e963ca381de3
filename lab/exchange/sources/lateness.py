"""How late recorded frames leave this exchange: what a replay adds to the recorded latencies."""

from __future__ import annotations

from array import array

import numpy as np

_NS = 1e-9


class Lateness:
    """When frames left minus when they were due, after all pauses."""

    def __init__(self) -> None:
        self._late_ns = array("q")

    def add(self, due_ns: int, sent_ns: int) -> None:
        """One frame; Unix nanoseconds."""
        self._late_ns.append(sent_ns - due_ns)

    def quantiles_sec(self) -> dict[str, float] | None:
        """p50 and p99 in seconds; None if nothing was sent."""
        if not self._late_ns:
            return None
        p50, p99 = np.percentile(np.array(self._late_ns), (50, 99)) * _NS
        return {"p50": float(p50), "p99": float(p99)}
