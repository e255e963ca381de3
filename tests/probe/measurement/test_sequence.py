"""The sequence check counts what is missing, twice there, or late."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.probe.measurement.sequence import (
    GRACE_NS,
    REMEMBER_NS,
    Seen,
    SequenceCheck,
)


def seen(ids: list[int], *, step_ns: int = 0) -> SequenceCheck:
    check = SequenceCheck(per_id=True)
    for number, value in enumerate(ids):
        check.see(value, value, number * step_ns)
    return check


def settled(check: SequenceCheck) -> tuple[int, int, int, int]:
    check.expire(10**18)
    return check.gaps, check.lost, check.duplicates, check.out_of_order


def test_consecutive_ids_show_nothing() -> None:
    assert settled(seen([5, 6, 7, 8])) == (0, 0, 0, 0)


def test_a_jump_is_one_gap_and_as_many_losses_as_ids() -> None:
    assert settled(seen([5, 6, 10])) == (1, 3, 0, 0)


def test_a_repeated_id_is_a_duplicate() -> None:
    assert settled(seen([5, 6, 6, 5])) == (0, 0, 2, 0)


def test_late_is_not_lost() -> None:
    assert settled(seen([5, 7, 6, 8])) == (1, 0, 0, 1)


def test_a_late_message_is_no_duplicate_but_its_repetition_is() -> None:
    assert settled(seen([5, 7, 6, 6])) == (1, 0, 1, 1)


def test_too_late_stays_lost() -> None:
    assert settled(seen([5, 7, 8, 6], step_ns=GRACE_NS)) == (1, 1, 0, 1)


def test_loss_waits_for_the_grace_period() -> None:
    check = seen([5, 7])
    check.expire(GRACE_NS - 1)
    assert (check.lost, check.pending) == (0, 1)
    check.expire(GRACE_NS)
    assert (check.lost, check.pending) == (1, 0)


def test_restart_accepts_any_id_and_gives_up_what_is_pending() -> None:
    check = seen([5, 7])
    check.restart()
    check.see(100, 100, 0)
    assert settled(check) == (1, 1, 0, 0)


def test_ranges_count_one_loss_for_each_hole() -> None:
    check = SequenceCheck(per_id=False)
    for first, last in ((1, 5), (6, 9), (20, 25), (26, 30)):
        check.see(first, last, 0)
    assert settled(check) == (1, 1, 0, 0)


def test_a_range_that_overlaps_the_last_one_is_no_gap() -> None:
    check = SequenceCheck(per_id=False)
    check.see(1, 5, 0)
    check.see(4, 8, 0)
    check.see(9, 9, 0)
    assert settled(check) == (0, 0, 0, 0)


IDS = st.lists(st.integers(min_value=1, max_value=60), min_size=1, max_size=120)


@given(IDS)
def test_every_id_is_seen_pending_or_lost(ids: list[int]) -> None:
    check = seen(ids)
    first = ids[0]
    distinct = len({i for i in ids if i >= first})
    assert distinct + check.lost + check.pending == max(ids) - first + 1


@given(IDS)
def test_every_message_is_counted_once(ids: list[int]) -> None:
    check = seen(ids)
    records = [i for n, i in enumerate(ids) if n == 0 or i > max(ids[:n])]
    assert len(ids) == len(records) + check.duplicates + check.out_of_order


@given(st.permutations(range(1, 20)))
def test_reordering_alone_neither_loses_nor_repeats_anything(ids: list[int]) -> None:
    check = seen(ids)
    assert (check.lost, check.pending, check.duplicates) == (0, 0, 0)


@given(st.permutations(range(1, 20)))
def test_every_repetition_is_a_duplicate(ids: list[int]) -> None:
    check = seen([*ids, *ids])
    assert check.duplicates == len(ids)


@given(st.sets(st.integers(min_value=2, max_value=200)))
def test_lost_ids_are_counted_exactly(dropped: set[int]) -> None:
    ids = [i for i in range(1, 202) if i not in dropped]
    assert settled(seen(ids))[1] == len(dropped)


def test_what_a_faster_connection_brought_is_no_duplicate() -> None:
    check = seen([5, 6, 7])
    assert check.see(6, 6, 0, Seen.NEW) is Seen.REPEATED
    assert check.duplicates == 0


def test_what_another_connection_fills_in_is_not_out_of_order() -> None:
    check = seen([5, 7])
    assert check.see(6, 6, 0, Seen.NEW) is Seen.LATE
    assert settled(check) == (1, 0, 0, 0)


def test_what_is_late_on_its_own_connection_is_out_of_order() -> None:
    check = seen([5, 7])
    assert check.see(6, 6, 0, Seen.LATE) is Seen.LATE
    assert settled(check) == (1, 0, 0, 1)


@given(st.lists(st.booleans(), min_size=60, max_size=60), st.lists(st.booleans(), min_size=60))
def test_two_connections_lose_only_what_both_lose(first: list[bool], second: list[bool]) -> None:
    """Each connection delivers in order what it does not drop; they take turns."""
    check = SequenceCheck(per_id=True)
    check.see(0, 0, 0)
    fresh = 1
    for number, (a, b) in enumerate(zip(first, second, strict=False), start=1):
        for delivered in (a, b):
            if delivered:
                fresh += check.see(number, number, 0, Seen.NEW) is not Seen.REPEATED
    check.see(61, 61, 0, Seen.NEW)
    lost = sum(1 for a, b in zip(first, second, strict=False) if not (a or b))
    assert settled(check)[1:] == (lost, 0, 0)
    assert fresh == 61 - lost


def test_what_comes_after_it_was_given_up_is_found() -> None:
    check = SequenceCheck(per_id=True)
    check.see(1, 1, 0)
    check.see(4, 4, 0)
    check.expire(2 * GRACE_NS)
    check.see(2, 2, 2 * GRACE_NS)
    assert (check.lost, check.recovered) == (2, 1)


def test_what_comes_late_but_in_time_was_never_lost() -> None:
    check = SequenceCheck(per_id=True)
    check.see(1, 1, 0)
    check.see(3, 3, 0)
    check.see(2, 2, GRACE_NS // 2)
    assert (check.lost, check.recovered) == (0, 0)


def test_a_lost_range_is_found_when_nothing_of_it_is_missing() -> None:
    check = SequenceCheck(per_id=False)
    check.see(1, 5, 0)
    check.see(16, 20, 0)
    check.expire(2 * GRACE_NS)
    check.see(6, 10, 2 * GRACE_NS)
    assert (check.lost, check.recovered) == (1, 0)
    check.see(11, 15, 2 * GRACE_NS)
    assert (check.lost, check.recovered) == (1, 1)


@given(st.permutations(range(1, 12)), st.integers(0, 11))
def test_of_lost_ranges_as_many_are_missing_as_there_are_holes(
    order: list[int], arriving: int
) -> None:
    """However they come in the end; so never more are found than were lost."""
    check = SequenceCheck(per_id=False)
    check.see(0, 4, 0)
    check.see(60, 64, 0)
    check.expire(2 * GRACE_NS)
    for number in order[:arriving]:
        check.see(5 * number, 5 * number + 4, 2 * GRACE_NS)
    missing = set(order[arriving:])
    gaps = sum(number - 1 not in missing for number in missing)
    assert check.lost - check.recovered == gaps
    assert check.out_of_order == arriving


def test_a_message_older_than_the_first_one_seen_was_never_lost() -> None:
    check = SequenceCheck(per_id=True)
    check.see(10, 10, 0)
    check.see(7, 7, 0)
    check.see(8, 8, 2 * GRACE_NS)
    assert (check.lost, check.recovered) == (0, 0)


@given(st.integers(1, 50))
def test_gaps_take_no_memory_for_good(gaps: int) -> None:
    check = SequenceCheck(per_id=True)
    apart_ns = GRACE_NS + REMEMBER_NS
    for number in range(gaps):
        check.see(2 * number, 2 * number, number * apart_ns)
    assert check.lost + check.pending == gaps - 1
    assert len(check._missing) <= 2


def test_what_was_lost_long_ago_is_taken_for_repeated() -> None:
    check = SequenceCheck(per_id=True)
    check.see(1, 1, 0)
    check.see(3, 3, 0)
    much_later = 2 * (GRACE_NS + REMEMBER_NS)
    check.expire(much_later)
    check.see(5, 5, much_later)
    assert check.see(2, 2, much_later) is Seen.REPEATED
    assert (check.lost, check.recovered, check.pending) == (1, 0, 1)
