"""A real Prometheus that takes history by remote write."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import requests

from analysis.prometheus_api import PrometheusClient
from deploy.local.child import Child
from prometheus.version import NATIVE_HISTOGRAMS_BY_CONFIG

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deploy.local.prometheus_binary import Binaries

_CONFIGURATION = """
storage:
  tsdb:
    out_of_order_time_window: 30d
"""


@pytest.fixture(scope="session")
def history_server(
    prometheus_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """URL of a Prometheus without targets; tests write under experiment names of their own."""
    folder = tmp_path_factory.mktemp("prometheus")
    configuration = folder / "prometheus.yml"
    configuration.write_text(_CONFIGURATION, encoding="utf-8")
    command: list[str | Path] = [
        prometheus_binaries.prometheus,
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--web.listen-address=127.0.0.1:0",
        "--web.enable-remote-write-receiver",
    ]
    if prometheus_binaries.version < NATIVE_HISTOGRAMS_BY_CONFIG:
        command.append("--enable-feature=native-histograms")
    with Child("prometheus", command, folder=folder) as child:

        def address() -> re.Match[bytes] | None:
            return re.search(rb"Listening on.*?(127\.0\.0\.1:\d+)", child.log.read_bytes())

        child.wait_until(lambda: address() is not None, within_sec=30, what="listen")
        found = address()
        assert found is not None
        url = f"http://{found.group(1).decode()}"
        child.wait_until(
            lambda: requests.get(f"{url}/-/ready", timeout=5).ok, within_sec=30, what="get ready"
        )
        yield url


@pytest.fixture
def history_client(history_server: str) -> Iterator[PrometheusClient]:
    with PrometheusClient(history_server) as client:
        yield client
