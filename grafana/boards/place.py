"""Place: everything that one place measures, from the heat map to the single reconnect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from latency_sweep.contract import metrics
from latency_sweep.grafana import variables
from latency_sweep.grafana.board import Board, Cell, Section
from latency_sweep.grafana.panels import Query, graph, heat_map, upper_limit
from latency_sweep.grafana.promql import (
    PLANNED_REASONS,
    WINDOW,
    Selection,
    aggregate,
    increase,
    quantile,
    rate,
    share,
    variation,
)

if TYPE_CHECKING:
    from latency_sweep.contract.experiment import Constraints, Experiment
    from latency_sweep.contract.metrics import Metric

_CHOSEN: Final = Selection()


def board(experiment: Experiment) -> Board:
    """The dashboard of a single place."""
    limits = experiment.decision.constraints
    return Board(
        uid="sweep-place",
        title="Place",
        description=(
            "What the chosen place measures: latency and its jitter, where the delay arises, "
            "and how the connection lives."
        ),
        variables=[*variables.common(), *variables.feeds(experiment), *variables.one_place()],
        selections=[_CHOSEN],
        sections=[
            Section("Latency", _latency(limits)),
            Section("Jitter", _jitter()),
            Section("Where the delay arises", _origin()),
            Section("Connection", _connection()),
            Section("Loss and order", _continuity(limits)),
            Section("Traffic", _traffic(experiment)),
        ],
    )


def _quantiles(metric: Metric, *, market_wide: bool = False) -> tuple[Query, ...]:
    selector = _CHOSEN.market(metric) if market_wide else _CHOSEN.feed(metric)
    pooled = rate(selector)
    return tuple(
        Query(quantile(q, pooled), name)
        for q, name in ((0.5, "p50"), (0.99, "p99"), (0.999, "p99.9"))
    )


def _latency(limits: Constraints) -> list[Cell]:
    return [
        Cell(
            heat_map(
                "Latency",
                "Messages by latency (event time to kernel receive timestamp) over time, straight "
                "from the native histogram: bright where many are.",
                rate(_CHOSEN.feed(metrics.LATENCY)),
            ),
            24,
            11,
        ),
        Cell(
            graph(
                "p50, p99, p99.9",
                "Quantiles of the pooled histogram; the dashed line is the limit of p99.",
                "s",
                *_quantiles(metrics.LATENCY),
                steps=upper_limit(limits.p99_sec),
            ),
            12,
            9,
        ),
        Cell(
            graph(
                "p99 by stream",
                "Streams differ: trades are pushed at once, depth in its interval.",
                "s",
                Query(
                    quantile(0.99, rate(_CHOSEN.feed(metrics.LATENCY), ("stream",))), "{{stream}}"
                ),
                steps=upper_limit(limits.p99_sec),
            ),
            12,
            9,
        ),
    ]


def _jitter() -> list[Cell]:
    pooled = rate(_CHOSEN.feed(metrics.LATENCY))
    return [
        Cell(
            graph(
                "Standard deviation",
                "Spread of the latency around its mean.",
                "s",
                Query(f"histogram_stddev({pooled})", "sd"),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Coefficient of variation",
                "Standard deviation by mean: the stability that the score weighs.",
                "none",
                Query(variation(pooled), "cv"),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Delay variation",
                "Change of latency from one message to the next of the same stream. No error of a "
                "clock's offset can touch it.",
                "s",
                *_quantiles(metrics.DELAY_VARIATION),
            ),
            8,
            8,
        ),
    ]


def _origin() -> list[Cell]:
    steps = rate(_CHOSEN.market(metrics.CONNECT_DURATION), ("step",))
    return [
        Cell(
            graph(
                "Inside the exchange",
                "Trade time to event time: queueing before anything is sent. Every place sees "
                "the same, so differences between places are not the network's.",
                "s",
                *_quantiles(metrics.EXCHANGE_DELAY),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Round trip",
                "WebSocket ping to pong; needs no common clock. Half of it is about the way of "
                "one message.",
                "s",
                *_quantiles(metrics.RTT, market_wide=True),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Connecting, by step",
                "Mean duration of each step of opening a connection. TCP is one round trip. Only "
                "where a connection was opened in the window.",
                "s",
                Query(f"histogram_avg({steps})", "{{phase}}"),
            ),
            8,
            8,
        ),
    ]


def _connection() -> list[Cell]:
    reconnects = _CHOSEN.unplanned(metrics.RECONNECTS)
    planned = _CHOSEN.market(metrics.RECONNECTS, f'reason=~"{PLANNED_REASONS}"')
    return [
        Cell(
            graph(
                "Unplanned reconnects",
                "Connections replaced because something went wrong, by reason; the limit of the "
                "experiment counts these.",
                "short",
                Query(increase(reconnects, ("reason",)), "{{reason}}"),
                stacked=True,
            ),
            6,
            8,
        ),
        Cell(
            graph(
                "Planned reconnects",
                "Connections replaced on purpose: the fresh one of a new run, and the one before "
                "the exchange's limit of age. The old one overlaps, nothing is lost.",
                "short",
                Query(increase(planned, ("reason",)), "{{reason}}"),
                stacked=True,
            ),
            6,
            8,
        ),
        Cell(
            graph(
                "Disconnected",
                "Share of the time in which a stream had no connection.",
                "percentunit",
                Query(
                    aggregate(
                        "avg",
                        f"rate({_CHOSEN.market(metrics.DISCONNECTED)}[{WINDOW}])",
                        ("instance",),
                    ),
                    "{{instance}}",
                ),
            ),
            6,
            8,
        ),
        Cell(
            graph(
                "Errors",
                "Bad frames, refused connections and other faults, by kind.",
                "short",
                Query(increase(_CHOSEN.market(metrics.ERRORS), ("kind",)) + " > 0", "{{kind}}"),
                stacked=True,
            ),
            6,
            8,
        ),
    ]


def _continuity(limits: Constraints) -> list[Cell]:
    lost, received = (
        rate(_CHOSEN.feed(metric), ("stream",)) for metric in (metrics.LOST, metrics.MESSAGES)
    )
    disorder = (
        (metrics.GAPS, "gaps"),
        (metrics.DUPLICATES, "duplicates"),
        (metrics.OUT_OF_ORDER, "out of order"),
        (metrics.NEGATIVE_LATENCY, "timestamped in the future"),
    )
    return [
        Cell(
            graph(
                "Messages lost",
                "Share of the messages missing from the sequence, by stream. Without a line: the "
                "stream's ids cannot show it.",
                "percentunit",
                Query(share(lost, received), "{{stream}}"),
                steps=upper_limit(limits.loss_ratio),
            ),
            12,
            8,
        ),
        Cell(
            graph(
                "Disorder",
                "Jumps in the sequence, messages that came twice or late, and messages whose event "
                "time lies after their receive time, which only a wrong clock can do.",
                "mps",
                *(Query(rate(_CHOSEN.feed(metric)), name) for metric, name in disorder),
            ),
            12,
            8,
        ),
    ]


def _traffic(experiment: Experiment) -> list[Cell]:
    received = _CHOSEN.feed(metrics.MESSAGES)
    # Four scrapes, as Grafana's own window: the shortest in which a rate is sure to exist.
    short = f"{4 * experiment.timing.scrape_interval_sec}s"
    resolution = f"{experiment.timing.scrape_interval_sec}s"
    brief = rate(received, window=short)
    long = "15m"
    return [
        Cell(
            graph(
                "Messages by stream",
                "How busy the market is; queues grow when it is.",
                "mps",
                Query(rate(received, ("stream",)), "{{stream}}"),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Bursts",
                f"Busiest {short} of the last {long} by their mean. At one the market is even; "
                "far above it comes in bursts, in which latencies grow.",
                "none",
                Query(
                    f"max_over_time({brief}[{long}:{resolution}]) / {rate(received, window=long)}",
                    "peak / mean",
                ),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Bytes by stream",
                "Payload received.",
                "Bps",
                Query(rate(_CHOSEN.feed(metrics.BYTES), ("stream",)), "{{stream}}"),
            ),
            8,
            8,
        ),
    ]
