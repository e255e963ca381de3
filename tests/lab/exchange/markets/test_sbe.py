"""What a client sees of the SBE market: keys, frames, ids, times."""

from __future__ import annotations

import json
import struct
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import InvalidStatus

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from websockets.asyncio.client import ClientConnection, connect

    from tests.lab.exchange.clients import Running

    Run = Callable[..., AbstractAsyncContextManager[Running]]

KEY = "abcDEF123"
MARKETS = {"sbe": {"api_keys": ["another", KEY]}}
US = 1_000


def sbe(exchange: Running, target: str, key: str | None = KEY) -> connect:
    headers = {} if key is None else {"X-MBX-APIKEY": key}
    return exchange.connect(target, market="sbe", additional_headers=headers)


async def binary(client: ClientConnection, count: int) -> list[bytes]:
    frames = [await client.recv() for _ in range(count)]
    assert all(isinstance(frame, bytes) for frame in frames)
    return [frame for frame in frames if isinstance(frame, bytes)]


async def some(run: Run, stream: str, count: int) -> list[bytes]:
    async with run(markets=MARKETS) as exchange, sbe(exchange, f"/ws/btcusdt@{stream}") as client:
        return await binary(client, count)


@pytest.mark.parametrize(
    ("key", "status", "code"), [(None, 401, -2014), ("", 403, -2015), ("wrong", 403, -2015)]
)
async def test_a_connection_without_a_right_key_is_refused(
    run: Run, key: str | None, status: int, code: int
) -> None:
    async with run(markets=MARKETS) as exchange:
        with pytest.raises(InvalidStatus) as caught:
            await sbe(exchange, "/ws", key)
    assert caught.value.response.status_code == status
    assert json.loads(caught.value.response.body or b"")["code"] == code


@pytest.mark.parametrize(
    ("stream", "template"),
    [("trade", 10000), ("bestBidAsk", 10001), ("depth20", 10002), ("depth", 10003)],
)
@pytest.mark.parametrize("form", ["/ws/", "/stream?streams="])
async def test_each_stream_is_binary_frames_of_its_template(
    run: Run, form: str, stream: str, template: int
) -> None:
    async with (
        run(markets=MARKETS) as exchange,
        sbe(exchange, f"{form}btcusdt@{stream}") as client,
    ):
        frames = await binary(client, 3)
    assert {struct.unpack_from("<HHHH", frame)[1:] for frame in frames} == {(template, 1, 0)}
    assert all(frame.endswith(b"\x07BTCUSDT") for frame in frames)


async def test_a_trade_event_carries_all_trades_of_an_order(run: Run) -> None:
    groups = []
    for frame in await some(run, "trade", 60):
        length, count = struct.unpack_from("<HI", frame, 26)
        ids = [struct.unpack_from("<q", frame, 32 + length * n)[0] for n in range(count)]
        groups.append(ids)
    numbers = [number for ids in groups for number in ids]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert len(numbers) > len(groups)


async def test_a_depth_update_starts_right_after_the_one_before(run: Run) -> None:
    ids = [struct.unpack_from("<qq", frame, 16) for frame in await some(run, "depth", 30)]
    assert all(b[0] == a[1] + 1 for a, b in pairwise(ids))


async def test_a_snapshot_has_twenty_levels_a_side(run: Run) -> None:
    (frame,) = await some(run, "depth20", 1)
    assert struct.unpack_from("<HH", frame, 26) == (16, 20)
    assert struct.unpack_from("<HH", frame, 26 + 4 + 320) == (16, 20)


async def test_times_are_the_truth_in_microseconds(run: Run) -> None:
    async with run(markets=MARKETS) as exchange:
        async with sbe(exchange, "/ws/btcusdt@trade") as client:
            frames = await binary(client, 20)
        await exchange.control("flush")
        ground_truth = exchange.ground_truth().iloc[:20]
    times = [struct.unpack_from("<qq", frame, 8) for frame in frames]
    assert [event_us for event_us, _ in times] == (ground_truth["event_ns"] // US).tolist()
    assert [trade_us for _, trade_us in times] == (ground_truth["trade_ns"] // US).tolist()


async def test_replies_and_server_shutdown_are_json_in_text_frames(run: Run) -> None:
    async with run(markets=MARKETS) as exchange, sbe(exchange, "/stream") as client:
        await client.send(json.dumps({"method": "SUBSCRIBE", "params": ["x@trade"], "id": 1}))
        assert await client.recv() == '{"result":null,"id":1}'
        await exchange.control("shutdown_event", market="sbe")
        message: Any = json.loads(await client.recv(decode=True))
    assert message["stream"] == "!serverShutdown"
    assert len(str(message["data"]["E"])) == 16
