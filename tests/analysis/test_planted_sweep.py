"""A sweep of several days, planted in a real Prometheus: `analyze` finds what was planted."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from latency_sweep.analysis.cli import main
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.contract.experiment import parse
from latency_sweep.contract.targets import Target
from latency_sweep.contract.timeline import NS_PER_SEC, Run, Timeline
from latency_sweep.lab.simulation.remote_write import History
from tests.analysis.planted import CHANNELS, Events, PlantedProbe, poisson_events
from tests.analysis.planted import short_experiment_text as text_of_short_runs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest

    from latency_sweep.contract.experiment import Experiment

DAYS = 3
# Half an hour with warm-up and cool-down: nine runs are hours enough to bound the reconnects.
MEASUREMENT_SEC = 1680
HOURS = {"peak": 0, "low": 6, "high": 14}
# What all places share in a run, day by day in each stratum.
SHARED = {"peak": (1.3, 1.1, 1.2), "low": (0.9, 1.0, 0.8), "high": (1.0, 1.05, 0.95)}

WINNER = Target("i-winner", "ap-northeast-1", "apne1-az4", "c6in.large")
CLOSEST = Target("i-closest", "ap-northeast-1", "apne1-az1", "c6i.large")
UNSYNCHRONISED = Target("i-clockless", "ap-southeast-1", "apse1-az1", "c6i.large")
GAPPED = Target("i-gapped", "eu-central-1", "euc1-az2", "c6i.large")
FAR = Target("i-far", "eu-west-2", "euw2-az3", "r6i.large")
FAILING = Target("i-failing", "me-central-1", "mec1-az1", "c6i.large")
# Typical latency, seconds; the limit of p99 is 50 ms.
LEVELS = {
    WINNER: 0.010,
    CLOSEST: 0.012,
    UNSYNCHRONISED: 0.014,
    GAPPED: 0.016,
    FAR: 0.018,
    FAILING: 0.070,
}


def name(place: Target) -> str:
    return "/".join(place[1:])


def experiment_text(sweep: str) -> str:
    return re.sub(
        r"(?m)^( *measurement_sec:) \d+$", rf"\1 {MEASUREMENT_SEC}", text_of_short_runs(sweep)
    )


@cache
def midnight() -> float:
    """Start of the first day planted, Unix seconds: all of its runs and the next days' are over."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today.timestamp() - (DAYS + 1) * 86_400


def runs_of(experiment: Experiment) -> list[tuple[str, int, Run]]:
    """Stratum, day and run, in order of time."""
    timeline = Timeline.of(experiment.timing)
    return [
        (stratum, day, timeline.run_at(int(midnight() + day * 86_400 + hour * 3600) * NS_PER_SEC))
        for day in range(DAYS)
        for stratum, hour in HOURS.items()
    ]


def plant(
    url: str, experiment: Experiment, *, factors: Mapping[tuple[Target, str], float]
) -> dict[str, str]:
    """Write the sweep; returns the label of the run that is faulty, by name of the place.

    Args:
        url: of the Prometheus.
        experiment: its timing and name.
        factors: on the latency of a place in a stratum.
    """
    rng = np.random.default_rng(11)
    history = History()
    runs = runs_of(experiment)
    for place, level in LEVELS.items():
        for stratum, day, run in runs:
            typical = level * SHARED[stratum][day] * factors.get((place, stratum), 1.0)
            channels = {}
            for channel in CHANNELS[:2]:
                events = poisson_events(rng, [run], per_sec=1.5, median=1.0)
                # A narrower distribution, so that 5,000 samples give the p99 within a per cent.
                channels[channel] = Events(events.times, typical * events.latencies**0.4)
            middle = (run.measure_start_ns + run.measure_end_ns) / 2 / NS_PER_SEC
            PlantedProbe(
                experiment.name, place, [run], channels, **faults(place, stratum, day, middle)
            ).plant(history)
    history.send(url)
    label = {(stratum, day): run.label for stratum, day, run in runs}
    return {name(UNSYNCHRONISED): label["low", 1], name(GAPPED): label["high", 2]}


def faults(place: Target, stratum: str, day: int, middle: float) -> dict[str, Any]:
    """The one faulty run of two of the places, as options of its probe."""
    if (place, stratum, day) == (UNSYNCHRONISED, "low", 1):
        return {"synchronized": lambda moment: not middle <= moment < middle + 60}
    if (place, stratum, day) == (GAPPED, "high", 2):
        return {"scraped": lambda moment: not middle <= moment < middle + 240}
    return {}


def analyze(
    url: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[int, dict[str, Any]]:
    config = tmp_path / "experiment.yaml"
    config.write_text(text, encoding="utf-8")
    arguments = ["--from-prometheus", url, "--config", str(config), "--output", "json"]
    code = main.main(arguments)
    return code, json.loads(capsys.readouterr().out)


def excluded(verdict: dict[str, Any]) -> dict[str, list[tuple[str, list[str]]]]:
    """Runs that were not used, with their reasons, by name of the place."""
    return {
        row["name"]: [(run["run"], run["reasons"]) for run in row["runs"] if not run["used"]]
        for row in verdict["ranking"]
    }


def test_the_verdict_strata_and_exclusions_are_the_planted_ones(
    history_server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = experiment_text("planted-winner")
    faulty = plant(history_server, parse(text, source="test"), factors={})
    code, verdict = analyze(history_server, text, tmp_path, capsys)

    assert (code, verdict["kind"]) == (ExitCode.DONE, "winner")
    assert verdict["winner"] == name(WINNER)
    assert verdict["sentence"].startswith(f"{name(WINNER)} wins: p99 ")
    assert f"the closest, {name(CLOSEST)}, is slower by" in verdict["sentence"]
    assert {c["rival"]: (c["relation"], c["pairs"]) for c in verdict["comparisons"]} == {
        name(CLOSEST): ("better", 9),
        name(UNSYNCHRONISED): ("better", 8),
        name(GAPPED): ("better", 8),
        name(FAR): ("better", 9),
    }
    assert {row["name"]: row["status"] for row in verdict["ranking"]} == {
        **dict.fromkeys(map(name, LEVELS), "pass"),
        name(FAILING): "fail",
    }
    broken = {c["name"] for c in verdict["ranking"][-1]["constraints"] if c["status"] == "fail"}
    assert broken == {"p99"}
    assert [(s["name"], s["runs"], s["fastest"], s["consistent"]) for s in verdict["strata"]] == [
        ("low", 2, name(WINNER), True),
        ("high", 2, name(WINNER), True),
        ("peak", 3, name(WINNER), True),
    ]
    assert excluded(verdict) == {
        **{name(place): [] for place in LEVELS},
        name(UNSYNCHRONISED): [
            (
                faulty[name(UNSYNCHRONISED)],
                ["the clock of i-clockless was not synchronised throughout the run"],
            )
        ],
        name(GAPPED): [
            (
                faulty[name(GAPPED)],
                [
                    (
                        "only 96 of 112 scrapes of i-gapped succeeded during the measurement"
                        " (86%, at least 95% needed)"
                    )
                ],
            )
        ],
    }


def test_a_winner_that_changes_at_peak_is_no_winner(
    history_server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = experiment_text("planted-change")
    # Faster than the winner by 5 % at peak, slower by 20 % in the other two strata.
    ahead_at_peak = {(CLOSEST, "peak"): 0.95 * LEVELS[WINNER] / LEVELS[CLOSEST]}
    plant(history_server, parse(text, source="test"), factors=ahead_at_peak)
    code, verdict = analyze(history_server, text, tmp_path, capsys)

    assert (code, verdict["kind"]) == (ExitCode.INCONCLUSIVE, "inconclusive")
    assert (verdict["winner"], verdict["leader"]) == (None, name(WINNER))
    assert re.fullmatch(
        rf"No winner yet: {name(WINNER)} leads, but this is not proven\. In the time stratum peak"
        rf" {name(CLOSEST)} is ahead by [0-9.]+ ms at p99\.",
        verdict["sentence"],
    )
    assert {s["name"]: (s["fastest"], s["consistent"]) for s in verdict["strata"]} == {
        "low": (name(WINNER), True),
        "high": (name(WINNER), True),
        "peak": (name(CLOSEST), False),
    }
    assert {c["relation"] for c in verdict["comparisons"]} == {"better"}
    assert any("time strata that disagree" in step for step in verdict["next_steps"])
