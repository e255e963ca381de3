"""Waits for the runs of a sweep and shows their progress."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

import requests

from latency_sweep.contract import metrics
from latency_sweep.contract.metrics import Phase
from latency_sweep.contract.timeline import NS_PER_SEC, Timeline
from latency_sweep.lab.local.progress import DemoProgress, SiteProgress, show

if TYPE_CHECKING:
    from latency_sweep.contract.timeline import Run
    from latency_sweep.lab.local.stack import Stack
    from latency_sweep.runtime.progress import ProgressDisplay

_CHECK_EVERY_SEC: Final = 0.25
_ASK_EVERY_SEC: Final = 2.0


def schedule(timeline: Timeline, first: Run, count: int) -> list[Run]:
    """`count` consecutive runs from `first` on."""
    runs = [first]
    while len(runs) < count:
        runs.append(timeline.run_after(runs[-1]))
    return runs


def settled_at_ns(stack: Stack, last: Run) -> int:
    """When Prometheus has scraped everything of the last run, Unix nanoseconds."""
    return last.end_ns + 2 * stack.setup.experiment.timing.scrape_interval_sec * NS_PER_SEC


def watch(stack: Stack, runs: list[Run], display: ProgressDisplay) -> None:
    """Return when the last run is over and scraped.

    Raises:
        ChildError: a process of the stack ended.
    """
    end_ns = settled_at_ns(stack, runs[-1])
    asked_at = -math.inf
    sites: tuple[SiteProgress, ...] = ()
    with display:
        while (now_ns := time.time_ns()) < end_ns:
            stack.check()
            if time.monotonic() - asked_at >= _ASK_EVERY_SEC:
                asked_at = time.monotonic()
                sites = _sites(stack, _current(runs, now_ns)) or sites
            show(display, _progress(runs, now_ns, end_ns, sites))
            time.sleep(_CHECK_EVERY_SEC)


def _current(runs: list[Run], now_ns: int) -> Run:
    return next((run for run in runs if now_ns < run.end_ns), runs[-1])


def _progress(
    runs: list[Run], now_ns: int, end_ns: int, sites: tuple[SiteProgress, ...]
) -> DemoProgress:
    run = _current(runs, now_ns)
    phase = run.phase_at(now_ns) if now_ns >= run.start_ns else Phase.WAIT
    phase_end_ns = {
        Phase.WAIT: run.start_ns,
        Phase.WARMUP: run.measure_start_ns,
        Phase.MEASURE: run.measure_end_ns,
        Phase.COOLDOWN: max(run.end_ns, end_ns if run is runs[-1] else 0),
    }[phase]
    span_ns = end_ns - runs[0].start_ns
    return DemoProgress(
        run=runs.index(run) + 1,
        runs=len(runs),
        phase=phase,
        phase_left_sec=(phase_end_ns - now_ns) / NS_PER_SEC,
        left_sec=(end_ns - now_ns) / NS_PER_SEC,
        elapsed_share=max(0.0, (now_ns - runs[0].start_ns) / span_ns),
        sites=sites,
    )


def _sites(stack: Stack, run: Run) -> tuple[SiteProgress, ...]:
    """Each site so far, or nothing while Prometheus is too busy to answer."""
    names = "|".join(stack.setup.experiment.decision.evidence_streams)
    selector = f'{{{metrics.RUN}="{run.label}",stream=~"({names})(@.*)?"}}'
    p99 = f"histogram_quantile(0.99, sum by (instance) ({metrics.LATENCY.name}{selector}))"
    try:
        messages = _by_instance(stack, f"sum by (instance) ({metrics.MESSAGES.name})")
        lost = _by_instance(stack, f"sum by (instance) ({metrics.LOST.name})")
        latency = _by_instance(stack, p99)
    except requests.RequestException:
        return ()
    return tuple(
        SiteProgress(
            name=f"{probe.site.region} {probe.site.instance_type}",
            messages=int(messages.get(probe.instance, 0)),
            lost=int(lost.get(probe.instance, 0)),
            p99_sec=_number(latency.get(probe.instance)),
        )
        for probe in stack.probes
    )


def _by_instance(stack: Stack, expression: str) -> dict[str, float]:
    return {labels["instance"]: value for labels, value in stack.prometheus.query(expression)}


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
