"""The data the decision is made from: candidates, and what each run observed of them.

Durations are seconds unless a name says otherwise. The unit of evidence is the run; windows
inside a run describe it and feed the bootstrap, they do not decide.

None always means "not known": a counter that was never seen is not a counter at zero, and must
never count in a candidate's favour.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from latency_sweep.nativehist.float_histogram import FloatHistogram

# The dimensions that define a candidate unless others are chosen.
DEFAULT_BY: Final = ("region", "az_id", "instance_type")


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """A place that can win: a value for each dimension of `--by`, in that order.

    Attributes:
        dimensions: names, a subset of `region`, `az_id`, `instance_type`.
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
class ReplicaEvidence:
    """One instance's share of a run. See `RunEvidence` for the fields they have in common."""

    instance: str
    az_id: str
    latency: FloatHistogram
    messages: int | None
    lost: int | None
    reconnects: int | None
    hours: float | None
    coverage: float
    clock_error_bound_sec: float | None
    clock_synchronized: bool | None


@dataclass(frozen=True, slots=True)
class RunEvidence:
    """What one run observed of one candidate, pooled over symbols, streams and replicas.

    Attributes:
        candidate: which place.
        run: the `run` label, UTC start of the measurement.
        stratum: name of the time stratum the middle of the measurement falls in, or None.
        latency: pooled latency histogram of the whole run, exact counts.
        windows: the same, cut into consecutive windows of time that add up to `latency`; empty
            where they cannot be known.
        messages: messages received in the run's whole cycle, of the evidence streams; None if
            not known, as for the counters below.
        lost: messages known to be missing over the same span.
        reconnects: connections replaced for any reason that is no plan of the probe's own: neither
            `schedule` nor `rollover`.
        hours: connected instance-hours observed.
        coverage: share of the expected scrapes of the measurement that succeeded, 0 to 1.
        negative: events timestamped later than they were received.
        clock_error_bound_sec: largest bound over the run and replicas; None if never known.
        clock_synchronized: False if any replica's clock was ever not; None if never known.
        exclusion_reasons: reasons for which the run must not be used; empty for a clean run.
        replicas: the same per instance.
    """

    candidate: Candidate
    run: str
    stratum: str | None
    latency: FloatHistogram
    windows: tuple[FloatHistogram, ...]
    messages: int | None
    lost: int | None
    reconnects: int | None
    hours: float | None
    coverage: float
    negative: int | None
    clock_error_bound_sec: float | None
    clock_synchronized: bool | None
    exclusion_reasons: tuple[str, ...] = ()
    replicas: tuple[ReplicaEvidence, ...] = ()


@dataclass(frozen=True, slots=True)
class Scope:
    """What was asked for: the selection that evidence was collected under.

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
        scope: the selection.
        runs: one entry per candidate and run, clean and excluded, ordered by candidate and run.
        source: where it came from, for the report: a URL or a file name.
        warnings: what the source said or what was odd, for the report.
        approximate: the histograms were rebuilt from percentiles, so quantiles, moments and
            fractions are rough and no interval drawn from them is exact.
    """

    scope: Scope
    runs: tuple[RunEvidence, ...]
    source: str
    warnings: tuple[str, ...] = field(default=())
    approximate: bool = False

    def candidates(self) -> tuple[Candidate, ...]:
        """All candidates seen, in order."""
        return tuple(sorted({run.candidate for run in self.runs}))

    def clean_runs(self, candidate: Candidate) -> tuple[RunEvidence, ...]:
        """The runs of a candidate that may be used."""
        return tuple(r for r in self.runs if r.candidate == candidate and not r.exclusion_reasons)
