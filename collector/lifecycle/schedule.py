"""Which runs a sweep waits for: the next ones, or so many in each part of the day."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from latency_sweep.collector.errors import SweepError
from latency_sweep.contract.timeline import NS_PER_SEC, Timeline, parse_run_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.contract.experiment import Experiment
    from latency_sweep.contract.timeline import Run

_NS_PER_DAY = 86_400 * NS_PER_SEC


class ScheduleError(SweepError):
    """The requested runs can never take place."""


def plan_runs(
    experiment: Experiment, *, after_ns: int, runs: int, strata: Sequence[str]
) -> list[Run]:
    """The runs to wait for.

    Args:
        experiment: gives the timeline and the strata.
        after_ns: Unix nanoseconds; only runs whose warm-up starts later are whole.
        runs: how many, or how many in each stratum.
        strata: names of time strata; empty for the next `runs` runs.

    Raises:
        ScheduleError: a stratum does not exist, or no run's middle ever falls into it.
    """
    for name in strata:
        if name not in experiment.time_strata:
            known = ", ".join(experiment.time_strata)
            raise ScheduleError(f"Unknown time stratum {name!r}; the experiment has {known}.")
    timeline = Timeline.of(experiment.timing)
    run = timeline.run_from(after_ns + 1)
    chosen: list[Run] = []
    still = Counter(dict.fromkeys(strata, runs))
    # A cycle need not divide the day; after two days without a match there will be one soon or
    # never, and a week is longer than a sweep waits.
    end_ns = after_ns + (7 + runs) * _NS_PER_DAY
    while run.end_ns < end_ns:
        if not strata:
            chosen.append(run)
        elif still[stratum := stratum_of(experiment, run) or ""] > 0:
            still[stratum] -= 1
            chosen.append(run)
        if not strata and len(chosen) == runs:
            return chosen
        if strata and not any(count > 0 for count in still.values()):
            return chosen
        run = timeline.run_after(run)
    missing = ", ".join(name for name, count in still.items() if count > 0) or "all"
    raise ScheduleError(
        f"No schedule of {runs} runs fits the time strata ({missing}); runs are too long for them."
    )


def stratum_of(experiment: Experiment, run: Run) -> str | None:
    """Name of the time stratum that the middle of a run's measurement falls into.

    The analysis assigns runs to strata in the same way.
    """
    middle = (run.measure_start_ns + run.measure_end_ns) / 2 / NS_PER_SEC
    return experiment.stratum_of(datetime.fromtimestamp(middle, UTC))


def runs_of_labels(experiment: Experiment, labels: Sequence[str]) -> list[Run]:
    """The runs that `run` labels name, which is how a schedule is kept."""
    timeline = Timeline.of(experiment.timing)
    starts = (int(parse_run_label(label).timestamp()) for label in labels)
    return [timeline.run_at(start * NS_PER_SEC) for start in starts]


def settled_at_ns(experiment: Experiment, runs: Sequence[Run]) -> int:
    """When Prometheus has scraped everything of the last run, Unix nanoseconds."""
    return runs[-1].end_ns + 2 * experiment.timing.scrape_interval_sec * NS_PER_SEC


def longest_sec(experiment: Experiment, *, now_ns: int, runs: int, strata: Sequence[str]) -> float:
    """How long it takes from now until the last run is settled, seconds.

    Raises:
        ScheduleError: see `plan_runs`.
    """
    chosen = plan_runs(experiment, after_ns=now_ns, runs=runs, strata=strata)
    return (settled_at_ns(experiment, chosen) - now_ns) / NS_PER_SEC
