"""The data the decision is made from: candidates, and what each run observed of them.

Durations are seconds unless a name says otherwise. The unit of evidence is the run; windows
inside a run describe it and feed the bootstrap, they do not decide.

None always means "not known": a counter that was never seen is not a counter at zero, and must
never count in a candidate's favour.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from latency_sweep.analysis.evidence.timestamps import Readings, TimestampErrors
from latency_sweep.nativehist.float_histogram import FloatHistogram

if TYPE_CHECKING:
    from collections.abc import Iterable

    from latency_sweep.analysis.evidence.same_event_differences import SameEventDifference

N = TypeVar("N", int, float)


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """One of the choices compared: a value for each dimension of `--by`, in that order.

    Attributes:
        dimensions: names, a subset of the contract's `CANDIDATE_LABELS`; `host` in recordings.
        values: the values of those target labels.
    """

    dimensions: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def name(self) -> str:
        """Human-readable name, `ap-northeast-1/apne1-az4/c6in.large`."""
        return "/".join(self.values)

    def get(self, dimension: str) -> str | None:
        """The value of one dimension, or None where candidates are coarser than that."""
        try:
            return self.values[self.dimensions.index(dimension)]
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """What an instance knows of the exchange's clock minus its own in a run, seconds.

    Attributes:
        low: at some moment the offset was no smaller than this.
        high: at some moment it was no larger. Below `low` where the clocks moved apart.
    """

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """Round trips from WebSocket ping to pong in a run, seconds.

    Attributes:
        least_sec: upper bound of the quickest.
        median_sec: the median; None where too few were seen to know it.
    """

    least_sec: float
    median_sec: float | None


@dataclass(frozen=True, slots=True)
class InstanceEvidence:
    """What one instance observed in one run, pooled over symbols and streams.

    Attributes:
        instance: its name.
        az_id: id of its availability zone; None if not known.
        latency: latency histogram of the whole run, exact counts.
        windows: the same, cut into consecutive windows of time that add up to `latency`; empty
            where they cannot be known.
        messages: messages received in the run's whole cycle, of the evidence streams.
        lost: messages lost on the way to it over the same span; where that cannot be told from
            never sent, all that it misses.
        reconnects: connections replaced for any reason that is no plan of the probe's own: neither
            `schedule` nor `rollover`.
        negative: events timestamped later than they were received.
        hours: connected hours.
        coverage: share of the expected scrapes of the measurement that succeeded, 0 to 1.
        clock_error_bound_sec: largest bound over the run.
        clock_synchronized: False if its clock was ever not.
        never_sent: messages missing there that no other instance received either: not lost. As
            many as are known of; None where the probe does not tell which it misses.
        timestamp_errors: how late the timestamps behind `latency` can be.
        timestamp_kinds: where its receive timestamps came from; empty if not known.
        exchange_offset: how far the exchange's clock was from its own, by the time endpoint.
        round_trips: to the exchange and back.
    """

    instance: str
    az_id: str | None
    latency: FloatHistogram
    windows: tuple[FloatHistogram, ...]
    messages: int | None
    lost: int | None
    reconnects: int | None
    negative: int | None
    hours: float | None
    coverage: float
    clock_error_bound_sec: float | None
    clock_synchronized: bool | None
    never_sent: int | None = None
    timestamp_errors: TimestampErrors | None = None
    timestamp_kinds: tuple[str, ...] = ()
    exchange_offset: OffsetRange | None = None
    round_trips: RoundTrips | None = None


@dataclass(frozen=True)  # without slots, so that aggregates are computed once
class RunEvidence:
    """What one run observed of one candidate: its instances, and aggregates over them.

    Attributes:
        candidate: which one.
        run: the `run` label, UTC start of the measurement.
        stratum: name of the time stratum the middle of the measurement falls in, or None.
        instances: each instance that took part, one at least.
        exclusion_reasons: reasons for which the run must not be used; empty for a clean run.
    """

    candidate: Candidate
    run: str
    stratum: str | None
    instances: tuple[InstanceEvidence, ...]
    exclusion_reasons: tuple[str, ...] = ()

    @cached_property
    def latency(self) -> FloatHistogram:
        """Latency of all instances: buckets added."""
        return _merged([instance.latency for instance in self.instances])

    @cached_property
    def windows(self) -> tuple[FloatHistogram, ...]:
        """The same in windows of time; empty unless every instance has the same number of them."""
        series = [instance.windows for instance in self.instances]
        if len({len(windows) for windows in series}) != 1:
            return ()
        return tuple(_merged(windows) for windows in zip(*series, strict=True))

    @cached_property
    def readings(self) -> tuple[Readings, ...]:
        """Latencies of each instance that has any, and how late their timestamps can be."""
        return tuple(
            Readings(instance.latency, instance.timestamp_errors)
            for instance in self.instances
            if instance.latency.count
        )

    @property
    def messages(self) -> int | None:
        """Messages received; None if any instance's are not known, as for the counters below."""
        return total(instance.messages for instance in self.instances)

    @property
    def lost(self) -> int | None:
        """Messages lost on the way."""
        return total(instance.lost for instance in self.instances)

    @property
    def never_sent(self) -> int | None:
        """Messages missing that no instance of the run received."""
        return total(instance.never_sent for instance in self.instances)

    @property
    def reconnects(self) -> int | None:
        """Unplanned reconnects."""
        return total(instance.reconnects for instance in self.instances)

    @property
    def negative(self) -> int | None:
        """Events timestamped later than they were received."""
        return total(instance.negative for instance in self.instances)

    @property
    def hours(self) -> float | None:
        """Connected instance-hours."""
        return total(instance.hours for instance in self.instances)

    @property
    def coverage(self) -> float:
        """The smallest coverage of an instance."""
        return min(instance.coverage for instance in self.instances)

    @property
    def clock_error_bound_sec(self) -> float | None:
        """The largest bound of an instance; None if one is not known."""
        return largest(instance.clock_error_bound_sec for instance in self.instances)

    @property
    def clock_synchronized(self) -> bool | None:
        """False if any instance's clock was ever not; else None if one is not known."""
        known = {instance.clock_synchronized for instance in self.instances}
        if False in known:
            return False
        return None if None in known else True


@dataclass(frozen=True, slots=True)
class EvidenceSelection:
    """Which evidence was asked for.

    Attributes:
        experiment: value of the `experiment` target label.
        market: value of the `market` label.
        streams: stream names without their interval (`depth` covers `depth@100ms`).
        symbols: symbols, or empty for all.
        by: dimensions that define a candidate.
        since: Unix seconds, start of the range looked at.
        until: Unix seconds, its end.
    """

    experiment: str
    market: str
    streams: tuple[str, ...]
    symbols: tuple[str, ...]
    by: tuple[str, ...]
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything the decision rests on.

    Attributes:
        selection: what was asked for.
        runs: one entry per candidate and run, clean and excluded, ordered by candidate and run.
        source: where it came from, for the report: a URL or a file name.
        warnings: what the source said or what was odd, for the report.
        approximate: the histograms were rebuilt from percentiles, so quantiles, moments and
            fractions are rough and no interval drawn from them is exact.
        same_events: receive times of the same events at two hosts, where the source has them.
    """

    selection: EvidenceSelection
    runs: tuple[RunEvidence, ...]
    source: str
    warnings: tuple[str, ...] = field(default=())
    approximate: bool = False
    same_events: tuple[SameEventDifference, ...] = ()

    def candidates(self) -> tuple[Candidate, ...]:
        """All candidates seen, in order."""
        return tuple(sorted({run.candidate for run in self.runs}))


def total(values: Iterable[N | None]) -> N | None:
    """Sum of values that are all known; None if there are none or one is unknown."""
    summed: N | None = None
    for value in values:
        if value is None:
            return None
        summed = value if summed is None else summed + value
    return summed


def largest(values: Iterable[float | None]) -> float | None:
    """The largest of values that are all known; None if there are none or one is unknown."""
    found: float | None = None
    for value in values:
        if value is None:
            return None
        found = value if found is None else max(found, value)
    return found


def _merged(histograms: Iterable[FloatHistogram]) -> FloatHistogram:
    """Their sum; the histogram itself where there is one."""
    parts = list(histograms)
    return parts[0] if len(parts) == 1 else FloatHistogram.merge(*parts)
