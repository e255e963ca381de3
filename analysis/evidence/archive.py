"""The archive: all evidence of a decision in one Parquet file, to be analysed again anywhere.

One row is one bucket of one instance's histogram, with columns that pandas or DuckDB can work with
as they are:

- `histogram`: number of the histogram, from 0; its buckets are consecutive rows.
- `candidate`, `run`, `instance`: what it was observed of; a run of a candidate is the sum over its
  instances.
- `window`: number of the window within the run, from 0; null for the whole run.
- `quantity`: `latency`, or `timestamp_error`: the bound on how late a receive timestamp is.
- `lower_sec`, `upper_sec`: bounds of the bucket, seconds.
- `count`: observations in it.

Everything that is not a bucket is in the file's metadata as JSON under `METADATA_KEY`: the
format's version, the selection, each instance's counters, and the experiment. Reading an archive
gives the identical evidence, so the identical verdict.
"""

from __future__ import annotations

import dataclasses
import json
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from latency_sweep.analysis.evidence.records import (
    Candidate,
    Evidence,
    EvidenceSelection,
    InstanceEvidence,
    OffsetRange,
    RoundTrips,
    RunEvidence,
)
from latency_sweep.analysis.evidence.same_event_differences import (
    SameEventDifference,  # noqa: TC001 - msgspec reads the annotation
)
from latency_sweep.analysis.evidence.timestamps import TimestampErrors
from latency_sweep.contract.experiment import Experiment
from latency_sweep.contract.program import DISTRIBUTION, program_version
from latency_sweep.nativehist.float_histogram import FloatHistogram
from latency_sweep.runtime.atomic_file import replacing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FORMAT_VERSION: Final = 3
# Format 2 has neither timestamp errors nor what refutes a clock: they are then not known.
_READ: Final = (2, FORMAT_VERSION)
METADATA_KEY: Final = b"binance-latency-sweep"

_NAMES: Final = pa.dictionary(pa.int32(), pa.string())
_SCHEMA: Final = pa.schema(
    [
        pa.field("histogram", pa.int32(), nullable=False),
        pa.field("candidate", _NAMES, nullable=False),
        pa.field("run", _NAMES, nullable=False),
        pa.field("instance", _NAMES, nullable=False),
        pa.field("window", pa.int32()),  # null for the whole run
        pa.field("quantity", _NAMES, nullable=False),
        pa.field("lower_sec", pa.float64(), nullable=False),
        pa.field("upper_sec", pa.float64(), nullable=False),
        pa.field("count", pa.float64(), nullable=False),
    ]
)


class ArchiveError(Exception):
    """The file cannot be written or is no archive this version can read."""


@dataclass(frozen=True, slots=True)
class Archive:
    """What an archive holds.

    Attributes:
        evidence: as it was when exported.
        experiment: the experiment it was collected and evaluated under.
    """

    evidence: Evidence
    experiment: Experiment


@dataclass(frozen=True, slots=True)
class _Entry:
    """A histogram and what it is of."""

    histogram: FloatHistogram
    candidate: str
    run: str
    instance: str
    window: int | None
    quantity: str


class _Numbered:
    """Histograms in the order in which they were added; records refer to them by number."""

    def __init__(self) -> None:
        self.entries: list[_Entry] = []

    def add(
        self,
        histogram: FloatHistogram,
        run: RunEvidence,
        instance: str,
        *,
        window: int | None = None,
        quantity: str = "latency",
    ) -> int:
        entry = _Entry(histogram, run.candidate.name, run.run, instance, window, quantity)
        self.entries.append(entry)
        return len(self.entries) - 1


def write(path: Path, archive: Archive) -> None:
    """Write an archive; the file appears complete or not at all.

    Args:
        path: the file; an existing one is replaced.
        archive: what to write.

    Raises:
        ArchiveError: the file cannot be written.
    """
    numbered = _Numbered()
    runs = [_run_document(run, numbered) for run in archive.evidence.runs]
    document = {
        "format_version": FORMAT_VERSION,
        "written_by": _versions(),
        "experiment": archive.experiment.model_dump(mode="json", by_alias=True),
        "evidence": {
            **_fields(archive.evidence),
            "runs": runs,
            "selection": _fields(archive.evidence.selection),
            "same_events": [_fields(one) for one in archive.evidence.same_events],
        },
        "histograms": [[e.histogram.count, e.histogram.sum] for e in numbered.entries],
    }
    table = _table(numbered.entries).replace_schema_metadata({METADATA_KEY: json.dumps(document)})
    try:
        with replacing(path) as scratch:
            pq.write_table(table, scratch, compression="zstd")
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be written: {error.strerror or error}.") from error


def read(path: Path) -> Archive:
    """Read an archive.

    Raises:
        ArchiveError: the file cannot be read, is damaged, is something else, or was written by
            a later version.
    """
    if path.is_dir():  # pyarrow would read every Parquet file in it
        raise ArchiveError(f"{path}: cannot be read: Is a directory.")
    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise ArchiveError(f"{path}: there is no such file.") from error
    except (pa.ArrowException, OSError) as error:
        raise ArchiveError(
            f"{path}: is not a readable Parquet file; it is damaged, cut short or something else."
        ) from error
    text = (table.schema.metadata or {}).get(METADATA_KEY)
    if text is None:
        raise ArchiveError(f"{path}: is a Parquet file but none that `analyze export` wrote.")
    try:
        document = json.loads(text)
        found = document["format_version"]
        if found not in _READ:
            raise ArchiveError(
                f"{path}: has archive format {found}, but this program reads formats "
                f"{_READ[0]} to {_READ[-1]}; use the version that wrote it."
            )
        histograms = _histograms(table, document["histograms"])
        return Archive(
            evidence=_evidence(msgspec.convert(document["evidence"], _Evidence), histograms),
            experiment=Experiment.model_validate_json(json.dumps(document["experiment"])),
        )
    except (LookupError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ArchiveError(f"{path}: is an archive, but its content is damaged.") from error


def _versions() -> dict[str, str]:
    return {
        DISTRIBUTION: program_version(),
        "python": platform.python_version(),
        "pyarrow": pa.__version__,
    }


def _fields(record: Any) -> dict[str, Any]:
    """The fields of a dataclass, not of those inside it."""
    return {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}


def _run_document(run: RunEvidence, numbered: _Numbered) -> dict[str, Any]:
    return {
        **_fields(run),
        "candidate": _fields(run.candidate),
        "instances": [
            {
                **_fields(one),
                "latency": numbered.add(one.latency, run, one.instance),
                "windows": [
                    numbered.add(h, run, one.instance, window=n) for n, h in enumerate(one.windows)
                ],
                "timestamp_errors": _errors_document(one, run, numbered),
                "exchange_offset": one.exchange_offset and _fields(one.exchange_offset),
                "round_trips": one.round_trips and _fields(one.round_trips),
            }
            for one in run.instances
        ],
    }


def _errors_document(
    one: InstanceEvidence, run: RunEvidence, numbered: _Numbered
) -> dict[str, Any] | None:
    errors = one.timestamp_errors
    if errors is None:
        return None
    number = numbered.add(errors.bounds, run, one.instance, quantity="timestamp_error")
    return {"bounds": number, "exact": errors.exact}


def _table(entries: Sequence[_Entry]) -> pa.Table:
    sizes = [entry.histogram.counts.size for entry in entries]
    rows = np.repeat(np.arange(len(entries), dtype=np.int32), sizes)

    def repeated(values: Sequence[str | int | None], kind: pa.DataType) -> pa.Array:
        column = pa.array(values, pa.string() if kind == _NAMES else kind)
        if kind == _NAMES:
            column = column.dictionary_encode()
        return column.take(pa.array(rows))

    def joined(name: str) -> pa.Array:
        parts = [np.empty(0), *(getattr(entry.histogram, name) for entry in entries)]
        return pa.array(np.concatenate(parts))

    columns = [
        pa.array(rows),
        repeated([entry.candidate for entry in entries], _NAMES),
        repeated([entry.run for entry in entries], _NAMES),
        repeated([entry.instance for entry in entries], _NAMES),
        repeated([entry.window for entry in entries], pa.int32()),
        repeated([entry.quantity for entry in entries], _NAMES),
        joined("lower"),
        joined("upper"),
        joined("counts"),
    ]
    return pa.Table.from_arrays(columns, schema=_SCHEMA)


def _histograms(table: pa.Table, totals: Sequence[Sequence[float]]) -> list[FloatHistogram]:
    rows = table.column("histogram").to_numpy()
    lower, upper, counts = (
        table.column(name).to_numpy() for name in ("lower_sec", "upper_sec", "count")
    )
    edges = np.searchsorted(rows, np.arange(len(totals) + 1))
    if edges[-1] != rows.size:
        raise ValueError("there are buckets of no histogram")
    return [
        FloatHistogram(
            float(count), float(total), lower[begin:end], upper[begin:end], counts[begin:end]
        )
        for (count, total), begin, end in zip(totals, edges[:-1], edges[1:], strict=True)
    ]


# Its index in the list: a negative one would count from the end.
_Number = Annotated[int, msgspec.Meta(ge=0)]


# A counter, of as many bits as the statistics calculate with.
_Count = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    """A part of the metadata; histograms are given by their number."""


class _Errors(_Document):
    bounds: _Number
    exact: _Count


class _Instance(_Document):
    instance: str
    az_id: str | None
    latency: _Number
    windows: list[_Number]
    messages: _Count | None
    lost: _Count | None
    reconnects: _Count | None
    negative: _Count | None
    hours: float | None
    coverage: float
    clock_error_bound_sec: float | None
    clock_synchronized: bool | None
    never_sent: _Count | None = None
    timestamp_errors: _Errors | None = None
    timestamp_kinds: tuple[str, ...] = ()
    exchange_offset: OffsetRange | None = None
    round_trips: RoundTrips | None = None


class _Run(_Document):
    candidate: Candidate
    run: str
    stratum: str | None
    instances: Annotated[list[_Instance], msgspec.Meta(min_length=1)]
    exclusion_reasons: tuple[str, ...]


class _Evidence(_Document):
    selection: EvidenceSelection
    runs: list[_Run]
    source: str
    warnings: tuple[str, ...]
    approximate: bool
    same_events: tuple[SameEventDifference, ...] = ()


def _evidence(found: _Evidence, histograms: Sequence[FloatHistogram]) -> Evidence:
    parts = msgspec.structs.asdict(found)
    return Evidence(**{**parts, "runs": tuple(_run(run, histograms) for run in found.runs)})


def _run(found: _Run, histograms: Sequence[FloatHistogram]) -> RunEvidence:
    if len(found.candidate.dimensions) != len(found.candidate.values):
        raise ValueError("a candidate has other dimensions than values")
    return RunEvidence(
        **{
            **msgspec.structs.asdict(found),
            "instances": tuple(_instance(one, histograms) for one in found.instances),
        }
    )


def _instance(found: _Instance, histograms: Sequence[FloatHistogram]) -> InstanceEvidence:
    return InstanceEvidence(
        **{
            **msgspec.structs.asdict(found),
            "latency": histograms[found.latency],
            "windows": tuple(histograms[n] for n in found.windows),
            "timestamp_errors": _errors(found.timestamp_errors, histograms),
        }
    )


def _errors(found: _Errors | None, histograms: Sequence[FloatHistogram]) -> TimestampErrors | None:
    return None if found is None else TimestampErrors(histograms[found.bounds], found.exact)
