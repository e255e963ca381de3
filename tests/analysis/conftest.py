"""A real Prometheus that takes history by remote write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latency_sweep.analysis.prometheus_api import PrometheusClient
from latency_sweep.lab.local.prometheus_process import running_with
from latency_sweep.lab.simulation.remote_write import HISTORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latency_sweep.lab.binaries.prometheus_binary import Binaries


@pytest.fixture(scope="session")
def history_server(
    prometheus_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """URL of a Prometheus without targets; tests write under experiment names of their own."""
    folder = tmp_path_factory.mktemp("prometheus")
    with running_with(HISTORY, prometheus_binaries, folder, receiver=True) as prometheus:
        yield prometheus.url


@pytest.fixture
def history_client(history_server: str) -> Iterator[PrometheusClient]:
    with PrometheusClient(history_server) as client:
        yield client
