"""Calibration of the contest over random blocks: simulated sweeps with a known ground truth.

The schedule is the one that probes follow, another seed for every sweep, and the contest is the one
that `analyze` holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from latency_sweep.analysis.decision.contest import (
    ContestResult,
    ContestRule,
    hold,
    holds_in_general,
)
from latency_sweep.analysis.stats.sequential import boundaries
from latency_sweep.contract.timeline import NS_PER_SEC, SEC_PER_DAY, RandomStarts, Timeline
from latency_sweep.lab.simulation.blocks import Effects, compose, normal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from latency_sweep.lab.simulation.blocks import Hosts, Model

    Floats = NDArray[np.float64]

# A block of an instance: to start and settle, and measured.
_SETTLE_SEC, _MEASURED_SEC = 300, 600
BLOCK_HOURS: Final = (_SETTLE_SEC + _MEASURED_SEC) / 3600
# What the constraint on reconnects takes of the winner, hours without any.
CONSTRAINT_HOURS: Final = 3.0
_FIRST_DAY: Final = 20_000
MARGIN: Final = float(np.log(1.02))


@dataclass(frozen=True, slots=True)
class SimulatedContest:
    """How sweeps are simulated.

    Attributes:
        model: what the sites show; see `blocks`.
        hosts: whether instances are kept.
        levels: lasting level of each site, logarithm of p99.
        cap: most blocks.
        per_day: blocks of a day.
    """

    model: Model
    hosts: Hosts = "fresh"
    levels: tuple[float, ...] = (0.0, 0.0)
    cap: int = 44
    per_day: int = 6

    @property
    def rule(self) -> ContestRule:
        """How the contest is held."""
        return ContestRule(self.cap, MARGIN)


@dataclass(frozen=True, slots=True)
class BlockTrial:
    """The result of one simulated sweep.

    Attributes:
        result: of the contest.
        right: whether the winner has the lowest true level of the measured period; False
            without a winner.
        false: whether there is a winner that has not, or as low a level as another.
        covered: whether the interval of the difference of the first two sites contains the true
            difference of the period, after the last block that both took part in.
        beyond_margin: whether the winner's lead over any other is said to exceed the margin.
        general: whether the winner is claimed in general.
        false_general: whether that claim is false of the lasting levels.
        hours: instance-hours, with those that the winner still needs for the constraints.
    """

    result: ContestResult
    right: bool
    false: bool
    covered: bool
    beyond_margin: bool
    general: bool
    false_general: bool
    hours: float


def starts_of(seed: int, per_day: int, number: int) -> Floats:
    """Start of each measured block, hours from the midnight at which the sweep begins."""
    timeline = Timeline(
        _SETTLE_SEC * NS_PER_SEC,
        _MEASURED_SEC * NS_PER_SEC,
        0,
        random_starts=RandomStarts(per_day, seed),
    )
    begin_ns = _FIRST_DAY * SEC_PER_DAY * NS_PER_SEC
    run = timeline.run_from(begin_ns)
    found = []
    for _ in range(number):
        found.append((run.measure_start_ns - begin_ns) / NS_PER_SEC / 3600)
        run = timeline.run_after(run)
    return np.array(found)


def trial(setup: SimulatedContest, seed: Sequence[int]) -> BlockTrial:
    """Simulate one sweep and hold the contest."""
    rng = np.random.default_rng(seed)
    starts = starts_of(int(rng.integers(2**31)), setup.per_day, setup.cap)
    series = setup.model(rng, np.array(setup.levels), starts, setup.hosts)
    sites = len(setup.levels)
    # Fresh hosts bring a new clock error with every block; kept ones have the same for good.
    slack = -float(np.log1p(-2 * series.clock_bound)) if setup.hosts == "kept" else 0.0
    allowance = np.full((sites, sites), slack)
    result = hold(series.log_p99, setup.rule, allowance)
    winner, last = result.winner, result.blocks - 1
    false = right = general = false_general = beyond = False
    if winner is not None:
        others = [k for k in range(sites) if k != winner]
        right = bool(series.truth[winner, last] < series.truth[others, last].min() - 1e-12)
        false = not right
        beyond = any(
            _rejected(_differences(series.log_p99, winner, k, last) - slack - MARGIN, setup.rule)
            for k in others
        )
        general = holds_in_general(
            series.log_p99,
            (starts // 24).astype(np.int64),
            winner,
            setup.rule,
            most_days=-(-setup.cap // setup.per_day),
            allowance=allowance,
        )
        lowest = series.lasting[winner] < series.lasting[others].min() - 1e-12
        false_general = general and not lowest
    spare = max(0.0, CONSTRAINT_HOURS - result.blocks * BLOCK_HOURS)
    return BlockTrial(
        result,
        right,
        false,
        _covered(series.log_p99, series.truth, last, setup.rule, slack),
        beyond,
        general,
        false_general,
        result.candidate_blocks * BLOCK_HOURS + spare,
    )


def _covered(seen: Floats, truth: Floats, last: int, rule: ContestRule, slack: float) -> bool:
    """Whether neither end of the interval of the first two sites is beyond the truth."""
    true = truth[1, last] - truth[0, last]
    differences = _differences(seen, 0, 1, last) - true
    return not any(_rejected(sign * differences - slack, rule) for sign in (1, -1))


def _differences(seen: Floats, first: int, second: int, last: int) -> Floats:
    both = seen[second, : last + 1] - seen[first, : last + 1]
    return np.asarray(both[np.isfinite(both)])


def _rejected(differences: Floats, rule: ContestRule) -> bool:
    """Whether the last look proves a mean above zero, as `lower_bound` has it."""
    if not differences.size:
        return False
    return bool(differences.sum() > boundaries(differences, rule.spending)[-1])


@dataclass(frozen=True, slots=True)
class Staged:
    """A sweep in two stages: regions with one type, then all types of the region that is left.

    Attributes:
        name: for the table.
        regions: level of each region, logarithm of p99.
        types: of each type, added to it; the first one is measured in the first stage.
        host_sd: spread of hosts; a fresh one for every block.
    """

    name: str
    regions: tuple[float, ...]
    types: tuple[float, ...]
    host_sd: float = 0.0
    cap: int = 44


@dataclass(frozen=True, slots=True)
class StagedTrial:
    """How a staged sweep ended.

    Attributes:
        right: the winner is the best type of the best region.
        among_two: that, or the best is on a shortlist of two.
        among_three: or of three.
        region_right: the region was proven, and is the best.
        hours: instance-hours of both stages, constraints included.
        region_hours: of the first.
    """

    right: bool
    among_two: bool
    among_three: bool
    region_right: bool
    hours: float
    region_hours: float


def staged_trial(staged: Staged, seed: Sequence[int]) -> StagedTrial:
    """Simulate a staged sweep; a second stage is held in the region that leads the first."""
    model = compose(Effects((normal(),), host_sd=staged.host_sd))
    region_right, region_hours = True, 0.0
    if len(staged.regions) > 1:
        first = trial(SimulatedContest(model, "fresh", staged.regions, staged.cap), [*seed, 1])
        region_right = first.result.winner == int(np.argmin(staged.regions))
        region_hours = first.result.candidate_blocks * BLOCK_HOURS
    second = trial(SimulatedContest(model, "fresh", staged.types, staged.cap), [*seed, 2])
    best = int(np.argmin(staged.types))
    won = region_right and second.result.winner == best
    left = second.result.survivors
    listed = region_right and second.result.winner is None and best in left
    return StagedTrial(
        won,
        won or (listed and len(left) <= 2),  # noqa: PLR2004 - the name says it
        won or (listed and len(left) <= 3),  # noqa: PLR2004
        region_right,
        region_hours + second.hours,
        region_hours,
    )


def staged_cases() -> tuple[Staged, ...]:
    """The power rows of the published table."""
    regions = tuple(float(np.log(ms)) for ms in (0.010, 0.020, 0.030))
    five, close = (0.0, 0.05, 0.05, 0.05), (0.0, 0.03, 0.04, 0.05)
    return (
        Staged("12 places, 10/20/30 ms, types 0/5/5/5 %", regions, five),
        Staged("the same, hosts 2 %", regions, five, host_sd=0.02),
        Staged("12 places, types 0/3/4/5 %", regions, close),
        Staged("the same, hosts 2 %", regions, close, host_sd=0.02),
        Staged("24 alike but one 5 % better", (0.0,), (0.0, *(0.05,) * 23)),
        Staged("the same, hosts 2 %", (0.0,), (0.0, *(0.05,) * 23), host_sd=0.02),
    )
