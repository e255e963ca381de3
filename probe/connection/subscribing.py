"""Subscribing by message, for feeds whose URL does not name all of their streams."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from latency_sweep.contract.metrics import ConnectStep
from latency_sweep.probe.net.errors import ConnectFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.probe.feeds.base import FrameError
    from latency_sweep.probe.net.websocket import WebSocketConnection

# Two and a half a second: Binance allows five on spot, pings and pongs included.
INTERVAL_SEC: Final = 0.4
ANSWER_TIMEOUT_SEC: Final = 10.0


class SubscribeStep:
    """The last step of connecting: sends a feed's messages and checks the answers.

    Args:
        messages: see `Feed.opening_messages`.
    """

    def __init__(self, messages: Sequence[bytes]) -> None:
        self._messages = messages
        self._answer: asyncio.Future[None] | None = None

    def take_answer(self, refusal: FrameError | None) -> None:
        """An acknowledgement or an error came; without effect while no answer is awaited."""
        waiting = self._answer
        if waiting is None or waiting.done():
            return
        if refusal is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(ConnectFailed(ConnectStep.SUBSCRIBE, str(refusal)))

    async def subscribe(self, connection: WebSocketConnection) -> None:
        """Send the messages, each after the answer to the one before.

        Raises:
            ConnectFailed: an error for an answer, none in time, or the connection ended.
        """
        for number, message in enumerate(self._messages, start=1):
            if number > 1:
                await asyncio.sleep(INTERVAL_SEC)
            self._answer = answer = asyncio.get_running_loop().create_future()
            connection.send_text(message)
            await asyncio.wait(
                {answer, connection.closed},
                timeout=ANSWER_TIMEOUT_SEC,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if answer.done():
                answer.result()
                continue
            which = f"message {number} of {len(self._messages)} that subscribe"
            if connection.closed.done():
                detail = f"{connection.closed.result().detail} after {which}"
            else:
                detail = f"no answer to {which} within {ANSWER_TIMEOUT_SEC:g} s"
            raise ConnectFailed(ConnectStep.SUBSCRIBE, detail)
