"""Evidence from recordings that people made themselves, one host each: `--from-recordings`.

The time that all hosts recorded is cut into runs, as near to the experiment's measurement as goes.
A latency counts where every host received the event, so that all hosts are judged by the same
events. What only some received tells what the others lost, and when they were interrupted.

A recording does not say how good its host's clock was, and the evidence does not pretend to know:
without a bound from the user no candidate passes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from latency_sweep.analysis.evidence.exclusion import sample_reasons
from latency_sweep.analysis.evidence.recorded_events import in_common, missed, read_host
from latency_sweep.analysis.evidence.records import (
    Candidate,
    Evidence,
    EvidenceSelection,
    InstanceEvidence,
    RunEvidence,
)
from latency_sweep.analysis.evidence.same_event_differences import difference
from latency_sweep.analysis.evidence.timestamp_warnings import RECORDER
from latency_sweep.contract.timeline import NS_PER_SEC, Run
from latency_sweep.nativehist.float_histogram import FloatHistogram

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from latency_sweep.analysis.evidence.recorded_events import (
        ChannelEvents,
        EventChannel,
        HostRecording,
        Integers,
    )
    from latency_sweep.analysis.evidence.recorded_host import RecordedHost
    from latency_sweep.analysis.evidence.same_event_differences import SameEventDifference
    from latency_sweep.contract.experiment import Experiment

    _Channels = dict[EventChannel, list[ChannelEvents]]

HOST: Final = "host"
# Files of one host that follow one another within this time are one recording.
_SAME_RECORDING_NS: Final = 60 * NS_PER_SEC
_WINDOW_NS: Final = 60 * NS_PER_SEC
# Hosts begin and end at slightly different moments: what is close to the ends of the time that all
# recorded is left out.
_EDGE_NS: Final = NS_PER_SEC
_MOST_EDGE_RATIO: Final = 0.05
# Of the messages of the host with fewer: else the exchange numbered them differently for each.
_LEAST_PAIRED_RATIO: Final = 0.5
# Messages missed within this time of one another were missed in the same interruption.
_SAME_INTERRUPTION_NS: Final = NS_PER_SEC

RECORDER_WARNING: Final = (
    "A recording does not say where its receive times were taken: delays in the recorder itself, "
    "such as a busy event loop, are part of these latencies."
)
INTERRUPTIONS_WARNING: Final = (
    "A recording does not show reconnects: counted is how often a host missed messages that another"
    " host received, one interruption each. A reconnect that missed nothing is not seen."
)
ALONE_WARNING: Final = (
    "With the recordings of one host there is nothing to compare with: neither loss nor "
    "interruptions are known, and the exchange's clock and delay are part of the latencies."
)


class RecordedEvidenceError(Exception):
    """The recordings cannot be evaluated; the message is one sentence that says why."""


def read(
    hosts: Sequence[RecordedHost],
    experiment: Experiment,
    *,
    market: str | None = None,
    raw_streams: Sequence[str] = (),
    streams: Sequence[str] = (),
    symbols: Sequence[str] = (),
) -> Evidence:
    """Read the recordings of one host or several as evidence.

    Args:
        hosts: each with its recordings.
        experiment: length of a run, confidence, evidence streams and time strata.
        market: that was recorded; the experiment's if None.
        raw_streams: full names of the streams whose raw messages the recordings hold.
        streams: which count as evidence; the experiment's evidence streams if empty.
        symbols: only these; all if empty.

    Raises:
        UnusableRecordingError: a file cannot be used.
        RecordedEvidenceError: the recordings have no event in common, or none with an event time.
    """
    recorded = [read_host(host.name, host.files, raw_streams) for host in hosts]
    spans = _common_spans(recorded)
    runs = [run for span in spans for run in _runs(*span, experiment.timing.measurement_sec)]
    wanted = tuple(streams) or tuple(experiment.decision.evidence_streams)
    paired, warnings = _paired(recorded, symbols)
    chosen = {c: p for c, p in paired.items() if c.stream in wanted or _kind(c) in wanted}
    common = {channel: in_common(events) for channel, events in chosen.items()}
    common = {channel: events for channel, events in common.items() if events[0].event_ns.any()}
    if not common:
        raise RecordedEvidenceError(_nothing(recorded, paired, wanted))
    evidence = [
        _run_evidence(run, host, number, chosen=chosen, common=common, experiment=experiment)
        for run in runs
        for number, host in enumerate(hosts)
    ]
    return Evidence(
        selection=EvidenceSelection(
            experiment=experiment.name,
            market=market or experiment.market_data.market,
            streams=wanted,
            symbols=tuple(symbols),
            by=(HOST,),
            since=spans[0][0] / NS_PER_SEC,
            until=spans[-1][1] / NS_PER_SEC,
        ),
        runs=tuple(sorted(evidence, key=lambda e: (e.candidate, e.run))),
        source=", ".join(f"{host.name}={file}" for host in hosts for file in host.files),
        warnings=(
            *_clock_warnings(hosts),
            RECORDER_WARNING,
            INTERRUPTIONS_WARNING if len(hosts) > 1 else ALONE_WARNING,
            *warnings,
            *(note for host in recorded for note in host.notes),
        ),
        same_events=tuple(_differences(hosts, paired, runs)),
    )


def _common_spans(recorded: Sequence[HostRecording]) -> list[tuple[int, int]]:
    """When all hosts recorded, Unix nanoseconds, ascending.

    Raises:
        RecordedEvidenceError: at no time did they all.
    """
    spans = _joined(recorded[0].spans_ns, _SAME_RECORDING_NS)
    for host in recorded[1:]:
        others = _joined(host.spans_ns, _SAME_RECORDING_NS)
        met = [(max(a, c), min(b, d)) for a, b in spans for c, d in others]
        spans = sorted((low, high) for low, high in met if low < high)
    spans = [(low, high + 1) for low, high in spans]
    if len(recorded) > 1:
        edges = [min(_EDGE_NS, round(_MOST_EDGE_RATIO * (high - low))) for low, high in spans]
        spans = [(low + e, high - e) for (low, high), e in zip(spans, edges, strict=True)]
    if not spans:
        times = "; ".join(
            f"{h.name} from {_moment(h.spans_ns[0][0])} to {_moment(h.spans_ns[-1][1])}"
            for h in recorded
        )
        raise RecordedEvidenceError(f"The hosts did not record at the same time: {times}.")
    return spans


def _joined(spans: Iterable[tuple[int, int]], gap_ns: int) -> list[tuple[int, int]]:
    """Spans by their start, those not further apart than `gap_ns` as one."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if joined and low - joined[-1][1] <= gap_ns:
            joined[-1] = joined[-1][0], max(joined[-1][1], high)
        else:
            joined.append((low, high))
    return joined


def _runs(low_ns: int, high_ns: int, measurement_sec: int) -> Iterator[Run]:
    """Cut a span into equal runs, as near to the measurement's length as goes; one at least."""
    count = max(1, round((high_ns - low_ns) / (measurement_sec * NS_PER_SEC)))
    ends = [low_ns + (high_ns - low_ns) * number // count for number in range(count + 1)]
    for start, end in pairwise(ends):
        yield Run(start, start, end, end)


def _paired(
    recorded: Sequence[HostRecording], symbols: Sequence[str]
) -> tuple[_Channels, list[str]]:
    """The channels whose messages can be found again at every host, and warnings of others."""
    names = sorted({channel for host in recorded for channel in host.channels})
    paired, warnings = {}, []
    for channel in names:
        if symbols and channel.symbol not in symbols:
            continue
        label = " ".join(filter(None, (channel.stream, channel.symbol)))
        without = [host.name for host in recorded if channel not in host.channels]
        if without:
            warnings.append(f"{label} is left out: {', '.join(without)} did not record it.")
            continue
        events = [host.channels[channel] for host in recorded]
        shared = in_common(events)[0].last.size
        if shared < _LEAST_PAIRED_RATIO * min(each.last.size for each in events):
            warnings.append(
                f"{label} is left out: its messages do not carry the same ids at every host."
            )
            continue
        paired[channel] = events
    return paired, warnings


def _nothing(
    recorded: Sequence[HostRecording], paired: Mapping[EventChannel, object], wanted: Sequence[str]
) -> str:
    """Why there is no latency to evaluate."""
    streams = ", ".join(wanted)
    if paired:
        found = ", ".join(sorted({channel.stream for channel in paired}))
        return (
            f"No message of the streams {streams} that all hosts recorded has an event time; "
            f"recorded were {found}. Choose with --streams, where one of these has one."
        )
    each = "; ".join(
        f"{host.name} recorded {', '.join(sorted({' '.join(c) for c in host.channels})) or 'none'}"
        for host in recorded
    )
    return f"The recordings have no event in common that ids identify: {each}."


def _clock_warnings(hosts: Sequence[RecordedHost]) -> tuple[str, ...]:
    unknown = [host.name for host in hosts if host.clock_bound_sec is None]
    if not unknown:
        return ()
    return (
        (
            "How wrong the clocks may have been is not known of "
            f"{', '.join(unknown)}, and a difference between hosts contains that of their clocks: "
            f"no winner can be named without it. Give it as --clock-bound {unknown[0]}=50us."
        ),
    )


def _run_evidence(
    run: Run,
    host: RecordedHost,
    number: int,
    *,
    chosen: _Channels,
    common: _Channels,
    experiment: Experiment,
) -> RunEvidence:
    latencies = [_latencies(events[number], run) for events in common.values()]
    event_ns = np.concatenate([times for times, _ in latencies])
    seconds = np.concatenate([values for _, values in latencies])
    windows = _windows(event_ns, seconds, run)
    alone = len(next(iter(chosen.values()))) == 1
    lost, interruptions = _losses(chosen.values(), number, run)
    latency = FloatHistogram.merge(*windows)
    middle = datetime.fromtimestamp((run.start_ns + run.end_ns) / 2 / NS_PER_SEC, UTC)
    candidate = Candidate((HOST,), (host.name,))
    reasons = sample_reasons(latency.count, experiment.decision.confidence)
    if not latency.count:
        reasons = (f"{host.name} has no latency samples in this run",)
    bound = host.clock_bound_sec
    instance = InstanceEvidence(
        instance=host.name,
        az_id=None,
        latency=latency,
        windows=windows if len(windows) > 1 else (),
        messages=sum(_during(events[number], run).size for events in chosen.values()),
        lost=None if alone else lost,
        reconnects=None if alone else interruptions,
        negative=int((seconds < 0).sum()),
        hours=(run.end_ns - run.start_ns) / NS_PER_SEC / 3600,
        coverage=1.0,
        clock_error_bound_sec=bound,
        clock_synchronized=None if bound is None else True,
        timestamp_kinds=(RECORDER,),
    )
    return RunEvidence(
        candidate=candidate,
        run=run.label,
        stratum=experiment.stratum_of(middle),
        instances=(instance,),
        exclusion_reasons=reasons,
    )


def _during(events: ChannelEvents, run: Run) -> Integers:
    """Rows of the messages of a run, by event time; by receive time where there is none."""
    times = np.where(events.event_ns > 0, events.event_ns, events.received_ns)
    return np.flatnonzero((times >= run.start_ns) & (times < run.end_ns))


def _latencies(events: ChannelEvents, run: Run) -> tuple[Integers, np.ndarray]:
    """Event times of a run, and the latencies in seconds; of messages that have an event time."""
    events = events.at(_during(events, run))
    events = events.at(np.flatnonzero(events.event_ns > 0))
    return events.event_ns, (events.received_ns - events.event_ns) / NS_PER_SEC


def _windows(event_ns: Integers, seconds: np.ndarray, run: Run) -> tuple[FloatHistogram, ...]:
    """Latencies of each whole minute of a run; the last window takes what is left."""
    count = max(1, (run.end_ns - run.start_ns) // _WINDOW_NS)
    window = np.minimum((event_ns - run.start_ns) // _WINDOW_NS, count - 1)
    order = np.argsort(window, kind="stable")
    parts = np.split(seconds[order], np.searchsorted(window[order], np.arange(1, count)))
    return tuple(FloatHistogram.from_samples(part) for part in parts)


def _losses(channels: Iterable[Sequence[ChannelEvents]], number: int, run: Run) -> tuple[int, int]:
    """What one host missed in a run of what any received, and in how many interruptions."""
    lost, spans = 0, []
    for events in channels:
        event_ns, before = missed(events)[number]
        inside = (event_ns >= run.start_ns) & (event_ns < run.end_ns)
        event_ns, before = event_ns[inside], before[inside]
        lost += event_ns.size
        for rows in np.split(np.arange(event_ns.size), np.flatnonzero(np.diff(before)) + 1):
            if rows.size:
                spans += [(int(event_ns[rows].min()), int(event_ns[rows].max()))]
    return lost, len(_joined(spans, _SAME_INTERRUPTION_NS))


def _differences(
    hosts: Sequence[RecordedHost], paired: _Channels, runs: Sequence[Run]
) -> Iterator[SameEventDifference]:
    """Every pair of hosts, over all numbered messages that both received in a run."""
    for one, other in combinations(range(len(hosts)), 2):
        met = [in_common([events[one], events[other]]) for events in paired.values()]
        rows = [[_during(events[0], run) for run in runs] for events in met]
        received = tuple(
            np.concatenate(
                [
                    events[side].received_ns[part]
                    for events, parts in zip(met, rows, strict=True)
                    for part in parts
                ]
            )
            for side in (0, 1)
        )
        if received[0].size:
            yield difference(
                (hosts[one].name, hosts[other].name),
                (received[0], received[1]),
                [run.start_ns for run in runs],
                (hosts[one].clock_bound_sec, hosts[other].clock_bound_sec),
            )


def _kind(channel: EventChannel) -> str:
    return channel.stream.partition("@")[0]


def _moment(unix_ns: int) -> str:
    return datetime.fromtimestamp(unix_ns // NS_PER_SEC, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
