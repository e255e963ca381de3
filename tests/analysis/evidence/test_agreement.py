"""Who is wrong among witnesses of one value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.analysis.evidence.agreement import Span, agree


@given(
    value=st.floats(-1, 1),
    right=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6),
    wrong=st.lists(st.tuples(st.floats(-2, 2), st.floats(0, 1)), max_size=5),
)
def test_while_most_are_right_no_right_one_is_called_wrong(
    value: float, right: list[tuple[float, float]], wrong: list[tuple[float, float]]
) -> None:
    spans = [Span(value - below, value + above) for below, above in right]
    spans += [Span(low, low + width) for low, width in wrong][: len(right) - 1]
    found = agree(dict(enumerate(spans)))
    # Those that meet all others are no voters, so that the wrong may be most of the voters.
    voters = [n for n, span in enumerate(spans) if any(not span.meets(o) for o in spans)]
    truthful = [n for n in voters if spans[n].low <= value <= spans[n].high]
    if 2 * len(truthful) > len(voters):
        assert not set(truthful) & found.wrong.keys()
        assert all(miss <= spans[n].beyond(Span(value, value)) for n, miss in found.wrong.items())


def test_one_among_three_is_outvoted_by_its_distance() -> None:
    found = agree({0: Span(0, 1), 1: Span(0.5, 2), 2: Span(5, 6)})
    assert found.wrong == pytest.approx({2: 4.0})
    assert (found.span, found.contested) == (Span(0.5, 1), frozenset())


@pytest.mark.parametrize(
    "spans",
    [
        {0: Span(0, 1), 1: Span(2, 3)},
        {0: Span(0, 1), 1: Span(2, 3), 2: Span(-100, 100)},
        {0: Span(0, 1), 1: Span(2, 3), 2: Span(0, 1), 3: Span(2, 3)},
    ],
    ids=["two", "two and one that agrees with both", "two against two"],
)
def test_without_a_majority_all_that_disagree_are_contested(spans: dict[int, Span]) -> None:
    found = agree(spans)
    assert (found.span, found.wrong) == (None, {})
    assert found.contested == {n for n, span in spans.items() if span.high < 100}


def test_those_that_agree_narrow_one_another() -> None:
    assert agree({3: Span(-5, 5), 7: Span(1, 9)}) == (Span(1, 5), {}, frozenset())
    assert agree({}) == (None, {}, frozenset())


def test_one_that_contradicts_itself_is_wrong_among_others_that_agree() -> None:
    found = agree({0: Span(0, 1), 1: Span(0, 1), 2: Span(3, -3)})
    assert found.wrong == pytest.approx({2: 3.0})
