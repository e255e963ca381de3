"""Compare: two places side by side, and how sure the difference between them is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from latency_sweep.contract import metrics
from latency_sweep.grafana import variables
from latency_sweep.grafana.board import Board, Cell, Section
from latency_sweep.grafana.panels import Query, graph, heat_map, upper_limit
from latency_sweep.grafana.promql import (
    Selection,
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

_SIDES: Final = {"A": Selection(prefix="a_"), "B": Selection(prefix="b_")}


def board(experiment: Experiment) -> Board:
    """The dashboard of a duel."""
    limits = experiment.decision.constraints
    return Board(
        uid="sweep-compare",
        title="Compare",
        description=(
            "Two places side by side. A difference smaller than the two clocks' error bounds may "
            "be the clocks' alone; round trip and delay variation need no common clock."
        ),
        variables=[
            *variables.common(),
            *variables.feeds(experiment),
            *variables.one_place("a_", "A"),
            *variables.one_place("b_", "B", last=True),
        ],
        selections=list(_SIDES.values()),
        sections=[
            Section("Difference", _difference()),
            Section("Side by side", _heat_maps()),
            Section("Latency", _latency(limits)),
            Section("Without a common clock", _clock_free()),
            Section("Connection", _connection(limits)),
        ],
    )


def _both(expression: Callable[[Selection], str], suffix: str = "") -> tuple[Query, ...]:
    """The same question to both sides."""
    return tuple(
        Query(expression(side), " ".join(filter(None, (name, suffix))))
        for name, side in _SIDES.items()
    )


def _quantile_of(metric: Metric, q: float) -> Callable[[Selection], str]:
    return lambda side: quantile(q, rate(side.feed(metric)))


def _minus(expression: Callable[[Selection], str]) -> str:
    return " - ".join(expression(side) for side in _SIDES.values())


def _reconnects_per_probe(side: Selection) -> str:
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
                "Below zero A is faster. Between the two bounds (the sum of both clocks' error "
                "bounds) the sign may be the clocks' doing.",
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
                f"Messages of place {name} by latency over time, from the native histogram.",
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
                "p99 of both places; the dashed line is the limit.",
                "s",
                *_both(_quantile_of(metrics.LATENCY, 0.99)),
                steps=upper_limit(limits.p99_sec),
            ),
            8,
            9,
        ),
        Cell(
            graph(
                "p99.9",
                "The tail of both places.",
                "s",
                *_both(_quantile_of(metrics.LATENCY, 0.999)),
            ),
            8,
            9,
        ),
        Cell(
            graph(
                "Coefficient of variation",
                "Standard deviation by mean: the stability that the score weighs.",
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
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Delay variation",
                "p99 of the change of latency between neighbouring messages.",
                "s",
                *_both(_quantile_of(metrics.DELAY_VARIATION, 0.99)),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Inside the exchange",
                "p99 of trade time to event time. Both places see the same events, so the lines "
                "should be one; if not, they do not see the same part of the market.",
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
                "Share of the messages missing from the sequence.",
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
                "Unplanned reconnects of the last hour",
                "For each probe; the dashed line is the limit.",
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
                "For each probe. Both places should receive the same.",
                "mps",
                *_both(
                    lambda side: aggregate("avg", rate(side.feed(metrics.MESSAGES), ("instance",)))
                ),
            ),
            8,
            8,
        ),
    ]
