"""Soft preferences: cost, failover and Graviton. They are used only to break ties.

Each part is 0 (nothing) to 1 (full credit). The credit is their weighted sum, and the adjusted
score is the score minus the credit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.decision.results import Relation
from latency_sweep.analysis.decision.verdict import GravitonFinding, PreferenceParts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from latency_sweep.analysis.evidence.records import Candidate
    from latency_sweep.analysis.evidence.sample import CandidateSample
    from latency_sweep.analysis.pricing.prices import PriceTable
    from latency_sweep.contract.experiment import Experiment

ARM: Final = "arm64"
_AGAINST_X86: Final = {
    Relation.BETTER: GravitonFinding.FASTER,
    Relation.EQUIVALENT: GravitonFinding.EQUIVALENT,
    Relation.WORSE: GravitonFinding.SLOWER,
    Relation.UNDECIDED: GravitonFinding.NOT_SHOWN_EQUIVALENT,
}
_CREDIT: Final = {
    GravitonFinding.FASTER: 1.0,
    GravitonFinding.EQUIVALENT: 1.0,
    GravitonFinding.SLOWER: 0.0,
    GravitonFinding.NOT_SHOWN_EQUIVALENT: 0.0,
    GravitonFinding.NO_X86: 0.0,
    GravitonFinding.NOT_ARM: 0.0,
    GravitonFinding.UNKNOWN_ARCHITECTURE: None,
}


def price_of(candidate: Candidate, prices: PriceTable) -> float | None:
    """USD per hour of one instance; None where the candidate or the table leaves it open."""
    return prices.price(candidate.get("region"), candidate.get("instance_type"))


def preferences(
    ranked: Sequence[CandidateSample],
    experiment: Experiment,
    prices: PriceTable,
    relate: Callable[[CandidateSample, CandidateSample], Relation],
) -> dict[Candidate, PreferenceParts]:
    """The soft preferences of the candidates that are ranked together.

    Args:
        ranked: the candidates that pass (all of them where none does).
        experiment: weights, architectures, and how near a failover must be.
        prices: USD per hour.
        relate: what the evidence says of one candidate against another.
    """
    weights = experiment.decision.preferences
    within = experiment.decision.redundancy_within_sec
    cost = _cost(ranked, prices)
    parts = {}
    for sample in ranked:
        efficiency = cost.get(sample.candidate)
        redundancy, zones, regions = _redundancy(sample, ranked, within)
        finding, best = _graviton(sample, ranked, experiment, relate)
        graviton = _CREDIT[finding]
        parts[sample.candidate] = PreferenceParts(
            cost=efficiency,
            redundancy=redundancy,
            other_zones=zones,
            other_regions=regions,
            within_sec=within,
            graviton=graviton,
            graviton_finding=finding,
            best_x86=best,
            credit=(
                weights.cost * (efficiency or 0.0)
                + weights.redundancy * (redundancy or 0.0)
                + weights.graviton * (graviton or 0.0)
            ),
        )
    return parts


def _cost(ranked: Sequence[CandidateSample], prices: PriceTable) -> Mapping[Candidate, float]:
    """Cost efficiency: the smallest price times p99 among those ranked, over a candidate's own.

    So half the price is worth as much as half the latency. Where a p99 is not positive the price
    alone counts. Candidates without a price have none.
    """
    known = [(p, price) for p in ranked if (price := price_of(p.candidate, prices)) is not None]
    positive = all(sample.p99 > 0 for sample, _ in known)
    burden = {p.candidate: price * (p.p99 if positive else 1.0) for p, price in known}
    least = min(burden.values(), default=0.0)
    return {candidate: least / own for candidate, own in burden.items()}


def _redundancy(
    sample: CandidateSample, ranked: Sequence[CandidateSample], within: float
) -> tuple[float | None, int, int]:
    """Credit n / (n + 1) for n failovers, other zones and regions that are not slower by `within`.

    Returns:
        The credit, the zones and the regions; no credit for candidates without a region.
    """
    region = sample.candidate.get("region")
    if region is None:
        return None, 0, 0
    near = [other for other in ranked if other.p99 <= sample.p99 + within]
    home = _zones(sample)
    zones = {z for p in near if p.candidate.get("region") == region for z in _zones(p)} | home
    # The candidate itself needs one of its zones; the others are where it could fail over to.
    spare = max(0, len(zones) - 1)
    regions = len({p.candidate.get("region") for p in near} - {region, None})
    failovers = spare + regions
    return failovers / (failovers + 1), spare, regions


def _zones(sample: CandidateSample) -> set[str]:
    own = sample.candidate.get("az_id")
    if own is not None:
        return {own}
    instances = (one for run in sample.runs.values() for one in run.instances)
    return {one.az_id for one in instances if one.az_id is not None}


def _graviton(
    sample: CandidateSample,
    ranked: Sequence[CandidateSample],
    experiment: Experiment,
    relate: Callable[[CandidateSample, CandidateSample], Relation],
) -> tuple[GravitonFinding, str | None]:
    """Whether an Arm type is shown to be no slower than the best x86 type of its region.

    Returns:
        The finding, and the name of that type if there is one.
    """
    architecture = _architecture(sample.candidate, experiment)
    if architecture is None:
        return GravitonFinding.UNKNOWN_ARCHITECTURE, None
    if architecture != ARM:
        return GravitonFinding.NOT_ARM, None
    region = sample.candidate.get("region")
    rivals = [
        other
        for other in ranked
        if other.candidate.get("region") == region
        and _architecture(other.candidate, experiment) not in {ARM, None}
    ]
    if not rivals:
        return GravitonFinding.NO_X86, None
    best = min(rivals, key=lambda other: (other.p99, other.name))
    return _AGAINST_X86[relate(sample, best)], best.name


def _architecture(candidate: Candidate, experiment: Experiment) -> str | None:
    name = candidate.get("instance_type")
    known = experiment.instance_types.get(name) if name is not None else None
    return known.architecture if known is not None else None


def by_preference(
    parts: Mapping[Candidate, PreferenceParts], tied: Sequence[CandidateSample]
) -> list[CandidateSample]:
    """Candidates that cannot be told apart, those with the most credit first."""
    return sorted(tied, key=lambda p: (-parts[p.candidate].credit, p.p99, p.name))
