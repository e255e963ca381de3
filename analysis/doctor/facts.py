"""What a Prometheus says of itself and of the probes that it scrapes, as far as it tells."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import numpy as np

from latency_sweep.analysis.evidence.attribution import alternatives, attribute
from latency_sweep.analysis.evidence.collect import NoDataError, SelectionError, choose_experiment
from latency_sweep.analysis.evidence.sources import EXPORTED
from latency_sweep.analysis.prometheus_api import (
    AccessDeniedError,
    PrometheusError,
    UnreachableError,
)
from latency_sweep.contract import metrics
from latency_sweep.contract.timeline import parse_run_label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from latency_sweep.analysis.evidence.attribution import ProbeAttribution
    from latency_sweep.analysis.evidence.collect import EvidenceRequest
    from latency_sweep.analysis.evidence.sources import SourceQuery
    from latency_sweep.analysis.prometheus_api import PrometheusClient
    from latency_sweep.contract.experiment import Experiment

# How far back probes are looked for, and scrapes are looked at.
PROBES_SEC: Final = 3600.0
SCRAPES_SEC: Final = 600.0

T = TypeVar("T")


class LoadedRule(msgspec.Struct):
    """A rule of the server: its name, and whether it can be evaluated."""

    name: str = ""
    health: str = "ok"
    lastError: str | None = None  # noqa: N815 - the API's spelling


class _Group(msgspec.Struct):
    rules: list[LoadedRule]


class _Rules(msgspec.Struct):
    groups: list[_Group]


class ScrapeTarget(msgspec.Struct):
    """A target that the server scrapes, and why it could not."""

    labels: dict[str, str]
    health: str = "unknown"
    lastError: str = ""  # noqa: N815 - the API's spelling


class _Targets(msgspec.Struct):
    activeTargets: list[ScrapeTarget]  # noqa: N815 - the API's spelling


@dataclass(frozen=True, slots=True)
class Scrapes:
    """The last scrapes of a target.

    Attributes:
        instance: its name.
        labels: of the target.
        interval_sec: median time between them; None where there are too few.
        failed: share of them that failed, 0 to 1.
        up: whether the last one succeeded.
    """

    instance: str
    labels: Mapping[str, str]
    interval_sec: float | None
    failed: float
    up: bool


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What is known of a server; None is "it does not tell".

    Attributes:
        url: its address.
        version: of the program.
        ahead_sec: its clock minus this machine's.
        behind_probe_sec: most by which its clock is behind the messages that a probe had received.
        retention: how long it keeps samples, as it says.
        rules: of it.
        targets: that it scrapes.
        experiment: that was found, or the sentence why there is none.
        probes: of the last hour.
        scrapes: of the probes' jobs, in the last minutes.
        native: whether there are native latency histograms.
        classic: whether there are classic latency buckets.
        first_run_age_sec: since the first run's measurement began.
        displaced: labels of the probe that a target label of the same name displaced.
    """

    url: str
    version: str | None
    ahead_sec: float
    behind_probe_sec: float | None
    retention: str | None
    rules: tuple[LoadedRule, ...] | None
    targets: tuple[ScrapeTarget, ...] | None
    experiment: SourceQuery | str
    probes: ProbeAttribution | None = None
    scrapes: tuple[Scrapes, ...] = ()
    native: bool = False
    classic: bool = False
    first_run_age_sec: float | None = None
    displaced: tuple[str, ...] = ()


def gather(
    client: PrometheusClient, experiment: Experiment, request: EvidenceRequest
) -> ServerFacts:
    """Ask the server.

    Args:
        client: the server.
        experiment: gives timing and default names.
        request: which experiment, market and label names.

    Raises:
        PrometheusError: the server does not answer queries at all.
    """
    before = time.time()
    now = client.now()
    common: dict[str, Any] = {
        "url": client.url,
        "ahead_sec": now - (before + time.time()) / 2,
        "version": _told(lambda: client.build_info().get("version")),
        "retention": _told(
            lambda: client.fetch("status/runtimeinfo", dict[str, Any]).get("storageRetention")
        ),
        "rules": _told(
            lambda: tuple(r for g in client.fetch("rules", _Rules).groups for r in g.rules)
        ),
        "targets": _told(
            lambda: tuple(client.fetch("targets?state=active", _Targets).activeTargets)
        ),
    }
    try:
        query = choose_experiment(client, request, experiment)
    except (NoDataError, SelectionError) as error:
        return ServerFacts(**common, behind_probe_sec=None, experiment=str(error))
    found = attribute(client, query, experiment, start=now - PROBES_SEC, end=now)
    jobs = sorted({job for group in found.groups for job in group.jobs}) or [metrics.JOB]
    return ServerFacts(
        **common,
        behind_probe_sec=_behind(client, query),
        experiment=query,
        probes=found,
        scrapes=_scrapes(client, query, jobs, now),
        native=bool(
            client.query(
                f"count(histogram_count({_latency(query)}))",
            ).floats
        ),
        classic=bool(client.label_values("run", [_latency(query, "_bucket")])),
        first_run_age_sec=_age(client.label_values("run", [_latency(query)]), now),
        displaced=_displaced(client, query),
    )


def _told(ask: Callable[[], T]) -> T | None:
    """An answer that not every compatible server gives."""
    try:
        return ask()
    except (AccessDeniedError, UnreachableError):
        raise
    except PrometheusError:
        return None


def _latency(query: SourceQuery, suffix: str = "") -> str:
    market = f"market={json.dumps(query.market)}"
    return f"{metrics.LATENCY.name}{suffix}{{{query.matcher}, {market}}}"


def _behind(client: PrometheusClient, query: SourceQuery) -> float | None:
    """Seconds by which a probe had received messages later than the scrape that told it."""
    series = f"{metrics.LAST_MESSAGE.name}{{{query.matcher}}}"
    found = client.query(f"max({series} - timestamp({series}))").floats
    return max((sample.value for sample in found), default=None)


def _scrapes(
    client: PrometheusClient, query: SourceQuery, jobs: Iterable[str], now: float
) -> tuple[Scrapes, ...]:
    span = f"[{round(SCRAPES_SEC)}s]"
    matrix = client.query_raw(f"up{{{query.matcher}, job=~{alternatives(jobs)}}}{span}", at=now)
    return tuple(
        Scrapes(
            instance=one.labels.get(query.names.instance, "a target"),
            labels={name: value for name, value in one.labels.items() if name != "__name__"},
            interval_sec=float(np.median(np.diff(one.times))) if one.times.size > 2 else None,  # noqa: PLR2004 - of so few the median says nothing
            failed=float(np.mean(one.values < 1)),
            up=bool(one.values[-1] >= 1),
        )
        for one in matrix.series
        if one.times.size
    )


def _age(labels: Iterable[str], now: float) -> float | None:
    starts = []
    for label in labels:
        try:
            starts.append(parse_run_label(label).timestamp())
        except ValueError:
            continue
    return now - min(starts) if starts else None


def _displaced(client: PrometheusClient, query: SourceQuery) -> tuple[str, ...]:
    own = {*metrics.FEED_RUN, "connection"}
    shown = client.label_names(
        [f"{metric.name}{{{query.matcher}}}" for metric in (metrics.CONNECTED, metrics.MESSAGES)]
    )
    return tuple(
        name.removeprefix(EXPORTED) for name in shown if name.removeprefix(EXPORTED) in own - {name}
    )
