"""The exchange's clock is known to half the smallest round trip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.clock.exchange import TimeEndpointError, estimate

if TYPE_CHECKING:
    from collections.abc import Callable

MS = 1_000_000
START_NS = 1_700_000_000 * 10**9


class Network:
    """A time endpoint whose clock is `offset_ns` ahead, behind scripted delays there and back."""

    def __init__(self, offset_ns: int, delays_ns: list[tuple[int, int]]) -> None:
        self.now_ns = START_NS
        self._offset_ns = offset_ns
        self._delays = iter(delays_ns)

    async def fetch(self) -> bytes:
        there, back = next(self._delays)
        self.now_ns += there
        server_us = (self.now_ns + self._offset_ns) // 1000
        self.now_ns += back
        return b'{"serverTime":%d}' % server_us

    @property
    def clock(self) -> Callable[[], int]:
        return lambda: self.now_ns


DELAYS = st.lists(
    st.tuples(st.integers(0, 500 * MS), st.integers(0, 500 * MS)), min_size=1, max_size=8
)


@given(st.integers(-(10**12), 10**12), DELAYS)
async def test_the_truth_lies_within_the_bound(
    offset_ns: int, delays: list[tuple[int, int]]
) -> None:
    network = Network(offset_ns, delays)
    clock = await estimate(network.fetch, unit_ns=1000, samples=len(delays), clock_ns=network.clock)
    assert abs(clock.offset_sec - offset_ns * 1e-9) <= clock.error_bound_sec + 2e-6
    assert clock.error_bound_sec == pytest.approx(min(map(sum, delays)) / 2 * 1e-9)


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"serverTime":"now"}', b"\xff"])
async def test_nonsense_is_an_error_that_quotes_it(body: bytes) -> None:
    async def fetch() -> bytes:
        return body

    with pytest.raises(TimeEndpointError, match="no serverTime in"):
        await estimate(fetch, unit_ns=1000)
