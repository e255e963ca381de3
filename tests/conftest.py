"""Fixtures shared by every test package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from latency_sweep.lab.binaries.prometheus_binary import Binaries, find_or_fetch

if TYPE_CHECKING:
    from pathlib import Path


# How long an example takes says more of the machine than of the code; each test has a limit.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def prometheus_binaries() -> Binaries:
    """Prometheus and promtool of a supported version; fetched once per machine if need be."""
    return find_or_fetch()


@pytest.fixture(scope="session")
def prometheus_binary(prometheus_binaries: Binaries) -> Path:
    """A Prometheus of a supported version."""
    return prometheus_binaries.prometheus


@pytest.fixture(scope="session")
def promtool_binary(prometheus_binaries: Binaries) -> Path:
    """The promtool beside it."""
    assert prometheus_binaries.promtool is not None, "put promtool beside the prometheus found"
    return prometheus_binaries.promtool
