from __future__ import annotations

import json
import math
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from latency_sweep.analysis.prometheus_api import (
    FloatSample,
    Matrix,
    PrometheusClient,
    QueryError,
    Series,
    Vector,
)
from latency_sweep.collector.cli import main
from latency_sweep.collector.watch.evidence import EvidenceSoFar
from latency_sweep.collector.watch.live import (
    TREND_POINTS,
    CandidateState,
    Snapshot,
    Watcher,
)
from latency_sweep.collector.watch.view import View, document, to_json
from latency_sweep.contract import experiment
from latency_sweep.contract.metrics import Phase
from latency_sweep.contract.targets import CandidateLabels

LIMITS = experiment.load().decision.constraints
GOOD = CandidateState(
    labels=CandidateLabels("ap-northeast-1", "apne1-az4", "c6in.large"),
    probes=1,
    probes_up=1,
    connected=True,
    p50_sec=0.0086,
    p99_sec=0.0108,
    p999_sec=0.0128,
    trend_sec=(*(None,) * (TREND_POINTS - 2), 0.005, 0.01),
    messages=1000.0,
    loss_ratio=0.0,
    reconnects=0.0,
    clock_error_bound_sec=10e-6,
    clock_synchronized=True,
    phases=(Phase.MEASURE,),
    run="2026-01-31T06:05:00Z",
)
EVIDENCE = EvidenceSoFar(
    measured=2,
    needed=8,
    usable={GOOD.labels: 1},
    excluded={GOOD.labels: {"clock": 1}},
    ends_at=1_769_840_000.0 + 7_800.0,
)
UNKNOWN = CandidateState(
    labels=CandidateLabels("eu-west-1", "euw1-az1", "c7gn.medium"),
    probes=1,
    probes_up=1,
    connected=None,
    p50_sec=None,
    p99_sec=None,
    p999_sec=None,
    trend_sec=(None,) * TREND_POINTS,
    messages=None,
    loss_ratio=None,
    reconnects=None,
    clock_error_bound_sec=None,
    clock_synchronized=None,
    phases=(),
    run=None,
)


def snapshot(*candidates: CandidateState, evidence: EvidenceSoFar | None = EVIDENCE) -> Snapshot:
    return Snapshot(
        experiment="binance-latency-sweep",
        market="spot",
        taken_at=1_769_840_000.0,
        run="2026-01-31T06:05:00Z",
        phase=Phase.MEASURE,
        phase_ends_at=1_769_840_125.0,
        evidence=evidence,
        trend_step_sec=60,
        candidates=candidates,
    )


def screen(
    *candidates: CandidateState,
    width: int = 80,
    height: int | None = None,
    problem: str | None = None,
    evidence: EvidenceSoFar | None = EVIDENCE,
) -> list[str]:
    console = Console(file=StringIO(), width=width)
    shown = snapshot(*candidates, evidence=evidence)
    console.print(View(LIMITS, width, height).draw(shown, now=shown.taken_at + 5, problem=problem))
    assert isinstance(console.file, StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def row(state: CandidateState, width: int = 80) -> str:
    lines = screen(state, width=width)
    return lines[lines.index("", 1) + 2]


@pytest.mark.parametrize("width", [80, 119, 120, 200])
def test_every_line_fits_the_terminal_and_every_column_has_a_heading(width: int) -> None:
    lines = screen(GOOD, UNKNOWN, width=width)
    assert max(map(len, lines)) <= width
    heading = next(line for line in lines if "p99.9" in line)
    for name in ("candidate", "p50", "p99", "loss", "reconn", "clock", "state"):
        assert name in heading
    assert ("runs" in heading) == (width >= 120)


def test_the_headline_counts_down_to_the_end_of_the_phase() -> None:
    assert "measuring, 2 min 00 s left" in screen(GOOD)[0]


@pytest.mark.parametrize(("width", "name"), [(80, "Tokyo az4"), (120, "Tokyo, apne1-az4")])
def test_candidates_are_named_by_city_and_zone(width: int, name: str) -> None:
    assert row(GOOD, width).startswith(f"{name} c6in.large ")


def test_the_evidence_so_far_says_how_many_runs_there_are_and_what_is_excluded() -> None:
    lines = screen(GOOD)
    assert lines[0].startswith("binance-latency-sweep · spot · run 3 of 9: measuring")
    assert "Usable runs: 1 of 8 needed; an answer takes 2 h 10 min or more" in lines
    assert "Excluded runs of Tokyo az4 c6in.large: clock 1" in lines
    assert " 1/8 " in row(GOOD, 120)


def test_enough_evidence_is_told_and_runs_are_numbered_on() -> None:
    enough = replace(EVIDENCE, measured=8, usable={GOOD.labels: 8}, excluded={}, ends_at=None)
    lines = screen(GOOD, evidence=enough)
    assert "· run 9: measuring" in lines[0]
    assert "Usable runs: 8 of 8 needed; enough for analyze" in lines


def test_runs_that_are_not_counted_yet_keep_nobody_from_the_table() -> None:
    lines = screen(GOOD, evidence=None)
    assert "run 2026-01-31T06:05:00Z: measuring" in lines[0]
    assert "Usable runs: not counted yet, the server is busy" in lines
    shown = document(snapshot(GOOD, evidence=None))
    assert shown["runs_needed"] is None
    assert shown["candidates"][0]["runs_usable"] is None


def test_many_exclusions_take_two_lines() -> None:
    zones = [CandidateLabels("eu-west-1", f"euw1-az{n}", "c6i.large") for n in range(9)]
    lines = screen(
        GOOD, evidence=replace(EVIDENCE, excluded={zone: {"scrapes": 2} for zone in zones})
    )
    told = [line for line in lines if line.startswith("Excluded runs of ")]
    assert told == [
        "Excluded runs of Ireland az0 c6i.large: scrapes 2",
        "Excluded runs of Ireland az1 c6i.large: scrapes 2; and 7 more candidates",
    ]


def test_a_good_candidate_has_no_mark() -> None:
    assert "!" not in row(GOOD)


@pytest.mark.parametrize(
    ("broken", "mark"),
    [
        ({"p99_sec": 0.2, "p999_sec": 0.3}, "200!"),
        ({"p999_sec": 0.0999}, "99.90!"),
        ({"loss_ratio": 0.01}, "1.000%!"),
        ({"reconnects": 1.01}, "1!"),
        ({"clock_error_bound_sec": 0.0042}, "±4.2ms!"),
        ({"clock_synchronized": False}, "lost!"),
        ({"probes_up": 0}, "down!"),
        ({"probes": 3}, "2 down!"),
        ({"connected": False}, "cut off!"),
        ({"phases": (Phase.MEASURE, Phase.WARMUP)}, "phases!"),
    ],
)
def test_what_breaks_a_limit_is_marked_without_colour(broken: dict[str, object], mark: str) -> None:
    line = row(replace(GOOD, **broken))  # type: ignore[arg-type]
    assert mark in line
    assert line.count("!") == 1


@pytest.mark.parametrize("width", [80, 120])
def test_only_a_name_is_cut_when_there_is_no_room(width: int) -> None:
    wide = replace(
        GOOD,
        labels=CandidateLabels("ap-northeast-1", "apne1-az4", "c6in.metal-32xl"),
        loss_ratio=0.05123,
        clock_error_bound_sec=0.0142,
        probes=12,
    )
    lines = screen(wide, width=width)
    assert "az4 c6in.met" in lines[3]
    assert "…" in lines[3]
    assert [word for word in lines[3].split() if "!" in word] == ["5.123%!", "±14.2ms!", "down!"]
    assert "…" not in lines[2]


def test_candidates_that_do_not_fit_are_counted_and_the_legend_stays() -> None:
    lines = screen(*[GOOD] * 40, height=24, problem="It is unreachable.")
    assert len(lines) <= 24
    assert sum(line.startswith("Tokyo az4 ") for line in lines) == 12
    assert "28 slower ones do not fit on the screen" in lines
    assert lines[-1].endswith("trying again.")


@pytest.mark.parametrize(
    ("factors", "bars"),
    [
        ((1.0, 1.0, 1.0), "▄▄▄"),
        ((1.0, 1.02, 0.99), "▄▄▄"),
        ((1.0, 1.25, 1.0), "▄▅▄"),
        ((1.0, 2.0, 1.0, 0.5, 9.0, 0.1, 1.0), "▄█▄▁█▁▄"),
        ((1.0, -1.0, 1.0), "▄▁▄"),
        ((0.0, 0.0), "▄▄"),
        ((-1.0, -1.0), "▄▄"),
        ((1.0, None, 1.0), "▄ ▄"),
        ((None, None), "  "),
    ],
)
@pytest.mark.parametrize("level_sec", [0.001, 0.3])
def test_the_trend_shows_factors_of_the_median_and_leaves_gaps_empty(
    factors: tuple[float | None, ...], bars: str, level_sec: float
) -> None:
    points = [None if factor is None else factor * level_sec for factor in factors]
    trend = (*(None,) * (TREND_POINTS - len(points)), *points)
    assert f" {bars} " in row(replace(GOOD, trend_sec=trend))


def test_what_is_not_known_is_a_dash() -> None:
    assert row(UNKNOWN).split()[3:] == ["-"] * 7


def test_a_server_that_does_not_answer_is_told_below_the_last_table() -> None:
    lines = screen(GOOD, problem="It is unreachable.")
    assert lines[-1] == "It is unreachable. This is 5 s old; trying again."
    assert any(line.startswith("Tokyo az4 ") for line in lines)


def test_json_holds_all_that_is_known_with_times_in_utc() -> None:
    shown = json.loads(to_json(snapshot(GOOD, UNKNOWN)))
    assert shown == json.loads(json.dumps(document(snapshot(GOOD, UNKNOWN))))
    assert shown["phase_ends_at"] == "2026-01-31T06:15:25Z"
    assert shown["phase_left_sec"] == 125
    assert shown["candidates"][0]["p99_sec"] == 0.0108
    assert shown["candidates"][0]["city"] == "Tokyo"
    assert shown["candidates"][0]["runs_excluded"] == {"clock": 1}
    assert (shown["runs_needed"], shown["runs_usable_at_least"]) == (8, 1)
    assert shown["enough_runs_at"] == "2026-01-31T08:23:20Z"
    assert shown["candidates"][1]["p99_sec"] is None
    assert len(shown["candidates"][0]["p99_trend_sec"]) == TREND_POINTS


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["--from-prometheus", "http://127.0.0.1:1"], 7, "is unreachable"),
        (["--from-prometheus", "ftp://x"], 2, "must look like http://HOST:PORT"),
        (["--from-prometheus", "http://x", "--json"], 2, "only works with --once"),
        (["--from-prometheus", "http://x", "--config", "/none"], 2, "/none: cannot be read"),
        (["--from-prometheus", "http://x", "--username", "u"], 2, "--username needs"),
    ],
)
def test_what_cannot_work_is_told_in_one_sentence(
    arguments: list[str], code: int, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["watch", *arguments]) == code
    told = capsys.readouterr().err
    assert told.startswith("sweep watch: ")
    assert complaint in told
    assert told.count("\n") == 1


def test_labels_of_a_server_cannot_steer_the_terminal() -> None:
    hostile = replace(GOOD, labels=CandidateLabels("r\u202e", "z\x1b]0;t\x07\x9b", "[red]t[/red]"))
    problem = "http://x answers: \x1b[2J\u2066oops."
    shown = "\n".join(screen(hostile, width=200, problem=problem))
    assert not set(shown) & set("\x1b\x07\x9b\u202e\u2066")
    assert "\\x1b]0;t" in shown
    assert "[red]t[/red]" in shown
    assert to_json(snapshot(hostile)).isascii()


def test_an_error_of_a_server_cannot_steer_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(*_: object, **__: object) -> None:
        raise QueryError("it answers: \x1b]0;t\x07 \u202e oops.")

    monkeypatch.setattr(PrometheusClient, "query", answer)
    assert main.main(["watch", "--from-prometheus", "http://127.0.0.1:1"]) == 7
    assert "\\x1b]0;t\\x07 \\u202e oops" in capsys.readouterr().err


def test_what_a_server_makes_up_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = {"region": "r", "phase": "no phase"}

    def query(_: object, expression: str, **__: object) -> Vector:
        value = 1_769_840_000.0 if expression == "time()" else math.inf
        known = FloatSample({"region": "x"}, 1.0)
        return Vector((FloatSample(labels, value), known), ())

    def query_range(*_: object, **__: object) -> Matrix:
        times = np.array([0.0, 1e15])
        return Matrix((Series({}, times, np.array([1.0, 2.0]), ()),))

    monkeypatch.setattr(PrometheusClient, "query", query)
    monkeypatch.setattr(PrometheusClient, "query_range", query_range)
    with PrometheusClient("http://127.0.0.1:1") as client:
        (found,) = Watcher(client, experiment.load()).snapshot().candidates
    assert (found.labels.region, found.phases) == ("x", ())
    assert not any(found.trend_sec)
