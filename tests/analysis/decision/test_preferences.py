"""Soft preferences."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from latency_sweep.analysis.decision.preferences import by_preference, preferences
from latency_sweep.analysis.decision.verdict import Relation
from latency_sweep.analysis.evidence.pool import Pool
from latency_sweep.analysis.evidence.records import Candidate, ReplicaEvidence
from latency_sweep.analysis.pricing.prices import PriceTable
from tests.analysis.places import latencies, place, rules, runs_of, steady

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


def pool(candidate: Candidate, p99: float = 0.010) -> Pool:
    return Pool(candidate, runs_of(candidate, steady(p99)))


def parts(
    *pools: Pool, relation: Relation = Relation.UNDECIDED
) -> dict[Candidate, PreferenceParts]:
    return preferences(pools, EXPERIMENT, PRICES, lambda _a, _b: relation)


def test_half_the_price_is_worth_half_the_latency() -> None:
    a, b = place("c6i.large"), place("c6in.large")
    found = parts(pool(a, 0.020), pool(b, 0.010))
    assert found[a].cost == pytest.approx(1.0, rel=0.01)
    assert found[b].cost == pytest.approx(1.0, rel=0.01)


def test_equal_latency_leaves_the_price_to_decide() -> None:
    a, b = place("c6i.large"), place("c6in.large")
    found = parts(pool(a), pool(b))
    assert found[a].cost == 1.0
    assert found[b].cost == pytest.approx(0.5)
    assert found[a].notes[0] == "Cost: 0.1000 USD per hour and instance."


def test_an_unknown_price_gives_no_credit() -> None:
    unknown = place("x9.large")
    found = parts(pool(place()), pool(unknown))
    assert found[unknown].cost is None
    assert "no price known" in found[unknown].notes[0]


def test_latency_that_is_not_positive_leaves_the_price_to_decide() -> None:
    a, b = place("c6i.large"), place("c6in.large")
    found = parts(pool(a), Pool(b, runs_of(b, [-0.010])))
    assert found[a].cost == 1.0
    assert found[b].cost == pytest.approx(0.5)


def test_another_region_within_reach_is_a_failover() -> None:
    home, near = place(), place(region="ap-southeast-1")
    found = parts(pool(home, 0.010), pool(near, 0.014))
    assert found[home].redundancy == 0.5
    assert "1 other region within 5 ms" in found[home].notes[1]


def test_another_region_out_of_reach_is_none() -> None:
    home, far = place(), place(region="ap-southeast-1")
    found = parts(pool(home, 0.010), pool(far, 0.040))
    assert found[home].redundancy == 0
    # From there, home is within reach.
    assert found[far].redundancy == 0.5


def test_other_zones_of_the_region_are_failovers() -> None:
    dimensions = ("region", "az_id", "instance_type")
    zones = [
        Candidate(dimensions, ("ap-northeast-1", f"apne1-az{n}", "c6i.large")) for n in (1, 2, 4)
    ]
    found = parts(*(pool(zone) for zone in zones))
    assert {p.redundancy for p in found.values()} == {2 / 3}


def test_zones_of_replicas_count_where_candidates_are_coarser() -> None:
    replicas = tuple(
        ReplicaEvidence(f"i-{n}", f"az{n}", latencies(0.01), 1, 0, 0, 1.0, 1.0, 0.0, True)
        for n in (1, 2)
    )
    spread = Pool(place(), runs_of(place(), steady(0.010), replicas=replicas))
    assert parts(spread)[place()].redundancy == 0.5


def test_candidates_without_a_region_get_no_redundancy() -> None:
    candidate = Candidate(("instance_type",), ("c6i.large",))
    found = parts(pool(candidate))[candidate]
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
    arm = place("c7gn.medium")
    found = parts(pool(arm), pool(place()), relation=relation)
    assert found[arm].graviton == credit
    assert found[place()].graviton == 0.0


def test_graviton_is_not_compared_across_regions() -> None:
    arm = place("c7gn.medium")
    found = parts(pool(arm), pool(place(region="ap-southeast-1")), relation=Relation.EQUIVALENT)
    assert found[arm].graviton == 0.0
    assert "no x86 type passes in the same region" in found[arm].notes[2]


def test_an_unknown_type_gets_no_graviton_credit() -> None:
    unknown = place("x9g.large")
    assert parts(pool(unknown))[unknown].graviton is None


def test_the_credit_is_the_weighted_sum() -> None:
    arm, x86 = place("c7gn.medium"), place()
    found = parts(
        pool(arm), pool(x86), pool(place(region="ap-southeast-1")), relation=Relation.EQUIVALENT
    )
    assert found[arm].credit == pytest.approx(0.1 * 1.0 + 0.05 * 0.5 + 0.05 * 1.0)


def test_tied_places_are_ordered_by_credit() -> None:
    dear, cheap = pool(place("c6in.large")), pool(place("c6i.large"))
    assert by_preference(parts(dear, cheap), [dear, cheap]) == [cheap, dear]
