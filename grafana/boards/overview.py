"""Sweep overview: which place leads, which keeps the limits, and how far the sweep is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import dashboard

from latency_sweep.contract import metrics
from latency_sweep.contract.metrics import Phase
from latency_sweep.grafana import variables
from latency_sweep.grafana.board import Board, Cell, Section
from latency_sweep.grafana.panels import (
    BAD,
    GOOD,
    NEUTRAL,
    UNSURE,
    Column,
    Panel,
    Query,
    flag,
    graph,
    lower_limit,
    none_wanted,
    ranking,
    states,
    tile,
    timeline,
    upper_limit,
)
from latency_sweep.grafana.promql import (
    LATENCY_1M,
    LOSS_RATIO_5M,
    LOST_5M,
    MESSAGES_5M,
    P50_5M,
    P99_1M,
    P99_5M,
    P999_5M,
    PLACE,
    PLACE_NAME,
    RECONNECTS_1H,
    WINDOW,
    Selection,
    aggregate,
    deciding,
    increase,
    quantile,
    share,
    variation,
)

if TYPE_CHECKING:
    from latency_sweep.contract.experiment import Constraints, Experiment

_CHOSEN: Final = Selection()
_NOW: Final = "$window"
_PHASES: Final = tuple(Phase)
_PLACE_LINK: Final = (
    "/d/sweep-place?${datasource:queryparam}&${experiment:queryparam}&${market:queryparam}"
    "&var-region=${__data.fields.Region}&var-az_id=${__data.fields.Zone}"
    "&var-instance_type=${__data.fields.Instance type}&${__url_time_range}"
)


def board(experiment: Experiment) -> Board:
    """The dashboard to start from."""
    limits = experiment.decision.constraints
    return Board(
        uid="sweep-overview",
        title="Sweep overview",
        description=(
            "Places ranked by what they measure now, with the limits they must keep. The verdict "
            "is the analysis' alone: it judges whole runs, not this window."
        ),
        variables=[
            *variables.common(),
            *variables.places(*PLACE),
            variables.window(),
        ],
        selections=[_CHOSEN],
        sections=[
            Section("Sweep", _sweep()),
            Section("Ranking", [Cell(_ranking(experiment), 24, 10)]),
            Section("Limits", _limits(limits)),
            Section("Latency by place", _latency(limits)),
            Section("Coverage", _coverage()),
        ],
    )


def _sweep() -> list[Cell]:
    info = _CHOSEN.target(metrics.RUN_INFO.name)
    started = _CHOSEN.target(metrics.RUN_PHASE_STARTED.name)
    up = _CHOSEN.scrape("up")
    return [
        Cell(
            tile(
                "Run and phase",
                "The current run, named by the UTC start of its measurement, and its phase. More "
                "than one: the probes do not agree, so look at their clocks.",
                "string",
                Query(aggregate("max", info, ("run", "phase")), "{{phase}} · {{run}}"),
                name_only=True,
            ),
            8,
            4,
        ),
        Cell(
            tile(
                "In this phase for",
                "Time since the current phase began.",
                "s",
                Query(f"time() - {aggregate('max', started)}", "elapsed"),
                decimals=0,
            ),
            4,
            4,
        ),
        Cell(
            tile(
                "Probes answering",
                "Share of the discovered probes whose last scrape succeeded.",
                "percentunit",
                Query(aggregate("avg", up), "up"),
                steps=lower_limit(1),
            ),
            4,
            4,
        ),
        Cell(
            tile(
                "Messages per second",
                "Messages of the streams that decide, all places together, over five minutes.",
                "mps",
                Query(aggregate("sum", _CHOSEN.recorded(MESSAGES_5M)), "messages"),
            ),
            4,
            4,
        ),
        Cell(
            tile(
                "Alerts firing",
                "Alerts of this Prometheus that fire now; the runbook tells what to do.",
                "short",
                Query(
                    'sum(ALERTS{alertstate="firing",experiment=~"$experiment|"}) or vector(0)',
                    "alerts",
                ),
                steps=none_wanted(),
            ),
            4,
            4,
        ),
    ]


def _ranking(experiment: Experiment) -> Panel:
    limits = experiment.decision.constraints
    # Each message is in as many of the records as there are in a minute: no quantile minds.
    pooled = _over_window("sum", LATENCY_1M)
    lost, received = _over_window("avg", LOST_5M), _over_window("avg", MESSAGES_5M)
    samples = increase(_CHOSEN.market(metrics.LATENCY, deciding(experiment)), PLACE, window=_NOW)
    covered = aggregate("avg", f"avg_over_time({_CHOSEN.scrape('up')}[{_NOW}])", PLACE)
    tail = f"{quantile(0.999, pooled)} / {quantile(0.99, pooled)}"
    columns = [
        Column("p99", quantile(0.99, pooled), "s", upper_limit(limits.p99_sec), 2),
        Column("p50", quantile(0.5, pooled), "s", (), 2),
        Column("p99.9 / p99", tail, "none", upper_limit(limits.tail_ratio), 2),
        Column("cv", variation(pooled), "none", (), 3),
        Column("Lost", share(lost, received), "percentunit", upper_limit(limits.loss_ratio), 4),
        Column(
            "Reconnects / h",
            _reconnects_per_hour(),
            "none",
            upper_limit(limits.reconnects_per_hour),
            1,
        ),
        Column(
            "Samples",
            f"histogram_count({samples})",
            "short",
            lower_limit(limits.min_samples),
        ),
        Column("Clock bound", _bound(), "s", upper_limit(limits.clock_error_bound_sec), 2),
        Column("Scrapes", covered, "percentunit", (), 1),
    ]
    return ranking(
        "Places by p99 now",
        "Latency from the exchange's event time to the kernel's receive timestamp, pooled over the "
        "streams that decide and all symbols, in the chosen window. Green keeps the limit of the "
        "experiment, red breaks it, yellow has too few samples yet. Reconnects are the unplanned "
        "ones of the last hour for each probe.",
        *columns,
        labels={"region": "Region", "az_id": "Zone", "instance_type": "Instance type"},
        sort_by="p99",
        links=[dashboard.DashboardLink("Show this place").url(_PLACE_LINK)],
    )


def _over_window(how: str, record: str) -> str:
    return aggregate("sum", f"{how}_over_time({_CHOSEN.recorded(record)}[{_NOW}])", PLACE)


def _bound() -> str:
    return aggregate("max", _CHOSEN.target(metrics.CLOCK_ERROR_BOUND.name), PLACE)


def _reconnects_per_hour() -> str:
    all_of_place = aggregate("sum", _CHOSEN.recorded(RECONNECTS_1H), PLACE)
    probes = aggregate("count", _CHOSEN.scrape("up"), PLACE)
    return f"{all_of_place} / {probes}"


def _limits(limits: Constraints) -> list[Cell]:
    # Without a latency in the window there is NaN, which is no limit kept.
    p99, p999 = (f"({_CHOSEN.recorded(name)} > 0)" for name in (P99_5M, P999_5M))
    broken = f" + on ({', '.join(PLACE)}) ".join(
        [
            f"({p99} >= bool {limits.p99_sec:g})",
            f"({p999} / {p99} >= bool {limits.tail_ratio:g})",
            f"({_CHOSEN.recorded(LOSS_RATIO_5M)} >= bool {limits.loss_ratio:g})",
            f"({_reconnects_per_hour()} >= bool {limits.reconnects_per_hour:g})",
            f"({_bound()} > bool {limits.clock_error_bound_sec:g})",
        ]
    )
    return [
        Cell(
            timeline(
                "Limits broken",
                "How many of five limits each place breaks: p99, p99.9 / p99, loss, unplanned "
                "reconnects of the last hour, clock error bound. No bar: nothing measured in the "
                "window.",
                Query(broken, PLACE_NAME),
                mapping=states(("all kept", GOOD)),
                steps=none_wanted(),
            ),
            24,
            8,
        )
    ]


def _latency(limits: Constraints) -> list[Cell]:
    def worst(record: str) -> str:
        return f"max_over_time({_CHOSEN.recorded(record)}[{WINDOW}])"

    return [
        Cell(
            graph(
                "p99",
                "99 of 100 messages of a minute were no later than this; the worst minute where "
                "a step covers several. Gaps are warm-up and cool-down, in which nothing is "
                "measured.",
                "s",
                Query(worst(P99_1M), PLACE_NAME),
                steps=upper_limit(limits.p99_sec),
            ),
            12,
            10,
        ),
        Cell(
            graph(
                "Median",
                "Half of the messages of five minutes were no later than this: mostly distance.",
                "s",
                Query(_CHOSEN.recorded(P50_5M), PLACE_NAME),
            ),
            12,
            10,
        ),
        Cell(
            graph(
                "p99.9 / p99",
                "How far the tail of five minutes reaches beyond p99.",
                "none",
                Query(f"{_CHOSEN.recorded(P999_5M)} / {_CHOSEN.recorded(P99_5M)}", PLACE_NAME),
                steps=upper_limit(limits.tail_ratio),
            ),
            12,
            9,
        ),
        Cell(
            graph(
                "Messages lost",
                "Share of the messages of five minutes that are missing from the sequence; the "
                "worst where a step covers several.",
                "percentunit",
                Query(worst(LOSS_RATIO_5M), PLACE_NAME),
                steps=upper_limit(limits.loss_ratio),
            ),
            12,
            9,
        ),
    ]


def _coverage() -> list[Cell]:
    phases = [_CHOSEN.target(metrics.RUN_INFO.name, f'phase="{phase}"') for phase in _PHASES]
    in_phase = " or ".join(f"{number} * {info}" for number, info in enumerate(phases))
    up = aggregate("min", _CHOSEN.scrape("up"), (*PLACE, "instance"))
    colors = {Phase.MEASURE: GOOD, Phase.WAIT: NEUTRAL}
    return [
        Cell(
            timeline(
                "Phase",
                "Warm-up, measurement and cool-down of each run; all probes derive them from the "
                "same experiment and the time of day.",
                Query(aggregate("max", in_phase), "phase"),
                mapping=states(*((phase.value, colors.get(phase, UNSURE)) for phase in _PHASES)),
            ),
            24,
            4,
        ),
        Cell(
            timeline(
                "Probes scraped",
                "Whether each probe's scrapes succeed. A run that is watched too little is not "
                "used.",
                Query(up, f"{PLACE_NAME} {{{{instance}}}}"),
                mapping=states(("silent", BAD), ("scraped", GOOD)),
                steps=flag(),
            ),
            24,
            8,
        ),
    ]
