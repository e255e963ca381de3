"""Each rule for dashboards finds what breaks it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from latency_sweep.contract import experiment
from latency_sweep.grafana import lint
from latency_sweep.grafana.dashboard_queries import documents

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def dashboard() -> dict[str, Any]:
    """A faultless dashboard, to be broken."""
    return copy.deepcopy(documents()["sweep-overview"])


def panel(dashboard: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(p for p in dashboard["panels"] if p["type"] == kind)


def without_description(dashboard: dict[str, Any]) -> None:
    panel(dashboard, "timeseries")["description"] = ""


def without_unit(dashboard: dict[str, Any]) -> None:
    del panel(dashboard, "timeseries")["fieldConfig"]["defaults"]["unit"]


def column_without_unit(dashboard: dict[str, Any]) -> None:
    del panel(dashboard, "table")["fieldConfig"]["overrides"][0]


def silent_when_empty(dashboard: dict[str, Any]) -> None:
    del panel(dashboard, "stat")["fieldConfig"]["defaults"]["noValue"]


def red_when_empty(dashboard: dict[str, Any]) -> None:
    steps = panel(dashboard, "stat")["fieldConfig"]["defaults"]["thresholds"]["steps"]
    steps[0]["color"] = "red"


def without_query(dashboard: dict[str, Any]) -> None:
    panel(dashboard, "stat")["targets"] = []


def same_reference_twice(dashboard: dict[str, Any]) -> None:
    panel(dashboard, "table")["targets"][1]["refId"] = "A"


def strange_threshold(dashboard: dict[str, Any]) -> None:
    steps = panel(dashboard, "timeseries")["fieldConfig"]["defaults"]["thresholds"]["steps"]
    steps[1]["value"] = 0.07


def strange_threshold_of_a_column(dashboard: dict[str, Any]) -> None:
    properties = panel(dashboard, "table")["fieldConfig"]["overrides"][0]["properties"]
    steps = next(p for p in properties if p["id"] == "thresholds")["value"]["steps"]
    steps[1]["value"] = 0.07


def zero_on_a_logarithmic_axis(dashboard: dict[str, Any]) -> None:
    logarithmic = next(p for p in lint.panels(dashboard) if lint.is_logarithmic(p))
    logarithmic["fieldConfig"]["defaults"]["min"] = 0


def same_id_twice(dashboard: dict[str, Any]) -> None:
    dashboard["panels"][1]["id"] = dashboard["panels"][2]["id"]


def same_title_twice(dashboard: dict[str, Any]) -> None:
    dashboard["panels"][1]["title"] = dashboard["panels"][2]["title"]


def overlapping(dashboard: dict[str, Any]) -> None:
    dashboard["panels"][2]["gridPos"]["x"] -= 1


def too_wide(dashboard: dict[str, Any]) -> None:
    panel(dashboard, "table")["gridPos"]["w"] = 25


def fixed_source_of_a_panel(dashboard: dict[str, Any]) -> None:
    panel(dashboard, "stat")["datasource"] = {"type": "prometheus", "uid": "prometheus"}


def fixed_source_of_a_query(dashboard: dict[str, Any]) -> None:
    panel(dashboard, "stat")["targets"][0]["datasource"]["uid"] = "prometheus"


def fixed_source_of_an_annotation(dashboard: dict[str, Any]) -> None:
    dashboard["annotations"]["list"][0]["datasource"]["uid"] = "prometheus"


def fixed_region(dashboard: dict[str, Any]) -> None:
    panel(dashboard, "stat")["targets"][0]["expr"] = 'up{region="eu-west-1"}'


def named_instance(dashboard: dict[str, Any]) -> None:
    panel(dashboard, "stat")["targets"][0]["expr"] = 'up{host=~"i-0123456789abcdef0"}'


def without_uid(dashboard: dict[str, Any]) -> None:
    dashboard["uid"] = ""


def without_refresh(dashboard: dict[str, Any]) -> None:
    del dashboard["refresh"]


def without_tag(dashboard: dict[str, Any]) -> None:
    dashboard["tags"] = []


def in_local_time(dashboard: dict[str, Any]) -> None:
    dashboard["timezone"] = "browser"


def without_source_variable(dashboard: dict[str, Any]) -> None:
    variables = dashboard["templating"]["list"]
    dashboard["templating"]["list"] = [v for v in variables if v["type"] != "datasource"]


def unknown_variable(dashboard: dict[str, Any]) -> None:
    panel(dashboard, "stat")["targets"][0]["expr"] = 'up{region="$land"}'


@pytest.mark.parametrize(
    ("break_it", "fault"),
    [
        (without_description, "has no description"),
        (without_unit, "has no unit"),
        (column_without_unit, "column 'p99' has no unit"),
        (silent_when_empty, "does not say 'no data yet' when it is empty"),
        (red_when_empty, "is red before there is any data"),
        (without_query, "has no query"),
        (same_reference_twice, "has 2 queries named A"),
        (strange_threshold, "has a threshold at 0.07, which is no limit"),
        (strange_threshold_of_a_column, "has a threshold at 0.07, which is no limit"),
        (zero_on_a_logarithmic_axis, "has zero on a logarithmic axis"),
        (same_id_twice, "2 panels have the id"),
        (same_title_twice, "2 panels are called"),
        (overlapping, "covers"),
        (too_wide, "leaves the grid"),
        (fixed_source_of_a_panel, "does not use the variable for the data source"),
        (fixed_source_of_a_query, "does not use the variable for the data source"),
        (fixed_source_of_an_annotation, "does not use the variable for the data source"),
        (fixed_region, "region is fixed to 'eu-west-1'"),
        (named_instance, "names a single instance"),
        (without_uid, "has no uid"),
        (without_refresh, "has no refresh interval"),
        (without_tag, "is not tagged 'latency-sweep'"),
        (in_local_time, "is not in the time zone 'utc'"),
        (without_source_variable, "has no variable for the data source"),
        (unknown_variable, "$land is used, but there is no such variable"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_rule_finds_what_breaks_it(
    dashboard: dict[str, Any], break_it: Callable[[dict[str, Any]], None], fault: str
) -> None:
    break_it(dashboard)
    assert any(fault in found for found in lint.faults(dashboard, experiment.load()))
