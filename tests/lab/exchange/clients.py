"""Clients of a running exchange, shared by its tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from latency_sweep.lab.exchange.ground_truth.reader import read_ground_truth

if TYPE_CHECKING:
    import ssl

    import aiohttp
    import pandas as pd
    from websockets.asyncio.client import ClientConnection

    from latency_sweep.lab.exchange.config import ExchangeConfig


class Running:
    """An exchange in this event loop."""

    def __init__(
        self,
        addresses: dict[str, Any],
        config: ExchangeConfig,
        tls: ssl.SSLContext,
        http: aiohttp.ClientSession,
    ) -> None:
        self.addresses = addresses
        self.config = config
        self.tls = tls
        self.http = http

    def url(self, market: str = "spot", site: str = "tokyo") -> str:
        url: str = self.addresses["sites"][site]["urls"][market]
        return url

    def connect(
        self, target: str, site: str = "tokyo", market: str = "spot", **options: Any
    ) -> connect:
        # An unbounded queue: a client that has paused reading cannot see the closing handshake.
        defaults = {"ping_interval": None, "compression": None, "proxy": None, "max_queue": None}
        options = defaults | options
        return connect(self.url(market, site) + target, ssl=self.tls, **options)

    async def control(self, action: str, **parameters: Any) -> Any:
        url = f"{self.addresses['control']}/control/{action}"
        async with self.http.post(url, json=parameters) as response:
            return await response.json()

    async def everything(self) -> Any:
        async with self.http.get(f"{self.addresses['control']}/control/stats") as response:
            return await response.json()

    async def stats(self, site: str = "tokyo") -> Any:
        return (await self.everything())["sites"][site]

    def ground_truth(self, site: str = "tokyo") -> pd.DataFrame:
        assert self.config.ground_truth_dir is not None
        return read_ground_truth(self.config.ground_truth_dir / f"{site}.truth")


async def documents(connection: ClientConnection, count: int) -> list[Any]:
    """The next messages, decoded."""
    return [json.loads(await connection.recv()) for _ in range(count)]


async def ask(connection: ClientConnection, request: object) -> Any:
    """Send a request, a text as it is, and return the first message that is no market data."""
    await connection.send(request if isinstance(request, str) else json.dumps(request))
    while True:
        answer = json.loads(await connection.recv())
        if not {"e", "stream", "u"} & answer.keys():
            return answer


async def drain(connection: ClientConnection) -> list[Any]:
    """Every message until the connection is closed."""
    return [json.loads(text) async for text in connection]


async def drain_closed(client: ClientConnection) -> list[Any]:
    """Every message until the connection is closed, however it is closed."""
    messages: list[Any] = []
    try:
        while True:
            messages.append(json.loads(await client.recv()))
    except ConnectionClosed:
        return messages
