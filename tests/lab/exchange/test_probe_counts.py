"""Every feed in its own wire format: what the probe counts is what the exchange did."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from latency_sweep.contract.metrics import ErrorKind
from latency_sweep.lab.exchange.config import parse
from latency_sweep.lab.exchange.server import running
from latency_sweep.probe.feeds.base import Ids
from latency_sweep.probe.measurement import channel_state
from tests.lab.exchange.clients import Running
from tests.lab.exchange.probing import MARKETS, STREAMS, SYMBOL, probing_all

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from latency_sweep.lab.exchange.config import MarketName
    from latency_sweep.lab.local.tls import Certificates
    from latency_sweep.probe.measurement.channel_state import ChannelState

pytestmark = pytest.mark.parametrize("market", STREAMS)
LATENCY = {"distribution": "constant", "ms": 40.0}
UNIT_NS = {"spot": 1_000, "usdm": 1_000_000, "coinm": 1_000_000, "sbe": 1_000}


@dataclass(frozen=True)
class Outcome:
    """What became of one market.

    Attributes:
        states: the probe's channels.
        errors: how many of each kind the probe counted.
        truth: what the exchange did to messages that it sent or lost.
    """

    states: list[ChannelState]
    errors: dict[ErrorKind, float]
    ground_truth: pd.DataFrame

    def rows(self, state: ChannelState) -> pd.DataFrame:
        """The truth of one channel."""
        return self.ground_truth[
            self.ground_truth["stream"] == f"{SYMBOL.lower()}@{state.channel.stream}"
        ]


def outcomes(
    folder: Path, certificates: Certificates, site: dict[str, Any], enough: int
) -> dict[str, Outcome]:
    """Probe all markets at one site until every channel has brought enough."""
    document = {
        "sites": {"tokyo": site},
        "markets": MARKETS,
        "symbols": {SYMBOL: {"trades_per_sec": 150, "book_updates_per_sec": 100}},
        "tls": {"cert": str(certificates.cert), "key": str(certificates.key)},
        "ground_truth_dir": str(folder),
    }
    config = parse(document, source="test")
    tls = ssl.create_default_context(cafile=certificates.ca)

    async def measure() -> dict[str, Outcome]:
        async with aiohttp.ClientSession() as http, running(config) as addresses:
            exchange = Running(addresses, config, tls, http)
            async with probing_all(exchange) as all_probed:
                await asyncio.gather(*(probed.until_received(enough) for probed in all_probed))
                errors = {
                    probed.market: {kind: probed.errors(kind) for kind in ErrorKind}
                    for probed in all_probed
                }
                for probed in all_probed:
                    await probed.until_all_is_in()
            ground_truth = exchange.ground_truth()
        happened = ground_truth[ground_truth["outcome"] != "unsent"]
        return {
            probed.market: Outcome(
                list(probed.recorder.states),
                errors[probed.market],
                happened[happened["market"] == probed.market],
            )
            for probed in all_probed
        }

    return asyncio.run(measure())


@pytest.fixture(scope="module")
def plain(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> dict[str, Outcome]:
    """Nothing goes wrong."""
    return outcomes(tmp_path_factory.mktemp("plain"), certificates, {"latency": LATENCY}, 20)


@pytest.fixture(scope="module")
def lossy(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> dict[str, Outcome]:
    """Messages are lost."""
    site = {"latency": LATENCY, "loss": {"*": 0.2}}
    return outcomes(tmp_path_factory.mktemp("lossy"), certificates, site, 25)


@pytest.fixture(scope="module")
def disorderly(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> dict[str, Outcome]:
    """Messages come twice, or after their successors."""
    site = {"latency": LATENCY, "duplicates": {"*": 0.2}, "reordering": {"*": 0.2}}
    return outcomes(tmp_path_factory.mktemp("disorderly"), certificates, site, 25)


def missing(state: ChannelState, rows: pd.DataFrame) -> tuple[int, int]:
    """Holes between the first message that was sent and the last, and how much was in them."""
    told = rows.sort_values("last_id")
    sizes = told["last_id"] - told["first_id"] + 1
    runs = [
        (outcome, [size for _, size in group])
        for outcome, group in groupby(
            zip(told["outcome"], sizes, strict=True), key=lambda pair: pair[0]
        )
    ]
    holes = [sizes for outcome, sizes in runs[1:-1] if outcome == "dropped"]
    per_id = state.channel.ids is Ids.CONSECUTIVE
    return len(holes), sum(sum(hole) for hole in holes) if per_id else len(holes)


def test_every_message_is_counted_once(plain: dict[str, Outcome], market: MarketName) -> None:
    outcome = plain[market]
    counted = {state.channel.stream: state.messages for state in outcome.states}
    assert counted == {state.channel.stream: len(outcome.rows(state)) for state in outcome.states}
    assert set(counted) == set(STREAMS[market])


def test_nothing_is_missing_where_nothing_was_lost(
    plain: dict[str, Outcome], market: MarketName
) -> None:
    checks = [state.sequence for state in plain[market].states if state.sequence is not None]
    assert checks
    for check in checks:
        assert (check.gaps, check.lost, check.duplicates, check.out_of_order) == (0, 0, 0, 0)


def test_no_feed_reports_an_error(plain: dict[str, Outcome], market: MarketName) -> None:
    assert plain[market].errors == dict.fromkeys(ErrorKind, 0.0)


def test_latency_is_that_of_the_truth(plain: dict[str, Outcome], market: MarketName) -> None:
    for state in plain[market].states:
        histograms = state.histograms
        assert isinstance(histograms, channel_state.RunHistograms)
        if not state.channel.has_event_time:
            assert histograms.latency is None
            continue
        assert histograms.latency is not None
        rows = plain[market].rows(state)
        # What the message says is cut to the unit of the wire.
        told_ns = rows["event_ns"] // UNIT_NS[market] * UNIT_NS[market]
        true_sec = (rows["send_ns"] - told_ns).sum() / 1e9
        recorded = histograms.latency.snapshot()
        assert recorded.count == len(rows)
        # The kernel timestamps what is read together with the last of it, so a busy machine adds.
        assert true_sec <= recorded.sum < 2 * true_sec
        assert state.negative == 0


def test_the_exchange_s_own_delay_is_that_of_the_truth(
    plain: dict[str, Outcome], market: MarketName
) -> None:
    (state,) = (state for state in plain[market].states if state.channel.stream == "trade")
    rows = plain[market].rows(state)
    unit = UNIT_NS[market]
    delays_ns = rows["event_ns"] // unit * unit - rows["trade_ns"] // unit * unit
    assert state.histograms is not None
    assert state.histograms.exchange_delay is not None
    recorded = state.histograms.exchange_delay.snapshot()
    assert recorded.count == len(rows)
    assert recorded.sum == pytest.approx(delays_ns.sum() / 1e9)


def test_every_gap_is_found_and_no_other(lossy: dict[str, Outcome], market: MarketName) -> None:
    gaps = 0
    for state in lossy[market].states:
        if state.sequence is not None:
            expected = missing(state, lossy[market].rows(state))
            assert (state.sequence.gaps, state.sequence.lost) == expected, state.channel
            gaps += state.sequence.gaps
    assert gaps > 0


def test_repetition_and_disorder_are_counted(
    disorderly: dict[str, Outcome], market: MarketName
) -> None:
    for state in disorderly[market].states:
        rows = disorderly[market].rows(state)
        assert state.messages == len(rows)
        if state.sequence is None:
            continue
        assert state.sequence.duplicates == (rows["outcome"] == "duplicate").sum()
        once = rows[rows["outcome"] == "sent"]["last_id"]
        assert state.sequence.out_of_order == sum(later < one for one, later in pairwise(once))
        assert state.sequence.lost == 0
