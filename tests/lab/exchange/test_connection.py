"""The connectivity of one connection: requests, limits, pings, ends, faults on demand."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from tests.lab.exchange.clients import Running, ask, documents, drain, drain_closed

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    Run = Callable[..., AbstractAsyncContextManager[Running]]


async def test_subscribe_is_acknowledged_and_data_follows(run: Run) -> None:
    async with run() as exchange, exchange.connect("/ws") as client:
        request = {"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 7}
        await client.send(json.dumps(request))
        ack, trade = await documents(client, 2)
    assert ack == {"result": None, "id": 7}
    assert trade["e"] == "trade"


async def test_unsubscribe_ends_the_stream(run: Run) -> None:
    async with run() as exchange, exchange.connect("/ws/btcusdt@trade") as client:
        await ask(client, {"method": "UNSUBSCRIBE", "params": ["btcusdt@trade"], "id": 1})
        answer = await ask(client, {"method": "LIST_SUBSCRIPTIONS", "id": 2})
        assert answer == {"result": [], "id": 2}
        await exchange.control("send", text='{"marker":1}')
        assert await documents(client, 1) == [{"marker": 1}]


async def test_malformed_json_is_answered_with_an_error(run: Run) -> None:
    async with run() as exchange, exchange.connect("/ws") as client:
        answer = await ask(client, "{nonsense")
    assert answer["code"] == 3
    assert answer["msg"].startswith("Invalid JSON: expected value at line 1")


async def test_more_than_five_messages_in_a_second_end_the_connection(run: Run) -> None:
    async with run() as exchange, exchange.connect("/ws") as client:
        for number in range(6):
            await client.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
        assert [answer["id"] for answer in await drain_closed(client)] == [0, 1, 2, 3, 4]
        assert client.close_code == 1008
        assert client.close_reason == "Too many requests"


async def test_pings_count_as_messages(run: Run) -> None:
    async with run() as exchange, exchange.connect("/ws") as client:
        for _ in range(6):
            await client.ping()
        await drain_closed(client)
        assert client.close_code == 1008


async def test_a_binary_message_ends_the_connection(run: Run) -> None:
    async with run() as exchange, exchange.connect("/ws") as client:
        await client.send(b"\x00")
        await drain_closed(client)
        assert client.close_code == 1003


async def test_a_ping_is_answered_with_its_payload(run: Run) -> None:
    async with run() as exchange, exchange.connect("/ws") as client:
        assert await (await client.ping("payload")) > 0


async def test_a_pong_takes_a_whole_round_trip(run: Run) -> None:
    sites = {"tokyo": {"latency": {"distribution": "constant", "ms": 40}}}
    async with run(sites=sites) as exchange, exchange.connect("/ws") as client:
        assert await (await client.ping()) >= 0.080


class SansIoClient:
    """A client that answers pings only if told to."""

    def __init__(self, exchange: Running, tls: ssl.SSLContext, *, answers: bool) -> None:
        self._exchange = exchange
        self._tls = tls
        self._answers = answers
        self.frames: list[Frame] = []

    async def run(self, until: Callable[[SansIoClient], bool]) -> None:
        uri = parse_uri(self._exchange.addresses["sites"]["tokyo"]["url"] + "/ws")
        reader, writer = await asyncio.open_connection(uri.host, uri.port, ssl=self._tls)
        protocol = ClientProtocol(uri)
        protocol.send_request(protocol.connect())
        writer.writelines(protocol.data_to_send())
        while not until(self):
            data = await reader.read(4096)
            if not data:
                break
            protocol.receive_data(data)
            self.frames += [e for e in protocol.events_received() if isinstance(e, Frame)]
            answers = protocol.data_to_send()
            if self._answers:
                writer.writelines(answers)
        writer.transport.abort()

    def count(self, opcode: Opcode) -> int:
        return sum(frame.opcode is opcode for frame in self.frames)


FAST_PINGS = {"ping_interval_sec": 0.02, "pong_timeout_sec": 0.05, "messages_per_sec": 1000}


async def test_a_missing_pong_ends_the_connection(run: Run, client_tls: ssl.SSLContext) -> None:
    async with run(limits=FAST_PINGS) as exchange:
        client = SansIoClient(exchange, client_tls, answers=False)
        await client.run(until=lambda each: each.count(Opcode.CLOSE) > 0)
    assert client.count(Opcode.PING) >= 1
    assert client.frames[-1].data == (1008).to_bytes(2) + b"Pong timeout"


async def test_answered_pings_keep_the_connection(run: Run, client_tls: ssl.SSLContext) -> None:
    limits = FAST_PINGS | {"pong_timeout_sec": 5.0}
    async with run(limits=limits) as exchange:
        client = SansIoClient(exchange, client_tls, answers=True)
        await client.run(until=lambda each: each.count(Opcode.PING) >= 5)
    payloads = [frame.data for frame in client.frames if frame.opcode is Opcode.PING]
    assert all(len(payload) == 13 for payload in payloads)
    assert client.count(Opcode.CLOSE) == 0


async def test_an_unsolicited_pong_does_not_replace_the_answer(run: Run) -> None:
    limits = {"ping_interval_sec": 0.02, "pong_timeout_sec": 0.2, "messages_per_sec": 1000}
    sites = {"tokyo": {"latency": {"distribution": "constant", "ms": 150}}}
    async with run(limits=limits, sites=sites) as exchange, exchange.connect("/ws") as client:
        await client.pong("not asked for")
        await drain_closed(client)
        assert client.close_reason == "Pong timeout"


async def test_the_connection_is_cut_at_the_end_of_its_connectivity(run: Run) -> None:
    async with run(limits={"lifetime_sec": 0.1}) as exchange, exchange.connect("/ws") as client:
        await client.wait_closed()
        assert client.close_code == 1001
        assert (await exchange.stats())["disconnects"] == {"lifetime": 1}


@pytest.mark.parametrize(
    ("target", "stream"), [("/ws", None), ("/stream", "!serverShutdown")], ids=["raw", "combined"]
)
async def test_server_shutdown_is_announced_on_request(
    run: Run, target: str, stream: str | None
) -> None:
    async with run() as exchange, exchange.connect(f"{target}?timeUnit=MICROSECOND") as client:
        assert await exchange.control("shutdown_event", site="tokyo") == {"connections": 1}
        (message,) = await documents(client, 1)
    event = message["data"] if stream else message
    assert message.get("stream") == stream
    assert event["e"] == "serverShutdown"
    assert len(str(event["E"])) == 16


async def test_after_the_announcement_the_connection_is_closed_if_asked(run: Run) -> None:
    async with run() as exchange, exchange.connect("/ws") as client:
        await exchange.control("shutdown_event", disconnect_after_sec=0.0)
        assert [message["e"] for message in await drain(client)] == ["serverShutdown"]
        assert client.close_code == 1001


async def test_a_disconnect_without_code_is_a_lost_connection(run: Run) -> None:
    async with run() as exchange, exchange.connect("/ws") as client:
        await exchange.control("disconnect")
        with pytest.raises(ConnectionClosedError):
            await client.recv()
        assert client.close_code == 1006


async def test_a_disconnect_concerns_only_its_site(run: Run) -> None:
    async with (
        run(sites={"tokyo": {}, "london": {}}) as exchange,
        exchange.connect("/ws", "tokyo") as tokyo,
        exchange.connect("/ws/btcusdt@trade", "london") as london,
    ):
        assert await exchange.control("disconnect", site="tokyo", code=1000) == {"connections": 1}
        await tokyo.wait_closed()
        assert await documents(london, 5)


async def test_a_held_stall_delivers_everything_late(run: Run) -> None:
    async with run() as exchange, exchange.connect("/ws/btcusdt@trade") as client:
        await documents(client, 5)
        await exchange.control("stall")
        await exchange.control("flush")
        silent_from = exchange.ground_truth()["last_id"].max()
        await asyncio.sleep(0.2)
        await exchange.control("flush")
        assert exchange.ground_truth()["last_id"].max() == silent_from
        await exchange.control("resume")
        numbers = [trade["t"] for trade in await documents(client, 40)]
    assert numbers == list(range(numbers[0], numbers[0] + 40))


async def test_a_dropping_stall_loses_messages_but_answers_pings(run: Run) -> None:
    async with run() as exchange, exchange.connect("/ws/btcusdt@trade") as client:
        await exchange.control("stall", mode="drop")
        await (await client.ping())
        while (await exchange.stats())["messages"]["dropped"] < 20:
            await asyncio.sleep(0.02)
        await exchange.control("resume")
        await exchange.control("disconnect", code=1001)
        await drain(client)
        await exchange.control("flush")
        ground_truth = exchange.ground_truth()
    assert (ground_truth["outcome"] == "dropped").sum() >= 20


async def test_a_stalled_site_accepts_fresh_connections(run: Run) -> None:
    async with run() as exchange, exchange.connect("/ws/btcusdt@trade"):
        await exchange.control("stall")
        async with exchange.connect("/ws/btcusdt@trade") as fresh:
            assert await documents(fresh, 3)
        await exchange.control("resume")


async def test_a_refusing_site_rejects_connections_until_resumed(run: Run) -> None:
    async with run() as exchange:
        await exchange.control("refuse")
        with pytest.raises(InvalidStatus, match="503"):
            await exchange.connect("/ws")
        await exchange.control("resume")
        async with exchange.connect("/ws/btcusdt@trade") as client:
            assert await documents(client, 1)


async def test_messages_on_their_way_when_the_connection_is_lost_are_unsent(run: Run) -> None:
    sites = {"tokyo": {"latency": {"distribution": "constant", "ms": 300}}}
    async with run(sites=sites) as exchange, exchange.connect("/ws/btcusdt@trade") as client:
        await documents(client, 1)
        await exchange.control("disconnect")
        await client.wait_closed()
        await exchange.control("flush")
        ground_truth = exchange.ground_truth()
    unsent = ground_truth[ground_truth["outcome"] == "unsent"]
    assert len(unsent) > 0
    assert (unsent["send_ns"] == 0).all()


async def test_two_connections_of_a_site_have_numbers_of_their_own(run: Run) -> None:
    async with (
        run() as exchange,
        exchange.connect("/ws/btcusdt@trade") as one,
        exchange.connect("/ws/btcusdt@trade") as two,
    ):
        await documents(one, 5)
        await documents(two, 5)
        await exchange.control("flush")
        assert set(exchange.ground_truth()["connection"]) == {1, 2}
