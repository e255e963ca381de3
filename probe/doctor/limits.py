"""Check of the process' limits."""

from __future__ import annotations

import resource
from typing import Final

from latency_sweep.runtime.check_result import CheckResult, CheckStatus

_ENOUGH: Final = 1024


def check_file_descriptors(limit: int | None = None) -> CheckResult:
    """Whether connections and scrapes can be opened; `limit` defaults to this process'."""
    if limit is None:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    name, expected = "file descriptors", f"≥ {_ENOUGH}"
    if limit == resource.RLIM_INFINITY:
        return CheckResult(name, CheckStatus.PASS, "unlimited", expected)
    if limit >= _ENOUGH:
        return CheckResult(name, CheckStatus.PASS, str(limit), expected)
    action = f"Run 'ulimit -n {_ENOUGH}', or set LimitNOFILE= in the probe's systemd unit."
    return CheckResult(name, CheckStatus.WARN, str(limit), expected, action)
