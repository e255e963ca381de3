"""A Prometheus that scrapes whatever it is told to, with a label for each fault."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import requests
import yaml

from deploy.local.child import Child, Priority
from deploy.local.loopback import get, get_json
from prometheus.configuration import flags
from prometheus.version import NATIVE_HISTOGRAMS_BY_CONFIG

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from deploy.local.prometheus_binary import Binaries

LABEL: Final = "fault"
_LISTENING: Final = re.compile(rb'msg="?Listening on"?.*?address=(127\.0\.0\.1:\d+)')
_READY_WITHIN_SEC: Final = 30.0


class Watcher:
    """A running Prometheus of the laboratory.

    Attributes:
        url: base URL of its HTTP API.
        child: its process.
    """

    def __init__(self, url: str, child: Child, targets: Path) -> None:
        """Made by `running_watcher`."""
        self.url = url
        self.child = child
        self._targets = targets

    def watch(self, probes: Mapping[str, str]) -> None:
        """Scrape these, and no others: base URL of each probe by the value of its label."""
        document = [
            {"targets": [url.removeprefix("http://")], "labels": {LABEL: name}}
            for name, url in probes.items()
        ]
        draft = self._targets.with_suffix(".new")
        draft.write_text(json.dumps(document), encoding="utf-8")
        draft.replace(self._targets)

    def query(self, expression: str) -> dict[str, float]:
        """Evaluate PromQL now: the value of each float series by its label.

        Raises:
            requests.RequestException: no answer, or an error.
        """
        answer = get_json(f"{self.url}/api/v1/query", query=expression)
        result = answer["data"]["result"]
        return {s["metric"].get(LABEL, ""): float(s["value"][1]) for s in result if "value" in s}


@contextmanager
def running_watcher(
    binaries: Binaries, folder: Path, scrape_interval_sec: int = 1
) -> Iterator[Watcher]:
    """Run a Prometheus on a free port of 127.0.0.1 until the context ends.

    Args:
        binaries: which Prometheus.
        folder: where configuration, database and log go; made if needed. What another one left
            there is kept.
        scrape_interval_sec: seconds between scrapes.

    Raises:
        ChildError: it does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    targets = folder / "targets.json"
    targets.write_text("[]", encoding="utf-8")
    scrape: dict[str, object] = {
        "job_name": "probe",
        "file_sd_configs": [{"files": [str(targets)], "refresh_interval": "1s"}],
    }
    if binaries.version >= NATIVE_HISTOGRAMS_BY_CONFIG:
        scrape["scrape_native_histograms"] = True
    interval = f"{scrape_interval_sec}s"
    document = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval},
        "scrape_configs": [scrape],
    }
    configuration = folder / "prometheus.yml"
    configuration.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    options = flags(
        binaries.version, config_file=configuration, data=folder / "tsdb", listen="127.0.0.1:0"
    )
    command = [str(binaries.prometheus), *options]
    with Child("prometheus", command, folder=folder, priority=Priority.PATIENT) as child:
        child.wait_until(
            lambda: _LISTENING.search(child.log.read_bytes()) is not None,
            within_sec=_READY_WITHIN_SEC,
            what="listen",
        )
        match = _LISTENING.search(child.log.read_bytes())
        assert match is not None
        watcher = Watcher(f"http://{match.group(1).decode()}", child, targets)
        child.wait_until(
            lambda: _is_ready(watcher.url), within_sec=_READY_WITHIN_SEC, what="get ready"
        )
        yield watcher


def _is_ready(url: str) -> bool:
    try:
        return get(f"{url}/-/ready").ok
    except requests.RequestException:
        return False
