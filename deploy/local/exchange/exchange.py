"""The exchange itself: its places, its connections, and what can be done to them on demand."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from typing import TYPE_CHECKING, Any, Final

from deploy.local.exchange.delivery import Dispatcher, Place, Stall
from deploy.local.exchange.market import Market
from deploy.local.exchange.pausing import PausingSource
from deploy.local.exchange.replay import Recording
from deploy.local.exchange.session import Session, Surroundings
from deploy.local.exchange.truth_file import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.local.exchange.config import ExchangeConfig

# How long clients have to answer a close frame when the exchange stops.
FAREWELL_SEC: Final = 1.0


class UnknownPlaceError(ValueError):
    """A command names a place that does not exist."""


class Exchange:
    """Everything but the listeners. Commands concern one place, or all of them for None.

    Commands return the number of connections concerned and raise `UnknownPlaceError`.
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
        self._dispatcher = Dispatcher(self._loop)
        self._sessions: set[Session] = set()
        self._nobody = asyncio.Event()
        self._recording: Recording | None = None
        if config.replay is not None:
            self._recording = Recording(
                config.replay,
                offset_ns=config.clock_offset_ns,
                may_start=self._everybody_listens,
                now_ns=now_ns,
            )
        if config.truth_dir is not None:
            config.truth_dir.mkdir(parents=True, exist_ok=True)
        self.places = {
            name: Place(name, config, self.truth_path(name), now_ns) for name in config.places
        }
        self._surroundings = Surroundings(
            dispatcher=self._dispatcher,
            limits=config.limits,
            clock_offset_ns=config.clock_offset_ns,
            next_number=itertools.count(1).__next__,
            joined=self._sessions.add,
            left=self._left,
            audience_changed=self._audience_changed,
        )

    def truth_path(self, place: str) -> Path | None:
        """The file of a place's ground truth, or None if none is written."""
        folder = self._config.truth_dir
        return None if folder is None else folder / f"{place}.truth"

    def session(self, place: str) -> Session:
        """A new connection of a place, for its listener."""
        return Session(self.places[place], self._surroundings)

    def open(self) -> None:
        """Begin to send."""
        market = PausingSource(Market(self._config, time.time_ns()))
        self._dispatcher.start(self._recording or market)

    async def close(self) -> None:
        """Close every connection with 1001, then the ground truth."""
        self._dispatcher.stop()
        for session in tuple(self._sessions):
            session.close(1001, "", "shutdown", at_once=True)
        await self._until_nobody_is_connected()
        for session in tuple(self._sessions):
            session.cut("shutdown")
        await self._until_nobody_is_connected()
        for place in self.places.values():
            if place.truth is not None:
                place.truth.close()

    def flush(self, place: str | None = None) -> int:
        """Write the ground truth out, so that it can be read while the exchange runs."""
        for each in self._chosen(place):
            if each.truth is not None:
                each.truth.flush()
        return len(self._of(place))

    def disconnect(self, place: str | None, code: int | None, text: str) -> int:
        """End connections; with a close frame, or without any if `code` is None."""
        sessions = self._of(place)
        for session in sessions:
            if code is None:
                session.cut("command")
            else:
                session.close(code, text, "command")
        return len(sessions)

    def announce_shutdown(self, place: str | None, disconnect_after_sec: float | None) -> int:
        """Send `serverShutdown`, and close those connections later, unless that is None."""
        sessions = self._of(place)
        for session in sessions:
            session.announce_shutdown()
            if disconnect_after_sec is not None:
                self._loop.call_later(
                    disconnect_after_sec, session.close, 1001, "", "server_shutdown"
                )
        return len(sessions)

    def stall(self, place: str | None, mode: Stall) -> int:
        """Let the connections that are open now fall silent."""
        sessions = self._of(place)
        for session in sessions:
            session.stall(mode)
        return len(sessions)

    def refuse(self, place: str | None) -> int:
        """Answer new connections with 503."""
        for each in self._chosen(place):
            each.refusing = True
        return len(self._of(place))

    def resume(self, place: str | None) -> int:
        """Undo `stall` and `refuse`."""
        for each in self._chosen(place):
            each.refusing = False
        sessions = self._of(place)
        for session in sessions:
            session.stall(None)
        return len(sessions)

    def send_text(self, place: str | None, text: str) -> int:
        """Send one text message that belongs to no stream; it is not in the ground truth."""
        sessions = self._of(place)
        for session in sessions:
            session.send_text(text.encode())
        return len(sessions)

    def stats(self) -> dict[str, Any]:
        """Counters, as a JSON document."""
        document: dict[str, Any] = {
            "events": self._dispatcher.events,
            "places": {
                name: {
                    "connections": place.connections,
                    "streams": sorted({s for each in self._of(name) for s in each.streams}),
                    "messages": {o.name.lower(): place.outcomes[o] for o in Outcome},
                    "disconnects": dict(place.disconnects),
                }
                for name, place in self.places.items()
            },
        }
        if self._recording is not None:
            sent, total = self._recording.sent, self._recording.total
            document["replay"] = {"sent": sent, "total": total, "finished": sent == total}
        return document

    def _chosen(self, place: str | None) -> list[Place]:
        if place is None:
            return list(self.places.values())
        if place not in self.places:
            known = ", ".join(self.places)
            raise UnknownPlaceError(f"there is no place {place!r}; choose one of: {known}")
        return [self.places[place]]

    def _of(self, place: str | None) -> list[Session]:
        chosen = self._chosen(place)
        return [session for session in self._sessions if session.place in chosen]

    def _everybody_listens(self) -> bool:
        listening = {session.place.name for session in self._sessions if session.streams}
        return listening == set(self.places)

    async def _until_nobody_is_connected(self) -> None:
        self._nobody.clear()
        if self._sessions:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._nobody.wait(), FAREWELL_SEC)

    def _left(self, session: Session) -> None:
        self._sessions.discard(session)
        if not self._sessions:
            self._nobody.set()

    def _audience_changed(self) -> None:
        if self._recording is not None:
            self._recording.audience_changed(time.time_ns())
            self._dispatcher.rearm()
