"""Evidence from Prometheus: which runs there are, what each observed, and which cannot be used."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.evidence import loss_attribution, same_events, silence
from latency_sweep.analysis.evidence.attribution import SourceGroup, attribute
from latency_sweep.analysis.evidence.counted_once import best_source, without_aliases
from latency_sweep.analysis.evidence.exclusion import lateness_reasons, sample_reasons
from latency_sweep.analysis.evidence.label_names import EXPERIMENT, LabelNames
from latency_sweep.analysis.evidence.places import dimensions
from latency_sweep.analysis.evidence.records import (
    Candidate,
    Evidence,
    EvidenceSelection,
    RunEvidence,
)
from latency_sweep.analysis.evidence.run_queries import RunReader, SeriesSelector
from latency_sweep.analysis.evidence.sources import SourceQuery
from latency_sweep.contract import metrics
from latency_sweep.contract.clocks import MAX_DRIFT_RATIO
from latency_sweep.contract.timeline import NS_PER_SEC, Timeline, parse_run_label
from latency_sweep.contract.usable_runs import MIN_COVERAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from latency_sweep.analysis.evidence.run_queries import InstanceRun
    from latency_sweep.analysis.evidence.silence import RunSilence
    from latency_sweep.analysis.prometheus_api import PrometheusClient
    from latency_sweep.contract.experiment import Experiment
    from latency_sweep.contract.targets import Target
    from latency_sweep.contract.timeline import Run

# A single missing scrape is forgiven, because in a short run it is more than the share allowed.
_FORGIVEN_SCRAPES: Final = 1
# Runs read at the same time: enough to hide the network's latency, polite to the server.
_PARALLEL_RUNS: Final = 4
_LISTED: Final = 5


class SelectionError(Exception):
    """What was asked for does not exist; the message lists what does."""


class NoDataError(Exception):
    """There is nothing to decide on yet; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class EvidenceRequest:
    """What to collect; None or empty means the usual, as the experiment has it.

    Attributes:
        experiment: value of the `experiment` target label.
        market: value of the `market` label.
        streams: stream names; without an interval they cover all intervals.
        symbols: symbols; empty for all.
        by: dimensions that define a candidate, of `CANDIDATE_LABELS`.
        since: only runs that start at or after this, Unix seconds.
        until: only runs that end at or before this, Unix seconds.
        names: of the target labels.
    """

    experiment: str | None = None
    market: str | None = None
    streams: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    since: float | None = None
    until: float | None = None
    names: LabelNames = field(default_factory=LabelNames)


def collect(
    client: PrometheusClient,
    experiment: Experiment,
    request: EvidenceRequest | None = None,
    *,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Evidence:
    """Collect the evidence of all finished runs.

    Args:
        client: the server.
        experiment: gives timing, strata, limits and the default selection.
        request: what to collect.
        progress: called with the number of runs read and of all runs.

    Raises:
        PrometheusError: the server could not answer.
        SelectionError: what was asked for is not there, but something else is.
        NoDataError: nothing is there, or no run has ended.
        AttributionError: it is not known to which candidate something belongs.
    """
    request = request or EvidenceRequest()
    now = client.now()
    query = choose_experiment(client, request, experiment)
    selector = SeriesSelector(
        experiment=query.experiment,
        market=query.market,
        streams=request.streams or tuple(experiment.decision.evidence_streams),
        symbols=request.symbols,
        group=SourceGroup(query),
    )
    warnings: list[str] = []
    runs = _finished_runs(client, selector, experiment, request, now=now, warnings=warnings)
    start, end = runs[0].start_ns / NS_PER_SEC, runs[-1].end_ns / NS_PER_SEC
    attribution = attribute(client, query, experiment, start=start, end=end)
    probes, names = attribution.probes, request.names
    # Before minutes of reading, though what is read may show more targets.
    dimensions((probe.target for probe in probes), probes, request.by, names)
    interval = float(experiment.timing.scrape_interval_sec)
    groups = [replace(selector, group=group) for group in attribution.groups]
    everywhere = replace(selector, group=attribution.everywhere)
    readers = [
        RunReader(client, group, run, scrape_interval_sec=interval, now=now)
        for run in runs
        for group in groups
    ]
    found, silences = _read(
        readers, partial(silence.read, client, everywhere, interval=interval), runs, progress
    )
    observed, aliases = without_aliases(
        [best_source(found[i : i + len(groups)]) for i in range(0, len(found), len(groups))]
    )
    losses = [loss_attribution.attribute_run(targets) for targets in observed]
    observed = [
        silence.with_missed(one.observed, other)
        for one, other in zip(losses, silences, strict=True)
    ]
    told_apart = dimensions((t for each in observed for t in each), probes, request.by, names)
    by = told_apart.by
    pooled = [
        (candidate, run, instances)
        for run, targets in zip(runs, observed, strict=True)
        for candidate, instances in _candidates(targets, by).items()
    ]
    quiet = {
        run.label for run, targets in zip(runs, observed, strict=True) if silence.is_empty(targets)
    }
    evidence = [
        _run_evidence(*each, experiment, market_quiet=each[1].label in quiet) for each in pooled
    ]
    notes = dict.fromkeys(note for reader in readers for note in reader.notes)
    notes |= dict.fromkeys(note for each in silences for note in each.notes)
    warnings += [f"Prometheus says: {note}" for note in notes]
    warnings += [*told_apart.notes, *attribution.notes, *aliases]
    warnings += _odd_scrape_intervals(observed, interval)
    warnings += [note for each in pooled for note in _notes_on_latecomers(*each)]
    warnings += _changing_instances(evidence)
    warnings += silence.warnings(runs, silences)
    warnings += same_events.warnings(runs, observed)
    warnings += loss_attribution.warnings(runs, losses)
    return Evidence(
        selection=EvidenceSelection(
            experiment=selector.experiment,
            market=selector.market,
            streams=selector.streams,
            symbols=selector.symbols,
            by=by,
            since=runs[0].start_ns / NS_PER_SEC,
            until=runs[-1].end_ns / NS_PER_SEC,
        ),
        runs=tuple(sorted(evidence, key=lambda e: (e.candidate, e.run))),
        source=client.url,
        warnings=tuple(warnings),
    )


def _read(
    readers: Sequence[RunReader],
    read_silence: Callable[[Run], RunSilence],
    runs: Sequence[Run],
    progress: Callable[[int, int], None],
) -> tuple[list[dict[Target, InstanceRun]], list[RunSilence]]:
    """What each reader finds, and the silences of each run, several at the same time."""
    progress(0, len(readers))
    found: list[dict[Target, InstanceRun]] = []
    with ThreadPoolExecutor(_PARALLEL_RUNS) as pool:
        try:
            for targets in pool.map(RunReader.read, readers):
                found.append(targets)
                progress(len(found), len(readers))
            return found, list(pool.map(read_silence, runs))
        finally:
            pool.shutdown(cancel_futures=True)


def choose_experiment(
    client: PrometheusClient, request: EvidenceRequest, experiment: Experiment
) -> SourceQuery:
    """The experiment asked for, else the configured one, else the only one there is."""
    series = [metrics.LATENCY.name, metrics.RUN_INFO.name, metrics.MESSAGES.name]
    label = request.names.experiment
    market = request.market or experiment.market_data.market
    names = client.label_values(label, series)
    labelled = bool(names)
    if not labelled:  # then the probes say it themselves
        names = client.label_values(EXPERIMENT, [metrics.PROBE_INFO.name])
    if not names:
        raise NoDataError(
            f"{client.url} holds no probe's metrics with an `{label}` label; are the probes "
            "running, and does Prometheus scrape them?"
        )
    wanted = request.experiment or experiment.name
    if wanted not in names:
        if request.experiment is not None or len(names) > 1:
            raise SelectionError(
                f"{client.url} holds no experiment {wanted!r}; choose one with --experiment-id: "
                f"{_listing(names)}."
            )
        wanted = names[0]
    return SourceQuery(wanted, market, request.names, labelled)


def _finished_runs(
    client: PrometheusClient,
    selector: SeriesSelector,
    experiment: Experiment,
    request: EvidenceRequest,
    *,
    now: float,
    warnings: list[str],
) -> list[Run]:
    """The runs to read, in order of time; what is excluded is added to the warnings."""
    latency = f"{metrics.LATENCY.name}{selector.feeds()}"
    labels = client.label_values("run", [latency], start=request.since, end=request.until)
    if not labels:
        raise _nothing_selected(client, selector, request)
    timeline = Timeline.of(experiment.timing)
    named = {label: _run_of(label, timeline) for label in labels}
    runs = sorted((run for run in named.values() if run), key=lambda run: run.start_ns)
    misfits = [label for label, run in named.items() if run is None]
    if not runs:
        raise SelectionError(
            f"The runs of {selector.experiment!r}, such as {labels[0]}, do not fit the timing of "
            "this experiment file; give the one the sweep used with --config."
        )
    if misfits:
        warnings.append(
            f"These runs do not fit the experiment's timing and are excluded: {_listing(misfits)}."
        )
    since = -math.inf if request.since is None else request.since * NS_PER_SEC
    until = math.inf if request.until is None else request.until * NS_PER_SEC
    inside = [run for run in runs if since <= run.start_ns and run.end_ns <= until]
    finished = [r for r in inside if r.end_ns <= now * NS_PER_SEC]
    warnings.extend(
        f"Run {run.label} lasts until {_utc(run.end_ns)} and is excluded."
        for run in inside[len(finished) :]
    )
    if not finished:
        when = f"; the first ends at {_utc(inside[0].end_ns)}" if inside else " in that range"
        raise NoDataError(f"No run of {selector.experiment!r} has ended yet{when}.")
    return finished


def _run_of(label: str, timeline: Timeline) -> Run | None:
    try:
        start = parse_run_label(label)
    except ValueError:
        return None
    run = timeline.run_at(int(start.timestamp()) * NS_PER_SEC)
    return run if run.label == label else None


def _nothing_selected(
    client: PrometheusClient, selector: SeriesSelector, request: EvidenceRequest
) -> Exception:
    """Why a selection is empty: what else there would be, or that there is nothing at all."""
    anything = f"{metrics.LATENCY.name}{selector.instances()}"
    there = {
        label: client.label_values(label, [anything], start=request.since, end=request.until)
        for label in metrics.FEED
    }
    if not any(there.values()):
        # What a server that does not know native histograms makes of the probes' text.
        classic = f"{metrics.LATENCY.name}_bucket{selector.instances()}"
        if client.label_values("run", [classic], start=request.since, end=request.until):
            return NoDataError(
                f"{client.url} holds the latency of experiment {selector.experiment!r} only in "
                "classic buckets, which are too coarse to decide on; switch on native histograms "
                "there (--enable-feature=native-histograms up to Prometheus 3.8, "
                "scrape_native_histograms: true from 3.9 on) and measure again."
            )
        return NoDataError(
            f"Experiment {selector.experiment!r} has no latency in that range; a probe measures "
            "none before the warm-up of its first run is over."
        )
    choices = "; ".join(f"{label} {_listing(values)}" for label, values in there.items())
    symbols = f" and symbol {_listing(selector.symbols)}" if selector.symbols else ""
    return SelectionError(
        f"There is no latency of market {selector.market!r}, stream "
        f"{_listing(selector.streams)}{symbols}; available: {choices}."
    )


def _candidates(
    targets: dict[Target, InstanceRun], by: tuple[str, ...]
) -> dict[Candidate, list[tuple[Target, InstanceRun]]]:
    groups: defaultdict[Candidate, list[tuple[Target, InstanceRun]]] = defaultdict(list)
    for target, observed in targets.items():
        labels = target._asdict()
        groups[Candidate(by, tuple(labels[name] for name in by))].append((target, observed))
    return groups


def _latecomers(observed: Sequence[tuple[Target, InstanceRun]]) -> set[Target]:
    """Instances that joined too late to measure the run, where another measured it to its end.

    Such a probe waits for the next run: it shows no latency of this one, and fewer scrapes than a
    probe that was there. One with all its scrapes was there and measured nothing: that is a fault.
    """
    if not any(one.complete and one.evidence.latency.count for _, one in observed):
        return set()
    return {
        target
        for target, one in observed
        if not one.evidence.latency.count and not one.restarts and _scraped_too_rarely(one)
    }


def _notes_on_latecomers(
    candidate: Candidate, run: Run, observed: Sequence[tuple[Target, InstanceRun]]
) -> list[str]:
    return [
        f"{target.instance} has no latency samples and too few scrapes in run {run.label}, as a "
        f"probe that joins late; it is excluded there, and {candidate.name} is evaluated without."
        for target in sorted(_latecomers(observed))
    ]


def _run_evidence(
    candidate: Candidate,
    run: Run,
    observed: Sequence[tuple[Target, InstanceRun]],
    experiment: Experiment,
    *,
    market_quiet: bool,
) -> RunEvidence:
    late = _latecomers(observed)
    taking_part = [instance for target, instance in observed if target not in late]
    middle = (run.measure_start_ns + run.measure_end_ns) / 2 / NS_PER_SEC
    rule = experiment.decision
    limit = rule.constraints.clock_error_bound_sec
    reasons = [
        reason
        for instance in taking_part
        for reason in exclusion_reasons(instance, limit, market_quiet=market_quiet)
    ]
    reasons += [
        reason
        for instance in taking_part
        for reason in lateness_reasons(instance.evidence, rule.equivalence_ratio)
    ]
    samples = sum(instance.evidence.latency.count for instance in taking_part)
    return RunEvidence(
        candidate=candidate,
        run=run.label,
        stratum=experiment.stratum_of(datetime.fromtimestamp(middle, UTC)),
        instances=tuple(instance.evidence for instance in taking_part),
        exclusion_reasons=(*reasons, *sample_reasons(samples, experiment.decision.confidence)),
    )


def _scraped_too_rarely(observed: InstanceRun) -> bool:
    wanted = MIN_COVERAGE * observed.scrapes_expected
    return observed.scrapes < min(wanted, observed.scrapes_expected - _FORGIVEN_SCRAPES)


def exclusion_reasons(
    observed: InstanceRun, clock_limit_sec: float, *, market_quiet: bool = False
) -> list[str]:
    """Why what an instance observed in a run must not be used; empty if it may.

    Args:
        observed: what it observed.
        clock_limit_sec: largest clock error bound that is acceptable.
        market_quiet: whether no instance received anything in the run.
    """
    instance = observed.evidence.instance
    reasons = []
    if observed.restarts:
        times = "once" if observed.restarts == 1 else f"{observed.restarts} times"
        reasons.append(f"the probe on {instance} restarted {times} during the run")
    if not observed.evidence.latency.count:
        whose = "; no other instance has any either" if market_quiet else ""
        reasons.append(f"{instance} has no latency samples in this run{whose}")
    elif not observed.complete and not observed.restarts:
        reasons.append(
            f"no scrape of {instance} succeeded after the measurement, so its total is incomplete"
        )
    if observed.torn:
        reasons.append(f"the latency histogram of {instance} was reset during the run")
    if _scraped_too_rarely(observed):
        reasons.append(
            f"only {observed.scrapes} of {observed.scrapes_expected} scrapes of {instance} "
            f"succeeded during the measurement ({observed.evidence.coverage:.0%}, at least "
            f"{MIN_COVERAGE:.0%} needed)"
        )
    return reasons + _clock_reasons(observed, clock_limit_sec)


def _clock_reasons(observed: InstanceRun, limit_sec: float) -> list[str]:
    reasons = []
    instance, bound = observed.evidence.instance, observed.evidence.clock_error_bound_sec
    if bound is None:
        reasons.append(f"{instance} reported no clock error bound")
    elif not bound <= limit_sec:
        reasons.append(
            f"the clock of {instance} was only known to ±{bound * 1e3:.3g} ms "
            f"(at most {limit_sec * 1e3:g} ms allowed)"
        )
    elif observed.clock_scrapes < MIN_COVERAGE * observed.scrapes - _FORGIVEN_SCRAPES:
        reasons.append(
            f"{instance} reported its clock error bound in only {observed.clock_scrapes} of "
            f"{observed.scrapes} scrapes"
        )
    if observed.evidence.clock_synchronized is None:
        reasons.append(f"{instance} did not report whether its clock was synchronised")
    elif not observed.evidence.clock_synchronized:
        reasons.append(f"the clock of {instance} was not synchronised throughout the run")
    return reasons + _clock_contradictions(observed)


def _clock_contradictions(observed: InstanceRun) -> list[str]:
    """What shows a wrong clock even where its source calls it right."""
    reasons = []
    instance = observed.evidence.instance
    if observed.clock_steps:
        times = "once" if observed.clock_steps == 1 else f"{observed.clock_steps} times"
        reasons.append(f"the clock of {instance} was set {times} during the run")
    drift = observed.exchange_clock_drift
    if drift is not None and drift > MAX_DRIFT_RATIO:
        reasons.append(
            f"the clock of {instance} and the exchange's drifted apart by at least "
            f"{drift * 1e6:.3g} ppm (at most {MAX_DRIFT_RATIO * 1e6:g} ppm allowed)"
        )
    return reasons


def _odd_scrape_intervals(
    observed: Sequence[dict[Target, InstanceRun]], interval: float
) -> list[str]:
    most = max(
        (o.scrapes / o.scrapes_expected for targets in observed for o in targets.values()),
        default=0,
    )
    if most <= 1.2:  # noqa: PLR2004 - more than rounding and jitter can do
        return []
    warning = (
        f"Prometheus scrapes {most:.1f} times as often as scrape_interval_sec ({interval:g} s) of "
        "the experiment says; coverage and hours are overstated until that is corrected."
    )
    return [warning]


def _changing_instances(runs: Sequence[RunEvidence]) -> list[str]:
    sizes: defaultdict[Candidate, set[int]] = defaultdict(set)
    for run in runs:
        sizes[run.candidate].add(len(run.instances))
    return [
        f"{candidate.name} had between {min(counts)} and {max(counts)} instances in its runs."
        for candidate, counts in sorted(sizes.items())
        if len(counts) > 1
    ]


def _listing(names: Iterable[str]) -> str:
    all_names = list(names)
    more = f" and {len(all_names) - _LISTED} more" if len(all_names) > _LISTED else ""
    return ", ".join(json.dumps(name, ensure_ascii=False) for name in all_names[:_LISTED]) + more


def _utc(unix_ns: int) -> str:
    return datetime.fromtimestamp(unix_ns // NS_PER_SEC, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
