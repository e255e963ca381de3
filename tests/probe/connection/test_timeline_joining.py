"""Which runs a session takes part in, however the clock is set meanwhile."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from latency_sweep.contract.metrics import Phase, ReconnectReason
from latency_sweep.contract.timeline import NS_PER_SEC, RandomStarts, Timeline
from latency_sweep.probe.clock.steps import StepDetector
from latency_sweep.probe.connection import session as session_module
from latency_sweep.probe.connection.session import Session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from latency_sweep.contract.timeline import Run
    from latency_sweep.probe.feeds.binance_spot import BinanceSpot
    from latency_sweep.probe.measurement.instruments import Instruments
    from latency_sweep.probe.measurement.recorder import Recorder

MINUTE_NS = 60 * NS_PER_SEC
TIMELINE = Timeline(5 * MINUTE_NS, 60 * MINUTE_NS, MINUTE_NS)
FIRST = TIMELINE.run_at(1_800_000_000 * NS_PER_SEC)
SECOND = TIMELINE.run_after(FIRST)
THIRD = TIMELINE.run_after(SECOND)


class Clock:
    """What a session takes for the time."""

    def __init__(self) -> None:
        self._now_ns = 0
        self._passed_ns = 0
        self._looked_at = asyncio.Event()

    def time_ns(self) -> int:
        self._looked_at.set()
        return self._now_ns

    def pair(self) -> tuple[int, int]:
        """See `steps.read_pair`."""
        return self._now_ns - self._passed_ns, 0

    def hold_up(self, span_ns: int) -> None:
        """Let time pass without being looked at."""
        self._now_ns += span_ns
        self._passed_ns += span_ns

    async def look(self) -> None:
        """Wait until it has been looked at and the consequences drawn."""
        await self.set_to(self._now_ns)

    async def set_to(self, unix_ns: int) -> None:
        """Set it, and wait until it has been looked at and the consequences drawn."""
        self._now_ns = unix_ns
        self._looked_at.clear()
        await self._looked_at.wait()


class Participant:
    """A session that has one connection, and a clock that a test sets.

    It starts at the first moment that is asked for.
    """

    def __init__(self, session: Session, recorder: Recorder, clock: Clock) -> None:
        self.session = session
        self._recorder = recorder
        self._clock = clock
        self._running: asyncio.Task[None] | None = None

    async def records_at(self, unix_ns: int) -> Run | None:
        """The run that is recorded once the clock shows a moment."""
        await self._let_it_be(unix_ns)
        return self._recorder.run

    async def is_ready_at(self, unix_ns: int) -> bool:
        await self._let_it_be(unix_ns)
        return self.session.ready

    async def records_after_a_stall_of(self, span_ns: int) -> Run | None:
        """The run that is recorded after the program stood still."""
        self._clock.hold_up(span_ns)
        await self._clock.look()
        return self._recorder.run

    async def end(self) -> None:
        assert self._running is not None
        self.session.stop()
        await self._running

    async def _let_it_be(self, unix_ns: int) -> None:
        if self._running is None:
            self._running = asyncio.create_task(self.session.run())
        await self._clock.set_to(unix_ns)


@pytest.fixture
async def participant_in(
    feed: BinanceSpot,
    recorder: Recorder,
    instruments: Instruments,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Callable[[Timeline], Participant]]:
    clock = Clock()
    monkeypatch.setattr(session_module, "time", clock)
    monkeypatch.setattr(session_module, "StepDetector", partial(StepDetector, read=clock.pair))
    monkeypatch.setattr(session_module, "_TICK_SEC", 0.001)
    tls = ssl.create_default_context()
    made = []

    def make(timeline: Timeline) -> Participant:
        session = Session([feed], timeline, recorder, instruments, tls=tls)
        session._supervisors.clear()
        session.connectivity.opened(feed, "0", "192.0.2.1")
        made.append(Participant(session, recorder, clock))
        return made[-1]

    yield make
    for participant in made:
        await participant.end()


@pytest.fixture
def participant(participant_in: Callable[[Timeline], Participant]) -> Participant:
    return participant_in(TIMELINE)


async def test_every_run_is_recorded_from_its_warm_up_on(participant: Participant) -> None:
    assert await participant.records_at(FIRST.start_ns) == FIRST
    assert await participant.records_at(FIRST.end_ns - 1) == FIRST
    assert await participant.records_at(SECOND.start_ns) == SECOND


async def test_a_measurement_that_has_begun_is_left_to_others(participant: Participant) -> None:
    assert await participant.records_at(FIRST.measure_start_ns) is None
    assert participant.session.phase_at(FIRST.measure_start_ns) == (SECOND, Phase.WAIT)
    assert await participant.records_at(SECOND.start_ns) == SECOND


async def test_a_clock_that_was_ahead_at_the_start_keeps_nobody_out_of_later_runs(
    participant: Participant,
) -> None:
    await participant.records_at(THIRD.measure_start_ns + MINUTE_NS)
    assert await participant.records_at(FIRST.measure_start_ns + MINUTE_NS) is None
    assert await participant.records_at(SECOND.start_ns) == SECOND


async def test_a_clock_set_back_into_the_warm_up_of_the_same_run_lets_it_be_recorded(
    participant: Participant,
) -> None:
    assert await participant.records_at(FIRST.measure_start_ns + MINUTE_NS) is None
    assert await participant.records_at(FIRST.measure_start_ns - MINUTE_NS) == FIRST


async def test_a_clock_set_forward_into_a_measurement_does_not_join_it(
    participant: Participant,
) -> None:
    assert await participant.records_at(FIRST.start_ns) == FIRST
    assert await participant.records_at(SECOND.measure_start_ns + MINUTE_NS) is None
    assert await participant.records_at(THIRD.start_ns) == THIRD


async def test_a_stall_over_the_warm_up_loses_no_run(participant: Participant) -> None:
    assert await participant.records_at(FIRST.start_ns) == FIRST
    until_ns = SECOND.measure_start_ns + MINUTE_NS - FIRST.start_ns
    assert await participant.records_after_a_stall_of(until_ns) == SECOND


async def test_a_clock_set_back_over_the_end_of_a_run_does_not_begin_it_again(
    participant: Participant,
) -> None:
    assert await participant.records_at(FIRST.start_ns) == FIRST
    assert await participant.records_at(SECOND.start_ns) == SECOND
    assert await participant.records_at(FIRST.end_ns - NS_PER_SEC) is None
    assert await participant.records_at(SECOND.start_ns + 1) == SECOND


async def test_a_clock_set_back_a_little_over_the_end_of_a_run_does_not_begin_it_again(
    participant: Participant,
) -> None:
    """Its series would begin at zero again, and with them the totals of the run."""
    assert await participant.records_at(FIRST.start_ns) == FIRST
    assert await participant.records_after_a_stall_of(SECOND.start_ns - FIRST.start_ns) == SECOND
    assert await participant.records_at(FIRST.end_ns - NS_PER_SEC // 10) == SECOND
    assert await participant.records_at(SECOND.start_ns) == SECOND


async def test_it_is_ready_once_it_has_warmed_up(participant: Participant) -> None:
    assert not await participant.is_ready_at(FIRST.start_ns)
    assert await participant.is_ready_at(FIRST.measure_start_ns)
    assert await participant.is_ready_at(SECOND.start_ns)


async def test_a_clock_that_was_ahead_does_not_delay_being_ready(participant: Participant) -> None:
    assert not await participant.is_ready_at(THIRD.start_ns)
    assert not await participant.is_ready_at(FIRST.start_ns)
    assert await participant.is_ready_at(FIRST.measure_start_ns)


async def test_between_blocks_nothing_is_recorded_and_the_next_block_is_named(
    participant_in: Callable[[Timeline], Participant],
) -> None:
    blocks = replace(TIMELINE, random_starts=RandomStarts(per_day=4, seed=3))
    participant = participant_in(blocks)
    first = blocks.run_at(FIRST.start_ns)
    second = blocks.run_after(first)
    assert await participant.records_at(first.start_ns - MINUTE_NS) is None
    assert participant.session.phase_at(first.start_ns - 1) == (first, Phase.WAIT)
    assert await participant.records_at(first.start_ns) == first
    assert await participant.records_at(first.end_ns - 1) == first
    assert await participant.records_at(first.end_ns) is None
    assert participant.session.phase_at(first.end_ns) == (second, Phase.WAIT)
    assert await participant.records_at(second.start_ns) == second


async def test_each_block_has_a_fresh_connection_the_first_one_too(
    participant_in: Callable[[Timeline], Participant],
) -> None:
    blocks = replace(TIMELINE, random_starts=RandomStarts(per_day=4, seed=3))
    participant = participant_in(blocks)
    replaced: list[ReconnectReason] = []
    participant.session._supervisors.append(ReplacedOnly(replaced))  # type: ignore[arg-type]
    first = blocks.run_at(FIRST.start_ns)
    await participant.records_at(first.start_ns - MINUTE_NS)
    assert not replaced
    await participant.records_at(first.start_ns)
    assert replaced == [ReconnectReason.SCHEDULE]
    await participant.records_at(first.end_ns)
    assert len(replaced) == 1
    await participant.records_at(blocks.run_after(first).start_ns)
    assert len(replaced) == 2


class ReplacedOnly:
    """A supervisor that only notes that it is to replace its connection."""

    def __init__(self, replaced: list[ReconnectReason]) -> None:
        self.replace = replaced.append

    def stop(self) -> None:
        pass

    async def run(self) -> None:
        pass
