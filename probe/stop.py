"""How signals stop the probe: gracefully, or at once."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Final

from latency_sweep.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

_LOG: Final = logs.logger(__name__)


class Stop:
    """Handles SIGTERM and SIGINT of this process.

    SIGTERM comes from a process manager: the final values wait for their scrape. SIGINT comes from
    a terminal, whose user does not want to wait. A second signal of either kind stops at once.

    Args:
        stop_work: ends the work gracefully; called once.
    """

    def __init__(self, stop_work: Callable[[], None]) -> None:
        self._stop_work = stop_work
        self._first: signal.Signals | None = None
        self._at_once = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)

    @property
    def first(self) -> signal.Signals | None:
        """The first signal that came, or None."""
        return self._first

    async def run(
        self, work: Coroutine[None, None, None], afterwards: Callable[[], Awaitable[None]]
    ) -> None:
        """Run the work to its end, and what comes after it if SIGTERM ended it.

        Args:
            work: ends some time after `stop_work`.
            afterwards: makes what is waited for then.
        """
        orderly = asyncio.create_task(self._orderly(work, afterwards))
        hurry = asyncio.create_task(self._at_once.wait())
        try:
            await asyncio.wait({orderly, hurry}, return_when=asyncio.FIRST_COMPLETED)
            if orderly.done():
                await orderly
        finally:
            for task in (orderly, hurry):
                task.cancel()
            await asyncio.gather(orderly, hurry, return_exceptions=True)

    async def _orderly(
        self, work: Coroutine[None, None, None], afterwards: Callable[[], Awaitable[None]]
    ) -> None:
        await work
        if self._first is signal.SIGTERM:
            await afterwards()

    def _on_signal(self, number: signal.Signals) -> None:
        if self._first is not None:
            _LOG.info("stopping at once", extra={"signal": number.name})
            self._at_once.set()
            return
        self._first = number
        _LOG.info("stopping", extra={"signal": number.name})
        self._stop_work()
