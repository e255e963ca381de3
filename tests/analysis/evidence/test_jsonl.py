"""The first version's result files: what they say is kept, what they do not stays unknown."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.analysis.decision.decide import decide
from latency_sweep.analysis.decision.verdict import VerdictKind
from latency_sweep.analysis.evidence import jsonl
from latency_sweep.analysis.evidence.jsonl import JsonlError, _fitted
from latency_sweep.analysis.evidence.records import Candidate, Evidence
from latency_sweep.contract.experiment import load
from latency_sweep.nativehist.float_histogram import FloatHistogram

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2026, 1, 31, 6, 5, tzinfo=UTC)
LATENCIES_US = (np.random.default_rng(11).lognormal(-4, 0.4, 40_000) * 1e6).round()


def summary(values_us: np.ndarray) -> dict[str, Any]:
    """A summary as a probe writes it; all zero when nothing was seen."""
    values = values_us if values_us.size else np.zeros(1)
    p50, p90, p95, p99, p999 = np.percentile(values, [50, 90, 95, 99, 99.9], method="higher")
    return {
        "count": values_us.size,
        "min_us": int(values.min()),
        "max_us": int(values.max()),
        "mean_us": float(values.mean()),
        "std_dev_us": float(values.std()),
        "cv": float(values.std() / max(values.mean(), 1)),
        "p50_us": int(p50),
        "p90_us": int(p90),
        "p95_us": int(p95),
        "p99_us": int(p99),
        "p999_us": int(p999),
    }


def record(
    poll: int,
    seen: int,
    *,
    region: str = "eu-west-1",
    family: str = "compute",
    start: datetime = START,
    messages: int | None = None,
    reconnects: int = 0,
) -> dict[str, Any]:
    """The line of one poll of one place, a minute after the one before."""
    values = LATENCIES_US[:seen]
    return {
        "timestamp": (start + timedelta(minutes=poll)).replace(tzinfo=None).isoformat(),
        "elapsed_sec": poll * 60,
        "region": region,
        "instance_family": family,
        "metrics": {
            "probe_info": {
                "region": region,
                "instance_family": family,
                "experiment_id": "latency-sweep-20260131-0600",
                "timestamp": start.isoformat(),
            },
            "aggregate": summary(values),
            "per_symbol": {"BTCUSDT": summary(values[::2]), "ETHUSDT": summary(values[1::2])},
            "counters": {
                "messages": seen if messages is None else messages,
                "reconnects": reconnects,
                "errors": 0,
            },
            "recent_samples": [],
            "uptime_sec": 300 + poll * 60,
            "warmup_complete": True,
        },
    }


def read(tmp_path: Path, *records: dict[str, Any], **options: Any) -> Evidence:
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return jsonl.read(path, load(), **options)


def test_a_lone_snapshot_keeps_count_mean_and_percentiles(tmp_path: Path) -> None:
    (run,) = read(tmp_path, record(5, 20_000)).runs
    recorded = summary(LATENCIES_US[:20_000])
    assert run.latency.count == 20_000
    assert run.latency.mean() == pytest.approx(recorded["mean_us"] * 1e-6)
    for q, key in ((0.5, "p50"), (0.9, "p90"), (0.95, "p95"), (0.99, "p99"), (0.999, "p999")):
        assert run.latency.quantile(q) == pytest.approx(recorded[f"{key}_us"] * 1e-6, rel=0.003)
    assert run.latency.min_bounds()[1] == pytest.approx(recorded["min_us"] * 1e-6, rel=0.003)
    assert run.latency.max_bounds()[0] == pytest.approx(recorded["max_us"] * 1e-6, rel=0.003)


def test_polls_become_windows_that_add_up_to_the_run(tmp_path: Path) -> None:
    counts = [1000, 5000, 12_000, 40_000]
    (run,) = read(tmp_path, *(record(n, seen) for n, seen in enumerate(counts))).runs
    assert [window.count for window in run.windows] == [4000, 7000, 28_000]
    pooled = FloatHistogram.merge(*run.windows)
    assert np.array_equal(pooled.counts, run.latency.counts)
    assert run.latency.count == 39_000
    exact = np.percentile(LATENCIES_US[1000:], 99) * 1e-6
    assert run.latency.quantile(0.99) == pytest.approx(exact, rel=0.02)


def test_counters_are_differences_over_the_polls(tmp_path: Path) -> None:
    polls = [
        record(0, 100, messages=900, reconnects=2),
        record(60, 500, messages=1900, reconnects=3),
    ]
    (run,) = read(tmp_path, *polls).runs
    assert (run.messages, run.reconnects) == (1000, 1)
    assert run.hours == 1


def test_what_is_not_recorded_is_unknown(tmp_path: Path) -> None:
    evidence = read(tmp_path, record(0, 100))
    (run,) = evidence.runs
    unknown = (run.lost, run.negative, run.clock_error_bound_sec, run.clock_synchronized)
    assert unknown == (None, None, None, None)
    assert evidence.approximate
    assert len(evidence.warnings) == 2


def test_no_winner_comes_of_such_a_file(tmp_path: Path) -> None:
    lines = []
    for sweep in range(9):
        start = START + timedelta(hours=2 * sweep)
        for poll in range(3):
            for family, slower in (("compute", 1), ("network", 2)):
                line = record(poll, 12_000 * poll, family=family, start=start)
                for key in line["metrics"]["aggregate"]:
                    if key.endswith("_us"):
                        line["metrics"]["aggregate"][key] *= slower
                lines.append(line)
    verdict = decide(read(tmp_path, *lines), load())
    assert verdict.kind is VerdictKind.INCONCLUSIVE


def test_candidates_are_named_by_the_experiments_instance_types(tmp_path: Path) -> None:
    lines = [record(0, 10), record(0, 10, family="exotic", region="mars")]
    evidence = read(tmp_path, *lines)
    assert [c.name for c in evidence.candidates()] == ["eu-west-1/c6i.large", "mars/exotic"]


def test_candidates_can_be_pooled_by_region(tmp_path: Path) -> None:
    lines = [record(n, 100 * n, family=f) for n in range(3) for f in ("compute", "network")]
    evidence = read(tmp_path, *lines, by=("region",))
    (run,) = evidence.runs
    assert run.candidate == Candidate(("region",), ("eu-west-1",))
    assert [window.count for window in run.windows] == [200, 200]
    assert run.hours == pytest.approx(4 / 60)


def test_a_dimension_that_is_not_recorded_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JsonlError, match="does not record az_id; --by can use region, inst"):
        read(tmp_path, record(0, 10), by=("az_id",))


def test_one_symbol_can_be_chosen(tmp_path: Path) -> None:
    (run,) = read(tmp_path, record(0, 1000), symbols=("ETHUSDT",)).runs
    assert run.latency.count == 500
    exact = np.percentile(LATENCIES_US[1:1000:2], 50) * 1e-6
    assert run.latency.quantile(0.5) == pytest.approx(exact, rel=0.01)


def test_an_unknown_symbol_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(JsonlError, match="has no symbol DOGE; its symbols: BTCUSDT, ETHUSDT"):
        read(tmp_path, record(0, 10), symbols=("DOGE",))


def test_sweeps_appended_to_one_file_are_runs_of_their_own(tmp_path: Path) -> None:
    later = START + timedelta(hours=8)
    lines = [record(n, 100 * n + 100, start=s) for s in (START, later) for n in range(3)]
    evidence = read(tmp_path, *lines)
    assert [run.run for run in evidence.runs] == ["2026-01-31T06:05:00Z", "2026-01-31T14:05:00Z"]
    assert [run.stratum for run in evidence.runs] == ["low", "high"]


def test_the_candidates_of_one_sweep_share_its_run(tmp_path: Path) -> None:
    second = START + timedelta(seconds=4)
    lines = [record(0, 100), record(0, 100, region="eu-west-2", start=second)]
    assert len({run.run for run in read(tmp_path, *lines).runs}) == 1


def test_a_restart_excludes_the_run_and_drops_what_came_before(tmp_path: Path) -> None:
    lines = [record(0, 5000), record(1, 9000), record(2, 100), record(3, 600)]
    (run,) = read(tmp_path, *lines).runs
    assert run.exclusion_reasons == ("the probe at eu-west-1/compute restarted during the run",)
    assert run.latency.count == 500


def test_unanswered_polls_exclude_the_run(tmp_path: Path) -> None:
    lines = [record(n, 500 * n) for n in range(10)]
    lines[4:4] = [record(n, 500 * n, region="eu-west-2") for n in range(4)]
    first, second = read(tmp_path, *sorted(lines, key=lambda r: r["elapsed_sec"])).runs
    assert first.exclusion_reasons == ()
    assert second.exclusion_reasons == ("eu-west-2/compute answered only 4 of 10 polls",)
    assert second.coverage == pytest.approx(0.4)


def test_too_few_samples_for_p99_exclude_the_run(tmp_path: Path) -> None:
    (run,) = read(tmp_path, record(0, 100)).runs
    assert run.exclusion_reasons[0].startswith(
        "only 100 latency samples, and an interval for p99 at 95%"
    )


def test_a_candidate_that_saw_nothing_is_excluded(tmp_path: Path) -> None:
    (run,) = read(tmp_path, record(0, 0), record(1, 0)).runs
    assert run.exclusion_reasons == ("eu-west-1/c6i.large has no latency samples in this run",)


def test_percentiles_that_are_bucket_bounds_are_cut_at_the_maximum(tmp_path: Path) -> None:
    line = record(0, 1000)
    line["metrics"]["aggregate"].update(
        min_us=0, p50_us=20_000, p90_us=50_000, p95_us=50_000, p99_us=50_000, p999_us=2**64 - 1
    )
    (run,) = read(tmp_path, line).runs
    largest = line["metrics"]["aggregate"]["max_us"] * 1e-6
    assert run.latency.max_bounds()[0] < largest <= run.latency.max_bounds()[1]
    assert run.latency.quantile(0.99) == pytest.approx(0.05, rel=0.003)
    assert run.latency.count == 1000


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps(record(0, 10)) + "\n" + json.dumps(record(1, 20))[:100])
    evidence = jsonl.read(path, load())
    assert evidence.warnings[-1] == "Line 2 was cut off and is dropped."
    assert len(evidence.runs) == 1


def test_a_broken_line_inside_is_named(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text('{"timestamp": \n' + json.dumps(record(0, 10)))
    with pytest.raises(JsonlError, match=r"results\.jsonl, line 1: is no result record: "):
        jsonl.read(path, load())


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    line = record(0, 10)
    del line["metrics"]["aggregate"]["p99_us"]
    with pytest.raises(JsonlError, match=r"line 2: .*`p99_us` - at `\$\.metrics\.aggregate`"):
        read(tmp_path, record(0, 10), line)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("timestamp",), "0001-01-01T00:00:00", "`timestamp` lies outside the years 2000 to 2100"),
        (("timestamp",), "9999-12-31T23:59:59-14:00", "`timestamp` lies outside the years"),
        (("elapsed_sec",), 1e15, r"`\$\.elapsed_sec`"),
        (("elapsed_sec",), -1e12, r"`\$\.elapsed_sec`"),
        (("metrics", "aggregate", "count"), 10**18, r"`\$\.metrics\.aggregate\.count`"),
        (("metrics", "aggregate", "count"), -5, r"`\$\.metrics\.aggregate\.count`"),
        (("metrics", "aggregate", "mean_us"), 1e308, r"`\$\.metrics\.aggregate\.mean_us`"),
        (("metrics", "counters", "messages"), -1, r"`\$\.metrics\.counters\.messages`"),
        (("metrics", "counters", "reconnects"), 10**18, r"`\$\.metrics\.counters\.reconnects`"),
    ],
)
def test_a_number_that_no_probe_can_have_written_is_refused_by_line_and_field(
    tmp_path: Path, path: tuple[str, ...], value: object, named: str
) -> None:
    line = record(1, 20)
    *parents, field = path
    holder = line
    for parent in parents:
        holder = holder[parent]
    holder[field] = value
    with pytest.raises(JsonlError, match=rf"line 2: is no result record: .*{named}"):
        read(tmp_path, record(0, 10), line)


def test_the_largest_numbers_allowed_are_decided_on(tmp_path: Path) -> None:
    line = record(0, 20)
    line["elapsed_sec"] = 1e8
    line["metrics"]["aggregate"] |= {"count": 10**12, "mean_us": 1e12, "max_us": 1e300}
    line["metrics"]["counters"] |= {"messages": 10**12, "reconnects": 10**12}
    verdict = decide(read(tmp_path, line), load())
    assert verdict.kind is VerdictKind.INCONCLUSIVE


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_a_file_without_records_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(content)
    with pytest.raises(JsonlError, match="holds no result records"):
        jsonl.read(path, load())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(JsonlError, match=r"none\.jsonl: cannot be read: No such file"):
        jsonl.read(tmp_path / "none.jsonl", load())


counts = st.lists(st.integers(0, 1000), min_size=1, max_size=20)


@given(counts, st.data())
def test_a_fitted_snapshot_keeps_its_count_and_stays_within_the_next(
    room: list[int], data: st.DataObject
) -> None:
    total = data.draw(st.integers(0, sum(room)))
    split = data.draw(st.lists(st.floats(0, 1), min_size=len(room), max_size=len(room)))
    shares = np.array(split) + 1e-9
    wanted = np.diff(np.rint(np.cumsum(shares) / shares.sum() * total), prepend=0.0)
    fitted = _fitted(wanted, np.array(room, dtype=float))
    assert fitted.sum() == total
    assert np.all(fitted >= 0)
    assert np.all(fitted <= room)
    assert np.array_equal(fitted, np.rint(fitted))
