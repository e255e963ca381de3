"""The running probe: wires feeds, connections, clocks, measurement and server together."""

from __future__ import annotations

import asyncio
import gc
import json
import platform
import signal
import ssl
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from latency_sweep.contract.metrics import ErrorKind
from latency_sweep.contract.program import DISTRIBUTION
from latency_sweep.contract.timeline import Timeline
from latency_sweep.probe import tuning
from latency_sweep.probe.connection.session import Session
from latency_sweep.probe.feeds import binance_usdm
from latency_sweep.probe.feeds.base import FeedConfigError
from latency_sweep.probe.feeds.binance_coinm import BinanceCoinM
from latency_sweep.probe.feeds.binance_sbe import BinanceSbe
from latency_sweep.probe.feeds.binance_spot import BinanceSpot
from latency_sweep.probe.http.listener import is_loopback
from latency_sweep.probe.measurement import own_delays
from latency_sweep.probe.measurement.exchange_clock import ExchangeClockMonitor
from latency_sweep.probe.measurement.instruments import Instruments
from latency_sweep.probe.measurement.local_clock import LocalClockMonitor
from latency_sweep.probe.measurement.recorder import Recorder
from latency_sweep.probe.net import timestamps_check
from latency_sweep.probe.net.loop import Loop
from latency_sweep.probe.net.receiving import TimestampsError
from latency_sweep.probe.net.timestamped_socket import keep_timestamping_on
from latency_sweep.probe.net.transport import resolve
from latency_sweep.probe.recording import FrameWriter
from latency_sweep.probe.reload import Reloader
from latency_sweep.probe.serving.server import ProbeServer
from latency_sweep.probe.serving.state_collector import StateCollector
from latency_sweep.probe.settings import MAX_CONNECTIONS, SettingsError
from latency_sweep.probe.stop import Stop
from latency_sweep.probe.summary.collect import ProbeParts
from latency_sweep.runtime import logs, standard_output

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence

    from latency_sweep.contract.experiment import MarketData
    from latency_sweep.probe.feeds.base import Feed
    from latency_sweep.probe.settings import Settings

_Result = TypeVar("_Result")
_LOG: Final = logs.logger(__name__)
_HTTPS_PORT: Final = 443
# A scrape is encoded in a thread; switching threads this often keeps the reader prompt.
SWITCH_INTERVAL_SEC: Final = 2e-5


def run(settings: Settings) -> None:
    """Run a probe until SIGTERM or SIGINT.

    Raises:
        SettingsError: the settings cannot work together.
        WebConfigError: the metrics port's files cannot be used.
        server.ListenError: the metrics port cannot be listened on.
    """
    run_with(settings, lambda probe: probe.serve())


def run_with(
    settings: Settings, work: Callable[[Probe], Coroutine[None, None, _Result]]
) -> _Result:
    """Make a probe in an event loop of its own, with its tuning applied, and let it work.

    Args:
        settings: of the probe.
        work: what it does.

    Raises:
        SettingsError: the settings cannot work together.
        WebConfigError: the metrics port's files cannot be used.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_SEC)
    host = urlsplit(settings.experiment.market_data.endpoint).hostname
    try:
        settings = replace(settings, receiving=timestamps_check.choose(settings.receiving))
        timestamps_check.check(settings.receiving, host or "")
        with (
            tuning.applied(settings.tuning),
            keep_timestamping_on(),
            asyncio.Runner(loop_factory=Loop) as runner,
        ):
            return runner.run(work(Probe(settings)))
    except (tuning.TuningError, TimestampsError) as error:
        raise SettingsError(str(error)) from error


class Probe:
    """One probe from settings to a served registry."""

    def __init__(self, settings: Settings) -> None:
        data = settings.experiment.market_data
        self._settings = settings
        self._version = version(DISTRIBUTION)
        self._registry = CollectorRegistry()
        self._feeds = make_feeds(data, settings.api_key)
        _check_connections(settings.connections, len(self._feeds))
        self._tls = _tls_context(settings)
        self._instruments = Instruments(self._registry, settings.experiment.histogram, data.market)
        self._reloader = Reloader(settings, self._feeds, self._instruments)
        self._writer: FrameWriter | None = None
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    async def serve(self) -> None:
        """Measure and serve until stopped by a signal."""
        parts = await self.assemble(Timeline.of(self._settings.experiment.timing))
        recorder, session = parts.recorder, parts.session
        server = ProbeServer(
            self._settings,
            self._registry,
            parts,
            version=self._version,
            policy=self._reloader.policy,
            rejected=lambda reason: self._instruments.rejected_requests.labels(reason.value).inc(),
        )
        port = await server.start()
        stop = Stop(session.stop)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reloader.reload)
        self._report_listening(port)
        try:
            async with self.watching(recorder):
                await stop.run(session.run(), server.offer_final_values)
        finally:
            await server.stop()

    async def assemble(self, timeline: Timeline) -> ProbeParts:
        """Everything that measures, ready to run.

        Args:
            timeline: when runs begin and end.

        Raises:
            SettingsError: the endpoint's addresses are needed and cannot be found.
        """
        market = self._settings.experiment.market_data.market
        asyncio.get_running_loop().set_default_executor(
            tuning.background_executor(self._settings.tuning)
        )
        addresses = await self._addresses()
        channels = [channel for feed in self._feeds for channel in feed.channels]
        recorder = Recorder(market, channels, self._instruments, lines=len(addresses))
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: _count_uncaught(recorder, context)
        )
        self._writer = self._opened_writer(recorder)
        session = Session(
            self._feeds,
            timeline,
            recorder,
            self._instruments,
            tls=self._tls,
            addresses=addresses,
            receiving=self._settings.receiving,
            tap=None if self._writer is None else self._writer.tapped,
        )
        self._registry.register(
            StateCollector(market, recorder, session, self._settings.receiving.missed)
        )
        self._describe()
        endpoint = self._settings.experiment.market_data.endpoint
        timestamps = self._settings.receiving.timestamps.value
        return ProbeParts(market, endpoint, timestamps, recorder, session, self._instruments)

    @asynccontextmanager
    async def watching(self, recorder: Recorder) -> AsyncIterator[None]:
        """Watch both clocks and the probe's own delays until the context ends."""
        # All long-lived objects exist now: keep the garbage collector from traversing them again.
        gc.collect()
        gc.freeze()
        exchange = ExchangeClockMonitor(
            self._settings.experiment.market_data,
            self._instruments,
            recorder.count_error,
            interval_sec=self._settings.time_interval_sec,
            tls=self._tls,
        )
        local_clock = LocalClockMonitor(
            self._settings.clock_source,
            self._instruments,
            exchange.clock_was_set,
            recorder.count_error,
        )
        watchers = [
            asyncio.create_task(local_clock.run()),
            asyncio.create_task(exchange.run()),
        ]
        try:
            with own_delays.watched(self._instruments.loop_delay, self._instruments.gc_pause):
                yield
        finally:
            if self._writer is not None:
                self._writer.stop()
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)

    def _opened_writer(self, recorder: Recorder) -> FrameWriter | None:
        """What records every message, where that was asked for.

        Raises:
            SettingsError: its file cannot be opened.
        """
        path = self._settings.record_file
        if path is None:
            return None
        return FrameWriter(path, partial(recorder.count_error, ErrorKind.RECORDING))

    def _report_listening(self, port: int) -> None:
        host, policy = self._settings.metrics_host, self._reloader.policy.current
        scheme = "http" if policy.context is None else "https"
        url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        line = json.dumps({"event": "listening", "metrics_url": url})
        if (unwritten := standard_output.write(f"{line}\n")) is not None:
            extra = {"error": unwritten.strerror}
            _LOG.warning("standard output cannot be written", extra=extra)
        _LOG.info("listening", extra={"metrics_url": url, "tls": policy.context is not None})
        receiving = self._settings.receiving
        extra = {"timestamps": receiving.timestamps.value, "no_capture": receiving.no_capture}
        _LOG.info("source of receive timestamps", extra=extra)
        if policy.open_to_all and not is_loopback(host):
            _LOG.warning(
                "no authentication: any host that can connect may read the metrics; set a firewall "
                "rule or --web-config-file",
                extra={"metrics_url": url},
            )
        if policy.credentials.needed and policy.context is None and not is_loopback(host):
            _LOG.warning("passwords and tokens cross the network in clear text without TLS")

    async def _addresses(self) -> list[str | None]:
        """The address for each parallel connection; None leaves it to the name's resolution."""
        settings = self._settings
        if settings.pin_address is not None:
            return [settings.pin_address] * settings.connections
        if not settings.all_addresses:
            return [None] * settings.connections
        url = urlsplit(settings.experiment.market_data.endpoint)
        assert url.hostname is not None
        try:
            found = await resolve(url.hostname, url.port or _HTTPS_PORT)
        except OSError as error:
            raise SettingsError(
                f"--all-addresses: {url.hostname} cannot be resolved: {error.strerror}."
            ) from error
        addresses: list[str | None] = list(dict.fromkeys(str(info[4][0]) for info in found))
        connections = len(addresses) * len(self._feeds)
        if connections > MAX_CONNECTIONS:
            _LOG.warning(
                "more connections than can all be replaced again and again within the exchange's "
                "limit of attempts",
                extra={"connections": connections, "safe_connections": MAX_CONNECTIONS},
            )
        return addresses

    def _describe(self) -> None:
        self._instruments.probe_info.labels(
            self._version,
            self._settings.experiment_id,
            self._settings.region,
            self._settings.instance_family,
            self._settings.az_id,
            self._settings.instance_type,
            self._settings.receiving.timestamps.value,
        ).set(1)
        self._instruments.build_info.labels(
            self._version, platform.python_version(), version("websockets")
        ).set(1)


def _count_uncaught(recorder: Recorder, context: Mapping[str, Any]) -> None:
    """Count what a callback of the event loop raised: nobody else would, and it may recur."""
    fault = context.get("exception")
    detail = f"{context.get('message')}: {fault!r}"
    recorder.count_error(ErrorKind.INTERNAL, detail, fault)


def make_feeds(data: MarketData, api_key: str | None) -> Sequence[Feed]:
    """The feeds of a `market_data` section, one for each connection that its streams need.

    Raises:
        SettingsError: unknown symbols or streams, or a market that needs a key without one.
    """
    try:
        match data.market:
            case "spot":
                return [BinanceSpot(data.endpoint, data.symbols, data.streams)]
            case "usdm":
                return binance_usdm.make_feeds(data.endpoint, data.symbols, data.streams)
            case "coinm":
                return [BinanceCoinM(data.endpoint, data.symbols, data.streams)]
            case "sbe":
                return [
                    BinanceSbe(data.endpoint, data.symbols, data.streams, api_key=api_key or "")
                ]
    except FeedConfigError as error:
        raise SettingsError(str(error)) from error


def _check_connections(lines: int, feeds: int) -> None:
    """Refuse more connections than may all be cut again and again.

    Raises:
        SettingsError: so many lines of each feed could exceed what the exchange allows an address.
    """
    if lines * feeds > MAX_CONNECTIONS:
        raise SettingsError(
            f"--connections {lines} on each of {feeds} routes are {lines * feeds} connections, "
            f"more than the {MAX_CONNECTIONS} that can be replaced again and again within the "
            f"exchange's limit of attempts; use at most {MAX_CONNECTIONS // feeds}, or streams of "
            "one route."
        )


def _tls_context(settings: Settings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"--ca-file {settings.ca_file} cannot be used: {error.strerror or error}."
        ) from error
    # A server that asks for a new handshake (TLS 1.2) would stop what we have to send meanwhile.
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context
