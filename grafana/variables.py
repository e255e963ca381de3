"""The variables at the top of the dashboards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import (
    VariableHide,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from latency_sweep.contract import metrics
from latency_sweep.grafana.panels import DATASOURCE
from latency_sweep.grafana.promql import CANDIDATE, PROBES_JOB

if TYPE_CHECKING:
    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models.dashboard import VariableModel

    from latency_sweep.contract.experiment import Experiment

# Of the probes' jobs, whatever they are called; down or not.
_UP: Final = f"up{{{PROBES_JOB}"
_ALL: Final = VariableOption(text="All", value="$__all")
_LABELS: Final = {
    "region": "Region",
    "az_id": "Zone",
    "instance_type": "Instance type",
    "instance": "Instance",
}


def common() -> list[Builder[VariableModel]]:
    """Data source, experiment, market and, hidden, the jobs that scrape the probes."""
    source = (
        dashboard.DatasourceVariable("datasource")
        .label("Data source")
        .description("The Prometheus that scrapes the probes.")
        .type("prometheus")
    )
    return [
        source,
        _query("experiment", "Experiment", f"label_values({metrics.RUN_INFO.name}, experiment)"),
        _query(
            "market",
            "Market",
            f'label_values({metrics.CONNECTED.name}{{experiment="$experiment"}}, market)',
        ),
        _several(
            _query(
                "job",
                "Job",
                f'label_values({metrics.RUN_INFO.name}{{experiment="$experiment"}}, job)',
            ),
        ).hide(VariableHide.HIDE_VARIABLE),
    ]


def feeds(experiment: Experiment) -> list[Builder[VariableModel]]:
    """Stream and symbol.

    The evidence streams are chosen at first, so that the dashboards show what `analyze` evaluates.
    """
    evidence = [
        stream
        for stream in experiment.market_data.streams
        if stream.partition("@")[0] in experiment.decision.evidence_streams
    ]
    return [
        _several(
            _query("stream", "Stream", f"label_values({_messages('market')}, stream)"),
            VariableOption(text=evidence, value=evidence),
        ),
        _several(_query("symbol", "Symbol", f"label_values({_messages('market')}, symbol)")),
    ]


def targets(*labels: str) -> list[Builder[VariableModel]]:
    """One variable for each target label, each limited by those before it; all at first."""
    chosen = ['experiment="$experiment"']
    variables: list[Builder[VariableModel]] = []
    for label in labels:
        definition = f"label_values({_UP},{','.join(chosen)}}}, {label})"
        variables.append(_several(_query(label, _LABELS[label], definition)))
        chosen.append(f'{label}=~"${label}"')
    return variables


def one_candidate(
    prefix: str = "", side: str = "", *, last: bool = False
) -> list[Builder[VariableModel]]:
    """Variables for region, zone and instance type, with a single value each.

    There is no "All": histograms of all candidates are too large for one response, and must not be
    pooled.

    Args:
        prefix: of the variables' names.
        side: of a comparison, shown before their labels.
        last: whether the alphabetically last region is chosen at first.
    """
    chosen = ['experiment="$experiment"']
    variables: list[Builder[VariableModel]] = []
    for label in CANDIDATE:
        definition = f"label_values({_UP},{','.join(chosen)}}}, {label})"
        shown = f"{side}: {_LABELS[label].lower()}" if side else _LABELS[label]
        variable = _query(f"{prefix}{label}", shown, definition)
        if label == "region" and last:
            variable.sort(VariableSort.ALPHABETICAL_DESC)
        variables.append(variable)
        chosen.append(f'{label}=~"${prefix}{label}"')
    return variables


def window() -> Builder[VariableModel]:
    """Window of tables and tiles."""
    return (
        dashboard.IntervalVariable("window")
        .label("Window")
        .description("Window of the ranking and of the other current values.")
        .values("5m,15m,1h,6h")
        .current(VariableOption(text="15m", value="15m"))
    )


def _messages(*labels: str) -> str:
    chosen = ",".join(f'{label}="${label}"' for label in ("experiment", *labels))
    return f"{metrics.MESSAGES.name}{{{chosen}}}"


def _query(name: str, label: str, definition: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query({"query": definition, "refId": f"variable-{name}"})
        .definition(definition)
        # New targets and streams appear while a sweep runs.
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


def _several(
    variable: dashboard.QueryVariable, current: VariableOption = _ALL
) -> dashboard.QueryVariable:
    return variable.multi(multi=True).include_all(include_all=True).all_value(".*").current(current)
