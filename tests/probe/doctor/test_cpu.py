"""Checks of the processors, on this machine and on sysfs trees of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latency_sweep.probe.doctor import cpu
from latency_sweep.probe.doctor.cpu import CpuTime
from latency_sweep.runtime.check_result import CheckStatus

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(("cpus", "status"), [({0}, CheckStatus.WARN), ({0, 1}, CheckStatus.PASS)])
def test_one_core_is_too_few(cpus: set[int], status: CheckStatus) -> None:
    assert cpu.check_cores(cpus).status is status


@pytest.mark.parametrize(
    ("isolated", "usable", "status"),
    [
        ("", {0, 1}, CheckStatus.PASS),
        ("2-3,7", {7}, CheckStatus.PASS),
        ("2-3,7", {3}, CheckStatus.PASS),
        ("2-3,7", {0, 1, 4}, CheckStatus.WARN),
    ],
)
def test_isolated_cores_are_to_be_used(
    tmp_path: Path, isolated: str, usable: set[int], status: CheckStatus
) -> None:
    write(tmp_path / "devices/system/cpu/isolated", isolated + "\n")
    assert cpu.check_isolation(usable, tmp_path).status is status


def test_the_command_that_uses_an_isolated_core_is_given(tmp_path: Path) -> None:
    write(tmp_path / "devices/system/cpu/isolated", "2-3\n")
    assert "taskset -c 2" in cpu.check_isolation({0}, tmp_path).action


def test_a_kernel_that_does_not_tell_isolation_is_skipped(tmp_path: Path) -> None:
    assert cpu.check_isolation({0}, tmp_path).status is CheckStatus.SKIP


@pytest.mark.parametrize(
    ("governors", "status"),
    [
        ([], CheckStatus.SKIP),
        (["performance", "performance"], CheckStatus.PASS),
        (["performance", "powersave"], CheckStatus.WARN),
    ],
)
def test_every_core_should_run_at_full_frequency(
    tmp_path: Path, governors: list[str], status: CheckStatus
) -> None:
    for number, governor in enumerate(governors):
        folder = tmp_path / f"devices/system/cpu/cpu{number}/cpufreq"
        write(folder / "scaling_governor", governor + "\n")
    assert cpu.check_governor(tmp_path).status is status


@pytest.mark.parametrize(
    ("source", "status"),
    [("tsc", CheckStatus.PASS), ("arch_sys_counter", CheckStatus.PASS), ("xen", CheckStatus.WARN)],
)
def test_a_clock_that_needs_a_system_call_is_slow(
    tmp_path: Path, source: str, status: CheckStatus
) -> None:
    write(tmp_path / "devices/system/clocksource/clocksource0/current_clocksource", source + "\n")
    assert cpu.check_clock_source(tmp_path).status is status


def test_a_kernel_that_does_not_tell_its_clock_source_is_skipped(tmp_path: Path) -> None:
    assert cpu.check_clock_source(tmp_path).status is CheckStatus.SKIP


@pytest.mark.parametrize(
    ("load", "status"), [("1.40", CheckStatus.PASS), ("1.42", CheckStatus.WARN)]
)
def test_load_is_evaluated_by_core(tmp_path: Path, load: str, status: CheckStatus) -> None:
    write(tmp_path / "loadavg", f"{load} 0.50 0.10 2/190 4711\n")
    assert cpu.check_load(2, tmp_path).status is status


@pytest.mark.parametrize(
    ("steal", "status"), [(0, CheckStatus.PASS), (5, CheckStatus.WARN), (50, CheckStatus.FAIL)]
)
def test_stolen_time_is_evaluated_by_its_share(steal: int, status: CheckStatus) -> None:
    result = cpu.check_steal(CpuTime(total=5000, steal=7), CpuTime(total=6000, steal=7 + steal))
    assert result.status is status


def test_a_moment_without_a_tick_steals_nothing() -> None:
    assert cpu.check_steal(CpuTime(5000, 7), CpuTime(5000, 7)).status is CheckStatus.PASS


def test_steal_is_the_eighth_kind_of_time_and_guests_are_not_counted_twice(tmp_path: Path) -> None:
    write(tmp_path / "stat", "cpu  1 2 3 4 5 6 7 8 1000 2000\ncpu0 0 0 0 0 0 0 0 0 0 0\n")
    assert cpu.read_cpu_time(tmp_path) == CpuTime(total=36, steal=8)


def test_this_machine_can_be_asked_everything() -> None:
    usable = cpu.usable_cpus()
    now = cpu.read_cpu_time()
    results = [
        cpu.check_cores(usable),
        cpu.check_isolation(usable),
        cpu.check_governor(),
        cpu.check_clock_source(),
        cpu.check_load(len(usable)),
        cpu.check_steal(now, cpu.read_cpu_time()),
    ]
    assert all(result.found and result.expected for result in results)
