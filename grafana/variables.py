"""The variables at the top of the dashboards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import VariableOption, VariableRefresh, VariableSort

from latency_sweep.contract import metrics
from latency_sweep.grafana.panels import DATASOURCE
from latency_sweep.grafana.promql import PLACE

if TYPE_CHECKING:
    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models.dashboard import VariableModel

    from latency_sweep.contract.experiment import Experiment

_UP: Final = f'up{{job="{metrics.JOB}"'
_ALL: Final = VariableOption(text="All", value="$__all")
_LABELS: Final = {
    "region": "Region",
    "az_id": "Zone",
    "instance_type": "Instance type",
    "instance": "Instance",
}


def common() -> list[Builder[VariableModel]]:
    """Data source, experiment and market."""
    source = (
        dashboard.DatasourceVariable("datasource")
        .label("Data source")
        .description("The Prometheus that scrapes the probes.")
        .type("prometheus")
    )
    return [
        source,
        _query("experiment", "Experiment", f"label_values({_UP}}}, experiment)"),
        _query(
            "market",
            "Market",
            f'label_values({metrics.CONNECTED.name}{{experiment="$experiment"}}, market)',
        ),
    ]


def feeds(experiment: Experiment) -> list[Builder[VariableModel]]:
    """Stream and symbol.

    The streams chosen at first are those that decide, so that the dashboards show what the
    analysis will judge.
    """
    deciding = [
        stream
        for stream in experiment.market_data.streams
        if stream.partition("@")[0] in experiment.decision.evidence_streams
    ]
    return [
        _several(
            _query("stream", "Stream", f"label_values({_messages('market')}, stream)"),
            VariableOption(text=deciding, value=deciding),
        ),
        _several(_query("symbol", "Symbol", f"label_values({_messages('market')}, symbol)")),
    ]


def places(*labels: str) -> list[Builder[VariableModel]]:
    """One variable for each target label, each limited by those before it; all at first."""
    chosen = ['experiment="$experiment"']
    variables: list[Builder[VariableModel]] = []
    for label in labels:
        definition = f"label_values({_UP},{','.join(chosen)}}}, {label})"
        variables.append(_several(_query(label, _LABELS[label], definition)))
        chosen.append(f'{label}=~"${label}"')
    return variables


def one_place(
    prefix: str = "", side: str = "", *, last: bool = False
) -> list[Builder[VariableModel]]:
    """One variable for each part of a place's name, with a single value each.

    Without "all": the histograms of all places together are too many for one answer, and mean
    nothing.

    Args:
        prefix: of the variables' names.
        side: of a comparison, shown before their labels.
        last: whether the last region of the alphabet is chosen at first, not the first one.
    """
    chosen = ['experiment="$experiment"']
    variables: list[Builder[VariableModel]] = []
    for label in PLACE:
        definition = f"label_values({_UP},{','.join(chosen)}}}, {label})"
        shown = f"{side}: {_LABELS[label].lower()}" if side else _LABELS[label]
        variable = _query(f"{prefix}{label}", shown, definition)
        if label == "region" and last:
            variable.sort(VariableSort.ALPHABETICAL_DESC)
        variables.append(variable)
        chosen.append(f'{label}=~"${prefix}{label}"')
    return variables


def window() -> Builder[VariableModel]:
    """How far back "now" reaches in numbers of the present."""
    return (
        dashboard.IntervalVariable("window")
        .label("Now means the last")
        .description("Window of the ranking and of the other numbers that describe the present.")
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
        # New places and streams appear while a sweep runs.
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


def _several(
    variable: dashboard.QueryVariable, current: VariableOption = _ALL
) -> dashboard.QueryVariable:
    return variable.multi(multi=True).include_all(include_all=True).all_value(".*").current(current)
