"""Token buckets empty and fill again."""

from __future__ import annotations

import time

import pytest

from latency_sweep.probe.http import token_bucket
from latency_sweep.probe.http.token_bucket import TokenBucket, TokenBuckets


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic time, to be moved."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_burst_is_let_through_and_then_the_rate(clock: list[float]) -> None:
    bucket = TokenBucket(per_sec=2, burst=3)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    clock[0] = 0.5
    assert [bucket.take() for _ in range(2)] == [True, False]


def test_no_more_is_saved_up_than_a_burst(clock: list[float]) -> None:
    bucket = TokenBucket(per_sec=2, burst=3)
    clock[0] = 1000
    assert [bucket.take() for _ in range(4)].count(True) == 3


def test_each_name_has_its_own(clock: list[float]) -> None:
    buckets = TokenBuckets(per_sec=1, burst=1)
    assert [buckets.take(name) for name in "aab"] == [True, False, True]


def test_only_so_many_names_are_remembered(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_bucket, "_MAX_NAMES", 2)
    buckets = TokenBuckets(per_sec=1, burst=1)
    assert [buckets.take(name) for name in "abcbca"] == [True, True, True, False, False, True]
