"""Evidence against planted history in a real Prometheus: every number is exact."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from latency_sweep.analysis.evidence.clock_findings import clock_findings
from latency_sweep.analysis.evidence.collect import (
    EvidenceRequest,
    NoDataError,
    SelectionError,
    collect,
)
from latency_sweep.analysis.evidence.run_queries import MAX_WINDOWS
from latency_sweep.analysis.evidence.timestamps import lateness
from latency_sweep.contract import metrics
from latency_sweep.contract.targets import Target
from latency_sweep.contract.timeline import NS_PER_SEC, Timeline
from latency_sweep.lab.simulation.remote_write import History
from latency_sweep.nativehist.float_histogram import FloatHistogram
from tests.analysis.planted import (
    CHANNELS,
    INTERVAL_SEC,
    MEASUREMENT_SEC,
    Events,
    PlantedProbe,
    finished_runs,
    in_measurement,
    poisson_events,
    short_experiment,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latency_sweep.analysis.evidence.records import Evidence
    from latency_sweep.analysis.prometheus_api import PrometheusClient
    from latency_sweep.contract.experiment import Experiment
    from latency_sweep.contract.timeline import Run

TOKYO = Target("i-tokyo", "ap-northeast-1", "apne1-az4", "c6in.large")
DUBLIN = Target("i-dublin", "eu-west-1", "euw1-az1", "c6i.large")


class Planter:
    """Plants probes of one test's own experiment and collects its evidence."""

    def __init__(self, client: PrometheusClient, name: str) -> None:
        self.client = client
        self.experiment: Experiment = short_experiment(name)
        self.runs: list[Run] = finished_runs(self.experiment, 3, time.time())
        self.rng = np.random.default_rng(7)

    def probe(self, place: Target = TOKYO, **options: Any) -> PlantedProbe:
        channels = {c: poisson_events(self.rng, self.runs) for c in CHANNELS}
        return PlantedProbe(
            self.experiment.name, place, self.runs, **{"channels": channels, **options}
        )

    def collect(self, *probes: PlantedProbe, **request: Any) -> Evidence:
        history = History()
        for probe in probes:
            probe.plant(history)
        history.send(self.client.url)
        return collect(self.client, self.experiment, EvidenceRequest(**request))

    def second(self, run: int, offset: float) -> float:
        """A moment, in seconds after the start of a run's measurement."""
        return self.runs[run].measure_start_ns / NS_PER_SEC + offset


@pytest.fixture
def planter(history_client: PrometheusClient, request: pytest.FixtureRequest) -> Planter:
    digest = hashlib.sha256(request.node.name.encode()).hexdigest()[:8]
    return Planter(history_client, f"{request.node.name[5:45].split('[')[0]}-{digest}")


def expected_latency(probe: PlantedProbe, run: Run, *channels: tuple[str, str]) -> FloatHistogram:
    chosen = [probe.channels[c] for c in channels or CHANNELS]
    values = [e.latencies[in_measurement(e.times, run)] for e in chosen]
    return FloatHistogram.from_samples(np.concatenate(values))


def same_buckets(one: FloatHistogram, other: FloatHistogram) -> bool:
    rounded = dataclasses.replace(one, sum=other.sum)
    return one.sum == pytest.approx(other.sum) and rounded == other


def received_between_scrapes(probe: PlantedProbe, run: Run) -> int:
    """Messages between the last scrape before a run and the last one in it."""
    start, end = run.start_ns / NS_PER_SEC, run.end_ns / NS_PER_SEC
    before = [s for s in probe.scrapes if s <= start]
    inside = [s for s in probe.scrapes if start < s <= end]
    first = before[-1] if before else inside[0]
    return sum(
        int(np.count_nonzero((e.received > first) & (e.received <= inside[-1])))
        for e in probe.channels.values()
    )


def test_totals_of_a_run_are_exact(planter: Planter) -> None:
    probe = planter.probe()
    evidence = planter.collect(probe)
    assert [run.run for run in evidence.runs] == [run.label for run in planter.runs]
    for observed, run in zip(evidence.runs, planter.runs, strict=True):
        assert same_buckets(observed.latency, expected_latency(probe, run))
        assert observed.messages == received_between_scrapes(probe, run)
        assert (observed.lost, observed.reconnects, observed.negative) == (0, 0, 0)
        assert observed.hours == pytest.approx(420 / 3600)
        assert observed.coverage == 1
        assert observed.clock_error_bound_sec == 1e-4
        assert observed.clock_synchronized is True
        assert observed.exclusion_reasons == ()
    assert evidence.warnings == ()


def test_windows_hold_what_was_scraped_in_them(planter: Planter) -> None:
    probe = planter.probe()
    run, observed = planter.runs[1], planter.collect(probe).runs[1]
    assert len(observed.windows) == MAX_WINDOWS
    assert same_buckets(FloatHistogram.merge(*observed.windows), expected_latency(probe, run))
    width = MEASUREMENT_SEC / MAX_WINDOWS
    for n in (0, 7, MAX_WINDOWS - 1):
        begin, end = planter.second(1, n * width), planter.second(1, (n + 1) * width)
        first = max(s for s in probe.scrapes if s <= begin)
        last = max(s for s in probe.scrapes if s <= end)
        last = np.inf if n == MAX_WINDOWS - 1 else last
        values = [
            e.latencies[in_measurement(e.times, run) & (e.received > first) & (e.received <= last)]
            for e in probe.channels.values()
        ]
        expected = FloatHistogram.from_samples(np.concatenate(values))
        assert same_buckets(observed.windows[n], expected)


def test_latencies_of_zero_and_below_are_evidence_like_others(planter: Planter) -> None:
    probe, run = planter.probe(), planter.runs[0]
    trades = probe.channels[CHANNELS[0]]
    early = np.where(np.arange(trades.times.size) % 7 == 0, 0.0, trades.latencies - 0.02)
    probe.channels[CHANNELS[0]] = Events(trades.times, early)
    observed = planter.collect(probe).runs[0]
    expected = expected_latency(probe, run)
    assert expected.min_bounds()[1] < 0
    assert same_buckets(observed.latency, expected)
    assert same_buckets(FloatHistogram.merge(*observed.windows), expected)
    assert observed.exclusion_reasons == ()


def test_instances_are_pooled_and_also_shown_apart(planter: Planter) -> None:
    twin = TOKYO._replace(instance="i-twin")
    probes = planter.probe(lost_at=[planter.second(0, 5)]), planter.probe(twin, offset=2.0)
    run, observed = planter.runs[0], planter.collect(*probes).runs[0]
    pooled = FloatHistogram.merge(*(expected_latency(probe, run) for probe in probes))
    assert same_buckets(observed.latency, pooled)
    assert same_buckets(FloatHistogram.merge(*observed.windows), pooled)
    assert [one.instance for one in observed.instances] == ["i-tokyo", "i-twin"]
    for instance, probe in zip(observed.instances, probes, strict=True):
        assert same_buckets(instance.latency, expected_latency(probe, run))
    assert [one.lost for one in observed.instances] == [1, 0]
    assert observed.lost == 1
    assert observed.hours == pytest.approx(2 * 420 / 3600)


def test_windows_are_the_same_when_instances_come_in_several_answers(
    planter: Planter, monkeypatch: pytest.MonkeyPatch
) -> None:
    probes = [planter.probe(place) for place in (TOKYO, DUBLIN)]
    together = planter.collect(*probes)
    monkeypatch.setattr("latency_sweep.analysis.evidence.run_queries._INSTANCES_PER_ANSWER", 1)
    apart = collect(planter.client, planter.experiment)
    assert [run.windows for run in apart.runs] == [run.windows for run in together.runs]
    assert all(window.count for run in apart.runs for window in run.windows)


def test_coarser_candidates_pool_their_candidates(planter: Planter) -> None:
    kyoto = Target("i-kyoto", "ap-northeast-1", "apne1-az1", "c6i.large")
    probes = [planter.probe(place) for place in (TOKYO, kyoto, DUBLIN)]
    evidence = planter.collect(*probes, by=("region",))
    assert [c.name for c in evidence.candidates()] == ["ap-northeast-1", "eu-west-1"]
    assert [len(run.instances) for run in evidence.runs] == [2, 2, 2, 1, 1, 1]


def test_a_channel_that_falls_silent_at_one_candidate_is_told_of(planter: Planter) -> None:
    silent, last = planter.probe(DUBLIN), planter.runs[2].label
    trades = silent.channels[CHANNELS[0]]
    spoken = trades.times < planter.second(2, 30.0)
    silent.channels[CHANNELS[0]] = Events(trades.times[spoken], trades.latencies[spoken])
    evidence = planter.collect(planter.probe(), silent)
    (warning,) = evidence.warnings
    assert warning.startswith("i-dublin was deaf to trade BTCUSDT for at least 2")
    assert f" s of run {last}: " in warning


def latecomer(planter: Planter) -> PlantedProbe:
    """A second instance that joins in the middle of the first measurement and waits it out."""
    joined = planter.second(0, 100.0)
    return planter.probe(
        TOKYO._replace(instance="i-late"),
        started=joined,
        rejoins=False,
        scraped=lambda moment: moment > joined,
    )


def test_an_instance_that_joins_late_does_not_spoil_the_run_of_another(planter: Planter) -> None:
    probe, late = planter.probe(), latecomer(planter)
    evidence = planter.collect(probe, late, by=("region",))
    assert [run.exclusion_reasons for run in evidence.runs] == [(), (), ()]
    assert [len(run.instances) for run in evidence.runs] == [1, 2, 2]
    first = evidence.runs[0]
    assert same_buckets(first.latency, expected_latency(probe, planter.runs[0]))
    assert first.coverage == 1
    assert first.messages == received_between_scrapes(probe, planter.runs[0])
    assert evidence.warnings[0] == (
        f"i-late has no latency samples and too few scrapes in run {first.run}, as a probe that"
        " joins late; it is excluded there, and ap-northeast-1 is evaluated without."
    )


def test_a_run_that_only_a_latecomer_saw_is_excluded(planter: Planter) -> None:
    evidence = planter.collect(latecomer(planter), planter.probe(DUBLIN), by=("region",))
    first, second, *_ = evidence.runs
    assert first.candidate == second.candidate != evidence.runs[-1].candidate
    assert first.exclusion_reasons[0] == "i-late has no latency samples in this run"
    assert second.exclusion_reasons == ()
    assert evidence.warnings == ()


def test_a_run_whose_other_instance_is_incomplete_is_not_saved_by_a_latecomer(
    planter: Planter,
) -> None:
    gone = planter.second(0, 295.0)
    probe = planter.probe(scraped=lambda moment: moment < gone)
    first = planter.collect(probe, latecomer(planter), by=("region",)).runs[0]
    assert "i-late has no latency samples in this run" in first.exclusion_reasons


def test_an_instance_that_restarts_before_its_first_sample_is_no_latecomer(
    planter: Planter,
) -> None:
    restart = planter.second(0, 0.5)
    restarted = planter.probe(
        TOKYO._replace(instance="i-restarted"),
        restarts=[restart],
        rejoins=False,
        scraped=lambda moment: not restart < moment < restart + 30,
    )
    first = planter.collect(planter.probe(), restarted, by=("region",)).runs[0]
    assert first.exclusion_reasons[0] == "the probe on i-restarted restarted once during the run"
    assert first.exclusion_reasons[1] == "i-restarted has no latency samples in this run"


def test_an_instance_that_was_there_and_measured_nothing_spoils_the_run(planter: Planter) -> None:
    nothing = {c: Events(np.empty(0), np.empty(0)) for c in CHANNELS}
    deaf = planter.probe(TOKYO._replace(instance="i-deaf"), channels=nothing)
    evidence = planter.collect(planter.probe(), deaf, by=("region",))
    assert evidence.runs[0].exclusion_reasons == ("i-deaf has no latency samples in this run",)
    assert all(warning.startswith("i-deaf was deaf to ") for warning in evidence.warnings)
    assert len(evidence.warnings) == len(CHANNELS)


def test_lost_messages_and_unplanned_reconnects_are_counted_once(planter: Planter) -> None:
    moments = [planter.second(1, offset) for offset in (-30.0, 10.0, 290.0)]
    probe = planter.probe(lost_at=moments, reconnects_at=moments[:2])
    observed = planter.collect(probe).runs
    assert [run.lost for run in observed] == [0, 3, 0]
    assert [run.reconnects for run in observed] == [0, 2, 0]
    assert observed[1].hours == pytest.approx((420 - 2 * 0.5) / 3600)
    assert observed[1].exclusion_reasons == ()


def test_a_counter_that_appears_with_its_first_event_counts_from_zero(planter: Planter) -> None:
    moment = planter.second(1, 100.0)
    probe = planter.probe(reconnects_at=[moment], counters_appear_late=True)
    assert [run.reconnects for run in planter.collect(probe).runs] == [None, 1, 0]


@pytest.mark.parametrize(
    ("metric", "field"),
    [
        (metrics.LOST, "lost"),
        (metrics.RECONNECTS, "reconnects"),
        (metrics.NEGATIVE_LATENCY, "negative"),
        (metrics.MESSAGES, "messages"),
        (metrics.DISCONNECTED, "hours"),
    ],
)
def test_a_missing_counter_is_unknown_not_zero(
    planter: Planter, metric: metrics.Metric, field: str
) -> None:
    observed = planter.collect(planter.probe(omitted=frozenset({metric.name}))).runs[0]
    assert getattr(observed, field) is None
    assert observed.latency.count > 0


def test_loss_is_unknown_where_one_stream_cannot_show_it(planter: Planter) -> None:
    probe = planter.probe(silent_on_loss=frozenset({CHANNELS[1]}))
    assert planter.collect(probe).runs[0].lost is None
    alone = collect(planter.client, planter.experiment, EvidenceRequest(streams=("trade",)))
    assert alone.runs[0].lost == 0


def test_a_loss_counter_missing_on_one_instance_makes_the_pool_unknown(planter: Planter) -> None:
    twin = planter.probe(TOKYO._replace(instance="i-twin"), omitted=frozenset({metrics.LOST.name}))
    observed = planter.collect(planter.probe(), twin).runs[0]
    assert observed.lost is None
    assert [instance.lost for instance in observed.instances] == [0, None]


@pytest.mark.parametrize("start_told", [True, False])
def test_a_restart_is_bridged_exactly_and_excludes_its_run(
    planter: Planter, *, start_told: bool
) -> None:
    restart = planter.second(1, 150.0)
    probe = planter.probe(
        restarts=[restart], start_told=start_told, lost_at=[restart - 50, restart + 50]
    )
    before, observed, after = planter.collect(probe).runs
    last_seen = max(s for s in probe.scrapes if s < restart)
    end = planter.runs[1].end_ns / NS_PER_SEC
    start = max(s for s in probe.scrapes if s <= planter.runs[1].start_ns / NS_PER_SEC)
    final = max(s for s in probe.scrapes if s <= end)
    values, messages = [], 0
    for events in probe.channels.values():
        kept = (events.received <= last_seen) | (events.received > restart)
        values.append(events.latencies[kept & in_measurement(events.times, planter.runs[1])])
        span = (events.received > start) & (events.received <= final)
        messages += int(np.count_nonzero(kept & span))
    assert same_buckets(observed.latency, FloatHistogram.from_samples(np.concatenate(values)))
    assert observed.messages == messages
    assert observed.lost == 2
    assert observed.windows == ()
    assert observed.exclusion_reasons == ("the probe on i-tokyo restarted once during the run",)
    assert before.exclusion_reasons == after.exclusion_reasons == ()


def test_a_restart_after_which_the_counters_have_outgrown_their_old_values_is_seen(
    planter: Planter,
) -> None:
    started, restart = planter.second(1, -2.0), planter.second(1, 10.0)
    probe = planter.probe(
        started=started,
        restarts=[restart],
        scraped=lambda moment: moment >= started and not restart < moment < restart + 20,
    )
    observed = planter.collect(probe).runs[0]
    last_seen = max(s for s in probe.scrapes if s < restart)
    values = [
        e.latencies[
            in_measurement(e.times, planter.runs[1])
            & (((e.received > started) & (e.received <= last_seen)) | (e.received > restart))
        ]
        for e in probe.channels.values()
    ]
    assert same_buckets(observed.latency, FloatHistogram.from_samples(np.concatenate(values)))
    assert "the probe on i-tokyo restarted once during the run" in observed.exclusion_reasons


def test_after_a_restart_too_each_counter_begins_where_it_is_first_seen(
    planter: Planter,
) -> None:
    """What speaks against a place at zero, what speaks for it at its first sample."""
    restart = planter.second(0, 150.0)
    probe = planter.probe(
        restarts=[restart], reconnects_at=[restart + 50], counters_appear_late=True
    )
    observed = planter.collect(probe).runs[0]
    end = planter.runs[0].end_ns / NS_PER_SEC
    scrapes = [s for s in probe.scrapes if s <= end]
    spans = (scrapes[0], max(s for s in scrapes if s < restart)), (restart, scrapes[-1])
    received = np.concatenate([e.received for e in probe.channels.values()])
    messages = sum(np.count_nonzero((received > a) & (received <= b)) for a, b in spans)
    assert observed.messages == messages
    assert observed.reconnects == 1


@pytest.mark.parametrize("start_told", [True, False])
def test_a_restart_between_two_runs_excludes_the_later_one(
    planter: Planter, *, start_told: bool
) -> None:
    restart = planter.runs[1].start_ns / NS_PER_SEC + 1.0
    probe = planter.probe(restarts=[restart], start_told=start_told)
    excluded = [bool(run.exclusion_reasons) for run in planter.collect(probe).runs]
    assert excluded == [False, True, False]


def test_a_probe_that_sits_out_the_rest_of_a_run_keeps_what_it_had(planter: Planter) -> None:
    restart = planter.second(1, 150.0)
    probe = planter.probe(restarts=[restart], rejoins=False)
    observed = planter.collect(probe).runs[1]
    last_seen = max(s for s in probe.scrapes if s < restart)
    values = [
        e.latencies[(e.received <= last_seen) & in_measurement(e.times, planter.runs[1])]
        for e in probe.channels.values()
    ]
    assert same_buckets(observed.latency, FloatHistogram.from_samples(np.concatenate(values)))
    assert "restarted" in observed.exclusion_reasons[0]


def test_gaps_in_scraping_cost_no_sample_but_exclude_the_run(planter: Planter) -> None:
    gap = planter.second(1, 60.0), planter.second(1, 150.0)
    probe = planter.probe(scraped=lambda moment: not gap[0] < moment <= gap[1])
    observed = planter.collect(probe).runs[1]
    assert same_buckets(observed.latency, expected_latency(probe, planter.runs[1]))
    assert same_buckets(FloatHistogram.merge(*observed.windows), observed.latency)
    assert observed.coverage == pytest.approx(14 / 20)
    assert observed.exclusion_reasons == (
        (
            "only 14 of 20 scrapes of i-tokyo succeeded during the measurement"
            " (70%, at least 95% needed)"
        ),
    )


def test_a_total_that_is_first_scraped_in_the_next_warm_up_is_complete(planter: Planter) -> None:
    """A probe exposes a run until the next one is measured."""
    gap = planter.second(1, 300.0), planter.second(1, 360.0)
    probe = planter.probe(scraped=lambda moment: not gap[0] < moment <= gap[1])
    observed = planter.collect(probe).runs[1]
    assert same_buckets(observed.latency, expected_latency(probe, planter.runs[1]))
    assert observed.exclusion_reasons == ()


def test_one_missing_scrape_is_forgiven(planter: Planter) -> None:
    gap = planter.second(1, 60.0)
    probe = planter.probe(scraped=lambda moment: not gap < moment <= gap + INTERVAL_SEC)
    observed = planter.collect(probe).runs[1]
    assert observed.coverage == pytest.approx(19 / 20)
    assert observed.exclusion_reasons == ()


def test_a_probe_gone_before_the_end_leaves_an_incomplete_total(planter: Planter) -> None:
    gone = planter.second(1, 295.0)
    probe = planter.probe(scraped=lambda moment: moment < gone)
    first, second = planter.collect(probe).runs
    assert first.exclusion_reasons == ()
    assert second.exclusion_reasons == (
        "no scrape of i-tokyo succeeded after the measurement, so its total is incomplete",
    )


def test_a_probe_without_samples_is_shown_with_the_reason(planter: Planter) -> None:
    nothing = {c: Events(np.empty(0), np.empty(0)) for c in CHANNELS}
    observed = planter.collect(planter.probe(channels=nothing)).runs[0]
    assert observed.exclusion_reasons == ("i-tokyo has no latency samples in this run",)
    assert observed.latency.count == 0


def test_a_run_with_too_few_samples_for_its_p99_is_excluded(planter: Planter) -> None:
    few = {c: poisson_events(planter.rng, planter.runs, per_sec=0.2) for c in CHANNELS}
    observed = planter.collect(planter.probe(channels=few)).runs[0]
    assert 0 < observed.latency.count < 368
    assert observed.exclusion_reasons == (
        (
            f"only {observed.latency.count:.0f} latency samples, and an interval for p99 at 95%"
            " confidence needs 368"
        ),
    )


def test_a_histogram_that_goes_backwards_without_a_restart_excludes_the_run(
    planter: Planter,
) -> None:
    probe = planter.probe(histogram_resets=[planter.second(1, 150.0)])
    before, observed, _ = planter.collect(probe).runs
    assert observed.exclusion_reasons == (
        "the latency histogram of i-tokyo was reset during the run",
    )
    assert observed.windows == ()
    assert before.exclusion_reasons == ()


def test_a_change_of_resolution_inside_a_run_is_no_reset(planter: Planter) -> None:
    change = planter.second(1, 150.0)
    probe = planter.probe(schema=lambda moment: 8 if moment < change else 6)
    observed = planter.collect(probe).runs[1]
    assert observed.exclusion_reasons == ()
    assert observed.latency.count == expected_latency(probe, planter.runs[1]).count
    assert len(observed.windows) == MAX_WINDOWS
    assert (observed.latency - FloatHistogram.merge(*observed.windows)).count == 0


@pytest.mark.parametrize(
    ("options", "reason", "bound", "synchronized"),
    [
        (
            {"clock_bound": lambda _: 0.004},
            "the clock of i-tokyo was only known to ±4 ms (at most 1 ms allowed)",
            0.004,
            True,
        ),
        (
            {"omitted": frozenset({metrics.CLOCK_ERROR_BOUND.name})},
            "i-tokyo reported no clock error bound",
            None,
            True,
        ),
        (
            {"synchronized": lambda moment: moment % 100 < 50},
            "the clock of i-tokyo was not synchronised throughout the run",
            1e-4,
            False,
        ),
        (
            {"omitted": frozenset({metrics.CLOCK_SYNCHRONIZED.name})},
            "i-tokyo did not report whether its clock was synchronised",
            1e-4,
            None,
        ),
    ],
)
def test_a_clock_that_cannot_be_trusted_excludes_the_run(
    planter: Planter,
    options: dict[str, Any],
    reason: str,
    bound: float | None,
    synchronized: bool | None,  # noqa: FBT001 - parametrized
) -> None:
    observed = planter.collect(planter.probe(**options)).runs[0]
    assert observed.exclusion_reasons == (reason,)
    assert observed.clock_error_bound_sec == bound
    assert observed.clock_synchronized is synchronized


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"exchange_offset": lambda _: -1.0},
            "the clock of i-tokyo and the exchange's were at least 999 ms apart",
        ),
        (
            {"exchange_drift": lambda _: 50e-6},
            "the clock of i-tokyo and the exchange's drifted apart by at least 40 ppm",
        ),
    ],
)
def test_a_clock_that_the_exchange_s_contradicts_excludes_every_run(
    planter: Planter, options: dict[str, Any], reason: str
) -> None:
    evidence = planter.collect(planter.probe(**options))
    for run in evidence.runs:
        (found,) = clock_findings(evidence).reasons_against(run)
        assert found.startswith(reason)


def test_a_clock_wrong_for_a_moment_excludes_the_run_of_that_moment(planter: Planter) -> None:
    begin, end = planter.second(1, 140.0), planter.second(1, 160.0)
    probe = planter.probe(exchange_offset=lambda moment: 0.3 * (begin < moment < end))
    evidence = planter.collect(probe)
    before, observed, after = map(clock_findings(evidence).reasons_against, evidence.runs)
    assert "at least 299 ms apart" in observed[0]
    assert before == after == ()


def test_clocks_apart_by_what_their_bounds_allow_exclude_nothing(planter: Planter) -> None:
    probe = planter.probe(exchange_offset=lambda _: 6e-3, exchange_drift=lambda _: -24e-6)
    evidence = planter.collect(probe)
    assert {clock_findings(evidence).reasons_against(run) for run in evidence.runs} == {()}


def test_a_clock_that_is_set_excludes_the_run_in_which_it_is_set(planter: Planter) -> None:
    probe = planter.probe(clock_set_at=[planter.second(1, 150.0)])
    before, observed, after = planter.collect(probe).runs
    assert observed.exclusion_reasons == ("the clock of i-tokyo was set once during the run",)
    assert before.exclusion_reasons == after.exclusion_reasons == ()


def test_a_clock_bound_known_for_part_of_a_run_excludes_it(planter: Planter) -> None:
    middle = planter.second(1, 150.0)
    probe = planter.probe(clock_bound=lambda moment: 1e-4 if moment < middle else None)
    observed = planter.collect(probe).runs[1]
    assert observed.exclusion_reasons == (
        "i-tokyo reported its clock error bound in only 10 of 20 scrapes",
    )


def test_the_worst_instance_speaks_for_the_clock(planter: Planter) -> None:
    twin = planter.probe(TOKYO._replace(instance="i-twin"), clock_bound=lambda _: 5e-4)
    assert planter.collect(planter.probe(), twin).runs[0].clock_error_bound_sec == 5e-4


def test_a_changing_number_of_instances_is_pointed_out(planter: Planter) -> None:
    late = planter.probe(
        TOKYO._replace(instance="i-twin"),
        started=planter.second(0, 361.0),
        scraped=lambda moment: moment > planter.second(0, 361.0),
    )
    evidence = planter.collect(planter.probe(), late)
    assert evidence.warnings == (
        "ap-northeast-1/apne1-az4/c6in.large had between 1 and 2 instances in its runs.",
    )


def test_a_scrape_interval_other_than_the_experiments_is_pointed_out(planter: Planter) -> None:
    planter.collect(planter.probe())
    slower = planter.experiment.timing.model_copy(update={"scrape_interval_sec": 30})
    experiment = planter.experiment.model_copy(update={"timing": slower})
    evidence = collect(planter.client, experiment)
    (warning,) = evidence.warnings
    assert warning.startswith("Prometheus scrapes 2.0 times as often as scrape_interval_sec (30 s)")
    assert [run.hours for run in evidence.runs] == [pytest.approx(420 / 3600)] * 3
    assert [run.coverage for run in evidence.runs] == [1, 1, 1]


def test_stream_and_symbol_narrow_the_evidence(planter: Planter) -> None:
    probe = planter.probe()
    run = planter.runs[0]
    evidence = planter.collect(probe, streams=("trade",), symbols=("BTCUSDT",))
    assert same_buckets(evidence.runs[0].latency, expected_latency(probe, run, CHANNELS[0]))
    depth = collect(planter.client, planter.experiment, EvidenceRequest(streams=("depth",)))
    assert same_buckets(depth.runs[0].latency, expected_latency(probe, run, CHANNELS[1]))
    assert evidence.selection.streams == ("trade",)
    assert evidence.selection.symbols == ("BTCUSDT",)


def test_a_selection_that_matches_nothing_says_what_there_is(planter: Planter) -> None:
    with pytest.raises(SelectionError) as caught:
        planter.collect(planter.probe(), symbols=("DOGEUSDT",))
    assert str(caught.value) == (
        'There is no latency of market \'spot\', stream "trade", "depth" and symbol "DOGEUSDT"; '
        'available: market "spot"; stream "depth@100ms", "trade"; symbol "BTCUSDT", "ETHUSDT".'
    )


def test_since_and_until_choose_whole_runs(planter: Planter) -> None:
    second = planter.runs[1]
    span = {"since": second.start_ns / NS_PER_SEC, "until": second.end_ns / NS_PER_SEC}
    evidence = planter.collect(planter.probe(), **span)
    assert [run.run for run in evidence.runs] == [second.label]
    assert (evidence.selection.since, evidence.selection.until) == (span["since"], span["until"])


def test_a_range_without_runs_is_no_data(planter: Planter) -> None:
    planter.collect(planter.probe())
    with pytest.raises(NoDataError, match="has no latency in that range"):
        planter.collect(until=planter.second(0, -1e6))


def test_latency_in_classic_buckets_is_no_data_and_the_switch_is_named(planter: Planter) -> None:
    """As a Prometheus has it that scrapes the probes without native histograms."""
    history, moment = History(), planter.second(0, 1.0)
    labels = {"experiment": planter.experiment.name, "market": "spot", "stream": "trade"}
    history.add(metrics.MESSAGES.name, labels, moment, 1.0)
    bucket = {**labels, "run": planter.runs[0].label, "le": "+Inf"}
    history.add(f"{metrics.LATENCY.name}_bucket", bucket, moment, 1.0)
    history.send(planter.client.url)
    with pytest.raises(NoDataError, match="only in classic buckets") as caught:
        planter.collect()
    assert "switch on native histograms" in str(caught.value)


def done_and_running(experiment: Experiment) -> list[Run]:
    """A run that is over and one that will go on for half a minute at least."""
    timeline = Timeline.of(experiment.timing)
    now_ns = time.time_ns()
    return [
        timeline.run_at(now_ns - 2 * timeline.cycle_ns),
        timeline.run_at(now_ns + 30 * NS_PER_SEC),
    ]


def test_a_run_in_progress_is_left_out(planter: Planter) -> None:
    done, running = planter.runs = done_and_running(planter.experiment)
    evidence = planter.collect(planter.probe())
    assert [run.run for run in evidence.runs] == [done.label]
    (warning,) = evidence.warnings
    assert warning.startswith(f"Run {running.label} lasts until ")
    assert warning.endswith(" UTC and is excluded.")


def test_only_runs_in_progress_are_no_data_yet(planter: Planter) -> None:
    planter.runs = done_and_running(planter.experiment)[1:]
    with pytest.raises(NoDataError, match="has ended yet; the first ends at"):
        planter.collect(planter.probe())


def test_runs_of_another_timing_are_refused(planter: Planter) -> None:
    planter.collect(planter.probe())
    planned = planter.experiment.timing
    # Of another length, one run in a hundred would begin at a moment that fits by chance.
    longer = {"warmup_sec": planned.warmup_sec + 1, "cooldown_sec": planned.cooldown_sec - 1}
    timing = planned.model_copy(update=longer)
    experiment = planter.experiment.model_copy(update={"timing": timing})
    with pytest.raises(SelectionError, match=r"do not fit the timing .* with --config"):
        collect(planter.client, experiment)


def test_a_stray_run_label_is_pointed_out(planter: Planter) -> None:
    history = History()
    labels = {"experiment": planter.experiment.name, "market": "spot", "stream": "trade"}
    history.add(metrics.LATENCY.name, {**labels, "run": "yesterday"}, planter.second(0, 1.0), 1.0)
    history.send(planter.client.url)
    (warning,) = planter.collect(planter.probe()).warnings
    assert warning.endswith('do not fit the experiment\'s timing and are excluded: "yesterday".')


def test_the_stratum_is_that_of_the_middle_of_the_measurement(planter: Planter) -> None:
    for observed, run in zip(planter.collect(planter.probe()).runs, planter.runs, strict=True):
        middle = datetime.fromtimestamp(run.measure_start_ns / NS_PER_SEC + 150, UTC)
        assert observed.stratum == planter.experiment.stratum_of(middle)


def test_progress_counts_the_runs(planter: Planter) -> None:
    planter.collect(planter.probe())
    steps: list[tuple[int, int]] = []
    collect(planter.client, planter.experiment, progress=lambda *step: steps.append(step))
    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_the_experiment_asked_for_goes_before_the_configured_one(planter: Planter) -> None:
    other = planter.probe()
    other.experiment = f"{planter.experiment.name[:50]}-other"
    planter.collect(planter.probe())
    evidence = planter.collect(other, experiment=other.experiment)
    assert evidence.selection.experiment == other.experiment


def test_an_experiment_that_is_not_there_is_answered_with_those_that_are(
    planter: Planter,
) -> None:
    planter.collect(planter.probe())
    with pytest.raises(SelectionError, match=r"no experiment 'nowhere'; .*--experiment-id: \""):
        collect(planter.client, planter.experiment, EvidenceRequest(experiment="nowhere"))


def test_how_late_timestamps_can_be_is_read_run_by_run(planter: Planter) -> None:
    begin, end = planter.second(1, 0.0), planter.second(1, 300.0)

    def bounds(times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Every third message of the second run may be 30 ms late."""
        late = (begin <= times) & (times < end) & (np.arange(times.size) % 3 == 0)
        return np.where(late, 0.03, 0.0)

    probe = planter.probe(error_bounds=bounds, timestamps="socket", round_trip=0.0123)
    before, starved, after = planter.collect(probe).runs
    for run in (before, after):
        (one,) = run.instances
        assert one.timestamp_errors is not None
        assert (one.timestamp_errors.exact, one.timestamp_errors.bounds.count) == (
            run.latency.count,
            0,
        )
        assert one.timestamp_kinds == ("socket",)
        assert lateness(run.readings, 0.99) == 0
        assert run.exclusion_reasons == ()
    (one,) = starved.instances
    assert one.timestamp_errors is not None
    assert one.timestamp_errors.exact + one.timestamp_errors.bounds.count == starved.latency.count
    assert one.timestamp_errors.bounds.count == pytest.approx(starved.latency.count / 3, abs=3)
    (reason,) = starved.exclusion_reasons
    assert reason.startswith(
        "the host of i-tokyo was too busy to measure: late timestamps can explain up to "
    )


def test_what_an_older_probe_does_not_say_is_not_known(planter: Planter) -> None:
    for run in planter.collect(planter.probe()).runs:
        (one,) = run.instances
        assert (one.timestamp_errors, one.timestamp_kinds) == (None, ())
        assert (one.exchange_offset, one.round_trips) == (None, None)
        assert lateness(run.readings, 0.99) is None
        assert run.exclusion_reasons == ()


def test_offsets_and_round_trips_of_each_run_are_kept(planter: Planter) -> None:
    """The offset is known to 1 ms; it moves by 3 ms in the second run."""
    begin, end = planter.second(1, 140.0), planter.second(1, 160.0)
    probe = planter.probe(
        exchange_offset=lambda moment: 3e-3 * (begin < moment < end), round_trip=0.0123
    )
    before, moved, _ = (run.instances[0] for run in planter.collect(probe).runs)
    for one, expected in ((before, (-1e-3, 1e-3)), (moved, (2e-3, 1e-3))):
        assert one.exchange_offset is not None
        found = (one.exchange_offset.low, one.exchange_offset.high)
        assert found == pytest.approx(expected)
    assert before.round_trips is not None
    trips = (before.round_trips.least_sec, before.round_trips.median_sec)
    assert trips == pytest.approx((0.0123, 0.0123), rel=0.003)


def test_a_clock_that_its_own_latencies_refute_decides_nothing(planter: Planter) -> None:
    """Dublin's clock is 19 ms behind, and claims 0.1 ms: its latencies would be the lowest."""
    events = {c: poisson_events(planter.rng, planter.runs) for c in CHANNELS}
    behind = {c: Events(e.times, e.latencies - 0.019) for c, e in events.items()}
    evidence = planter.collect(
        planter.probe(channels=events), planter.probe(DUBLIN, channels=behind)
    )
    found = clock_findings(evidence)
    for run in evidence.runs:
        reasons = found.reasons_against(run)
        if run.candidate.get("region") == DUBLIN.region:
            assert reasons[0].startswith("the clock of i-dublin is wrong by at least ")
        else:
            assert reasons == ()
