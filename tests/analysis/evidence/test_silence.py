"""A market that is quiet everywhere is told from an instance that is deaf, in a real Prometheus."""

from __future__ import annotations

import hashlib
import re
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from latency_sweep.analysis.evidence import silence
from latency_sweep.analysis.evidence.attribution import SourceGroup
from latency_sweep.analysis.evidence.collect import EvidenceRequest, collect
from latency_sweep.analysis.evidence.label_names import LabelNames
from latency_sweep.analysis.evidence.run_queries import SeriesSelector
from latency_sweep.analysis.evidence.sources import SourceQuery
from latency_sweep.contract.targets import Target
from latency_sweep.contract.timeline import NS_PER_SEC
from latency_sweep.lab.simulation.remote_write import History
from tests.analysis.planted import (
    CHANNELS,
    INTERVAL_SEC,
    MEASUREMENT_SEC,
    Events,
    PlantedProbe,
    finished_runs,
    in_measurement,
    short_experiment,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from latency_sweep.analysis.evidence.records import Evidence
    from latency_sweep.analysis.evidence.silence import RunSilence
    from latency_sweep.analysis.prometheus_api import PrometheusClient
    from latency_sweep.contract.experiment import Experiment
    from latency_sweep.contract.timeline import Run

    Keep = Callable[[NDArray[np.float64]], NDArray[np.bool_]]

TOKYO = Target("i-tokyo", "ap-northeast-1", "apne1-az4", "c6in.large")
DUBLIN = Target("i-dublin", "eu-west-1", "euw1-az1", "c6i.large")
SEOUL = Target("i-seoul", "ap-northeast-2", "apne2-az1", "c6i.large")
OFFSETS = {TOKYO: 7.3, DUBLIN: 1.1, SEOUL: 14.2}
TRADES, BOOK, OTHER = CHANNELS


class Market:
    """What an exchange sent to all places; each receives all but what a test takes from it.

    Args:
        client: the server to plant in.
        name: of the experiment.
    """

    def __init__(self, client: PrometheusClient, name: str) -> None:
        self.client = client
        self.experiment: Experiment = short_experiment(name)
        self.runs: list[Run] = finished_runs(self.experiment, 3, time.time())
        start, end = self.runs[0].start_ns / NS_PER_SEC, self.runs[-1].end_ns / NS_PER_SEC
        self.sent = {channel: np.arange(start, end, 0.5) for channel in CHANNELS}
        self.probes: list[PlantedProbe] = []

    def second(self, run: int, offset: float) -> float:
        return self.runs[run].measure_start_ns / NS_PER_SEC + offset

    def silent(self, run: int, begin: float, end: float) -> Keep:
        """Keeps the messages that were not sent in a part of a run's measurement, in seconds."""
        begin, end = self.second(run, begin), self.second(run, end)
        return lambda times: (times < begin) | (times >= end)

    def pause(self, channel: tuple[str, str], keep: Keep) -> None:
        self.sent[channel] = self.sent[channel][keep(self.sent[channel])]

    def probe(
        self, place: Target, deaf: dict[tuple[str, str], Keep] | None = None, **options: Any
    ) -> PlantedProbe:
        channels = {}
        for channel, times in self.sent.items():
            heard = times[deaf[channel](times)] if deaf and channel in deaf else times
            channels[channel] = Events(heard, np.full(heard.size, 0.01 + 0.01 * len(self.probes)))
        probe = PlantedProbe(
            self.experiment.name, place, self.runs, channels, offset=OFFSETS[place], **options
        )
        self.probes.append(probe)
        return probe

    def collect(self, *probes: PlantedProbe) -> Evidence:
        history = History()
        for probe in probes:
            probe.plant(history)
        history.send(self.client.url)
        return collect(self.client, self.experiment, EvidenceRequest(by=("region",)))

    def silence(self, run: int) -> RunSilence:
        group = SourceGroup(SourceQuery(self.experiment.name, "spot", LabelNames()))
        selector = SeriesSelector(self.experiment.name, "spot", ("trade", "depth"), (), group)
        return silence.read(self.client, selector, self.runs[run], float(INTERVAL_SEC))


@pytest.fixture
def market(history_client: PrometheusClient, request: pytest.FixtureRequest) -> Market:
    digest = hashlib.sha256(request.node.name.encode()).hexdigest()[:8]
    return Market(history_client, f"silence-{digest}")


def test_a_busy_market_is_neither_quiet_nor_is_anyone_deaf(market: Market) -> None:
    evidence = market.collect(*(market.probe(place) for place in OFFSETS))
    assert evidence.warnings == ()
    assert all(not run.exclusion_reasons and run.lost == 0 for run in evidence.runs)


def test_a_channel_silent_everywhere_is_a_quiet_market_and_nobody_s_fault(market: Market) -> None:
    market.pause(OTHER, market.silent(1, 50.0, 200.0))
    evidence = market.collect(*(market.probe(place) for place in OFFSETS))
    (warning,) = evidence.warnings
    found = re.fullmatch(
        r"trade ETHUSDT was quiet in 1 of 3 runs: no instance received a message for up to (\d+) s"
        r"\. That is a quiet market and counts against no candidate.",
        warning,
    )
    assert found
    assert 150 - 2 * INTERVAL_SEC <= int(found[1]) <= 150
    assert all(not run.exclusion_reasons and run.lost == 0 for run in evidence.runs)


def test_a_stream_that_speaks_every_minute_makes_no_instance_deaf(market: Market) -> None:
    market.sent[OTHER] = market.sent[OTHER][::120]
    evidence = market.collect(*(market.probe(place) for place in OFFSETS))
    (warning,) = evidence.warnings
    assert warning.startswith("trade ETHUSDT was quiet in 3 of 3 runs: no instance")
    assert [market.silence(run).deaf_sec for run in range(3)] == [{}, {}, {}]
    assert all(not run.exclusion_reasons and run.lost == 0 for run in evidence.runs)


@pytest.mark.parametrize(("begin", "end"), [(50.0, 200.0), (100.0, 400.0), (-30.0, 290.0)])
def test_a_channel_silent_at_one_place_only_is_that_place_s_loss(
    market: Market, begin: float, end: float
) -> None:
    keep = market.silent(1, begin, end)
    deaf = market.probe(DUBLIN, {TRADES: keep})
    evidence = market.collect(market.probe(TOKYO), deaf, market.probe(SEOUL))
    missed = market.sent[TRADES][~keep(market.sent[TRADES])]
    measured = int(in_measurement(missed, market.runs[1]).sum())
    lost = {(run.candidate.name, run.run): run.lost for run in evidence.runs}
    assert lost[DUBLIN.region, market.runs[1].label] == measured > 0
    assert lost[TOKYO.region, market.runs[1].label] == lost[SEOUL.region, market.runs[1].label] == 0
    seconds = market.silence(1).deaf_sec[DUBLIN][TRADES]
    true_sec = min(end, MEASUREMENT_SEC) - max(begin, 0.0)
    assert true_sec - 5 * INTERVAL_SEC <= seconds <= true_sec
    assert set(market.silence(1).deaf_sec) == {DUBLIN}
    assert (
        f"i-dublin was deaf to trade BTCUSDT for at least {seconds:.0f} s of run"
        in (evidence.warnings[0])
    )


def test_what_its_ids_already_showed_as_lost_is_not_counted_twice(market: Market) -> None:
    keep = market.silent(1, 50.0, 200.0)
    noticed = [market.second(1, 200.0)] * 300
    deaf = market.probe(DUBLIN, {TRADES: keep}, lost_at=noticed)
    evidence = market.collect(market.probe(TOKYO), deaf)
    assert [r.lost for r in evidence.runs if r.candidate.name == DUBLIN.region] == [0, 300, 0]


def test_a_channel_that_never_came_at_one_place_is_deafness_through_all_runs(
    market: Market,
) -> None:
    """As on a wrong route: there is no time of a newest message to look at."""
    deaf = market.probe(DUBLIN, {BOOK: lambda times: times < 0})
    evidence = market.collect(market.probe(TOKYO), deaf)
    for run in range(3):
        assert market.silence(run).deaf_sec == {DUBLIN: {BOOK: MEASUREMENT_SEC}}
    assert all(run.lost for run in evidence.runs if run.candidate.name == DUBLIN.region)
    (warning,) = evidence.warnings
    assert "i-dublin was deaf to depth@100ms BTCUSDT for at least 300 s" in warning
    assert "(the worst of 3 such runs)" in warning


def test_all_but_one_place_deaf_is_no_quiet_market(market: Market) -> None:
    keep = market.silent(1, 50.0, 250.0)
    market.collect(
        market.probe(TOKYO, {TRADES: keep}),
        market.probe(DUBLIN, {TRADES: keep}),
        market.probe(SEOUL),
    )
    found = market.silence(1)
    assert set(found.deaf_sec) == {TOKYO, DUBLIN}
    assert found.quiet_sec == {}


def test_an_instance_that_is_not_scraped_is_not_deaf(market: Market) -> None:
    begin, end = market.second(1, 50.0), market.second(1, 250.0)
    gone = market.probe(DUBLIN, scraped=lambda moment: not begin < moment < end)
    market.collect(market.probe(TOKYO), gone)
    assert market.silence(1).deaf_sec == {}


def test_with_a_single_instance_it_is_said_that_nothing_can_be_told_apart(market: Market) -> None:
    market.pause(OTHER, market.silent(1, 50.0, 200.0))
    (warning,) = market.collect(market.probe(TOKYO)).warnings
    assert "the only instance received no message" in warning
    assert "counts against no candidate" not in warning


def test_a_run_in_which_nobody_measured_anything_is_nobody_s_fault(market: Market) -> None:
    for channel in CHANNELS:
        market.pause(channel, market.silent(1, -1.0, MEASUREMENT_SEC + 1.0))
    evidence = market.collect(market.probe(TOKYO), market.probe(DUBLIN))
    reasons = [run.exclusion_reasons for run in evidence.runs if run.run == market.runs[1].label]
    assert reasons == [
        (f"{name} has no latency samples in this run; no other instance has any either",)
        for name in ("i-tokyo", "i-dublin")
    ]


def test_losses_that_are_not_known_stay_unknown(market: Market) -> None:
    deaf = market.probe(
        DUBLIN, {TRADES: market.silent(1, 50.0, 200.0)}, silent_on_loss=frozenset({BOOK})
    )
    evidence = market.collect(market.probe(TOKYO), deaf)
    assert {run.lost for run in evidence.runs if run.candidate.name == DUBLIN.region} == {None}
    assert evidence.warnings[0].startswith("i-dublin was deaf to trade BTCUSDT")
