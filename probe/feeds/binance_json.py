"""Binance's JSON feeds over combined streams: what spot and futures have in common.

Only the keys needed are decoded; unknown keys are ignored because Binance adds some without
notice.
"""

from __future__ import annotations

from collections import defaultdict
from types import MappingProxyType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    Generic,
    Literal,
    NamedTuple,
    Protocol,
    TypeVar,
)
from urllib.parse import urlsplit

import msgspec

from latency_sweep.contract.metrics import ErrorKind
from latency_sweep.contract.values import is_symbol
from latency_sweep.probe.feeds.base import (
    Burst,
    Channel,
    Event,
    EventRun,
    FeedConfigError,
    FrameError,
    Ids,
    Notice,
)
from latency_sweep.probe.feeds.binance_subscriptions import subscriptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MAX_STREAMS: Final = 1024  # per connection, Binance's limit
QUOTED_CHARS: Final = 120  # of a bad frame, in an error

_BEGINNING: Final = b'{"stream":"'
_NAME_AT: Final = len(_BEGINNING)
# From how many messages of a channel on it pays to decode them at once.
_LEAST_RUN: Final = 3
# How msgspec says that an event is none of those that a stream may have.
_NOT_ALLOWED: Final = "Invalid enum value"
_AT_EVENT: Final = "`$.data.e`"
_AT_SYMBOL: Final = "`$.data.s`"

# Ids and times: whole numbers of 64 bits.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
# The one symbol that a channel's payloads may have: a `Literal`, which costs nothing to check.
Symbol = TypeVar("Symbol")


class StreamKind(NamedTuple):
    """What one kind of stream sends.

    Attributes:
        frame: type of the combined frame, of the symbol's type; its `data` is the payload. Where
            payloads have an `e` or an `s`, the type allows the one value that is right.
        ids: what the ids can show.
        read: makes the event of a payload; the last argument is the time unit in ns.
        has_event_time: whether payloads say when they were sent.
        has_trade_time: whether they say when the trade happened.
    """

    frame: Any
    ids: Ids
    read: Callable[[Channel, Any, int], Event]
    has_event_time: bool = True
    has_trade_time: bool = True


# Spot and futures send these alike.
class _Trade(msgspec.Struct, Generic[Symbol], gc=False):
    event: Literal["trade"] = msgspec.field(name="e")
    event_time: Count = msgspec.field(name="E")
    trade_time: Count = msgspec.field(name="T")
    id: Count = msgspec.field(name="t")
    symbol: Symbol | msgspec.UnsetType = msgspec.field(name="s", default=msgspec.UNSET)


class _AggTrade(msgspec.Struct, Generic[Symbol], gc=False):
    event: Literal["aggTrade"] = msgspec.field(name="e")
    event_time: Count = msgspec.field(name="E")
    trade_time: Count = msgspec.field(name="T")
    id: Count = msgspec.field(name="a")
    symbol: Symbol | msgspec.UnsetType = msgspec.field(name="s", default=msgspec.UNSET)


class _TradeFrame(msgspec.Struct, Generic[Symbol], gc=False):
    data: _Trade[Symbol]


class _AggTradeFrame(msgspec.Struct, Generic[Symbol], gc=False):
    data: _AggTrade[Symbol]


def read_both_times(channel: Channel, data: Any, unit_ns: int) -> Event:
    """The event of a payload with one id and both times; see `StreamKind.read`."""
    number = data.id
    return Event(channel, number, number, data.event_time * unit_ns, data.trade_time * unit_ns)


def check_order(first_id: int, last_id: int) -> None:
    """Refuse a range of ids that runs backwards.

    Raises:
        FrameError: it does.
    """
    if last_id < first_id:
        raise FrameError(ErrorKind.BAD_FIELD, f"ids run backwards: {first_id} to {last_id}")


TRADE: Final = StreamKind(_TradeFrame, Ids.CONSECUTIVE, read_both_times)
AGG_TRADE: Final = StreamKind(_AggTradeFrame, Ids.CONSECUTIVE, read_both_times)


def _decoder(channel: Channel, kind: StreamKind) -> Callable[[bytes], Any]:
    """What decodes a combined frame of one channel, or raises what msgspec does."""
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind.frame[Literal[channel.symbol]])
    return decoder.decode


def _reader(
    channel: Channel,
    decode: Callable[[bytes], Any],
    read: Callable[[Channel, Any, int], Event],
    unit_ns: int,
) -> Callable[[bytes], Event]:
    """What turns a combined frame of one channel into its event, or raises FrameError."""

    def read_frame(frame: bytes) -> Event:
        try:
            return read(channel, decode(frame).data, unit_ns)
        except msgspec.ValidationError as error:
            raise FrameError(_kind_of(str(error)), f"{error}: {quote(frame)}") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FrameError(ErrorKind.BAD_JSON, f"{error}: {quote(frame)}") from error

    return read_frame


def _kind_of(invalid: str) -> ErrorKind:
    """The kind of what msgspec says of a frame."""
    if invalid.startswith(_NOT_ALLOWED):
        if invalid.endswith(_AT_EVENT):
            return ErrorKind.UNKNOWN_EVENT
        if invalid.endswith(_AT_SYMBOL):
            return ErrorKind.WRONG_SYMBOL
    return ErrorKind.BAD_FIELD


def _grouped(groups: Sequence[bytes], frames: Sequence[bytes]) -> Mapping[bytes, Sequence[bytes]]:
    """The frames of each group, in their order."""
    if groups.count(groups[0]) == len(groups):
        return {groups[0]: frames}
    by_group: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for group, frame in zip(groups, frames, strict=True):
        by_group[group].append(frame)
    return by_group


class BinanceJson:
    """The `Feed` of one combined connection.

    Args:
        market: value of the `market` label.
        kinds: the streams that exist, by name.
        unit_ns: unit of every time in the payloads, in nanoseconds.
        url: makes the URL from the percent-encoded names of the subscriptions.
        symbols: upper-case symbols.
        streams: stream names, any of `kinds`.
        first_index: index of the first channel, where a market has several feeds.
        max_streams: the exchange's limit for a connection.

    Raises:
        FeedConfigError: an unknown stream, a malformed symbol or endpoint, or too many streams.
    """

    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self,
        *,
        market: str,
        kinds: Mapping[str, StreamKind],
        unit_ns: int,
        url: Callable[[Sequence[str]], str],
        symbols: Sequence[str],
        streams: Sequence[str],
        first_index: int = 0,
        max_streams: int = MAX_STREAMS,
    ) -> None:
        self.market = market
        self.channels = make_channels(
            market, kinds, symbols, streams, first_index=first_index, max_streams=max_streams
        )
        how = subscriptions([subscription(channel) for channel in self.channels])
        self.url = url(how.in_url)
        self.opening_messages = how.messages
        self._unit_ns = unit_ns
        decoders = {channel: _decoder(channel, kinds[channel.stream]) for channel in self.channels}
        # By what is before the name and the name, quoted: no other frame can begin with that.
        self._run_decoders = {
            _BEGINNING + subscription(channel).encode() + b'"': (
                channel,
                decode
                if kinds[channel.stream].read is read_both_times and channel.ids is Ids.CONSECUTIVE
                else None,
            )
            for channel, decode in decoders.items()
        }
        self._key = slice(max(map(len, self._run_decoders)))
        self._readers = {
            subscription(channel).encode(): _reader(
                channel, decode, kinds[channel.stream].read, unit_ns
            )
            for channel, decode in decoders.items()
        }

    def decode(self, frame: bytes, *, binary: bool) -> Event | Notice:
        """Decode one combined frame; see `Feed.decode`."""
        if binary:
            raise FrameError(ErrorKind.BINARY_FRAME, f"{len(frame)} bytes in a binary frame")
        # Binance always sends "stream" first; anything else takes the slow way round.
        if not frame.startswith(_BEGINNING):
            return self._decode_unusual(frame)
        read = self._readers.get(frame[_NAME_AT : frame.find(b'"', _NAME_AT)])
        return self._decode_unusual(frame) if read is None else read(frame)

    def decode_burst(self, frames: Sequence[bytes], *, binary: bool) -> Burst | None:
        """Decode messages of trades; see `DecodesBursts`."""
        if binary:
            return None
        key = self._key
        groups = [frame[key] for frame in frames]
        by_group = _grouped(groups, frames)
        runs: dict[bytes, EventRun] = {}
        channels: set[int] = set()
        for group, some in by_group.items():
            found = self._run_decoders.get(group[: group.find(b'"', _NAME_AT) + 1])
            if found is None or found[0].index in channels:
                return None  # a channel's messages in two groups would lose their order
            channel, decode = found
            channels.add(channel.index)
            if decode is not None and len(some) >= _LEAST_RUN:
                run = self._decode_run(channel, decode, some)
                if run is not None:
                    runs[group] = run
        return Burst(groups, runs) if runs else None

    def _decode_run(
        self, channel: Channel, decode: Callable[[bytes], Any], frames: Sequence[bytes]
    ) -> EventRun | None:
        """Messages of one channel, if they go on from each other."""
        try:
            payloads = [frame.data for frame in map(decode, frames)]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None  # one by one it will show which
        ids = [payload.id for payload in payloads]
        if ids != list(range(ids[0], ids[0] + len(ids))):
            return None
        unit_ns = self._unit_ns
        return EventRun(
            channel,
            ids,
            ids,
            [payload.event_time * unit_ns for payload in payloads],
            [payload.trade_time * unit_ns for payload in payloads],
            sum(map(len, frames)),
        )

    def _decode_unusual(self, frame: bytes) -> Event | Notice:
        try:
            message = msgspec.json.decode(frame)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FrameError(ErrorKind.BAD_JSON, f"{error}: {quote(frame)}") from error
        if not isinstance(message, dict):
            raise FrameError(ErrorKind.BAD_JSON, f"not an object: {quote(frame)}")
        if "stream" in message:
            return self._decode_stream(message, frame)
        return decode_notice(message, frame)

    def _decode_stream(self, message: dict[str, Any], frame: bytes) -> Event | Notice:
        stream = message["stream"]
        if stream == "!serverShutdown":
            return Notice.SHUTDOWN
        read = self._readers.get(stream.encode()) if isinstance(stream, str) else None
        if read is None:
            raise FrameError(ErrorKind.UNKNOWN_STREAM, quote(frame))
        return read(frame)


def decode_notice(message: dict[str, Any], frame: bytes) -> Notice:
    """The meaning of a message that is no market data.

    Raises:
        FrameError: an error reply, or nothing known.
    """
    if "code" in message or "error" in message:
        raise FrameError(ErrorKind.EXCHANGE_ERROR, quote(frame))
    if "id" in message and "result" in message:
        return Notice.ACKNOWLEDGED
    if message.get("e") == "serverShutdown":
        return Notice.SHUTDOWN
    raise FrameError(ErrorKind.UNKNOWN_EVENT, quote(frame))


class _Kind(Protocol):
    """What channels need to know of a kind of stream; see `StreamKind`."""

    @property
    def ids(self) -> Ids: ...

    @property
    def has_event_time(self) -> bool: ...

    @property
    def has_trade_time(self) -> bool: ...


def make_channels(
    market: str,
    kinds: Mapping[str, _Kind],
    symbols: Sequence[str],
    streams: Sequence[str],
    *,
    first_index: int = 0,
    max_streams: int = MAX_STREAMS,
) -> tuple[Channel, ...]:
    """The channels of all streams of all symbols, each once.

    Raises:
        FeedConfigError: nothing asked for, an unknown stream, a malformed symbol, too many.
    """
    if not symbols or not streams:
        raise FeedConfigError("at least one symbol and one stream are needed.")
    for symbol in symbols:
        if not is_symbol(symbol):
            raise FeedConfigError(
                f"symbol {symbol!r} is not a Binance symbol; write it like BTCUSDT."
            )
    for stream in streams:
        if stream not in kinds:
            known = ", ".join(kinds)
            raise FeedConfigError(
                f"stream {stream!r} is not known for {market}; use any of {known}."
            )
    pairs = list(dict.fromkeys((stream, symbol) for stream in streams for symbol in symbols))
    if len(pairs) > max_streams:
        raise FeedConfigError(
            f"{len(pairs)} streams are more than the {max_streams} of one connection."
        )
    return tuple(
        Channel(
            index=index,
            stream=stream,
            symbol=symbol,
            ids=kinds[stream].ids,
            has_event_time=kinds[stream].has_event_time,
            has_trade_time=kinds[stream].has_trade_time,
        )
        for index, (stream, symbol) in enumerate(pairs, first_index)
    )


def subscription(channel: Channel) -> str:
    """Name of a channel as Binance's frames have it, `btcusdt@trade`."""
    return f"{channel.symbol.lower()}@{channel.stream}"


def combined_base(endpoint: str) -> str:
    """An endpoint without the path of raw or combined streams.

    Raises:
        FeedConfigError: it is not a WebSocket base URL.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in {"ws", "wss"} or not parts.hostname or parts.query:
        raise FeedConfigError(
            f"endpoint {endpoint!r} is not a WebSocket base URL; "
            "write it like wss://stream.binance.com:9443."
        )
    return endpoint.rstrip("/").removesuffix("/stream").removesuffix("/ws")


def quote(frame: bytes) -> str:
    """The beginning of a frame, fit for a log line."""
    shown = frame[:QUOTED_CHARS].decode("utf-8", "backslashreplace")
    return repr(shown) + ("..." if len(frame) > QUOTED_CHARS else "")
