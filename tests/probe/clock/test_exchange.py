"""The exchange's clock lies within the bound, which narrows with every answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.probe.clock.exchange import ExchangeClockEstimator, TimeEndpointError

if TYPE_CHECKING:
    from collections.abc import Callable

MS = 1_000_000
SEC = 1_000_000_000
START_NS = 1_700_000_000 * SEC
US = 1000


class Network:
    """A time endpoint behind scripted delays there and back.

    Args:
        offset_ns: its clock minus the local one, at first.
        delays_ns: delay there and back, per request.
        drift_ppm: how fast it moves away from the local clock.
        unit_ns: unit of the times it tells.
    """

    def __init__(
        self,
        offset_ns: int,
        delays_ns: list[tuple[int, int]],
        *,
        drift_ppm: float = 0.0,
        unit_ns: int = US,
    ) -> None:
        self.now_ns = START_NS
        self.step_ns = 0
        self._offset_ns = offset_ns
        self._unit_ns = unit_ns
        self._drift = drift_ppm * 1e-6
        self._delays = iter(delays_ns)

    @property
    def offset_ns(self) -> int:
        drifted = int(self._drift * (self.now_ns - START_NS))
        return self._offset_ns + self.step_ns + drifted

    async def fetch(self) -> bytes:
        there, back = next(self._delays)
        self.now_ns += there
        told = (self.now_ns + self.offset_ns) // self._unit_ns
        self.now_ns += back
        return b'{"serverTime":%d}' % told

    @property
    def clock(self) -> Callable[[], int]:
        return lambda: self.now_ns

    def estimator(self) -> ExchangeClockEstimator:
        return ExchangeClockEstimator(clock_ns=self.clock)


DELAYS = st.lists(
    st.tuples(st.integers(0, 500 * MS), st.integers(0, 500 * MS)), min_size=1, max_size=8
)


@given(st.integers(-(10**12), 10**12), DELAYS)
async def test_the_truth_lies_within_the_bound(
    offset_ns: int, delays: list[tuple[int, int]]
) -> None:
    network = Network(offset_ns, delays)
    clock = await network.estimator().update(network.fetch, samples=len(delays))
    assert abs(clock.offset_sec - offset_ns * 1e-9) <= clock.error_bound_sec + 1e-9


@given(st.integers(-(10**12), 10**12), st.floats(-14, 14), DELAYS, st.integers(0, 600))
async def test_the_truth_stays_within_the_bound_while_the_clocks_drift_apart(
    offset_ns: int, drift_ppm: float, delays: list[tuple[int, int]], pause_sec: int
) -> None:
    network = Network(offset_ns, delays, drift_ppm=drift_ppm)
    estimator = network.estimator()
    for _ in delays:
        network.now_ns += pause_sec * SEC
        clock = await estimator.update(network.fetch, samples=1)
        assert abs(clock.offset_sec - network.offset_ns * 1e-9) <= clock.error_bound_sec + 1e-9


async def test_one_answer_is_known_to_half_its_round_trip() -> None:
    network = Network(0, [(3 * MS, MS)])
    clock = await network.estimator().update(network.fetch, samples=1)
    assert clock.error_bound_sec == pytest.approx(2e-3, abs=1e-6)


async def test_two_answers_slow_on_opposite_ways_are_known_better_than_either() -> None:
    network = Network(0, [(10 * MS, 0), (0, 10 * MS)])
    clock = await network.estimator().update(network.fetch, samples=2)
    assert clock.error_bound_sec < 1e-5


async def test_a_good_answer_is_remembered_and_doubted_more_by_the_second() -> None:
    network = Network(0, [(0, 0), (100 * MS, 100 * MS)])
    estimator = network.estimator()
    await estimator.update(network.fetch, samples=1)
    network.now_ns += 60 * SEC
    clock = await estimator.update(network.fetch, samples=1)
    assert clock.error_bound_sec == pytest.approx(60.2 * 15e-6, rel=0.01)


async def test_a_clock_that_was_set_is_believed_at_once() -> None:
    network = Network(0, [(MS, MS), (MS, MS)])
    estimator = network.estimator()
    await estimator.update(network.fetch, samples=1)
    network.step_ns = SEC
    clock = await estimator.update(network.fetch, samples=1)
    assert clock.offset_sec == pytest.approx(1.0, abs=2e-3)


async def test_nothing_known_before_is_used_after_forgetting() -> None:
    network = Network(0, [(0, 0), (5 * MS, 5 * MS)])
    estimator = network.estimator()
    await estimator.update(network.fetch, samples=1)
    estimator.forget()
    clock = await estimator.update(network.fetch, samples=1)
    assert clock.error_bound_sec == pytest.approx(5e-3, rel=0.01)


async def test_a_clock_set_back_under_way_gives_no_estimate() -> None:
    times = iter([START_NS, START_NS - SEC])

    async def fetch() -> bytes:
        return b'{"serverTime":1}'

    with pytest.raises(TimeEndpointError, match="set back"):
        await ExchangeClockEstimator(clock_ns=lambda: next(times)).update(fetch, samples=1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b'{"serverTime":"now"}',
        b'{"serverTime":-1}',
        b'{"serverTime":1%b}' % (b"0" * 400),
        b"\xff",
    ],
)
async def test_nonsense_is_an_error_that_quotes_it(body: bytes) -> None:
    async def fetch() -> bytes:
        return body

    with pytest.raises(TimeEndpointError, match="no serverTime in"):
        await ExchangeClockEstimator().update(fetch)


async def test_an_endpoint_that_tells_milliseconds_is_understood() -> None:
    network = Network(SEC, [(0, 0)], unit_ns=MS)
    clock = await network.estimator().update(network.fetch, samples=1)
    assert clock.error_bound_sec == pytest.approx(0.5e-3)
    assert abs(clock.offset_sec - 1.0) <= clock.error_bound_sec + 1e-9


async def test_what_is_known_without_asking_is_known_less_well_every_second() -> None:
    network = Network(SEC, [(0, 0)])
    estimator = network.estimator()
    assert estimator.known() is None
    await estimator.update(network.fetch, samples=1)
    network.now_ns += 1000 * SEC
    known = estimator.known()
    assert known is not None
    assert known.offset_sec == pytest.approx(1.0, abs=1e-5)
    assert known.error_bound_sec == pytest.approx(15e-3, rel=0.01)


async def test_clocks_that_drift_apart_are_seen_to_do_so() -> None:
    network = Network(0, [(20 * MS, 3 * MS)] * 5, drift_ppm=50.0)
    estimator = network.estimator()
    for _ in range(5):
        clock = await estimator.update(network.fetch, samples=1)
        network.now_ns += 60 * SEC
    assert clock.drift is not None
    assert clock.drift.proven > 15e-6
    estimator.forget()
    assert estimator.known() is None
