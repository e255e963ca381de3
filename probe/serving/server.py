"""The probe's HTTP side: metrics, health, status and samples."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from latency_sweep.contract import metrics
from latency_sweep.contract.timeline import NS_PER_SEC
from latency_sweep.probe.http.access_control import AccessControl
from latency_sweep.probe.serving.landing_page import LandingPage
from latency_sweep.probe.serving.pieces import Pieces
from latency_sweep.probe.serving.shared_rendering import SharedRenderer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from prometheus_client import CollectorRegistry

    from latency_sweep.contract.metrics import RejectionReason
    from latency_sweep.nativehist.snapshot import HistogramSnapshot
    from latency_sweep.probe.http.policy import LivePolicy
    from latency_sweep.probe.measurement.channel_state import ChannelState
    from latency_sweep.probe.settings import Settings
    from latency_sweep.probe.summary.collect import ProbeParts

_HEALTHY: Final = "/-/healthy"
# For these another port may help, for all others another address.
_PORT_FAULTS: Final = {errno.EADDRINUSE, errno.EACCES}
# Prometheus does not say in its request that it wants classic buckets too; its `params` can.
_CLASSIC: Final = {"0": False, "1": True, "false": False, "true": True}
_QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}


class ListenError(Exception):
    """The metrics port cannot be listened on; the message says why and what to do."""


class ProbeServer:
    """Serves one probe.

    Args:
        settings: what the probe was told about itself.
        registry: all its metrics.
        parts: its channels and samples, its connection and phase.
        version: version of the probe.
        policy: access policy of the endpoint.
        rejected: called with the reason of each rejection.
    """

    def __init__(
        self,
        settings: Settings,
        registry: CollectorRegistry,
        parts: ProbeParts,
        *,
        version: str,
        policy: LivePolicy,
        rejected: Callable[[RejectionReason], None],
    ) -> None:
        self._settings = settings
        self._renderer = SharedRenderer(registry)
        self._recorder = parts.recorder
        self._session = parts.session
        self._landing_page = LandingPage(settings, parts)
        self._version = version
        self._started = time.monotonic()
        self._values_are_final = False
        self._final_answers: list[web.StreamResponse] = []
        self._final_values_scraped = asyncio.Event()
        self._access_control = AccessControl(
            self._application(),
            policy,
            rejected,
            open_paths={_HEALTHY},
            on_answer=self._answered,
        )

    async def start(self) -> int:
        """Listen; returns the port.

        Raises:
            ListenError: the address cannot be listened on.
        """
        host, port = self._settings.metrics_host, self._settings.metrics_port
        try:
            return await self._access_control.open(host, port)
        except OSError as error:
            flag = "--metrics-port" if error.errno in _PORT_FAULTS else "--metrics-host"
            raise ListenError(
                f"cannot listen on {f'[{host}]' if ':' in host else host}:{port}: "
                f"{_reason(error)}; choose another {flag}."
            ) from error

    async def offer_final_values(self) -> None:
        """Wait until the final values were scraped, or until the time for it is over."""
        self._values_are_final = True
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.final_scrape_wait_sec):
                await self._final_values_scraped.wait()

    async def stop(self) -> None:
        """Finish the requests in progress, then stop listening."""
        await self._access_control.close()

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=1024)
        handlers: dict[str, Callable[[web.Request], Awaitable[web.Response]]] = {
            "/": self._landing_page.answer,
            "/metrics": self._metrics,
            _HEALTHY: self._healthy,
            "/-/ready": self._ready,
            "/status": self._status,
            "/samples": self._samples,
        }
        app.add_routes([web.get(path, handler) for path, handler in handlers.items()])
        return app

    def _answered(self, response: web.StreamResponse) -> None:
        if response in self._final_answers:
            self._final_values_scraped.set()

    async def _metrics(self, request: web.Request) -> web.Response:
        final = self._values_are_final and request.method == "GET"
        classic = _CLASSIC.get(request.query.get("classic", "0"))
        if classic is None:
            raise web.HTTPBadRequest(text="classic: give 1 for classic buckets, or leave it out.\n")
        pieces, headers = await self._renderer.render(
            request.headers.get("Accept", ""),
            request.headers.get("Accept-Encoding", ""),
            classic=classic,
        )
        response = web.Response(body=Pieces(pieces), headers=headers)
        if final:
            self._final_answers.append(response)
        return response

    async def _healthy(self, _: web.Request) -> web.Response:
        return web.Response(text="OK\n")

    async def _ready(self, _: web.Request) -> web.Response:
        if self._session.ready:
            return web.Response(text="OK\n")
        why = "warming up" if self._session.connectivity.connected else "not connected"
        if self._session.stopping:
            why = "stopping"
        return web.Response(text=f"{why}\n", status=503)

    async def _status(self, _: web.Request) -> web.Response:
        run, phase = self._session.phase_at(time.time_ns())
        connectivity = self._session.connectivity
        return _json(
            {
                "info": {
                    "version": self._version,
                    "experiment": self._settings.experiment_id,
                    "region": self._settings.region,
                    "instance_family": self._settings.instance_family,
                    "az_id": self._settings.az_id,
                    "instance_type": self._settings.instance_type,
                    "market": self._settings.experiment.market_data.market,
                    "timestamps": self._settings.receiving.timestamps.value,
                },
                "uptime_sec": time.monotonic() - self._started,
                "run": run.label,
                "phase": phase.value,
                "ready": self._session.ready,
                "connected": connectivity.connected,
                "remote_addresses": [
                    {"connection": line, "remote_address": address}
                    for line, address in sorted(connectivity.remote_addresses)
                ],
                "streams": [_stream_status(state) for state in self._recorder.states],
                "counters": self._counters(self._recorder.states, connectivity.disconnected_sec),
            }
        )

    def _counters(self, states: Sequence[ChannelState], disconnected_sec: float) -> dict[str, Any]:
        checks = [state.sequence for state in states if state.sequence is not None]
        return {
            metrics.MESSAGES.name: sum(state.messages for state in states),
            metrics.BYTES.name: sum(state.payload_bytes for state in states),
            metrics.LOST.name: sum(check.lost for check in checks),
            metrics.GAPS.name: sum(check.gaps for check in checks),
            metrics.DUPLICATES.name: sum(check.duplicates for check in checks),
            metrics.OUT_OF_ORDER.name: sum(check.out_of_order for check in checks),
            metrics.NEGATIVE_LATENCY.name: sum(state.negative for state in states),
            metrics.REDUNDANT.name: sum(line.redundant for line in self._recorder.lines),
            metrics.CAPTURE_MISSED.name: self._settings.receiving.missed.reads,
            metrics.DISCONNECTED.name: disconnected_sec,
        }

    async def _samples(self, _: web.Request) -> web.Response:
        return _json(
            [
                {
                    "market": self._settings.experiment.market_data.market,
                    "stream": event.channel.stream,
                    "symbol": event.channel.symbol,
                    "first_id": event.first_id,
                    "last_id": event.last_id,
                    "event_ns": event.event_ns,
                    "received_ns": timestamp_ns,
                    "latency_sec": (
                        None
                        if event.event_ns is None
                        else (timestamp_ns - event.event_ns) / NS_PER_SEC
                    ),
                }
                for event, timestamp_ns in self._recorder.newest_samples()
            ]
        )


def _reason(error: OSError) -> str:
    """Why, without the address, which the standard library appends to the system's message."""
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)


def _stream_status(state: ChannelState) -> dict[str, Any]:
    status: dict[str, Any] = {
        "stream": state.channel.stream,
        "symbol": state.channel.symbol,
        "messages": state.messages,
    }
    if state.histograms is not None and state.histograms.latency is not None:
        status["latency"] = _summary(state.histograms.latency.snapshot())
    return status


def _summary(snapshot: HistogramSnapshot) -> dict[str, float | int | None]:
    """Count, extremes, moments and quantiles in seconds; null where there is nothing yet."""
    numbers: dict[str, float | int | None] = {"count": snapshot.count}
    sd, mean = snapshot.sd, snapshot.mean
    quantiles = snapshot.to_float().quantiles([*_QUANTILES.values()]).tolist()
    values = {
        "min_sec": snapshot.minimum,
        "max_sec": snapshot.maximum,
        "mean_sec": mean,
        "sd_sec": sd if snapshot.count else math.nan,
        "cv": sd / mean if mean else math.nan,
        **{f"{name}_sec": value for name, value in zip(_QUANTILES, quantiles, strict=True)},
    }
    numbers.update({k: v if math.isfinite(v) else None for k, v in values.items()})
    return numbers


def _json(document: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), content_type="application/json")
