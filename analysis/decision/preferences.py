"""Soft preferences: cost, failover and Graviton. They order what the evidence leaves open.

Each part is 0 (nothing) to 1 (full credit). The credit is their weighted sum, and the adjusted
score is the score minus the credit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.analysis.decision.verdict import PreferenceParts, Relation
from latency_sweep.analysis.wording import count, ms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from latency_sweep.analysis.evidence.pool import Pool
    from latency_sweep.analysis.evidence.records import Candidate
    from latency_sweep.analysis.pricing.prices import PriceTable
    from latency_sweep.contract.experiment import Experiment

ARM = "arm64"


def price_of(candidate: Candidate, prices: PriceTable) -> float | None:
    """USD per hour of one instance; None where the candidate or the table leaves it open."""
    return prices.price(candidate.get("region"), candidate.get("instance_type"))


def preferences(
    ranked: Sequence[Pool],
    experiment: Experiment,
    prices: PriceTable,
    relate: Callable[[Pool, Pool], Relation],
) -> dict[Candidate, PreferenceParts]:
    """The soft preferences of the candidates that are ranked together.

    Args:
        ranked: the candidates that pass (all of them where none does).
        experiment: weights, architectures, and how near a failover must be.
        prices: USD per hour.
        relate: what the evidence says of one candidate against another.
    """
    weights = experiment.decision.preferences
    cost = _cost(ranked, prices)
    parts = {}
    for pool in ranked:
        efficiency, cost_note = cost[pool.candidate]
        redundancy, redundancy_note = _redundancy(
            pool, ranked, experiment.decision.redundancy_within_sec
        )
        graviton, graviton_note = _graviton(pool, ranked, experiment, relate)
        credit = (
            weights.cost * (efficiency or 0.0)
            + weights.redundancy * (redundancy or 0.0)
            + weights.graviton * (graviton or 0.0)
        )
        notes = (cost_note, redundancy_note, graviton_note)
        parts[pool.candidate] = PreferenceParts(efficiency, redundancy, graviton, credit, notes)
    return parts


def _cost(
    ranked: Sequence[Pool], prices: PriceTable
) -> Mapping[Candidate, tuple[float | None, str]]:
    """Cost efficiency: the smallest price times p99 among those ranked, over a candidate's own.

    So half the price is worth as much as half the latency. Where a p99 is not positive the price
    alone counts.
    """
    known = [(p, price) for p in ranked if (price := price_of(p.candidate, prices)) is not None]
    positive = all(pool.p99 > 0 for pool, _ in known)
    burden = {p.candidate: price * (p.p99 if positive else 1.0) for p, price in known}
    least = min(burden.values(), default=0.0)
    result: dict[Candidate, tuple[float | None, str]] = {}
    for pool in ranked:
        price = price_of(pool.candidate, prices)
        if price is None:
            result[pool.candidate] = (None, "Cost: no price known, no credit.")
        else:
            part = least / burden[pool.candidate]
            result[pool.candidate] = (part, f"Cost: {price:.4f} USD per hour and instance.")
    return result


def _redundancy(pool: Pool, ranked: Sequence[Pool], within: float) -> tuple[float | None, str]:
    """Credit n / (n + 1) for n failovers: other zones and regions, not slower by `within`."""
    region = pool.candidate.get("region")
    if region is None:
        return None, "Redundancy: candidates are not told apart by region, no credit."
    near = [other for other in ranked if other.p99 <= pool.p99 + within]
    home = _zones(pool)
    zones = {z for p in near if p.candidate.get("region") == region for z in _zones(p)} | home
    # The place itself needs one of its zones; the others are where it could fail over to.
    spare = max(0, len(zones) - 1)
    regions = {p.candidate.get("region") for p in near} - {region, None}
    failovers = spare + len(regions)
    note = (
        f"Redundancy: {count(spare, 'other zone')} of the region and"
        f" {count(len(regions), 'other region')} within {ms(within)}."
    )
    return failovers / (failovers + 1), note


def _zones(pool: Pool) -> set[str]:
    own = pool.candidate.get("az_id")
    if own is not None:
        return {own}
    return {replica.az_id for run in pool.runs.values() for replica in run.replicas}


def _graviton(
    pool: Pool,
    ranked: Sequence[Pool],
    experiment: Experiment,
    relate: Callable[[Pool, Pool], Relation],
) -> tuple[float | None, str]:
    """1 for an Arm type that is shown to be no slower than the best x86 type of its region."""
    architecture = _architecture(pool.candidate, experiment)
    if architecture is None:
        return None, "Graviton: the architecture is not known, no credit."
    if architecture != ARM:
        return 0.0, "Graviton: not an Arm type."
    region = pool.candidate.get("region")
    rivals = [
        other
        for other in ranked
        if other.candidate.get("region") == region
        and _architecture(other.candidate, experiment) not in {ARM, None}
    ]
    if not rivals:
        return 0.0, "Graviton: no x86 type passes in the same region to compare with."
    best = min(rivals, key=lambda other: (other.p99, other.name))
    relation = relate(pool, best)
    if relation is Relation.BETTER:
        return 1.0, f"Graviton: faster than the best x86 type of the region, {best.name}."
    if relation is Relation.EQUIVALENT:
        return 1.0, f"Graviton: shown equivalent to the best x86 type of the region, {best.name}."
    verb = "is slower than" if relation is Relation.WORSE else "is not shown equivalent to"
    return 0.0, f"Graviton: {verb} the best x86 type of the region, {best.name}."


def _architecture(candidate: Candidate, experiment: Experiment) -> str | None:
    name = candidate.get("instance_type")
    known = experiment.instance_types.get(name) if name is not None else None
    return known.architecture if known is not None else None


def by_preference(parts: Mapping[Candidate, PreferenceParts], tied: Sequence[Pool]) -> list[Pool]:
    """Places that cannot be told apart, those with the most credit first."""
    return sorted(tied, key=lambda p: (-parts[p.candidate].credit, p.p99, p.name))
