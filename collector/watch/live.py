"""What a running sweep looks like right now, asked from Prometheus.

Recording rules are not needed, so that any server that scrapes the probes will do, whatever it
calls their job.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.evidence.attribution import attribute
from latency_sweep.analysis.evidence.label_names import EXPERIMENT, LabelNames
from latency_sweep.analysis.evidence.sources import SourceQuery
from latency_sweep.analysis.prometheus_api import PrometheusError, QueryError
from latency_sweep.collector.watch import evidence
from latency_sweep.collector.watch.scope import Scope, scope_of
from latency_sweep.contract import metrics
from latency_sweep.contract.metrics import Phase
from latency_sweep.contract.timeline import NS_PER_SEC, Timeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from latency_sweep.analysis.prometheus_api import PrometheusClient
    from latency_sweep.collector.watch.evidence import EvidenceSoFar
    from latency_sweep.contract.experiment import Experiment
    from latency_sweep.contract.targets import CandidateLabels
    from latency_sweep.contract.timeline import Run

# Loss and reconnects are counted over this long, as the limits are per hour.
COUNTED_OVER: Final = "1h"
_COUNTED_OVER_SEC: Final = 3600.0
TREND_POINTS: Final = 24

# A rate needs two samples; four scrapes in its window forgive two that are missing.
_SCRAPES_PER_POINT: Final = 4
_QUANTILES: Final = {"p50": 0.5, "p99": 0.99, "p999": 0.999}


class NothingThereError(Exception):
    """No probe of the experiment is known to the server; the message says what is."""


@dataclass(frozen=True, slots=True)
class CandidateState:
    """One candidate right now; None is "not known".

    Attributes:
        labels: where and on what.
        probes: number of its probes.
        probes_up: of which Prometheus can scrape.
        connected: whether all of these are connected to the exchange.
        p50_sec: median latency of the newest measured run.
        p99_sec: its 99th percentile.
        p999_sec: its 99.9th percentile.
        trend_sec: p99 of successive short windows, the newest last.
        messages: received in the last hour, evidence streams only.
        loss_ratio: share of those sent that is missing.
        reconnects: unplanned ones in the last hour.
        clock_error_bound_sec: largest of its probes.
        clock_synchronized: whether all clocks are.
        phases: phases that its probes report; one unless they disagree.
        run: newest run of its probes.
    """

    labels: CandidateLabels
    probes: int
    probes_up: int
    connected: bool | None
    p50_sec: float | None
    p99_sec: float | None
    p999_sec: float | None
    trend_sec: tuple[float | None, ...]
    messages: float | None
    loss_ratio: float | None
    reconnects: float | None
    clock_error_bound_sec: float | None
    clock_synchronized: bool | None
    phases: tuple[Phase, ...]
    run: str | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All candidates right now.

    Attributes:
        experiment: value of the `experiment` label.
        market: value of the `market` label.
        taken_at: the server's clock, Unix seconds.
        run: the current run by the timeline.
        phase: of that run.
        phase_ends_at: Unix seconds.
        evidence: the runs that have ended; None while the server is too busy to count them.
        trend_step_sec: time between two points of a trend, seconds.
        candidates: the fastest first; unknown ones last.
    """

    experiment: str
    market: str
    taken_at: float
    run: str
    phase: Phase
    phase_ends_at: float
    evidence: EvidenceSoFar | None
    trend_step_sec: int
    candidates: tuple[CandidateState, ...]


class Watcher:
    """Takes snapshots of one experiment.

    Args:
        client: the server.
        experiment: gives timing, market and evidence streams.
        name: value of the `experiment` label; the experiment's own if None.
        names: of the target labels.
    """

    def __init__(
        self,
        client: PrometheusClient,
        experiment: Experiment,
        name: str | None = None,
        names: LabelNames | None = None,
    ) -> None:
        self._client = client
        self._experiment = experiment
        self._names = names or LabelNames()
        self._timeline = Timeline.of(experiment.timing)
        self._name = name or experiment.name
        self._market = experiment.market_data.market
        self._step = experiment.timing.scrape_interval_sec * _SCRAPES_PER_POINT
        streams = "|".join(experiment.decision.evidence_streams)
        self._in_market = f"market={json.dumps(self._market)}"
        self._evidence: tuple[tuple[str, Phase, int], EvidenceSoFar] | None = None
        self._feeds = f'{self._in_market}, stream=~"({streams})(@.*)?"'

    def snapshot(self) -> Snapshot:
        """The present state.

        Raises:
            NothingThereError: the server knows no probe of the experiment.
            PrometheusError: it could not answer.
        """
        now = self._client.now()
        scope = self._scope(now)
        probes = self._floats(scope, scope.over("count", lambda probes: f"up{{{probes}}}", up=True))
        if not probes:
            raise NothingThereError(self._what_is_there())
        values = {
            name: self._floats(scope, expression)
            for name, expression in self._queries(scope).items()
        }
        phases, runs = self._runs(scope)
        trend = self._trend(scope, now)
        candidates = [
            CandidateState(
                labels=labels,
                probes=int(count),
                probes_up=int(values["up"].get(labels, 0)),
                connected=_is_true(values["connected"].get(labels)),
                p50_sec=values["p50"].get(labels),
                p99_sec=values["p99"].get(labels),
                p999_sec=values["p999"].get(labels),
                trend_sec=trend.get(labels, (None,) * TREND_POINTS),
                messages=values["messages"].get(labels),
                loss_ratio=_share(values["lost"].get(labels), values["messages"].get(labels)),
                reconnects=values["reconnects"].get(labels),
                clock_error_bound_sec=values["clock"].get(labels),
                clock_synchronized=_is_true(values["synchronized"].get(labels)),
                phases=tuple(sorted(phases.get(labels, ()))),
                run=max(runs.get(labels, ()), default=None),
            )
            for labels, count in probes.items()
        ]
        now_ns = int(now * NS_PER_SEC)
        run = self._timeline.run_at(now_ns)
        phase = run.phase_at(now_ns) if now_ns >= run.start_ns else Phase.WAIT
        ends = {
            Phase.WAIT: run.start_ns,
            Phase.WARMUP: run.measure_start_ns,
            Phase.MEASURE: run.measure_end_ns,
            Phase.COOLDOWN: run.end_ns,
        }
        return Snapshot(
            experiment=self._name,
            market=self._market,
            taken_at=now,
            run=run.label,
            phase=phase,
            phase_ends_at=ends[phase] / NS_PER_SEC,
            evidence=self._evidence_so_far(scope, probes, run, phase),
            trend_step_sec=self._step,
            candidates=tuple(sorted(candidates, key=_by_speed)),
        )

    def _evidence_so_far(
        self, scope: Scope, probes: dict[CandidateLabels, float], run: Run, phase: Phase
    ) -> EvidenceSoFar | None:
        """Counted anew with each phase: an hour's run need not be counted every few seconds."""
        asked = run.label, phase, len(probes)
        if self._evidence is None or self._evidence[0] != asked:
            # The table does not wait for it: asked again with the next snapshot.
            with suppress(PrometheusError):
                counted = evidence.count(
                    lambda expression: self._floats(scope, expression),
                    scope,
                    self._experiment,
                    probes,
                    run,
                )
                self._evidence = asked, counted
        return None if self._evidence is None else self._evidence[1]

    def _scope(self, now: float) -> Scope:
        """The probes of the last hour; where no target has the experiment as label, they say it."""
        for labelled in (True, False):
            query = SourceQuery(self._name, self._market, self._names, labelled)
            found = attribute(
                self._client, query, self._experiment, start=now - _COUNTED_OVER_SEC, end=now
            )
            if found.probes:
                return scope_of(query, found)
        return Scope(SourceQuery(self._name, self._market, self._names))

    def _queries(self, scope: Scope) -> dict[str, str]:
        """Expression of each number of a candidate."""
        planned = "|".join(metrics.PLANNED)

        def series(metric: metrics.Metric, *matchers: str) -> Callable[[str], str]:
            return lambda probes: f"{metric.name}{{{', '.join((probes, *matchers))}}}"

        def increase(metric: metrics.Metric, *matchers: str) -> str:
            of = series(metric, *matchers)
            return scope.over("sum", lambda probes: f"increase({of(probes)}[{COUNTED_OVER}])")

        # Probes expose a run until the next one is measured: between runs this is the last one.
        latency = scope.over("sum", series(metrics.LATENCY, self._feeds))
        return {
            "up": scope.over("sum", lambda probes: f"up{{{probes}}}", up=True),
            "connected": scope.over("min", series(metrics.CONNECTED, self._in_market)),
            "messages": increase(metrics.MESSAGES, self._feeds),
            "lost": increase(metrics.LOST, self._feeds),
            "reconnects": increase(metrics.RECONNECTS, self._in_market, f'reason!~"{planned}"'),
            "clock": scope.over("max", series(metrics.CLOCK_ERROR_BOUND)),
            "synchronized": scope.over("min", series(metrics.CLOCK_SYNCHRONIZED)),
            **{
                name: f"histogram_quantile({share}, {latency})"
                for name, share in _QUANTILES.items()
            },
        }

    def _floats(self, scope: Scope, expression: str) -> dict[CandidateLabels, float]:
        found = self._client.query(expression).floats
        return {scope.candidate(one.labels): one.value for one in found if math.isfinite(one.value)}

    def _trend(self, scope: Scope, now: float) -> dict[CandidateLabels, tuple[float | None, ...]]:
        """p99 of short windows; None where nothing was measured."""
        # On a grid, so that points do not change while time goes by.
        end = now - now % self._step
        start = end - (TREND_POINTS - 1) * self._step
        rate = scope.over(
            "sum",
            lambda probes: (
                f"rate({metrics.LATENCY.name}{{{probes}, {self._feeds}}}[{self._step}s])"
            ),
        )
        matrix = self._client.query_range(
            f"histogram_quantile(0.99, {rate})", start=start, end=end, step=self._step
        )
        result = {}
        for series in matrix.series:
            points: list[float | None] = [None] * TREND_POINTS
            for moment, value in zip(series.times, series.values, strict=True):
                position = round((float(moment) - start) / self._step)
                if math.isfinite(value) and 0 <= position < TREND_POINTS:
                    points[position] = float(value)
            result[scope.candidate(series.labels)] = tuple(points)
        return result

    def _runs(
        self, scope: Scope
    ) -> tuple[dict[CandidateLabels, set[Phase]], dict[CandidateLabels, set[str]]]:
        """Phases and runs that the probes of each candidate report."""
        expression = scope.over(
            "count",
            lambda probes: f"{metrics.RUN_INFO.name}{{{probes}}}",
            by=metrics.RUN_INFO.labels,
        )
        phases: dict[CandidateLabels, set[Phase]] = {}
        runs: dict[CandidateLabels, set[str]] = {}
        for one in self._client.query(expression).floats:
            labels = scope.candidate(one.labels)
            # Whatever else a server may have under this name, it is no phase of a probe.
            with suppress(KeyError, ValueError):
                phases.setdefault(labels, set()).add(Phase(one.labels["phase"]))
                runs.setdefault(labels, set()).add(one.labels[metrics.RUN])
        return phases, runs

    def _what_is_there(self) -> str:
        try:
            probes = [metrics.CONNECTED.name, metrics.RUN_INFO.name]
            names = self._client.label_values(self._names.experiment, probes)
            names = names or self._client.label_values(EXPERIMENT, [metrics.PROBE_INFO.name])
        except QueryError:
            names = ()
        if not names:
            return f"{self._client.url} scrapes no probe; check that it is the sweep's Prometheus."
        return (
            f"{self._client.url} knows no probe of experiment {self._name!r}; "
            f"choose one with --experiment-id: {', '.join(names)}."
        )


def isoformat(unix_sec: float) -> str:
    """A moment as in the `run` label, `2026-01-31T06:05:00Z`."""
    return datetime.fromtimestamp(unix_sec, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _by_speed(state: CandidateState) -> tuple[float, CandidateLabels]:
    return (math.inf if state.p99_sec is None else state.p99_sec, state.labels)


def _is_true(value: float | None) -> bool | None:
    return None if value is None else value >= 1


def _share(lost: float | None, received: float | None) -> float | None:
    if lost is None or received is None or lost + received <= 0:
        return None
    return lost / (lost + received)
