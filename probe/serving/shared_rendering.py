"""One rendering for all scrapes that arrive at the same time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from latency_sweep.nativehist.exposition import render_pieces, take_snapshot
from latency_sweep.nativehist.negotiation import accepts_gzip, choose_format
from latency_sweep.probe.serving.pauses import Pauses
from latency_sweep.runtime import logs

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from latency_sweep.nativehist.negotiation import Format

    Answer = tuple[list[bytes], dict[str, str]]  # body in pieces, headers
    # Format, gzip, classic buckets.
    Wanted = tuple[Format, bool, bool]

_LOG: Final = logs.logger(__name__)


class SharedRenderer:
    """Renders a registry, one rendering at a time, however many ask for it.

    A request that arrives during a rendering gets the next one, together with all others that wait
    for the same format. So a scrape's values are never older than the scrape, and fifty scrapers
    at once delay the reader no more than two.

    Args:
        registry: what is rendered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._one_at_a_time = asyncio.Lock()
        self._waiting: dict[Wanted, asyncio.Task[Answer]] = {}

    async def render(self, accept: str, accept_encoding: str, *, classic: bool = False) -> Answer:
        """Body, in pieces, and headers for a request's `Accept` and `Accept-Encoding`.

        Args:
            accept: the first of these headers.
            accept_encoding: the second.
            classic: whether protobuf carries classic buckets beside the native ones.
        """
        wanted = choose_format(accept), accepts_gzip(accept_encoding), classic
        task = self._waiting.get(wanted)
        if task is None:
            task = asyncio.create_task(self._render(wanted, accept, accept_encoding))
            self._waiting[wanted] = task
        # Others wait for it too, if this client goes away.
        return await asyncio.shield(task)

    async def _render(self, wanted: Wanted, accept: str, accept_encoding: str) -> Answer:
        try:
            await self._one_at_a_time.acquire()
        finally:
            del self._waiting[wanted]
        try:
            # The snapshot is one moment of the event loop; turning it into bytes takes
            # milliseconds, which a thread may take without delaying the reader.
            started = time.perf_counter()
            snapshot = take_snapshot(self._registry)
            answer = await asyncio.to_thread(
                render_pieces,
                snapshot,
                accept,
                accept_encoding,
                classic=wanted[2],
                pause=Pauses(),
            )
            extra = {
                "accept": accept,
                "format": wanted[0].name.lower(),
                "gzip": wanted[1],
                "bytes": sum(map(len, answer[0])),
                "seconds": round(time.perf_counter() - started, 6),
            }
            _LOG.debug("metrics rendered", extra=extra)
            return answer
        finally:
            self._one_at_a_time.release()
