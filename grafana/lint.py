"""Rules for every dashboard, beyond what Grafana's own format demands."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from latency_sweep.contract.metrics import FEED, TARGET_LABELS
from latency_sweep.contract.monitoring import MONITORING
from latency_sweep.grafana.board import COLUMNS
from latency_sweep.grafana.panels import BAD, NO_DATA
from latency_sweep.grafana.promql import evidence_matcher

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from latency_sweep.contract.experiment import Experiment

_CHOSEN_LABELS: Final = "|".join((*TARGET_LABELS, *FEED))
_FIXED: Final = re.compile(rf'\b({_CHOSEN_LABELS})\s*(?:=~|!~|!=|=)\s*"(?!\$)([^"]*)"')
_INSTANCE_ID: Final = re.compile(r"\bi-[0-9a-f]{8,17}\b")
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)[^}]*\}|(\w+))")
_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
# The boundary of zero and one, of flags and of counts that should be zero.
_FLAG: Final = 1.0


def faults(dashboard: Mapping[str, Any], experiment: Experiment) -> list[str]:
    """One sentence for each rule that a dashboard breaks.

    Args:
        dashboard: Grafana's JSON document.
        experiment: whose limits its thresholds must be.
    """
    found = [
        *_settings(dashboard),
        *_ids(dashboard),
        *_overlaps(dashboard),
        *_sources(dashboard),
        *_unknown_variables(dashboard),
    ]
    limits = {_FLAG, *experiment.decision.constraints.model_dump().values()}
    for panel in panels(dashboard):
        found += [f"panel {panel['title']!r}: {fault}" for fault in _panel_faults(panel, limits)]
    for where, query in queries(dashboard):
        found += [
            f"{where}: {label} is fixed to {value!r}; choose it by a variable."
            for label, value in _FIXED.findall(query.replace(evidence_matcher(experiment), ""))
        ]
        if _INSTANCE_ID.search(query):
            found.append(f"{where}: names a single instance.")
    return found


def panels(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All panels but the headings of rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries(dashboard: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every query of panels, variables and annotations, with its source."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield f"panel {panel['title']!r} {target['refId']}", target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield f"variable {variable['name']!r}", variable["query"]["query"]
    for annotation in dashboard["annotations"]["list"]:
        if "expr" in annotation:
            yield f"annotation {annotation['name']!r}", annotation["expr"]


def is_logarithmic(panel: Mapping[str, Any]) -> bool:
    """Whether the axis of a panel of a dashboard's document is logarithmic."""
    custom = panel["fieldConfig"]["defaults"].get("custom", {})
    return bool(custom.get("scaleDistribution", {}).get("type") == "log")


def _panel_faults(panel: Mapping[str, Any], limits: set[float]) -> Iterator[str]:
    if not panel.get("description"):
        yield "has no description."
    defaults = panel["fieldConfig"]["defaults"]
    if not defaults.get("unit"):
        yield "has no unit."
    if panel["type"] == "table":
        for name in _columns_without_unit(panel):
            yield f"column {name!r} has no unit."
    if defaults.get("noValue") != NO_DATA:
        yield f"does not say {NO_DATA!r} when it is empty."
    if panel["type"] == "stat" and defaults["thresholds"]["steps"][0]["color"] == BAD:
        yield "is red before there is any data."
    if is_logarithmic(panel) and defaults.get("min", 1) <= 0:
        yield "has zero on a logarithmic axis."
    references = Counter(target["refId"] for target in panel["targets"])
    if not references:
        yield "has no query."
    yield from (f"has {n} queries named {ref}." for ref, n in references.items() if n > 1)
    yield from (
        f"has a threshold at {value:g}, which is no limit of the experiment."
        for value in _threshold_values(panel)
        if value not in limits
    )


def _columns_without_unit(panel: Mapping[str, Any]) -> list[str]:
    with_unit = {
        override["matcher"]["options"]
        for override in panel["fieldConfig"]["overrides"]
        if any(p["id"] == "unit" for p in override["properties"])
    }
    return [t["legendFormat"] for t in panel["targets"] if t["legendFormat"] not in with_unit]


def _threshold_values(panel: Mapping[str, Any]) -> list[float]:
    configurations = [panel["fieldConfig"]["defaults"].get("thresholds")]
    configurations += [
        override_property["value"]
        for override in panel["fieldConfig"]["overrides"]
        for override_property in override["properties"]
        if override_property["id"] == "thresholds"
    ]
    steps = [step for found in configurations if found for step in found["steps"]]
    return [step["value"] for step in steps if step.get("value") is not None]


def _settings(dashboard: Mapping[str, Any]) -> Iterator[str]:
    if not dashboard.get("uid"):
        yield "has no uid."
    if not dashboard.get("refresh"):
        yield "has no refresh interval."
    if dashboard.get("tags") != [MONITORING.tag]:
        yield f"is not tagged {MONITORING.tag!r}."
    if dashboard.get("timezone") != MONITORING.time_zone:
        yield f"is not in the time zone {MONITORING.time_zone!r}."
    types = {variable["name"]: variable["type"] for variable in dashboard["templating"]["list"]}
    if types.get("datasource") != "datasource":
        yield "has no variable for the data source."


def _ids(dashboard: Mapping[str, Any]) -> Iterator[str]:
    numbers = Counter(panel["id"] for panel in dashboard["panels"])
    yield from (f"{n} panels have the id {number}." for number, n in numbers.items() if n > 1)
    for title, n in Counter(panel["title"] for panel in panels(dashboard)).items():
        if n > 1:
            yield f"{n} panels are called {title!r}."


def _overlaps(dashboard: Mapping[str, Any]) -> Iterator[str]:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard["panels"]:
        grid = panel["gridPos"]
        if grid["x"] + grid["w"] > COLUMNS:
            yield f"panel {panel['title']!r} leaves the grid."
        cells = [
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        ]
        hit = {taken[cell] for cell in cells if cell in taken}
        yield from (f"panel {panel['title']!r} covers {other!r}." for other in sorted(hit))
        taken |= dict.fromkeys(cells, panel["title"])


def _sources(dashboard: Mapping[str, Any]) -> Iterator[str]:
    users = [(f"panel {panel['title']!r}", panel) for panel in panels(dashboard)]
    users += [
        (f"panel {panel['title']!r} {target['refId']}", target)
        for panel in panels(dashboard)
        for target in panel["targets"]
    ]
    users += [
        (f"variable {variable['name']!r}", variable)
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "query"
    ]
    users += [
        (f"annotation {annotation['name']!r}", annotation)
        for annotation in dashboard["annotations"]["list"]
        if "expr" in annotation
    ]
    for where, user in users:
        if user.get("datasource") != _DATASOURCE:
            yield f"{where}: does not use the variable for the data source."


def _unknown_variables(dashboard: Mapping[str, Any]) -> Iterator[str]:
    known = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = {
        name
        for match in _VARIABLE.findall(json.dumps(dashboard))
        for name in match
        if name and not name.startswith("__")
    }
    yield from (f"${name} is used, but there is no such variable." for name in sorted(used - known))
