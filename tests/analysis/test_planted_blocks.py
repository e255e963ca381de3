"""A sweep of random blocks, planted in a real Prometheus: `analyze` holds the contest."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from latency_sweep.analysis.cli import main
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.contract.experiment import parse
from latency_sweep.contract.targets import Target
from latency_sweep.contract.timeline import NS_PER_SEC, SEC_PER_DAY, Timeline
from latency_sweep.lab.simulation.remote_write import History
from tests.analysis.planted import CHANNELS, Events, PlantedProbe, poisson_events
from tests.analysis.planted import short_experiment_text as text_of_short_runs

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SWEEP = "random-blocks"
BLOCKS = 12
# Typical latency, seconds.
LEVELS = {
    Target("i-winner", "ap-northeast-1", "apne1-az4", "c6in.large"): 0.010,
    Target("i-closest", "ap-northeast-1", "apne1-az1", "c6i.large"): 0.0112,
    Target("i-far", "eu-west-2", "euw2-az3", "r6i.large"): 0.020,
}
WINNER, CLOSEST, FAR = ("/".join(place[1:]) for place in LEVELS)
# Few and short ones, whose constraints are not what is tested here.
CHANGES = {
    "measurement_sec": "120",
    "scrape_interval_sec": "15\n  random_blocks: {per_day: 6, seed: 5, most: 44}",
    "reconnects_per_hour": "20",
    "loss_ratio": "0.01",
    "min_samples": "1000",
}


def text() -> str:
    """The experiment file."""
    changed = text_of_short_runs(SWEEP)
    for key, value in CHANGES.items():
        changed, found = re.subn(rf"(?m)^( *{key}:) \S+", rf"\1 {value}", changed)
        assert found == 1, key
    return changed


def plant(url: str) -> list[str]:
    """Plant the blocks of two days that are over; returns their labels."""
    experiment = parse(text(), source=SWEEP)
    timeline, rng, history = Timeline.of(experiment.timing), np.random.default_rng(3), History()
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    run = timeline.run_from((int(today.timestamp()) - 4 * SEC_PER_DAY) * NS_PER_SEC)
    labels = []
    for _ in range(BLOCKS):
        labels.append(run.label)
        for place, level in LEVELS.items():
            channels = {}
            for channel in CHANNELS[:2]:
                events = poisson_events(rng, [run], per_sec=6, median=1.0)
                channels[channel] = Events(events.times, level * events.latencies**0.4)
            PlantedProbe(experiment.name, place, [run], channels).plant(history)
        run = timeline.run_after(run)
    history.send(url)
    return labels


def test_the_winner_is_proven_over_the_blocks_of_the_schedule(
    history_server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = plant(history_server)
    config = tmp_path / "experiment.yaml"
    config.write_text(text(), encoding="utf-8")
    options = ["--from-prometheus", history_server, "--config", str(config), "--output", "json"]
    assert main.main(options) == ExitCode.DONE
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["winner"] == WINNER
    found = verdict["blocks"]
    assert (found["measured"], found["most"]) == (BLOCKS, 44)
    assert found["first"] == labels[0]
    assert found["last"] == labels[found["rests_on"] - 1]
    assert found["kept_hosts"]
    assert found["dropped"][0]["name"] == FAR
    (lead,) = (c["lead"] for c in verdict["comparisons"] if c["rival"] == CLOSEST)
    assert lead["interval"]["low"] < 0.12 < lead["interval"]["high"]
    assert verdict["rule"]["required_strata"] == []
