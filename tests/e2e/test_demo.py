"""The real `sweep demo`: recorded frames in, a report out, and nothing left running."""

from __future__ import annotations

import gzip
import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deploy.local.prometheus_process import Prometheus
from deploy.local.recording import inspect

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.conftest import Command

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]

TRADE = (
    '{{"stream":"btcusdt@trade","data":{{"e":"trade","E":{event},"s":"BTCUSDT","t":{id},'
    '"p":"97000.01","q":"0.002","T":{event},"m":true,"M":true}}}}'
)
DEPTH = (
    '{{"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":{event},"s":"BTCUSDT",'
    '"U":{first},"u":{last},"b":[["97000.00","1.5"]],"a":[]}}}}'
)
BOOK = (
    '{{"stream":"btcusdt@bookTicker","data":{{"u":{id},"s":"BTCUSDT","b":"97000.00","B":"1.5",'
    '"a":"97000.01","A":"0.4"}}}}'
)


def write_capture(file: Path) -> None:
    """Six seconds of frames with lost trades, a broken book and clocks that disagree."""
    start_us = 1_700_000_000_000_000
    lines = ["1700000000000000 " + '{"lastUpdateId":1,"bids":[],"asks":[]}']
    trade, update = 1000, 500_000
    for step in range(300):
        received_us = start_us + step * 20_000
        trade += {50: 2, 120: 3, 200: 6}.get(step, 1)
        latency_ms = -7 if step % 10 == 3 else 15 + step % 40
        event = received_us // 1000 - latency_ms
        lines.append(f"{received_us} {TRADE.format(event=event, id=trade)}")
        if step % 5 == 0:
            update += 10 if step == 150 else 1
            depth = DEPTH.format(event=event, first=update, last=update + 3)
            update += 3
            lines.append(f"{received_us + 100} {depth}")
        if step % 3 == 0:
            lines.append(f"{received_us + 200} {BOOK.format(id=update)}")
    with gzip.open(file, "wt") as output:
        output.write("\n".join(lines) + "\n")


def counts_of(file: Path) -> dict[str, Counter[str]]:
    """Messages, gaps and negative latencies of a capture, by stream name without the symbol."""
    counts: dict[str, Counter[str]] = {
        "feed_messages_total": Counter(),
        "feed_sequence_gaps_total": Counter(),
        "feed_negative_latency_total": Counter(),
    }
    last: dict[str, int] = {}
    with gzip.open(file, "rt") as lines:
        for line in lines:
            stamp_us, text = line.split(" ", 1)
            document = json.loads(text)
            if "stream" not in document:
                continue
            stream, data = document["stream"].split("@", 1)[1], document["data"]
            counts["feed_messages_total"][stream] += 1
            counts["feed_negative_latency_total"][stream] += int(stamp_us) < data.get("E", 0) * 1000
            if data.get("e") in {"trade", "depthUpdate"}:
                first, newest = data.get("U", data.get("t")), data.get("u", data.get("t"))
                counts["feed_sequence_gaps_total"][stream] += first > last.get(stream, first) + 1
                last[stream] = newest
    return counts


@pytest.fixture(params=["made by the test", "recorded"])
def capture(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """A capture and the speed to replay it at."""
    if request.param == "recorded":
        named = os.environ.get("FEED_CAPTURE")
        if not named:
            pytest.skip("FEED_CAPTURE names no recorded capture")
        file = Path(named)
        seconds = inspect(file, speed=1.0).duration_ns / 1e9
        return file, f"{max(1.0, seconds / 20):.1f}"
    file = tmp_path / "capture.dat.gz"
    write_capture(file)
    return file, "1"


def test_replayed_frames_are_counted_as_they_stand_in_the_file(
    capture: tuple[Path, str], sweep_demo: Callable[..., Command], tmp_path: Path
) -> None:
    file, speed = capture
    demo = sweep_demo("--replay", file, "--speed", speed, "--results", tmp_path, "--keep")
    report = Path(demo.read_until("Report: ").split()[1])
    url = demo.read_until("Prometheus: http").split()[-1]
    prometheus = Prometheus(url, None)  # type: ignore[arg-type] # another process owns it
    expected = counts_of(file)
    for metric, by_stream in expected.items():
        found = prometheus.query(f"sum by (stream) ({metric})")
        counted = Counter({labels["stream"]: int(value) for labels, value in found})
        assert counted == by_stream, metric

    document = json.loads(report.with_suffix(".json").read_text())
    assert report.stat().st_size > 0
    assert document

    demo.read_until("Ctrl-C stops it")
    demo.interrupt(signal.SIGINT)
    assert demo.finish() == (0, "")
    assert demo.started_processes() == {}


def test_a_stack_that_is_told_to_stop_while_it_starts_leaves_nothing_behind(
    sweep_demo: Callable[..., Command], tmp_path: Path
) -> None:
    demo = sweep_demo("--results", tmp_path)
    demo.read_until("Starting Prometheus")
    assert demo.started_processes()
    demo.interrupt(signal.SIGINT)
    assert demo.finish() == (130, "sweep demo: stopped; nothing is left running.\n")
    assert demo.started_processes() == {}


def test_a_probe_that_dies_ends_the_demo_with_its_log(
    sweep_demo: Callable[..., Command], tmp_path: Path
) -> None:
    demo = sweep_demo("--results", tmp_path)
    demo.read_until("the report will be there")
    victim = next(pid for pid, line in demo.started_processes().items() if "probe run" in line)
    os.kill(victim, signal.SIGKILL)
    code, complaint = demo.finish()
    assert code == 69
    assert complaint.startswith("sweep demo: probe-")
    assert "was killed by signal 9; its log" in complaint
    assert demo.started_processes() == {}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--replay", "/none.gz"], "/none.gz: cannot be read: No such file or directory."),
        (["--config", "/none.yaml"], "/none.yaml: cannot be read: No such file or directory."),
        (["--places", "/none.yaml"], "/none.yaml: cannot be read: No such file or directory."),
    ],
)
def test_a_missing_file_is_told_in_one_sentence(
    arguments: list[str], complaint: str, sweep_demo: Callable[..., Command], tmp_path: Path
) -> None:
    demo = sweep_demo("--results", tmp_path, *arguments)
    assert demo.finish() == (2, f"sweep demo: {complaint}\n")
    assert list(tmp_path.iterdir()) == []
