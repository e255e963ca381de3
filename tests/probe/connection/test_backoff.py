"""Pauses grow, stay within their cap, and start over."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.probe.connection.backoff import Backoff


@given(st.integers(), st.integers(min_value=0, max_value=100))
def test_each_pause_lies_between_half_and_all_of_its_ceiling(seed: int, attempts: int) -> None:
    backoff = Backoff(base_sec=0.5, cap_sec=30.0, rng=random.Random(seed))
    for attempt in range(attempts):
        ceiling = min(30.0, 0.5 * 2**attempt)
        assert ceiling / 2 <= backoff.next_pause_sec() <= ceiling


def test_a_working_connection_starts_over() -> None:
    backoff = Backoff(base_sec=1.0)
    for _ in range(5):
        backoff.next_pause_sec()
    backoff.reset()
    assert backoff.next_pause_sec() <= 1.0


def test_a_fleet_stays_below_the_exchanges_limit_of_attempts() -> None:
    """300 attempts in five minutes from one address; a probe that fails for long stays far off."""
    backoff = Backoff(rng=random.Random(1))
    elapsed = attempts = 0.0
    while elapsed < 300:
        elapsed += backoff.next_pause_sec()
        attempts += 1
    assert attempts < 60
