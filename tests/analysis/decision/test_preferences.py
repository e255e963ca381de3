"""Soft preferences."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import pytest

from latency_sweep.analysis.decision.preferences import by_preference, preferences
from latency_sweep.analysis.decision.results import Relation
from latency_sweep.analysis.decision.verdict import GravitonFinding
from latency_sweep.analysis.evidence.records import Candidate
from latency_sweep.analysis.evidence.sample import CandidateSample
from latency_sweep.analysis.pricing.prices import PriceTable
from tests.analysis.candidates import candidate_of, latencies, rules, run_of, runs_of, steady

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.verdict import PreferenceParts

EXPERIMENT = rules()
PRICES = PriceTable(
    date=date(2026, 11, 22),
    source="test",
    verified=True,
    usd_per_hour={
        "ap-northeast-1": {"c6i.large": 0.10, "c6in.large": 0.20, "c7gn.medium": 0.05},
        "ap-southeast-1": {"c6i.large": 0.10},
    },
)


def sample(candidate: Candidate, p99: float = 0.010) -> CandidateSample:
    return CandidateSample(candidate, runs_of(candidate, steady(p99)))


def parts(
    *samples: CandidateSample, relation: Relation = Relation.UNDECIDED
) -> dict[Candidate, PreferenceParts]:
    return preferences(samples, EXPERIMENT, PRICES, lambda _a, _b: relation)


def test_half_the_price_is_worth_half_the_latency() -> None:
    a, b = candidate_of("c6i.large"), candidate_of("c6in.large")
    found = parts(sample(a, 0.020), sample(b, 0.010))
    assert found[a].cost == pytest.approx(1.0, rel=0.01)
    assert found[b].cost == pytest.approx(1.0, rel=0.01)


def test_equal_latency_leaves_the_price_to_decide() -> None:
    a, b = candidate_of("c6i.large"), candidate_of("c6in.large")
    found = parts(sample(a), sample(b))
    assert found[a].cost == 1.0
    assert found[b].cost == pytest.approx(0.5)


def test_an_unknown_price_gives_no_credit() -> None:
    unknown = candidate_of("x9.large")
    found = parts(sample(candidate_of()), sample(unknown))
    assert found[unknown].cost is None


def test_latency_that_is_not_positive_leaves_the_price_to_decide() -> None:
    a, b = candidate_of("c6i.large"), candidate_of("c6in.large")
    found = parts(sample(a), CandidateSample(b, runs_of(b, [-0.010])))
    assert found[a].cost == 1.0
    assert found[b].cost == pytest.approx(0.5)


def test_another_region_within_reach_is_a_failover() -> None:
    home, near = candidate_of(), candidate_of(region="ap-southeast-1")
    found = parts(sample(home, 0.010), sample(near, 0.014))
    assert found[home].redundancy == 0.5
    assert (found[home].other_regions, found[home].within_sec) == (1, 0.005)


def test_another_region_out_of_reach_is_none() -> None:
    home, far = candidate_of(), candidate_of(region="ap-southeast-1")
    found = parts(sample(home, 0.010), sample(far, 0.040))
    assert found[home].redundancy == 0
    # From there, home is within reach.
    assert found[far].redundancy == 0.5


def test_other_zones_of_the_region_are_failovers() -> None:
    dimensions = ("region", "az_id", "instance_type")
    zones = [
        Candidate(dimensions, ("ap-northeast-1", f"apne1-az{n}", "c6i.large")) for n in (1, 2, 4)
    ]
    found = parts(*(sample(zone) for zone in zones))
    assert {p.redundancy for p in found.values()} == {2 / 3}


def test_zones_of_instances_count_where_candidates_are_coarser() -> None:
    run = run_of(candidate_of(), 0, latencies(0.01))
    instances = tuple(replace(run.instances[0], instance=f"i-{n}", az_id=f"az{n}") for n in (1, 2))
    spread = CandidateSample(
        candidate_of(), runs_of(candidate_of(), steady(0.010), instances=instances)
    )
    assert parts(spread)[candidate_of()].redundancy == 0.5


def test_candidates_without_a_region_get_no_redundancy() -> None:
    candidate = Candidate(("instance_type",), ("c6i.large",))
    found = parts(sample(candidate))[candidate]
    assert found.redundancy is None
    assert found.cost is None


@pytest.mark.parametrize(
    ("relation", "credit"),
    [
        (Relation.EQUIVALENT, 1.0),
        (Relation.BETTER, 1.0),
        (Relation.WORSE, 0.0),
        (Relation.UNDECIDED, 0.0),
    ],
)
def test_graviton_is_credited_where_it_is_shown_to_be_no_slower(
    relation: Relation, credit: float
) -> None:
    arm = candidate_of("c7gn.medium")
    found = parts(sample(arm), sample(candidate_of()), relation=relation)
    assert found[arm].graviton == credit
    assert found[candidate_of()].graviton == 0.0


def test_graviton_is_not_compared_across_regions() -> None:
    arm = candidate_of("c7gn.medium")
    found = parts(
        sample(arm), sample(candidate_of(region="ap-southeast-1")), relation=Relation.EQUIVALENT
    )
    assert found[arm].graviton == 0.0
    assert found[arm].graviton_finding is GravitonFinding.NO_X86


def test_an_unknown_type_gets_no_graviton_credit() -> None:
    unknown = candidate_of("x9g.large")
    assert parts(sample(unknown))[unknown].graviton is None


def test_the_credit_is_the_weighted_sum() -> None:
    arm, x86 = candidate_of("c7gn.medium"), candidate_of()
    found = parts(
        sample(arm),
        sample(x86),
        sample(candidate_of(region="ap-southeast-1")),
        relation=Relation.EQUIVALENT,
    )
    assert found[arm].credit == pytest.approx(0.1 * 1.0 + 0.05 * 0.5 + 0.05 * 1.0)


def test_tied_candidates_are_ordered_by_credit() -> None:
    dear, cheap = sample(candidate_of("c6in.large")), sample(candidate_of("c6i.large"))
    assert by_preference(parts(dear, cheap), [dear, cheap]) == [cheap, dear]
