from __future__ import annotations

import bz2
import gzip
import lzma
import sys
from typing import TYPE_CHECKING

import pytest

from latency_sweep.contract.compressed_lines import CompressedLines, UnreadableFileError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXT = b"".join(b"line %d of some length %d\n" % (n, n * 7919) for n in range(5_000))
FORMATS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd.compress,
}
COMPRESSED = [name for name in FORMATS if name != "plain"]


def lines(path: Path, content: bytes) -> CompressedLines:
    path.write_bytes(content)
    return CompressedLines(path)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_known_by_its_first_bytes(tmp_path: Path, name: str) -> None:
    found = lines(tmp_path / "frames.dat", FORMATS[name](TEXT))
    assert b"".join(found) == TEXT
    assert not found.cut_off


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_recorder_that_was_started_again_appends_a_block(tmp_path: Path, name: str) -> None:
    compress = FORMATS[name]
    found = lines(tmp_path / "frames", compress(TEXT) + compress(b"more\n"))
    assert b"".join(found) == TEXT + b"more\n"


@pytest.mark.parametrize("name", COMPRESSED)
def test_what_a_killed_recorder_had_written_is_read(tmp_path: Path, name: str) -> None:
    whole = FORMATS[name](b"".join((TEXT,) * 60))
    found = lines(tmp_path / "frames", whole[: len(whole) * 3 // 4])
    read = b"".join(found)
    assert found.cut_off
    assert (TEXT * 60).startswith(read)


@pytest.mark.parametrize("name", COMPRESSED)
def test_damaged_data_are_refused(tmp_path: Path, name: str) -> None:
    whole = bytearray(FORMATS[name](TEXT))
    whole[len(whole) // 2] ^= 0xFF
    with pytest.raises(UnreadableFileError, match="frames: cannot be read: "):
        b"".join(lines(tmp_path / "frames", bytes(whole)))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"none: cannot be read: No such file"):
        list(CompressedLines(tmp_path / "none"))
