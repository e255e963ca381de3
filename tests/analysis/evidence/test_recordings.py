from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latency_sweep.analysis.decision.decide import decide
from latency_sweep.analysis.decision.verdict import VerdictKind
from latency_sweep.analysis.evidence import recordings
from latency_sweep.analysis.evidence.recorded_host import RecordedHost
from latency_sweep.analysis.evidence.recordings import RecordedEvidenceError
from latency_sweep.contract import experiment
from tests.recordings_made import NS_PER_SEC, START_NS, MadeMarket

if TYPE_CHECKING:
    from pathlib import Path

    from latency_sweep.analysis.evidence.records import Evidence, InstanceEvidence

SHIFT_NS = 123_400
MARKET = MadeMarket()


def minutes_long(minutes: int = 1) -> experiment.Experiment:
    """The shipped experiment with runs and limits for recordings of a few minutes."""
    document = experiment.load().model_dump(by_alias=True)
    document["timing"]["measurement_sec"] = 60 * minutes
    document["time_strata"] = {}
    document["decision"]["constraints"] |= {
        "reconnects_per_hour": 100.0,
        "loss_ratio": 0.01,
        "min_samples": 1_000,
    }
    return experiment.Experiment.model_validate(document)


def read(*hosts: RecordedHost, minutes: int = 1, **how: object) -> Evidence:
    return recordings.read(hosts, minutes_long(minutes), **how)  # type: ignore[arg-type]


def host(name: str, *files: Path, bound: float | None = None) -> RecordedHost:
    return RecordedHost(name, files, bound)


def only_instances(evidence: Evidence, name: str) -> list[InstanceEvidence]:
    return [run.instances[0] for run in evidence.runs if run.candidate.name == name]


def test_the_same_events_tell_the_shift_exactly_whatever_the_exchange_did(tmp_path: Path) -> None:
    near = MARKET.recorded(tmp_path / "near")
    far = MARKET.recorded(tmp_path / "far", later_ns=SHIFT_NS)
    (found,) = read(host("near", near), host("far", far)).same_events
    assert (found.first, found.second, found.first_ahead_ratio) == ("near", "far", 1.0)
    for quantile in (found.p01_sec, found.p50_sec, found.p99_sec, *found.run_medians_sec):
        assert quantile == pytest.approx(SHIFT_NS / NS_PER_SEC, rel=1e-6)
    assert found.clock_bound_sec is None


def test_each_pair_of_hosts_is_told_with_the_bounds_of_both_clocks(tmp_path: Path) -> None:
    hosts = [
        host(name, MARKET.recorded(tmp_path / name, later_ns=later), bound=bound)
        for name, later, bound in (("a", 0, 1e-5), ("b", 50_000, 2e-5), ("c", 20_000, None))
    ]
    found = read(*hosts).same_events
    assert [(d.first, d.second) for d in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [round(d.p50_sec * 1e6, 3) for d in found] == [50, 20, -30]
    assert [d.clock_bound_sec for d in found] == [pytest.approx(3e-5), None, None]


def test_only_events_that_all_hosts_received_count(tmp_path: Path) -> None:
    gone = range(1_000, 1_040)  # in the middle, two seconds
    whole = MARKET.recorded(tmp_path / "whole")
    torn = MARKET.recorded(tmp_path / "torn", missing=gone)
    evidence = read(host("whole", whole), host("torn", torn), minutes=60)
    (good,), (bad,) = (only_instances(evidence, name) for name in ("whole", "torn"))
    assert good.latency.count == bad.latency.count
    assert (good.lost, good.reconnects) == (0, 0)
    assert (bad.lost, bad.reconnects) == (len(gone), 1)
    assert (good.messages or 0) - (bad.messages or 0) == len(gone)


def test_messages_missed_at_different_times_are_several_interruptions(tmp_path: Path) -> None:
    gone = (*range(500, 510), *range(900, 905), 1_200)
    evidence = read(
        host("whole", MARKET.recorded(tmp_path / "whole")),
        host("torn", MARKET.recorded(tmp_path / "torn", missing=gone)),
        minutes=60,
    )
    (bad,) = only_instances(evidence, "torn")
    assert (bad.lost, bad.reconnects) == (16, 3)


def test_what_was_recorded_before_and_after_the_others_is_no_loss(tmp_path: Path) -> None:
    late = range(MARKET.first_id, MARKET.first_id + 200)
    evidence = read(
        host("early", MARKET.recorded(tmp_path / "early")),
        host("late", MARKET.recorded(tmp_path / "late", missing=late)),
    )
    assert sum(one.lost or 0 for one in only_instances(evidence, "late")) == 0


def test_files_of_one_host_are_one_recording(tmp_path: Path) -> None:
    first, second = range(100, 1_100), range(1_100, 2_100)
    parts = [
        MARKET.recorded(tmp_path / str(number), missing=gone)
        for number, gone in enumerate((second, first))
    ]
    whole = MARKET.recorded(tmp_path / "whole")
    evidence = read(host("parts", *parts), host("whole", whole))
    assert sum(one.lost or 0 for one in only_instances(evidence, "parts")) == 0
    assert evidence.same_events[0].p50_sec == 0


def test_the_time_is_cut_into_equal_runs_of_about_the_measurement(tmp_path: Path) -> None:
    evidence = read(host("a", MARKET.recorded(tmp_path / "a")), minutes=1)
    runs = only_instances(evidence, "a")
    assert len(runs) == 2  # 100 s
    assert [one.hours for one in runs] == [pytest.approx(50 / 3600, rel=0.01)] * 2


def test_days_apart_make_runs_of_their_own(tmp_path: Path) -> None:
    next_day = MadeMarket(start_ns=START_NS + 86_400 * NS_PER_SEC, first_id=900_000)
    hosts = [
        host(name, MARKET.recorded(tmp_path / f"{name}1"), next_day.recorded(tmp_path / f"{name}2"))
        for name in ("a", "b")
    ]
    evidence = read(*hosts, minutes=60)
    assert [run.run[:10] for run in evidence.runs] == ["2025-06-15", "2025-06-16"] * 2


def test_a_host_clock_that_is_seconds_behind_still_has_its_events(tmp_path: Path) -> None:
    behind = MARKET.recorded(tmp_path / "behind", later_ns=-1_270_000_000)
    (one,) = only_instances(read(host("behind", behind), minutes=60), "behind")
    assert one.negative == one.latency.count == MARKET.events


def test_one_host_alone_has_neither_loss_nor_interruptions(tmp_path: Path) -> None:
    evidence = read(host("a", MARKET.recorded(tmp_path / "a")), minutes=60)
    (one,) = only_instances(evidence, "a")
    assert (one.lost, one.reconnects, evidence.same_events) == (None, None, ())
    assert recordings.ALONE_WARNING in evidence.warnings


def test_an_unknown_clock_is_said_and_lets_nobody_win(tmp_path: Path) -> None:
    hosts = [
        host(name, MadeMarket(events=12_000).recorded(tmp_path / name, later_ns=later))
        for name, later in (("near", 0), ("far", 2_000_000))
    ]
    evidence = read(*hosts)
    assert any("is not known of near, far" in warning for warning in evidence.warnings)
    verdict = decide(evidence, minutes_long())
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert [c.name for row in verdict.ranking for c in row.constraints if c.status != "pass"] == [
        "clock",
        "clock",
    ]


def test_with_good_clocks_the_nearer_host_wins(tmp_path: Path) -> None:
    hosts = [
        host(name, MadeMarket(events=12_000).recorded(tmp_path / name, later_ns=later), bound=1e-5)
        for name, later in (("far", 2_000_000), ("near", 0))
    ]
    verdict = decide(read(*hosts), minutes_long())
    assert (verdict.kind, verdict.winner) == (VerdictKind.WINNER, "near")
    assert verdict.same_events[0].p50_sec == pytest.approx(-0.002, rel=1e-6)


def test_recordings_of_different_times_are_refused_with_both_times(tmp_path: Path) -> None:
    later = MadeMarket(start_ns=START_NS + 3_600 * NS_PER_SEC)
    with pytest.raises(
        RecordedEvidenceError, match=r"same time: a from 2025-06-15T15:06:40Z to .*; b from .*16:06"
    ):
        read(host("a", MARKET.recorded(tmp_path / "a")), host("b", later.recorded(tmp_path / "b")))


def test_recordings_of_different_symbols_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        RecordedEvidenceError, match=r"in common .*: a recorded trade BTCUSDT; b recorded trade ETH"
    ):
        read(
            host("a", MARKET.recorded(tmp_path / "a")),
            host("b", MARKET.recorded(tmp_path / "b", symbol="ethusdt")),
        )


def test_a_channel_with_other_ids_at_each_host_is_left_out(tmp_path: Path) -> None:
    other = MadeMarket(first_id=5_000_000)
    with pytest.raises(RecordedEvidenceError, match="no event in common"):
        read(host("a", MARKET.recorded(tmp_path / "a")), host("b", other.recorded(tmp_path / "b")))


def test_streams_without_event_time_are_refused_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "quotes"
    file.write_text('1750000000000000 {"stream":"btcusdt@bookTicker","data":{"u":1,"s":"B"}}\n')
    with pytest.raises(RecordedEvidenceError, match="has an event time; recorded were bookTicker"):
        read(host("a", file))
