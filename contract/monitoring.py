"""Settings that recording rules, alerts and dashboards share. To change one, edit it here.

Then regenerate what is derived from them:

    python -m latency_sweep.prometheus.rules.generate
    python -m latency_sweep.grafana.generate

Thresholds are not here: they are `decision.constraints` of experiment.yaml.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from latency_sweep.contract.metrics import JOB


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of the rules, whole seconds. A constraint alert needs both long and short window.

    Attributes:
        live_sec: of live views.
        short_sec: shows whether a problem is still going on, and lets an alert resolve soon.
        long_sec: shows whether a problem matters; one hour, as limits are per hour.
        for_sec: `for` duration of alerts on faults that may resolve themselves, such as one failed
            scrape or a reconnect.
    """

    live_sec: int = 60
    short_sec: int = 300
    long_sec: int = 3600
    for_sec: int = 120

    def __post_init__(self) -> None:
        """Check that the windows are ordered."""
        assert 0 < self.live_sec <= self.short_sec < self.long_sec


@dataclass(frozen=True, slots=True)
class Monitoring:
    """What a site may have to change.

    Attributes:
        probe_selector: label matchers of a job in which every target is a probe, also one that
            never answered; a target of another job is known as a probe by what it has shown.
        windows: of the rules. Names of recording rules carry them.
        runbook: path or URL of the runbook; `runbook_url` of an alert is this and an anchor.
        tag: of every dashboard.
        time_zone: of every dashboard.
    """

    probe_selector: str = f'job="{JOB}"'
    windows: Windows = field(default_factory=Windows)
    runbook: str = "docs/runbook.md"
    tag: str = "latency-sweep"
    time_zone: str = "utc"


MONITORING: Final = Monitoring()


def duration(seconds: int) -> str:
    """A PromQL duration in the largest unit that divides it: `1h`, `5m`, `90s`."""
    for unit, size in (("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
