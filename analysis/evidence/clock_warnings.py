"""What the data say of clocks without proving one of them wrong: warnings, the worst of a kind."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from typing import TYPE_CHECKING

from latency_sweep.analysis.evidence.agreement import Span, agree
from latency_sweep.analysis.evidence.timestamps import Readings, lateness
from latency_sweep.contract.targets import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from latency_sweep.analysis.evidence.least_readings import LeastReadings
    from latency_sweep.analysis.evidence.records import InstanceEvidence


def milliseconds(seconds: float) -> str:
    """A duration with its unit, `2.15 ms`."""
    return f"{seconds * 1e3:.3g} ms"


class ClockWarnings:
    """Collects warnings run by run; of those of one kind the worst is told, with their number."""

    def __init__(self) -> None:
        """Nothing to warn of yet."""
        self._found: defaultdict[tuple[str, ...], dict[str, tuple[float, str]]]
        self._found = defaultdict(dict)

    def sentences(self) -> tuple[str, ...]:
        """The warnings."""
        return tuple(_worst(list(cases.values())) for _, cases in sorted(self._found.items()))

    def _add(self, kind: tuple[str, ...], run: str, size: float, sentence: str) -> None:
        """Note a case; of one run the worst counts."""
        cases = self._found[kind]
        if run not in cases or size > cases[run][0]:
            cases[run] = (size, sentence)

    def exchange_apart(self, run: str, error: Span) -> None:
        """All clocks agree that the exchange's is wrong by this much."""
        size = max(error.low, -error.high, 0.0)
        which = "ahead" if error.low > 0 else "behind"
        self._add(
            ("exchange", "apart"),
            run,
            size,
            f"The exchange's clock was {which} by at least {milliseconds(size)} in run {run}, by"
            " its time endpoint and all instances' clocks: all latencies are too"
            f" {'small' if which == 'ahead' else 'large'} by that, and their differences right",
        )

    def all_below_zero(self, run: str, below: float) -> None:
        """All instances show latencies below zero, by this much at least."""
        self._add(
            ("exchange", "ahead"),
            run,
            below,
            f"Every instance has latencies below zero in run {run}, by {milliseconds(below)} or"
            " more beyond its clock's bound: the exchange's clock is ahead, all latencies are too"
            " small by that, and their differences right",
        )

    def ahead_by_endpoint(self, run: str, below: float) -> None:
        """Latencies below zero are explained by the time endpoint."""
        self._add(
            ("exchange", "explained"),
            run,
            below,
            f"Latencies reach {milliseconds(below)} below zero beyond the clock's bound in run"
            f" {run}; the exchange's clock may be ahead by as much, as far as its time endpoint"
            " tells",
        )

    def some_below_zero(self, run: str, names: Sequence[str], below: float) -> None:
        """Several instances show latencies below zero, and others do not."""
        self._add(
            ("some", "below"),
            run,
            below,
            f"Latencies of {', '.join(names)} reach {milliseconds(below)} below zero beyond the"
            f" clock's bound in run {run}: the exchange's clock is ahead, or theirs are behind",
        )

    def doubted(self, run: str, instance: str, doubt: str) -> None:
        """A clock that may be wrong."""
        self._add(("doubt", instance), run, 0.0, f"Run {run}: {doubt}")

    def compare_paths(
        self,
        run: str,
        instances: Sequence[InstanceEvidence],
        claims: Mapping[int, float],
        least: LeastReadings,
    ) -> None:
        """Hold latencies against round trips, which need no common clock.

        Args:
            run: its label.
            instances: all of the run.
            claims: error bounds of the clocks that are trusted, by the instance's number.
            least: the smallest latencies.
        """
        self._compare_with_round_trips(run, instances, claims, least)
        zones: defaultdict[str, list[int]] = defaultdict(list)
        for number in claims:
            zone = instances[number].az_id
            if zone not in {None, UNKNOWN} and instances[number].round_trips is not None:
                zones[str(zone)].append(number)
        for zone, numbers in zones.items():
            for first, second in combinations(numbers, 2):
                both = claims[first] + claims[second]
                self._compare_in_zone(run, zone, instances[first], instances[second], both)

    def _compare_with_round_trips(
        self,
        run: str,
        instances: Sequence[InstanceEvidence],
        claims: Mapping[int, float],
        least: LeastReadings,
    ) -> None:
        """Where the quickest message took longer or less than the round trip lets it.

        A message is on its way for no longer than the quickest round trip. What it waits at the
        exchange before is common to all instances, if it waits for none of them in particular, and
        so is the error of the exchange's clock: each instance bounds the sum of the two.
        """
        spans = {}
        for number, claim in claims.items():
            trips, smallest = instances[number].round_trips, least.of_run(number)
            if trips is not None and smallest is not None:
                spans[number] = Span(
                    smallest - trips.least_sec - claim,
                    smallest + claim,
                )
        agreed = agree(spans)
        if agreed.span is None:
            return
        for number, miss in agreed.wrong.items():
            name = instances[number].instance
            large = spans[number].low > agreed.span.high
            size, cause = (
                ("large", "its clock is ahead, or its messages wait longer at the exchange")
                if large
                else ("small", "its clock is behind, or the others' messages wait at the exchange")
            )
            self._add(
                ("round trip", name),
                run,
                miss,
                f"{name}: its latencies are too {size} by at least {milliseconds(miss)} for its"
                f" round trips, beside those of other instances (run {run}); {cause}",
            )

    def _compare_in_zone(
        self,
        run: str,
        zone: str,
        first: InstanceEvidence,
        second: InstanceEvidence,
        clocks_sec: float,
    ) -> None:
        """Where two instances of a zone differ in latency and not in the round trip."""
        trips = [one.round_trips.median_sec if one.round_trips else None for one in (first, second)]
        if trips[0] is None or trips[1] is None:
            return
        if not first.latency.count or not second.latency.count:
            return
        levels = [one.latency.quantile(0.5) for one in (first, second)]
        by_latency = levels[0] - levels[1]
        by_trip = trips[0] - trips[1]
        # The way there may be the same, or the way back.
        path = Span(min(0.0, by_trip), max(0.0, by_trip))
        late = [
            lateness([Readings(one.latency, one.timestamp_errors)], 0.5) or 0.0
            for one in (first, second)
        ]
        width = max(
            one.latency.bucket_width_at(level)
            for one, level in zip((first, second), levels, strict=True)
        )
        excess = Span(by_latency, by_latency).beyond(path) - clocks_sec - max(late) - width
        if excess > 0:
            self._add(
                ("zone", zone),
                run,
                excess,
                f"{first.instance} and {second.instance}, both in zone {zone}, differ by"
                f" {milliseconds(abs(by_latency))} in the median latency and by"
                f" {milliseconds(abs(by_trip))} in the round trip (run {run}): one of their clocks"
                " is wrong by more than its bound, or the exchange serves them differently",
            )


def _worst(cases: Sequence[tuple[float, str]]) -> str:
    _, sentence = max(cases)
    return f"{sentence} (the worst of {len(cases)} runs)." if len(cases) > 1 else f"{sentence}."
