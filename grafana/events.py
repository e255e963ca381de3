"""Annotations of every graph; each query yields a sample only when something happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import dashboard, prometheus

from latency_sweep.contract import metrics
from latency_sweep.grafana.panels import DATASOURCE
from latency_sweep.grafana.promql import CANDIDATE, CANDIDATE_NAME, TargetSelector, aggregate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models.dashboard import AnnotationQuery

    from latency_sweep.contract.experiment import Experiment

_STEP_SEC: Final = 60
_ALL_OF_EXPERIMENT: Final = 'experiment="$experiment"'


def common(
    experiment: Experiment, selectors: Sequence[TargetSelector]
) -> list[Builder[AnnotationQuery]]:
    """Runs and phases, bursts of reconnects, restarts of probes.

    Args:
        experiment: its scrape interval decides how wide the queries' windows are.
        selectors: whose reconnects and restarts are shown.
    """
    # One scrape longer than a step, or a change between the last samples of two steps is missed.
    window = f"{_STEP_SEC + experiment.timing.scrape_interval_sec}s"
    target = (*CANDIDATE, "instance")

    def changed(selector: str) -> str:
        return f"changes({selector}[{window}])"

    info = f"{metrics.RUN_INFO.name}{{{_ALL_OF_EXPERIMENT}}}"
    phase_started = f"{metrics.RUN_PHASE_STARTED.name}{{{_ALL_OF_EXPERIMENT}}}"
    phases = f"{info} and on (instance) {changed(phase_started)} > 0"
    reconnects = " or ".join(changed(s.unplanned(metrics.RECONNECTS)) for s in selectors)
    restarts = " or ".join(changed(s.scrape(metrics.PROCESS_START)) for s in selectors)
    return [
        _events(
            "Runs and phases",
            aggregate("max", phases, (metrics.RUN, "phase")),
            title="{{phase}}",
            text="run {{run}}",
            color="blue",
        ),
        _events(
            "Unplanned reconnects",
            f"{aggregate('sum', reconnects, (*target, 'reason'))} > 0",
            title="reconnect: {{reason}}",
            text=f"{CANDIDATE_NAME} {{{{instance}}}}",
            color="orange",
        ),
        _events(
            "Probe restarts",
            f"{aggregate('max', restarts, target)} > 0",
            title="probe restarted",
            text=f"{CANDIDATE_NAME} {{{{instance}}}}",
            color="purple",
        ),
    ]


def _events(
    name: str, expr: str, *, title: str, text: str, color: str
) -> dashboard.AnnotationQuery:
    step = f"{_STEP_SEC}s"
    target = prometheus.Dataquery().ref_id("A").datasource(DATASOURCE).expr(expr).range()
    return (
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(DATASOURCE)
        .enable(enable=True)
        .icon_color(color)
        .expr(expr)
        .step(step)
        .title_format(title)
        .text_format(text)
        .target(target.interval(step).legend_format(title))
    )
