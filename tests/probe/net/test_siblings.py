"""A copy that waits unread on another connection widens the bound on a first arrival."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from latency_sweep.probe.net.siblings import Siblings
from latency_sweep.probe.net.timestamp_error import TimestampError

if TYPE_CHECKING:
    from collections.abc import Iterator

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pairs() -> Iterator[tuple[Pair, Pair]]:
    first, second = socket.socketpair(), socket.socketpair()
    yield first, second
    for end in (*first, *second):
        end.close()


def test_nothing_unread_means_none_and_tightens_the_other_ones_bound(
    pairs: tuple[Pair, Pair],
) -> None:
    (_, mine), (_, other) = pairs
    siblings, bounds = Siblings(), [TimestampError(0, 0), TimestampError(0, 0)]
    siblings.join(mine.fileno(), bounds[0])
    siblings.join(other.fileno(), bounds[1])
    before_ns = time.time_ns()
    assert siblings.unread_since_ns(mine.fileno()) is None
    assert before_ns <= bounds[1].since_ns <= time.time_ns()
    assert bounds[0].since_ns == 0


def test_what_waits_on_another_may_have_come_since_that_was_empty(
    pairs: tuple[Pair, Pair],
) -> None:
    (_, mine), (peer, other) = pairs
    siblings = Siblings()
    siblings.join(mine.fileno(), TimestampError(5, 0))
    siblings.join(other.fileno(), TimestampError(7, 0))
    peer.send(b"x")
    assert siblings.unread_since_ns(mine.fileno()) == 7
    assert siblings.unread_since_ns(other.fileno()) is None
    siblings.leave(other.fileno())
    siblings.leave(other.fileno())
    assert len(siblings) == 1
    assert siblings.unread_since_ns(mine.fileno()) is None
