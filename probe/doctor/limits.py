"""Check of the process' limits."""

from __future__ import annotations

import resource
from typing import Final

from latency_sweep.probe.doctor.result import Result, Status

_ENOUGH: Final = 1024


def check_file_descriptors(limit: int | None = None) -> Result:
    """Whether connections and scrapes can be opened; `limit` defaults to this process'."""
    if limit is None:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    name, expected = "file descriptors", f"≥ {_ENOUGH}"
    if limit == resource.RLIM_INFINITY:
        return Result(name, Status.PASS, "unlimited", expected)
    if limit >= _ENOUGH:
        return Result(name, Status.PASS, str(limit), expected)
    action = f"Run 'ulimit -n {_ENOUGH}', or set LimitNOFILE= in the probe's systemd unit."
    return Result(name, Status.WARN, str(limit), expected, action)
