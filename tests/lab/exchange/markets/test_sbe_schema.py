"""SBE: whatever the simulator encodes from the schema, the probe decodes to the same values."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.contract.metrics import ErrorKind
from latency_sweep.lab.exchange.markets.sbe_schema import (
    PRIMITIVES,
    STREAM_1_0,
    Field,
    Message,
    Schema,
)
from latency_sweep.probe.feeds.base import Event, FrameError
from latency_sweep.probe.feeds.binance_sbe import BinanceSbe

SYMBOLS = ["BTCUSDT", "1000SATSUSDT"]
STREAMS = {
    "TradesStreamEvent": "trade",
    "BestBidAskStreamEvent": "bestBidAsk",
    "DepthSnapshotStreamEvent": "depth20",
    "DepthDiffStreamEvent": "depth",
}
FEED = BinanceSbe("wss://x.test", SYMBOLS, list(STREAMS.values()), api_key="key")
RANGES = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "uint16": (0, 65535),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
}
# Times in µs that are still 64 bits in nanoseconds, and ids as the exchange gives them.
BOUNDS = {
    "eventTime": (0, 2**63 // 1_000 - 1),
    "transactTime": (0, 2**63 // 1_000 - 1),
    "bookUpdateId": (0, 2**63 - 1),
    "firstBookUpdateId": (0, 2**62),
    "lastBookUpdateId": (2**62, 2**63 - 1),
}


def values(fields: tuple[Field, ...]) -> st.SearchStrategy[dict[str, int]]:
    return st.fixed_dictionaries(
        {f.name: st.integers(*BOUNDS.get(f.name, RANGES[f.primitive])) for f in fields}
    )


@st.composite
def contents(
    draw: st.DrawFn, message: Message, *, smallest: int = 0
) -> tuple[dict[str, int], dict[str, list[dict[str, int]]], dict[str, str]]:
    fields = draw(values(message.fields))
    groups = {
        group.name: draw(st.lists(values(group.fields), min_size=smallest, max_size=25))
        for group in message.groups
    }
    first = draw(st.integers(0, 2**62))
    for number, entry in enumerate(groups.get("trades", []), first):
        entry["id"] = number
    return fields, groups, {"symbol": draw(st.sampled_from(SYMBOLS))}


def later(schema: Schema, extra: tuple[Field, ...]) -> Schema:
    """A newer version of a schema that appends fields to every block and every group."""
    messages = {
        name: replace(
            message,
            fields=message.fields + extra,
            groups=tuple(replace(g, fields=g.fields + extra) for g in message.groups),
        )
        for name, message in schema.messages.items()
    }
    return replace(schema, version=schema.version + 1, messages=messages)


def decoded(frame: bytes) -> Event:
    event = FEED.decode(frame, binary=True)
    assert isinstance(event, Event)
    return event


def check(event: Event, message: Message, told: tuple[Any, Any, Any]) -> None:
    """The decoded event says what was encoded."""
    fields, groups, data = told
    assert (event.channel.stream, event.channel.symbol) == (STREAMS[message.name], data["symbol"])
    assert event.event_ns == fields["eventTime"] * 1_000
    if message.name == "TradesStreamEvent":
        ids = [entry["id"] for entry in groups["trades"]]
        assert (event.first_id, event.last_id) == (ids[0], ids[-1])
        assert event.trade_ns == fields["transactTime"] * 1_000
        return
    assert event.trade_ns is None
    if message.name == "DepthDiffStreamEvent":
        expected = fields["firstBookUpdateId"], fields["lastBookUpdateId"]
    else:
        expected = (fields["bookUpdateId"],) * 2
    assert (event.first_id, event.last_id) == expected


def smallest_group(message: Message) -> int:
    """A trade event without trades says nothing; books may be empty."""
    return 1 if message.name == "TradesStreamEvent" else 0


@pytest.mark.parametrize("name", STREAMS)
@given(data=st.data())
def test_every_template_decodes_to_what_was_encoded(name: str, data: st.DataObject) -> None:
    message = STREAM_1_0.messages[name]
    told = data.draw(contents(message, smallest=smallest_group(message)))
    check(decoded(STREAM_1_0.encode(name, *told)), message, told)


@pytest.mark.parametrize("name", STREAMS)
@given(data=st.data())
def test_fields_appended_by_a_newer_version_change_nothing(name: str, data: st.DataObject) -> None:
    primitives = data.draw(st.lists(st.sampled_from(list(PRIMITIVES)), min_size=1, max_size=4))
    extra = tuple(Field(f"new{n}", primitive) for n, primitive in enumerate(primitives))
    newer = later(STREAM_1_0, extra)
    told = data.draw(contents(newer.messages[name], smallest=smallest_group(newer.messages[name])))
    check(decoded(newer.encode(name, *told)), newer.messages[name], told)


@pytest.mark.parametrize("name", STREAMS)
@given(data=st.data())
def test_a_frame_cut_anywhere_is_a_bad_field(name: str, data: st.DataObject) -> None:
    frame = STREAM_1_0.encode(name, *data.draw(contents(STREAM_1_0.messages[name])))
    length = data.draw(st.integers(0, len(frame) - 1))
    with pytest.raises(FrameError) as caught:
        FEED.decode(frame[:length], binary=True)
    assert caught.value.kind is ErrorKind.BAD_FIELD


def test_an_event_without_trades_is_a_bad_field() -> None:
    fields = {"eventTime": 1, "transactTime": 1, "priceExponent": 0, "qtyExponent": 0}
    frame = STREAM_1_0.encode("TradesStreamEvent", fields, {"trades": []}, {"symbol": "BTCUSDT"})
    with pytest.raises(FrameError) as caught:
        FEED.decode(frame, binary=True)
    assert caught.value.kind is ErrorKind.BAD_FIELD


def test_a_count_of_four_billion_trades_is_a_bad_field() -> None:
    block = struct.pack("<qqbb", 1, 1, 0, 0)
    frame = struct.pack("<HHHH", 18, 10000, 1, 0) + block + struct.pack("<HI", 25, 2**32 - 1)
    with pytest.raises(FrameError) as caught:
        FEED.decode(frame + bytes(40), binary=True)
    assert caught.value.kind is ErrorKind.BAD_FIELD


@pytest.mark.parametrize(
    ("name", "template", "block", "entry"),
    [
        ("TradesStreamEvent", 10000, 18, 25),
        ("BestBidAskStreamEvent", 10001, 50, None),
        ("DepthSnapshotStreamEvent", 10002, 18, 16),
        ("DepthDiffStreamEvent", 10003, 26, 16),
    ],
)
def test_lengths_are_the_published_ones(
    name: str, template: int, block: int, entry: int | None
) -> None:
    message = STREAM_1_0.messages[name]
    zeros = dict.fromkeys((f.name for f in message.fields), 0)
    groups = {g.name: [dict.fromkeys((f.name for f in g.fields), 0)] for g in message.groups}
    frame = STREAM_1_0.encode(name, zeros, groups, {"symbol": "BTCUSDT"})
    assert struct.unpack_from("<HHHH", frame) == (block, template, 1, 0)
    if entry is not None:
        assert struct.unpack_from("<H", frame, 8 + block) == (entry,)
    assert frame.endswith(b"\x07BTCUSDT")


def test_a_trade_event_has_exactly_the_published_bytes() -> None:
    fields = {"eventTime": 0x0102, "transactTime": 0x0304, "priceExponent": -2, "qtyExponent": -8}
    entry = {"id": 5, "price": 6, "qty": 7, "isBuyerMaker": 1}
    frame = STREAM_1_0.encode("TradesStreamEvent", fields, {"trades": [entry]}, {"symbol": "AB"})
    assert frame == bytes.fromhex(
        "1200 1027 0100 0000  0201000000000000 0403000000000000 fe f8  1900 01000000"
        "0500000000000000 0600000000000000 0700000000000000 01  02 4142"
    )
