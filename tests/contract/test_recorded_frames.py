from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latency_sweep.contract.recorded_frames import (
    ReceivedFrame,
    Recording,
    UnusableRecordingError,
    channel_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

R = 1_723_161_253_937_085
E = 1_723_161_253_930
TRADE = f'{{"e":"trade","E":{E},"s":"BTCUSDT","t":7,"p":"1","q":"2","T":{E - 1},"m":true}}'
DEPTH = f'{{"e":"depthUpdate","E":{E},"s":"BTCUSDT","U":5,"u":9,"b":[],"a":[["1","2"]]}}'
QUOTE = '{"u":41,"s":"BTCUSDT","b":"1","B":"2","a":"3","A":"4"}'
BOOK = '{"lastUpdateId":41,"bids":[],"asks":[]}'


def combined(stream: str, data: str) -> str:
    return f'{{"stream":"{stream}","data":{data}}}'


def write(path: Path, *lines: str, end: str = "\n") -> Path:
    path.write_text("\n".join(lines) + end, encoding="utf-8")
    return path


def read(path: Path, streams: Sequence[str] = ()) -> list[ReceivedFrame]:
    return list(Recording(path, streams))


@pytest.mark.parametrize(
    "document",
    [
        combined("btcusdt@trade", TRADE),
        combined("btcusdt@trade", TRADE).replace(":", ": ").replace(",", ", "),
        f'{{"data":{TRADE},"stream":"btcusdt@trade"}}',
    ],
    ids=["compact", "spaces", "other order"],
)
def test_a_combined_frame_names_its_stream(tmp_path: Path, document: str) -> None:
    (frame,) = read(write(tmp_path / "f", f"{R} {document}"))
    assert (frame.stream, frame.received_ns) == ("btcusdt@trade", R * 1_000)
    assert frame.event_ns == E * 1_000_000
    assert frame.trade_ns == (E - 1) * 1_000_000
    assert frame.ids == (7, 7)


def test_the_payload_is_kept_byte_by_byte(tmp_path: Path) -> None:
    spaced = TRADE.replace(":", " : ")
    (frame,) = read(write(tmp_path / "f", f"{R} {combined('btcusdt@trade', spaced)}"))
    assert frame.data == spaced.encode()


def test_microseconds_are_seen_from_their_digits(tmp_path: Path) -> None:
    data = TRADE.replace(str(E), f"{E}123")
    (frame,) = read(write(tmp_path / "f", f"{R} {combined('btcusdt@trade', data)}"))
    assert frame.event_ns == E * 1_000_000 + 123_000


@pytest.mark.parametrize(
    ("names", "data", "stream"),
    [
        (["btcusdt@trade"], TRADE, "btcusdt@trade"),
        (["btcusdt@depth@100ms"], DEPTH, "btcusdt@depth@100ms"),
        (["btcusdt@trade", "btcusdt@bookTicker"], QUOTE, "btcusdt@bookTicker"),
        (["!bookTicker"], QUOTE, "!bookTicker"),
        (["btcusdt@depth5@100ms"], BOOK, "btcusdt@depth5@100ms"),
    ],
)
def test_a_raw_frame_is_of_the_stream_that_was_named(
    tmp_path: Path, names: list[str], data: str, stream: str
) -> None:
    (frame,) = read(write(tmp_path / "f", f"{R} {data}"), names)
    assert (frame.stream, frame.data) == (stream, data.encode())


def test_raw_frames_of_streams_that_were_not_named_are_skipped(tmp_path: Path) -> None:
    path = write(tmp_path / "f", f"{R} {TRADE}", f"{R} {DEPTH}", f"{R} {QUOTE}")
    assert [f.stream for f in read(path, ["btcusdt@trade"])] == ["btcusdt@trade"]


def test_raw_frames_without_a_name_are_refused_with_the_option_to_give(tmp_path: Path) -> None:
    path = write(tmp_path / "f", f"{R} {DEPTH}")
    with pytest.raises(
        UnusableRecordingError, match=r"line 1: .* --stream, such as btcusdt@depth@100ms"
    ):
        read(path)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "   ",
        f"{R} {BOOK}",
        f'{R} {{"result":null,"id":1}}',
        f'{R} {{"code":2,"msg":"Invalid request"}}',
        f'{R} {{"e":"serverShutdown","E":{E}}}',
        f"{R} {combined('!miniTicker@arr', f'[{TRADE}]')}",
        f"{R} [{TRADE}]",
        'configuration: {"BINANCE": {}}',
        "wss://stream.binance.com:9443/ws <-> 1633998512.06",
        'wss://stream.binance.com:9443/ws <- 1633998512.06: {"method":"SUBSCRIBE"}',
        'https://api.binance.com/api/v3/depth -> 1633998512.06: {"lastUpdateId":1}',
    ],
)
def test_what_recorders_write_besides_is_skipped(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "f", line, f"{R} {combined('btcusdt@trade', TRADE)}", line)
    assert len(read(path)) == 1


@pytest.mark.parametrize("length", [3, 17, 40, -1])
def test_a_last_line_that_was_cut_off_is_dropped_and_noted(tmp_path: Path, length: int) -> None:
    whole = f"{R} {combined('btcusdt@trade', TRADE)}"
    recording = Recording(write(tmp_path / "f", whole, whole[:length], end=""))
    assert len(list(recording)) == 1
    assert recording.notes == (f"{tmp_path / 'f'}: line 2, the last, was cut off.",)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("not a line", "expected a receive time"),
        (f"{R} text", "expected a receive time"),
        (f"{R} {{nonsense}}", "not valid JSON"),
        ("1723161253 {}", "the receive time has 10 digits"),
        (f"{R} {combined('a@trade', '{' + chr(34) + 'E' + chr(34) + ':5}')}", "the time 5 is"),
        (
            f"{R} {combined('a@trade', TRADE.replace(str(E), str(E - 3_600_008)))}",
            "not within an hour of the receive time",
        ),
        (f"{R} {combined('a@trade', TRADE.replace(':7', f':{2**63}'))}", "larger than 64 bits"),
        (f"{R} {combined('a@trade', TRADE.replace(':7', ':-7'))}", "is negative"),
    ],
)
def test_a_malformed_line_is_named_by_file_and_number(
    tmp_path: Path, line: str, fault: str
) -> None:
    whole = f"{R} {combined('btcusdt@trade', TRADE)}"
    with pytest.raises(UnusableRecordingError, match=rf"frames, line 2: .*{fault}"):
        read(write(tmp_path / "frames", whole, line, whole))


def test_a_recording_without_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableRecordingError, match=r"frames: holds no recorded frame\.$"):
        read(write(tmp_path / "frames", f"{R} {BOOK}"))


def test_an_event_of_a_kind_that_is_no_text_has_no_ids(tmp_path: Path) -> None:
    data = '{"e":["trade"],"t":1}'
    (frame,) = read(write(tmp_path / "f", f"{R} {combined('btcusdt@trade', data)}"))
    assert (frame.ids, frame.event_ns) == ((0, 0), None)


@pytest.mark.parametrize(
    ("name", "channel"),
    [
        ("btcusdt@depth@100ms", ("BTCUSDT", "depth@100ms")),
        ("!miniTicker@arr", ("", "!miniTicker@arr")),
        ("!bookTicker", ("", "!bookTicker")),
    ],
)
def test_a_stream_s_name_is_taken_apart(name: str, channel: tuple[str, str]) -> None:
    assert channel_of(name) == channel
