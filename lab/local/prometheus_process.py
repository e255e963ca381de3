"""A running Prometheus of the local stack."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import requests

from latency_sweep.lab.local.environment import clean_environment
from latency_sweep.prometheus.configuration import PrometheusSettings, flags, render
from latency_sweep.runtime.child import Child, Priority
from latency_sweep.runtime.loopback import get, get_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from latency_sweep.lab.binaries.prometheus_binary import Binaries

_LISTENING: Final = re.compile(rb'msg="?Listening on"?.*?address=(127\.0\.0\.1:\d+)')
_READY_WITHIN_SEC: Final = 120.0


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A Prometheus that is ready for queries.

    Attributes:
        url: base URL of its HTTP API.
        child: its process.
    """

    url: str
    child: Child

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Evaluate PromQL now: labels and value of each float series.

        Raises:
            requests.RequestException: no answer, or an error.
        """
        answer = get_json(f"{self.url}/api/v1/query", query=expression)
        series = answer["data"]["result"]
        return [(s["metric"], float(s["value"][1])) for s in series if "value" in s]


@contextmanager
def running_prometheus(
    binaries: Binaries, settings: PrometheusSettings, folder: Path
) -> Iterator[Prometheus]:
    """Run a Prometheus on a free port of 127.0.0.1 until the context ends.

    Args:
        binaries: which Prometheus.
        settings: its configuration.
        folder: where configuration, database and log go; exists.

    Raises:
        ChildError: it does not start.
        ConfigurationError: the settings do not suit the version.
    """
    with running_with(render(settings), binaries, folder) as prometheus:
        yield prometheus


@contextmanager
def running_with(
    configuration: str,
    binaries: Binaries,
    folder: Path,
    *,
    address: str = "127.0.0.1:0",
    receiver: bool = False,
) -> Iterator[Prometheus]:
    """Run a Prometheus with any configuration until the context ends.

    Args:
        configuration: YAML.
        binaries: which Prometheus.
        folder: where configuration, database and log go; exists.
        address: where it listens; at port 0 it chooses a free one.
        receiver: whether it takes remote write requests.

    Raises:
        ChildError: it does not start.
    """
    file = folder / "prometheus.yml"
    file.write_text(configuration, encoding="utf-8")
    options = flags(
        binaries.version,
        config_file=file,
        data=folder / "tsdb",
        listen=address,
        receiver=receiver,
    )
    command = [str(binaries.prometheus), *options]
    with Child(
        "prometheus",
        command,
        folder=folder,
        environment=clean_environment(),
        priority=Priority.PATIENT,
    ) as child:
        # It chooses its own port, so no other program can take it first; the log tells which.
        child.wait_until(
            lambda: _LISTENING.search(child.log.read_bytes()) is not None,
            within_sec=_READY_WITHIN_SEC,
            what="listen",
        )
        match = _LISTENING.search(child.log.read_bytes())
        assert match is not None
        prometheus = Prometheus(f"http://{match.group(1).decode()}", child)
        child.wait_until(
            lambda: _is_ready(prometheus.url), within_sec=_READY_WITHIN_SEC, what="get ready"
        )
        yield prometheus


def _is_ready(url: str) -> bool:
    try:
        return get(f"{url}/-/ready").ok
    except requests.RequestException:
        return False
