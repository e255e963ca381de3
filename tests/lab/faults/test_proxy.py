"""The proxy passes everything on, and does what a fault asks for to each connection."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from websockets.frames import Frame, Opcode

from latency_sweep.lab.faults import at_connect, ids, in_flight
from latency_sweep.lab.faults import frames as f
from latency_sweep.lab.faults.certificates import Identities, Identity, make_identities
from latency_sweep.lab.faults.proxy import HOST, FaultProxy, Link

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from latency_sweep.lab.faults.fault import Fault


class Exchange:
    """A server that sends what a test tells it to."""

    def __init__(self) -> None:
        self.port = 0
        self.connection: ServerConnection | None = None
        self.received: asyncio.Queue[str | bytes] = asyncio.Queue()

    async def handle(self, connection: ServerConnection) -> None:
        self.connection = connection
        async for message in connection:
            self.received.put_nowait(message)

    async def send(self, *messages: str) -> None:
        assert self.connection is not None
        for message in messages:
            await self.connection.send(message)


class Door(at_connect.AtConnect):
    """Lets connections wait until it is opened."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def admit(self, sock: socket.socket) -> bool:
        self.reached.set()
        return await self.open.wait()


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> Identities:
    return make_identities(tmp_path_factory.mktemp("identities"), ["here.test"])


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    exchange = Exchange()
    async with serve(exchange.handle, HOST, 0, compression=None) as server:
        exchange.port = next(iter(server.sockets)).getsockname()[1]
        yield exchange


@pytest.fixture
async def proxy(exchange: Exchange, identities: Identities) -> AsyncIterator[FaultProxy]:
    async with FaultProxy((HOST, exchange.port), identities.contexts) as proxy:
        yield proxy


@pytest.fixture
async def client(proxy: FaultProxy, identities: Identities) -> AsyncIterator[ClientConnection]:
    async with opened(proxy, identities) as client:
        yield client


def opened(proxy: FaultProxy, identities: Identities) -> connect:
    tls = ssl.create_default_context(cafile=identities.ca)
    return connect(
        f"wss://{HOST}:{proxy.port}/", ssl=tls, compression=None, ping_interval=None, proxy=None
    )


async def hear_out(client: ClientConnection) -> None:
    async for message in client:
        assert message == "last"


async def test_messages_pass_in_both_directions(
    client: ClientConnection, exchange: Exchange
) -> None:
    await client.send("up")
    assert await exchange.received.get() == "up"
    await exchange.send("down", "and down")
    assert [await client.recv(), await client.recv()] == ["down", "and down"]


async def test_a_connection_that_comes_at_the_very_end_is_closed(
    exchange: Exchange, identities: Identities
) -> None:
    async with FaultProxy((HOST, exchange.port), identities.contexts) as proxy:
        client = socket.create_connection((HOST, proxy.port))
        # To the client it may be connected a moment before it can be accepted.
        assert proxy._listener is not None
        select.select([proxy._listener], [], [])
        proxy._accept()
        assert proxy.accepted == 1
    with client:
        client.settimeout(10)
        assert client.recv(1) == b""


async def test_a_stall_keeps_everything_for_later_in_order(
    client: ClientConnection, exchange: Exchange, proxy: FaultProxy
) -> None:
    fault = in_flight.Stall()
    proxy.inject(fault)
    await exchange.send("1", "2")
    link = next(iter(proxy.links))
    while link.frames < 2:
        await asyncio.sleep(0)
    proxy.lift(fault)
    await exchange.send("3")
    assert [await client.recv() for _ in range(3)] == ["1", "2", "3"]


async def test_a_backlog_comes_after_the_client_s_close_though_it_travels_behind_a_pong(
    client: ClientConnection, exchange: Exchange, proxy: FaultProxy
) -> None:
    fault = in_flight.Backlog(0.01)
    proxy.inject(fault)
    await exchange.send("1", "2")
    await (await client.ping())
    assert fault.withholds
    pong = Frame(Opcode.PONG, b"unasked").serialize(mask=True)
    close = Frame(Opcode.CLOSE, (1000).to_bytes(2, "big")).serialize(mask=True)
    client.transport.write(pong + close)
    assert [await client.recv(), await client.recv(), fault.withholds] == ["1", "2", False]
    with pytest.raises(ConnectionClosedOK):
        await client.recv()


@pytest.mark.parametrize(
    "fault",
    [
        in_flight.SingleBytes(),
        in_flight.Fragments(3),
        in_flight.Delay(0.01),
        in_flight.Throttle(10_000.0),
        in_flight.Join(3),
    ],
    ids=lambda fault: type(fault).__name__,
)
async def test_how_messages_travel_does_not_change_them(
    fault: Fault, client: ClientConnection, exchange: Exchange, proxy: FaultProxy
) -> None:
    proxy.inject(fault)
    await exchange.send("one", "two", "three")
    assert [await client.recv() for _ in range(3)] == ["one", "two", "three"]
    proxy.lift(fault)


async def test_every_nth_message_is_dropped(
    client: ClientConnection, exchange: Exchange, proxy: FaultProxy
) -> None:
    proxy.inject(in_flight.EveryNth(2, lambda _: b""))
    await exchange.send("1", "2", "3", "4", "5")
    assert [await client.recv() for _ in range(3)] == ["1", "3", "5"]


async def test_a_message_held_back_comes_behind_its_successor_of_the_same_stream(
    client: ClientConnection, exchange: Exchange, proxy: FaultProxy
) -> None:
    proxy.inject(in_flight.Reorder(2))
    messages = ['{"stream":"a","n":1}', '{"stream":"b","n":2}', '{"stream":"a","n":3}']
    await exchange.send(*messages, '{"stream":"b","n":4}')
    received = [str(await client.recv()) for _ in range(4)]
    assert [message[-2] for message in received] == ["1", "3", "4", "2"]


async def test_event_times_are_shifted_and_nothing_else() -> None:
    frame = f.text(b'{"data":{"E":1700000000000000,"t":5,"T":1700000000000000}}')
    later = f.payload(in_flight.shift_event_time(frame, 1.5))
    assert later == b'{"data":{"E":1700000001500000,"t":5,"T":1700000000000000}}'


async def test_ids_are_shifted_and_nothing_else() -> None:
    frame = f.text(b'{"data":{"E":17,"t":5,"U":7,"u":9,"pu":6,"a":[["1","2"]]}}')
    higher = f.payload(ids.shift_ids(frame, 1000))
    assert higher == b'{"data":{"E":17,"t":1005,"U":1007,"u":1009,"pu":1006,"a":[["1","2"]]}}'


async def test_a_close_frame_has_the_code_of_the_fault(
    client: ClientConnection, proxy: FaultProxy
) -> None:
    proxy.inject(in_flight.Close(4321))
    with pytest.raises(ConnectionClosedError) as closed:
        await client.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4321


@pytest.mark.parametrize(
    "fault",
    [in_flight.Reset(), at_connect.Refuse(), at_connect.ResetOnAccept()],
    ids=lambda fault: type(fault).__name__,
)
async def test_a_reset_ends_the_connection_without_a_close_frame(
    fault: Fault, client: ClientConnection, proxy: FaultProxy
) -> None:
    proxy.inject(fault)
    with pytest.raises(ConnectionClosedError) as closed:
        await client.recv()
    assert closed.value.rcvd is None


@pytest.mark.parametrize(
    "end", [Link.reset, Link.cut, Link.half_close], ids=lambda end: str(end.__name__)
)
async def test_an_end_with_data_comes_with_the_data(
    end: Callable[[Link], None],
    client: ClientConnection,
    exchange: Exchange,
    proxy: FaultProxy,
    identities: Identities,
) -> None:
    fault = in_flight.EndWithData(end)
    proxy.inject(fault)
    await exchange.send("last")
    with pytest.raises(ConnectionClosedError) as closed:
        await hear_out(client)
    assert closed.value.rcvd is None
    proxy.lift(fault)
    async with opened(proxy, identities) as other:
        await exchange.send("well again")
        assert await other.recv() == "well again"


async def test_a_flood_comes_before_the_next_message(
    client: ClientConnection, exchange: Exchange, proxy: FaultProxy
) -> None:
    proxy.inject(in_flight.Flood(f.text(b"nothing") * 10))
    await exchange.send("next")
    assert [await client.recv() for _ in range(11)] == ["nothing"] * 10 + ["next"]


async def test_the_end_of_the_exchange_is_passed_on(
    client: ClientConnection, exchange: Exchange
) -> None:
    assert exchange.connection is not None
    await exchange.send("last")
    await exchange.connection.close(1001)
    assert await client.recv() == "last"
    with pytest.raises(ConnectionClosedOK):
        await client.recv()


async def test_who_refuses_listens_at_the_same_port_again(
    proxy: FaultProxy, exchange: Exchange, identities: Identities
) -> None:
    fault = at_connect.Refuse()
    proxy.inject(fault)
    with pytest.raises(ConnectionRefusedError):
        await opened(proxy, identities)
    proxy.lift(fault)
    async with opened(proxy, identities):
        pass


async def test_who_refuses_keeps_the_port_from_others(proxy: FaultProxy) -> None:
    proxy.inject(at_connect.Refuse())
    with socket.socket() as other, pytest.raises(OSError, match="Address already in use"):
        other.bind((HOST, proxy.port))


async def test_who_had_to_wait_for_a_fault_that_is_over_by_then_is_well(
    proxy: FaultProxy, exchange: Exchange, identities: Identities
) -> None:
    fault = Door()
    proxy.inject(fault)
    opening = asyncio.ensure_future(opened(proxy, identities))
    await fault.reached.wait()
    proxy.lift(fault)
    fault.open.set()
    async with await opening as client:
        await exchange.send("down")
        assert await client.recv() == "down"
        (link,) = proxy.links
        assert link.well_since is not None


@pytest.mark.parametrize("identity", [Identity.EXPIRED, Identity.WRONG_NAME])
async def test_a_bad_certificate_is_not_trusted(
    identity: Identity, proxy: FaultProxy, identities: Identities
) -> None:
    proxy.inject(at_connect.BadCertificate(identity))
    with pytest.raises(ssl.SSLCertVerificationError):
        await opened(proxy, identities)


async def test_an_upgrade_is_refused_with_the_time_to_stay_away(
    proxy: FaultProxy, identities: Identities
) -> None:
    proxy.inject(at_connect.RejectUpgrade(429, 7))
    with pytest.raises(InvalidStatus) as refused:
        await opened(proxy, identities)
    assert refused.value.response.status_code == 429
    assert refused.value.response.headers["Retry-After"] == "7"


async def test_a_wrong_route_answers_pings_and_sends_no_message_even_afterwards(
    proxy: FaultProxy, exchange: Exchange, identities: Identities
) -> None:
    fault = at_connect.WrongRoute()
    proxy.inject(fault)
    async with opened(proxy, identities) as client:
        proxy.lift(fault)
        await exchange.send("unheard")
        await (await client.ping())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.recv(), 0.05)


async def test_who_has_vanished_does_not_even_answer_pings(
    client: ClientConnection, proxy: FaultProxy
) -> None:
    proxy.inject(in_flight.HalfOpen())
    pong = await client.ping()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pong, 0.05)
    client.transport.abort()
