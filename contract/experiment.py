"""The experiment: the validated definition of a sweep, which every part reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from latency_sweep.contract import bounded_yaml, values
from latency_sweep.contract.bounded_yaml import YamlError
from latency_sweep.contract.markets import MarketName  # noqa: TC001 - pydantic reads it

if TYPE_CHECKING:
    from datetime import datetime, time

    from pydantic_core import ErrorDetails

# Longer is a typing error; the limit also keeps every timestamp of a run within 64 bits.
MAX_PHASE_SEC: Final = 7 * 24 * 3600
MAX_SCRAPE_INTERVAL_SEC: Final = 3600
MAX_BLOCKS_PER_DAY: Final = 96
# With fewer no difference can be significant; the sequential test has signs for as many.
MIN_BLOCKS: Final = 8
MAX_BLOCKS: Final = 2048
# Each bucket is a line of every text scrape and each bound six digits.
MAX_CLASSIC_BUCKETS: Final = 1000
_MAX_SHOWN: Final = 200
PhaseSeconds = Annotated[int, Field(ge=1, le=MAX_PHASE_SEC)]
# From a nanosecond, the resolution of receive timestamps, to a day.
ClassicBound = Annotated[float, Field(ge=1e-9, le=86_400, allow_inf_nan=False)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class ExperimentError(Exception):
    """The experiment file cannot be used; the message names the file, the key and the fix."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Region(_Section):
    """An AWS region and the phase of the sweep in which it joins."""

    name: str
    phase: Annotated[int, Field(ge=1)]


class InstanceType(_Section):
    """An EC2 instance type: the family it stands for and its architecture."""

    family: str
    architecture: Literal["x86_64", "arm64"]


class RandomBlocks(_Section):
    """Runs are blocks at random times, one in each band of the UTC day.

    Attributes:
        per_day: bands of equal length that a day is cut into.
        seed: of the times; all parts of a sweep need the same one.
        most: blocks by which the question is to be settled; a shortlist is named then.
    """

    per_day: Annotated[int, Field(ge=3, le=MAX_BLOCKS_PER_DAY)]
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)]
    most: Annotated[int, Field(ge=MIN_BLOCKS, le=MAX_BLOCKS)]


class Timing(_Section):
    """Whole seconds, so that runs start on whole seconds and can be named by them.

    Runs follow one another without a pause unless they are random blocks.
    """

    warmup_sec: PhaseSeconds
    measurement_sec: PhaseSeconds
    cooldown_sec: PhaseSeconds
    scrape_interval_sec: Annotated[int, Field(ge=1, le=MAX_SCRAPE_INTERVAL_SEC)]
    random_blocks: RandomBlocks | None = None

    @model_validator(mode="after")
    def _block_fits_into_its_band(self) -> Self:
        if self.random_blocks is None:
            return self
        length_sec = self.warmup_sec + self.measurement_sec + self.cooldown_sec
        band_sec = 86_400 // self.random_blocks.per_day
        if length_sec > band_sec:
            raise ValueError(
                f"a block of {length_sec} s (warmup_sec + measurement_sec + cooldown_sec) does not "
                f"fit into a band of {band_sec} s; shorten it or lower random_blocks.per_day"
            )
        return self


class MarketData(_Section):
    """Which feeds are measured, and where they are served."""

    market: MarketName
    symbols: Annotated[list[values.Symbol], Field(min_length=1)]
    streams: Annotated[list[values.StreamName], Field(min_length=1)]
    endpoint: values.Endpoint
    time_endpoint: values.TimeEndpoint | None = None


class Stratum(_Section):
    """A window of the UTC day, `[from, to)`; it may pass midnight."""

    start: values.StartOfWindow = Field(alias="from")
    end: values.EndOfWindow = Field(alias="to")

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.start == self.end:
            raise ValueError(
                f"from {self.start} to {self.end} is empty; write the whole day as 00:00 to 24:00"
            )
        return self

    def contains(self, moment: datetime) -> bool:
        """Whether the UTC time of day of an aware `moment` lies in the window."""
        start, end = _minutes(self.start), _minutes(self.end)
        clock: time = moment.time()
        minute = clock.hour * 60 + clock.minute + (clock.second + clock.microsecond / 1e6) / 60
        if start <= end:
            return start <= minute < end
        return minute >= start or minute < end


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


class HistogramConfig(_Section):
    """Resolution of the native histograms and of their classic fallback."""

    native_schema: Annotated[int, Field(ge=-4, le=8, alias="schema")]
    max_buckets: Annotated[int, Field(ge=1, le=1_000_000)]
    classic_buckets: Annotated[int, Field(ge=2, le=MAX_CLASSIC_BUCKETS)]
    classic_min_sec: ClassicBound
    classic_max_sec: ClassicBound

    @model_validator(mode="after")
    def _classic_bounds_ascend(self) -> Self:
        # Twice, so that as many bounds as are allowed differ in the six digits they are shown with.
        if self.classic_max_sec < 2 * self.classic_min_sec:
            raise ValueError(
                f"classic_max_sec {self.classic_max_sec:g} must be at least twice "
                f"classic_min_sec {self.classic_min_sec:g}"
            )
        return self


class Constraints(_Section):
    """Hard limits; a candidate that breaks one cannot win."""

    p99_sec: PositiveFloat
    reconnects_per_hour: PositiveFloat
    loss_ratio: Annotated[float, Field(gt=0, lt=1)]
    tail_ratio: Annotated[float, Field(gt=1, allow_inf_nan=False)]
    min_samples: Annotated[int, Field(ge=1, le=10**12)]
    clock_error_bound_sec: PositiveFloat


class Weights(_Section):
    """Weights of the score; they add up to one."""

    p99: Share
    stability: Share

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        if abs(self.p99 + self.stability - 1) > 1e-9:  # noqa: PLR2004 - rounding only
            raise ValueError(f"p99 + stability must be 1, not {self.p99 + self.stability:g}")
        return self


class Preferences(_Section):
    """Soft preferences: how much each may move the adjusted score."""

    cost: Share
    redundancy: Share
    graviton: Share


class Decision(_Section):
    """The decision rule: which evidence, how much of it, and how sure."""

    evidence_streams: Annotated[list[values.StreamName], Field(min_length=1)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    min_runs: Annotated[int, Field(ge=1, le=100_000)]
    outlier_cap_percentile: Annotated[float, Field(gt=50, le=100)]
    equivalence_ratio: Annotated[float, Field(gt=0, lt=1)]
    redundancy_within_sec: PositiveFloat
    bootstrap_resamples: Annotated[int, Field(ge=200, le=100_000)]
    constraints: Constraints
    weights: Weights
    preferences: Preferences


class Experiment(_Section):
    """One sweep, as `experiment.yaml` describes it."""

    version: Literal[1]
    name: values.ExperimentName
    regions: Annotated[dict[str, Region], Field(min_length=1)]
    instance_types: Annotated[dict[str, InstanceType], Field(min_length=1)]
    timing: Timing
    market_data: MarketData
    time_strata: dict[str, Stratum]
    histogram: HistogramConfig
    decision: Decision

    @model_validator(mode="after")
    def _evidence_is_measured(self) -> Self:
        """One stream is enough: a market or a recording may lack the others."""
        measured = self.market_data.streams
        wanted = self.decision.evidence_streams
        if not any(
            name == stream or name == stream.partition("@")[0]
            for name in wanted
            for stream in measured
        ):
            raise ValueError(
                f"decision.evidence_streams has none of the streams that are measured; it has "
                f"{', '.join(wanted)}, market_data.streams has {', '.join(measured)}"
            )
        return self

    def stratum_of(self, moment: datetime) -> str | None:
        """Name of the time stratum that an aware UTC moment falls in, or None."""
        return next((n for n, s in self.time_strata.items() if s.contains(moment)), None)


def default_path() -> Path:
    """The experiment file shipped with the package, or the one of the source checkout."""
    shipped = Path(__file__).with_name("experiment.yaml")
    return shipped if shipped.exists() else Path(__file__).resolve().parents[1] / "experiment.yaml"


def load(path: Path | None = None) -> Experiment:
    """Read and validate an experiment file.

    Args:
        path: the file; the shipped one if None.

    Raises:
        ExperimentError: unreadable, malformed, or a key missing, unknown or of a wrong value;
            the message is one sentence that names the key.
    """
    path = path or default_path()
    try:
        document = bounded_yaml.load(path)
    except YamlError as error:
        raise ExperimentError(str(error)) from error
    return _validate(document, str(path))


def parse(text: str, *, source: str) -> Experiment:
    """Validate an experiment from its YAML text; see `load`."""
    try:
        document = bounded_yaml.parse(text, source=source)
    except YamlError as error:
        raise ExperimentError(str(error)) from error
    return _validate(document, source)


def _validate(document: Any, source: str) -> Experiment:
    if not isinstance(document, dict):
        raise ExperimentError(f"{source}: expected a mapping of sections such as `timing:`.")
    try:
        return Experiment.model_validate(document)
    except ValidationError as error:
        raise ExperimentError(_sentence(error, source)) from error


def _sentence(error: ValidationError, source: str) -> str:
    """All faults of a file in one sentence each, the first ones first."""
    faults = error.errors(include_url=False)[:5]
    return "\n".join(f"{source}: {_keyed(fault)}." for fault in faults)


def explain(error: ValidationError) -> str:
    """The first fault: its key, and what is wrong with it, as the last part of a sentence."""
    return _keyed(error.errors(include_url=False)[0])


def _keyed(fault: ErrorDetails) -> str:
    return f"{'.'.join(map(str, fault['loc'])) or 'file'}: {describe(fault)}"


def describe(fault: ErrorDetails) -> str:
    """What is wrong with a value, and the value, as the part of a sentence after its name."""
    given = fault["input"]
    match fault["type"]:
        case "extra_forbidden":
            return "unknown key; remove it or correct its spelling"
        case "too_short":
            return "must name at least one"
        case "missing":
            return "field required"
    message = fault["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]  # the rest may quote what was written
    return message if isinstance(given, dict) else f"{message}, got {_shown(given)}"


def _shown(value: object) -> str:
    try:
        text = values.without_user(repr(value))
    except ValueError:  # Python refuses to write out the digits of a huge number
        return "a number of thousands of digits"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
