"""Probe health: whether what the probes measure can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from latency_sweep.contract import metrics
from latency_sweep.contract.clocks import MAX_DRIFT_RATIO
from latency_sweep.grafana import variables
from latency_sweep.grafana.board import Board, Cell, Section
from latency_sweep.grafana.panels import (
    BAD,
    GOOD,
    Column,
    Panel,
    Query,
    flag,
    graph,
    heat_map,
    ranking,
    states,
    timeline,
    upper_limit,
)
from latency_sweep.grafana.promql import (
    PLACE,
    PLACE_NAME,
    RECEIVE_DELAY_5M,
    Selection,
    aggregate,
    increase,
    quantile,
    rate,
)

if TYPE_CHECKING:
    from latency_sweep.contract.experiment import Constraints, Experiment

_CHOSEN: Final = Selection(by_instance=True)
_EACH: Final = ("instance",)
_NAME: Final = "{{instance}}"
# What the network card drops or delays when the instance's allowance is used up: node_exporter's
# names of the counters of the ENA driver.
ALLOWANCES: Final = {
    "node_ethtool_bw_in_allowance_exceeded": "bandwidth in",
    "node_ethtool_bw_out_allowance_exceeded": "bandwidth out",
    "node_ethtool_pps_allowance_exceeded": "packets per second",
    "node_ethtool_conntrack_allowance_exceeded": "tracked connections",
    "node_ethtool_linklocal_allowance_exceeded": "link-local services",
}


def board(experiment: Experiment) -> Board:
    """The dashboard of the measuring itself."""
    limits = experiment.decision.constraints
    return Board(
        uid="sweep-probe-health",
        title="Probe health",
        description=(
            "Whether the numbers can be trusted: the probes' own delay, their clocks, their "
            "machines, their network cards, and whether Prometheus reaches them."
        ),
        variables=[
            *variables.common(),
            *variables.feeds(experiment),
            *variables.places(*PLACE, "instance"),
            variables.window(),
        ],
        selections=[_CHOSEN],
        sections=[
            Section("Probes", [Cell(_probes(limits), 24, 9)]),
            Section("The probe's own delay", _receive_delay()),
            Section("Clock", _clock(limits)),
            Section("Machine", _machine()),
            Section("Scrapes", _scrapes()),
        ],
    )


def _probes(limits: Constraints) -> Panel:
    labels = (*PLACE, "instance")
    own_delay = rate(_CHOSEN.feed(metrics.RECEIVE_DELAY), labels, window="$window")
    version = _CHOSEN.target(metrics.BUILD_INFO.name)
    newest = aggregate("max", _CHOSEN.feed(metrics.LAST_MESSAGE), labels)
    started = _CHOSEN.scrape(metrics.PROCESS_START)
    return ranking(
        "Probes",
        "Each probe: which version, for how long, whether it is scraped, connected and "
        "synchronised, and how stale its newest message is.",
        Column("Scraped", aggregate("min", _CHOSEN.scrape("up"), labels), "bool_yes_no", flag()),
        Column(
            "Connected",
            aggregate("min", _CHOSEN.market(metrics.CONNECTED), labels),
            "bool_yes_no",
            flag(),
        ),
        Column(
            "Synchronised",
            aggregate("min", _CHOSEN.target(metrics.CLOCK_SYNCHRONIZED.name), labels),
            "bool_yes_no",
            flag(),
        ),
        Column(
            "Clock bound",
            aggregate("max", _CHOSEN.target(metrics.CLOCK_ERROR_BOUND.name), labels),
            "s",
            upper_limit(limits.clock_error_bound_sec),
            2,
        ),
        Column("Own delay p99", quantile(0.99, own_delay), "s", (), 2),
        Column("Newest message", f"time() - {newest}", "s", (), 1),
        Column("Up for", f"time() - {aggregate('max', started, labels)}", "dtdurations", (), 0),
        Column("Build", aggregate("count", version, (*labels, "version")), "none"),
        labels={
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
    # The record of each place: the histograms of every probe are too many for one answer.
    by_place = Selection().recorded(RECEIVE_DELAY_5M)
    return [
        Cell(
            heat_map(
                "Own delay",
                "Kernel receive timestamp to the probe's program, of all probes chosen. It "
                "is not part of the latency; where it grows the machine or the event loop is "
                "busy.",
                aggregate("sum", by_place),
            ),
            12,
            9,
        ),
        Cell(
            graph(
                "Own delay, p99 by place",
                "A place far above its neighbours is short of processor time.",
                "s",
                Query(quantile(0.99, by_place), PLACE_NAME),
            ),
            12,
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
                "Error bound",
                "The local clock is no further from UTC than this; above the limit runs are not "
                "used.",
                "s",
                Query(
                    aggregate("max", _CHOSEN.target(metrics.CLOCK_ERROR_BOUND.name), by_source),
                    named,
                ),
                steps=upper_limit(limits.clock_error_bound_sec),
            ),
            8,
            9,
        ),
        Cell(
            graph(
                "Offset",
                "Local clock minus UTC, as the source of the time estimates it.",
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
                "Steps",
                "Times the clock was set instead of slewed: a latency measured across a step is "
                "wrong.",
                "short",
                Query(increase(_CHOSEN.target(metrics.CLOCK_STEPS.name), _EACH), _NAME),
                stacked=True,
            ),
            8,
            9,
        ),
        Cell(
            timeline(
                "Synchronised",
                "Whether the local clock is synchronised.",
                Query(aggregate("min", synchronized, _EACH), _NAME),
                mapping=states(("lost", BAD), ("synchronised", GOOD)),
                steps=flag(),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "The exchange's clock",
                "The exchange's clock minus the local one, from its time endpoint, and half the "
                "smallest round trip, which bounds its error. An offset common to all places "
                "shifts all latencies alike.",
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
                "Drift against the exchange's clock",
                "How fast the two clocks drift apart, as far as it is proven. Above "
                f"{MAX_DRIFT_RATIO * 1e6:g} ppm runs are not used.",
                "ppm",
                Query(f"1e6 * {proven}", _NAME),
            ),
            8,
            8,
        ),
    ]


def _machine() -> list[Cell]:
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
                "Processor",
                "Share of one processor that the probe uses.",
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
                "Share of the file descriptors that the probe may open. It should not grow from "
                "run to run: each connection that is not closed keeps one.",
                "percentunit",
                Query(f"{descriptors} / {allowed}", _NAME),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Event loop delay, p99",
                "How late the probe handles a timer of the kernel: so long a message waits before "
                "it is read. The kernel's timestamps keep latencies right; but messages that are "
                "read together share one.",
                "s",
                Query(quantile(0.99, rate(_CHOSEN.target(metrics.LOOP_DELAY.name), _EACH)), _NAME),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Garbage collection",
                "Share of the time in which the probe stands still to collect garbage, by "
                "generation. Pauses of the oldest one are the longest.",
                "percentunit",
                Query(f"histogram_sum({pauses})", f"{_NAME} generation {{{{generation}}}}"),
            ),
            8,
            8,
        ),
        Cell(
            graph(
                "Network allowance exceeded",
                "Packets that the instance's network card queued or dropped because the allowance "
                "of its type was used up: a bigger instance would have been faster. Needs "
                "node_exporter with its ethtool collector.",
                "pps",
                *allowances,
            ),
            8,
            8,
        ),
    ]


def _scrapes() -> list[Cell]:
    refused = increase(_CHOSEN.target(metrics.HTTP_REJECTED_REQUESTS.name), (*_EACH, "reason"))
    reloaded = _CHOSEN.target(metrics.CONFIG_RELOAD_SUCCESSFUL.name)
    return [
        Cell(
            timeline(
                "Scraped",
                "Whether Prometheus reaches each probe.",
                Query(aggregate("min", _CHOSEN.scrape("up"), _EACH), _NAME),
                mapping=states(("silent", BAD), ("scraped", GOOD)),
                steps=flag(),
            ),
            8,
            9,
        ),
        Cell(
            graph(
                "Duration of a scrape",
                "A scrape that takes long may time out, and costs the probe time.",
                "s",
                Query(aggregate("max", _CHOSEN.scrape("scrape_duration_seconds"), _EACH), _NAME),
            ),
            8,
            9,
        ),
        Cell(
            graph(
                "Samples in a scrape",
                "Series of each probe. It should not grow from run to run.",
                "short",
                Query(aggregate("max", _CHOSEN.scrape("scrape_samples_scraped"), _EACH), _NAME),
            ),
            8,
            9,
        ),
        Cell(
            graph(
                "Refused requests",
                "Whom the metrics port turned away, and why. Prometheus itself should never be.",
                "short",
                Query(
                    f"{refused} > 0",
                    f"{_NAME} {{{{reason}}}}",
                ),
                stacked=True,
            ),
            12,
            8,
        ),
        Cell(
            timeline(
                "Last reload",
                "Whether the probe could read its secrets and its web configuration when it last "
                "was told to. Where it could not, it goes on with the old ones.",
                Query(aggregate("min", reloaded, _EACH), _NAME),
                mapping=states(("failed", BAD), ("succeeded", GOOD)),
                steps=flag(),
            ),
            12,
            8,
        ),
    ]
