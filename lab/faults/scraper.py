"""A Prometheus that scrapes the probes it is given, with a label for each fault."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import yaml

from latency_sweep.lab.local.prometheus_process import running_with
from latency_sweep.prometheus.version import NATIVE_HISTOGRAMS_BY_CONFIG
from latency_sweep.runtime.loopback import get_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from latency_sweep.lab.binaries.prometheus_binary import Binaries
    from latency_sweep.lab.local.prometheus_process import Prometheus

LABEL: Final = "fault"


class Scraper:
    """A running Prometheus of the laboratory.

    Attributes:
        url: base URL of its HTTP API.
        child: its process.
    """

    def __init__(self, prometheus: Prometheus, targets: Path) -> None:
        """Use `running_scraper`."""
        self.url = prometheus.url
        self.child = prometheus.child
        self._targets = targets

    def scrape(self, probes: Mapping[str, str]) -> None:
        """Scrape exactly these probes: base URL of each by the value of its label."""
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
def running_scraper(
    binaries: Binaries, folder: Path, scrape_interval_sec: int = 1
) -> Iterator[Scraper]:
    """Run a Prometheus on a free port of 127.0.0.1 until the context ends.

    Args:
        binaries: which Prometheus.
        folder: where configuration, database and log go; made if needed. Existing data
            is kept.
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
    with running_with(yaml.safe_dump(document, sort_keys=False), binaries, folder) as prometheus:
        yield Scraper(prometheus, targets)
