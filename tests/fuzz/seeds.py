"""First inputs of each corpus: well-formed ones, from which a fuzzer finds its way.

Write them with `.venv/bin/python -m tests.fuzz.seeds`.
"""

from __future__ import annotations

import gzip
import json
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow.parquet as pq

from latency_sweep.analysis.evidence import archive
from latency_sweep.analysis.evidence.archive import Archive
from latency_sweep.analysis.evidence.records import (
    Candidate,
    Evidence,
    EvidenceSelection,
    InstanceEvidence,
    RunEvidence,
)
from latency_sweep.contract import experiment
from latency_sweep.nativehist.float_histogram import FloatHistogram
from tests.fuzz.handshakes import ACCEPT
from tests.fuzz.targets import CORPUS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

_TIME_US: Final = 1_672_515_782_136_001
_SBE: Final = struct.Struct("<HHHH")


def json_frame(stream: str, data: dict[str, Any]) -> bytes:
    """A combined frame, as the exchange writes it."""
    return json.dumps({"stream": stream, "data": data}, separators=(",", ":")).encode()


def small_archive() -> pa.Table:
    """An archive of one run of one candidate, as the program writes it."""
    latency = FloatHistogram.from_samples([0.001, 0.002, 0.002])
    names = ("region", "instance_type")
    instance = InstanceEvidence(
        instance="i-1",
        az_id="euw1-az1",
        latency=latency,
        windows=(latency,),
        messages=3,
        lost=0,
        reconnects=0,
        negative=0,
        hours=1.0,
        coverage=1.0,
        clock_error_bound_sec=1e-4,
        clock_synchronized=True,
    )
    run = RunEvidence(
        candidate=Candidate(names, ("eu-west-1", "c6i.large")),
        run="2026-01-31T06:05:00Z",
        stratum="low",
        instances=(instance,),
    )
    selection = EvidenceSelection("sweep", "spot", ("trade",), (), names, 1.0, 2.0)
    kept = Archive(Evidence(selection, (run,), "http://prometheus:9090", ()), experiment.load())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "archive.parquet"
        archive.write(file, kept)
        return pq.read_table(file)


def _spot() -> Iterator[bytes]:
    times = {"E": _TIME_US, "s": "BTCUSDT"}
    trade = {"e": "trade", **times, "t": 7, "p": "0.001", "q": "100", "T": _TIME_US, "m": True}
    yield json_frame("btcusdt@trade", trade)
    yield json_frame("btcusdt@aggTrade", {**trade, "e": "aggTrade", "a": 5, "f": 7, "l": 9})
    yield json_frame(
        "ethusdt@depth@100ms",
        {"e": "depthUpdate", **times, "U": 5, "u": 9, "b": [["0.1", "1"]], "a": []},
    )
    yield json_frame("btcusdt@bookTicker", {"u": 4, "s": "BTCUSDT", "b": "1", "B": "2"})
    yield b'{"result":null,"id":1}'
    yield b'{"error":{"code":2,"msg":"Invalid request"},"id":1}'
    yield json_frame("!serverShutdown", {"e": "serverShutdown", "E": _TIME_US})
    yield b"[" * 500


def _futures() -> Iterator[bytes]:
    times = {"E": _TIME_US // 1000, "T": _TIME_US // 1000, "s": "BTCUSDT"}
    yield json_frame("btcusdt@trade", {"e": "trade", **times, "t": 7, "p": "1", "X": "NA"})
    yield json_frame("btcusdt@aggTrade", {"e": "aggTrade", **times, "a": 5, "f": 7, "l": 9})
    yield json_frame(
        "btcusdt@depth@0ms",
        {"e": "depthUpdate", **times, "U": 5, "u": 9, "pu": 4, "b": [], "a": []},
    )
    yield json_frame("ethusdt@bookTicker", {"e": "bookTicker", "u": 4, **times})


def _sbe() -> Iterator[bytes]:
    symbol = b"\x07BTCUSDT"
    level = struct.pack("<qq", 100, 200)
    group = struct.pack("<HH", 16, 1)

    def message(template: int, block: bytes, rest: bytes) -> bytes:
        return b"b" + _SBE.pack(len(block), template, 1, 0) + block + rest

    trade = struct.pack("<qqqB", 1, 100, 200, 1)
    times = struct.pack("<qqbb", _TIME_US, _TIME_US, -2, -5)
    yield message(10000, times, struct.pack("<HI", len(trade), 1) + trade + symbol)
    best = struct.pack("<qqbbqqqq", _TIME_US, 5, -2, -5, 1, 2, 3, 4)
    yield message(10001, best, symbol)
    yield message(10002, struct.pack("<qqbb", _TIME_US, 5, -2, -5), (group + level) * 2 + symbol)
    yield message(
        10003, struct.pack("<qqqbb", _TIME_US, 5, 9, -2, -5), (group + level) * 2 + symbol
    )
    yield b't{"result":null,"id":1}'


def _frames() -> Iterator[bytes]:
    text, ping, close = b"\x81\x05hello", b"\x89\x01p", b"\x88\x02\x03\xe8"
    yield b"\x00" + text * 3 + close
    yield b"\x03\x01\x02\x03" + b"\x01\x02he" + ping + b"\x80\x03llo" + text
    yield b"\x01\x01" + b"\x82\x7e\x00\x80" + bytes(128) + text
    yield b"\x00\x81\x85mask....."


def _prometheus() -> Iterator[bytes]:
    metric = {"__name__": "up", "region": "eu-west-1"}
    buckets = [[0, "0.001", "0.002", "3"], [3, "-0.1", "0.1", "1"]]
    histogram = {"count": "4", "sum": "0.1", "buckets": buckets}

    def answer(kind: str, result: Any) -> bytes:
        data = {"resultType": kind, "result": result}
        return json.dumps({"status": "success", "data": data, "warnings": ["w"]}).encode()

    yield answer("vector", [{"metric": metric, "value": [1.5, "1"]}])
    yield answer("vector", [{"metric": metric, "histogram": [1.5, histogram]}])
    yield answer("matrix", [{"metric": metric, "values": [[1, "1"], [2, "NaN"]]}])
    yield answer("matrix", [{"metric": metric, "histograms": [[1, histogram]]}])
    yield answer("scalar", [1.5, "+Inf"])
    yield b'{"status":"error","errorType":"bad_data","error":"no"}'
    yield b'{"status":"success","data":["a","b"]}'
    yield b'{"status":"success","data":{"version":"3.5.0"}}'


def _jsonl() -> Iterator[bytes]:
    def line(poll: int, seen: int) -> bytes:
        summary = {
            "count": seen,
            "mean_us": 2000.0,
            **{f"{name}_us": 2000 for name in ("min", "max", "p50", "p90", "p95", "p99", "p999")},
        }
        record = {
            "timestamp": f"2026-01-31T06:{poll:02}:00",
            "elapsed_sec": poll * 60,
            "region": "eu-west-1",
            "instance_family": "compute",
            "metrics": {
                "aggregate": summary,
                "per_symbol": {"BTCUSDT": summary},
                "counters": {"messages": seen, "reconnects": 0, "errors": 0},
                "warmup_complete": True,
            },
        }
        return json.dumps(record).encode() + b"\n"

    yield line(1, 10) + line(2, 20)
    yield line(1, 10) + line(2, 20)[:90]


def _recording() -> Iterator[bytes]:
    frame = next(_spot())
    lines = b"".join(b"%d %s\n" % (_TIME_US + n, frame) for n in range(2))
    yield b"p" + lines
    yield b"z" + lines


def _clockbound() -> Iterator[bytes]:
    header = struct.pack("=IIIHH", 0x414D5A4E, 0x43420200, 80, 2, 2)
    yield header + struct.pack("=qqqqqQIi8x", 1, 0, 2**40, 0, 1000, 0, 15_000, 1)


def _chrony() -> Iterator[bytes]:
    header = struct.pack("!BBHHHHHHHLLL", 6, 2, 0, 33, 5, 0, 0, 0, 0, 1, 0, 0)
    yield header + bytes(76)
    yield header + bytes(range(76))


def _experiment() -> Iterator[bytes]:
    yield experiment.default_path().read_bytes()
    yield b"timing: {warmup_sec: 300}\n"
    yield b"a: &a [1]\nb: [*a, *a]\n"


def _negotiation() -> Iterator[bytes]:
    yield b"text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    yield b"gzip;q=1.0, *"


def _http(body: bytes) -> Iterator[bytes]:
    """An answer of known length, one in chunks with trailers, one packed, one after a hint."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    whole = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    yield whole
    yield (
        head
        + b"Transfer-Encoding: chunked\r\n\r\n%x;x=y\r\n" % len(body)
        + body
        + b"\r\n0\r\nX: y\r\n\r\n"
    )
    packed = gzip.compress(body, mtime=0)
    yield head + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed
    yield b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + whole
    yield b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n"


def _upgrade() -> Iterator[bytes]:
    """Answers to an upgrade; the first byte says into how many pieces they are cut."""
    accepted = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"
    )
    text, ping, closing = b"\x81\x02{}", b"\x89\x01p", b"\x88\x02\x03\xe8"
    yield b"\x00" + accepted + text + ping + closing
    yield b"\x02\x05\x10" + b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + accepted + text
    yield b"\x00HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
    yield b"\x01\x08HTTP/1.1 429 Too Many\r\nRetry-After: 99999999\r\nContent-Length: 2\r\n\r\nno"
    yield b"\x00HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"
    yield b"\x00" + accepted.replace(
        b"\r\nUp", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\nUp"
    )
    yield b"\x00\x15\x03\x01\x00\x02\x02\x46"


def _tls_bytes() -> Iterator[bytes]:
    """Alerts, half a record, and an answer to another client's hello."""
    yield b"\x15\x03\x03\x00\x02\x02\x28"
    yield b"\x15\x03\x03\x00\x02\x01\x00"
    yield b"\x16\x03\x03\x00\x40\x02\x00"
    yield b"HTTP/1.1 400 Bad Request\r\n\r\n"
    hello = b"\x03\x03" + bytes(range(32)) + b"\x00\x13\x01\x00\x00\x06\x00\x2b\x00\x02\x03\x04"
    message = b"\x02" + len(hello).to_bytes(3, "big") + hello
    yield b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message
    yield b"\x14\x03\x03\x00\x01\x01" * 40


def _tls_changed() -> Iterator[bytes]:
    """Nothing, a bit of the hello, of the certificate, and of what is sent after it."""
    yield b""
    for at in (0, 3, 11, 200, 700, 1100, 1400):
        yield at.to_bytes(2, "big") + b"\x01"


def _archive() -> Iterator[bytes]:
    yield small_archive().schema.metadata[archive.METADATA_KEY]
    yield b"PAR1"


SEEDS: Final[dict[str, Callable[[], Iterator[bytes]]]] = {
    "frames": _frames,
    "spot_json": _spot,
    "futures_json": _futures,
    "sbe": _sbe,
    "negotiation": _negotiation,
    "chrony": _chrony,
    "clockbound": _clockbound,
    "prometheus_api": _prometheus,
    "prometheus_stream": lambda: _http(next(_prometheus())),
    "time_endpoint": lambda: _http(b'{"serverTime":%d}' % _TIME_US),
    "http_upgrade": _upgrade,
    "tls_bytes": _tls_bytes,
    "tls_changed": _tls_changed,
    "recording": _recording,
    "jsonl": _jsonl,
    "experiment": _experiment,
    "archive": _archive,
}


def main() -> None:
    """Write them all."""
    for name, make in SEEDS.items():
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(make(), start=1):
            (folder / f"seed-{number}").write_bytes(seed)


if __name__ == "__main__":
    main()
