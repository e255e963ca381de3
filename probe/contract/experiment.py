"""The experiment: one validated description that every part of the sweep reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from probe.contract import bounded_yaml
from probe.contract.bounded_yaml import YamlError

if TYPE_CHECKING:
    from datetime import datetime, time

Symbol = Annotated[str, Field(pattern=r"^[A-Z0-9]{3,30}$")]
StreamName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]+(_[A-Za-z0-9]+)?(@[0-9]+ms)?$")]
ClockTime = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$")]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
MarketName = Literal["spot", "usdm", "sbe"]


class ExperimentError(Exception):
    """The experiment file cannot be used; the message names the file, the key and the mend."""


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


class Timing(_Section):
    """Whole seconds, so that runs start on whole seconds and can be named by them."""

    warmup_sec: Annotated[int, Field(ge=1)]
    measurement_sec: Annotated[int, Field(ge=1)]
    cooldown_sec: Annotated[int, Field(ge=1)]
    scrape_interval_sec: Annotated[int, Field(ge=1)]


class MarketData(_Section):
    """Which feeds are measured, and where they are served."""

    market: MarketName
    symbols: Annotated[list[Symbol], Field(min_length=1)]
    streams: Annotated[list[StreamName], Field(min_length=1)]
    endpoint: Annotated[str, Field(pattern=r"^wss?://[^/\s]+(/[^?\s]*)?$")]
    time_endpoint: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = None


class Stratum(_Section):
    """A window of the UTC day, `[from, to)`; it may pass midnight."""

    start: ClockTime = Field(alias="from")
    end: ClockTime = Field(alias="to")

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


class Histogram(_Section):
    """Resolution of the native histograms and of their classic fallback."""

    native_schema: Annotated[int, Field(ge=-4, le=8, alias="schema")]
    max_buckets: Annotated[int, Field(ge=1)]
    classic_buckets: Annotated[int, Field(ge=2)]
    classic_min_sec: PositiveFloat
    classic_max_sec: PositiveFloat


class Constraints(_Section):
    """Hard limits; a candidate that breaks one cannot win."""

    p99_sec: PositiveFloat
    reconnects_per_hour: PositiveFloat
    loss_ratio: Annotated[float, Field(gt=0, lt=1)]
    tail_ratio: Annotated[float, Field(gt=1)]
    min_samples: Annotated[int, Field(ge=1)]
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

    evidence_streams: Annotated[list[str], Field(min_length=1)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    min_runs: Annotated[int, Field(ge=1)]
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
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    regions: Annotated[dict[str, Region], Field(min_length=1)]
    instance_types: Annotated[dict[str, InstanceType], Field(min_length=1)]
    timing: Timing
    market_data: MarketData
    time_strata: dict[str, Stratum]
    histogram: Histogram
    decision: Decision

    def stratum_of(self, moment: datetime) -> str | None:
        """Name of the time stratum that an aware UTC moment falls in, or None."""
        return next((n for n, s in self.time_strata.items() if s.contains(moment)), None)


def default_path() -> Path:
    """The experiment file shipped with the package, or the one of the source checkout."""
    shipped = Path(__file__).with_name("experiment.yaml")
    return shipped if shipped.exists() else Path(__file__).parents[2] / "experiment.yaml"


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
        raise ExperimentError(_sentence(error, document, source)) from error


def _sentence(error: ValidationError, document: dict[str, Any], source: str) -> str:
    """All faults of a file in one sentence each, the first ones first."""
    faults = []
    for fault in error.errors(include_url=False)[:5]:
        key = ".".join(str(part) for part in fault["loc"]) or "file"
        got = "" if fault["type"] == "missing" else f", got {_value_at(document, fault['loc'])!r}"
        message = fault["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        if fault["type"] == "extra_forbidden":
            message, got = "unknown key; remove it or correct its spelling", ""
        faults.append(f"{source}: {key}: {message}{got}.")
    return "\n".join(faults)


def _value_at(document: Any, loc: tuple[int | str, ...]) -> Any:
    for part in loc:
        try:
            document = document[part]
        except (KeyError, IndexError, TypeError):
            return None
    return document
