"""Compare: two candidates side by side, and the uncertainty of their difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from latency_sweep.contract import metrics
from latency_sweep.grafana import variables
from latency_sweep.grafana.board import Board, Cell, Section
from latency_sweep.grafana.panels import Query, graph, heat_map, upper_limit
from latency_sweep.grafana.promql import (
    TargetSelector,
    aggregate,
    increase,
    quantile,
    rate,
    share,
    variation,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from latency_sweep.contract.experiment import Constraints, Experiment
    from latency_sweep.contract.metrics import Metric

_SIDES: Final = {"A": TargetSelector(prefix="a_"), "B": TargetSelector(prefix="b_")}


def board(experiment: Experiment) -> Board:
    """The dashboard that compares two candidates."""
    limits = experiment.decision.constraints
    return Board(
        uid="sweep-compare",
        title="Compare",
        description=(
            "Two candidates side by side. A difference below the sum of both clock error bounds "
            "may be clock error. Round trip and delay variation need no common clock."
        ),
        variables=[
            *variables.common(),
            *variables.feeds(experiment),
            *variables.one_candidate("a_", "A"),
            *variables.one_candidate("b_", "B", last=True),
        ],
        selectors=list(_SIDES.values()),
        sections=[
            Section("Difference", _difference()),
            Section("Side by side", _heat_maps()),
            Section("Latency", _latency(limits)),
            Section("Independent of clock offset", _clock_free()),
            Section("Connection", _connection(limits)),
        ],
    )


def _both(expression: Callable[[TargetSelector], str], suffix: str = "") -> tuple[Query, ...]:
    """The same query for both sides."""
    return tuple(
        Query(expression(side), " ".join(filter(None, (name, suffix))))
        for name, side in _SIDES.items()
    )


def _quantile_of(metric: Metric, q: float) -> Callable[[TargetSelector], str]:
    return lambda side: quantile(q, rate(side.feed(metric)))


def _minus(expression: Callable[[TargetSelector], str]) -> str:
    return " - ".join(expression(side) for side in _SIDES.values())


def _reconnects_per_probe(side: TargetSelector) -> str:
    each = increase(side.unplanned(metrics.RECONNECTS), ("instance",), window="1h")
    return aggregate("avg", each)


def _difference() -> list[Cell]:
    bound = " + ".join(
        aggregate("max", side.target(metrics.CLOCK_ERROR_BOUND.name)) for side in _SIDES.values()
    )
    return [
        Cell(
            graph(
                "p99 of A minus p99 of B",
                "Below zero, A is faster. Inside the band (the sum of both clock error bounds) the "
                "sign is not certain.",
                "s",
                Query(_minus(_quantile_of(metrics.LATENCY, 0.99)), "p99 A - B"),
                Query(_minus(_quantile_of(metrics.LATENCY, 0.5)), "p50 A - B"),
                Query(bound, "clock bound"),
                Query(f"-({bound})", "- clock bound"),
                floor=None,
                band=("clock bound", "- clock bound"),
            ),
            24,
            10,
        )
    ]


def _heat_maps() -> list[Cell]:
    return [
        Cell(
            heat_map(
                f"Latency of {name}",
                f"Messages of candidate {name} by latency over time, from the native histogram.",
                rate(side.feed(metrics.LATENCY)),
            ),
            12,
            10,
        )
        for name, side in _SIDES.items()
    ]


def _latency(limits: Constraints) -> list[Cell]:
    return [
        Cell(
            graph(
                "p99",
                "p99 of both candidates. The dashed line is the limit.",
                "s",
                *_both(_quantile_of(metrics.LATENCY, 0.99)),
                steps=upper_limit(limits.p99_sec),
                logarithmic=True,
            ),
            8,
            9,
        ),
        Cell(
            graph(
                "p99.9",
                "p99.9 of both candidates.",
                "s",
                *_both(_quantile_of(metrics.LATENCY, 0.999)),
                logarithmic=True,
            ),
            8,
            9,
        ),
        Cell(
            graph(
                "Coefficient of variation",
                "Standard deviation divided by mean: the stability term of the score.",
                "none",
                *_both(lambda side: variation(rate(side.feed(metrics.LATENCY)))),
            ),
            8,
            9,
        ),
    ]


def _clock_free() -> list[Cell]:
    return [
        Cell(
            graph(
                "Round trip",
                "Median of WebSocket ping to pong.",
                "s",
                *_both(lambda side: quantile(0.5, rate(side.market(metrics.RTT)))),
                logarithmic=True,
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Packet delay variation (RFC 3393)",
                "p99 of the absolute change of latency between consecutive messages.",
                "s",
                *_both(_quantile_of(metrics.DELAY_VARIATION, 0.99)),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Exchange delay",
                "p99 of trade time to event time. Both candidates receive the same events, so the "
                "lines should coincide.",
                "s",
                *_both(_quantile_of(metrics.EXCHANGE_DELAY, 0.99)),
            ),
            8,
            8,
        ),
    ]


def _connection(limits: Constraints) -> list[Cell]:
    return [
        Cell(
            graph(
                "Messages lost",
                "Share of messages missing from the sequence; ids that nobody was sent count too.",
                "percentunit",
                *_both(
                    lambda side: share(
                        rate(side.feed(metrics.LOST)), rate(side.feed(metrics.MESSAGES))
                    )
                ),
                steps=upper_limit(limits.loss_ratio),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Unplanned reconnects per hour",
                "Per probe, over the last hour. The dashed line is the limit.",
                "short",
                *_both(_reconnects_per_probe),
                steps=upper_limit(limits.reconnects_per_hour),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Messages per second",
                "Per probe. Both candidates should receive the same.",
                "mps",
                *_both(
                    lambda side: aggregate("avg", rate(side.feed(metrics.MESSAGES), ("instance",)))
                ),
            ),
            8,
            8,
        ),
    ]
