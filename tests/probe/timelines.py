"""Timelines to test with at any time of day."""

from __future__ import annotations

from typing import Final

from latency_sweep.contract.timeline import NS_PER_SEC, Timeline

_CENTURY_NS: Final = 100 * 365 * 86_400 * NS_PER_SEC
# Its run began in 1970 and lasts for two centuries: no test sees one begin or end. The measurement
# has long begun, so that a session which starts now waits for the next one.
ONE_RUN: Final = Timeline(NS_PER_SEC, 2 * _CENTURY_NS, NS_PER_SEC)
