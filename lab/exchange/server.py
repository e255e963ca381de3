"""The running exchange: listeners, readiness, signals."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import selectors
import signal
import ssl
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web

from latency_sweep.lab.exchange.exchange import Exchange
from latency_sweep.lab.exchange.markets.table import RULES
from latency_sweep.lab.exchange.web import TIME_PATH, control_app, rest_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from latency_sweep.lab.exchange.config import ExchangeConfig, Tls


class ServerError(Exception):
    """The exchange cannot be started; the message says why."""


def new_loop() -> asyncio.AbstractEventLoop:
    """An event loop with timers in microseconds and writes that happen at once.

    epoll rounds timeouts up to whole milliseconds and uvloop puts writes off to the end of an
    iteration: the first would add to every latency, the second would falsify the send timestamps.
    """
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def serve(config: ExchangeConfig) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        ServerError: a certificate, port or file cannot be used.
        ReplayError: the recording cannot be used.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(config) as addresses:
        text = json.dumps(addresses)
        if config.ready_file is not None:
            _write_atomically(config.ready_file, text)
        print(text, flush=True)
        # These objects live to the end; keep the collector from scanning them again and again.
        gc.collect()
        gc.freeze()
        await stop.wait()


@contextlib.asynccontextmanager
async def running(config: ExchangeConfig) -> AsyncIterator[dict[str, Any]]:
    """Start everything, yield the announcement of the addresses, stop everything.

    The announcement: `sites` (name → `urls`, one per market; `url`, that of the first market;
    `ground_truth`, the path of its file or null), `rest`, `time` (one per market), `control`.

    Raises:
        ServerError: a certificate, port or file cannot be used.
        ReplayError: the recording cannot be used.
    """
    async with contextlib.AsyncExitStack() as stack:
        try:
            tls = _tls_context(config.tls)
            exchange = Exchange(config)
            stack.push_async_callback(exchange.close)
            loop = asyncio.get_running_loop()
            sites = {}
            for name, site in config.sites.items():
                urls = {}
                for market in config.markets:
                    server = await loop.create_server(
                        partial(exchange.session, name, market),
                        config.host,
                        site.port_of(market),
                        ssl=tls,
                    )
                    stack.callback(server.close)
                    port = server.sockets[0].getsockname()[1]
                    urls[market] = _url("wss" if tls else "ws", config.host, port)
                sites[name] = {
                    "url": next(iter(urls.values())),
                    "urls": urls,
                    "ground_truth": _text(exchange.ground_truth_path(name)),
                }
            rest = await _listen(
                stack, rest_app(config.clock_offset_ns), config.host, config.rest_port, tls
            )
            control = await _listen(
                stack, control_app(exchange), config.host, config.control_port, None
            )
        except OSError as error:
            raise ServerError(f"the exchange cannot start: {error}.") from error
        exchange.open()
        rest_url = _url("https" if tls else "http", config.host, rest)
        yield {
            "sites": sites,
            "rest": rest_url,
            "time": {name: rest_url + RULES[name].rest + TIME_PATH for name in config.markets},
            "control": _url("http", config.host, control),
        }


async def _listen(
    stack: contextlib.AsyncExitStack,
    app: web.Application,
    host: str,
    port: int,
    tls: ssl.SSLContext | None,
) -> int:
    """Serve an application and return its port."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, host, port, ssl_context=tls).start()
    bound: int = runner.addresses[0][1]
    return bound


def _tls_context(tls: Tls | None) -> ssl.SSLContext | None:
    if tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(tls.cert, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise ServerError(
            f"tls: {tls.cert} and {tls.key} cannot be used: {error.strerror or error}."
        ) from error
    return context


def _url(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _write_atomically(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.new")
    try:
        draft.write_text(f"{text}\n", encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise ServerError(f"ready_file {path} cannot be written: {error.strerror}.") from error
