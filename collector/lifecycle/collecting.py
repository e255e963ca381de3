"""The measuring itself: wait for the probes, fix the runs to wait for, and wait for them.

Probes measure by the wall clock, whether this waits or not, and Prometheus keeps what they
measured. So this may be killed and started again at any time and loses nothing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.prometheus_api import PrometheusError
from latency_sweep.collector.lifecycle import schedule
from latency_sweep.collector.lifecycle.readiness import Health, health, wait_until_ready
from latency_sweep.collector.state import Stage
from latency_sweep.contract.metrics import Phase
from latency_sweep.contract.timeline import NS_PER_SEC
from latency_sweep.runtime.progress import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.analysis.prometheus_api import PrometheusClient
    from latency_sweep.collector.state import Sweep
    from latency_sweep.contract.experiment import Experiment
    from latency_sweep.contract.timeline import Run
    from latency_sweep.runtime.progress import ProgressDisplay

_REDRAW_SEC: Final = 0.5
_WORDS: Final = {
    Phase.WARMUP: "warming up",
    Phase.MEASURE: "measuring",
    Phase.COOLDOWN: "cooling down",
}


def collect(
    sweep: Sweep,
    experiment: Experiment,
    client: PrometheusClient,
    display: ProgressDisplay,
    *,
    ready_within_sec: float,
) -> None:
    """Go on from wherever the sweep is until the last run is over and scraped.

    Args:
        sweep: deployed.
        experiment: as it is run.
        client: the central Prometheus.
        display: shows the time left.
        ready_within_sec: how long to wait for the probes.

    Raises:
        NotReadyError: not every probe got ready.
        PrometheusError: the server refuses us.
        ScheduleError: the requested runs can never take place.
    """
    name = sweep.plan.experiment_id
    interval = experiment.timing.scrape_interval_sec
    if sweep.state.stage < Stage.READY:
        wait_until_ready(
            client,
            name,
            sweep.state.probes,
            display,
            within_sec=ready_within_sec,
            every_sec=min(interval, 5),
        )
        runs = schedule.plan_runs(
            experiment,
            after_ns=time.time_ns(),
            runs=sweep.plan.runs,
            strata=sweep.plan.strata,
        )
        sweep.reach(Stage.READY, schedule=tuple(run.label for run in runs))
    if sweep.state.stage < Stage.COLLECTED:
        runs = schedule.runs_of_labels(experiment, sweep.state.schedule)
        _wait(sweep, experiment, client, display, runs)
        sweep.reach(Stage.COLLECTED)


def progress(experiment: Experiment, runs: Sequence[Run], now_ns: int) -> tuple[str, float, float]:
    """What is going on at a moment.

    Returns:
        It in words, the share of the time that has passed, and the seconds left.
    """
    end_ns = schedule.settled_at_ns(experiment, runs)
    span = end_ns - runs[0].start_ns
    share = min(1.0, max(0.0, (now_ns - runs[0].start_ns) / span))
    left = max(0.0, (end_ns - now_ns) / NS_PER_SEC)
    for number, run in enumerate(runs, start=1):
        if now_ns < run.end_ns:
            stratum = schedule.stratum_of(experiment, run)
            name = f"run {number} of {len(runs)}{f' ({stratum})' if stratum else ''}"
            if now_ns < run.start_ns:
                return f"Waiting for {name}, which measures from {run.label}", share, left
            return f"{name[0].upper()}{name[1:]}: {_WORDS[run.phase_at(now_ns)]}", share, left
    return "Waiting for the last scrape", share, left


def _wait(
    sweep: Sweep,
    experiment: Experiment,
    client: PrometheusClient,
    display: ProgressDisplay,
    runs: Sequence[Run],
) -> None:
    """Return when the last run is settled; reports which probes fail meanwhile."""
    end_ns = schedule.settled_at_ns(experiment, runs)
    every_ns = experiment.timing.scrape_interval_sec * NS_PER_SEC
    ask_at_ns = 0
    failing: set[str] = set()
    while (now_ns := time.time_ns()) < end_ns:
        text, share, left_sec = progress(experiment, runs, now_ns)
        display.show(f"{text}, {duration(left_sec)} to go", share, step=text)
        if now_ns >= ask_at_ns:
            ask_at_ns = now_ns + every_ns
            failing = _report_changes(sweep, client, display, failing)
        time.sleep(min(_REDRAW_SEC, max(0.0, (end_ns - time.time_ns()) / NS_PER_SEC)))


def _report_changes(
    sweep: Sweep, client: PrometheusClient, display: ProgressDisplay, before: set[str]
) -> set[str]:
    """Report which probes have failed or recovered since; returns those that fail now."""
    try:
        seen = health(client, sweep.plan.experiment_id)
    except PrometheusError:
        return before  # evidence is in Prometheus, not here: a dropped line is no loss
    now = {}
    for probe in sweep.state.probes:
        state = seen.get(probe.instance_id, Health.UNSEEN)
        if state is not Health.READY:
            now[probe.name] = state
    for name, state in now.items():
        if name not in before:
            display.report(f"Note: {name}: {state}.")
    for name in before - set(now):
        display.report(f"Note: {name}: ready again.")
    return set(now)
