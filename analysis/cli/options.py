"""What the `analyze` commands are asked for: a frozen record for each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    from latency_sweep.analysis.evidence.label_names import LabelNames
    from latency_sweep.analysis.evidence.recorded_host import RecordedHost
    from latency_sweep.runtime.options import PrometheusOptions


@dataclass(frozen=True, slots=True)
class FromPrometheus:
    """Evidence in a Prometheus server, and which part of it.

    Attributes:
        server: where it is, and how to authenticate.
        experiment_id: value of the `experiment` label; None for the only one there is.
        since: Unix seconds, or None.
        until: Unix seconds, or None.
        by: labels that make a candidate; empty for all of them.
        market: value of the `market` label; None for the experiment's.
        streams: empty for the experiment's evidence streams.
        symbols: empty for all.
        names: of the target labels.
    """

    server: PrometheusOptions
    experiment_id: str | None
    since: float | None
    until: float | None
    by: tuple[str, ...]
    market: str | None
    streams: tuple[str, ...]
    symbols: tuple[str, ...]
    names: LabelNames


@dataclass(frozen=True, slots=True)
class FromArchive:
    """Evidence in a file that `analyze export` wrote."""

    file: Path


@dataclass(frozen=True, slots=True)
class FromJsonl:
    """Evidence in a result file of the first version.

    Attributes:
        file: its path.
        by: labels that make a candidate; empty for all of them.
        symbols: empty for all.
    """

    file: Path
    by: tuple[str, ...]
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FromRecordings:
    """Evidence in recordings of raw frames.

    Attributes:
        hosts: with their files and the bounds of their clocks.
        market: that was recorded; None for the experiment's.
        raw_streams: full names of the streams whose raw messages the files hold.
        streams: that count as evidence; empty for the experiment's.
        symbols: empty for all.
    """

    hosts: tuple[RecordedHost, ...]
    market: str | None
    raw_streams: tuple[str, ...]
    streams: tuple[str, ...]
    symbols: tuple[str, ...]


EvidenceSource: TypeAlias = FromPrometheus | FromArchive | FromJsonl | FromRecordings


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a report goes.

    Attributes:
        file: to write; None for standard output.
        format: name of the report's format.
    """

    file: Path | None
    format: str


@dataclass(frozen=True, slots=True)
class AnalyzeOptions:
    """`analyze`: decide.

    Attributes:
        source: where the evidence is.
        config: experiment file; None for the archive's, or the one shipped.
        destinations: of the report, at least one.
        prices: price table; None for the one shipped.
        seed: of the bootstrap.
    """

    source: EvidenceSource
    config: Path | None
    destinations: tuple[Destination, ...]
    prices: Path | None
    seed: int


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """`analyze export`: write the evidence to a file.

    Attributes:
        source: where the evidence is.
        config: experiment file; None for the one shipped.
        file: the archive to write.
    """

    source: FromPrometheus
    config: Path | None
    file: Path


@dataclass(frozen=True, slots=True)
class TwoSweeps:
    """Compare two archives, or two experiments of one server."""

    before: FromPrometheus | FromArchive
    after: FromPrometheus | FromArchive


@dataclass(frozen=True, slots=True)
class TwoCandidates:
    """Compare two candidates of the same evidence, by their names."""

    source: FromPrometheus | FromArchive
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """`analyze compare`: what changed, or differs.

    Attributes:
        what: is compared.
        config: experiment file; None for the archives', or the one shipped.
        destinations: of the report, at least one.
        prices: price table; None for the one shipped.
        seed: of the bootstrap.
    """

    what: TwoSweeps | TwoCandidates
    config: Path | None
    destinations: tuple[Destination, ...]
    prices: Path | None
    seed: int


@dataclass(frozen=True, slots=True)
class RefreshOptions:
    """A refresh of the price table from AWS's price list.

    Attributes:
        file: the table to write; None for the one shipped.
        config: experiment file; None for the one shipped.
        regions: AWS regions; empty for the experiment's.
        instance_types: EC2 instance types; empty for the experiment's.
    """

    file: Path | None
    config: Path | None
    regions: tuple[str, ...]
    instance_types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PricesOptions:
    """`analyze prices`: show the price table, or refresh it.

    Attributes:
        prices: the table to show; None for the one shipped.
        refresh: what to refresh; None to only show.
    """

    prices: Path | None
    refresh: RefreshOptions | None


@dataclass(frozen=True, slots=True)
class ServerDoctorOptions:
    """`analyze doctor`: is this Prometheus fit?

    Attributes:
        source: the server, and what it should hold.
        config: experiment file; None for the one shipped.
        json: print JSON instead of a table.
    """

    source: FromPrometheus
    config: Path | None
    json: bool


Options: TypeAlias = (
    AnalyzeOptions | ExportOptions | CompareOptions | PricesOptions | ServerDoctorOptions
)
