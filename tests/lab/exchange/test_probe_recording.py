"""A probe that records: what is in the file is what was measured, and it can be replayed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from latency_sweep.contract.recorded_frames import Recording
from latency_sweep.probe.recording import FrameWriter
from tests.lab.exchange.probing import probing

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from latency_sweep.lab.exchange.config import MarketName
    from tests.lab.exchange.clients import Running

    Run = Callable[..., AbstractAsyncContextManager[Running]]

MARKETS: list[MarketName] = ["spot", "usdm"]


@pytest.mark.parametrize("market", MARKETS)
async def test_every_measured_message_is_recorded_with_the_timestamp_it_was_measured_by(
    run: Run, tmp_path: Path, market: MarketName
) -> None:
    path = tmp_path / "frames.zst"
    trouble: list[str] = []
    writer = FrameWriter(path, trouble.append)
    async with (
        run(markets={market: {}}) as exchange,
        probing(exchange, market, tap=writer.tapped) as probed,
    ):
        await probed.until_received(20)
        await probed.until_all_is_in()
    writer.stop()
    frames = list(Recording(path))
    recorded = Counter(frame.stream.partition("@")[2] for frame in frames)
    assert recorded == {s.channel.stream: s.messages for s in probed.recorder.states}
    truth = exchange.ground_truth()
    names = zip(truth["stream"], truth["last_id"], strict=True)
    sent_ns = dict(zip(names, truth["send_ns"], strict=True))
    assert all(frame.received_ns > sent_ns[frame.stream, frame.ids[1]] for frame in frames)
    assert trouble == []
