"""Which of the exchange's addresses a connection uses, and that this is told."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.server import ServerConnection, serve

from latency_sweep.probe import app
from latency_sweep.probe.app import Probe
from latency_sweep.probe.connection.session import Session
from latency_sweep.probe.feeds.binance_spot import BinanceSpot
from latency_sweep.probe.measurement.recorder import Recorder
from latency_sweep.probe.net import transport
from latency_sweep.probe.options import settings_of
from latency_sweep.probe.serving.state_collector import StateCollector
from latency_sweep.probe.settings import SettingsError
from latency_sweep.runtime.logs import TextFormatter
from tests.probe.scripted_exchange import Exchange, end_by_reset, running, serving
from tests.probe.timelines import ONE_RUN

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from latency_sweep.probe.measurement.instruments import Instruments
    from latency_sweep.probe.net.racing import AddressInfo
    from latency_sweep.probe.settings import Settings

# Two front ends of one exchange; Linux answers on all of 127.0.0.0/8.
FRONT_ENDS = ["127.0.0.1", "127.0.0.2"]


def resolve(*flags: str) -> Settings:
    return settings_of(flags, {})


async def test_each_connection_uses_its_address_and_says_so(
    instruments: Instruments, registry: CollectorRegistry
) -> None:
    reached: list[str] = []
    everywhere = asyncio.Event()

    async def handle(connection: ServerConnection) -> None:
        reached.append(connection.local_address[0])
        if len(reached) == len(FRONT_ENDS):
            everywhere.set()
        await connection.wait_closed()

    async with serve(handle, FRONT_ENDS[0], 0, compression=None) as one:
        port = next(iter(one.sockets)).getsockname()[1]
        async with serve(handle, FRONT_ENDS[1], port, compression=None):
            # The name resolves to nothing: only the addresses can have led there.
            feed = BinanceSpot(f"ws://exchange.invalid:{port}", ["BTCUSDT"], ["trade"])
            recorder = Recorder("spot", feed.channels, instruments, lines=len(FRONT_ENDS))
            session = Session(
                [feed],
                ONE_RUN,
                recorder,
                instruments,
                tls=ssl.create_default_context(),
                addresses=FRONT_ENDS,
            )
            registry.register(StateCollector("spot", recorder, session))
            task = asyncio.create_task(session.run())
            try:
                await everywhere.wait()
                while len(session.connectivity.remote_addresses) < len(FRONT_ENDS):
                    await asyncio.sleep(0)
                shown = {
                    name: registry.get_sample_value(
                        "feed_connection_info",
                        {"market": "spot", "connection": name, "remote_address": address},
                    )
                    for name, address in zip("01", FRONT_ENDS, strict=True)
                }
            finally:
                session.stop()
                await task
    assert sorted(reached) == FRONT_ENDS
    assert shown == {"0": 1.0, "1": 1.0}


async def test_all_addresses_of_the_name_get_a_connection_each() -> None:
    chosen = resolve("--endpoint", "ws://localhost:1", "--all-addresses")
    known = {str(info[4][0]) for info in socket.getaddrinfo("localhost", 1)}
    found = await Probe(chosen)._addresses()
    assert set(found) == known
    assert len(found) == len(known)


async def test_a_name_without_addresses_is_an_error_that_names_it() -> None:
    chosen = resolve("--endpoint", "ws://exchange.invalid", "--all-addresses")
    with pytest.raises(SettingsError, match=r"exchange\.invalid cannot be resolved"):
        await Probe(chosen)._addresses()


async def test_a_pinned_address_is_used_by_every_connection() -> None:
    chosen = resolve("--pin-address", "127.0.0.2", "--connections", "3")
    assert await Probe(chosen)._addresses() == ["127.0.0.2"] * 3


async def test_connections_of_all_routes_together_stay_within_the_limit_of_attempts() -> None:
    two_routes = ("--market", "usdm", "--streams", "trade,aggTrade", "--connections")
    await Probe(resolve(*two_routes, "2"))._addresses()
    with pytest.raises(SettingsError, match=r"--connections 3 on each of 2 routes.*at most 2"):
        Probe(resolve(*two_routes, "3"))


async def test_more_addresses_than_the_limit_of_attempts_is_good_for_are_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def six(_host: str, _port: int) -> list[tuple[None, None, None, None, tuple[str, int]]]:
        return [(None, None, None, None, (f"192.0.2.{n}", 1)) for n in range(6)]

    monkeypatch.setattr(app, "resolve", six)
    caplog.handler.setFormatter(TextFormatter())
    found = await Probe(resolve("--endpoint", "ws://x.test", "--all-addresses"))._addresses()
    assert len(found) == 6
    assert "connections=6" in caplog.text


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--pin-address", "stream.binance.com"), "--pin-address"),
        (("--all-addresses", "--pin-address", "127.0.0.1"), "leave out"),
        (("--all-addresses", "--connections", "2"), "leave out"),
    ],
)
def test_addresses_that_contradict_one_another_are_refused(
    flags: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        resolve(*flags)


@pytest.mark.parametrize("seconds", ["0.1", "3601", "nan"])
def test_an_interval_of_asking_for_the_time_that_cannot_be_is_refused(seconds: str) -> None:
    with pytest.raises(SettingsError, match="--time-interval-sec"):
        resolve("--time-interval-sec", seconds)


async def test_after_a_connection_that_did_not_last_the_next_address_is_first(
    instruments: Instruments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first front end accepts connections and cuts them."""

    async def resolve_both(_: str, port: int) -> list[AddressInfo]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 0, "")
        return [(*kind, (address, port)) for address in FRONT_ENDS]

    monkeypatch.setattr(transport, "resolve", resolve_both)
    exchange = Exchange()
    with socket.create_server(("0.0.0.0", 0)) as everywhere:
        async with serving(exchange, everywhere), running(exchange, instruments):
            first = await exchange.connection(0)
            await end_by_reset(first)
            second = await exchange.connection(1)
            await end_by_reset(second)
            third = await exchange.connection(2)
    used = [connection.local_address[0] for connection in (first, second, third)]
    assert used == [FRONT_ENDS[0], FRONT_ENDS[1], FRONT_ENDS[0]]
