"""Clocks whose own latencies, or the exchange's time, refute the bound that they claim.

A reading is the true latency plus the error of the local clock less that of the exchange's, and a
true latency is positive. So a reading below zero by more than the local clock's bound says that the
exchange's clock is ahead, or that the bound is wrong; which of the two, the other instances
say, which measured the same events with the same exchange's clock. A clock that is ahead makes
latencies too large, and no latency is too large to be true: there only the exchange's time endpoint
proves anything.

`docs/clock.md` has the rules, and what is only warned of.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from latency_sweep.analysis.evidence.agreement import Agreement, Span, agree
from latency_sweep.analysis.evidence.clock_warnings import ClockWarnings, milliseconds
from latency_sweep.analysis.evidence.least_readings import LeastReadings
from latency_sweep.contract.clocks import EXCHANGE_HOSTS_SEC, EXCHANGE_TOLERANCE_SEC

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from latency_sweep.analysis.evidence.records import (
        Candidate,
        Evidence,
        InstanceEvidence,
        RunEvidence,
    )


@dataclass(frozen=True, slots=True)
class ClockFinding:
    """What the data say of the clocks of one candidate in one run.

    Attributes:
        reasons: why the run must not be used.
        error_sec: the least error of a clock that is proven wrong; None if none is.
        doubts: why it is open whether a clock is right.
    """

    reasons: tuple[str, ...] = ()
    error_sec: float | None = None
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClockFindings:
    """What the data say of all clocks.

    Attributes:
        runs: what there is to say, by candidate and run label.
        warnings: what is proven of nobody, for the report.
    """

    runs: Mapping[tuple[Candidate, str], ClockFinding] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def reasons_against(self, run: RunEvidence) -> tuple[str, ...]:
        """Why a run must not be used, by its source and by its clocks; empty if it may."""
        found = self.runs.get((run.candidate, run.run), ClockFinding())
        return (*run.exclusion_reasons, *found.reasons)

    def of(self, candidate: Candidate) -> dict[str, ClockFinding]:
        """What there is to say of one candidate, by run label."""
        return {run: found for (whose, run), found in self.runs.items() if whose == candidate}


def clock_findings(evidence: Evidence) -> ClockFindings:
    """Judge every instance's clock by the data, run by run."""
    by_run: defaultdict[str, list[RunEvidence]] = defaultdict(list)
    for run in sorted(evidence.runs, key=lambda run: (run.run, run.candidate)):
        by_run[run.run].append(run)
    found: dict[tuple[Candidate, str], ClockFinding] = {}
    warnings = ClockWarnings()
    for label, runs in by_run.items():
        owners = [run.candidate for run in runs for _ in run.instances]
        judged = _JudgedRun(label, [one for run in runs for one in run.instances], warnings)
        for candidate in dict.fromkeys(owners):
            own = [number for number, owner in enumerate(owners) if owner == candidate]
            finding = judged.finding(own)
            if finding != ClockFinding():
                found[candidate, label] = finding
    return ClockFindings(found, warnings.sentences())


class _JudgedRun:
    """The clocks of all instances of one run, by their number."""

    def __init__(
        self, label: str, instances: Sequence[InstanceEvidence], warnings: ClockWarnings
    ) -> None:
        self._label = label
        self._instances = instances
        self._warnings = warnings
        self._reasons: dict[int, str] = {}
        self._errors: dict[int, float] = {}
        self._doubts: dict[int, str] = {}
        # A clock whose own source does not stand by it claims nothing.
        self._claims = {
            number: one.clock_error_bound_sec
            for number, one in enumerate(instances)
            if one.clock_error_bound_sec is not None and one.clock_synchronized
        }
        self._least = LeastReadings(instances, self._claims)
        self._judge_far_from_exchange()
        self._offsets = self._offset_spans()
        endpoint = agree(self._offsets)
        self._judge_contradicted(endpoint)
        self._judge_below_zero()
        self._judge_contested(endpoint)
        for number, doubt in self._doubts.items():
            warnings.doubted(label, instances[number].instance, doubt)
        trusted = {n: self._claims[n] for n in self._claims if n not in self._reasons}
        warnings.compare_paths(label, instances, trusted, self._least)

    def finding(self, numbers: Iterable[int]) -> ClockFinding:
        """What there is to say of some of the instances together."""
        chosen = list(numbers)
        return ClockFinding(
            reasons=tuple(self._reasons[n] for n in chosen if n in self._reasons),
            error_sec=max((self._errors[n] for n in chosen if n in self._errors), default=None),
            doubts=tuple(self._doubts[n] for n in chosen if n in self._doubts),
        )

    def _judge_far_from_exchange(self) -> None:
        """Clocks further from the exchange's than it can be from UTC, unless all agree on that."""
        apart = {
            number: max(one.exchange_offset.low, -one.exchange_offset.high)
            for number, one in enumerate(self._instances)
            if one.exchange_offset is not None
        }
        allowed = {n: self._claims.get(n, 0.0) + EXCHANGE_TOLERANCE_SEC for n in apart}
        far = [number for number, distance in apart.items() if distance > allowed[number]]
        if len(far) == len(apart) > 1:
            shared = agree(self._offset_spans()).span
            if shared is not None and len(far) == len(self._offset_spans()):
                self._warnings.exchange_apart(self._label, shared)
                return
        for number in far:
            self._reasons[number] = (
                f"the clock of {self._instances[number].instance} and the exchange's were at least"
                f" {milliseconds(apart[number])} apart (at most {milliseconds(allowed[number])} can"
                " be explained)"
            )
            if len(far) < len(apart):  # the exchange's clock is right by the others
                self._errors[number] = apart[number] - EXCHANGE_TOLERANCE_SEC

    def _offset_spans(self) -> dict[int, Span]:
        """Error of the exchange's clock by each instance that is still trusted, seconds.

        The middle of the exchange's hosts, one of which answered.
        """
        spans = {}
        for number, claim in self._claims.items():
            offset = self._instances[number].exchange_offset
            if offset is not None and number not in self._reasons:
                margin = claim + EXCHANGE_HOSTS_SEC
                spans[number] = Span(offset.low - margin, offset.high + margin)
        return spans

    def _judge_contradicted(self, endpoint: Agreement) -> None:
        """Clocks that most others contradict by the time endpoint."""
        for number, miss in endpoint.wrong.items():
            self._refute(
                number,
                miss + self._claims[number],
                "by the exchange's time endpoint it contradicts the clocks of most other instances",
            )

    def _judge_below_zero(self) -> None:
        """Clocks whose latencies are too small to be true."""
        showing = {n: b for n, b in self._least.below_zero().items() if n not in self._reasons}
        unlimited = set()
        for number, below in showing.items():
            limit = self._exchange_ahead_at_most(number)
            if limit is None:
                unlimited.add(number)
            elif below > limit:
                self._refute(
                    number,
                    below + self._claims[number] - limit,
                    "its latencies fall further below zero than the exchange's clock can be ahead"
                    " by its time endpoint",
                )
            else:
                self._warnings.ahead_by_endpoint(self._label, below)
        judged = frozenset(self._reasons)
        for moment in (
            self._least.run(excluding=judged),
            *self._least.moments(excluding=judged),
        ):
            below_zero = moment.below_zero()
            if len(below_zero) == 1 < len(moment.least) and below_zero.keys() <= unlimited:
                self._judge_alone_below_zero(*below_zero.popitem())
        self._warn_of_several_below_zero(judged)

    def _warn_of_several_below_zero(self, judged: Collection[int]) -> None:
        """Where latencies of all, or of several, are too small at the same time."""
        for moment in self._least.moments(excluding=judged):
            below_zero = moment.below_zero()
            if len(below_zero) < 2:  # noqa: PLR2004 - nobody to share it with
                continue
            if len(below_zero) == len(moment.least):
                self._warnings.all_below_zero(self._label, min(below_zero.values()))
            else:
                names = [self._instances[n].instance for n in below_zero]
                self._warnings.some_below_zero(self._label, names, max(below_zero.values()))

    def _exchange_ahead_at_most(self, number: int) -> float | None:
        """Most by which the exchange's clock is ahead, by the others; None if they cannot say."""
        others = {n: s for n, s in self._offsets.items() if n not in {number, *self._reasons}}
        span = agree(others).span
        return None if span is None else span.high + EXCHANGE_HOSTS_SEC

    def _judge_alone_below_zero(self, number: int, below: float) -> None:
        """A clock that alone shows latencies below zero, without a time endpoint to ask."""
        one, claim = self._instances[number], self._claims[number]
        others = [n for n in self._claims if n != number and n not in self._reasons]
        rooms = [room for n in others if (room := self._room_for_ahead(n)) is not None]
        if not rooms or below > min(rooms):
            self._refute(
                number,
                below + claim,
                "its latencies are that far below zero, and no other instance's are at that time",
            )
        elif number not in self._errors:
            self._doubts[number] = (
                f"latencies of {one.instance} are {milliseconds(below + claim)} below zero and no"
                f" other instance's are: its clock is wrong by more than the {milliseconds(claim)}"
                " that it claims, or the exchange's is ahead"
            )

    def _room_for_ahead(self, number: int) -> float | None:
        """Most by which the exchange's clock is ahead if no latency exceeds the round trip."""
        trips, least = self._instances[number].round_trips, self._least.of_run(number)
        if trips is None or least is None:
            return None
        return trips.least_sec - least + self._claims[number]

    def _judge_contested(self, endpoint: Agreement) -> None:
        """Clocks that contradict one another by the time endpoint, without a majority."""
        showing = self._least.below_zero()
        contested = {n: self._offsets[n] for n in endpoint.contested if n not in self._reasons}
        suspects = [n for n in contested if n in showing]
        if len(suspects) == 1:
            number = suspects[0]
            others = agree({n: span for n, span in contested.items() if n != number})
            miss = 0.0 if others.span is None else contested[number].beyond(others.span)
            if miss > 0:
                self._refute(
                    number,
                    miss + self._claims[number],
                    "by the exchange's time endpoint it contradicts other instances, and its"
                    " latencies alone are below zero",
                )
                del contested[number]
        for number in agree(contested).contested:
            self._doubts[number] = (
                f"the clock of {self._instances[number].instance} contradicts those of other"
                " instances by the exchange's time endpoint, and it cannot be said which is right"
            )

    def _refute(self, number: int, error_sec: float, why: str) -> None:
        if error_sec <= self._errors.get(number, 0.0):
            return
        claim = milliseconds(self._claims[number])
        self._errors[number] = error_sec
        self._doubts.pop(number, None)
        self._reasons[number] = (
            f"the clock of {self._instances[number].instance} is wrong by at least"
            f" {milliseconds(error_sec)}, though it claims {claim}: {why}"
        )
