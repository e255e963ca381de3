"""What Prometheus knows in the end, against what the simulated exchange really sent.

All numbers come from PromQL on the real server; the truth is what the exchange wrote down when it
sent each message.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import requests
from rich.console import Console

from latency_sweep.analysis.evidence.collect import EvidenceRequest, collect
from latency_sweep.analysis.prometheus_api import PrometheusClient
from latency_sweep.contract import experiment
from latency_sweep.contract.timeline import Timeline
from latency_sweep.lab.exchange.ground_truth.reader import read_ground_truth
from latency_sweep.lab.local.recording import first_run
from latency_sweep.lab.local.sites import Scenario
from latency_sweep.lab.local.stack import Setup, running_stack
from latency_sweep.lab.local.watch import schedule, watch
from latency_sweep.runtime.loopback import get_json
from latency_sweep.runtime.progress import ProgressDisplay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latency_sweep.contract.timeline import Run
    from latency_sweep.lab.binaries.prometheus_binary import Binaries
    from latency_sweep.lab.local.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(400)]

RUNS = 3
# Latencies so large that what a busy machine adds on loopback stays below 1 %.
SCENERY = {
    "seed": 11,
    "symbols": {
        "BTCUSDT": {
            "trades_per_sec": 60.0,
            "book_updates_per_sec": 20.0,
            "never_sent": {"trade": 0.05, "aggTrade": 0.02},
        },
        "ETHUSDT": {"trades_per_sec": 40.0, "book_updates_per_sec": 20.0},
    },
    "sites": [
        {
            "region": "ap-northeast-1",
            "zone": "ap-northeast-1a",
            "instance_type": "c6in.large",
            "feed": {
                "latency": {
                    "distribution": "lognormal",
                    "floor_ms": 150.0,
                    "median_ms": 15.0,
                    "sigma": 0.5,
                }
            },
        },
        {
            "region": "ap-southeast-1",
            "zone": "ap-southeast-1a",
            "instance_type": "c6in.large",
            "feed": {
                "latency": {
                    "distribution": "gamma",
                    "floor_ms": 200.0,
                    "shape": 2.0,
                    "scale_ms": 10.0,
                },
                "loss": {"trade": 0.03, "aggTrade": 0.03},
            },
        },
        {
            "region": "eu-central-1",
            "zone": "eu-central-1a",
            "instance_type": "c6i.large",
            "feed": {
                # Spikes, so that what a busy machine holds back for a moment is not the slowest.
                "latency": {
                    "distribution": "mixture",
                    "components": [
                        {
                            "weight": 0.95,
                            "of": {"distribution": "uniform", "low_ms": 180.0, "high_ms": 240.0},
                        },
                        {
                            "weight": 0.05,
                            "of": {"distribution": "uniform", "low_ms": 240.0, "high_ms": 600.0},
                        },
                    ],
                },
                "duplicates": {"trade": 0.03},
                "reordering": {"aggTrade": 0.03},
            },
        },
    ],
}
CHANNEL = ["instance", "stream", "symbol"]
# Where each message has an id of its own.
ID_STREAMS = ("trade", "aggTrade")


@dataclass(frozen=True)
class Measured:
    """A stack that has measured some runs and has fallen silent.

    Attributes:
        stack: still running.
        runs: the runs.
        truth: what the exchange wrote down, with a column `instance`.
        silent_at: when the exchange fell silent, Unix seconds.
    """

    stack: Stack
    runs: list[Run]
    ground_truth: pd.DataFrame
    silent_at: float

    def by_channel(self, expression: str) -> dict[tuple[str, ...], float]:
        """Evaluate PromQL; values by instance, stream and symbol."""
        found = self.stack.prometheus.query(expression)
        return {tuple(labels[name] for name in CHANNEL): value for labels, value in found}

    @property
    def received(self) -> pd.DataFrame:
        """The rows of the truth that reached the socket."""
        return self.ground_truth[self.ground_truth["outcome"].isin(["sent", "duplicate"])]

    def measured(self, *runs: Run) -> pd.DataFrame:
        """Received messages with an event time inside the measurement of some runs."""
        rows = self.received[self.received["stream"] != "bookTicker"]
        inside = np.zeros(len(rows), dtype=bool)
        for run in runs:
            inside |= rows["event_ns"].between(
                run.measure_start_ns, run.measure_end_ns, inclusive="left"
            )
        return rows[inside]


@pytest.fixture(scope="module")
def measured(
    prometheus_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Measured]:
    """Three short runs of three places, from the exchange to Prometheus."""
    document = experiment.load().model_dump(by_alias=True)
    document |= {"name": "accuracy-test", "time_strata": {}}
    document["regions"] |= {"eu-central-1": {"name": "Frankfurt", "phase": 1}}
    document["timing"] = {
        "warmup_sec": 2,
        "measurement_sec": 6,
        "cooldown_sec": 2,
        "scrape_interval_sec": 1,
    }
    document["market_data"]["symbols"] = ["BTCUSDT", "ETHUSDT"]
    setup = Setup(
        experiment.Experiment.model_validate(document),
        Scenario.model_validate(SCENERY),
        tmp_path_factory.mktemp("accuracy"),
        ground_truth=True,
    )
    with running_stack(setup, prometheus_binaries) as stack:
        timeline = Timeline.of(setup.experiment.timing)
        runs = schedule(timeline, first_run(timeline, time.time_ns()), RUNS)
        watch(stack, runs, ProgressDisplay(Console(file=io.StringIO())))
        silent_at = _fall_silent(stack)
        yield Measured(stack, runs, _truth(stack), silent_at)


def _fall_silent(stack: Stack) -> float:
    """Stop the feed and wait until every counter has been scraped in its final state.

    Connections of the runs to come are refused: on them, the feed would go on.

    Returns:
        When it stopped, Unix seconds.
    """
    control = stack.exchange.control_url
    begun_at = time.time()
    for action in ("refuse", "stall", "flush"):
        answer = requests.post(f"{control}/control/{action}", json={}, timeout=10)
        assert answer.ok, answer.text
    silent_at = time.time()
    grace_sec = 3  # a missing message counts as lost after a second; then a tick and a scrape
    oldest = "min(timestamp(feed_messages_total))"
    deadline = time.monotonic() + 30
    while stack.prometheus.query(oldest)[0][1] < silent_at + grace_sec:
        assert time.monotonic() < deadline, "Prometheus does not scrape"
        time.sleep(0.1)
    return begun_at


def _truth(stack: Stack) -> pd.DataFrame:
    tables = []
    for probe in stack.probes:
        table = read_ground_truth(stack.setup.ground_truth_folder / f"{probe.site.name}.truth")
        tables.append(table.assign(instance=probe.instance))
    ground_truth = pd.concat(tables, ignore_index=True)
    ground_truth["stream"] = ground_truth["stream"].str.partition("@")[2]
    return ground_truth


def by_channel(rows: pd.DataFrame) -> dict[tuple[str, ...], float]:
    """Number of rows by instance, stream and symbol."""
    sizes = rows.groupby(CHANNEL, as_index=False).size()
    return {tuple(key): float(n) for *key, n in sizes.itertuples(index=False)}


def never_sent(ground_truth: pd.DataFrame, stream: str, symbol: str) -> set[int]:
    """Ids that no place was sent, where each message has its own."""
    of_channel = (ground_truth["stream"] == stream) & (ground_truth["symbol"] == symbol)
    ids = set(ground_truth[of_channel]["last_id"])
    return set(range(min(ids), max(ids))) - ids


def followed_by_others(
    ground_truth: pd.DataFrame, instance: str, stream: str, symbol: str
) -> set[int]:
    """Ids between the first and the last one that some other instance received."""
    rows = ground_truth[
        (ground_truth["stream"] == stream)
        & (ground_truth["symbol"] == symbol)
        & (ground_truth["instance"] != instance)
        & ground_truth["outcome"].isin(["sent", "duplicate"])
    ]
    ends = rows.groupby("instance")["last_id"].agg(["min", "max"])
    return {
        number
        for first, last in ends.itertuples(index=False)
        for number in range(int(first), int(last) + 1)
    }


def expected_losses(ground_truth: pd.DataFrame, instance: str, run: Run) -> dict[str, int]:
    """What an instance lost of a run and what nobody was sent, id by id.

    A missing id belongs to the run in which the message after it was sent. What no second instance
    followed counts as lost.
    """
    result = {"lost": 0, "never_sent": 0}
    rows = ground_truth[ground_truth["instance"] == instance]
    for (stream, symbol), group in rows[rows["stream"].isin(ID_STREAMS)].groupby(CHANNEL[1:]):
        arrived = group[group["outcome"].isin(["sent", "duplicate"])]
        times = dict(zip(arrived["last_id"], arrived["event_ns"], strict=True))
        nobody = never_sent(ground_truth, str(stream), str(symbol))
        nobody &= followed_by_others(ground_truth, instance, str(stream), str(symbol))
        followed_by = 0
        for number in range(max(times), min(times), -1):
            followed_by = times.get(number, followed_by)
            if number not in times and run.start_ns <= followed_by < run.end_ns:
                result["never_sent" if number in nobody else "lost"] += 1
    return result


def expected_from_ids(ground_truth: pd.DataFrame) -> dict[str, dict[Any, int]]:
    """What each channel's counters must say, counted id by id in order of sending.

    Connections overlap when one replaces the other: what comes on both counts once, and what one
    drops while the other brings it is not lost. What is late on one and not on the other is out of
    order if it is read there first; the order in which two sockets are read, of what came within
    moments, is nobody's to say. So there is also a number that takes all such messages for late,
    and `out_of_order` takes none.
    """
    counts: dict[str, dict[Any, int]] = {
        name: {}
        for name in ("messages", "lost", "duplicates", "out_of_order", "out_of_order_at_most")
    }
    for channel, group in ground_truth.sort_values("send_ns", kind="stable").groupby(CHANNEL):
        arrived = group[group["outcome"].isin(["sent", "duplicate"])]
        seen: set[int] = set()
        seen_here: dict[int, set[int]] = {}
        messages = repeated = 0
        late: set[int] = set()
        in_order: set[int] = set()
        for connection, identity in arrived[["connection", "last_id"]].itertuples(index=False):
            here = seen_here.setdefault(connection, set())
            repeated += identity in here
            if identity not in here:
                (late if identity < max(here, default=identity) else in_order).add(identity)
            messages += identity not in seen or identity in here
            here.add(identity)
            seen.add(identity)
        stream, symbol = map(str, channel[1:])
        dropped = set(group[group["outcome"] == "dropped"]["last_id"])
        if stream in ID_STREAMS:
            dropped |= never_sent(ground_truth, stream, symbol)
        first = min(seen, default=0)
        lost = sum(first < identity < max(seen) for identity in dropped - seen)
        for name, number in (
            ("messages", messages),
            ("lost", lost),
            ("duplicates", repeated),
            ("out_of_order", len(late - in_order)),
            ("out_of_order_at_most", len(late)),
        ):
            counts[name][tuple(channel)] = number
    return counts


def test_every_message_that_was_sent_is_counted_once(measured: Measured) -> None:
    expected = expected_from_ids(measured.ground_truth)["messages"]
    assert measured.by_channel("feed_messages_total") == expected


def test_messages_and_copies_are_all_that_was_sent(measured: Measured) -> None:
    received = (
        "sum by (instance) (feed_messages_total)"
        " + sum by (instance) (feed_redundant_messages_total)"
    )
    counted = {
        labels["instance"]: value for labels, value in measured.stack.prometheus.query(received)
    }
    assert counted == measured.received.groupby("instance").size().to_dict()


@pytest.mark.parametrize(
    ("metric", "kind"),
    [
        ("feed_messages_lost_total", "lost"),
        ("feed_duplicates_total", "duplicates"),
    ],
)
def test_loss_and_repetition_are_exactly_the_scripted_ones(
    measured: Measured, metric: str, kind: str
) -> None:
    ids = measured.ground_truth[measured.ground_truth["stream"].isin(ID_STREAMS)]
    counted = measured.by_channel(f'{metric}{{stream=~"trade|aggTrade"}}')
    assert counted == expected_from_ids(ids)[kind]
    assert sum(counted.values()) > 0


def test_what_nobody_was_sent_is_told_from_what_one_place_lost(measured: Measured) -> None:
    client = PrometheusClient(measured.stack.prometheus.url)
    found = collect(
        client,
        measured.stack.setup.experiment,
        EvidenceRequest(streams=ID_STREAMS, until=measured.silent_at),
    )
    compared = 0
    for run in measured.runs:
        for one in (each for each in found.runs if each.run == run.label):
            (instance,) = one.instances
            expected = expected_losses(measured.ground_truth, instance.instance, run)
            assert {"lost": instance.lost, "never_sent": instance.never_sent} == expected
            assert expected["never_sent"] > 0
            compared += expected["lost"]
    assert compared > 0
    # Only what was sent before the others had begun may be in doubt.
    assert not [warning for warning in found.warnings if "differs in more" in warning]


def test_disorder_is_the_scripted_one(measured: Measured) -> None:
    ids = measured.ground_truth[measured.ground_truth["stream"].isin(ID_STREAMS)]
    counted = measured.by_channel('feed_out_of_order_total{stream=~"trade|aggTrade"}')
    expected = expected_from_ids(ids)
    assert counted.keys() == expected["out_of_order"].keys()
    for channel, number in counted.items():
        least, most = (expected[kind][channel] for kind in ("out_of_order", "out_of_order_at_most"))
        assert least <= number <= most, channel
    assert sum(expected["out_of_order"].values()) > 0


def test_each_run_holds_exactly_the_messages_of_its_event_times(measured: Measured) -> None:
    for run in measured.runs:
        whole = f'last_over_time(feed_latency_seconds{{run="{run.label}"}}[10m])'
        counted = measured.by_channel(f"histogram_count({whole})")
        assert counted == by_channel(measured.measured(run)), run.label


@pytest.mark.parametrize("quantile", [0.5, 0.99, 0.999])
def test_quantiles_are_those_of_the_sent_messages_within_one_per_cent(
    measured: Measured, quantile: float
) -> None:
    labels = "|".join(run.label for run in measured.runs)
    pooled = f'sum by (instance) (last_over_time(feed_latency_seconds{{run=~"{labels}"}}[10m]))'
    found = measured.stack.prometheus.query(f"histogram_quantile({quantile}, {pooled})")
    rows = measured.measured(*measured.runs)
    latency_sec = (rows["send_ns"] - rows["event_ns"]) / 1e9
    expected = {
        instance: float(np.quantile(group, quantile, method="inverted_cdf"))
        for instance, group in latency_sec.groupby(rows["instance"])
    }
    assert {labels["instance"]: value for labels, value in found} == pytest.approx(
        expected, rel=0.01
    )


def test_no_message_is_measured_before_it_was_sent(measured: Measured) -> None:
    negative = measured.by_channel("feed_negative_latency_total")
    assert set(negative.values()) == {0.0}


def test_a_fresh_connection_for_each_run_is_no_fault(measured: Measured) -> None:
    faults = ('feed_reconnects_total{reason!="schedule"}', "feed_errors_total")
    unplanned = measured.stack.prometheus.query(
        " + ".join(f"sum({fault} @ {measured.silent_at})" for fault in faults)
    )
    assert [value for _, value in unplanned] == [0.0]


def test_every_native_histogram_has_the_resolution_of_the_experiment(measured: Measured) -> None:
    (run, *_) = measured.runs
    selector = f'feed_latency_seconds{{run="{run.label}",stream="trade"}}'
    answer = get_json(
        f"{measured.stack.prometheus.url}/api/v1/query", query=f"last_over_time({selector}[10m])"
    )
    for series in answer["data"]["result"]:
        buckets = series["histogram"][1]["buckets"]
        widths = [float(upper) / float(lower) for _, lower, upper, _ in buckets]
        assert widths == pytest.approx([2 ** (2**-8)] * len(widths))
