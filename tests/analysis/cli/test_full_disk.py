"""A disk that is full costs the new file, said in one sentence, and never the old one."""

from __future__ import annotations

import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from latency_sweep.analysis.cli import main
from latency_sweep.analysis.cli.options import Destination
from latency_sweep.analysis.evidence import archive
from latency_sweep.analysis.evidence.archive import Archive, ArchiveError
from latency_sweep.analysis.evidence.records import Evidence, EvidenceSelection
from latency_sweep.contract.experiment import load
from latency_sweep.contract.targets import CANDIDATE_LABELS
from latency_sweep.runtime.options import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SELECTION = EvidenceSelection("sweep", "spot", ("trade",), (), CANDIDATE_LABELS, 1.5, 2.5)
KEPT = Archive(Evidence(SELECTION, (), "http://prometheus:9090"), load())


@contextmanager
def no_more_than(file_bytes: int) -> Iterator[None]:
    """Let every write beyond a file's size fail, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_archive_that_was_there_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "sweep.parquet"
    archive.write(path, KEPT)
    with (
        no_more_than(100),
        pytest.raises(ArchiveError, match=r"sweep\.parquet: cannot be written"),
    ):
        archive.write(path, KEPT)
    assert archive.read(path) == KEPT
    assert list(tmp_path.iterdir()) == [path]


def test_the_report_that_was_there_stays_whole(tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    report.write_text("the old one")
    with (
        no_more_than(100),
        pytest.raises(UsageError, match=r"report\.md: cannot be written: File too large"),
    ):
        main._deliver(Destination(report, "markdown"), "x" * 10_000)
    assert report.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [report]
