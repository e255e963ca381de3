"""Scrapes that come together cost little more than one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from latency_sweep.probe.serving.shared_rendering import SharedRenderer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

TEXT, OPENMETRICS = "text/plain", "application/openmetrics-text"


class Snapshots(Collector):
    """Exposes how often it was asked."""

    def __init__(self) -> None:
        self.taken = 0

    def collect(self) -> Iterable[Metric]:
        self.taken += 1
        yield GaugeMetricFamily("snapshot", "Which one.", self.taken)


@pytest.fixture
def snapshots() -> Snapshots:
    return Snapshots()


@pytest.fixture
def renderer(snapshots: Snapshots) -> SharedRenderer:
    registry = CollectorRegistry()
    registry.register(snapshots)
    return SharedRenderer(registry)


async def test_fifty_at_once_share_a_rendering(
    renderer: SharedRenderer, snapshots: Snapshots
) -> None:
    answers = await asyncio.gather(*(renderer.render(TEXT, "") for _ in range(50)))
    assert len({b"".join(body) for body, _ in answers}) == 1
    assert snapshots.taken == 1


async def test_who_comes_while_one_is_made_gets_a_later_one(
    renderer: SharedRenderer, snapshots: Snapshots
) -> None:
    first = asyncio.create_task(renderer.render(TEXT, ""))
    while snapshots.taken < 1:
        await asyncio.sleep(0)
    later = await asyncio.gather(*(renderer.render(TEXT, "") for _ in range(10)))
    assert b"snapshot 1.0" in b"".join((await first)[0])
    assert all(b"snapshot 2.0" in b"".join(body) for body, _ in later)
    assert snapshots.taken == 2


async def test_each_format_is_rendered(renderer: SharedRenderer) -> None:
    accepts = [(TEXT, ""), (OPENMETRICS, ""), (TEXT, "gzip")]
    answers = await asyncio.gather(*(renderer.render(*accept) for accept in accepts))
    assert answers[0][0] != answers[1][0]
    assert answers[2][1]["Content-Encoding"] == "gzip"


async def test_who_goes_away_does_not_take_the_others_answer_along(
    renderer: SharedRenderer,
) -> None:
    first, second = (asyncio.create_task(renderer.render(TEXT, "")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    body, _ = await second
    assert b"snapshot" in b"".join(body)
