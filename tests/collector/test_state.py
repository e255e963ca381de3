from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latency_sweep.collector import state
from latency_sweep.collector.state import Plan, Stage, State, StateError, Sweep

if TYPE_CHECKING:
    from pathlib import Path


def sweep(folder: Path, name: str = "one") -> Sweep:
    plan = Plan(
        experiment_id=name,
        phase=1,
        regions=("eu-west-1",),
        instance_types=("c6i.large",),
        az_ids={"eu-west-1": ("euw1-az1",)},
        runs=3,
        bucket="bucket",
        bucket_region="eu-west-1",
        wheel_uri="binance-latency-sweep==0.1.0",
        ttl_hours=6,
    )
    made = Sweep(folder / name, State(plan=plan, created=state.now()))
    made.save()
    return made


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    made = sweep(tmp_path)
    made.reach(Stage.READY, schedule=("2026-01-31T06:05:00Z",))
    assert state.load(tmp_path, "one").state == made.state


def test_a_stage_is_never_lost_by_an_earlier_step(tmp_path: Path) -> None:
    made = sweep(tmp_path)
    made.reach(Stage.ARCHIVED)
    made.reach(Stage.DEPLOYED)
    assert made.state.stage is Stage.ARCHIVED


def test_the_only_unfinished_sweep_is_meant(tmp_path: Path) -> None:
    sweep(tmp_path, "done").reach(Stage.DESTROYED)
    sweep(tmp_path, "open")
    assert state.find(tmp_path, None).plan.experiment_id == "open"


def test_several_unfinished_sweeps_must_be_told_apart(tmp_path: Path) -> None:
    sweep(tmp_path, "one")
    sweep(tmp_path, "two")
    with pytest.raises(StateError, match=r"\(one, two\); choose one with --experiment-id"):
        state.find(tmp_path, None)


def test_without_a_sweep_it_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="start one with sweep deploy"):
        state.find(tmp_path, None)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "Invalid JSON"),
        ('{"version": 2}', "version"),
        ("[]", "file"),
    ],
)
def test_a_damaged_state_is_told_with_the_way_out(
    text: str, complaint: str, tmp_path: Path
) -> None:
    made = sweep(tmp_path)
    (made.folder / "state.json").write_text(text)
    with pytest.raises(StateError, match=f"(?i){complaint}.*sweep reap --experiment-id one"):
        state.load(tmp_path, "one")


def test_two_commands_do_not_change_one_sweep_at_once(tmp_path: Path) -> None:
    with (
        state.exclusive(tmp_path),
        pytest.raises(StateError, match="another sweep command is working on this sweep"),
        state.exclusive(tmp_path),
    ):
        pass
    with state.exclusive(tmp_path):
        pass


def test_a_command_writes_what_it_does_and_why_it_ends_into_the_sweeps_folder(
    tmp_path: Path,
) -> None:
    made = sweep(tmp_path)
    with state.exclusive(made.folder):
        made.reach(Stage.DEPLOYED)
    with pytest.raises(StateError), state.exclusive(made.folder):
        raise StateError("of the test")
    log = (made.folder / state.LOG_FILE).read_text("utf-8")
    lines = [line for line in log.splitlines() if " collector.state " in line]
    assert [" ".join(line.split()[3:5]) for line in lines] == [
        "command begins",
        "stage reached",
        "command is",
        "command begins",
        "command ends",
    ]
    assert lines[1].endswith(" stage=deployed")
    assert log.endswith("StateError: of the test\n")
