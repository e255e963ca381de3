"""One finding in one sentence: a constraint, a comparison, a preference, a change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.decision.before_after import Movement
from latency_sweep.analysis.decision.results import ConstraintStatus, Need, Relation, ValueBasis
from latency_sweep.analysis.decision.verdict import GravitonFinding
from latency_sweep.analysis.report.words.quantities import count, duration, ms, percent

if TYPE_CHECKING:
    from collections.abc import Callable

    from latency_sweep.analysis.decision.before_after import CandidateChange
    from latency_sweep.analysis.decision.block_results import Lead
    from latency_sweep.analysis.decision.results import (
        Comparison,
        ConstraintResult,
        Interval,
        Missing,
    )
    from latency_sweep.analysis.decision.verdict import CandidateRow

# What the constraints on counters count.
_COUNTED: Final = {"reconnects": "reconnects", "loss": "lost messages"}
_QUANTILES: Final = {"p99": "p99", "tail_ratio": "p99.9"}

_GRAVITON: Final = {
    GravitonFinding.FASTER: "faster than the best x86 type of the region, {best}.",
    GravitonFinding.EQUIVALENT: "shown equivalent to the best x86 type of the region, {best}.",
    GravitonFinding.SLOWER: "slower than the best x86 type of the region, {best}.",
    GravitonFinding.NOT_SHOWN_EQUIVALENT: (
        "not shown equivalent to the best x86 type of the region, {best}."
    ),
    GravitonFinding.NO_X86: "no x86 type passes in the same region to compare with.",
    GravitonFinding.NOT_ARM: "not an Arm type.",
    GravitonFinding.UNKNOWN_ARCHITECTURE: "the architecture is not known, no credit.",
}


def constraint_evidence(result: ConstraintResult) -> str:
    """What was measured for a constraint, and its limit."""
    write = _UNKNOWN.get(result.basis) or _MEASURED[result.name]
    return write(result)


def constraint_missing(result: ConstraintResult) -> str:
    """What evidence would settle a constraint; empty where it is settled."""
    return "" if result.lacking is None else _NEEDS[result.lacking.need](result, result.lacking)


def comparison(found: Comparison) -> str:
    """The leader against one rival."""
    leader, rival, shift = found.leader, found.rival, found.shift_sec
    if shift is None:
        return f"{leader} and {rival} have no usable run in common."
    if found.lead is not None:
        return _lead(found, found.lead)
    by = _difference(shift, found.shift_ratio)
    facts = f"p = {found.p_holm:.2g} after Holm, n = {found.pairs}"
    if found.close_together:
        facts += f", effective number of runs {found.effective_runs:.1f}"
    margin = ms(found.margin.total_sec)
    if found.relation is Relation.BETTER:
        return f"{leader} is faster than {rival} at p99 by {by} ({facts})."
    if found.relation is Relation.WORSE:
        return f"{rival} is faster than {leader} at p99 by {by} ({facts})."
    if found.relation is Relation.EQUIVALENT:
        return f"{leader} and {rival} differ by less than the margin of {margin} at p99."
    return f"{leader} and {rival} {_undecided(found, by, facts)}"


def _lead(found: Comparison, lead: Lead) -> str:
    leader, rival = found.leader, found.rival
    facts = f"{count(lead.blocks, 'block')}"
    if found.relation is Relation.BETTER:
        beaten = "is proven faster than"
        if lead.dropped_after is not None:
            facts += f"; {rival} was dropped after block {lead.dropped_after}"
            beaten = "is faster than"
        return f"{leader} {beaten} {rival} at p99, {lead_size(found, lead)} ({facts})."
    if found.relation is Relation.WORSE:
        return f"{rival} is faster than {leader} at p99, {lead_size(found, lead)} ({facts})."
    if found.relation is Relation.EQUIVALENT:
        return (
            f"{leader} and {rival} differ by less than the margin at p99,"
            f" {lead_size(found, lead)} ({facts})."
        )
    return f"{leader} and {rival} cannot be told apart: {lead_size(found, lead)} ({facts})."


def lead_size(found: Comparison, lead: Lead) -> str:
    """The interval of a lead in per cent of the leader's p99; whether it exceeds the margin."""
    low, high = lead.interval.low, lead.interval.high
    beyond = ", which is beyond the margin" if lead.beyond_margin else ""
    if low is not None and high is not None:
        return f"{rival_slower(low)} to {rival_slower(high)}{beyond}"
    if low is not None:
        return f"{rival_slower(low)} or more{beyond}"
    if high is not None:
        return f"at most {rival_slower(high)}"
    if found.shift_ratio is not None:
        return f"about {rival_slower(found.shift_ratio)}, too few blocks for an interval"
    return "too few blocks for an interval"


def rival_slower(ratio: float) -> str:
    """By how much the rival is slower, with its sign."""
    return f"{100 * ratio:+.1f} %"


def _undecided(found: Comparison, by: str, facts: str) -> str:
    if found.pairs < found.fewest_pairs:
        against = f" against {count(found.rivals, 'rival')}" if found.rivals > 1 else ""
        return (
            f"share {count(found.pairs, 'usable run')}; proving a difference at"
            f" {percent(found.confidence)} confidence{against} takes at least {found.fewest_pairs}."
        )
    if found.p_holm < 1 - found.confidence:
        return (
            f"differ by {by} at p99 ({facts}), but the difference is not proven to exceed the"
            f" margin of {ms(found.margin.total_sec)}."
        )
    return f"cannot be told apart: a difference of {by} at p99 ({facts})."


def mann_whitney_note(found: Comparison) -> str:
    """Says so where Mann-Whitney cannot be significant whatever the data; else empty."""
    if found.mann_whitney_smallest_p < 1 - found.confidence:
        return ""
    return (
        f"With {found.leader_runs} against {found.rival_runs} runs Mann-Whitney cannot reach"
        f" p < {1 - found.confidence:.2g}; its smallest possible p is"
        f" {found.mann_whitney_smallest_p:.2g}."
    )


def preference_notes(row: CandidateRow) -> tuple[str, ...]:
    """What the soft preferences of a candidate rest on, one sentence per part."""
    parts = row.preferences
    if parts is None:
        return ("Preferences are weighed between candidates that pass.",)
    cost = "Cost: no price known, no credit."
    if row.usd_per_hour is not None:
        cost = f"Cost: {row.usd_per_hour:.4f} USD per hour and instance."
    redundancy = "Redundancy: candidates are not distinguished by region, no credit."
    if parts.redundancy is not None:
        redundancy = (
            f"Redundancy: {count(parts.other_zones, 'other zone')} of the region and"
            f" {count(parts.other_regions, 'other region')} within"
            f" {ms(parts.within_sec)}."
        )
    graviton = _GRAVITON[parts.graviton_finding].replace("{best}", parts.best_x86 or "")
    return (cost, redundancy, f"Graviton: {graviton}")


def change(found: CandidateChange) -> str:
    """What happened to one candidate, or how one differs from another."""
    both = f"{found.after} and {found.before}"
    two = found.after != found.before
    if found.shift_sec is None:
        if two:
            return f"One of {both} has no usable run."
        return f"{found.after} has no usable run on one of the sides."
    by = _difference(found.shift_sec, found.shift_ratio)
    runs = f"n = {found.runs_after}"
    if not found.paired:
        runs = f"n = {found.runs_before} and {found.runs_after}"
    facts = f"p = {found.p_holm:.2g} after Holm, {runs}"
    margin = ms(found.margin.total_sec)
    if found.movement in {Movement.FASTER, Movement.SLOWER}:
        what = f"is {found.movement} than {found.before}" if two else f"became {found.movement}"
        return f"{found.after} {what} at p99 by {by} ({facts})."
    if found.movement is Movement.UNCHANGED:
        what = f"{both} differ" if two else f"{found.after} changed"
        return f"{what} by less than the margin of {margin} at p99."
    if found.smallest_p >= 1 - found.confidence:
        what = f"{both} have" if two else f"{found.after} has"
        return (
            f"{what} too few runs for any change to be significant"
            f" ({runs}; the smallest possible p is {found.smallest_p:.2g})."
        )
    what = f"{both} show no proven difference" if two else f"{found.after} shows no proven change"
    return f"{what} at p99: {by} ({facts}; margin {margin})."


def _difference(shift: float, ratio: float | None) -> str:
    relative = "" if ratio is None else f", {percent(abs(ratio))}"
    return f"{ms(abs(shift))}{relative}"


def _p99(result: ConstraintResult) -> str:
    value = ms(result.value or 0.0)
    return (
        f"p99 is {value} ({_span(result.interval, ms)}), limit {ms(result.limit)};"
        f" {_sampled(result)}."
    )


def _tail_ratio(result: ConstraintResult) -> str:
    return (
        f"p99.9 / p99 is {result.value or 0.0:.2f}"
        f" ({_span(result.interval, '{:.2f}'.format)}), limit {result.limit:g};"
        f" {_sampled(result)}."
    )


def _reconnects(result: ConstraintResult) -> str:
    events, hours = result.events or 0, result.exposure or 0.0
    return (
        f"{count(events, 'unplanned reconnect')} in {duration(hours)}:"
        f" {_bound(result, '{:.2f}/h'.format)}, limit {result.limit:g}/h."
    )


def _loss(result: ConstraintResult) -> str:
    sent = round(result.exposure or 0)
    more = result.never_sent or 0
    never_sent = f" {count(more, 'more message')} missing: never sent to anyone." if more else ""
    return (
        f"{count(result.events or 0)} of {count(sent, 'message')} lost; loss"
        f" {_bound(result, percent)}, limit {percent(result.limit)}.{never_sent}"
    )


def _samples(result: ConstraintResult) -> str:
    return (
        f"{count(result.samples, 'latency sample')}, at least {count(round(result.limit))} needed."
    )


def _runs(result: ConstraintResult) -> str:
    excluded = f" ({count(result.runs_affected)} more excluded)" if result.runs_affected else ""
    return f"{count(result.runs, 'usable run')}{excluded}, at least {result.limit:g} needed."


def _clock(result: ConstraintResult) -> str:
    return (
        f"The clock error is at most {ms(result.value or 0.0)}, limit {ms(result.limit)}."
        f"{_unsynchronised(result)}"
    )


def _clock_unknown(result: ConstraintResult) -> str:
    return f"The clock error bound is not known.{_unsynchronised(result)}"


def _clock_refuted(result: ConstraintResult) -> str:
    return (
        f"The clock is wrong by at least {ms(result.value or 0.0)}, by the data of"
        f" {count(result.runs_affected, 'run')}; what it claims cannot be relied on."
    )


def _clock_doubted(result: ConstraintResult) -> str:
    return (
        "It is open whether the clock is right, by the data of"
        f" {count(result.runs_affected, 'run')}."
    )


def _unsynchronised(result: ConstraintResult) -> str:
    if not result.runs_affected:
        return ""
    return f" The clock was not synchronised in {count(result.runs_affected, 'run')}."


def _not_counted(result: ConstraintResult) -> str:
    which = ""
    if result.runs_affected:
        which = f" for {result.runs_affected} of {count(result.runs, 'run')}"
    return f"The number of {_COUNTED[result.name]} is not known{which}."


def _p99_not_positive(result: ConstraintResult) -> str:
    return f"p99 is {ms(result.p99_sec or 0.0)}: not positive, so p99.9 / p99 is undefined."


_MEASURED: Final[dict[str, Callable[[ConstraintResult], str]]] = {
    "p99": _p99,
    "tail_ratio": _tail_ratio,
    "reconnects": _reconnects,
    "loss": _loss,
    "samples": _samples,
    "runs": _runs,
    "clock": _clock,
}
_UNKNOWN: Final[dict[ValueBasis, Callable[[ConstraintResult], str]]] = {
    ValueBasis.NO_DATA: lambda _: "There is no usable observation.",
    ValueBasis.NOT_COUNTED: _not_counted,
    ValueBasis.NO_CONNECTED_TIME: (
        lambda _: "The probe was never connected, so reconnects could not be counted."
    ),
    ValueBasis.P99_NOT_POSITIVE: _p99_not_positive,
    ValueBasis.CLOCK_UNKNOWN: _clock_unknown,
    ValueBasis.CLOCK_REFUTED: _clock_refuted,
    ValueBasis.CLOCK_DOUBTED: _clock_doubted,
}


def _more_usable_runs(_result: ConstraintResult, missing: Missing) -> str:
    if missing.more is None:
        return "At least one usable run."
    return f"{count(round(missing.more), 'more usable run')}."


def _more_samples(result: ConstraintResult, missing: Missing) -> str:
    more = count(round(missing.more or 0), "more sample")
    quantile = _QUANTILES.get(result.name)
    return f"{more}: {quantile} has no upper bound with fewer." if quantile else f"{more}."


def _more_runs(result: ConstraintResult, _missing: Missing) -> str:
    return f"More runs: the limit lies inside the interval of {_QUANTILES[result.name]}."


def _more_hours(result: ConstraintResult, missing: Missing) -> str:
    more = missing.more or 0.0
    return (
        f"{duration(more)} more without another reconnect"
        f" ({duration(more + (result.exposure or 0.0))} in total)."
    )


def _more_messages(_result: ConstraintResult, missing: Missing) -> str:
    return f"{count(round(missing.more or 0), 'more message')} without another loss."


def _counters(result: ConstraintResult, _missing: Missing) -> str:
    return f"Runs in which {_COUNTED[result.name]} are counted."


_NEEDS: Final[dict[Need, Callable[[ConstraintResult, Missing], str]]] = {
    Need.USABLE_RUNS: _more_usable_runs,
    Need.SAMPLES: _more_samples,
    Need.RUNS: _more_runs,
    Need.CONNECTED_HOURS: _more_hours,
    Need.CONNECTED_RUNS: lambda *_: "Runs in which the probe is connected.",
    Need.MESSAGES: _more_messages,
    Need.COUNTERS: _counters,
    Need.CLOCK_BOUND: (
        lambda *_: "A clock error bound in every run (chrony, ClockBound or a PHC)."
    ),
    Need.BETTER_CLOCK: lambda *_: "A better clock, such as the PHC or Amazon NTP.",
    Need.SYNCHRONIZED_CLOCK: lambda *_: "Runs with a synchronised clock.",
    Need.AGREEING_CLOCK: lambda *_: "A clock that agrees with the exchange's.",
    Need.UNDISPUTED_CLOCK: (
        lambda *_: "The exchange's time endpoint, or more instances, to say whose clock is right."
    ),
}


def _sampled(result: ConstraintResult) -> str:
    return f"{count(result.samples, 'sample')} in {count(result.runs, 'run')}"


def _span(interval: Interval | None, form: Callable[[float], str]) -> str:
    if interval is None:
        return "no interval"
    low = "?" if interval.low is None else form(interval.low)
    high = "?" if interval.high is None else form(interval.high)
    return f"{percent(interval.confidence)} interval {low} to {high}"


def _bound(result: ConstraintResult, form: Callable[[float], str]) -> str:
    """The bound that the status rests on: a violated limit rests on the lower one."""
    interval = result.interval
    if interval is None or interval.low is None or interval.high is None:
        return "no bound"
    low, high = form(interval.low), form(interval.high)
    bound = f"at least {low}" if result.status is ConstraintStatus.FAIL else f"at most {high}"
    return f"{bound} at {percent(interval.confidence)} confidence"
