"""One core for both comparisons: two candidates of a sweep, and two sweeps."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from latency_sweep.analysis.decision.difference import DifferenceTest, adjust
from latency_sweep.analysis.decision.results import Interval, Margin, Relation
from tests.analysis.candidates import rules, steady

RULE = rules().decision
MARGIN = Margin(0.0002, 0.0002, 0.0, 0.0)


def unpaired(
    first: float, second: float, runs: int = 9, interval: Interval | None = None
) -> DifferenceTest:
    sides = np.array(steady(first, runs)), np.array(steady(second, runs))
    return DifferenceTest.unpaired(*sides, interval, MARGIN)


def test_runs_of_different_times_are_tested_side_against_side() -> None:
    test = unpaired(0.010, 0.012)
    assert (test.first_runs, test.second_runs) == (9, 9)
    assert test.p_value == test.smallest_p
    assert test.shift_sec == pytest.approx(0.002, rel=0.05)
    assert test.shift_ratio == pytest.approx(0.2, rel=0.05)
    assert test.relation(test.p_value, RULE) is Relation.BETTER


def test_a_side_without_runs_decides_nothing() -> None:
    test = DifferenceTest.unpaired(np.array([0.01] * 9), np.empty(0), None, MARGIN)
    assert (test.p_value, test.shift_sec, test.shift_ratio) == (1.0, None, None)
    assert test.relation(0.0, RULE) is Relation.UNDECIDED


def test_equivalence_takes_an_interval_within_the_margin() -> None:
    within, beyond = Interval(-1e-4, 1e-4, 0.95), Interval(-1e-4, 3e-4, 0.95)
    relations = [
        unpaired(0.010, 0.010, interval=interval).relation(1.0, RULE)
        for interval in (within, beyond, Interval(None, 1e-4, 0.95), None)
    ]
    assert relations == [Relation.EQUIVALENT, *[Relation.UNDECIDED] * 3]


def test_too_few_runs_to_find_a_difference_are_not_equivalent() -> None:
    test = unpaired(0.010, 0.010, runs=3, interval=Interval(-1e-4, 1e-4, 0.95))
    assert test.smallest_p == pytest.approx(0.1)
    assert test.relation(1.0, RULE) is Relation.UNDECIDED


def test_a_family_is_adjusted_before_its_tests_are_related() -> None:
    test = dataclasses.replace(unpaired(0.010, 0.012), p_value=0.02)
    alone, family = adjust([test], RULE), adjust([test] * 3, RULE)
    assert [(found.p_holm, found.relation) for found in alone] == [(0.02, Relation.BETTER)]
    assert {(found.p_holm, found.relation) for found in family} == {(0.06, Relation.UNDECIDED)}
