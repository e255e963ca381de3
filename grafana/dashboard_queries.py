"""Every query of the generated dashboards, with variables substituted as Grafana does."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latency_sweep.grafana.generate import FOLDER
from latency_sweep.grafana.lint import is_logarithmic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DASHBOARDS = sorted((FOLDER / "dashboards").glob("*.json"))
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_LABEL_VALUES = re.compile(r"label_values\((.+), (\w+)\)")


@dataclass(frozen=True)
class DashboardQuery:
    """A query and where it is from.

    Attributes:
        dashboard: its uid.
        source: `panel TITLE REF`, `variable NAME` or `annotation NAME`.
        kind: the panel's type, `variable` or `annotation`.
        expr: as in the dashboard.
        instant: whether it is an instant query.
        step_sec: step of a range query, if the dashboard fixes it.
        name_only: whether only the names of the series are shown.
        logarithmic: whether the axis is, which shows positive values only.
    """

    dashboard: str
    source: str
    kind: str
    expr: str
    instant: bool = False
    step_sec: int | None = None
    name_only: bool = False
    logarithmic: bool = False

    @property
    def id(self) -> str:
        """The dashboard and the source."""
        return f"{self.dashboard}: {self.source}"

    @property
    def label_values(self) -> tuple[str, str]:
        """Selector and label of a variable's query."""
        match = _LABEL_VALUES.fullmatch(self.expr)
        assert match is not None, self.expr
        return match[1], match[2]

    def substituted(self, values: Mapping[str, str]) -> DashboardQuery:
        """With every variable replaced; one without a value is an error."""
        expr = _VARIABLE.sub(lambda match: values[match[1] or match[2]], self.expr)
        return DashboardQuery(**{**self.__dict__, "expr": expr})


def documents() -> dict[str, dict[str, Any]]:
    """The checked-in dashboards by uid."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in DASHBOARDS}


def all_queries() -> list[DashboardQuery]:
    """Of all dashboards, in order."""
    return [query for uid, document in documents().items() for query in _queries(uid, document)]


def _queries(uid: str, document: Mapping[str, Any]) -> Iterator[DashboardQuery]:
    for panel in document["panels"]:
        for target in panel.get("targets", []):
            yield DashboardQuery(
                uid,
                f"panel {panel['title']} {target['refId']}",
                panel["type"],
                target["expr"],
                instant=target.get("instant", False),
                name_only=panel["options"].get("textMode") == "name",
                logarithmic=is_logarithmic(panel),
            )
    for variable in document["templating"]["list"]:
        if variable["type"] == "query":
            yield DashboardQuery(
                uid, f"variable {variable['name']}", "variable", variable["query"]["query"]
            )
    for annotation in document["annotations"]["list"]:
        step_sec = int(annotation["step"].removesuffix("s"))
        yield DashboardQuery(
            uid,
            f"annotation {annotation['name']}",
            "annotation",
            annotation["expr"],
            step_sec=step_sec,
        )
