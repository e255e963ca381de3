"""Sweeps of random blocks, from evidence to the verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from latency_sweep.analysis.decision.decide import decide
from latency_sweep.analysis.decision.results import Relation
from latency_sweep.analysis.decision.verdict import ObstacleKind, VerdictKind
from latency_sweep.analysis.report.words.conclusion import reasons, sentence
from latency_sweep.analysis.report.words.next_steps import next_steps
from latency_sweep.contract.timeline import NS_PER_SEC, SEC_PER_DAY, Timeline
from tests.analysis.candidates import candidate_of, evidence, latencies, rules, run_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.analysis.evidence.records import Evidence

EXPERIMENT = rules(
    timing__measurement_sec=600,
    timing__random_blocks={"per_day": 6, "seed": 1, "most": 44},
    decision__bootstrap_resamples=200,
    # Few blocks are simulated; what is decided here is the contest.
    decision__constraints__reconnects_per_hour=10,
    decision__constraints__loss_ratio=0.001,
)
TYPES = tuple(EXPERIMENT.instance_types)
BEST, SECOND, THIRD, FAR = (candidate_of(name).name for name in TYPES)
FIRST_DAY = 20_000


def sweep(
    p99s: Sequence[float],
    blocks: int,
    *,
    kept: bool = False,
    clock: float = 10e-6,
    sd: float = 0.0345,
    skip: int = 0,
) -> Evidence:
    """Blocks of the schedule with p99s (seconds) that vary independently.

    The rival at index 1 has no usable run in the first `skip` blocks.
    """
    rng = np.random.default_rng(1)
    timeline = Timeline.of(EXPERIMENT.timing)
    run = timeline.run_from(FIRST_DAY * SEC_PER_DAY * NS_PER_SEC)
    runs = []
    for block in range(blocks):
        for place, (name, p99) in enumerate(zip(TYPES, p99s, strict=False)):
            latency = latencies(p99 * float(np.exp(sd * rng.standard_normal())), samples=1000)
            seen = run_of(
                candidate_of(name),
                0,
                latency,
                instance="i-kept" if kept else f"i-{block}",
                clock_error_bound_sec=clock,
            )
            late = place == 1 and block < skip
            why = ("late",) if late else ()
            runs.append(replace(seen, run=run.label, stratum=None, exclusion_reasons=why))
        run = timeline.run_after(run)
    return evidence(runs)


def test_a_winner_has_beaten_every_survivor_and_says_for_which_period() -> None:
    verdict = decide(sweep((0.010, 0.0105, 0.0105, 0.020), 16), EXPERIMENT)
    assert (verdict.kind, verdict.winner) == (VerdictKind.WINNER, BEST)
    found = verdict.blocks
    assert found is not None
    assert found.dropped[0].name == FAR
    assert found.dropped[0].block <= 4
    assert not found.general
    assert sentence(verdict).startswith(
        f"{BEST} wins for the measured period ({found.rests_on} blocks on {found.days} days,"
        " 2024-10-04 to "
    )
    assert sentence(verdict).endswith(
        "Nothing is claimed in general: that takes 7 whole days or more that agree."
    )
    assert "Every block had fresh hosts." in reasons(verdict)
    assert not verdict.rule.required_strata


def test_a_second_look_at_grown_data_repeats_the_decision() -> None:
    levels = (0.010, 0.0105, 0.0105, 0.020)
    early, late = (decide(sweep(levels, blocks), EXPERIMENT) for blocks in (16, 30))
    assert early.winner == late.winner == BEST
    assert early.blocks is not None
    assert late.blocks is not None
    assert early.blocks.rests_on == late.blocks.rests_on
    assert early.blocks.dropped == late.blocks.dropped
    leads = [{c.rival: (c.lead, c.relation) for c in x.comparisons} for x in (early, late)]
    assert early.leader == late.leader
    assert leads[0] == leads[1]


def test_before_the_last_block_open_rivals_are_measured_on() -> None:
    verdict = decide(sweep((0.010, 0.0101, 0.020), 10), EXPERIMENT)
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert {o.kind for o in verdict.obstacles} == {ObstacleKind.UNDECIDED_RIVAL}
    assert next_steps(verdict)[0] == (
        f"Measure on: 34 blocks of 44 are left to decide between {verdict.leader} and "
        f"{verdict.obstacles[0].subject}."
    )


def test_after_the_last_block_those_that_are_left_are_a_shortlist() -> None:
    verdict = decide(sweep((0.010, 0.0101, 0.020), 44, sd=0.07), EXPERIMENT)
    assert verdict.kind is VerdictKind.SHORTLIST
    assert set(verdict.tied) == {BEST, SECOND}
    assert f"is one of {verdict.tied[0]} and {verdict.tied[1]}" in sentence(verdict)
    assert "all 44 blocks are measured" in next_steps(verdict)[0]


def test_nobody_beaten_is_no_shortlist() -> None:
    verdict = decide(sweep((0.010, 0.0101), 44, sd=0.07), EXPERIMENT)
    assert verdict.kind is VerdictKind.INCONCLUSIVE


def test_an_interval_within_the_margin_is_a_tie() -> None:
    verdict = decide(sweep((0.010, 0.010), 44, sd=0.01), EXPERIMENT)
    assert verdict.kind is VerdictKind.TIE
    (found,) = verdict.comparisons
    assert found.relation is Relation.EQUIVALENT
    assert found.lead is not None
    assert found.lead.interval.within(EXPERIMENT.decision.equivalence_ratio)


def test_faster_is_not_yet_faster_by_more_than_the_margin() -> None:
    verdict = decide(sweep((0.010, 0.01019), 44, sd=0.008), EXPERIMENT)
    assert verdict.winner == BEST
    (found,) = verdict.comparisons
    assert found.lead is not None
    assert found.lead.interval.low is not None
    assert 0 < found.lead.interval.low < 0.019
    assert not found.lead.beyond_margin
    assert "beyond the margin" not in sentence(verdict)


@pytest.mark.parametrize(("kept", "kind"), [(False, "winner"), (True, "inconclusive")])
def test_clocks_of_kept_hosts_are_in_the_null(kept: bool, kind: str) -> None:  # noqa: FBT001
    evidence_ = sweep((0.010, 0.0105), 44, kept=kept, clock=0.000_25, sd=0.01)
    verdict = decide(evidence_, EXPERIMENT)
    assert verdict.kind == kind
    assert any("about these instances" in text for text in reasons(verdict)) is False
    assert verdict.blocks is not None
    assert verdict.blocks.kept_hosts is kept


def test_a_candidate_that_joins_late_is_compared_over_the_blocks_that_both_have() -> None:
    verdict = decide(sweep((0.010, 0.0108), 30, skip=10), EXPERIMENT)
    assert verdict.winner == BEST
    (found,) = verdict.comparisons
    assert found.lead is not None
    assert found.lead.proven_after is not None
    assert found.lead.proven_after >= 19
    assert found.lead.blocks == found.lead.proven_after - 10


def test_enough_days_prove_it_in_general() -> None:
    verdict = decide(sweep((0.010, 0.0115), 44, sd=0.02), EXPERIMENT)
    assert verdict.blocks is not None
    assert verdict.blocks.general
    assert sentence(verdict).endswith("if days are independent and each counts once.")


def test_without_random_blocks_nothing_changes() -> None:
    plain = rules()
    verdict = decide(sweep((0.010, 0.0105), 12), plain)
    assert verdict.blocks is None
    assert all(found.lead is None for found in verdict.comparisons)
