"""What each run lost, as metrics: what `analyze` needs to tell lost from never sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily

from latency_sweep.contract import metrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from latency_sweep.probe.measurement.channel_state import ChannelState


def run_losses(market: str, states: Sequence[ChannelState]) -> Iterable[GaugeMetricFamily]:
    """Families of what was lost of the exposed runs; a table only where something was.

    Args:
        market: value of the `market` label.
        states: of the channels; those whose ids cannot show losses are left out.
    """
    lost, missing, first, last, table = (
        GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
        for metric in (
            metrics.RUN_LOST,
            metrics.RUN_MISSING,
            metrics.RUN_FIRST_ID,
            metrics.RUN_LAST_ID,
            metrics.RUN_MISSING_IDS,
        )
    )
    for state in states:
        if state.numbering is None:
            continue
        for losses in state.numbering.losses.runs:
            labels = [market, state.channel.stream, state.channel.symbol, losses.run.label]
            lost.add_metric(labels, losses.lost)
            missing.add_metric(labels, losses.missing)
            followed = losses.followed or state.numbering.current.followed
            if followed is not None:
                first.add_metric(labels, followed.first)
                last.add_metric(labels, followed.last)
            if losses.ids is not None:
                for cell, field, value in losses.ids.samples():
                    table.add_metric([*labels, str(cell), field], value)
    yield from (lost, missing, first, last, table)
