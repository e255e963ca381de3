"""From the options of `sweep demo` to what is started and measured."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from latency_sweep.contract import experiment
from latency_sweep.contract.timeline import NS_PER_SEC, Timeline
from latency_sweep.lab.exchange.config import Replay, SiteConfig
from latency_sweep.lab.local import sites
from latency_sweep.lab.local.recording import RecordingSummary, first_run
from latency_sweep.lab.local.stack import Setup

if TYPE_CHECKING:
    from latency_sweep.contract.timeline import Run

EXPERIMENT: Final = Path(__file__).with_name("experiment.yaml")
SITES: Final = sites.SHIPPED
_PAUSE_SEC: Final = 0.1


class ResultsError(Exception):
    """The folder of the results cannot be made; the message is one sentence that names it."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the user asked for.

    Attributes:
        config: experiment file.
        sites: file with the sites and the simulated market.
        runs: how many runs to wait for; None for as many as the experiment needs.
        results: folder in which a folder for this demo is made.
        replay: recorded frames to send in place of the simulated market, or None.
        streams: full names of the streams whose raw messages it holds.
        speed: how many times faster than recorded they are sent.
        keep: leave the stack running after the report until interrupted.
        ground_truth: write down what the exchange really sent.
    """

    config: Path = EXPERIMENT
    sites: Path = SITES
    runs: int | None = None
    results: Path = Path("results")
    replay: Path | None = None
    streams: tuple[str, ...] = ()
    speed: float = 1.0
    keep: bool = False
    ground_truth: bool = False


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What is to be done.

    Attributes:
        setup: the stack.
        runs: number of runs.
        first: the first of them, or None for the first one after the stack is up.
    """

    setup: Setup
    runs: int
    first: Run | None


def demo_plan(options: DemoOptions) -> DemoPlan:
    """The simulated market at every site; makes the folder of the results.

    Raises:
        ExperimentError: the experiment file cannot be used.
        SitesError: the sites cannot be used, or do not suit the experiment.
        ResultsError: the folder of the results cannot be made.
    """
    description = experiment.load(options.config)
    scenario = sites.load(options.sites)
    sites.check(scenario, description)
    setup = _setup(options, description, scenario)
    return DemoPlan(setup, options.runs or description.decision.min_runs, first=None)


def replay_plan(options: DemoOptions, recorded: RecordingSummary, *, lead_sec: int) -> DemoPlan:
    """A recording at one site: the frames carry their own latency, so one tells everything.

    Makes the folder of the results.

    Args:
        options: what the user asked for.
        recorded: the recording.
        lead_sec: how long to leave for starting everything, seconds.

    Raises:
        ExperimentError: the experiment file cannot be used.
        SitesError: the sites cannot be used, or do not suit the experiment.
        RecordingError: nothing of the recording can be measured.
        ResultsError: the folder of the results cannot be made.
    """
    ready_by_ns = time.time_ns() + lead_sec * NS_PER_SEC
    description = recorded.adapted(experiment.load(options.config), ready_by_ns)
    run = first_run(Timeline.of(description.timing), ready_by_ns)
    scenario = sites.load(options.sites)
    site = scenario.sites[0].model_copy(update={"feed": SiteConfig()})
    scenario = scenario.model_copy(update={"sites": [site]})
    sites.check(scenario, description)
    replay = Replay(
        file=recorded.file.absolute(),
        streams=list(options.streams),
        speed=options.speed,
        start_at=recorded.start_ns(run) / NS_PER_SEC,
    )
    setup = _setup(options, description, scenario, replay)
    return DemoPlan(setup, runs=1, first=run)


def _setup(
    options: DemoOptions,
    description: experiment.Experiment,
    scenario: sites.Scenario,
    replay: Replay | None = None,
) -> Setup:
    """The stack, with a new folder for the results.

    Raises:
        ResultsError: it cannot be made.
    """
    return Setup(
        description,
        scenario,
        _folder(options.results),
        replay=replay,
        ground_truth=options.ground_truth,
    )


def _folder(results: Path) -> Path:
    """Make a folder that was not there yet, named by the present second.

    Raises:
        ResultsError: it cannot be made.
    """
    while True:
        folder = results.absolute() / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            # Another demo, started in the same second, may have been quicker.
            if isinstance(error, FileExistsError) and folder.is_dir():
                time.sleep(_PAUSE_SEC)
                continue
            raise ResultsError(
                f"--results: {folder} cannot be made ({error.strerror}); name another folder."
            ) from error
        return folder
