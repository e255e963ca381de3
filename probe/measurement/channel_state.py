"""What is kept of each channel and of each parallel connection while messages are recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from latency_sweep.probe.feeds.base import Ids
from latency_sweep.probe.measurement.jumping_ids import JumpingIds
from latency_sweep.probe.measurement.numbering import Numbering

if TYPE_CHECKING:
    from collections.abc import Callable

    from latency_sweep.nativehist.histogram import NativeHistogram
    from latency_sweep.probe.feeds.base import Channel
    from latency_sweep.probe.measurement.burst_columns import RunValues
    from latency_sweep.probe.measurement.sequence import SequenceCheck


@dataclass(frozen=True, slots=True)
class RunHistograms:
    """The histograms one channel fills during one run."""

    latency: NativeHistogram | None
    variation: NativeHistogram | None
    exchange_delay: NativeHistogram | None
    receive_delay: NativeHistogram
    timestamp_error: NativeHistogram | None

    @property
    def all(self) -> list[NativeHistogram]:
        """Those that there are."""
        some = (
            self.latency,
            self.variation,
            self.exchange_delay,
            self.receive_delay,
            self.timestamp_error,
        )
        return [histogram for histogram in some if histogram is not None]

    @property
    def exact_timestamps(self) -> int | None:
        """Messages whose latency has an exact timestamp; None for channels without latency."""
        if self.latency is None or self.timestamp_error is None:
            return None
        return self.latency.count - self.timestamp_error.count

    def observe_run(self, values: RunValues) -> None:
        """Observe the messages of a run, as one by one would."""
        assert self.latency is not None
        assert self.variation is not None
        self.receive_delay.extend_bytes(values.receive_delay)
        self.latency.extend_bytes(values.latency)
        self.variation.extend_bytes(values.variation)
        if self.exchange_delay is not None and values.exchange_delay is not None:
            self.exchange_delay.extend_bytes(values.exchange_delay)


class ChannelState:
    """Counters and position of one channel since the probe started.

    Attributes:
        channel: which one.
        messages: messages received, redundant ones not counted.
        payload_bytes: their size.
        negative: messages timestamped later than they were received.
        last_timestamp_ns: receive timestamp of the newest one, or 0.
        numbering: its ids, or None where they cannot show losses.
        sequence: the check of the newest numbering, or None.
        jumping: its ids where they cannot show losses, or None.
        histograms: those of the run being measured, or None.
        previous_latency_ns: latency of the previous message of this run, or None.
    """

    __slots__ = (
        "channel",
        "histograms",
        "jumping",
        "last_timestamp_ns",
        "messages",
        "negative",
        "numbering",
        "payload_bytes",
        "previous_latency_ns",
        "sequence",
    )

    def __init__(self, channel: Channel, on_stray: Callable[[str], None]) -> None:
        self.channel = channel
        self.messages = 0
        self.payload_bytes = 0
        self.negative = 0
        self.last_timestamp_ns = 0
        self.numbering: Numbering | None = None
        self.sequence: SequenceCheck | None = None
        self.jumping: JumpingIds | None = None
        if channel.ids is Ids.NONE:
            self.jumping = JumpingIds(on_stray)
        else:
            self.numbering = Numbering(per_id=is_per_id(channel), on_stray=on_stray)
            self.sequence = self.numbering.current
        self.histograms: RunHistograms | None = None
        self.previous_latency_ns: int | None = None

    @property
    def restarts(self) -> int:
        """New numberings of its ids."""
        ids = self.sequence if self.jumping is None else self.jumping
        assert ids is not None
        return ids.restarts


def is_per_id(channel: Channel) -> bool:
    """Whether each message of a channel is one id, so that missing ids are missing messages."""
    return channel.ids is Ids.CONSECUTIVE


class Line:
    """Counters of one of several parallel connections, through all its replacements.

    Attributes:
        name: value of the `connection` label.
        first_arrivals: messages it delivered first.
        redundant: messages that another had already delivered.
        shared_timestamps: messages that share the timestamp of their read with one before them.
        without_timestamp: messages for which the kernel gave no timestamp.
        latency: histogram of the run being measured, redundant messages included; None if there
            is one line.
    """

    __slots__ = (
        "first_arrivals",
        "latency",
        "name",
        "redundant",
        "shared_timestamps",
        "without_timestamp",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.first_arrivals = 0
        self.redundant = 0
        self.shared_timestamps = 0
        self.without_timestamp = 0
        self.latency: NativeHistogram | None = None
