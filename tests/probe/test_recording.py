"""`--record`: what is written, what is told when it cannot be, and that measuring goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latency_sweep.contract.recorded_frames import Recording
from latency_sweep.probe.recording import FrameWriter
from latency_sweep.probe.settings import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

R_NS = 1_723_161_253_937_085_768
PERIOD_SEC = 0.001


def frame(number: int) -> bytes:
    return b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161253930,"t":%d}}' % number


class Heard(list[str]):
    """The sentences of trouble."""


@pytest.fixture
def heard() -> Heard:
    return Heard()


def ignore(*_: object) -> None:
    """Measure nothing."""


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_what_was_received_is_read_again_to_the_nanosecond(
    tmp_path: Path, heard: Heard, suffix: str
) -> None:
    path = tmp_path / f"frames{suffix}"
    writer = FrameWriter(path, heard.append, period_sec=PERIOD_SEC)
    record = writer.tapped(ignore)
    record([frame(1), frame(2)], False, R_NS, R_NS + 5, 0)
    record([b'{"result":null,"id":1}'], False, R_NS + 1, R_NS + 5, 0)
    record([frame(3)], False, R_NS + 2, R_NS + 5, 0)
    writer.stop()
    found = [(f.received_ns - R_NS, f.ids[0]) for f in Recording(path)]
    assert found == [(0, 1), (0, 2), (2, 3)]
    assert (writer.written, writer.dropped, heard) == (3, 0, [])


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_probe_that_is_started_again_continues_the_file(
    tmp_path: Path, heard: Heard, suffix: str
) -> None:
    path = tmp_path / f"frames{suffix}"
    for number in (1, 2):
        writer = FrameWriter(path, heard.append, period_sec=PERIOD_SEC)
        writer.tapped(ignore)([frame(number)], False, R_NS, R_NS, 0)
        writer.stop()
    assert [f.ids[0] for f in Recording(path)] == [1, 2]


def test_messages_are_measured_before_they_are_recorded(tmp_path: Path, heard: Heard) -> None:
    writer = FrameWriter(tmp_path / "f.gz", heard.append)
    order: list[str] = []
    record = writer.tapped(lambda *_: order.append(f"measured, {writer._offered} offered"))
    record([frame(1)], False, R_NS, R_NS, 0)
    writer.stop()
    assert order == ["measured, 0 offered"]


def test_what_measuring_refuses_is_recorded_all_the_same(tmp_path: Path, heard: Heard) -> None:
    writer = FrameWriter(tmp_path / "f.gz", heard.append)

    def refuse(*_: object) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        writer.tapped(refuse)([frame(1)], False, R_NS, R_NS, 0)
    writer.stop()
    assert writer.written == 1


def test_a_full_queue_drops_messages_counts_them_and_says_so_once(
    tmp_path: Path, heard: Heard
) -> None:
    writer = FrameWriter(tmp_path / "f.gz", heard.append, max_waiting=3, period_sec=60)
    record = writer.tapped(ignore)
    for number in range(5):
        record([frame(number)], False, R_NS, R_NS, 0)
    writer.stop()
    assert (writer.written, writer.dropped) == (3, 2)
    assert heard == [f"{writer.path}: the disk is too slow; messages are dropped."]


def test_a_full_disk_ends_the_recording_and_nothing_else(tmp_path: Path, heard: Heard) -> None:
    full = tmp_path / "full.gz"
    full.symlink_to("/dev/full")
    writer = FrameWriter(full, heard.append, period_sec=PERIOD_SEC)
    record = writer.tapped(ignore)
    record([frame(1)], False, R_NS, R_NS, 0)
    writer._thread.join(10)
    record([frame(2)], False, R_NS, R_NS, 0)
    writer.stop()
    assert (writer.written, writer.dropped) == (0, 2)
    (sentence,) = heard
    assert sentence.startswith(f"{full}: cannot be written: No space left on device;")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("frames.txt", r"the name must end with \.gz or \.zst"),
        ("none/frames.gz", "cannot be written: No such file or directory"),
        ("none/frames.zst", "cannot be written: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_at_the_start(
    tmp_path: Path, heard: Heard, name: str, fault: str
) -> None:
    with pytest.raises(SettingsError, match=f"--record .*{fault}"):
        FrameWriter(tmp_path / name, heard.append)
