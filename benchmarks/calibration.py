"""How often is the verdict right? Simulated sweeps with a known ground truth, decided many times.

    python benchmarks/calibration.py [--trials 400] [--seed 1] [--jobs 2]
    python benchmarks/calibration.py --blocks
    python benchmarks/calibration.py --model MODULE:FUNCTION [--hosts kept]

For each case: how often a winner is declared, how often it is the right one, how often the
nominal interval of the p99 difference covers the true one, and what the original method says about
the same data. Square brackets hold the 95 % interval of each share.

With --blocks or --model the runs are blocks at random times, and the contest over them is what is
calibrated: two sites alike in each family of noise, or as a model of your own has them (a function
as in latency_sweep.lab.simulation.blocks), and sweeps in two stages.
"""

from __future__ import annotations

import argparse
import importlib
import math
import os
import zlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

# One thread per process; the processes share the cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from latency_sweep.analysis.decision.verdict import VerdictKind
from latency_sweep.analysis.stats.intervals import binomial_lower, binomial_upper
from latency_sweep.contract.experiment import Experiment, load
from latency_sweep.lab.simulation.block_calibration import (
    BlockTrial,
    SimulatedContest,
    StagedTrial,
    staged_cases,
    staged_trial,
)
from latency_sweep.lab.simulation.block_calibration import trial as block_trial
from latency_sweep.lab.simulation.blocks import families
from latency_sweep.lab.simulation.calibration import (
    CalibrationCase,
    Trial,
    cases,
    trial,
    true_difference,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from latency_sweep.lab.simulation.blocks import Hosts, Model

T = TypeVar("T")

_BLOCK_HEAD = (
    "| two sites alike | false winner | right winner of the period | interval covers |"
    " beyond the margin | false in general | blocks |\n|---|---|---|---|---|---|---|"
)
_STAGED_HEAD = (
    "| truth | right winner | or a shortlist of 2 with the best | or of 3 | right region |"
    " instance-hours, mean | of them for the region |\n|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True, slots=True)
class Bench:
    """How many sweeps a row has, where they run, and which rows are wanted."""

    pool: ProcessPoolExecutor
    trials: int
    seed: int
    only: str

    def block_trials(self, work: Callable[[tuple[int, ...]], T], name: str) -> list[T]:
        """All sweeps of a row; those of other rows are independent of them."""
        seeds = [(self.seed, zlib.crc32(name.encode()), n) for n in range(self.trials)]
        return list(self.pool.map(work, seeds, chunksize=8))


def run_case(
    case: CalibrationCase, trials: int, seed: int, experiment: Experiment, pool: ProcessPoolExecutor
) -> list[Trial]:
    """All trials of a case, in parallel; the same seed gives the same trials."""
    identical = len(set(case.ground_truth.network[:2])) == 1
    difference = 0.0 if identical else true_difference(case.ground_truth, seed)
    seeds = [(seed, number) for number in range(trials)]
    work = partial(trial, case, difference, experiment)
    return list(pool.map(work, seeds, chunksize=4))


def share(hits: int, trials: int) -> str:
    """Per cent with its exact 95 % interval."""
    if not trials:
        return "-"
    low, high = binomial_lower(hits, trials, 0.975), binomial_upper(hits, trials, 0.975)
    return f"{100 * hits / trials:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def row(case: CalibrationCase, trials: Sequence[Trial]) -> str:
    """One line of the table."""
    size = len(trials)
    unique = case.best[0] if len(case.best) == 1 else None
    right = sum(t.winner == unique for t in trials if t.winner is not None and unique is not None)
    false = sum(t.winner is not None for t in trials) - right
    cells = [
        case.name,
        share(false, size),
        share(right, size) if unique is not None else "",
        share(sum(t.kind is VerdictKind.TIE for t in trials), size),
        share(sum(t.covered for t in trials), size),
    ]
    for declared in ([t.original for t in trials], [t.original_exact for t in trials]):
        hits = sum(w == unique for w in declared if w is not None and unique is not None)
        wrong = sum(w is not None for w in declared) - hits
        cells.append(share(wrong, size))
        cells.append(share(hits, size) if unique is not None else "")
    return f"| {' | '.join(cells)} |"


def block_row(name: str, trials: Sequence[BlockTrial]) -> str:
    """One line of the table of families."""
    size = len(trials)
    cells = [
        name,
        share(sum(t.false for t in trials), size),
        share(sum(t.right for t in trials), size),
        share(sum(t.covered for t in trials), size),
        share(sum(t.beyond_margin for t in trials), size),
        share(sum(t.false_general for t in trials), size),
        f"{sum(t.result.blocks for t in trials) / size:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def staged_row(name: str, trials: Sequence[StagedTrial]) -> str:
    """One line of the table of sweeps in two stages."""
    size = len(trials)
    cells = [
        name,
        share(sum(t.right for t in trials), size),
        share(sum(t.among_two for t in trials), size),
        share(sum(t.among_three for t in trials), size),
        share(sum(t.region_right for t in trials), size),
        f"{sum(t.hours for t in trials) / size:.1f}",
        f"{sum(t.region_hours for t in trials) / size:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def _of_family(name: str, levels: tuple[float, ...], seed: Sequence[int]) -> BlockTrial:
    # By name, since functions within functions do not travel between processes.
    family = next(f for f in families() if f.name == name)
    return block_trial(SimulatedContest(family.model, family.hosts, levels), seed)


def _of_model(
    name: str, hosts: Hosts, levels: tuple[float, ...], seed: Sequence[int]
) -> BlockTrial:
    return block_trial(SimulatedContest(model_named(name), hosts, levels), seed)


def model_named(name: str) -> Model:
    """The function that MODULE:FUNCTION names.

    Raises:
        SystemExit: there is none.
    """
    module, _, function = name.partition(":")
    try:
        found: Model = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise SystemExit(f"--model {name}: {error}; give it as MODULE:FUNCTION.") from error
    return found


def main() -> None:
    """Run the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=400, help="sweeps per case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--blocks", action="store_true", help="random blocks, all families")
    parser.add_argument("--model", help="random blocks, as MODULE:FUNCTION has them")
    parser.add_argument("--hosts", choices=("fresh", "kept"), default="fresh", help="with --model")
    options = parser.parse_args()
    with ProcessPoolExecutor(options.jobs) as pool:
        bench = Bench(pool, options.trials, options.seed, options.only)
        if options.model:
            work = partial(_of_model, options.model, options.hosts, (0.0, 0.0))
            model_named(options.model)
            print(_BLOCK_HEAD)
            print(block_row(options.model, bench.block_trials(work, "model")))
        elif options.blocks:
            _print_blocks(bench)
        else:
            _print_runs(bench)


def _print_blocks(bench: Bench) -> None:
    print(f"{bench.trials} sweeps per row, seed {bench.seed}; per cent [95 % interval].\n")
    print(_BLOCK_HEAD)
    alike = [(family.name, family.name, (0.0, 0.0)) for family in families()]
    other = [
        (f"independent, truth +{percent} %", "independent", (0.0, math.log1p(percent / 100)))
        for percent in (1.9, 3.0, 5.0)
    ]
    six = [(f"{name}, 6 alike", name, (0.0,) * 6) for name in ("independent", "t, 4 degrees")]
    for name, family, levels in (*alike, *six, *other):
        if bench.only in name:
            work = partial(_of_family, family, levels)
            print(block_row(name, bench.block_trials(work, name)), flush=True)
    print("\n" + _STAGED_HEAD)
    for case in staged_cases():
        if bench.only in case.name:
            done = bench.block_trials(partial(staged_trial, case), case.name)
            print(staged_row(case.name, done), flush=True)


def _print_runs(bench: Bench) -> None:
    experiment = load()
    print(
        f"{bench.trials} sweeps per row, seed {bench.seed}; per cent [95 % interval].\n\n"
        "| case | false winner | right winner | tie | 95 % interval covers"
        " | original: false | original: right"
        " | original, exact percentiles: false | right |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    for case in cases():
        if bench.only in case.name:
            done = run_case(case, bench.trials, bench.seed, experiment, bench.pool)
            print(row(case, done), flush=True)


if __name__ == "__main__":
    main()
