"""Binance spot market data: JSON over one combined connection, times in microseconds.

Payloads are those of Binance's "WebSocket Streams" documentation. Only the keys needed are
decoded; unknown keys are ignored because Binance adds some without notice.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec

from probe.contract.metrics import ErrorKind
from probe.feeds.base import Channel, Event, FeedConfigError, FrameError, Ids, Notice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NS_PER_US: Final = 1_000
MAX_STREAMS: Final = 1024  # per connection, Binance's limit
QUOTED_CHARS: Final = 120  # of a bad frame, in an error

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _Trade(msgspec.Struct, gc=False):
    event: str = msgspec.field(name="e")
    event_us: _Count = msgspec.field(name="E")
    trade_us: _Count = msgspec.field(name="T")
    first_id: _Count = msgspec.field(name="t")


class _AggTrade(msgspec.Struct, gc=False):
    event: str = msgspec.field(name="e")
    event_us: _Count = msgspec.field(name="E")
    trade_us: _Count = msgspec.field(name="T")
    first_id: _Count = msgspec.field(name="a")


class _Depth(msgspec.Struct, gc=False):
    event: str = msgspec.field(name="e")
    event_us: _Count = msgspec.field(name="E")
    first_id: _Count = msgspec.field(name="U")
    last_id: _Count = msgspec.field(name="u")


class _BookTicker(msgspec.Struct, gc=False):
    first_id: _Count = msgspec.field(name="u")


class _TradeFrame(msgspec.Struct, gc=False):
    data: _Trade


class _AggTradeFrame(msgspec.Struct, gc=False):
    data: _AggTrade


class _DepthFrame(msgspec.Struct, gc=False):
    data: _Depth


class _BookTickerFrame(msgspec.Struct, gc=False):
    data: _BookTicker


@dataclass(frozen=True, slots=True)
class _StreamKind:
    """What one kind of stream sends.

    Attributes:
        frame: the combined frame's type.
        event: value its `e` must have, or None where there is none.
        ids: what its ids can show.
    """

    frame: type[_TradeFrame | _AggTradeFrame | _DepthFrame | _BookTickerFrame]
    event: str | None
    ids: Ids


_STREAMS: Final[Mapping[str, _StreamKind]] = MappingProxyType(
    {
        "trade": _StreamKind(_TradeFrame, "trade", Ids.CONSECUTIVE),
        "aggTrade": _StreamKind(_AggTradeFrame, "aggTrade", Ids.CONSECUTIVE),
        "depth": _StreamKind(_DepthFrame, "depthUpdate", Ids.RANGES),
        "depth@100ms": _StreamKind(_DepthFrame, "depthUpdate", Ids.RANGES),
        # Spot bookTicker has no time at all, and its ids jump: rates and order, nothing more.
        "bookTicker": _StreamKind(_BookTickerFrame, None, Ids.NONE),
    }
)


class BinanceSpot:
    """The `Feed` of Binance spot.

    Args:
        endpoint: base URL, `wss://stream.binance.com:9443`.
        symbols: upper-case symbols.
        streams: stream names, any of `trade`, `aggTrade`, `depth`, `depth@100ms`, `bookTicker`.

    Raises:
        FeedConfigError: an unknown stream, a malformed symbol or endpoint, or too many streams.
    """

    market = "spot"
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, endpoint: str, symbols: Sequence[str], streams: Sequence[str]) -> None:
        self.channels: tuple[Channel, ...] = tuple(_channels(symbols, streams))
        self.url = _url(endpoint, self.channels)
        self._routes: dict[bytes, tuple[Channel, str | None, msgspec.json.Decoder[Any]]] = {}
        decoders = {name: msgspec.json.Decoder(kind.frame) for name, kind in _STREAMS.items()}
        for channel in self.channels:
            name = _subscription(channel).encode()
            route = (channel, _STREAMS[channel.stream].event, decoders[channel.stream])
            self._routes[name] = route

    def decode(self, frame: bytes, *, binary: bool) -> Event | Notice:
        """Decode one combined frame; see `Feed.decode`."""
        if binary:
            raise FrameError(ErrorKind.BINARY_FRAME, f"{len(frame)} bytes in a binary frame")
        # Binance always sends "stream" first; anything else takes the slow way round.
        end = frame.find(b'"', 11)
        if end < 0 or frame[:11] != b'{"stream":"':
            return self._decode_unusual(frame)
        route = self._routes.get(frame[11:end])
        if route is None:
            return self._decode_unusual(frame)
        return _decode_event(frame, route)

    def _decode_unusual(self, frame: bytes) -> Event | Notice:
        try:
            message = msgspec.json.decode(frame)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FrameError(ErrorKind.BAD_JSON, f"{error}: {_quote(frame)}") from error
        if not isinstance(message, dict):
            raise FrameError(ErrorKind.BAD_JSON, f"not an object: {_quote(frame)}")
        if "stream" in message:
            return self._decode_stream(message, frame)
        if "code" in message or "error" in message:
            raise FrameError(ErrorKind.EXCHANGE_ERROR, _quote(frame))
        if "id" in message and "result" in message:
            return Notice.ACKNOWLEDGED
        if message.get("e") == "serverShutdown":
            return Notice.SHUTDOWN
        raise FrameError(ErrorKind.UNKNOWN_EVENT, _quote(frame))

    def _decode_stream(self, message: dict[str, Any], frame: bytes) -> Event | Notice:
        stream = message["stream"]
        if stream == "!serverShutdown":
            return Notice.SHUTDOWN
        route = self._routes.get(stream.encode()) if isinstance(stream, str) else None
        if route is None:
            raise FrameError(ErrorKind.UNKNOWN_STREAM, _quote(frame))
        return _decode_event(frame, route)


def _decode_event(
    frame: bytes, route: tuple[Channel, str | None, msgspec.json.Decoder[Any]]
) -> Event:
    channel, expected, decoder = route
    try:
        data = decoder.decode(frame).data
    except msgspec.ValidationError as error:
        raise FrameError(ErrorKind.BAD_FIELD, f"{error}: {_quote(frame)}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError(ErrorKind.BAD_JSON, f"{error}: {_quote(frame)}") from error
    if expected is None:
        return Event(channel, data.first_id, data.first_id)
    if data.event != expected:
        raise FrameError(ErrorKind.UNKNOWN_EVENT, _quote(frame))
    if channel.ids is Ids.RANGES:
        if data.last_id < data.first_id:
            raise FrameError(ErrorKind.BAD_FIELD, f"u < U: {_quote(frame)}")
        return Event(channel, data.first_id, data.last_id, data.event_us * NS_PER_US)
    return Event(
        channel,
        data.first_id,
        data.first_id,
        data.event_us * NS_PER_US,
        data.trade_us * NS_PER_US,
    )


def _channels(symbols: Sequence[str], streams: Sequence[str]) -> list[Channel]:
    if not symbols or not streams:
        raise FeedConfigError("at least one symbol and one stream are needed.")
    for symbol in symbols:
        if not (symbol.isascii() and symbol.isalnum() and symbol.isupper()):
            raise FeedConfigError(
                f"symbol {symbol!r} is not a Binance symbol; write it like BTCUSDT."
            )
    for stream in streams:
        if stream not in _STREAMS:
            known = ", ".join(_STREAMS)
            raise FeedConfigError(f"stream {stream!r} is not known for spot; use any of {known}.")
    pairs = list(dict.fromkeys((stream, symbol) for stream in streams for symbol in symbols))
    if len(pairs) > MAX_STREAMS:
        raise FeedConfigError(
            f"{len(pairs)} streams are more than the {MAX_STREAMS} of one connection."
        )
    return [
        Channel(
            index=index,
            stream=stream,
            symbol=symbol,
            ids=_STREAMS[stream].ids,
            has_event_time=_STREAMS[stream].event is not None,
            has_trade_time=_STREAMS[stream].ids is Ids.CONSECUTIVE,
        )
        for index, (stream, symbol) in enumerate(pairs)
    ]


def _subscription(channel: Channel) -> str:
    return f"{channel.symbol.lower()}@{channel.stream}"


def _url(endpoint: str, channels: Sequence[Channel]) -> str:
    parts = urlsplit(endpoint)
    if parts.scheme not in {"ws", "wss"} or not parts.hostname or parts.query:
        raise FeedConfigError(
            f"endpoint {endpoint!r} is not a WebSocket base URL; "
            "write it like wss://stream.binance.com:9443."
        )
    base = endpoint.rstrip("/").removesuffix("/stream").removesuffix("/ws")
    streams = "/".join(_subscription(channel) for channel in channels)
    return f"{base}/stream?streams={streams}&timeUnit=MICROSECOND"


def _quote(frame: bytes) -> str:
    shown = frame[:QUOTED_CHARS].decode("utf-8", "backslashreplace")
    return repr(shown) + ("..." if len(frame) > QUOTED_CHARS else "")
