"""Binance spot market data in SBE: binary, times in microseconds.

Layouts are those of Binance's `stream_1_0.xml` (schema 1, version 0), little-endian: an 8-byte
header {blockLength, templateId, schemaId, version; u16 each}, a block of fixed fields, repeating
groups, and the symbol as the last, variable field. Lengths are taken from the message, so that
fields appended by a later version are stepped over. What follows the symbol is
counted, not decoded.
"""

from __future__ import annotations

import struct
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from latency_sweep.contract.metrics import ErrorKind
from latency_sweep.probe.feeds.base import Channel, Event, FeedConfigError, FrameError, Ids, Notice
from latency_sweep.probe.feeds.binance_json import (
    combined_base,
    decode_notice,
    make_channels,
    quote,
    subscription,
)
from latency_sweep.probe.feeds.binance_subscriptions import subscriptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MARKET: Final = "sbe"
API_KEY_HEADER: Final = "X-MBX-APIKEY"
SCHEMA_ID: Final = 1
_NS_PER_US: Final = 1_000
_HEADER: Final = struct.Struct("<HHHH")
_TWO_TIMES: Final = struct.Struct("<qq")
_DIFF: Final = struct.Struct("<qqq")
_ID: Final = struct.Struct("<q")
_GROUP_OF_MANY: Final = struct.Struct("<HI")  # {blockLength u16, count u32}
_GROUP: Final = struct.Struct("<HH")  # {blockLength u16, count u16}


class _Fields(NamedTuple):
    """What was read of a message, and where its symbol starts. Times in microseconds."""

    first_id: int
    last_id: int
    event_us: int
    trade_us: int | None
    symbol_at: int


class _Template(NamedTuple):
    stream: str
    read: Callable[[bytes, int], _Fields]


class SbeKind(NamedTuple):
    """What one kind of stream can show; see `StreamKind`."""

    ids: Ids
    has_event_time: bool = True
    has_trade_time: bool = False


STREAMS: Final[Mapping[str, SbeKind]] = MappingProxyType(
    {
        # A message holds all trades of one event: their ids are a range, however long.
        "trade": SbeKind(Ids.RANGES, has_trade_time=True),
        # Outdated updates are dropped under load: jumps of the id are no loss.
        "bestBidAsk": SbeKind(Ids.NONE),
        "depth": SbeKind(Ids.RANGES),
        "depth20": SbeKind(Ids.NONE),
    }
)


def _read_trades(frame: bytes, block: int) -> _Fields:
    event_us, trade_us = _TWO_TIMES.unpack_from(frame, _HEADER.size)
    group_at = _HEADER.size + block
    length, count = _GROUP_OF_MANY.unpack_from(frame, group_at)
    if not count:
        raise ValueError("no trades in it")
    first_at = group_at + _GROUP_OF_MANY.size
    end = first_at + length * count
    if length < _ID.size or end > len(frame):
        raise ValueError(f"{count} trades of {length} bytes do not fit")
    (first,) = _ID.unpack_from(frame, first_at)
    (last,) = _ID.unpack_from(frame, end - length)
    return _Fields(first, last, event_us, trade_us, end)


def _read_best(frame: bytes, block: int) -> _Fields:
    event_us, update_id = _TWO_TIMES.unpack_from(frame, _HEADER.size)
    return _Fields(update_id, update_id, event_us, None, _HEADER.size + block)


def _read_snapshot(frame: bytes, block: int) -> _Fields:
    event_us, update_id = _TWO_TIMES.unpack_from(frame, _HEADER.size)
    return _Fields(update_id, update_id, event_us, None, _after_book(frame, block))


def _read_diff(frame: bytes, block: int) -> _Fields:
    event_us, first_id, last_id = _DIFF.unpack_from(frame, _HEADER.size)
    return _Fields(first_id, last_id, event_us, None, _after_book(frame, block))


def _after_book(frame: bytes, block: int) -> int:
    """Where the groups of bids and asks end."""
    position = _HEADER.size + block
    for _ in ("bids", "asks"):
        length, count = _GROUP.unpack_from(frame, position)
        position += _GROUP.size + length * count
    return position


_TEMPLATES: Final[Mapping[int, _Template]] = MappingProxyType(
    {
        10000: _Template("trade", _read_trades),
        10001: _Template("bestBidAsk", _read_best),
        10002: _Template("depth20", _read_snapshot),
        10003: _Template("depth", _read_diff),
    }
)


class BinanceSbe:
    """The `Feed` of SBE streams over one connection.

    Args:
        endpoint: base URL, `wss://stream-sbe.binance.com`.
        symbols: upper-case symbols.
        streams: any of `STREAMS`.
        api_key: Ed25519 API key; sent as a header, never shown.

    Raises:
        FeedConfigError: no key, or see `make_channels`.
    """

    market = MARKET

    def __init__(
        self, endpoint: str, symbols: Sequence[str], streams: Sequence[str], *, api_key: str
    ) -> None:
        self.headers: Mapping[str, str] = {}
        self.use_api_key(api_key)
        self.channels = make_channels(MARKET, STREAMS, symbols, streams)
        how = subscriptions([subscription(channel) for channel in self.channels])
        self.url = f"{combined_base(endpoint)}/stream?streams={'/'.join(how.in_url)}"
        self.opening_messages = how.messages
        self._by_name = {(c.stream, c.symbol.encode()): c for c in self.channels}

    def use_api_key(self, api_key: str) -> None:
        """Use a key for connections that are opened from now on.

        Raises:
            FeedConfigError: it is none.
        """
        if not api_key or not api_key.isascii() or not api_key.isalnum():
            raise FeedConfigError(
                "the sbe market needs an API key of letters and digits; "
                "give it with --api-key-file or PROBE_API_KEY."
            )
        self.headers = MappingProxyType({API_KEY_HEADER: api_key})

    def decode(self, frame: bytes, *, binary: bool) -> Event | Notice:
        """Decode one message; see `Feed.decode`."""
        if not binary:
            return _decode_text(frame)
        try:
            block, template_id, schema, _ = _HEADER.unpack_from(frame)
            template = _TEMPLATES.get(template_id)
            if schema != SCHEMA_ID or template is None:
                raise FrameError(
                    ErrorKind.UNKNOWN_EVENT, f"template {template_id} of schema {schema}"
                )
            fields = template.read(frame, block)
            symbol = _symbol(frame, fields.symbol_at)
            end = fields.symbol_at + 1 + len(symbol)
        except (struct.error, ValueError) as error:
            detail = f"{error}: {frame[:32].hex()}"
            raise FrameError(ErrorKind.BAD_FIELD, detail) from error
        if end != len(frame):
            # Of a later version, or a second message, which the exchange does not announce.
            detail = f"{len(frame) - end} bytes after the message: {frame[end : end + 32].hex()}"
            raise FrameError(ErrorKind.TRAILING_DATA, detail, usable=frame[:end])
        channel = self._by_name.get((template.stream, symbol))
        if channel is None:
            raise FrameError(ErrorKind.UNKNOWN_STREAM, f"{template.stream} of {symbol!r}")
        return _event(channel, fields)


def _event(channel: Channel, fields: _Fields) -> Event:
    first_id, last_id, event_us, trade_us, _ = fields
    if last_id < first_id or first_id < 0 or event_us < 0 or (trade_us or 0) < 0:
        detail = f"ids {first_id}..{last_id}, times {event_us} and {trade_us}"
        raise FrameError(ErrorKind.BAD_FIELD, detail)
    return Event(
        channel,
        first_id,
        last_id,
        event_us * _NS_PER_US,
        None if trade_us is None else trade_us * _NS_PER_US,
    )


def _symbol(frame: bytes, position: int) -> bytes:
    length = frame[position] if position < len(frame) else 0
    symbol = frame[position + 1 : position + 1 + length]
    if not length or len(symbol) < length:
        raise ValueError("no symbol at its end")
    return symbol


def _decode_text(frame: bytes) -> Notice:
    try:
        message: Any = msgspec.json.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError(ErrorKind.BAD_JSON, f"{error}: {quote(frame)}") from error
    if not isinstance(message, dict):
        raise FrameError(ErrorKind.BAD_JSON, f"not an object: {quote(frame)}")
    if message.get("stream") == "!serverShutdown":
        return Notice.SHUTDOWN
    return decode_notice(message, frame)
