"""Sweep overview: ranking of the candidates, their limits, and progress of the sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import dashboard

from latency_sweep.contract import metrics
from latency_sweep.contract.metrics import Phase
from latency_sweep.grafana import variables
from latency_sweep.grafana.board import Board, Cell, Section
from latency_sweep.grafana.boards import evidence
from latency_sweep.grafana.panels import (
    BAD,
    GOOD,
    NEUTRAL,
    UNSURE,
    Panel,
    Query,
    TableColumn,
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
    CANDIDATE,
    CANDIDATE_NAME,
    LATENCY_LIVE,
    LOSS_RATIO_SHORT,
    LOST_SHORT,
    MESSAGES_SHORT,
    P50_SHORT,
    P99_LIVE,
    P99_SHORT,
    P999_SHORT,
    RECONNECTS_LONG,
    WINDOW,
    TargetSelector,
    aggregate,
    evidence_matcher,
    increase,
    quantile,
    share,
    variation,
    with_city,
)

if TYPE_CHECKING:
    from latency_sweep.contract.experiment import Constraints, Experiment

_CHOSEN: Final = TargetSelector()
_NOW: Final = "$window"
_PHASES: Final = tuple(Phase)
_CANDIDATE_LINK: Final = (
    "/d/sweep-candidate?${datasource:queryparam}&${experiment:queryparam}&${market:queryparam}"
    "&var-region=${__data.fields.Region}&var-az_id=${__data.fields.Zone}"
    "&var-instance_type=${__data.fields.Instance type}&${__url_time_range}"
)


def board(experiment: Experiment) -> Board:
    """The home dashboard."""
    limits = experiment.decision.constraints
    return Board(
        uid="sweep-overview",
        title="Sweep overview",
        description=(
            "Candidates ranked by current measurements, with the limits of the experiment. The "
            "verdict comes from `analyze`, which evaluates whole runs, not this window."
        ),
        variables=[
            *variables.common(),
            *variables.targets(*CANDIDATE),
            variables.window(),
        ],
        selectors=[_CHOSEN],
        sections=[
            Section("Sweep", _sweep()),
            Section("Ranking", [Cell(_ranking(experiment), 24, 10)]),
            Section("Evidence so far", evidence.cells(experiment)),
            Section("Limits", _limits(limits)),
            Section("Latency by candidate", _latency(limits)),
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
                "The current run, named by the UTC start of its measurement, and its phase. If "
                "there are several, check the clocks of the probes.",
                "string",
                Query(aggregate("max", info, ("run", "phase")), "{{phase}} · {{run}}"),
                name_only=True,
            ),
            8,
            4,
        ),
        Cell(
            tile(
                "Time in phase",
                "Time since the current phase started.",
                "s",
                Query(f"time() - {aggregate('max', started)}", "elapsed"),
                decimals=0,
            ),
            4,
            4,
        ),
        Cell(
            tile(
                "Probes up",
                "Share of discovered probes whose last scrape succeeded.",
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
                "Messages of the evidence streams, all candidates, over five minutes.",
                "mps",
                Query(aggregate("sum", _CHOSEN.recorded(MESSAGES_SHORT)), "messages"),
            ),
            4,
            4,
        ),
        Cell(
            tile(
                "Alerts firing",
                "Alerts of this Prometheus that are firing. See the runbook.",
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
    # The records overlap, so each message counts several times: quantiles stay the same.
    pooled = _over_window("sum", LATENCY_LIVE)
    lost, received = _over_window("avg", LOST_SHORT), _over_window("avg", MESSAGES_SHORT)
    samples = increase(
        _CHOSEN.market(metrics.LATENCY, evidence_matcher(experiment)), CANDIDATE, window=_NOW
    )
    covered = aggregate("avg", f"avg_over_time({_CHOSEN.scrape('up')}[{_NOW}])", CANDIDATE)
    tail = f"{quantile(0.999, pooled)} / {quantile(0.99, pooled)}"
    columns = [
        TableColumn("p99", quantile(0.99, pooled), "s", upper_limit(limits.p99_sec), 2),
        TableColumn("p50", quantile(0.5, pooled), "s", (), 2),
        TableColumn("p99.9 / p99", tail, "none", upper_limit(limits.tail_ratio), 2),
        TableColumn("cv", variation(pooled), "none", (), 3),
        TableColumn(
            "Lost", share(lost, received), "percentunit", upper_limit(limits.loss_ratio), 4
        ),
        TableColumn(
            "Reconnects / h",
            _reconnects_per_hour(),
            "none",
            upper_limit(limits.reconnects_per_hour),
            1,
        ),
        TableColumn(
            "Samples",
            f"histogram_count({samples})",
            "short",
            lower_limit(limits.min_samples),
        ),
        TableColumn("Clock bound", _bound(), "s", upper_limit(limits.clock_error_bound_sec), 2),
        TableColumn("Scrapes", with_city(covered), "percentunit", (), 1),
    ]
    return ranking(
        "Candidates by p99",
        "Latency from event time to kernel receive timestamp in the chosen window, pooled over "
        "evidence streams and symbols. Green: within the limit of the experiment. Red: over it. "
        "Yellow: too few samples. Reconnects: unplanned, per probe, over the last hour.",
        *columns,
        labels={
            "city": "City",
            "region": "Region",
            "az_id": "Zone",
            "instance_type": "Instance type",
        },
        sort_by="p99",
        links=[dashboard.DashboardLink("Show this candidate").url(_CANDIDATE_LINK)],
    )


def _over_window(how: str, record: str) -> str:
    return aggregate("sum", f"{how}_over_time({_CHOSEN.recorded(record)}[{_NOW}])", CANDIDATE)


def _bound() -> str:
    return aggregate("max", _CHOSEN.target(metrics.CLOCK_ERROR_BOUND.name), CANDIDATE)


def _reconnects_per_hour() -> str:
    all_of_place = aggregate("sum", _CHOSEN.recorded(RECONNECTS_LONG), CANDIDATE)
    probes = aggregate("count", _CHOSEN.scrape("up"), CANDIDATE)
    return f"{all_of_place} / {probes}"


def _limits(limits: Constraints) -> list[Cell]:
    # Without a latency in the window the quantile is NaN, which must not pass as within the limit.
    p99, p999 = (f"({_CHOSEN.recorded(name)} > 0)" for name in (P99_SHORT, P999_SHORT))
    exceeded = f" + on ({', '.join(CANDIDATE)}) ".join(
        [
            f"({p99} >= bool {limits.p99_sec:g})",
            f"({p999} / {p99} >= bool {limits.tail_ratio:g})",
            f"({_CHOSEN.recorded(LOSS_RATIO_SHORT)} >= bool {limits.loss_ratio:g})",
            f"({_reconnects_per_hour()} >= bool {limits.reconnects_per_hour:g})",
            f"({_bound()} > bool {limits.clock_error_bound_sec:g})",
        ]
    )
    return [
        Cell(
            timeline(
                "Limits exceeded",
                "How many of five limits each candidate exceeds: p99, p99.9 / p99, loss, unplanned "
                "reconnects per hour, clock error bound. No bar: nothing measured in the window.",
                Query(exceeded, CANDIDATE_NAME),
                mapping=states(("none", GOOD)),
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
                "p99 over one minute; the maximum if a step covers several. Gaps are warm-up and "
                "cool-down, when nothing is measured.",
                "s",
                Query(worst(P99_LIVE), CANDIDATE_NAME),
                steps=upper_limit(limits.p99_sec),
                logarithmic=True,
            ),
            12,
            10,
        ),
        Cell(
            graph(
                "Median",
                "p50 over five minutes: mostly distance.",
                "s",
                Query(_CHOSEN.recorded(P50_SHORT), CANDIDATE_NAME),
                logarithmic=True,
            ),
            12,
            10,
        ),
        Cell(
            graph(
                "p99.9 / p99",
                "Tail ratio over five minutes.",
                "none",
                Query(
                    f"{_CHOSEN.recorded(P999_SHORT)} / {_CHOSEN.recorded(P99_SHORT)}",
                    CANDIDATE_NAME,
                ),
                steps=upper_limit(limits.tail_ratio),
            ),
            12,
            9,
        ),
        Cell(
            graph(
                "Messages lost",
                "Share of messages missing from the sequence over five minutes; the maximum if a "
                "step covers several. Ids that nobody was sent count too.",
                "percentunit",
                Query(worst(LOSS_RATIO_SHORT), CANDIDATE_NAME),
                steps=upper_limit(limits.loss_ratio),
            ),
            12,
            9,
        ),
    ]


def _coverage() -> list[Cell]:
    phases = [_CHOSEN.target(metrics.RUN_INFO.name, f'phase="{phase}"') for phase in _PHASES]
    in_phase = " or ".join(f"{number} * {info}" for number, info in enumerate(phases))
    up = aggregate("min", _CHOSEN.scrape("up"), (*CANDIDATE, "instance"))
    colors = {Phase.MEASURE: GOOD, Phase.WAIT: NEUTRAL}
    return [
        Cell(
            timeline(
                "Phase",
                "Warm-up, measurement and cool-down of each run. Probes derive them from the "
                "experiment and the wall clock.",
                Query(aggregate("max", in_phase), "phase"),
                mapping=states(*((phase.value, colors.get(phase, UNSURE)) for phase in _PHASES)),
            ),
            24,
            4,
        ),
        Cell(
            timeline(
                "Scrapes by probe",
                "Whether scrapes of each probe succeed. Runs with too few scrapes are excluded.",
                Query(up, f"{CANDIDATE_NAME} {{{{instance}}}}"),
                mapping=states(("down", BAD), ("up", GOOD)),
                steps=flag(),
            ),
            24,
            8,
        ),
    ]
