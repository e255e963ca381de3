"""SBE frames, built by an encoder of the test's own from the published layout."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from latency_sweep.contract.experiment import load
from latency_sweep.contract.metrics import ErrorKind
from latency_sweep.probe.feeds.base import Event, FeedConfigError, FrameError, Ids, Notice
from latency_sweep.probe.feeds.binance_sbe import BinanceSbe
from latency_sweep.probe.measurement.channel_state import ChannelState
from latency_sweep.probe.measurement.instruments import Instruments
from latency_sweep.probe.measurement.recorder import Recorder
from latency_sweep.probe.measurement.sequence import GRACE_NS

KEY = "abcDEF123"
FEED = BinanceSbe(
    "wss://x.test:9443", ["BTCUSDT"], ["trade", "bestBidAsk", "depth", "depth20"], api_key=KEY
)
TIME_US = 1672515782136001


def message(
    template: int, block: bytes, groups: bytes, symbol: str = "BTCUSDT", extra: bytes = b""
) -> bytes:
    """A frame; `extra` are fields that a later version appended to the block."""
    header = struct.pack("<HHHH", len(block) + len(extra), template, 1, 0)
    name = symbol.encode()
    return header + block + extra + groups + bytes([len(name)]) + name


def trades(*ids: int, extra: bytes = b"") -> bytes:
    entries = b"".join(struct.pack("<qqqB", number, 1, 2, 1) for number in ids)
    block = struct.pack("<qqbb", TIME_US, TIME_US - 900, -2, -8)
    return message(10000, block, struct.pack("<HI", 25, len(ids)) + entries, extra=extra)


def best(symbol: str = "BTCUSDT") -> bytes:
    block = struct.pack("<qqbbqqqq", TIME_US, 77, -2, -8, 1, 2, 3, 4)
    return message(10001, block, b"", symbol)


def levels(count: int) -> bytes:
    return struct.pack("<HH", 16, count) + struct.pack("<qq", 1, 2) * count


def snapshot() -> bytes:
    return message(10002, struct.pack("<qqbb", TIME_US, 88, -2, -8), levels(20) + levels(20))


def diff(first: int = 5, last: int = 9) -> bytes:
    block = struct.pack("<qqqbb", TIME_US, first, last, -2, -8)
    return message(10003, block, levels(3) + levels(0))


def decode(frame: bytes) -> Event:
    event = FEED.decode(frame, binary=True)
    assert isinstance(event, Event)
    return event


def fault(frame: bytes, *, binary: bool = True) -> ErrorKind:
    with pytest.raises(FrameError) as caught:
        FEED.decode(frame, binary=binary)
    return caught.value.kind


def test_trades_cover_the_ids_of_all_their_entries() -> None:
    event = decode(trades(100, 101, 102))
    assert (event.channel.stream, event.first_id, event.last_id) == ("trade", 100, 102)
    assert event.event_ns == TIME_US * 1000
    assert event.trade_ns == (TIME_US - 900) * 1000


def test_a_missing_message_is_one_however_many_trades_it_held() -> None:
    check = ChannelState(decode(trades(1)).channel, pytest.fail).sequence
    assert check is not None
    for message_number in range(1000):
        if message_number != 500:
            first = 1 + 5 * message_number
            event = decode(trades(*range(first, first + 5)))
            check.see(event.first_id, event.last_id, 0)
    check.expire(GRACE_NS)
    assert (check.gaps, check.lost) == (1, 1)


def test_best_bid_ask_is_the_top_of_book_with_a_time() -> None:
    event = decode(best())
    assert (event.channel.stream, event.first_id) == ("bestBidAsk", 77)
    assert event.event_ns == TIME_US * 1000
    assert event.trade_ns is None
    assert event.channel.ids is Ids.NONE


def test_snapshot_and_diff_of_the_book() -> None:
    assert decode(snapshot()).first_id == 88
    event = decode(diff())
    assert (event.first_id, event.last_id, event.channel.ids) == (5, 9, Ids.RANGES)


def test_fields_appended_by_a_later_version_are_stepped_over() -> None:
    assert decode(trades(7, extra=b"\x01\x02\x03")).first_id == 7


@given(st.integers(min_value=0, max_value=len(trades(1, 2, 3)) - 1))
def test_truncated_frames_are_refused(length: int) -> None:
    assert fault(trades(1, 2, 3)[:length]) is ErrorKind.BAD_FIELD


@given(st.binary(max_size=400))
def test_arbitrary_bytes_never_raise_anything_else(frame: bytes) -> None:
    with pytest.raises(FrameError):
        FEED.decode(frame, binary=True)


@pytest.mark.parametrize("template", [10000, 10001, 10002, 10003])
@given(body=st.binary(max_size=300), block=st.integers(0, 65535))
def test_arbitrary_bodies_never_raise_anything_else(template: int, body: bytes, block: int) -> None:
    frame = struct.pack("<HHHH", block, template, 1, 0) + body
    with contextlib.suppress(FrameError):
        FEED.decode(frame, binary=True)


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (message(9999, b"", b""), ErrorKind.UNKNOWN_EVENT),
        (struct.pack("<HHHH", 18, 10000, 2, 0), ErrorKind.UNKNOWN_EVENT),
        (trades(), ErrorKind.BAD_FIELD),
        (best("DOGEUSDT"), ErrorKind.UNKNOWN_STREAM),
        (diff(9, 5), ErrorKind.BAD_FIELD),
        (diff(-9, 5), ErrorKind.BAD_FIELD),
    ],
)
def test_other_frames_are_refused_by_kind(frame: bytes, kind: ErrorKind) -> None:
    assert fault(frame) is kind


def test_control_messages_are_json_in_text_frames() -> None:
    assert FEED.decode(b'{"result":null,"id":1}', binary=False) is Notice.ACKNOWLEDGED
    assert FEED.decode(b'{"e":"serverShutdown","E":1}', binary=False) is Notice.SHUTDOWN
    assert fault(b"nonsense", binary=False) is ErrorKind.BAD_JSON
    assert fault(b'{"code":2,"msg":"no"}', binary=False) is ErrorKind.EXCHANGE_ERROR


def test_the_key_goes_into_a_header_and_nowhere_else() -> None:
    assert FEED.headers == {"X-MBX-APIKEY": KEY}
    assert KEY not in FEED.url
    assert KEY not in repr(FEED)


@pytest.mark.parametrize("key", ["", "with space", "line\nbreak", "schlüssel"])
def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(FeedConfigError) as caught:
        BinanceSbe("wss://x.test", ["BTCUSDT"], ["trade"], api_key=key)
    assert "needs an API key" in str(caught.value)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize("more", [b"\0", b"\0" * 1000, best("ETHUSDT"), trades(200)])
@pytest.mark.parametrize("first", [trades(100, 101), best(), snapshot(), diff()])
def test_what_follows_a_message_is_an_error_of_its_own_and_the_message_is_usable(
    first: bytes, more: bytes
) -> None:
    with pytest.raises(FrameError, match=f"^{len(more)} bytes after the message") as caught:
        FEED.decode(first + more, binary=True)
    assert caught.value.kind is ErrorKind.TRAILING_DATA
    assert caught.value.usable == first
    assert decode(first).first_id >= 0


def test_a_message_is_not_lost_with_what_follows_it() -> None:
    registry = CollectorRegistry()
    instruments = Instruments(registry, load().histogram, "sbe")
    recorder = Recorder("sbe", FEED.channels, instruments)
    receiver = recorder.receiver(FEED, recorder.lines[0], lambda: None)
    frames = [trades(100), trades(101) + trades(102), trades(102), trades(103)]
    receiver.record(frames, True, TIME_US * 1000, TIME_US * 1000)
    state = recorder.states[decode(trades(1)).channel.index]
    assert state.messages == 4
    assert state.sequence is not None
    assert state.sequence.next_id == 104
    labels = {"market": "sbe", "kind": "trailing_data"}
    assert registry.get_sample_value("feed_errors_total", labels) == 1
