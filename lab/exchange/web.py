"""The HTTP side: the REST time endpoint, and the control interface for faults on demand."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from latency_sweep.lab.exchange.config import MarketName  # noqa: TC001 - pydantic reads it
from latency_sweep.lab.exchange.delivery import StallMode
from latency_sweep.lab.exchange.exchange import UnknownSiteError
from latency_sweep.lab.exchange.markets.events import TimeUnit
from latency_sweep.lab.exchange.markets.table import RULES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from latency_sweep.lab.exchange.exchange import Exchange

TIME_UNIT_HEADER: Final = "X-MBX-TIME-UNIT"
TIME_PATH: Final = "/time"


class Command(BaseModel):
    """What every control request may contain."""

    model_config = ConfigDict(extra="forbid", strict=True)

    site: str | None = None
    market: MarketName | None = None


class Disconnect(Command):
    """End connections: with a close frame of this code, or without any if it is None."""

    code: Annotated[int, Field(ge=1000, le=4999)] | None = None
    reason: Annotated[str, Field(max_length=100)] = ""


class ShutdownEvent(Command):
    """Send `serverShutdown`; then close after this time, unless it is None."""

    disconnect_after_sec: Annotated[float, Field(ge=0)] | None = None


class StallCommand(Command):
    """Stall: keep everything for later, or lose the market's messages."""

    mode: Literal["hold", "drop"] = "hold"


class Send(Command):
    """Send one text message to every connection, whatever it says."""

    text: str


def rest_app(clock_offset_ns: int) -> web.Application:
    """`time` and `ping` of every market's REST interface, such as `GET /api/v3/time`."""

    async def ping(_request: web.Request) -> web.Response:
        return web.json_response({})

    app = web.Application()
    for prefix, units in {rules.rest: rules.rest_units for rules in RULES.values()}.items():
        app.add_routes(
            [
                web.get(prefix + TIME_PATH, _server_time(units, clock_offset_ns)),
                web.get(f"{prefix}/ping", ping),
            ]
        )
    return app


def _server_time(
    units: tuple[TimeUnit, ...], clock_offset_ns: int
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        unit = TimeUnit.__members__.get(request.headers.get(TIME_UNIT_HEADER, "").upper())
        divisor = (unit if unit in units else units[0]).value
        return web.json_response({"serverTime": (time.time_ns() + clock_offset_ns) // divisor})

    return handle


def control_app(exchange: Exchange) -> web.Application:
    """`GET /control/stats`, and `POST /control/<action>` for each action of the exchange.

    An action takes a JSON body; `{"site": NAME, "market": NAME}` limits it. It answers
    `{"connections": N}`, the number concerned, or 400 and `{"error": SENTENCE}`.
    """

    async def stats(_request: web.Request) -> web.Response:
        return web.json_response(exchange.stats())

    app = web.Application()
    app.add_routes(
        [
            web.get("/control/stats", stats),
            _action("flush", Command, lambda c: exchange.flush(c.site)),
            _action(
                "disconnect",
                Disconnect,
                lambda c: exchange.disconnect(c.site, c.code, c.reason, market=c.market),
            ),
            _action(
                "shutdown_event",
                ShutdownEvent,
                lambda c: exchange.announce_shutdown(
                    c.site, c.disconnect_after_sec, market=c.market
                ),
            ),
            _action(
                "stall",
                StallCommand,
                lambda c: exchange.stall(c.site, StallMode(c.mode), market=c.market),
            ),
            _action("refuse", Command, lambda c: exchange.refuse(c.site, market=c.market)),
            _action("resume", Command, lambda c: exchange.resume(c.site, market=c.market)),
            _action("send", Send, lambda c: exchange.send_text(c.site, c.text, market=c.market)),
        ]
    )
    return app


C = TypeVar("C", bound=Command)


def _action(name: str, model: type[C], act: Callable[[C], int]) -> web.RouteDef:
    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        try:
            connections = act(model.model_validate_json(body or b"{}"))
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            key = ".".join(str(part) for part in fault["loc"]) or "body"
            return web.json_response({"error": f"{key}: {fault['msg']}"}, status=400)
        except UnknownSiteError as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"connections": connections})

    return web.post(f"/control/{name}", handle)
