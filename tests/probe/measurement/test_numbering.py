"""New numberings, wrong ids, losses and copies are told apart by ids and event times."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.probe.measurement.arrival import Arrival
from latency_sweep.probe.measurement.numbering import Numbered, Numbering
from latency_sweep.probe.measurement.sequence import (
    GRACE_NS,
    REMEMBER_NS,
    TIMES_KEPT,
    SequenceCheck,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

MS = 1_000_000
SEC = 1_000_000_000
START_NS = 1_700_000_000 * SEC
TOP = 2**63 - 1


@dataclass
class Received:
    """A channel that several connections deliver; event times and the clock go on together."""

    per_id: bool = True
    strays: list[str] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    now_ns: int = 0

    def __post_init__(self) -> None:
        self.numbering = Numbering(per_id=self.per_id, on_stray=self.strays.append)
        self.checks: dict[str, SequenceCheck] = {}

    def see(self, number: int, event_ns: int, *, last: int | None = None, on: str = "a") -> Arrival:
        check = self.checks.setdefault(on, SequenceCheck(per_id=self.per_id))
        message = Numbered(number, number if last is None else last, event_ns)
        if self.numbering.is_next_copy(*message, check):
            arrival = Arrival.REDUNDANT
        else:
            arrival = self.numbering.see(message, self.now_ns, check)
        self.arrivals.append(arrival)
        return arrival

    def send(self, ids: Iterable[int], *, on: str = "a") -> None:
        """Deliver messages sent one millisecond after another."""
        for number in ids:
            self.now_ns += MS
            self.see(number, START_NS + self.now_ns, on=on)

    @property
    def counted(self) -> int:
        """Messages received, those of other connections again not counted, nor duplicates."""
        counts = self.numbering.current.counts
        return self.arrivals.count(Arrival.COUNTED) - counts.duplicates

    @property
    def missing(self) -> int:
        """Messages that are lost or pending."""
        counts = self.numbering.current.counts
        return counts.lost - counts.recovered + self.numbering.pending

    @property
    def restarts(self) -> int:
        return self.numbering.current.counts.restarts


DISTANT = [
    (1, 200_001),
    (1, 900_001),
    (900_001, 1),
    (3_000_000, 1),
    (5_000, 1),
    (1_000, 990),
    (5_000, 10**12),
    (TOP - 999, 0),
    (0, TOP - 5_000),
]


@pytest.mark.parametrize(("before", "after"), DISTANT)
def test_ids_that_begin_anew_are_neither_lost_nor_copies(before: int, after: int) -> None:
    received = Received()
    received.send(range(before, before + 1000))
    received.send(range(after, after + 500))
    assert (received.counted, received.missing, received.restarts) == (1500, 0, 1)
    assert not received.strays


@pytest.mark.parametrize(("before", "after"), DISTANT)
def test_a_new_connection_may_bring_the_new_numbering(before: int, after: int) -> None:
    received = Received()
    received.send(range(before, before + 1000))
    received.now_ns += 30 * SEC
    received.send(range(after, after + 500), on="b")
    if before < after <= 300_000:  # a busy market may have got there in 30 s
        assert received.counted + received.missing == after + 500 - before
    else:
        assert (received.counted, received.missing, received.restarts) == (1500, 0, 1)


@pytest.mark.parametrize("wrong", [0, 3, 400, 999, 1_400, 2_500, 900_000, 500_000_000, TOP])
@pytest.mark.parametrize("replaces", [True, False])
def test_an_isolated_id_is_an_error_and_no_loss(wrong: int, *, replaces: bool) -> None:
    received = Received()
    following = range(1001 + replaces, 2000)
    received.send([*range(1, 1001), wrong, *following])
    assert (received.counted, received.missing) == (1001 + len(following), 0)
    assert (received.restarts, len(received.strays)) == (0, 1)


def test_what_an_isolated_id_made_look_lost_is_recovered() -> None:
    received = Received()
    received.send([*range(1, 1001), 1_700])
    received.now_ns += 2 * GRACE_NS
    received.numbering.expire(received.now_ns)
    counts = received.numbering.current.counts
    assert counts.lost == 699
    received.send(range(1001, 1010))
    assert (counts.lost, counts.recovered, received.missing) == (699, 699, 0)
    assert (received.restarts, len(received.strays)) == (0, 1)


def test_losses_beside_an_isolated_id_are_lost() -> None:
    received = Received()
    received.send([*range(1, 1001), 10**9, *range(1011, 1100)])
    # Ten are missing, one of them had the wrong id.
    assert (received.missing, len(received.strays)) == (9, 1)


def test_a_long_outage_is_a_loss_not_a_new_numbering() -> None:
    received = Received()
    received.send(range(20_000))
    received.now_ns += 60 * SEC
    received.send(range(80_000, 80_100))
    assert (received.missing, received.restarts) == (60_000, 0)


@pytest.mark.parametrize("per_sec", [1, 200, 20_000])
@pytest.mark.parametrize("lost", [7_900, 10_000])
@pytest.mark.parametrize("on", ["a", "b"])
def test_the_rest_of_a_burst_is_a_loss(per_sec: int, lost: int, on: str) -> None:
    """A burst has one event time; the connection ends within it, and the next event is near."""
    received = Received()
    seconds = max(20, 300 // per_sec)
    for number in range(per_sec * seconds):
        received.see(number, START_NS + number * SEC // per_sec)
    burst_ns, first = START_NS + seconds * SEC, per_sec * seconds
    for number in range(first, first + 100):
        received.see(number, burst_ns)
    for number in range(first + 100 + lost, first + 200 + lost):
        received.see(number, burst_ns + 2 * MS, on=on)
    assert (received.missing, received.restarts) == (lost, 0)
    assert not received.strays


def test_what_a_sender_held_up_for_seconds_sends_at_once_is_a_loss() -> None:
    received = Received()
    for number in range(400_000):  # 20,000 a second
        received.see(number, START_NS + 50_000 * number)
    for number in range(580_000, 580_100):  # nine seconds' worth
        received.see(number, START_NS + 20 * SEC, on="b")
    assert (received.missing, received.restarts) == (180_000, 0)


@pytest.mark.parametrize("outage_sec", [1, 10, 60])
@pytest.mark.parametrize("stormy", [True, False])
def test_a_quiet_market_may_storm_while_it_cannot_be_seen(outage_sec: int, *, stormy: bool) -> None:
    """5,000 a second, after an hour of one every ten seconds; the storm is seen to begin or not."""
    received = Received()
    for number in range(360):
        received.see(number, START_NS + number * 10 * SEC)
    seen = 2_000 if stormy else 1
    for number in range(seen):
        received.see(360 + number, START_NS + 3600 * SEC + number * SEC // 5_000)
    again_ns = START_NS + (3600 + outage_sec) * SEC + seen * SEC // 5_000
    lost = outage_sec * 5_000
    for number in range(100):
        received.see(360 + seen + lost + number, again_ns + number * SEC // 5_000, on="b")
    assert (received.missing, received.restarts) == (lost, 0)


def test_what_an_overlapping_connection_brings_of_a_burst_is_not_lost() -> None:
    received = Received()
    burst = range(1_000, 9_000)
    received.send(range(1_000))
    at_ns = START_NS + received.now_ns + MS
    for number in burst[:100]:
        received.see(number, at_ns)
    for number in range(9_000, 9_010):
        received.see(number, at_ns + MS, on="b")
    assert (received.missing, received.restarts) == (7_900, 0)
    for number in burst[100:]:
        received.see(number, at_ns)
    assert (received.counted, received.missing) == (9_010, 0)


def test_the_rest_of_a_burst_of_ranges_is_a_gap() -> None:
    received = Received(per_id=False)
    for number in range(300):
        received.see(500 * number, START_NS + number * 100 * MS, last=500 * number + 499)
    for number in range(2_300, 2_310):  # a million ids further within a millisecond
        received.see(500 * number, START_NS + 30_001 * MS, last=500 * number + 499, on="b")
    assert (received.missing, received.restarts) == (1, 0)


def test_a_single_message_of_a_new_numbering_counts_at_once() -> None:
    received = Received()
    received.send(range(1000, 2000))
    received.send([1])
    assert received.counted == 1001
    received.now_ns += 3600 * SEC
    received.send([2])
    assert (received.counted, received.missing, received.restarts) == (1002, 0, 1)


def test_an_id_with_another_event_time_is_no_copy() -> None:
    received = Received()
    received.send(range(1, 101))
    assert received.see(100, START_NS + received.now_ns, on="b") is Arrival.REDUNDANT
    assert received.see(50, START_NS + 50 * MS, on="b") is Arrival.REDUNDANT
    assert received.see(50, START_NS + 50 * MS + 1, on="b") is Arrival.COUNTED


def test_a_copy_with_a_wrong_id_is_an_error_and_not_received() -> None:
    received = Received()
    received.send(range(1, 101))
    assert received.see(10**12, START_NS + 50 * MS, on="b") is Arrival.STRAY
    assert len(received.strays) == 1
    received.send(range(101, 110))
    assert (received.counted, received.missing, received.restarts) == (109, 0, 0)


def test_a_copy_older_than_what_is_remembered_is_redundant() -> None:
    received = Received()
    received.send(range(1, 10 * TIMES_KEPT))
    assert received.see(5, START_NS + 5 * MS, on="b") is Arrival.REDUNDANT


def test_a_connection_that_lags_behind_goes_on_in_the_numbering_before() -> None:
    received = Received()
    for number in (1, 2, 4, 5):
        received.see(number, START_NS + number, on="a")
    for number in (1, 2, 3):  # after these, a new numbering
        received.see(number, START_NS + 100 + number, on="a")
    expected = [(1, 1), (3, 3), (5, 5), (1, 101), (2, 102), (3, 103), (4, 104)]
    for number, after in expected:
        received.see(number, START_NS + after, on="b")
    # Number 3 of the first numbering and number 4 of the second come from `b` alone.
    assert (received.counted, received.missing, received.restarts) == (9, 0, 1)
    assert not received.strays


def test_the_numbering_before_is_forgotten_and_its_losses_stay() -> None:
    received = Received()
    received.send([1, 2, 4, 5])
    received.send([1_000_001, 1_000_002])
    assert received.missing == 1
    received.now_ns += REMEMBER_NS
    received.send([1_000_003])
    assert received.numbering.current.unsettled == 0
    assert (received.missing, received.restarts) == (1, 1)


def test_a_suspect_delivered_twice_is_a_copy_or_a_duplicate() -> None:
    received = Received()
    received.send(range(1, 101))
    event_ns = START_NS + SEC
    assert received.see(10**9, event_ns, on="a") is Arrival.COUNTED
    assert received.see(10**9, event_ns, on="b") is Arrival.REDUNDANT
    assert received.see(10**9, event_ns, on="a") is Arrival.COUNTED
    assert received.numbering.current.duplicates == 1
    assert received.see(10**9 + 1, event_ns + 1, on="b") is Arrival.COUNTED
    assert received.restarts == 1


@pytest.mark.parametrize("beginning", [0, 10, 5_000, 10**9])
def test_ranges_begin_anew(beginning: int) -> None:
    received = Received(per_id=False)
    for number in range(100):
        received.see(10**6 + 5 * number, START_NS + number, last=10**6 + 5 * number + 4)
    for number in range(100):
        first = beginning + 5 * number
        received.see(first, START_NS + 100 + number, last=first + 4)
    assert (received.counted, received.missing, received.restarts) == (200, 0, 1)


def test_of_ranges_a_late_one_and_its_copy_are_recognised() -> None:
    received = Received(per_id=False)
    for number in (0, 1, 3, 2):
        received.see(5 * number, START_NS + number, last=5 * number + 4)
    for number in (0, 1, 2, 3):
        received.see(5 * number, START_NS + number, last=5 * number + 4, on="b")
    assert (received.counted, received.missing, received.restarts) == (4, 0, 0)
    assert received.arrivals.count(Arrival.REDUNDANT) == 4


# The model: what an exchange sends, and what each of two connections delivers of it and when.
LENGTHS = st.integers(12, 60)
ANEW = st.one_of(
    st.integers(0, 100),
    st.integers(0, 10**6),
    st.integers(10**8, 10**9),
    st.integers(2**62, 2**63 - 1000),
)
EPOCHS = st.lists(st.tuples(ANEW, LENGTHS), min_size=1, max_size=4)


def distant(epochs: list[tuple[int, int]]) -> bool:
    """Whether each numbering begins where the one before cannot have gone on or made a burst."""
    starts = pairwise(epochs)
    return all(
        not start - 3 <= anew <= start + length + 30_000 for (start, length), (anew, _) in starts
    )


def sent(epochs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ids and event times, one microsecond after another."""
    ids = [start + position for start, length in epochs for position in range(length)]
    return [(number, START_NS + 1000 * when) for when, number in enumerate(ids)]


@given(EPOCHS.filter(distant), st.data())
def test_on_one_connection_everything_is_accounted_for(
    epochs: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Messages get lost within numberings, but not the first three and the last of each."""
    messages = sent(epochs)
    kept, position, lost = [], 0, 0
    for _, length in epochs:
        droppable = st.sets(st.integers(3, length - 2))
        dropped = data.draw(droppable)
        lost += len(dropped)
        kept += [messages[position + n] for n in range(length) if n not in dropped]
        position += length
    received = Received()
    for number, event_ns in kept:
        received.see(number, event_ns)
        received.now_ns += data.draw(st.sampled_from([0, MS, GRACE_NS]))
    assert received.counted + received.missing == len(messages)
    assert (received.missing, received.restarts) == (lost, len(epochs) - 1)
    assert not received.strays


@given(
    EPOCHS.filter(distant),
    st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=20),
    st.integers(0, 11),
)
def test_two_connections_at_any_lag_count_everything_once(
    epochs: list[tuple[int, int]], turns: list[tuple[bool, int]], late: int
) -> None:
    """Both deliver everything in order, the second from some message on; they take turns."""
    messages = sent(epochs)
    received, positions = Received(), {"a": 0, "b": late}
    for is_b, count in [*turns, (False, len(messages)), (True, len(messages))]:
        name = "b" if is_b else "a"
        for number, event_ns in messages[positions[name] :][:count]:
            received.see(number, event_ns, on=name)
            positions[name] += 1
    assert received.counted == len(messages)
    assert (received.missing, received.restarts) == (0, len(epochs) - 1)
    assert not received.strays


@given(
    st.integers(0, 10**6),
    st.lists(st.integers(6, 20), min_size=1, max_size=6),
    st.lists(st.one_of(st.integers(0, 3 * 10**6), st.integers(0, TOP)), min_size=6, max_size=6),
    st.sets(st.integers(1, 200)),
)
def test_single_wrong_ids_cost_nothing(
    start: int, apart: list[int], wrong: list[int], dropped: set[int]
) -> None:
    """Whatever the ids: each is an error, none is a loss, and real losses are all counted."""
    count = 3 + sum(apart) + 6
    places = [3 + sum(apart[: n + 1]) for n in range(len(apart))]
    protected = {place + near for place in places for near in (-2, -1, 0, 1, 2)} | {0, count - 1}
    dropped = {n for n in dropped if n < count} - protected
    received, errors = Received(), 0
    for position in range(count):
        number = start + position
        received.now_ns += MS
        if position in places:
            other = wrong[places.index(position)]
            errors += not -2 <= other - number <= 2
            number = other if not -2 <= other - number <= 2 else number
        if position not in dropped:
            received.see(number, START_NS + received.now_ns)
    assert received.counted == count - len(dropped)
    assert (received.missing, received.restarts) == (len(dropped), 0)
    assert len(received.strays) == errors


def test_lost_messages_of_ranges_are_a_gap_from_the_first_message_on() -> None:
    received = Received(per_id=False)
    # Depth updates share their ids with other symbols: each may cover thousands.
    received.see(10_000, START_NS, last=12_000)
    received.see(16_500, START_NS + 80 * MS, last=18_000)
    received.see(18_001, START_NS + 105 * MS, last=19_500)
    assert (received.numbering.current.gaps, received.numbering.current.restarts) == (1, 0)
