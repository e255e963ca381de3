"""Tells a market that was quiet everywhere from an instance that was deaf.

A channel that is silent on all instances at the same time is a quiet market, and nobody's fault.
One that is silent on an instance while another receives its messages has been deaf there:
connected, and without the messages. Both are read from `feed_last_message_timestamp_seconds`. An
instance is deaf at a moment if another one had, some time before, a newer message than it has now;
that time allows for scrapes at different moments and for latencies, so what is found is a lower
bound of how long.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from latency_sweep.contract import metrics
from latency_sweep.contract.timeline import NS_PER_SEC

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from latency_sweep.analysis.evidence.run_queries import InstanceRun, SeriesSelector
    from latency_sweep.analysis.prometheus_api import PrometheusClient
    from latency_sweep.contract.targets import Target
    from latency_sweep.contract.timeline import Run

    Channel = tuple[str, str]

# A shorter silence of a whole market is not worth a sentence.
QUIET_SEC: Final = 30.0
# The same message may arrive so much later on one instance than on another.
_LATENESS_SEC: Final = 5.0
# An instance whose newest scrape is older is not scraped, which says nothing of what it receives.
_OWN_SCRAPES: Final = 2


@dataclass(frozen=True, slots=True)
class RunSilence:
    """What was silent in one run, by stream and symbol.

    Attributes:
        quiet_sec: longest time in which no instance received a message, at least; of channels where
            that is notable.
        deaf_sec: for how long an instance was deaf in all, at least, where it was.
        instances: how many were connected and scraped.
        notes: what the server said.
    """

    quiet_sec: Mapping[Channel, float] = field(default_factory=dict)
    deaf_sec: Mapping[Target, Mapping[Channel, float]] = field(default_factory=dict)
    instances: int = 0
    notes: tuple[str, ...] = ()


def read(
    client: PrometheusClient, selector: SeriesSelector, run: Run, interval: float
) -> RunSilence:
    """What was silent during a run's measurement.

    Args:
        client: the server.
        selector: which series.
        run: the run.
        interval: of the scrapes, seconds.

    Raises:
        PrometheusError: the server could not answer.
    """
    end = run.measure_end_ns / NS_PER_SEC
    measurement_ms = (run.measure_end_ns - run.measure_start_ns) // 1_000_000
    over = f"[{measurement_ms}ms:{round(interval * 1000)}ms]"
    feeds = selector.feeds()
    lookback = f"[{round(_OWN_SCRAPES * interval * 1000)}ms]"
    times = f"{metrics.LAST_MESSAGE.name}{feeds}{lookback}"
    newest = f"last_over_time({times})"
    counted = f"last_over_time({metrics.MESSAGES.name}{feeds}{lookback})"
    connected = f"{metrics.CONNECTED.name}{selector.market_wide()}"
    group = selector.group
    of_target = ", ".join(group.names.targets)
    by_channel, by_all = ", ".join(metrics.FEED), ", ".join((*group.names.targets, *metrics.FEED))
    # An instance that never received a message of a channel shows no time of it.
    own = f"max by ({by_all}) ({newest} or ignoring (__name__) 0 * {counted})"
    earlier_ms = round((_OWN_SCRAPES * interval + max(interval, _LATENESS_SEC)) * 1000)
    any_earlier = f"max by ({by_channel}) (last_over_time({times} offset {earlier_ms}ms))"
    lag = f"({any_earlier} - on ({by_channel}) group_right () {own}) > {_LATENESS_SEC:g}"
    deaf = f"({lag}) and on ({of_target}) ({connected} == 1)"
    age = f"(time() - max by ({by_channel}) ({newest}))"
    answers = [
        client.query(expression, at=end)
        for expression in (
            f"{interval:g} * count_over_time(({deaf}){over})",
            # A message may have come as late as the newest scrape is old.
            f"max_over_time({age}{over}) - {interval:g} >= {QUIET_SEC:g}",
            f"count(max by ({of_target}) ({connected}))",
        )
    ]
    deaf_sec: defaultdict[Target, dict[Channel, float]] = defaultdict(dict)
    for sample in answers[0].floats:
        deaf_sec[group.target(sample.labels)][_channel(sample.labels)] = sample.value
    return RunSilence(
        quiet_sec={_channel(sample.labels): sample.value for sample in answers[1].floats},
        deaf_sec=dict(deaf_sec),
        instances=round(sum(sample.value for sample in answers[2].floats)),
        notes=tuple(dict.fromkeys(note for answer in answers for note in answer.notes)),
    )


def with_missed(
    observed: Mapping[Target, InstanceRun], silence: RunSilence
) -> dict[Target, InstanceRun]:
    """What instances observed, with the messages that they missed while deaf among their losses.

    A deaf instance shows no gap in the ids before its channel resumes. What another instance
    measured of the channel, and it neither measured nor counted as lost, it has missed. Where
    losses are not known they stay so.

    Args:
        observed: what each instance observed in the run.
        silence: of the run.
    """
    result = dict(observed)
    for target, channels in silence.deaf_sec.items():
        run = observed.get(target)
        if run is None or run.evidence.lost is None or run.restarts:
            continue
        missed = -run.evidence.lost
        for channel in channels:
            best = max(other.channels.get(channel, 0) for other in observed.values())
            missed += best - run.channels.get(channel, 0)
        if missed > 0:
            lost = run.evidence.lost + missed
            result[target] = replace(run, evidence=replace(run.evidence, lost=lost))
    return result


def is_empty(observed: Mapping[Target, InstanceRun]) -> bool:
    """Whether several instances took part in a run and none measured anything."""
    return len(observed) > 1 and not any(run.evidence.latency.count for run in observed.values())


def warnings(runs: Sequence[Run], silences: Sequence[RunSilence]) -> tuple[str, ...]:
    """One sentence for each channel that was quiet, and for each that an instance was deaf to.

    Args:
        runs: the runs.
        silences: of each of them.
    """
    return (*_quiet(silences), *_deaf(runs, silences))


def _quiet(silences: Sequence[RunSilence]) -> Iterator[str]:
    cases: defaultdict[Channel, list[float]] = defaultdict(list)
    for silence in silences:
        for channel, seconds in silence.quiet_sec.items():
            cases[channel].append(seconds)
    several = max((silence.instances for silence in silences), default=0) > 1
    for channel, found in sorted(cases.items()):
        what = (
            "no instance received a message"
            if several
            else "the only instance received no message, which cannot tell a quiet market from a "
            "deaf instance,"
        )
        verdict = " That is a quiet market and counts against no candidate." if several else ""
        yield (
            f"{' '.join(channel)} was quiet in {len(found)} of {len(silences)} runs: {what} for up "
            f"to {max(found):.0f} s.{verdict}"
        )


def _deaf(runs: Sequence[Run], silences: Sequence[RunSilence]) -> Iterator[str]:
    cases: defaultdict[tuple[Target, Channel], list[tuple[float, str]]] = defaultdict(list)
    for run, silence in zip(runs, silences, strict=True):
        for target, channels in silence.deaf_sec.items():
            for channel, seconds in channels.items():
                cases[target, channel].append((seconds, run.label))
    for (target, channel), found in sorted(cases.items()):
        seconds, label = max(found)
        more = f" (the worst of {len(found)} such runs)" if len(found) > 1 else ""
        yield (
            f"{target.instance} was deaf to {' '.join(channel)} for at least {seconds:.0f} s of "
            f"run {label}{more}: it was connected, and another instance received messages that it "
            "did not; those not counted otherwise count as lost."
        )


def _channel(labels: Mapping[str, str]) -> Channel:
    stream, symbol = (labels.get(name, "") for name in ("stream", "symbol"))
    return stream, symbol
