"""The dashboards, one module each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.grafana.boards import candidate, compare, overview, probe_health

if TYPE_CHECKING:
    from latency_sweep.contract.experiment import Experiment
    from latency_sweep.grafana.board import Board


def every(experiment: Experiment) -> tuple[Board, ...]:
    """All dashboards of a sweep, the overview first."""
    return tuple(
        module.board(experiment) for module in (overview, candidate, compare, probe_health)
    )
