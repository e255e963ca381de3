"""Replay: the recorded bytes and latencies, moved to now."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_sweep.lab.exchange.config import Replay
from latency_sweep.lab.exchange.markets.events import JsonEvent, TimeUnit
from latency_sweep.lab.exchange.sources.replay import ReplayError, ReplaySource, read_recording
from tests.lab.exchange.clients import Running, drain

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    Run = Callable[..., AbstractAsyncContextManager[Running]]

R0 = 1_680_652_800_004_107
MS = 1_000_000
NOW = 1_795_000_000_123_456_789


def trade(number: int, event_ms: int, trade_ms: int) -> str:
    return (
        f'{{"stream":"btcusdt@trade","data":{{"e":"trade","E":{event_ms},"s":"BTCUSDT",'
        f'"t":{number},"p":"28165.47000000","q":"0.00056000","T":{trade_ms},"m":true,"M":true}}}}'
    )


# The second event is later than its receive timestamp: the recording host's clock was behind.
FRAMES = [
    (R0, trade(1, 1_680_652_800_000, 1_680_652_799_999)),
    (R0 + 1_000, trade(2, 1_680_652_800_017, 1_680_652_800_016)),
    (
        R0 + 1_124,
        (
            '{"stream":"btcusdt@bookTicker","data":{"u":36090299876,"s":"BTCUSDT",'
            '"b":"28165.47000000","B":"7.98680000","a":"28165.48000000","A":"3.26888000"}}'
        ),
    ),
    (
        R0 + 40_333,
        (
            '{"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","E":1680652800016,'
            '"T":1680652800009,"s":"BTCUSDT","U":5,"u":9,"pu":4,"b":[["22300.00","2.788"]],"a":[]}}'
        ),
    ),
    (
        R0 + 50_333,
        (
            '{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":2710249422918,'
            '"s":"BTCUSDT","b":"28155.10","T":1680652800089,"E":1680652800093}}'
        ),
    ),
]
SNAPSHOT = (R0 + 2_000, '{"lastUpdateId":1,"bids":[],"asks":[]}')


def lines(frames: list[tuple[int, str]]) -> bytes:
    return "".join(f"{timestamp} {text}\n" for timestamp, text in frames).encode()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "frames.gz"
    path.write_bytes(gzip.compress(lines([*FRAMES[:3], SNAPSHOT, *FRAMES[3:]])))
    return path


def source(path: Path, **keys: Any) -> ReplaySource:
    config = Replay(file=path, **keys)
    return ReplaySource(config, offset_ns=0, may_start=lambda: True, now_ns=NOW)


def play(path: Path, **keys: Any) -> list[JsonEvent]:
    recording = source(path, **keys)
    recording.audience_changed(NOW)
    return recording.take_due(NOW + 3600 * 1_000 * MS)


def without_times(text: str) -> str:
    return re.sub(r'("[ET]":)\d+', r"\1", text)


def combined(event: JsonEvent, unit: TimeUnit = TimeUnit.MILLISECOND) -> str:
    frame = event.frame(unit, combined=True)
    return frame[frame.index(b"{") :].decode()


def test_all_bytes_but_the_times_stay(recording: Path) -> None:
    replayed = [combined(event) for event in play(recording)]
    assert [without_times(text) for text in replayed] == [without_times(t) for _, t in FRAMES]


def test_the_raw_form_is_the_recorded_data_alone(recording: Path) -> None:
    event = play(recording)[2]
    wrapped = FRAMES[2][1]
    assert event.payload(TimeUnit.MILLISECOND).decode() == wrapped[wrapped.index("{", 1) : -1]


def test_every_time_moves_by_the_same_whole_milliseconds(recording: Path) -> None:
    digits = re.compile(r'"[ET]":(\d+)')
    shifts = {
        int(new) - int(old)
        for event, (_, text) in zip(play(recording), FRAMES, strict=True)
        for new, old in zip(digits.findall(combined(event)), digits.findall(text), strict=True)
    }
    assert len(shifts) == 1


def test_times_are_given_in_the_unit_asked_for(recording: Path) -> None:
    event = play(recording)[0]
    milliseconds, microseconds = (
        json.loads(event.payload(unit)) for unit in (TimeUnit.MILLISECOND, TimeUnit.MICROSECOND)
    )
    assert microseconds["E"] == milliseconds["E"] * 1_000
    assert microseconds["T"] == milliseconds["T"] * 1_000
    assert microseconds["t"] == milliseconds["t"]


@given(speed=st.floats(0.01, 100), now_ns=st.integers(NOW, NOW * 2))
@settings(deadline=None)
def test_the_recorded_latency_is_kept_exactly_at_any_speed(
    tmp_path_factory: pytest.TempPathFactory, speed: float, now_ns: int
) -> None:
    path = tmp_path_factory.mktemp("replay") / "frames"
    path.write_bytes(lines(FRAMES))
    recording = ReplaySource(
        Replay(file=path, speed=speed), offset_ns=0, may_start=lambda: True, now_ns=now_ns
    )
    recording.audience_changed(now_ns)
    for event, (timestamp, text) in zip(recording.take_due(now_ns * 2), FRAMES, strict=True):
        data = json.loads(text)["data"]
        if "E" in data:
            assert event.depart_ns - event.event_ns == timestamp * 1_000 - data["E"] * MS
            sent = json.loads(event.payload(TimeUnit.MILLISECOND))
            assert sent["E"] * MS == event.event_ns


def test_a_negative_latency_stays_negative(recording: Path) -> None:
    event = play(recording)[1]
    assert event.depart_ns - event.event_ns == -11_893_000


def test_the_original_spacing_is_kept(recording: Path) -> None:
    events = play(recording)
    spacing = [event.depart_ns - events[0].depart_ns for event in events]
    assert spacing == [(timestamp - R0) * 1_000 for timestamp, _ in FRAMES]


def test_twice_the_speed_halves_the_spacing(recording: Path) -> None:
    events = play(recording, speed=2)
    spacing = events[-1].depart_ns - events[0].depart_ns
    assert spacing == pytest.approx((FRAMES[-1][0] - R0) * 500, abs=MS)


def test_ids_of_every_known_message_are_found(recording: Path) -> None:
    assert [(event.first_id, event.last_id) for event in play(recording)] == [
        (1, 1),
        (2, 2),
        (36090299876, 36090299876),
        (5, 9),
        (2710249422918, 2710249422918),
    ]


def test_no_more_than_the_limit_is_sent(recording: Path) -> None:
    assert len(play(recording, limit=2)) == 2


def test_plain_text_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "frames.txt"
    path.write_bytes(lines(FRAMES))
    assert len(read_recording(path)) == len(FRAMES)


def test_nothing_is_due_before_the_audience_is_there(recording: Path) -> None:
    ready = False
    replay = ReplaySource(Replay(file=recording), offset_ns=0, may_start=lambda: ready, now_ns=NOW)
    replay.audience_changed(NOW)
    assert replay.next_ns() is None
    ready = True
    replay.audience_changed(NOW)
    assert replay.next_ns() is not None


def test_a_named_start_needs_no_audience(recording: Path) -> None:
    replay = ReplaySource(
        Replay(file=recording, start_at=1_800_000_000.0),
        offset_ns=0,
        may_start=lambda: False,
        now_ns=NOW,
    )
    next_ns = replay.next_ns()
    assert next_ns is not None
    assert 0 <= 1_800_000_000 * 1_000 * MS - next_ns < MS


def test_a_start_in_the_past_is_refused(recording: Path) -> None:
    with pytest.raises(ReplayError, match=r"replay\.start_at 1\.000 has already passed"):
        source(recording, start_at=1.0)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"not a line\n", "expected a receive time"),
        (b"1680652800004107 {nonsense}\n", "not valid JSON"),
        (
            b'1680652800004107 {"stream":"a@trade","data":'
            + b'{"a":' * 500_000
            + b"1"
            + b"}" * 500_001
            + b"\n",
            "nested too deeply",
        ),
        (
            b'1680652800004107 {"stream":"a@trade","data":{"E":1680649199999}}\n',
            "is not within an hour of the receive time",
        ),
        (
            b'1680652800004107 {"stream":"a@trade","data":{"e":"trade","t":%d}}\n' % 2**63,
            "larger than 64 bits hold",
        ),
    ],
)
def test_a_malformed_line_is_named_by_file_and_number(
    tmp_path: Path, line: bytes, fault: str
) -> None:
    path = tmp_path / "frames.txt"
    path.write_bytes(lines(FRAMES[:1]) + line)
    with pytest.raises(ReplayError, match=rf"frames\.txt, line 2: .*{fault}"):
        read_recording(path)


def test_a_recording_without_frames_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "frames.txt"
    path.write_bytes(lines([SNAPSHOT]))
    with pytest.raises(ReplayError, match="holds no recorded frame"):
        read_recording(path)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b'1680652800004107 {"stream":"%b","data":{}}\n' % (b"a" * 41), "is longer than 40 bytes"),
        (b'1680652799000000 {"stream":"a@trade","data":{}}\n', "1.004 s before an earlier line's"),
    ],
)
def test_a_frame_that_cannot_be_replayed_is_refused(
    tmp_path: Path, line: bytes, fault: str
) -> None:
    path = tmp_path / "frames.txt"
    path.write_bytes(lines(FRAMES[:1]) + line)
    with pytest.raises(ReplayError, match=rf"frames\.txt: .*{fault}"):
        read_recording(path)


def test_frames_of_several_connections_are_sorted(tmp_path: Path) -> None:
    path = tmp_path / "frames.txt"
    path.write_bytes(lines([FRAMES[1], FRAMES[0], FRAMES[2]]))
    assert [frame.ids[0] for frame in read_recording(path)[:2]] == [1, 2]


def test_an_archive_that_was_cut_off_is_replayed_as_far_as_it_goes(
    tmp_path: Path, recording: Path
) -> None:
    path = tmp_path / "cut.gz"
    path.write_bytes(recording.read_bytes()[:-8])
    assert len(read_recording(path)) == len(FRAMES)


def test_spaces_in_a_frame_stay_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "frames.txt"
    text = FRAMES[0][1].replace(":", " : ").replace(",", " , ")
    path.write_bytes(lines([(R0, text)]))
    (event,) = play(path)
    data = text[text.index("{", 1) : -1]
    digits = re.compile(r"\d{13}")
    assert digits.sub("", event.payload(TimeUnit.MILLISECOND).decode()) == digits.sub("", data)
    assert event.event_ns > NOW


def test_an_archive_whose_data_is_damaged_is_refused(tmp_path: Path, recording: Path) -> None:
    path = tmp_path / "damaged.gz"
    header = recording.read_bytes()[:10]
    path.write_bytes(header + b"\xff" * 100)
    with pytest.raises(ReplayError, match=r"damaged\.gz: cannot be read: Error -3 .*\.$"):
        read_recording(path)


def test_lists_of_many_symbols_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "frames.txt"
    many = (R0, '{"stream":"!miniTicker@arr","data":[{"e":"24hrMiniTicker","E":1680652800000}]}')
    path.write_bytes(lines([many, *FRAMES]))
    assert len(read_recording(path)) == len(FRAMES)


def test_an_event_of_a_kind_that_is_no_text_has_no_ids(tmp_path: Path) -> None:
    path = tmp_path / "frames.txt"
    path.write_bytes(lines([(R0, '{"stream":"btcusdt@trade","data":{"e":["trade"],"t":1}}')]))
    (frame,) = read_recording(path)
    assert frame.ids == (0, 0)


async def test_clients_receive_the_recording_with_its_latencies(run: Run, recording: Path) -> None:
    streams = "btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@0ms"
    async with (
        run(replay={"file": str(recording)}) as exchange,
        exchange.connect(f"/stream?streams={streams}") as client,
    ):
        received = [await client.recv(decode=True) for _ in FRAMES]
        draining = asyncio.create_task(drain(client))
        await exchange.control("disconnect", code=1001)
        assert await draining == []
        await exchange.control("flush")
        ground_truth = exchange.ground_truth()
    assert [without_times(text) for text in received] == [without_times(t) for _, t in FRAMES]
    recorded = [
        timestamp * 1_000 - json.loads(text)["data"].get("E", timestamp / 1_000) * MS
        for timestamp, text in FRAMES
    ]
    added = ground_truth["send_ns"] - ground_truth["event_ns"] - recorded
    assert added.min() >= 0
    assert ground_truth["outcome"].tolist() == ["sent"] * len(FRAMES)


async def test_a_stall_of_the_machine_puts_the_rest_off_and_makes_no_latency_longer(
    run: Run, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine adds to the stall, which must not become longer than what is put off.
    monkeypatch.setattr("latency_sweep.lab.exchange.exchange.MAX_PAUSES_NS", 60_000 * MS)
    async with (
        run(replay={"file": str(recording)}) as exchange,
        exchange.connect("/ws/btcusdt@trade/btcusdt@depth@0ms") as client,
    ):
        await client.recv()
        time.sleep(0.1)  # noqa: ASYNC251 - stops the exchange, whose loop this is
        for _ in range(2):
            await client.recv()
        await exchange.control("flush")
        events_ns = exchange.ground_truth()["event_ns"].tolist()
    recorded_ns = (1_680_652_800_016 - 1_680_652_800_000) * MS
    put_off_ns = events_ns[-1] - events_ns[0] - recorded_ns
    assert put_off_ns > 0
    assert put_off_ns % MS == 0


async def test_the_replay_waits_for_every_site(run: Run, recording: Path) -> None:
    sites: dict[str, Any] = {"tokyo": {}, "london": {}}
    async with (
        run(sites=sites, replay={"file": str(recording), "limit": 1}) as exchange,
        exchange.connect("/ws/btcusdt@trade", "tokyo") as tokyo,
        exchange.connect("/ws", "london") as london,
    ):
        assert (await exchange.everything())["replay"]["sent"] == 0
        request = {"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1}
        await london.send(json.dumps(request))
        assert json.loads(await tokyo.recv())["t"] == 1
        everything = await exchange.everything()
        assert everything["replay"] == {"sent": 1, "total": 1, "finished": True}
        late = everything["sites"]["tokyo"]["late_sec"]
        assert 0 <= late["p50"] <= late["p99"] < 60
