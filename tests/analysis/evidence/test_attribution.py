"""Whose evidence it is, on servers that others configured: every probe once, at its own place."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from latency_sweep.analysis.evidence.collect import EvidenceRequest, collect
from latency_sweep.analysis.evidence.label_names import LabelNames
from latency_sweep.analysis.evidence.places import AttributionError
from latency_sweep.contract.targets import UNKNOWN, Target
from latency_sweep.contract.timeline import NS_PER_SEC
from latency_sweep.lab.simulation.remote_write import History
from tests.analysis.planted import (
    CHANNELS,
    PlantedProbe,
    finished_runs,
    poisson_events,
    short_experiment,
)

if TYPE_CHECKING:
    from latency_sweep.analysis.evidence.records import Evidence, RunEvidence
    from latency_sweep.analysis.prometheus_api import PrometheusClient

TOKYO = Target("10.0.0.1:9101", "ap-northeast-1", "apne1-az4", "c6in.large")
OSAKA = Target("10.0.0.2:9101", "ap-northeast-3", "apne3-az1", "c6in.large")
OWN_TOKYO = {"region": "ap-northeast-1", "az_id": "apne1-az4", "instance_type": "c6in.large"}
OWN_OSAKA = {"region": "ap-northeast-3", "az_id": "apne3-az1", "instance_type": "c6in.large"}


def nowhere(instance: str) -> Target:
    return Target(instance, UNKNOWN, UNKNOWN, UNKNOWN)


class Stranger:
    """Plants probes as somebody else's Prometheus would have stored them."""

    def __init__(self, client: PrometheusClient, name: str) -> None:
        self.client = client
        self.experiment = short_experiment(name)
        self.runs = finished_runs(self.experiment, 2, time.time())
        self.rng = np.random.default_rng(3)

    def probe(self, place: Target, **options: Any) -> PlantedProbe:
        channels = {CHANNELS[0]: poisson_events(self.rng, self.runs)}
        started = self.runs[0].start_ns / NS_PER_SEC - 1000 - len(place.instance)
        defaults = {"channels": channels, "started": started}
        return PlantedProbe(self.experiment.name, place, self.runs, **{**defaults, **options})

    def collect(self, *probes: PlantedProbe, **request: Any) -> Evidence:
        history = History()
        for probe in probes:
            probe.plant(history)
        if history.series:
            history.send(self.client.url)
        return collect(self.client, self.experiment, EvidenceRequest(**request))


@pytest.fixture
def stranger(history_client: PrometheusClient, request: pytest.FixtureRequest) -> Stranger:
    digest = hashlib.sha256(request.node.name.encode()).hexdigest()[:8]
    return Stranger(history_client, f"{request.node.name[5:40].split('[')[0]}-{digest}")


def numbers(run: RunEvidence) -> tuple[Any, ...]:
    (instance,) = run.instances
    return (
        *(run.candidate, run.run, instance.instance, instance.latency.count),
        *(instance.latency.counts.tolist(), instance.messages, instance.lost, instance.hours),
        *(instance.coverage, instance.clock_error_bound_sec, run.exclusion_reasons),
    )


@pytest.mark.parametrize(
    ("label", "one", "other"),
    [
        ("replica", "a", "b"),
        ("job", "probe", "team-b"),
        ("prometheus", "monitoring/k8s", ""),
        ("tenant", "x", "y"),
    ],
)
def test_a_probe_in_two_series_counts_once_and_the_label_is_named(
    stranger: Stranger, label: str, one: str, other: str
) -> None:
    probe = stranger.probe(TOKYO, labels={label: one})
    alone = stranger.collect(probe, stranger.probe(OSAKA, labels={label: one}))
    twice = stranger.collect(replace(probe, labels={label: other}, offset=2.0))
    here = [numbers(run) for run in twice.runs if run.candidate.values == TOKYO[1:]]
    assert [n[:4] for n in here] == [
        numbers(run)[:4] for run in alone.runs if run.candidate.values == TOKYO[1:]
    ]
    assert {run.candidate.values for run in twice.runs} == {TOKYO[1:], OSAKA[1:]}
    assert len(twice.runs) == len(alone.runs) == 4
    assert all(run.exclusion_reasons == () for run in twice.runs)
    values = ", ".join(sorted({one, other})).lstrip(", ")
    values = values if other else f"none, {one}"
    (warning,) = twice.warnings
    assert warning == (
        f"10.0.0.1:9101 is stored in several series, which differ in the label {label} ({values});"
        " it counts once."
    )


def test_what_one_replica_missed_the_other_has(stranger: Stranger) -> None:
    middle = stranger.runs[1].start_ns / NS_PER_SEC
    channels = {CHANNELS[0]: poisson_events(stranger.rng, stranger.runs)}
    first = stranger.probe(
        TOKYO, channels=channels, labels={"replica": "a"}, scraped=lambda moment: moment < middle
    )
    second = stranger.probe(
        TOKYO, channels=channels, labels={"replica": "b"}, scraped=lambda moment: moment >= middle
    )
    evidence = stranger.collect(first, second)
    assert [len(run.instances) for run in evidence.runs] == [1, 1]
    assert all(run.latency.count for run in evidence.runs)
    assert evidence.runs[1].exclusion_reasons == ()


def test_probes_behind_agents_that_all_scrape_localhost_are_told_apart(stranger: Stranger) -> None:
    local = nowhere("localhost:9101")
    evidence = stranger.collect(
        stranger.probe(local, labels={"cluster": "a"}, own=OWN_TOKYO, started=1e9),
        stranger.probe(local, labels={"cluster": "b"}, own=OWN_OSAKA, started=1.1e9),
    )
    assert {run.candidate.values for run in evidence.runs} == {TOKYO[1:], OSAKA[1:]}
    assert all(len(run.instances) == 1 for run in evidence.runs)
    assert evidence.warnings == ()


def test_two_processes_with_one_name_at_one_place_are_two_instances(stranger: Stranger) -> None:
    evidence = stranger.collect(
        stranger.probe(TOKYO, labels={"host": "a"}, started=1e9),
        stranger.probe(TOKYO, labels={"host": "b"}, started=1.1e9),
    )
    names = ["10.0.0.1:9101 (host=a)", "10.0.0.1:9101 (host=b)"]
    assert [[i.instance for i in run.instances] for run in evidence.runs] == [names, names]
    assert evidence.warnings == ()


def test_a_job_without_labels_beside_one_with_labels_holds_the_same_probe(
    stranger: Stranger,
) -> None:
    probe = stranger.probe(TOKYO)
    bare = replace(probe, place=nowhere(TOKYO.instance), labels={"job": "bare"})
    evidence = stranger.collect(probe, bare)
    assert [run.candidate.values for run in evidence.runs] == [TOKYO[1:]] * 2
    assert all(len(run.instances) == 1 for run in evidence.runs)


def test_a_probe_under_two_names_counts_once(stranger: Stranger) -> None:
    probe = stranger.probe(TOKYO)
    named = replace(probe, place=TOKYO._replace(instance="tokyo:9101"))
    evidence = stranger.collect(probe, named)
    assert [[i.instance for i in run.instances] for run in evidence.runs] == [[TOKYO.instance]] * 2
    (warning,) = evidence.warnings
    assert warning == (
        "10.0.0.1:9101 and tokyo:9101 hold the very same samples, so they are one probe that is"
        " scraped under two names (label instance); it counts once."
    )


@pytest.mark.parametrize("instance", ["tokyo:9101", TOKYO.instance])
def test_a_probe_at_two_places_is_refused(stranger: Stranger, instance: str) -> None:
    probe = stranger.probe(TOKYO)
    moved = replace(probe, place=OSAKA._replace(instance=instance))
    with pytest.raises(AttributionError, match="hold the very same samples, so they are one"):
        stranger.collect(probe, moved)


def test_zones_without_ids_in_one_region_are_not_pooled_unless_asked_to(stranger: Stranger) -> None:
    zones = [replace(stranger.probe(p), labels={"az_id": ""}) for p in (TOKYO, OSAKA)]
    there = replace(zones[1], place=TOKYO._replace(instance=OSAKA.instance))
    refusal = (
        r"^10\.0\.0\.1:9101 and 10\.0\.0\.2:9101 are all in ap-northeast-1/c6in\.large, but they"
        r" have no label az_id, .* or pass --by region,instance_type if they are one candidate\.$"
    )
    with pytest.raises(AttributionError, match=refusal):
        stranger.collect(zones[0], there)
    evidence = stranger.collect(by=("region", "instance_type"))
    assert [len(run.instances) for run in evidence.runs] == [2, 2]


def test_regions_without_zones_are_told_apart_by_what_is_known(stranger: Stranger) -> None:
    evidence = stranger.collect(
        *(stranger.probe(place, labels={"az_id": ""}) for place in (TOKYO, OSAKA))
    )
    assert evidence.selection.by == ("region", "instance_type")
    assert evidence.warnings == (
        "No target has a label az_id; candidates are told apart by region, instance_type only.",
    )


def test_a_lone_probe_needs_no_place(stranger: Stranger) -> None:
    evidence = stranger.collect(stranger.probe(nowhere("10.0.0.1:9101")))
    assert [run.candidate.name for run in evidence.runs] == ["unknown/unknown/unknown"] * 2


def test_the_family_of_an_experiment_stands_for_its_instance_type(stranger: Stranger) -> None:
    own = {"region": "ap-northeast-1", "az_id": "apne1-az4", "instance_family": "network"}
    evidence = stranger.collect(stranger.probe(nowhere("10.0.0.1:9101"), own=own))
    assert {run.candidate.values for run in evidence.runs} == {TOKYO[1:]}


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ({"region": "ap-northeast-3"}, 'label region="ap-northeast-1", but its probe says of'),
        ({"instance_family": "memory"}, 'label instance_type="c6in.large", but its probe says'),
    ],
)
def test_a_label_and_a_probe_that_disagree_are_refused(
    stranger: Stranger, own: dict[str, str], says: str
) -> None:
    with pytest.raises(AttributionError, match=says):
        stranger.collect(stranger.probe(TOKYO, own=own))


def test_what_a_probe_was_not_told_contradicts_nothing(stranger: Stranger) -> None:
    own = dict.fromkeys(("region", "az_id", "instance_type", "instance_family"), "local")
    evidence = stranger.collect(stranger.probe(TOKYO, own=own))
    assert {run.candidate.values for run in evidence.runs} == {TOKYO[1:]}


def test_foreign_names_of_instance_and_experiment_are_read(stranger: Stranger) -> None:
    labels = {"instance": "", "host": "tokyo-1", "experiment": "", "sweep": "mine"}
    names = LabelNames(instance="host", experiment="sweep")
    evidence = stranger.collect(
        stranger.probe(TOKYO, labels=labels), names=names, experiment="mine"
    )
    assert [[i.instance for i in run.instances] for run in evidence.runs] == [["tokyo-1"]] * 2
    assert all(run.exclusion_reasons == () for run in evidence.runs)
