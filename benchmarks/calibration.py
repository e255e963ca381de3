"""How often is the verdict right? Simulated sweeps with a known ground truth, decided many times.

    python benchmarks/calibration.py [--trials 400] [--seed 1] [--jobs 2]

For each case: how often a winner is declared, how often it is the right one, how often the
nominal interval of the p99 difference covers the true one, and what the original method says about
the same data. Square brackets hold the 95 % interval of each share.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

# One thread per process; the processes share the cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from latency_sweep.analysis.decision.verdict import VerdictKind
from latency_sweep.analysis.stats.intervals import binomial_lower, binomial_upper
from latency_sweep.contract.experiment import Experiment, load
from latency_sweep.lab.simulation.calibration import (
    CalibrationCase,
    Trial,
    cases,
    trial,
    true_difference,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


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


def main() -> None:
    """Run the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=400, help="sweeps per case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    options = parser.parse_args()
    experiment = load()
    print(
        f"{options.trials} sweeps per row, seed {options.seed}; per cent [95 % interval].\n\n"
        "| case | false winner | right winner | tie | 95 % interval covers"
        " | original: false | original: right"
        " | original, exact percentiles: false | right |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    with ProcessPoolExecutor(options.jobs) as pool:
        for case in cases():
            if options.only in case.name:
                done = run_case(case, options.trials, options.seed, experiment, pool)
                print(row(case, done), flush=True)


if __name__ == "__main__":
    main()
