"""Probe health: clocks, hosts and scrapes of the probes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from latency_sweep.contract import metrics
from latency_sweep.contract.clocks import MAX_DRIFT_RATIO, MAX_TIMESTAMP_ERROR_RATIO
from latency_sweep.grafana import variables
from latency_sweep.grafana.board import Board, Cell, Section
from latency_sweep.grafana.boards import below_zero
from latency_sweep.grafana.panels import (
    BAD,
    GOOD,
    Panel,
    Query,
    TableColumn,
    flag,
    graph,
    heat_map,
    ranking,
    states,
    timeline,
    upper_limit,
)
from latency_sweep.grafana.promql import (
    CANDIDATE,
    CANDIDATE_NAME,
    RECEIVE_DELAY_SHORT,
    TargetSelector,
    aggregate,
    increase,
    quantile,
    rate,
    with_city,
)

if TYPE_CHECKING:
    from latency_sweep.contract.experiment import Constraints, Experiment

_CHOSEN: Final = TargetSelector(by_instance=True)
_EACH: Final = ("instance",)
_NAME: Final = "{{instance}}"
# Network allowances of an EC2 instance: node_exporter's names of the ENA driver's counters.
ALLOWANCES: Final = {
    "node_ethtool_bw_in_allowance_exceeded": "bandwidth in",
    "node_ethtool_bw_out_allowance_exceeded": "bandwidth out",
    "node_ethtool_pps_allowance_exceeded": "packets per second",
    "node_ethtool_conntrack_allowance_exceeded": "tracked connections",
    "node_ethtool_linklocal_allowance_exceeded": "link-local services",
}


def board(experiment: Experiment) -> Board:
    """The dashboard of the probes themselves."""
    limits = experiment.decision.constraints
    return Board(
        uid="sweep-probe-health",
        title="Probe health",
        description=(
            "Whether the measurements are valid: receive delay, clocks, hosts, network cards and "
            "scrapes of the probes."
        ),
        variables=[
            *variables.common(),
            *variables.feeds(experiment),
            *variables.targets(*CANDIDATE, "instance"),
            variables.window(),
        ],
        selectors=[_CHOSEN],
        sections=[
            Section("Probes", [Cell(_probes(limits), 24, 9)]),
            Section("Receive delay", _receive_delay()),
            Section("Timestamps", _timestamps()),
            Section("Clock", _clock(limits)),
            Section("Host", _host()),
            Section("Scrapes", _scrapes()),
        ],
    )


def _probes(limits: Constraints) -> Panel:
    labels = (*CANDIDATE, "instance")
    own_delay = rate(_CHOSEN.feed(metrics.RECEIVE_DELAY), labels, window="$window")
    version = _CHOSEN.target(metrics.BUILD_INFO.name)
    newest = aggregate("max", _CHOSEN.feed(metrics.LAST_MESSAGE), labels)
    started = _CHOSEN.scrape(metrics.PROCESS_START)
    return ranking(
        "Probes",
        "Version and uptime of each probe, whether it is scraped, connected and synchronised, and "
        "the age of its newest message.",
        TableColumn(
            "Scraped", aggregate("min", _CHOSEN.scrape("up"), labels), "bool_yes_no", flag()
        ),
        TableColumn(
            "Connected",
            aggregate("min", _CHOSEN.market(metrics.CONNECTED), labels),
            "bool_yes_no",
            flag(),
        ),
        TableColumn(
            "Synchronised",
            aggregate("min", _CHOSEN.target(metrics.CLOCK_SYNCHRONIZED.name), labels),
            "bool_yes_no",
            flag(),
        ),
        TableColumn(
            "Clock bound",
            aggregate("max", _CHOSEN.target(metrics.CLOCK_ERROR_BOUND.name), labels),
            "s",
            upper_limit(limits.clock_error_bound_sec),
            2,
        ),
        TableColumn("Receive delay p99", quantile(0.99, own_delay), "s", (), 2),
        TableColumn("Last message age", f"time() - {newest}", "s", (), 1),
        TableColumn(
            "Uptime", f"time() - {aggregate('max', started, labels)}", "dtdurations", (), 0
        ),
        TableColumn("Build", with_city(aggregate("count", version, (*labels, "version"))), "none"),
        labels={
            "city": "City",
            "region": "Region",
            "az_id": "Zone",
            "instance_type": "Instance type",
            "instance": "Instance",
            "version": "Version",
        },
        hidden=("Build",),
        sort_by="Region",
    )


def _receive_delay() -> list[Cell]:
    # Recorded per candidate: histograms of every probe are too large for one response.
    by_candidate = TargetSelector().recorded(RECEIVE_DELAY_SHORT)
    return [
        Cell(
            heat_map(
                "Receive delay",
                "Kernel receive timestamp to the probe process, all chosen probes. It is not part "
                "of the latency. If it grows, the host or the event loop is busy.",
                aggregate("sum", by_candidate),
            ),
            12,
            9,
        ),
        Cell(
            graph(
                "Receive delay, p99 by candidate",
                "A candidate far above the others is short of CPU time.",
                "s",
                Query(quantile(0.99, by_candidate), CANDIDATE_NAME),
                logarithmic=True,
            ),
            12,
            9,
        ),
    ]


def _timestamps() -> list[Cell]:
    latency = rate(_CHOSEN.feed(metrics.LATENCY), _EACH)
    bound = rate(_CHOSEN.feed(metrics.TIMESTAMP_ERROR), _EACH)
    exact = rate(_CHOSEN.feed(metrics.TIMESTAMPS_EXACT), _EACH)
    return [
        Cell(
            graph(
                "Timestamp error bound by latency",
                "How far off the receive timestamps may be on average, as a share of the latency. "
                f"Above {MAX_TIMESTAMP_ERROR_RATIO:.0%} the host is too busy to measure.",
                "percentunit",
                Query(f"histogram_sum({bound}) / (histogram_sum({latency}) > 0)", _NAME),
            ),
            8,
            9,
        ),
        Cell(
            graph(
                "Exact timestamps",
                "Share of the messages that have the timestamp of their last byte.",
                "percentunit",
                Query(f"{exact} / (histogram_count({latency}) > 0)", _NAME),
            ),
            8,
            9,
        ),
        Cell(
            graph(
                "Reads that the capture missed",
                "Reads with a packet that was not captured: their messages have the socket's "
                "timestamp, within its bound.",
                "short",
                Query(increase(_CHOSEN.market(metrics.CAPTURE_MISSED), _EACH), _NAME),
            ),
            8,
            9,
        ),
    ]


def _clock(limits: Constraints) -> list[Cell]:
    by_source = (*_EACH, "source")
    named = "{{instance}} {{source}}"
    synchronized = _CHOSEN.target(metrics.CLOCK_SYNCHRONIZED.name)
    drift, uncertain = (
        _CHOSEN.market(metric)
        for metric in (metrics.EXCHANGE_CLOCK_DRIFT, metrics.EXCHANGE_CLOCK_DRIFT_BOUND)
    )
    proven = aggregate("max", f"clamp_min(abs({drift}) - {uncertain}, 0)", _EACH)
    return [
        Cell(
            graph(
                "Clock error bound",
                "Upper bound of the local clock's error against UTC. Runs above the limit are "
                "excluded.",
                "s",
                Query(
                    aggregate("max", _CHOSEN.target(metrics.CLOCK_ERROR_BOUND.name), by_source),
                    named,
                ),
                steps=upper_limit(limits.clock_error_bound_sec),
                logarithmic=True,
            ),
            8,
            9,
        ),
        Cell(
            graph(
                "Clock offset",
                "Local clock minus UTC, as estimated by the time source.",
                "s",
                Query(
                    aggregate("max", _CHOSEN.target(metrics.CLOCK_OFFSET.name), by_source), named
                ),
                floor=None,
            ),
            8,
            9,
        ),
        Cell(
            graph(
                "Clock steps",
                "Times the clock was stepped instead of slewed. Latencies across a step are not "
                "comparable.",
                "short",
                Query(increase(_CHOSEN.target(metrics.CLOCK_STEPS.name), _EACH), _NAME),
                stacked=True,
            ),
            8,
            9,
        ),
        Cell(
            timeline(
                "Clock synchronised",
                "Whether the local clock is synchronised.",
                Query(aggregate("min", synchronized, _EACH), _NAME),
                mapping=states(("unsynchronised", BAD), ("synchronised", GOOD)),
                steps=flag(),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Exchange clock offset",
                "The exchange's clock minus the local clock, from the time endpoint, and the bound "
                "of its error, half the smallest round trip. An offset common to all candidates "
                "shifts all latencies equally.",
                "s",
                Query(
                    aggregate("max", _CHOSEN.market(metrics.EXCHANGE_CLOCK_OFFSET), _EACH),
                    "{{instance}} offset",
                ),
                Query(
                    aggregate("max", _CHOSEN.market(metrics.EXCHANGE_CLOCK_ERROR_BOUND), _EACH),
                    "{{instance}} bound",
                ),
                floor=None,
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Exchange clock drift",
                "Lower bound of the drift between the two clocks. Runs above "
                f"{MAX_DRIFT_RATIO * 1e6:g} ppm are excluded.",
                "ppm",
                Query(f"1e6 * {proven}", _NAME),
            ),
            8,
            8,
        ),
        below_zero.cell(_CHOSEN),
    ]


def _host() -> list[Cell]:
    allowances = [
        Query(f"{rate(_CHOSEN.target(name), _EACH)} > 0", f"{_NAME} {text}")
        for name, text in ALLOWANCES.items()
    ]
    descriptors, allowed = (
        aggregate("max", _CHOSEN.scrape(f"process_{name}_fds"), _EACH) for name in ("open", "max")
    )
    pauses = rate(_CHOSEN.target(metrics.GC_PAUSE.name), (*_EACH, "generation"))
    return [
        Cell(
            graph(
                "CPU",
                "CPU time of the probe, as a share of one CPU.",
                "percentunit",
                Query(rate(_CHOSEN.scrape("process_cpu_seconds_total"), _EACH), _NAME),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Memory",
                "Resident memory of the probe.",
                "bytes",
                Query(
                    aggregate("max", _CHOSEN.scrape("process_resident_memory_bytes"), _EACH), _NAME
                ),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "File descriptors",
                "Open file descriptors as a share of the limit. Growth from run to run is a "
                "connection leak.",
                "percentunit",
                Query(f"{descriptors} / {allowed}", _NAME),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Event loop delay, p99",
                "How late the event loop handles a kernel timer; messages wait that long to be "
                "read. Kernel timestamps keep latencies exact, but messages of one read share one.",
                "s",
                Query(quantile(0.99, rate(_CHOSEN.target(metrics.LOOP_DELAY.name), _EACH)), _NAME),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Garbage collection",
                "Share of time spent in garbage collection pauses, by generation. The oldest has "
                "the longest pauses.",
                "percentunit",
                Query(f"histogram_sum({pauses})", f"{_NAME} generation {{{{generation}}}}"),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Network allowance exceeded",
                "Packets queued or dropped because the instance exceeded a network allowance of "
                "its type. Needs node_exporter with the ethtool collector.",
                "pps",
                *allowances,
            ),
            8,
            8,
        ),
    ]


def _scrapes() -> list[Cell]:
    rejected = increase(_CHOSEN.target(metrics.HTTP_REJECTED_REQUESTS.name), (*_EACH, "reason"))
    reloaded = _CHOSEN.target(metrics.CONFIG_RELOAD_SUCCESSFUL.name)
    return [
        Cell(
            timeline(
                "Scrape status",
                "Whether scrapes of each probe succeed.",
                Query(aggregate("min", _CHOSEN.scrape("up"), _EACH), _NAME),
                mapping=states(("down", BAD), ("up", GOOD)),
                steps=flag(),
            ),
            8,
            9,
        ),
        Cell(
            graph(
                "Scrape duration",
                "Long scrapes may time out, and take CPU time from the probe.",
                "s",
                Query(aggregate("max", _CHOSEN.scrape("scrape_duration_seconds"), _EACH), _NAME),
            ),
            8,
            9,
        ),
        Cell(
            graph(
                "Samples per scrape",
                "Number of series of each probe. It should not grow from run to run.",
                "short",
                Query(aggregate("max", _CHOSEN.scrape("scrape_samples_scraped"), _EACH), _NAME),
            ),
            8,
            9,
        ),
        Cell(
            graph(
                "Rejected requests on the metrics endpoint",
                "By reason. Requests of Prometheus itself should never be rejected.",
                "short",
                Query(
                    f"{rejected} > 0",
                    f"{_NAME} {{{{reason}}}}",
                ),
                stacked=True,
            ),
            12,
            8,
        ),
        Cell(
            timeline(
                "Configuration reload",
                "Whether the last reload of secrets and web configuration succeeded. If it failed, "
                "the probe keeps the previous ones.",
                Query(aggregate("min", reloaded, _EACH), _NAME),
                mapping=states(("failed", BAD), ("succeeded", GOOD)),
                steps=flag(),
            ),
            12,
            8,
        ),
    ]
