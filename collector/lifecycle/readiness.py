"""Whether the probes are measuring, as Prometheus sees them."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.prometheus_api import (
    AccessDeniedError,
    InvalidUrlError,
    PrometheusError,
)
from latency_sweep.collector.errors import SweepError
from latency_sweep.contract import metrics
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.analysis.prometheus_api import PrometheusClient
    from latency_sweep.collector.state import ProbeInstance
    from latency_sweep.runtime.progress import ProgressDisplay

_LISTED: Final = 10
_LOG: Final = logs.logger(__name__)


class Health(StrEnum):
    """What Prometheus knows of a probe."""

    UNSEEN = "not discovered"
    DOWN = "scrape fails"
    CONNECTING = "not connected to the exchange"
    READY = "ready"


class NotReadyError(SweepError):
    """Time is up and some probes are not measuring; the message lists them."""

    code = ExitCode.NOT_READY


def health(client: PrometheusClient, experiment: str) -> dict[str, Health]:
    """Each probe that Prometheus has discovered, by instance id.

    Raises:
        PrometheusError: the server could not answer.
    """
    of_sweep = f'{{job="{metrics.JOB}",experiment="{experiment}"}}'
    up = client.query(f"max by (instance) (up{of_sweep})")
    connected = client.query(f"min by (instance) ({metrics.CONNECTED.name}{of_sweep})")
    linked = {s.labels.get("instance", "") for s in connected.floats if s.value == 1}
    return {
        instance: Health.DOWN
        if sample.value != 1
        else (Health.READY if instance in linked else Health.CONNECTING)
        for sample in up.floats
        if (instance := sample.labels.get("instance", ""))
    }


def wait_until_ready(
    client: PrometheusClient,
    experiment: str,
    probes: Sequence[ProbeInstance],
    display: ProgressDisplay,
    *,
    within_sec: float,
    every_sec: float,
) -> None:
    """Return once Prometheus has scraped every probe and each is connected.

    Args:
        client: the central Prometheus, which may not be up yet.
        experiment: value of the `experiment` label.
        probes: those to wait for.
        display: shows how many are ready.
        within_sec: how long to wait.
        every_sec: pause between questions.

    Raises:
        NotReadyError: time is up.
        PrometheusError: the server denies access, or did not answer until time was up.
    """
    deadline = time.monotonic() + within_sec
    logged: dict[str, Health] = {}
    while True:
        failure: PrometheusError | None = None
        seen: dict[str, Health] = {}
        try:
            seen = health(client, experiment)
        except (AccessDeniedError, InvalidUrlError):
            raise
        except PrometheusError as error:  # it may still be starting
            failure = error
        for probe in probes:
            state = seen.get(probe.instance_id, Health.UNSEEN)
            if failure is None and logged.get(probe.instance_id) is not state:
                logged[probe.instance_id] = state
                extra = {"instance": probe.instance_id, "region": probe.region, "health": state}
                _LOG.debug("probe health", extra=extra)
        waiting = [p for p in probes if seen.get(p.instance_id) is not Health.READY]
        ready = len(probes) - len(waiting)
        left = deadline - time.monotonic()
        text = (
            "Waiting for Prometheus to answer"
            if failure
            else f"Waiting for the probes: {ready} of {len(probes)} are ready"
        )
        display.show(text, ready / max(1, len(probes)))
        if not waiting and not failure:
            return
        if left <= 0:
            raise failure or _not_ready(waiting, seen, within_sec)
        time.sleep(min(every_sec, left))


def _not_ready(
    waiting: Sequence[ProbeInstance], seen: dict[str, Health], within_sec: float
) -> NotReadyError:
    listed = [f"  {p.name}: {seen.get(p.instance_id, Health.UNSEEN)}" for p in waiting[:_LISTED]]
    if len(waiting) > _LISTED:
        listed.append(f"  and {len(waiting) - _LISTED} more")
    return NotReadyError(
        f"{len(waiting)} probes were not ready within {within_sec:g} s; check their logs "
        "(docs/sweep.md), then run the same command again:\n" + "\n".join(listed)
    )
