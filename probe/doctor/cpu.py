"""Checks of the processors."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from latency_sweep.runtime.check_result import CheckResult, CheckStatus

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

_SYSFS: Final = Path("/sys")
_PROC: Final = Path("/proc")

_MIN_CORES: Final = 2  # one for the feed, one for interrupts and everything else
_MAX_LOAD_PER_CORE: Final = 0.7
_MAX_STEAL: Final = 0.01
_WORTH_KNOWING_STEAL: Final = 0.001
# Read in user space, without a system call (the kernel's vDSO).
_FAST_CLOCK_SOURCES: Final = ("tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page")


def check_cores(usable: AbstractSet[int]) -> CheckResult:
    """Whether something else than the feed has a core to run on."""
    name, expected = "CPU cores", f"≥ {_MIN_CORES} usable"
    found = f"{len(usable)} usable"
    if len(usable) >= _MIN_CORES:
        return CheckResult(name, CheckStatus.PASS, found, expected)
    return CheckResult(
        name,
        CheckStatus.WARN,
        found,
        expected,
        "Use an instance with more cores, or widen the probe's affinity: interrupts, scrapes and "
        "the feed take turns on one.",
    )


def check_isolation(usable: AbstractSet[int], sysfs: Path = _SYSFS) -> CheckResult:
    """Whether isolated cores, where there are any, are used."""
    name, expected = "CPU isolation", "an isolated core, if any"
    try:
        text = (sysfs / "devices/system/cpu/isolated").read_text().strip()
    except OSError as error:
        return CheckResult(
            name, CheckStatus.SKIP, f"the kernel does not say ({error.strerror})", expected
        )
    isolated = _cpu_list(text)
    if not isolated:
        return CheckResult(name, CheckStatus.PASS, "no core is isolated", expected)
    if usable & isolated:
        return CheckResult(name, CheckStatus.PASS, f"uses isolated {text}", expected)
    return CheckResult(
        name,
        CheckStatus.WARN,
        f"isolated {text}, not used",
        expected,
        f"Start the probe with 'taskset -c {min(isolated)}', or CPUAffinity= in its systemd unit.",
    )


def _cpu_list(text: str) -> set[int]:
    """CPUs of a kernel list such as `0-2,7`."""
    cpus: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return cpus


def check_governor(sysfs: Path = _SYSFS) -> CheckResult:
    """Whether the cores run at full frequency all the time."""
    name, expected = "CPU governor", "performance"
    governors = {
        path.read_text().strip()
        for path in sysfs.glob("devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
    }
    if not governors:
        return CheckResult(name, CheckStatus.SKIP, "the hypervisor sets the frequency", expected)
    found = ", ".join(sorted(governors))
    if governors == {expected}:
        return CheckResult(name, CheckStatus.PASS, found, expected)
    return CheckResult(
        name,
        CheckStatus.WARN,
        found,
        expected,
        "Run 'cpupower frequency-set -g performance': a core that must speed up first is late.",
    )


def check_clock_source(sysfs: Path = _SYSFS) -> CheckResult:
    """Whether reading the clock costs no system call."""
    name, expected = "clock source", "read without a system call"
    path = sysfs / "devices/system/clocksource/clocksource0/current_clocksource"
    try:
        found = path.read_text().strip()
    except OSError as error:
        return CheckResult(
            name, CheckStatus.SKIP, f"the kernel does not say ({error.strerror})", expected
        )
    if found in _FAST_CLOCK_SOURCES:
        return CheckResult(name, CheckStatus.PASS, found, expected)
    return CheckResult(
        name,
        CheckStatus.WARN,
        found,
        expected,
        f"Write 'tsc' to {path}, or use a Nitro instance: reading this one is slow and coarse.",
    )


def check_load(cores: int, proc: Path = _PROC) -> CheckResult:
    """Whether the machine is idle enough for the feed to be served at once."""
    name, expected = "CPU load", f"≤ {_MAX_LOAD_PER_CORE} a core"
    load = float((proc / "loadavg").read_text().split()[0])
    found = f"{load / cores:.2f} a core over a minute"
    if load / cores <= _MAX_LOAD_PER_CORE:
        return CheckResult(name, CheckStatus.PASS, found, expected)
    return CheckResult(
        name,
        CheckStatus.WARN,
        found,
        expected,
        "Stop other programs on this host; 'top' lists them.",
    )


@dataclass(frozen=True, slots=True)
class CpuTime:
    """Ticks of all cores since boot.

    Attributes:
        total: of any kind.
        steal: in which the hypervisor ran another guest.
    """

    total: int
    steal: int


def read_cpu_time(proc: Path = _PROC) -> CpuTime:
    """The sums of /proc/stat (proc_stat(5)); guest time is part of user time already."""
    with (proc / "stat").open() as file:
        ticks = [int(field) for field in file.readline().split()[1:9]]
    return CpuTime(total=sum(ticks), steal=ticks[7])


def check_steal(before: CpuTime, after: CpuTime) -> CheckResult:
    """Whether the hypervisor gave the cores to another guest between two readings."""
    name, expected = "CPU steal", f"≤ {_WORTH_KNOWING_STEAL:.1%}"
    share = (after.steal - before.steal) / max(after.total - before.total, 1)
    found = f"{share:.1%}"
    if share <= _WORTH_KNOWING_STEAL:
        return CheckResult(name, CheckStatus.PASS, found, expected)
    return CheckResult(
        name,
        CheckStatus.FAIL if share > _MAX_STEAL else CheckStatus.WARN,
        found,
        expected,
        "Use an instance that does not share its cores: not burstable (t2, t3, t4g), or dedicated.",
    )


def usable_cpus() -> set[int]:
    """CPUs that this process may run on."""
    return set(os.sched_getaffinity(0))
