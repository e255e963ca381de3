"""What a sweep has reached, kept in one JSON file so that any command can go on from there.

The file holds no secret. The tags of the resources in AWS are the second record: they tell of a
sweep even when this file is lost.
"""

from __future__ import annotations

import fcntl
import os
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from latency_sweep.collector.errors import SweepError
from latency_sweep.runtime import logs
from latency_sweep.runtime.atomic_file import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT_VERSION: Final = 1
STATE_FILE: Final = "state.json"
EXPERIMENT_FILE: Final = "experiment.yaml"
EVIDENCE_FILE: Final = "evidence.parquet"
LOG_FILE: Final = "sweep.log"

_LOG: Final = logs.logger(__name__)
_LOCK_FILE: Final = ".lock"

ExperimentId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class StateError(SweepError):
    """The state file cannot be used, or another command uses it; the message says what to do."""


class Stage(IntEnum):
    """How far a sweep has come; each stage includes those before it."""

    PLANNED = 0
    DEPLOYED = 1
    READY = 2
    COLLECTED = 3
    ARCHIVED = 4
    DESTROYED = 5


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Plan(_Record):
    """What was asked for when the sweep began; it does not change.

    Attributes:
        experiment_id: value of the `Experiment` tag and of the `experiment` label.
        phase: regions of this phase and of those before it take part.
        regions: those regions, AWS region codes.
        instance_types: EC2 instance types.
        az_ids: by region, ids of the availability zones to use; one is chosen where none is given.
        replicas: instances of each candidate.
        runs: runs to wait for, or, with strata, runs in each of them.
        strata: time strata to cover; empty for the next runs whenever they are.
        bucket: S3 bucket of Terraform's state, of the wheel and of the archive.
        bucket_region: where that bucket is.
        wheel_uri: what the probes install.
        wheel_sha256: hexadecimal digest of that file, if known.
        monitor_region: where Terraform makes the central Prometheus; None for the home region.
        monitor_cidr: address of an existing Prometheus that scrapes the probes, with /32; None
            to have one made.
        prometheus_url: where this machine reaches Prometheus; None for Terraform's answer.
        terraform_variables: a file with further variables for Terraform.
        ttl_hours: after that the resources have expired.
    """

    experiment_id: ExperimentId
    phase: Annotated[int, Field(ge=1)]
    regions: tuple[str, ...]
    instance_types: tuple[str, ...]
    az_ids: dict[str, tuple[str, ...]] = {}
    replicas: Annotated[int, Field(ge=1)] = 1
    runs: Annotated[int, Field(ge=1)]
    strata: tuple[str, ...] = ()
    bucket: str
    bucket_region: str
    wheel_uri: str
    wheel_sha256: str | None = None
    monitor_region: str | None = None
    monitor_cidr: str | None = None
    prometheus_url: str | None = None
    terraform_variables: str | None = None
    ttl_hours: Annotated[int, Field(ge=1)]


class Dropped(_Record):
    """A candidate that AWS had no capacity for.

    Attributes:
        candidate: region/az_id/instance_type.
        reason: AWS's own words.
    """

    candidate: str
    reason: str


class ProbeInstance(_Record):
    """One probe instance, as Terraform made it."""

    region: str
    az_id: str
    instance_type: str
    instance_id: str
    private_ip: str
    replica: int

    @property
    def name(self) -> str:
        """For people: the candidate and the instance."""
        return f"{self.region}/{self.az_id}/{self.instance_type} ({self.instance_id})"


class MonitorHost(_Record):
    """The instance with the central Prometheus, which listens on its own loopback only."""

    region: str
    instance_id: str


class Archived(_Record):
    """Where the evidence is.

    Attributes:
        file: path on this machine.
        uri: where it is in S3.
        sha256: hexadecimal digest of the file.
        runs: how many runs it holds.
        candidates: of how many candidates.
    """

    file: str
    uri: str
    sha256: str
    runs: int
    candidates: int


class State(_Record):
    """A sweep so far.

    Attributes:
        version: of this format.
        plan: what was asked for.
        created: when the sweep began.
        stage: how far it has come.
        dropped: candidates dropped for lack of capacity.
        probes: the instances, once deployed.
        prometheus_url: the central Prometheus, once known.
        monitor: the instance it is on, if Terraform made it: the address is one of that instance.
        grafana_url: its dashboards, if there are any.
        schedule: label of each run to wait for, once the probes are ready.
        archive: where the evidence is, once it is kept.
    """

    version: Literal[1] = FORMAT_VERSION
    plan: Plan
    created: datetime
    stage: Stage = Stage.PLANNED
    dropped: tuple[Dropped, ...] = ()
    probes: tuple[ProbeInstance, ...] = ()
    prometheus_url: str | None = None
    monitor: MonitorHost | None = None
    grafana_url: str | None = None
    schedule: tuple[str, ...] = ()
    archive: Archived | None = None


class Sweep:
    """A sweep's folder and what it has reached.

    Attributes:
        folder: with the state, the experiment as run, Terraform's working data and the evidence.
        state: as last saved.
    """

    def __init__(self, folder: Path, state: State) -> None:
        self.folder = folder
        self.state = state

    @property
    def plan(self) -> Plan:
        """What was asked for."""
        return self.state.plan

    @property
    def experiment_file(self) -> Path:
        """The experiment as it is run, overrides included."""
        return self.folder / EXPERIMENT_FILE

    @property
    def evidence_file(self) -> Path:
        """Where the archive is written."""
        return self.folder / EVIDENCE_FILE

    def save(self, **changes: object) -> None:
        """Replace some of the state, on disk first.

        Raises:
            StateError: the file cannot be written.
        """
        state = self.state.model_copy(update=changes)
        path = self.folder / STATE_FILE
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as scratch:
                scratch.write_text(state.model_dump_json(indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise StateError(f"{path}: cannot be written: {error.strerror}.") from error
        self.state = state

    def reach(self, stage: Stage, **changes: object) -> None:
        """Save that a stage is reached; a later one already reached stays."""
        self.save(stage=max(stage, self.state.stage), **changes)
        _LOG.info("stage reached", extra={"stage": self.state.stage.name.lower()})


def load(sweeps: Path, experiment_id: str) -> Sweep:
    """Read the state of one sweep.

    Raises:
        StateError: there is none, or it is damaged or of another version.
    """
    folder = sweeps / experiment_id
    path = folder / STATE_FILE
    try:
        return Sweep(folder, State.model_validate_json(path.read_bytes()))
    except FileNotFoundError as error:
        raise StateError(
            f"{path}: there is no such sweep; give the folder of sweeps with --sweeps, or remove "
            f"what it left in AWS with sweep reap --experiment-id {experiment_id}."
        ) from error
    except OSError as error:
        raise StateError(f"{path}: cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in fault["loc"]) or "file"
        raise StateError(
            f"{path}: {key}: {fault['msg'][:1].lower()}{fault['msg'][1:]}; restore the file, or "
            f"remove the sweep from AWS with sweep reap --experiment-id {experiment_id}."
        ) from error


def find(sweeps: Path, experiment_id: str | None) -> Sweep:
    """The sweep that is meant: the one named, or the only one that is not finished.

    Raises:
        StateError: there is none, or it is not clear which.
    """
    if experiment_id is not None:
        return load(sweeps, experiment_id)
    open_ones = unfinished(sweeps)
    if len(open_ones) == 1:
        return open_ones[0]
    if not open_ones:
        raise StateError(f"{sweeps}: there is no unfinished sweep; start one with sweep deploy.")
    names = ", ".join(sweep.plan.experiment_id for sweep in open_ones)
    raise StateError(f"Several sweeps are unfinished ({names}); choose one with --experiment-id.")


def unfinished(sweeps: Path) -> list[Sweep]:
    """All sweeps that are not destroyed, by name.

    Raises:
        StateError: one of them cannot be read.
    """
    names = sorted(path.parent.name for path in sweeps.glob(f"*/{STATE_FILE}"))
    found = [load(sweeps, name) for name in names]
    return [sweep for sweep in found if sweep.state.stage < Stage.DESTROYED]


def now() -> datetime:
    """The present in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keep other commands from changing the same sweep until the context ends, and write its log.

    The lock ends with this process, however it ends. The log, `sweep.log`, has everything from
    `debug` on, of one command after the other.

    Raises:
        StateError: another command works on it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StateError(
                f"{folder}: another sweep command is working on this sweep; wait until it ends."
            ) from error
        with logs.to_file(folder / LOG_FILE):
            _LOG.info("command begins", extra={"arguments": " ".join(sys.argv[1:])})
            try:
                yield
            except BaseException:
                _LOG.debug("command ends early", exc_info=True)
                raise
            _LOG.info("command is done")
    finally:
        os.close(descriptor)
