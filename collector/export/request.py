"""What `sweep export` is asked for, checked."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from latency_sweep.collector.errors import SweepError
from latency_sweep.contract.metrics import JOB

if TYPE_CHECKING:
    from pathlib import Path

    from latency_sweep.contract.experiment import Experiment
    from latency_sweep.prometheus.version import Version

_MATCHER: Final = r'\s*[a-zA-Z_]\w*\s*(?:=~|!~|!=|=)\s*"(?:[^"\\\n]|\\.)*"\s*'
_MATCHERS: Final = re.compile(rf"{_MATCHER}(?:,{_MATCHER})*,?", re.ASCII)
_LABEL: Final = re.compile(r"[a-zA-Z_]\w*", re.ASCII)
_ADDRESS: Final = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})", re.ASCII)
_MAX_PORT: Final = 65535


class ExportError(SweepError):
    """The files cannot be made, or not be written; the message is one sentence."""


class ExportKind(StrEnum):
    """What is exported: each a folder of plain files."""

    PROMETHEUS = "prometheus"
    RULES = "rules"
    DASHBOARDS = "dashboards"
    ALERTMANAGER = "alertmanager"
    COMPOSE = "compose"
    MIXIN = "mixin"


class Discovery(StrEnum):
    """How Prometheus finds the probes."""

    FILE = "file"
    STATIC = "static"
    EC2 = "ec2"
    KUBERNETES = "kubernetes"


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """A probe to scrape.

    Attributes:
        address: host and port.
        labels: target labels, name and value.
    """

    address: str
    labels: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> ProbeTarget:
        """Read `HOST:PORT[,LABEL=VALUE...]`.

        Raises:
            ExportError: it is not written so.
        """
        address, *rest = (part.strip() for part in text.split(","))
        found = _ADDRESS.fullmatch(address)
        if found is None or not 0 < int(found[1]) <= _MAX_PORT:
            raise ExportError(f"{address!r} is not a host and a port such as 10.0.1.5:9090.")
        labels = tuple(part.partition("=")[::2] for part in rest)
        for part, (name, value) in zip(rest, labels, strict=True):
            if not _LABEL.fullmatch(name) or name.startswith("__") or not value:
                raise ExportError(f"{part!r} is not a label such as region=eu-central-1.")
        if len(dict(labels)) < len(labels):
            raise ExportError(f"{text!r} gives a label twice.")
        return cls(address, labels)


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """Everything that decides the exported files.

    Attributes:
        experiment: gives thresholds, scrape interval and regions.
        version: of the Prometheus that reads the files.
        experiment_id: value of the `experiment` label; None for the experiment's name.
        job: name of the scrape job; None for the usual one.
        selector: label matchers of a job in which every target is a probe; None for the job's.
        runbook_url: where the runbook is; None for the copy that is exported.
        datasource: name or UID of Grafana's data source; None for Grafana's default.
        discovery: how Prometheus finds the probes.
        targets: of static and file discovery.
        folder: where the files will be; absolute.
    """

    experiment: Experiment
    version: Version
    folder: Path
    experiment_id: str | None = None
    job: str | None = None
    selector: str | None = None
    runbook_url: str | None = None
    datasource: str | None = None
    discovery: Discovery = Discovery.FILE
    targets: tuple[ProbeTarget, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        """Check what no parser can.

        Raises:
            ExportError: a value would make files that cannot be read, or that find nothing.
        """
        if self.job is not None and (not self.job.strip() or "\n" in self.job):
            raise ExportError("--job: a job has a name, of one line.")
        if self.runbook_url is not None:
            _check_url(self.runbook_url)
        if self.discovery is Discovery.STATIC and not self.targets:
            raise ExportError("--discovery static: name the probes with --target HOST:PORT.")
        if self.targets and self.discovery not in {Discovery.STATIC, Discovery.FILE}:
            raise ExportError(
                f"--target only works with --discovery static or file; {self.discovery} discovery "
                "finds the probes itself."
            )

    @property
    def job_name(self) -> str:
        """Name of the scrape job."""
        return JOB if self.job is None else self.job

    @property
    def experiment_label(self) -> str:
        """Value of the `experiment` label."""
        return self.experiment_id or self.experiment.name

    @property
    def narrowed(self) -> str | None:
        """Matchers of the probes' job, if any were given."""
        if self.selector is not None:
            return self.selector
        return None if self.job is None else f"job={json.dumps(self.job, ensure_ascii=False)}"

    @property
    def matchers(self) -> str:
        """Matchers of the probes' job: what alerts take for a probe that never answered."""
        return self.narrowed or f'job="{JOB}"'


def matchers(text: str) -> str:
    """Label matchers without braces, from text with or without.

    Raises:
        ExportError: they are none, so that no query with them could be evaluated.
    """
    inner = text.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1].strip()
    if not _MATCHERS.fullmatch(inner):
        raise ExportError(
            f"--selector: {text!r} is no list of label matchers such as "
            'job="binance",env=~"prod|test".'
        )
    return inner.rstrip(",").rstrip()


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    plain = not re.search(r"[\s#{}\"'<>\\]", url)
    if not plain or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ExportError(
            f"--runbook-url: {url!r} is not an absolute URL such as "
            "https://wiki.example/latency/runbook; the alert's anchor is appended to it."
        )
