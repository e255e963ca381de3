"""Lost and never sent from a real Prometheus to the verdict: every number is exact."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from latency_sweep.analysis.decision.decide import decide
from latency_sweep.analysis.evidence.collect import EvidenceRequest, collect
from latency_sweep.analysis.evidence.never_sent import ChannelLosses
from latency_sweep.contract import metrics
from latency_sweep.contract.missing_ids import IdRange, MissingIds
from latency_sweep.contract.targets import Target
from latency_sweep.contract.timeline import NS_PER_SEC
from latency_sweep.lab.simulation.remote_write import History
from tests.analysis.planted import (
    CHANNELS,
    Events,
    PlantedProbe,
    finished_runs,
    poisson_events,
    short_experiment,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from latency_sweep.analysis.evidence.records import Evidence
    from latency_sweep.analysis.prometheus_api import PrometheusClient

TOKYO = Target("i-tokyo", "ap-northeast-1", "apne1-az4", "c6in.large")
DUBLIN = Target("i-dublin", "eu-west-1", "euw1-az1", "c6i.large")
VIRGINIA = Target("i-virginia", "us-east-1", "use1-az4", "c6i.large")
PLACES = (TOKYO, DUBLIN, VIRGINIA)
# Above 2**32, as the ids of futures are.
FIRST_ID = 9_000_000_000
NOBODY = range(0, 30_000, 500)


def losses(missing: Iterable[int], *ranges: tuple[int, int], late: int = 0) -> ChannelLosses:
    """Single ids and ranges that are missing, counted from the first id."""
    table = MissingIds()
    for first, last in [*((number, number) for number in missing), *ranges]:
        table.add(IdRange(FIRST_ID + first, FIRST_ID + last))
    followed = IdRange(FIRST_ID, FIRST_ID + 30_000)
    return ChannelLosses(table.ids + late, table.ids, followed, table)


class Places:
    """Plants probes that received the same events and collects their evidence."""

    def __init__(self, client: PrometheusClient, name: str) -> None:
        self.client = client
        self.experiment = short_experiment(name)
        self.runs = finished_runs(self.experiment, 2, time.time())
        rng = np.random.default_rng(7)
        self.channels = {channel: poisson_events(rng, self.runs) for channel in CHANNELS}

    def probe(self, place: Target, lost: ChannelLosses | None, **options: Any) -> PlantedProbe:
        """A probe that loses the same of each run, and counts it."""
        count = 0 if lost is None else lost.lost
        moments = [
            run.measure_start_ns / NS_PER_SEC + 50 for run in self.runs for _ in range(count)
        ]
        # No two places measure the very same latencies.
        away = 0.001 * PLACES.index(place)
        channels = {c: Events(e.times, e.latencies + away) for c, e in self.channels.items()}
        usual = {"channels": channels, "lost_at": moments, "losses": lambda _: lost}
        return PlantedProbe(self.experiment.name, place, self.runs, **{**usual, **options})

    def collect(self, *probes: PlantedProbe) -> Evidence:
        history = History()
        for probe in probes:
            probe.plant(history)
        history.send(self.client.url)
        return collect(self.client, self.experiment, EvidenceRequest())


@pytest.fixture
def places(history_client: PrometheusClient, request: pytest.FixtureRequest) -> Places:
    digest = hashlib.sha256(request.node.name.encode()).hexdigest()[:8]
    return Places(history_client, f"{request.node.name[5:45].split('[')[0]}-{digest}")


def told(evidence: Evidence) -> dict[str, set[tuple[int | None, int | None]]]:
    """Lost and never sent in the runs of each instance."""
    result: dict[str, set[tuple[int | None, int | None]]] = {}
    for run in evidence.runs:
        for one in run.instances:
            result.setdefault(one.instance, set()).add((one.lost, one.never_sent))
    return result


def test_what_nobody_was_sent_is_no_loss_and_what_one_place_misses_is(places: Places) -> None:
    outage = (12_000, 12_400)  # with one that nobody was sent in it
    others = [number for number in NOBODY if number != outage[0]]
    evidence = places.collect(
        places.probe(TOKYO, losses(NOBODY)),
        places.probe(DUBLIN, losses([*others, 77, 7_800], outage, late=2)),
        places.probe(VIRGINIA, losses([*NOBODY, 29_999])),
    )
    assert told(evidence) == {
        "i-tokyo": {(0, 60)},
        "i-dublin": {(404, 60)},
        "i-virginia": {(1, 60)},
    }
    assert evidence.warnings == ()
    verdict = decide(evidence, places.experiment)
    rows = {row.candidate.values[0]: row for row in verdict.ranking}
    assert (rows["eu-west-1"].lost, rows["eu-west-1"].never_sent) == (808, 120)
    (loss,) = (one for one in rows["ap-northeast-1"].constraints if one.name == "loss")
    assert (loss.events, loss.never_sent) == (0, 120)


def test_a_place_alone_says_that_it_cannot_tell(places: Places) -> None:
    evidence = places.collect(places.probe(TOKYO, losses(NOBODY)))
    assert told(evidence) == {"i-tokyo": {(60, 0)}}
    (warning,) = evidence.warnings
    assert warning == (
        "Of 120 messages missing at i-tokyo in 2 runs it cannot be told whether they were lost or "
        "never sent, as no other instance followed these ids; they count as lost."
    )


def test_a_place_that_differs_too_much_counts_all_as_lost_and_says_so(places: Places) -> None:
    heavy = [*NOBODY, *range(1, 30_000, 300)]
    evidence = places.collect(
        places.probe(TOKYO, losses(NOBODY)),
        places.probe(DUBLIN, losses(NOBODY)),
        places.probe(VIRGINIA, losses(heavy)),
    )
    assert told(evidence) == {
        "i-tokyo": {(0, 60)},
        "i-dublin": {(0, 60)},
        "i-virginia": {(160, 0)},
    }
    (warning,) = evidence.warnings
    assert warning == (
        "Of 320 messages missing at i-virginia in 2 runs it cannot be told whether they were lost "
        "or never sent, as what the instances miss differs in more than the probes can tell; they "
        "count as lost."
    )


def test_a_probe_that_does_not_tell_its_ids_keeps_what_it_counted(places: Places) -> None:
    older = places.probe(DUBLIN, None, lost_at=[places.runs[0].measure_start_ns / NS_PER_SEC + 9])
    evidence = places.collect(places.probe(TOKYO, losses([5])), older)
    assert told(evidence) == {"i-tokyo": {(1, 0)}, "i-dublin": {(1, None), (0, 0)}}


def test_a_restarted_probe_has_forgotten_what_it_lost_and_it_stays_lost(places: Places) -> None:
    restart = places.runs[0].measure_start_ns / NS_PER_SEC + 150
    restarted = places.probe(
        DUBLIN,
        None,
        restarts=[restart],
        losses=lambda run: losses([] if run == places.runs[0] else NOBODY),
        lost_at=[restart - 100] * 60 + [restart + 450] * 60,
    )
    evidence = places.collect(places.probe(TOKYO, losses(NOBODY)), restarted)
    assert told(evidence)["i-dublin"] == {(60, 0), (0, 60)}


@pytest.mark.parametrize("metric", [metrics.RUN_MISSING_IDS, metrics.RUN_MISSING])
def test_a_table_that_is_incomplete_excuses_nothing(places: Places, metric: metrics.Metric) -> None:
    evidence = places.collect(
        places.probe(TOKYO, losses(NOBODY)),
        places.probe(DUBLIN, losses(NOBODY), omitted=frozenset({metric.name})),
    )
    assert {lost for found in told(evidence).values() for lost, _ in found} >= {60}
