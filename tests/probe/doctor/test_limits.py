"""Limits of the process."""

from __future__ import annotations

import resource

import pytest

from latency_sweep.probe.doctor.limits import check_file_descriptors
from latency_sweep.runtime.check_result import CheckStatus


@pytest.mark.parametrize(
    ("limit", "status", "found"),
    [
        (1024, CheckStatus.PASS, "1024"),
        (1023, CheckStatus.WARN, "1023"),
        (resource.RLIM_INFINITY, CheckStatus.PASS, "unlimited"),
    ],
)
def test_file_descriptors_must_suffice(limit: int, status: CheckStatus, found: str) -> None:
    result = check_file_descriptors(limit)
    assert (result.status, result.found) == (status, found)


def test_this_process_limit_is_read() -> None:
    assert check_file_descriptors().found in {
        str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        "unlimited",
    }
