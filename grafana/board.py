"""Puts a dashboard together: rows of panels on Grafana's grid, variables, events, links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    GridPos,
    RowPanel,
)

from latency_sweep.contract.monitoring import MONITORING
from latency_sweep.grafana import events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models import dashboard as model

    from latency_sweep.contract.experiment import Experiment
    from latency_sweep.grafana.panels import Panel
    from latency_sweep.grafana.promql import TargetSelector

COLUMNS: Final = 24


@dataclass(frozen=True, slots=True)
class Cell:
    """A panel and its size in units of Grafana's grid, 24 of which fill a line."""

    panel: Panel
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Section:
    """Panels under a heading, from left to right and then down."""

    title: str
    cells: Sequence[Cell]


@dataclass(frozen=True, slots=True)
class Board:
    """What makes a dashboard.

    Attributes:
        uid: its address, and the name of its file.
        title: shown.
        description: shown.
        variables: at its top.
        sections: its panels.
        selectors: what its variables choose; the events shown are theirs.
        hours: how far back it looks at first.
    """

    uid: str
    title: str
    description: str
    variables: Sequence[Builder[model.VariableModel]]
    sections: Sequence[Section]
    selectors: Sequence[TargetSelector]
    hours: int = 3

    def build(self, experiment: Experiment) -> Dashboard:
        """The dashboard in Grafana's own terms."""
        builder = (
            dashboard.Dashboard(self.title)
            .uid(self.uid)
            .description(self.description)
            .tags([MONITORING.tag])
            .timezone(MONITORING.time_zone)
            .time(f"now-{self.hours}h", "now")
            .refresh(f"{max(experiment.timing.scrape_interval_sec, 5)}s")
            .tooltip(DashboardCursorSync.CROSSHAIR)
            .editable()
            .variables(list(self.variables))
            .annotations(events.common(experiment, self.selectors))
            .link(_other_dashboards())
        )
        built = builder.build()
        built.panels = _arranged(self.sections)
        return built


def _other_dashboards() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("Latency sweep")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([MONITORING.tag])
        .tooltip("The other dashboards, with the same variables and time range")
        .include_vars(include_vars=True)
        .keep_time(keep_time=True)
    )


def _arranged(sections: Sequence[Section]) -> list[model.Panel | RowPanel]:
    panels: list[model.Panel | RowPanel] = []
    y = 0
    for section in sections:
        position = GridPos(h=1, w=COLUMNS, x=0, y=y)
        heading = RowPanel(title=section.title, id_val=len(panels) + 1, grid_pos=position)
        heading.panels = []
        panels.append(heading)
        x, y, line_height = 0, y + 1, 0
        for cell in section.cells:
            if x + cell.width > COLUMNS:
                x, y, line_height = 0, y + line_height, 0
            panel = cell.panel.build()
            panel.id_val = len(panels) + 1
            panel.grid_pos = GridPos(h=cell.height, w=cell.width, x=x, y=y)
            panels.append(panel)
            x, line_height = x + cell.width, max(line_height, cell.height)
        y += line_height
    return panels
