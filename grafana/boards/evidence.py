"""Evidence so far: usable runs of those needed, what is excluded and why, time to an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from latency_sweep.contract.usable_runs import COUNTED_SEC, UsableRuns
from latency_sweep.grafana.board import Cell
from latency_sweep.grafana.panels import (
    Query,
    TableColumn,
    none_wanted,
    ranking,
    tile,
)
from latency_sweep.grafana.promql import TargetSelector, with_city

if TYPE_CHECKING:
    from latency_sweep.contract.experiment import Experiment

_CHOSEN: Final = TargetSelector()
_SEC_PER_DAY: Final = 86_400


def cells(experiment: Experiment) -> list[Cell]:
    """Tiles of the whole sweep, and a table by candidate."""
    runs = UsableRuns(experiment, "$market", _CHOSEN.over)
    none = f"0 * {runs.candidates()}"
    usable = f"({runs.usable()} or {none})"
    days = COUNTED_SEC // _SEC_PER_DAY
    reasons = [
        TableColumn(f"Excluded: {reason}", f"{excluded} or {none}", "short", none_wanted(), 0)
        for reason, excluded in runs.excluded().items()
    ]
    return [
        Cell(
            tile(
                "Runs measured",
                "Finished runs that at least one candidate measured.",
                "short",
                Query(runs.measured(), "runs"),
                decimals=0,
            ),
            4,
            4,
        ),
        Cell(
            tile(
                "Usable runs needed",
                "Runs that every candidate needs before so many can be told apart: min_runs of the "
                "experiment, or what Holm's method and an exact paired test ask for.",
                "short",
                Query(runs.needed(), "runs"),
                decimals=0,
            ),
            4,
            4,
        ),
        Cell(
            tile(
                "Fewest usable runs",
                "Usable runs of the candidate that has the fewest.",
                "short",
                Query(f"min({usable})", "runs"),
                decimals=0,
            ),
            4,
            4,
        ),
        Cell(
            tile(
                "Time to an answer, at least",
                "Until every candidate has the runs needed, if no further run is excluded. Small "
                "differences and time strata can take longer; `analyze` says.",
                "dtdurations",
                Query(runs.seconds_left(), "left"),
                decimals=0,
            ),
            6,
            4,
        ),
        Cell(
            ranking(
                "Runs by candidate",
                f"Usable runs of the last {days} days, and those excluded, by reason; a run may "
                "have several. `analyze` also excludes busy hosts and refuted clocks.",
                TableColumn("Usable", usable, "short", (), 0),
                *reasons,
                TableColumn("Probes", with_city(runs.candidates()), "short", (), 0),
                labels={
                    "city": "City",
                    "region": "Region",
                    "az_id": "Zone",
                    "instance_type": "Instance type",
                },
                sort_by="Usable",
            ),
            24,
            8,
        ),
    ]
