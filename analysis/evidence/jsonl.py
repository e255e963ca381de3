"""Reads the first version's result files: JSON lines with summaries that grow from poll to poll.

A line holds, for one probe, the count, mean, minimum, maximum and five percentiles of everything
seen since its probe started. What such a file can tell is limited, and the evidence says so:

- Each snapshot is rebuilt as a histogram that has exactly the recorded count, mean and
  percentiles; between them the distribution is taken as even on a logarithmic scale. Evidence
  from here is marked approximate.
- What happened between two polls is the difference of two snapshots, bent where needed so that no
  count is negative and the parts add up to the whole.
- Loss, clock bounds and time without a connection are not recorded and stay unknown. Since the
  unknown never passes a constraint, no winner can come of such a file.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import numpy as np

from latency_sweep.analysis.evidence.exclusion import sample_reasons
from latency_sweep.analysis.evidence.records import (
    Candidate,
    Evidence,
    EvidenceSelection,
    InstanceEvidence,
    RunEvidence,
)
from latency_sweep.contract.usable_runs import MIN_COVERAGE
from latency_sweep.nativehist.bounds import bucket_keys, upper_bounds
from latency_sweep.nativehist.float_histogram import FloatHistogram

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from latency_sweep.contract.experiment import Experiment
    from latency_sweep.nativehist.bounds import Floats, Keys

BY: Final = ("region", "instance_type")

WARNINGS: Final = (
    (
        "The file holds percentiles, not histograms: distributions, and differences between polls, "
        "are rebuilt from them and approximate."
    ),
    (
        "The file does not say what was lost, how good the clocks were, or how long connections "
        "were down; those stay unknown, and no winner can be named from it."
    ),
)

_MICROSECOND: Final = 1e-6
_MAX_US: Final = 1e12  # eleven days; more is the overflow bucket's bound
_SCHEMA: Final = 8
_NO_KEYS: Final = np.empty(0, dtype=np.int64)

# What a probe can have written; beyond that a line is damaged. The largest count is that of ten
# thousand messages a second for three years, the longest time is three years.
_Count = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
_Elapsed = Annotated[float, msgspec.Meta(ge=0, le=1e8)]
_MeanUs = Annotated[float, msgspec.Meta(ge=-_MAX_US, le=_MAX_US)]
_YEARS: Final = range(2000, 2101)


class JsonlError(Exception):
    """The file cannot be used; the message names the line and what is wrong with it."""


class _Summary(msgspec.Struct):
    count: _Count
    min_us: float
    max_us: float
    mean_us: _MeanUs
    p50_us: float
    p90_us: float
    p95_us: float
    p99_us: float
    p999_us: float


class _Counters(msgspec.Struct):
    messages: _Count
    reconnects: _Count
    errors: _Count


class _ProbeInfo(msgspec.Struct):
    experiment_id: str = ""


class _Metrics(msgspec.Struct):
    aggregate: _Summary
    counters: _Counters
    per_symbol: dict[str, _Summary] = {}
    probe_info: _ProbeInfo | None = None


class _Record(msgspec.Struct):
    timestamp: datetime
    elapsed_sec: _Elapsed
    region: str
    instance_family: str
    metrics: _Metrics

    def __post_init__(self) -> None:
        """Refuse a time at which no sweep can have run; msgspec has no range of times."""
        if self.timestamp.year not in _YEARS:
            raise ValueError(
                f"`timestamp` lies outside the years {_YEARS.start} to {_YEARS.stop - 1}"
            )

    @property
    def unix(self) -> float:
        """Unix seconds; a timestamp without a zone is UTC."""
        moment = self.timestamp
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """A summary rebuilt as counts in native-histogram buckets.

    Attributes:
        total_sec: sum of the latencies, as recorded.
        keys: sorted bucket indices.
        counts: whole numbers that add up to the recorded count.
    """

    total_sec: float
    keys: Keys
    counts: Floats

    @classmethod
    def of(cls, record: _Record, symbols: tuple[str, ...]) -> _Snapshot:
        """The pool of the chosen symbols, or of everything."""
        metrics = record.metrics
        chosen = [metrics.per_symbol[s] for s in symbols if s in metrics.per_symbol]
        summaries = [s for s in (chosen if symbols else [metrics.aggregate]) if s.count]
        parts = [_rebuilt(summary) for summary in summaries]
        keys = np.unique(np.concatenate([_NO_KEYS, *(part_keys for part_keys, _ in parts)]))
        counts = np.zeros(keys.size)
        for part_keys, part_counts in parts:
            counts[np.searchsorted(keys, part_keys)] += part_counts
        total = sum(summary.mean_us * summary.count for summary in summaries) * _MICROSECOND
        return cls(total, keys, counts)

    def on(self, keys: Keys) -> Floats:
        """The counts on a larger set of buckets."""
        counts = np.zeros(keys.size)
        counts[np.searchsorted(keys, self.keys)] = self.counts
        return counts


@dataclass(frozen=True, slots=True)
class _Run:
    """One sweep in the file: its start, Unix seconds, and the records of each probe."""

    start: int
    probes: dict[tuple[str, str], list[_Record]]


def read(
    path: Path, experiment: Experiment, *, symbols: Sequence[str] = (), by: Sequence[str] = ()
) -> Evidence:
    """Read a result file as evidence.

    Args:
        path: the file.
        experiment: names the instance type of each family, and the time strata.
        symbols: only these; all if empty.
        by: dimensions that define a candidate, of `BY`; all of them if empty.

    Raises:
        JsonlError: the file cannot be read, a line is no such record, or a symbol or dimension
            is not recorded.
    """
    unknown = [name for name in by if name not in BY]
    if unknown:
        raise JsonlError(f"{path}: does not record {unknown[0]}; --by can use {', '.join(BY)}.")
    records, warnings = _records(path)
    recorded = {name for record in records for name in record.metrics.per_symbol}
    for symbol in symbols:
        if symbol not in recorded:
            there = ", ".join(sorted(recorded)) or "none of their own"
            raise JsonlError(f"{path}: has no symbol {symbol}; its symbols: {there}.")
    runs = list(_runs(records))
    dimensions = tuple(by) or BY
    evidence = [
        _evidence(run, candidate, group, experiment, tuple(symbols))
        for run in runs
        for candidate, group in _candidates(run, dimensions, experiment).items()
    ]
    info = records[0].metrics.probe_info
    return Evidence(
        selection=EvidenceSelection(
            experiment=(info.experiment_id if info else "") or path.stem,
            market="spot",
            streams=("bookTicker",),
            symbols=tuple(symbols),
            by=dimensions,
            since=min(record.unix for record in records),
            until=max(record.unix for record in records),
        ),
        runs=tuple(sorted(evidence, key=lambda e: (e.candidate, e.run))),
        source=str(path),
        warnings=(*WARNINGS, *warnings),
        approximate=True,
    )


def _records(path: Path) -> tuple[list[_Record], list[str]]:
    """All records; a last line that was cut off is dropped with a warning."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise JsonlError(f"{path}: cannot be read: {error.strerror}.") from error
    decoder = msgspec.json.Decoder(_Record)
    records, warnings = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            records.append(decoder.decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            if number == len(lines) and records and not isinstance(error, msgspec.ValidationError):
                warnings.append(f"Line {number} was cut off and is dropped.")
                continue
            raise JsonlError(f"{path}, line {number}: is no result record: {error}.") from error
    if not records:
        raise JsonlError(f"{path}: holds no result records.")
    return records, warnings


def _runs(records: Sequence[_Record]) -> Iterator[_Run]:
    """Split a file that several sweeps were appended to: a new one starts its clock again."""
    begins = [
        index
        for index, record in enumerate(records)
        if index == 0 or record.elapsed_sec < records[index - 1].elapsed_sec
    ]
    for begin, end in zip(begins, [*begins[1:], len(records)], strict=True):
        first = records[begin]
        probes: defaultdict[tuple[str, str], list[_Record]] = defaultdict(list)
        for record in records[begin:end]:
            probes[record.region, record.instance_family].append(record)
        yield _Run(round(first.unix - first.elapsed_sec), dict(probes))


def _candidates(
    run: _Run, by: tuple[str, ...], experiment: Experiment
) -> dict[Candidate, list[list[_Record]]]:
    types: defaultdict[str, list[str]] = defaultdict(list)
    for name, instance_type in experiment.instance_types.items():
        types[instance_type.family].append(name)
    groups: defaultdict[Candidate, list[list[_Record]]] = defaultdict(list)
    for (region, family), records in run.probes.items():
        # Where the experiment knows no type or several of a family, the family itself is named.
        named = types[family][0] if len(types[family]) == 1 else family
        labels = {"region": region, "instance_type": named}
        groups[Candidate(by, tuple(labels[name] for name in by))].append(records)
    return groups


def _evidence(
    run: _Run,
    candidate: Candidate,
    group: Sequence[list[_Record]],
    experiment: Experiment,
    symbols: tuple[str, ...],
) -> RunEvidence:
    most_polls = max(len(records) for records in run.probes.values())
    last = max(record.unix for records in group for record in records)
    middle = datetime.fromtimestamp((run.start + last) / 2, UTC)
    reasons: list[str] = []
    instances = []
    for records in group:
        name = f"{records[0].region}/{records[0].instance_family}"
        usable = records
        # The best-polled probe shows how often there was something to ask.
        if len(records) < MIN_COVERAGE * most_polls:
            reasons.append(f"{name} answered only {len(records)} of {most_polls} polls")
        if any(_restarted(a, b) for a, b in pairwise(records)):
            reasons.append(f"the probe at {name} restarted during the run")
            usable = _after_last_restart(records)
        coverage = len(records) / most_polls
        instances.append(_instance(name, records, _windows(usable, symbols), coverage))
    samples = sum(instance.latency.count for instance in instances)
    reasons += sample_reasons(samples, experiment.decision.confidence)
    if not samples:
        reasons.append(f"{candidate.name} has no latency samples in this run")
    return RunEvidence(
        candidate=candidate,
        run=datetime.fromtimestamp(run.start, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        stratum=experiment.stratum_of(middle),
        instances=tuple(instances),
        exclusion_reasons=tuple(reasons),
    )


def _instance(
    name: str, records: Sequence[_Record], windows: tuple[FloatHistogram, ...], coverage: float
) -> InstanceEvidence:
    first, final = records[0].metrics.counters, records[-1].metrics.counters
    return InstanceEvidence(
        instance=name,
        az_id=None,
        latency=FloatHistogram.merge(*windows),
        windows=windows if len(windows) > 1 else (),
        messages=_grown(first.messages, final.messages),
        lost=None,
        reconnects=_grown(first.reconnects, final.reconnects),
        negative=None,
        hours=(records[-1].unix - records[0].unix) / 3600,
        coverage=coverage,
        clock_error_bound_sec=None,
        clock_synchronized=None,
    )


def _restarted(earlier: _Record, later: _Record) -> bool:
    return (
        later.metrics.counters.messages < earlier.metrics.counters.messages
        or later.metrics.aggregate.count < earlier.metrics.aggregate.count
    )


def _after_last_restart(records: list[_Record]) -> list[_Record]:
    index = max(i for i in range(1, len(records)) if _restarted(records[i - 1], records[i]))
    return records[index:]


def _grown(first: int, last: int) -> int:
    """Growth of a counter that starts at zero again when the probe restarts."""
    return last - first if last >= first else last


def _windows(records: Sequence[_Record], symbols: tuple[str, ...]) -> tuple[FloatHistogram, ...]:
    """What came between the polls; a single snapshot is a window of its own."""
    snapshots = [_Snapshot.of(record, symbols) for record in records]
    if len(snapshots) == 1:
        snapshots.insert(0, _Snapshot(0.0, _NO_KEYS, np.empty(0)))
    keys = np.unique(np.concatenate([snapshot.keys for snapshot in snapshots]))
    # From the last snapshot, which is the best known, back to the first.
    later = snapshots[-1].on(keys)
    windows: list[FloatHistogram] = []
    for earlier, final in zip(snapshots[-2::-1], snapshots[:0:-1], strict=True):
        counts = _fitted(earlier.on(keys), later)
        windows.append(_histogram(keys, later - counts, final.total_sec - earlier.total_sec))
        later = counts
    return tuple(reversed(windows))


def _rebuilt(summary: _Summary) -> tuple[Keys, Floats]:
    """Whole counts in buckets with the recorded count and, within a bucket, percentiles."""
    shares = np.array([0.0, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0])
    points = np.array(
        [
            summary.min_us,
            summary.p50_us,
            summary.p90_us,
            summary.p95_us,
            summary.p99_us,
            summary.p999_us,
            summary.max_us,
        ]
    )
    # Percentiles that are upper bounds of buckets may exceed the maximum; 0 was written for
    # events from the future and has no logarithm.
    largest = min(max(summary.max_us, 1.0), _MAX_US)
    values = np.maximum.accumulate(np.clip(points, 1.0, largest)) * _MICROSECOND
    first, last = bucket_keys(values[[0, -1]], _SCHEMA)
    keys = np.arange(first, last + 1)
    position = np.log2(upper_bounds(keys, _SCHEMA))
    begin, end = np.log2(values[:-1]), np.log2(values[1:])
    width = end - begin
    # How much of each stretch between two percentiles lies below each bucket's upper bound.
    below = (position[:, np.newaxis] - begin) / np.where(width > 0, width, 1.0)
    below = np.where(width > 0, np.clip(below, 0.0, 1.0), position[:, np.newaxis] >= end)
    cumulative = np.rint(below @ np.diff(shares) * summary.count)
    # One observation is known to be the minimum and one the maximum.
    cumulative = np.clip(cumulative, 1, max(1, summary.count - 1))
    cumulative[-1] = summary.count
    counts = np.diff(cumulative, prepend=0.0)
    return keys[counts > 0], counts[counts > 0]


def _fitted(wanted: Floats, room: Floats) -> Floats:
    """Counts with the wanted total that never exceed the room, as close to wanted as possible."""
    counts = np.minimum(wanted, room)
    spare = room - counts
    share = spare * ((wanted.sum() - counts.sum()) / max(spare.sum(), 1.0))
    counts += np.floor(share)
    missing = round(wanted.sum() - counts.sum())
    counts[np.argsort(np.floor(share) - share, kind="stable")[:missing]] += 1
    return counts


def _histogram(keys: Keys, counts: Floats, total_sec: float) -> FloatHistogram:
    filled = counts > 0
    keys, counts = keys[filled], counts[filled]
    lower, upper = upper_bounds(keys - 1, _SCHEMA), upper_bounds(keys, _SCHEMA)
    count = float(counts.sum())
    # Recorded means are rounded, so the difference of two sums may be absurd for a few samples.
    total = float(np.clip(total_sec, count * lower[0], count * upper[-1])) if count else 0.0
    return FloatHistogram(count, total, lower, upper, counts)
