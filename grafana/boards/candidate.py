"""Candidate: everything that one region, zone and instance type measures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from latency_sweep.contract import metrics
from latency_sweep.grafana import variables
from latency_sweep.grafana.board import Board, Cell, Section
from latency_sweep.grafana.panels import Query, graph, heat_map, upper_limit
from latency_sweep.grafana.promql import (
    PLANNED_REASONS,
    WINDOW,
    TargetSelector,
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

_CHOSEN: Final = TargetSelector()


def board(experiment: Experiment) -> Board:
    """The dashboard of a single candidate."""
    limits = experiment.decision.constraints
    return Board(
        uid="sweep-candidate",
        title="Candidate",
        description=(
            "Everything one candidate (region, zone, instance type) measures: latency, jitter, "
            "sources of delay, connectivity and loss."
        ),
        variables=[*variables.common(), *variables.feeds(experiment), *variables.one_candidate()],
        selectors=[_CHOSEN],
        sections=[
            Section("Latency", _latency(limits)),
            Section("Jitter", _jitter()),
            Section("Sources of delay", _delays()),
            Section("Connection", _connection()),
            Section("Loss and ordering", _continuity(limits)),
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
                "Messages by latency (event time to kernel receive timestamp) over time, from the "
                "native histogram. Brighter cells hold more messages.",
                rate(_CHOSEN.feed(metrics.LATENCY)),
            ),
            24,
            11,
        ),
        Cell(
            graph(
                "p50, p99, p99.9",
                "Quantiles of the pooled histogram. The dashed line is the limit of p99.",
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
                "Trades are pushed immediately, depth updates at their interval.",
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
                "Standard deviation of the latency.",
                "s",
                Query(f"histogram_stddev({pooled})", "sd"),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Coefficient of variation",
                "Standard deviation divided by mean: the stability term of the score.",
                "none",
                Query(variation(pooled), "cv"),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Packet delay variation (RFC 3393)",
                "Absolute change of latency between consecutive messages of a stream. Independent "
                "of clock offset.",
                "s",
                *_quantiles(metrics.DELAY_VARIATION),
            ),
            8,
            8,
        ),
    ]


def _delays() -> list[Cell]:
    steps = rate(_CHOSEN.market(metrics.CONNECT_DURATION), ("step",))
    return [
        Cell(
            graph(
                "Exchange delay",
                "Trade time to event time: queueing inside the exchange. It is the same for all "
                "candidates, so a difference between candidates is not the network's.",
                "s",
                *_quantiles(metrics.EXCHANGE_DELAY),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Round trip",
                "WebSocket ping to pong. Needs no common clock. Half of it approximates the "
                "one-way delay.",
                "s",
                *_quantiles(metrics.RTT, market_wide=True),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Connection setup by step",
                "Mean duration of DNS, TCP, TLS, the WebSocket upgrade and, where the URL is too "
                "short for all streams, of subscribing. TCP is one round trip. "
                "Present only if a connection was opened in the window.",
                "s",
                # A step that nothing took has an average of NaN; comparing drops it.
                Query(f"histogram_avg({steps}) > 0", "{{step}}"),
                logarithmic=True,
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
                "Connections replaced because of a fault, by reason. These count against the limit "
                "of the experiment.",
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
                "Connections replaced on schedule: at the start of a run, and before the "
                "exchange's maximum connection age. Old and new overlap; nothing is lost.",
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
                "Invalid messages, failed connection attempts and other errors, by kind.",
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
    counters = (
        (metrics.GAPS, "gaps"),
        (metrics.RESTARTS, "new numberings"),
        (metrics.DUPLICATES, "duplicates"),
        (metrics.OUT_OF_ORDER, "out of order"),
        (metrics.NEGATIVE_LATENCY, "negative latency"),
    )
    missing = _CHOSEN.feed(metrics.RUN_MISSING)
    alike = ", ".join(label for label in metrics.FEED_RUN if label != "market")
    everywhere = f'{metrics.RUN_MISSING.name}{{experiment="$experiment",market="$market"}}'
    return [
        Cell(
            graph(
                "Messages lost",
                "Share of messages missing from the sequence, by stream; ids that nobody was sent "
                "count too. Streams whose ids cannot show loss have no line.",
                "percentunit",
                Query(share(lost, received), "{{stream}}"),
                steps=upper_limit(limits.loss_ratio),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Missing messages of the run",
                "Messages of the current run that have not arrived, and those missing beyond what "
                "the instance with the fewest misses: lost on the way to here for certain. The "
                "rest may have been sent to nobody, which the report of the run tells.",
                "none",
                Query(aggregate("sum", missing), "missing"),
                Query(
                    aggregate(
                        "sum",
                        f"{missing} - on ({alike}) group_left () min by ({alike}) ({everywhere})",
                    ),
                    "lost on the way, at least",
                ),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Gaps, duplicates and reordering",
                "Sequence gaps, new numberings, duplicates, messages out of order, and messages "
                "with an event time later than their receive time (a clock error).",
                "mps",
                *(Query(rate(_CHOSEN.feed(metric)), name) for metric, name in counters),
            ),
            8,
            8,
        ),
    ]


def _traffic(experiment: Experiment) -> list[Cell]:
    received = _CHOSEN.feed(metrics.MESSAGES)
    # Four scrapes, as $__rate_interval: the shortest window in which a rate always exists.
    short = f"{4 * experiment.timing.scrape_interval_sec}s"
    resolution = f"{experiment.timing.scrape_interval_sec}s"
    brief = rate(received, window=short)
    long = "15m"
    return [
        Cell(
            graph(
                "Messages by stream",
                "How busy the market is. Queues grow with it.",
                "mps",
                Query(rate(received, ("stream",)), "{{stream}}"),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Bursts",
                f"Peak rate over {short} divided by the mean of the last {long}. 1 is a constant "
                "rate; latencies grow in bursts.",
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
                "Received payload.",
                "Bps",
                Query(rate(_CHOSEN.feed(metrics.BYTES), ("stream",)), "{{stream}}"),
            ),
            8,
            8,
        ),
    ]
