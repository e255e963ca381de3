"""The exchange: its sites, its markets, and commands that disturb connections."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from latency_sweep.lab.exchange.connection import MarketContext, ServerConnection
from latency_sweep.lab.exchange.delivery import Dispatcher, SiteState, StallMode
from latency_sweep.lab.exchange.ground_truth.writer import MessageOutcome
from latency_sweep.lab.exchange.markets.table import RULES
from latency_sweep.lab.exchange.sources.generated import GeneratedMarket
from latency_sweep.lab.exchange.sources.pausing import PausingSource
from latency_sweep.lab.exchange.sources.replay import MAX_PAUSES_NS, NS_PER_MS, ReplaySource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from latency_sweep.lab.exchange.config import ExchangeConfig, MarketName

# How long clients have to answer the close frame when the exchange stops.
FAREWELL_SEC: Final = 1.0


class UnknownSiteError(ValueError):
    """A command names a site that does not exist."""


class _ServedMarket:
    """What the connections of one market share.

    Attributes:
        name: of the market.
        dispatcher: carries its events.
        recording: the recording that is replayed, or None for a generated market.
        context: what its connections share.
    """

    def __init__(
        self, name: MarketName, recording: ReplaySource | None, context: MarketContext
    ) -> None:
        self.name = name
        self.dispatcher = context.dispatcher
        self.recording = recording
        self.context = context


class Exchange:
    """Everything but the listeners.

    Commands concern one site and one market, or all of them for None. They return the number of
    connections concerned and raise `UnknownSiteError`.
    """

    def __init__(self, config: ExchangeConfig) -> None:
        """Open the ground truth and read the recording, if there are any.

        Must be called inside the event loop.

        Raises:
            OSError: the ground truth cannot be written.
            ReplayError: the recording cannot be used.
        """
        now_ns = time.time_ns()
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._sessions: set[ServerConnection] = set()
        self._no_sessions = asyncio.Event()
        next_number = itertools.count(1).__next__
        self._markets = {
            name: self._served_market(name, next_number, now_ns) for name in config.markets
        }
        if config.ground_truth_dir is not None:
            config.ground_truth_dir.mkdir(parents=True, exist_ok=True)
        self.sites = {
            name: SiteState(name, config, self.ground_truth_path(name), now_ns)
            for name in config.sites
        }

    def _served_market(
        self, name: MarketName, next_number: Callable[[], int], now_ns: int
    ) -> _ServedMarket:
        config = self._config
        recording: ReplaySource | None = None
        if config.replay is not None and name == config.replayed_market:
            recording = ReplaySource(
                config.replay,
                offset_ns=config.clock_offset_ns,
                may_start=partial(self._every_site_subscribed, name),
                now_ns=now_ns,
            )
        context = MarketContext(
            market=name,
            rules=RULES[name],
            api_keys=frozenset(config.markets[name].api_keys),
            dispatcher=Dispatcher(self._loop),
            limits=RULES[name].limits.changed(config.limits),
            clock_offset_ns=config.clock_offset_ns,
            next_number=next_number,
            joined=self._sessions.add,
            left=self._left,
            audience_changed=partial(self._audience_changed, name),
        )
        return _ServedMarket(name, recording, context)

    def ground_truth_path(self, site: str) -> Path | None:
        """The file of a site's ground truth, or None if none is written."""
        folder = self._config.ground_truth_dir
        return None if folder is None else folder / f"{site}.truth"

    def session(self, site: str, market: MarketName) -> ServerConnection:
        """A new connection of a site to a market, for its listener."""
        return ServerConnection(self.sites[site], self._markets[market].context)

    def open(self) -> None:
        """Start sending."""
        for market in self._markets.values():
            if market.recording is None:
                generated = GeneratedMarket(self._config, time.time_ns(), market.name)
                source = PausingSource(generated)
            else:
                source = PausingSource(
                    market.recording, step_ns=NS_PER_MS, at_most_ns=MAX_PAUSES_NS
                )
            market.dispatcher.start(source)

    async def close(self) -> None:
        """Close every connection with 1001, then the ground truth."""
        for market in self._markets.values():
            market.dispatcher.stop()
        for session in tuple(self._sessions):
            session.close(1001, "", "shutdown", at_once=True)
        await self._until_all_are_closed()
        for session in tuple(self._sessions):
            session.cut("shutdown")
        await self._until_all_are_closed()
        for site in self.sites.values():
            if site.ground_truth is not None:
                site.ground_truth.close()

    def flush(self, site: str | None = None) -> int:
        """Write the ground truth out, so that it can be read while the exchange runs."""
        for each in self._chosen(site):
            if each.ground_truth is not None:
                each.ground_truth.flush()
        return len(self._of(site))

    def disconnect(
        self, site: str | None, code: int | None, text: str, *, market: MarketName | None = None
    ) -> int:
        """End connections; with a close frame, or without any if `code` is None."""
        sessions = self._of(site, market)
        for session in sessions:
            if code is None:
                session.cut("command")
            else:
                session.close(code, text, "command")
        return len(sessions)

    def announce_shutdown(
        self,
        site: str | None,
        disconnect_after_sec: float | None,
        *,
        market: MarketName | None = None,
    ) -> int:
        """Send `serverShutdown`, and close those connections later, unless that is None."""
        sessions = self._of(site, market)
        for session in sessions:
            session.announce_shutdown()
            if disconnect_after_sec is not None:
                self._loop.call_later(
                    disconnect_after_sec, session.close, 1001, "", "server_shutdown"
                )
        return len(sessions)

    def stall(self, site: str | None, mode: StallMode, *, market: MarketName | None = None) -> int:
        """Stall the connections that are open now."""
        sessions = self._of(site, market)
        for session in sessions:
            session.stall(mode)
        return len(sessions)

    def refuse(self, site: str | None, *, market: MarketName | None = None) -> int:
        """Answer new connections with 503."""
        for each in self._chosen(site):
            each.refusing |= set(self._markets) if market is None else {market}
        return len(self._of(site, market))

    def resume(self, site: str | None, *, market: MarketName | None = None) -> int:
        """Undo `stall` and `refuse`."""
        for each in self._chosen(site):
            each.refusing -= set(self._markets) if market is None else {market}
        sessions = self._of(site, market)
        for session in sessions:
            session.stall(None)
        return len(sessions)

    def send_text(self, site: str | None, text: str, *, market: MarketName | None = None) -> int:
        """Send one text message that belongs to no stream; it is not in the ground truth."""
        sessions = self._of(site, market)
        for session in sessions:
            session.send_text(text.encode())
        return len(sessions)

    def stats(self) -> dict[str, Any]:
        """Counters, as a JSON document."""
        document: dict[str, Any] = {
            "events": sum(market.dispatcher.events for market in self._markets.values()),
            "sites": {
                name: {
                    "connections": site.connections,
                    "streams": sorted({s for each in self._of(name) for s in each.streams}),
                    "messages": {o.name.lower(): site.outcomes[o] for o in MessageOutcome},
                    "disconnects": dict(site.disconnects),
                    "late_sec": site.lateness.quantiles_sec(),
                }
                for name, site in self.sites.items()
            },
        }
        for market in self._markets.values():
            if market.recording is not None:
                sent, total = market.recording.sent, market.recording.total
                document["replay"] = {"sent": sent, "total": total, "finished": sent == total}
        return document

    def _chosen(self, site: str | None) -> list[SiteState]:
        if site is None:
            return list(self.sites.values())
        if site not in self.sites:
            known = ", ".join(self.sites)
            raise UnknownSiteError(f"there is no site {site!r}; choose one of: {known}")
        return [self.sites[site]]

    def _of(self, site: str | None, market: MarketName | None = None) -> list[ServerConnection]:
        chosen = self._chosen(site)
        return [
            session
            for session in self._sessions
            if session.site in chosen and market in (None, session.market)
        ]

    def _every_site_subscribed(self, market: MarketName) -> bool:
        listening = {s.site.name for s in self._of(None, market) if s.streams}
        return listening == set(self.sites)

    async def _until_all_are_closed(self) -> None:
        self._no_sessions.clear()
        if self._sessions:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._no_sessions.wait(), FAREWELL_SEC)

    def _left(self, session: ServerConnection) -> None:
        self._sessions.discard(session)
        if not self._sessions:
            self._no_sessions.set()

    def _audience_changed(self, name: MarketName) -> None:
        market = self._markets[name]
        if market.recording is not None:
            market.recording.audience_changed(time.time_ns())
            market.dispatcher.rearm()
