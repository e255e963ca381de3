"""Options that make the reader prompter do what they say, or say what they need."""

from __future__ import annotations

import multiprocessing
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from latency_sweep.probe.tuning import Tuning, TuningError, applied, background_executor

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


def _inside(tuning: Tuning, result: Connection) -> None:
    try:
        with applied(tuning):
            cores = os.sched_getaffinity(0)
            policy = os.sched_getscheduler(0)
            result.send((cores, os.getpriority(os.PRIO_PROCESS, 0), policy))
    except TuningError as error:
        result.send(str(error))


def applied_in_a_process(tuning: Tuning) -> tuple[set[int], int, int] | str:
    """What a process of its own is like with the options, or the error."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe()
    process = context.Process(target=_inside, args=(tuning, sender))
    process.start()
    result: tuple[set[int], int, int] | str = receiver.recv()
    process.join()
    return result


def test_a_process_can_be_pinned_to_a_core() -> None:
    cpu = max(os.sched_getaffinity(0))
    result = applied_in_a_process(Tuning(cpu=cpu))
    assert result[0] == {cpu}


def test_niceness_is_set() -> None:
    assert applied_in_a_process(Tuning(niceness=7))[1] == 7


def test_real_time_is_set_or_its_need_is_named() -> None:
    result = applied_in_a_process(Tuning(realtime_priority=1))
    if isinstance(result, str):
        assert "CAP_SYS_NICE" in result
    else:
        assert result[2] == os.SCHED_FIFO


def test_the_idle_device_is_told_zero_and_held_open(tmp_path: Path) -> None:
    device = tmp_path / "cpu_dma_latency"
    device.touch()
    with applied(Tuning(low_latency_idle=True), cpu_dma_latency=device):
        held = {descriptor.resolve() for descriptor in Path("/proc/self/fd").iterdir()}
        assert device in held
    assert device.read_bytes() == struct.pack("i", 0)


@pytest.mark.parametrize(
    ("tuning", "message"),
    [
        (Tuning(cpu=99_999), r"--cpu 99999: this process may run on "),
        (Tuning(niceness=40), r"--niceness 40: use -20 to 19"),
        (Tuning(realtime_priority=0), r"--realtime-priority 0: use 1 to 99"),
    ],
)
def test_what_cannot_be_is_one_sentence(tuning: Tuning, message: str) -> None:
    with pytest.raises(TuningError, match=message), applied(tuning):
        pass


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    tuning = Tuning(low_latency_idle=True)
    with (
        pytest.raises(TuningError, match=r"--low-latency-idle: .*No such file"),
        applied(tuning, cpu_dma_latency=tmp_path / "none" / "x"),
    ):
        pass


@pytest.mark.parametrize(
    ("priority", "expected"), [(50, (os.SCHED_FIFO, 49)), (1, (os.SCHED_OTHER, 0))]
)
def test_background_threads_run_one_step_below_the_reader(
    priority: int, expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        os,
        "sched_setscheduler",
        lambda pid, policy, parameter: asked.append((pid, policy, parameter.sched_priority)),
    )
    with background_executor(Tuning(realtime_priority=priority)) as executor:
        executor.submit(int).result()
    assert asked == [(0, *expected)]


def test_background_threads_run_below_a_reader_that_was_started_in_real_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As by the systemd unit."""
    asked = []
    monkeypatch.setattr(os, "sched_getscheduler", lambda _: os.SCHED_FIFO | os.SCHED_RESET_ON_FORK)
    monkeypatch.setattr(os, "sched_getparam", lambda _: os.sched_param(10))
    monkeypatch.setattr(
        os,
        "sched_setscheduler",
        lambda pid, policy, parameter: asked.append((pid, policy, parameter.sched_priority)),
    )
    with background_executor(Tuning()) as executor:
        executor.submit(int).result()
    assert asked == [(0, os.SCHED_FIFO, 9)]


def test_a_sandbox_that_forbids_to_lower_threads_does_not_stop_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forbid(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", forbid)
    with background_executor(Tuning(realtime_priority=10)) as executor:
        assert executor.submit(int).result() == 0


def test_without_a_real_time_priority_background_threads_are_as_the_reader() -> None:
    policy = os.sched_getscheduler(0)
    with background_executor(Tuning()) as executor:
        assert executor.submit(os.sched_getscheduler, 0).result() == policy
