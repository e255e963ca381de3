"""Reports the channels of a connection that bring no first message: is the symbol traded here?

A subscription to what does not exist is acknowledged and stays quiet, and so does one on a wrong
route. A channel that has been quiet for long before is given more time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.contract.metrics import ErrorKind
from latency_sweep.probe.connection.stall_detector import PauseMemory

if TYPE_CHECKING:
    from latency_sweep.probe.connection.opened import Opened
    from latency_sweep.probe.feeds.base import Channel, Feed
    from latency_sweep.probe.measurement.recorder import Recorder


class FirstMessages:
    """Follows the channels of a feed, through all its connections. Times are monotonic seconds.

    Args:
        feed: whose channels.
        recorder: knows the messages of each, and counts the errors.
    """

    def __init__(self, feed: Feed, recorder: Recorder) -> None:
        self._feed = feed
        self._recorder = recorder
        self._pauses = {channel.index: PauseMemory() for channel in feed.channels}
        self._noted: dict[int, tuple[int, float]] = {}  # by index: how many messages, and when
        self._checked: Opened | None = None
        self._awaited: set[int] = set()

    def learn(self, now: float) -> None:
        """Take note of pauses; to be called every few seconds.

        Of several messages that came since the last call, the longest pause was no shorter than
        the mean one.
        """
        for channel in self._feed.channels:
            index = channel.index
            messages = self._recorder.states[index].messages
            before, noted = self._noted.get(index, (0, now))
            if messages > before:
                self._pauses[index].learn((now - noted) / (messages - before), now)
                self._noted[index] = messages, now

    def check(self, opened: Opened, now: float, watched_sec: float, timeout_sec: float) -> None:
        """Report the channels of a connection from which a message is overdue, each once.

        Args:
            opened: the connection.
            now: the time.
            watched_sec: for how long it has been open and the program was running.
            timeout_sec: how long a channel may take that never paused for long.
        """
        if opened is not self._checked:
            self._checked = opened
            self._awaited = {channel.index for channel in self._feed.channels}
        if watched_sec <= timeout_sec or not self._awaited:
            return
        without = opened.receiver.channels_without_message()
        self._awaited &= {channel.index for channel in without}
        for channel in without:
            index = channel.index
            if index not in self._awaited:
                continue
            limit_sec = self._pauses[index].limit_sec(now, timeout_sec)
            if watched_sec > limit_sec:
                self._awaited.discard(index)
                self._report(channel, limit_sec)

    def _report(self, channel: Channel, limit_sec: float) -> None:
        self._recorder.count_error(
            ErrorKind.NO_FIRST_MESSAGE,
            f"{channel.stream} of {channel.symbol} sent nothing within {limit_sec:g} s of "
            "subscribing; is the symbol traded here?",
        )
