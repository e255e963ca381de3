"""Clocks that their own latencies refute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.contract import metrics
from latency_sweep.contract.clocks import LEAST_IN_BUCKET
from latency_sweep.grafana.board import Cell
from latency_sweep.grafana.panels import Query, graph
from latency_sweep.grafana.promql import aggregate, quantile, rate

if TYPE_CHECKING:
    from latency_sweep.grafana.promql import TargetSelector


def cell(chosen: TargetSelector) -> Cell:
    """By how much each instance's smallest latency is below what its clock's bound allows."""
    by = ("instance",)
    least = quantile(0, rate(chosen.market(metrics.LATENCY), by))
    bound = aggregate("max", chosen.target(metrics.CLOCK_ERROR_BOUND.name), by)
    return Cell(
        graph(
            "Latencies below the clock's bound",
            "How far the smallest latency is below zero, beyond the clock error bound. Above zero "
            "at one instance: its clock is wrong by more than it claims. At all: the exchange's "
            "clock is ahead.",
            "s",
            Query(f"clamp_min(-{LEAST_IN_BUCKET:g} * {least} - {bound}, 0)", "{{instance}}"),
        ),
        24,
        8,
    )
