"""Two connections side by side: what each brings says which is healthy."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pytest

from latency_sweep.contract.metrics import PLANNED, ReconnectReason
from latency_sweep.probe.connection import supervisor, trial
from latency_sweep.probe.connection.opened import Opened
from latency_sweep.probe.connection.stall_detector import PAUSES, StallDetector
from latency_sweep.probe.connection.supervisor import ConnectionSupervisor
from latency_sweep.probe.connection.trial import SETTLE_SEC, Finding, StallTrial
from tests.probe.scripted_exchange import (
    Exchange,
    end_by_reset,
    reconnects,
    running,
    serving,
    trade,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from prometheus_client import CollectorRegistry
    from websockets.asyncio.server import ServerConnection

    from latency_sweep.probe.connection.session import Session
    from latency_sweep.probe.measurement.instruments import Instruments
    from latency_sweep.probe.measurement.recorder import ConnectionReceiver
    from latency_sweep.probe.net.websocket import WebSocketConnection


@dataclass
class Mailbox:
    """In place of a receiver: what is the newest message of a connection."""

    newest_ns: int = 0


def a_connection(newest_ns: int = 0) -> tuple[Opened, Mailbox]:
    mailbox = Mailbox(newest_ns)
    receiver = cast("ConnectionReceiver", mailbox)
    return Opened(cast("WebSocketConnection", None), receiver, asyncio.Event()), mailbox


@pytest.mark.parametrize(
    ("fresh_after", "old_after", "finding", "after"),
    [
        (15.0, 15.0, Finding.QUIET, 15.0),
        (15.0, 15.0 + SETTLE_SEC - 0.5, Finding.QUIET, 15.0 + SETTLE_SEC - 0.5),
        (15.0, None, Finding.STALLED, 15.0 + SETTLE_SEC),
        (None, 15.0, Finding.TRIAL_STALLED, 15.0 + SETTLE_SEC),
        (None, None, None, None),
    ],
)
def test_what_two_connections_bring_says_which_is_healthy(
    fresh_after: float | None, old_after: float | None, finding: Finding | None, after: float | None
) -> None:
    (fresh, fresh_mail), (old, old_mail) = a_connection(), a_connection(newest_ns=7)
    subject, found = StallTrial(fresh, old, 100.0), None
    for tick in range(61):
        now = tick * 0.5
        if now == fresh_after:
            fresh_mail.newest_ns = 8
        if now == old_after:
            old_mail.newest_ns = 8
        found = subject.look(100.0 + now)
        if found is not None:
            assert now == after
            break
    assert found is finding
    assert subject.silent_sec == (0.0 if finding is None else 15.0)
    assert subject.is_over(130.5, 30.0) is (finding is None)


def test_a_suspended_program_does_not_condemn_what_it_has_not_read_yet() -> None:
    (fresh, fresh_mail), (old, _) = a_connection(), a_connection()
    subject = StallTrial(fresh, old, 100.0)
    fresh_mail.newest_ns = 8
    assert subject.look(101.0) is None
    subject.excuse(60.0)
    assert subject.look(161.5) is None
    assert subject.look(161.0 + SETTLE_SEC) is Finding.STALLED


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    async with serving(Exchange()) as exchange:
        yield exchange


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor looks often, and a message of one connection only soon decides."""
    monkeypatch.setattr(supervisor, "_TICK_SEC", 0.01)
    monkeypatch.setattr(trial, "SETTLE_SEC", 0.3)


async def on_trial(
    exchange: Exchange, session: Session
) -> tuple[ServerConnection, ServerConnection]:
    """The old and the fresh connection, after half a minute and more without a message."""
    old = await exchange.connection(0)
    line = session._supervisors[0]
    await until(lambda: line._current is not None)
    line._stall_detector.excuse(-(supervisor.STALL_TIMEOUT_SEC + 15.0))  # as if it had passed
    await until(lambda: line._trial is not None)
    return old, await exchange.connection(1)


def limit_sec(session: Session) -> float:
    return session._supervisors[0]._stall_detector.limit_sec(time.monotonic())


def unplanned(registry: CollectorRegistry) -> float:
    return sum(reconnects(registry, why) for why in ReconnectReason if why not in PLANNED)


@pytest.mark.usefixtures("quick")
async def test_what_both_bring_shows_a_quiet_market_and_teaches_its_pause(
    exchange: Exchange, instruments: Instruments, registry: CollectorRegistry
) -> None:
    async with running(exchange, instruments) as session:
        old, fresh = await on_trial(exchange, session)
        await trade(1, old, fresh)
        await until(lambda: reconnects(registry, ReconnectReason.QUIET) > 0)
        await old.wait_closed()
        assert limit_sec(session) >= PAUSES * 45.0
        assert unplanned(registry) == 0
        assert session._recorder.states[0].messages == 1
        assert session.connectivity.disconnected_sec == 0
    assert len(exchange.connections) == 2


@pytest.mark.usefixtures("quick")
async def test_a_connection_that_answers_pings_and_brings_nothing_is_stalled(
    exchange: Exchange, instruments: Instruments, registry: CollectorRegistry
) -> None:
    async with running(exchange, instruments) as session:
        old, fresh = await on_trial(exchange, session)
        await trade(1, fresh)
        await (await old.ping())
        await until(lambda: reconnects(registry, ReconnectReason.STALLED) > 0)
        await old.wait_closed()
        assert limit_sec(session) == supervisor.STALL_TIMEOUT_SEC
        assert reconnects(registry, ReconnectReason.QUIET) == 0
    assert len(exchange.connections) == 2


@pytest.mark.usefixtures("quick")
async def test_a_fresh_connection_that_does_not_bring_what_the_old_one_brings_is_not_used(
    exchange: Exchange, instruments: Instruments, registry: CollectorRegistry
) -> None:
    async with running(exchange, instruments) as session:
        old, fresh = await on_trial(exchange, session)
        await trade(1, old)
        await fresh.wait_closed()
        assert session._supervisors[0]._trial is None
        assert limit_sec(session) >= PAUSES * 45.0
    assert sum(reconnects(registry, why) for why in ReconnectReason) == 0
    assert old.close_code == 1000


@pytest.mark.usefixtures("quick")
async def test_a_trial_in_which_neither_brings_anything_is_followed_by_another_and_counts_nothing(
    exchange: Exchange,
    instruments: Instruments,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(exchange, instruments) as session:
        _, fresh = await on_trial(exchange, session)
        with monkeypatch.context() as patch:
            patch.setattr(StallDetector, "trial_sec", lambda *_: 0.0)
            await fresh.wait_closed()
        third = await exchange.connection(len(exchange.connections))
        await until(lambda: session._supervisors[0]._trial is not None)
        assert sum(reconnects(registry, why) for why in ReconnectReason) == 0
        await trade(1, third)
        await until(lambda: reconnects(registry, ReconnectReason.STALLED) > 0)


@pytest.mark.usefixtures("quick")
async def test_a_connection_lost_during_its_trial_is_replaced_without_an_outage(
    exchange: Exchange, instruments: Instruments, registry: CollectorRegistry
) -> None:
    async with running(exchange, instruments) as session:
        old, _ = await on_trial(exchange, session)
        await end_by_reset(old)
        await until(lambda: reconnects(registry, ReconnectReason.CONNECTION_LOST) > 0)
        assert session.connectivity.disconnected_sec == 0
        assert session.connectivity.connected
    assert len(exchange.connections) == 2


@pytest.mark.usefixtures("quick")
async def test_a_fresh_connection_lost_during_the_trial_is_followed_by_another_after_a_pause(
    exchange: Exchange,
    instruments: Instruments,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []

    async def pause(_: ConnectionSupervisor, seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(ConnectionSupervisor, "_pause", pause)
    async with running(exchange, instruments) as session:
        old, fresh = await on_trial(exchange, session)
        await end_by_reset(fresh)
        third = await exchange.connection(2)
        await until(lambda: session._supervisors[0]._trial is not None)
        assert pauses[-1] > 0
        assert sum(reconnects(registry, why) for why in ReconnectReason) == 0
        await trade(1, old, third)
        await until(lambda: reconnects(registry, ReconnectReason.QUIET) > 0)


@pytest.mark.usefixtures("quick")
async def test_a_new_run_ends_a_trial_and_has_a_connection_of_its_own(
    exchange: Exchange, instruments: Instruments, registry: CollectorRegistry
) -> None:
    async with running(exchange, instruments) as session:
        old, fresh = await on_trial(exchange, session)
        session._supervisors[0].replace(ReconnectReason.SCHEDULE)
        await until(lambda: reconnects(registry, ReconnectReason.SCHEDULE) > 0)
        await old.wait_closed()
        await fresh.wait_closed()
    assert len(exchange.connections) == 3
    assert reconnects(registry, ReconnectReason.QUIET) == 0


@pytest.mark.usefixtures("quick")
async def test_a_new_run_takes_the_connection_that_is_being_opened_for_a_trial(
    exchange: Exchange, instruments: Instruments, registry: CollectorRegistry
) -> None:
    async with running(exchange, instruments) as session:
        await exchange.connection(0)
        line = session._supervisors[0]
        await until(lambda: line._current is not None)
        exchange.answering.clear()
        line._stall_detector.excuse(-supervisor.STALL_TIMEOUT_SEC)
        await until(lambda: exchange.requests > 1)
        line.replace(ReconnectReason.SCHEDULE)
        exchange.answering.set()
        await until(lambda: reconnects(registry, ReconnectReason.SCHEDULE) > 0)
    assert len(exchange.connections) == 2


async def test_it_stops_during_a_trial(exchange: Exchange, instruments: Instruments) -> None:
    async with running(exchange, instruments) as session:
        old, fresh = await on_trial(exchange, session)
    assert (old.close_code, fresh.close_code) == (1000, 1000)
    assert session._recorder._open.total() == 0
