"""The archive: what is written is read back identically, and nothing else is taken for one."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from latency_sweep.analysis.decision.decide import decide
from latency_sweep.analysis.evidence import archive
from latency_sweep.analysis.evidence.archive import (
    FORMAT_VERSION,
    METADATA_KEY,
    Archive,
    ArchiveError,
)
from latency_sweep.analysis.evidence.records import (
    Candidate,
    Evidence,
    EvidenceSelection,
    InstanceEvidence,
    OffsetRange,
    RoundTrips,
    RunEvidence,
)
from latency_sweep.analysis.evidence.same_event_differences import SameEventDifference
from latency_sweep.analysis.evidence.timestamps import TimestampErrors
from latency_sweep.analysis.report.json import as_json
from latency_sweep.contract.experiment import load
from latency_sweep.nativehist.float_histogram import FloatHistogram
from tests.analysis.candidates import changed

if TYPE_CHECKING:
    from pathlib import Path

BY = ("region", "instance_type")


def run_evidence(rng: np.random.Generator, candidate: Candidate, run: str) -> RunEvidence:
    windows = tuple(FloatHistogram.from_samples(rng.lognormal(-4, 0.4, 400)) for _ in range(4))
    instance = InstanceEvidence(
        instance="i-1",
        az_id="az1",
        latency=FloatHistogram.merge(*windows),
        windows=windows,
        messages=2000,
        lost=None,
        reconnects=0,
        negative=0,
        hours=0.1 + 0.2,
        coverage=1.0,
        clock_error_bound_sec=1e-4,
        clock_synchronized=True,
        timestamp_errors=TimestampErrors(FloatHistogram.from_samples([1e-5, 3e-5]), 1598),
        timestamp_kinds=("capture", "socket"),
        exchange_offset=OffsetRange(-1e-3, 2e-3),
        round_trips=RoundTrips(0.002, 0.003),
    )
    silent = replace(
        instance,
        instance="i-2",
        az_id=None,
        latency=FloatHistogram.empty(),
        windows=(),
        timestamp_errors=None,
        timestamp_kinds=(),
        exchange_offset=None,
        round_trips=None,
    )
    return RunEvidence(
        candidate=candidate,
        run=run,
        stratum="low",
        instances=(instance, silent),
        exclusion_reasons=("a reason with ±",) if run.endswith("2") else (),
    )


@pytest.fixture
def kept() -> Archive:
    rng = np.random.default_rng(5)
    candidates = [Candidate(BY, ("eu-west-1", "c6i.large")), Candidate(BY, ("ap", "c6in.large"))]
    evidence = Evidence(
        selection=EvidenceSelection("sweep", "spot", ("trade",), (), BY, 1.5, 2.5),
        runs=tuple(run_evidence(rng, c, f"run-{n}") for c in sorted(candidates) for n in range(3)),
        source="http://prometheus:9090",
        warnings=("something odd",),
        same_events=(SameEventDifference("a", "b", 9, 0.5, -1e-4, 0.0, 2e-4, (0.0, 1e-5), None),),
    )
    return Archive(evidence, load())


def rewrite(path: Path, **changes: object) -> None:
    """Change what the metadata of an archive says."""
    table = pq.read_table(path)
    document = json.loads(table.schema.metadata[METADATA_KEY]) | changes
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(document)}), path)


def test_reading_gives_back_the_identical_evidence_and_experiment(
    tmp_path: Path, kept: Archive
) -> None:
    archive.write(tmp_path / "a.parquet", kept)
    assert archive.read(tmp_path / "a.parquet") == kept


def test_the_verdict_from_an_archive_is_the_same_to_the_byte(tmp_path: Path, kept: Archive) -> None:
    archive.write(tmp_path / "a.parquet", kept)
    found = archive.read(tmp_path / "a.parquet")
    one, other = (
        json.dumps(as_json(decide(a.evidence, a.experiment, seed=3))) for a in (kept, found)
    )
    assert one == other


def test_an_archive_from_before_bounds_of_timestamps_is_read_without_them(
    tmp_path: Path, kept: Archive
) -> None:
    """Format 2: without the column and the keys of today."""
    path = tmp_path / "a.parquet"
    new = ("timestamp_errors", "timestamp_kinds", "exchange_offset", "round_trips")
    bare = [
        changed(
            run, timestamp_errors=None, timestamp_kinds=(), exchange_offset=None, round_trips=None
        )
        for run in kept.evidence.runs
    ]
    old = replace(kept, evidence=replace(kept.evidence, runs=tuple(bare)))
    archive.write(path, old)
    table = pq.read_table(path).drop_columns(["quantity"])
    document = json.loads(table.schema.metadata[METADATA_KEY]) | {"format_version": 2}
    for run in document["evidence"]["runs"]:
        for one in run["instances"]:
            for key in new:
                del one[key]
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(document)}), path)
    assert archive.read(path) == old


def test_evidence_without_any_run_survives(tmp_path: Path, kept: Archive) -> None:
    empty = replace(kept, evidence=replace(kept.evidence, runs=(), approximate=True))
    archive.write(tmp_path / "a.parquet", empty)
    assert archive.read(tmp_path / "a.parquet") == empty


def test_a_sum_that_is_not_a_number_survives(tmp_path: Path, kept: Archive) -> None:
    odd = replace(FloatHistogram.from_samples([1.0]), sum=math.nan)
    run = changed(kept.evidence.runs[0], latency=odd)
    strange = replace(kept, evidence=replace(kept.evidence, runs=(run,)))
    archive.write(tmp_path / "a.parquet", strange)
    assert archive.read(tmp_path / "a.parquet") == strange


def test_other_tools_find_plain_columns(tmp_path: Path, kept: Archive) -> None:
    archive.write(tmp_path / "a.parquet", kept)
    frame = pq.read_table(tmp_path / "a.parquet").to_pandas()
    whole = frame[(frame.quantity == "latency") & frame.window.isna() & (frame.run == "run-1")]
    assert whole.groupby("candidate", observed=True)["count"].sum().to_dict() == {
        "ap/c6in.large": 1600,
        "eu-west-1/c6i.large": 1600,
    }


def test_an_existing_file_is_replaced_and_nothing_is_left_beside_it(
    tmp_path: Path, kept: Archive
) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"old")
    archive.write(path, kept)
    assert archive.read(path) == kept
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, kept: Archive) -> None:
    with pytest.raises(ArchiveError, match=r"missing/a\.parquet: cannot be written: No such file"):
        archive.write(tmp_path / "missing" / "a.parquet", kept)


def test_a_file_in_the_way_is_named_and_the_scratch_file_removed(
    tmp_path: Path, kept: Archive
) -> None:
    (tmp_path / "a.parquet" / "full").mkdir(parents=True)
    with pytest.raises(ArchiveError, match="cannot be written: Is a directory"):
        archive.write(tmp_path / "a.parquet", kept)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.parquet"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="there is no such file"):
        archive.read(tmp_path / "none.parquet")


def test_a_truncated_archive_is_refused(tmp_path: Path, kept: Archive) -> None:
    path = tmp_path / "a.parquet"
    archive.write(path, kept)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ArchiveError, match=r"a\.parquet: is not a readable Parquet file"):
        archive.read(path)


@pytest.mark.parametrize("content", [b"", b"version: 1\n", b"PAR1PAR1"])
def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="is not a readable Parquet file"):
        archive.read(path)


def test_a_parquet_file_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(ArchiveError, match="none that `analyze export` wrote"):
        archive.read(path)


def test_an_archive_of_a_later_version_says_so(tmp_path: Path, kept: Archive) -> None:
    path = tmp_path / "a.parquet"
    archive.write(path, kept)
    rewrite(path, format_version=FORMAT_VERSION + 1)
    with pytest.raises(
        ArchiveError, match="has archive format 4, but this program reads formats 2 to 3"
    ):
        archive.read(path)


@pytest.mark.parametrize("field", ["latency", "windows"])
def test_a_histogram_number_below_zero_is_damage_and_not_counted_from_the_end(
    tmp_path: Path, kept: Archive, field: str
) -> None:
    path = tmp_path / "a.parquet"
    archive.write(path, kept)
    evidence = json.loads(pq.read_table(path).schema.metadata[METADATA_KEY])["evidence"]
    evidence["runs"][0]["instances"][0][field] = -1 if field == "latency" else [-1]
    rewrite(path, evidence=evidence)
    with pytest.raises(ArchiveError, match="is an archive, but its content is damaged"):
        archive.read(path)


def test_a_run_without_an_instance_is_damage(tmp_path: Path, kept: Archive) -> None:
    path = tmp_path / "a.parquet"
    archive.write(path, kept)
    evidence = json.loads(pq.read_table(path).schema.metadata[METADATA_KEY])["evidence"]
    evidence["runs"][0]["instances"] = []
    rewrite(path, evidence=evidence)
    with pytest.raises(ArchiveError, match="is an archive, but its content is damaged"):
        archive.read(path)


@pytest.mark.parametrize("field", ["messages", "lost", "reconnects", "negative", "never_sent"])
def test_a_counter_of_more_than_64_bits_is_damage(
    tmp_path: Path, kept: Archive, field: str
) -> None:
    path = tmp_path / "a.parquet"
    archive.write(path, kept)
    evidence = json.loads(pq.read_table(path).schema.metadata[METADATA_KEY])["evidence"]
    evidence["runs"][0]["instances"][0][field] = 2**70
    rewrite(path, evidence=evidence)
    with pytest.raises(ArchiveError, match="is an archive, but its content is damaged"):
        archive.read(path)


@pytest.mark.parametrize(
    "changes", [{"histograms": []}, {"evidence": {}}, {"experiment": {"version": 1}}]
)
def test_an_archive_with_damaged_content_is_refused(
    tmp_path: Path, kept: Archive, changes: dict[str, object]
) -> None:
    path = tmp_path / "a.parquet"
    archive.write(path, kept)
    rewrite(path, **changes)
    with pytest.raises(ArchiveError, match="is an archive, but its content is damaged"):
        archive.read(path)
