"""Which ids of a run are missing: exact, by event time, given back, and in bounded space."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.contract.missing_ids import CELLS, FIELDS, IdRange, MissingIds
from latency_sweep.contract.timeline import NS_PER_SEC, Timeline
from latency_sweep.probe.measurement.numbering import Numbered, Numbering
from latency_sweep.probe.measurement.sequence import GRACE_NS, SequenceCheck

if TYPE_CHECKING:
    from latency_sweep.probe.measurement.run_losses import RunLosses

MS: Final = 1_000_000
TIMELINE: Final = Timeline(60 * NS_PER_SEC, 3600 * NS_PER_SEC, 60 * NS_PER_SEC)
FIRST: Final = TIMELINE.run_at(1_795_000_000 * NS_PER_SEC)
SECOND: Final = TIMELINE.run_after(FIRST)
START: Final = FIRST.measure_start_ns


class Probe:
    """One channel that follows ids on one connection; time is counted from the first run on."""

    def __init__(self, *, per_id: bool = True) -> None:
        self.numbering = Numbering(per_id=per_id, on_stray=lambda _: None)
        self.check = SequenceCheck(per_id=per_id)
        self.now_ns = 0
        self.numbering.losses.begin(FIRST)

    def receive(self, *ids: int | tuple[int, int], at_ns: int | None = None) -> None:
        """Messages sent a millisecond after the one before by their ids, or all at one time."""
        for one in ids:
            first, last = one if isinstance(one, tuple) else (one, one)
            self.now_ns += MS
            event_ns = START + first * MS if at_ns is None else at_ns
            self.numbering.see(Numbered(first, last, event_ns), self.now_ns, self.check)

    def wait(self) -> None:
        self.now_ns += GRACE_NS + MS
        self.numbering.expire(self.now_ns)

    @property
    def losses(self) -> RunLosses:
        return self.numbering.losses.runs[-1]


def missing_ranges(losses: RunLosses) -> list[IdRange]:
    """Its ranges, read off against an empty table."""
    if losses.ids is None:
        return []
    difference = losses.ids.difference(MissingIds())
    assert difference is not None
    return list(difference.only_first)


def test_lost_ids_are_in_the_table_and_those_that_arrive_leave_it() -> None:
    probe = Probe()
    probe.receive(1, 2, 5, 6, 10)
    probe.wait()
    assert missing_ranges(probe.losses) == [(3, 4), (7, 9)]
    probe.receive(11, 8)
    assert missing_ranges(probe.losses) == [(3, 4), (7, 7), (9, 9)]
    assert (probe.losses.lost, probe.losses.missing) == (5, 4)


def test_what_is_late_within_the_grace_period_never_was_in_it() -> None:
    probe = Probe()
    probe.receive(1, 4, 3, 2)
    probe.wait()
    assert probe.losses.ids is None
    assert probe.losses.lost == 0


def test_gaps_in_ranges_are_messages_and_have_their_ids() -> None:
    probe = Probe(per_id=False)
    probe.receive((1, 10), (31, 40), (51, 60))
    probe.wait()
    assert missing_ranges(probe.losses) == [(11, 30), (41, 50)]
    probe.receive((61, 70), (15, 20))  # two rests: it was two messages at least
    assert missing_ranges(probe.losses) == [(11, 14), (21, 30), (41, 50)]
    assert (probe.losses.lost, probe.losses.missing) == (3, 3)
    probe.receive((41, 50))
    assert (probe.losses.lost, probe.losses.missing) == (3, 2)
    assert probe.losses.lost == probe.numbering.current.lost


def test_what_a_wrong_id_made_look_lost_is_given_back() -> None:
    probe = Probe()
    probe.receive(1, 2)
    probe.receive(300, at_ns=START + 3 * MS)  # no more than a burst: a gap at first
    probe.wait()
    assert probe.losses.lost == 297
    probe.receive(4, 5)
    probe.wait()
    assert (probe.losses.lost, missing_ranges(probe.losses)) == (0, [])


def test_a_gap_belongs_to_the_run_of_the_message_after_it() -> None:
    probe = Probe()
    probe.receive(1, 2)
    probe.numbering.losses.begin(SECOND)
    probe.receive(4, at_ns=FIRST.end_ns - 1)
    probe.receive(6, at_ns=FIRST.end_ns)
    probe.wait()
    first, second = probe.numbering.losses.runs
    assert (missing_ranges(first), missing_ranges(second)) == ([(3, 3)], [(5, 5)])
    assert first.followed == (1, 4)  # 5 is the other run's


def test_a_run_that_is_no_longer_exposed_takes_nothing_more() -> None:
    probe = Probe()
    probe.receive(1, 3)
    probe.numbering.losses.begin(SECOND)
    probe.numbering.losses.forget(FIRST.label)
    probe.wait()
    assert [losses.run for losses in probe.numbering.losses.runs] == [SECOND]
    assert probe.losses.lost == 0
    assert probe.numbering.current.lost == 1


def test_ids_that_may_still_arrive_have_not_been_followed() -> None:
    probe = Probe()
    followed = [probe.numbering.current.followed]
    probe.receive(7, 8, 11)
    followed.append(probe.numbering.current.followed)
    probe.wait()
    followed.append(probe.numbering.current.followed)
    assert followed == [None, (7, 8), (7, 11)]


@pytest.mark.parametrize("anew", [10**12, 1])
def test_a_new_numbering_is_followed_from_its_first_id_on(anew: int) -> None:
    probe = Probe()
    probe.receive(*range(1_000, 1_010))
    probe.numbering.losses.begin(SECOND)
    for number in range(anew, anew + 3):
        probe.receive(number, at_ns=SECOND.measure_start_ns + number)
    assert probe.numbering.current.restarts == 1
    first, second = probe.numbering.losses.runs
    assert first.followed == (1_000, 1_009)
    assert second.followed is None
    assert probe.numbering.current.followed == (anew, anew + 2)


@given(st.lists(st.booleans(), min_size=3, max_size=200), st.randoms(use_true_random=False))
def test_the_table_holds_what_never_arrived(arrives: list[bool], chance: Any) -> None:
    """Some of the missing ids arrive after they were given up, in any order."""
    probe = Probe()
    gone = [number for number, there in enumerate(arrives, 1) if not there]
    probe.receive(0, *(number for number, there in enumerate(arrives, 1) if there))
    probe.receive(len(arrives) + 1)
    probe.wait()
    late = chance.sample(gone, len(gone) // 2)
    probe.receive(*late)
    expected = MissingIds()
    for one in sorted(set(gone) - set(late)):
        expected.add(IdRange(one, one))
    ids = probe.losses.ids or MissingIds()
    assert ids.ids == expected.ids == probe.losses.missing
    assert probe.losses.lost == len(gone) == probe.numbering.current.lost


def test_heavy_loss_takes_no_more_space_than_light_loss() -> None:
    probe = Probe()
    probe.receive(*range(0, 40_000, 2))
    probe.wait()
    assert probe.losses.missing == 19_999
    assert probe.losses.ids is not None
    samples = list(probe.losses.ids.samples())
    assert len(samples) == CELLS * len(FIELDS)
    # A list of numbers of one or two words.
    sums = probe.losses.ids._sums
    assert sys.getsizeof(sums) + sum(map(sys.getsizeof, sums)) < 20_000
