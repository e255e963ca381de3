"""What the rest of the probe sees of any exchange: channels, events and errors."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from latency_sweep.contract.metrics import ErrorKind


class FeedConfigError(ValueError):
    """Symbols or streams that a feed cannot serve; the message says which and what it can."""


class FrameError(Exception):
    """A frame that is not what the feed promises.

    Attributes:
        kind: value of the `kind` label it is counted under.
        usable: the part of the frame that is a message by itself, or None; the error is about the
            rest.
    """

    def __init__(self, kind: ErrorKind, detail: str, *, usable: bytes | None = None) -> None:
        super().__init__(detail)
        self.kind = kind
        self.usable = usable


class Ids(Enum):
    """What the ids of a channel can show about loss."""

    CONSECUTIVE = "consecutive"  # every message is one id, the next is one higher
    RANGES = "ranges"  # every message covers first..last, the next starts one higher
    NONE = "none"  # jumps are normal: loss cannot be seen


@dataclass(frozen=True, slots=True)
class Channel:
    """One stream of one symbol.

    Attributes:
        index: position among all channels of the market, for constant-time look-up.
        stream: stream name as subscribed, `depth@100ms`.
        symbol: upper-case symbol.
        ids: what its ids can show.
        has_event_time: whether its messages say when the exchange sent them. Without it there
            is no one-way latency, and none is ever invented.
        has_trade_time: whether they say when the trade happened.
    """

    index: int
    stream: str
    symbol: str
    ids: Ids
    has_event_time: bool
    has_trade_time: bool


class Event(msgspec.Struct, frozen=True, gc=False):
    """One market-data message, as far as measuring needs it.

    Attributes:
        channel: where it belongs.
        first_id: first sequence id it covers.
        last_id: last sequence id it covers.
        event_ns: when the exchange sent it, Unix nanoseconds; None where it does not say.
        trade_ns: when it happened, Unix nanoseconds; None where it does not say.
    """

    channel: Channel
    first_id: int
    last_id: int
    event_ns: int | None = None
    trade_ns: int | None = None


class EventRun(msgspec.Struct, frozen=True, gc=False):
    """Messages of one channel in their order, each of which goes on from the one before.

    Attributes:
        channel: where they belong.
        first_ids: first id of each.
        last_ids: last id of each.
        event_ns: when the exchange sent each, Unix nanoseconds.
        trade_ns: when each happened, Unix nanoseconds; None where they do not say.
        payload_bytes: size of all together.
    """

    channel: Channel
    first_ids: Sequence[int]
    last_ids: Sequence[int]
    event_ns: Sequence[int]
    trade_ns: Sequence[int] | None
    payload_bytes: int

    def at(self, position: int) -> Event:
        """The event at a position, from 0."""
        return Event(
            self.channel,
            self.first_ids[position],
            self.last_ids[position],
            self.event_ns[position],
            None if self.trade_ns is None else self.trade_ns[position],
        )


class Burst(msgspec.Struct, frozen=True, gc=False):
    """The messages of one read, with those decoded that could be at once.

    Attributes:
        groups: for each message the key of its channel, in the order of arrival.
        runs: by that key, of the channels all of whose messages are a run.
    """

    groups: Sequence[bytes]
    runs: Mapping[bytes, EventRun]


class Notice(Enum):
    """A message about the connection rather than the market."""

    ACKNOWLEDGED = "acknowledged"
    SHUTDOWN = "shutdown"


class Feed(Protocol):
    """One exchange's market data over one WebSocket connection."""

    @property
    def market(self) -> str:
        """Value of the `market` label."""

    @property
    def channels(self) -> Sequence[Channel]:
        """All channels subscribed to."""

    @property
    def url(self) -> str:
        """WebSocket URL that subscribes to all channels, or to those not named in messages."""

    @property
    def opening_messages(self) -> Sequence[bytes]:
        """Text messages that subscribe to the others once the connection is open.

        Each is sent after `Notice.ACKNOWLEDGED` came for the one before. A `FrameError` of kind
        `exchange_error` is the answer that refuses one.
        """

    @property
    def headers(self) -> Mapping[str, str]:
        """Extra headers of the upgrade request."""

    def decode(self, frame: bytes, *, binary: bool) -> Event | Notice:
        """Decode the payload of one complete message.

        Raises:
            FrameError: it is not what the feed promises; only its `usable` part may be used.
        """


@runtime_checkable
class DecodesBursts(Protocol):
    """What a feed may be able to do besides, to be faster in bursts."""

    def decode_burst(self, frames: Sequence[bytes], *, binary: bool) -> Burst | None:
        """Decode messages at once, channel by channel, which costs less than one by one.

        Returns:
            Runs of what `decode` would give for their messages; None if there is no run, or if it
            is not certain which channel each message is of.
        """
