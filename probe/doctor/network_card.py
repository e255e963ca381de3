"""Check of the allowances that EC2 grants a network card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from latency_sweep.runtime.check_result import CheckResult, CheckStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME: Final = "ENI allowances"
_EXPECTED: Final = "nothing exceeded"
_SUFFIX: Final = "_allowance_exceeded"
_PROC: Final = Path("/proc")
_ACTION: Final = (
    "Use an instance with a larger network allowance, or find what uses it up; packets beyond it "
    "are queued or dropped."
)


def default_interface(proc: Path = _PROC) -> str | None:
    """Interface of the IPv4 default route, or None where there is none."""
    lines = (proc / "net/route").read_text().splitlines()[1:]
    routes = [line.split() for line in lines]
    return next((route[0] for route in routes if route[1] == route[7] == "0" * 8), None)


def check_allowances(
    interface: str | None, before: Mapping[str, int], after: Mapping[str, int]
) -> CheckResult:
    """Whether EC2 shaped the card's traffic, since boot or between two readings.

    Args:
        interface: whose counters these are, None without a default route.
        before: its counters.
        after: the same a little later.
    """
    if interface is None:
        return CheckResult(_NAME, CheckStatus.SKIP, "no default route", _EXPECTED)
    allowances = {name: value for name, value in after.items() if name.endswith(_SUFFIX)}
    if not allowances:
        return CheckResult(_NAME, CheckStatus.SKIP, f"{interface} is not an ENA card", _EXPECTED)
    growing = [name for name, value in allowances.items() if value > before.get(name, value)]
    exceeded = [name for name, value in allowances.items() if value]
    if growing:
        found = f"{interface}: {_short(growing)} exceeded right now"
        return CheckResult(_NAME, CheckStatus.FAIL, found, _EXPECTED, _ACTION)
    if exceeded:
        counts = ", ".join(f"{_short([name])} {allowances[name]}" for name in exceeded)
        found = f"{interface}, since boot: {counts}"
        return CheckResult(_NAME, CheckStatus.WARN, found, _EXPECTED, _ACTION)
    return CheckResult(_NAME, CheckStatus.PASS, f"{interface}: none since boot", _EXPECTED)


def _short(names: list[str]) -> str:
    return ", ".join(name.removesuffix(_SUFFIX) for name in names)
