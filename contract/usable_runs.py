"""PromQL that counts the usable runs of each candidate while a sweep goes on.

A run ends at a whole multiple of the cycle since the epoch, and so does each step of a subquery
whose step is the cycle: every step judges the run that ends there. `analyze` judges more closely:
it also reads the histograms (busy hosts, refuted clocks), so its count is the one that decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from latency_sweep.contract import metrics
from latency_sweep.contract.clocks import MAX_DRIFT_RATIO

if TYPE_CHECKING:
    from collections.abc import Callable

    from latency_sweep.contract.experiment import Experiment

# A run watched for less than this share of its measurement may hide a restart or a bad minute.
MIN_COVERAGE: Final = 0.95
# Runs that are counted: those of so many seconds, and no more than so many.
COUNTED_SEC: Final = 7 * 24 * 3600
COUNTED_RUNS: Final = 1000

_EVALUATED_QUANTILE: Final = 0.99


class Over(Protocol):
    """PromQL that aggregates series of each candidate."""

    def __call__(self, operator: str, series: Callable[[str], str], *, up: bool = False) -> str:
        """The aggregation.

        Args:
            operator: of the aggregation.
            series: an expression of the series with some matchers.
            up: whether other exporters have this metric, too.
        """


def fewest_samples(confidence: float) -> int:
    """How many samples a run needs for a two-sided interval of its p99 to exist.

    The largest of n independent samples lies above the quantile q with probability 1 - q^n, so an
    upper limit at level 1 - alpha/2 needs q^n <= alpha/2 (Hahn and Meeker, Statistical Intervals,
    section 5.2): 368 at 95 %.

    Args:
        confidence: level of the interval, 0.95 for instance.
    """
    return math.ceil(math.log((1 - confidence) / 2) / math.log(_EVALUATED_QUANTILE))


@dataclass(frozen=True, slots=True)
class UsableRuns:
    """Expressions that count the runs of an experiment's candidates.

    Attributes:
        experiment: gives timing, limits and evidence streams.
        market: value of the `market` label, or a variable.
        over: aggregates series of each candidate.
    """

    experiment: Experiment
    market: str
    over: Over

    def candidates(self) -> str:
        """Number of discovered probes of each candidate."""
        return self.over("count", lambda probes: f"up{{{probes}}}", up=True)

    def measured(self) -> str:
        """Number of the runs that any candidate measured, without a label."""
        return f"{self._counted(f'count({self._measured()})')} or 0 * count({self.candidates()})"

    def usable(self) -> str:
        """Number of usable runs, by candidate; none where there is none."""
        return self._counted(" unless ".join([self._measured(), *self._faults().values()]))

    def excluded(self) -> dict[str, str]:
        """Number of runs that each reason excludes, by candidate; a run may have several."""
        anyone = f"and on () (count({self._measured()}))"
        return {
            reason: self._counted(f"({fault}) {anyone}")
            for reason, fault in (*self._faults().items(), ("no data", self._nothing_measured()))
        }

    def needed(self) -> str:
        """Number of runs that a comparison of all candidates takes at least.

        Holm's method asks for alpha / n of the first of n rivals, and an exact paired test over k
        runs cannot say less than 2 / 2^k.
        """
        rule = self.experiment.decision
        rivals = f"clamp_min(count({self.candidates()}) - 1, 1)"
        fewest = f"floor(2 + log2({rivals} / {1 - rule.confidence:g}))"
        return f"clamp_min({fewest}, {rule.min_runs})"

    def seconds_left(self) -> str:
        """Time until each candidate has the runs needed, if no further run is excluded, seconds."""
        usable = f"min({self.usable()} or 0 * {self.candidates()})"
        return f"{self._cycle_sec} * clamp_min({self.needed()} - {usable}, 0)"

    @property
    def _cycle_sec(self) -> int:
        timing = self.experiment.timing
        return timing.warmup_sec + timing.measurement_sec + timing.cooldown_sec

    def _counted(self, at_end_of_run: str) -> str:
        cycle = self._cycle_sec
        span = min(COUNTED_SEC // cycle, COUNTED_RUNS) * cycle or cycle
        return f"count_over_time(({at_end_of_run})[{span}s:{cycle}s])"

    @property
    def _in_market(self) -> str:
        return f'market="{self.market}"'

    @property
    def _feeds(self) -> str:
        streams = "|".join(self.experiment.decision.evidence_streams)
        return f'{self._in_market}, stream=~"({streams})(@.*)?"'

    @property
    def _after(self) -> str:
        """Offset to a moment at which a run has been measured and the next has not begun."""
        return f"offset {max(1, self.experiment.timing.cooldown_sec // 2)}s"

    @property
    def _measurement(self) -> str:
        """Range of the measurement."""
        timing = self.experiment.timing
        return f"[{timing.measurement_sec}s] offset {timing.cooldown_sec}s"

    def _messages(self) -> str:
        """Messages of the evidence streams in the measurement.

        Not the samples themselves: to read days of histograms takes minutes.
        """
        name = metrics.MESSAGES.name
        return self.over(
            "sum",
            lambda probes: f"increase({name}{{{probes}, {self._feeds}}}{self._measurement})",
        )

    def _measured(self) -> str:
        return f"({self._messages()} >= {fewest_samples(self.experiment.decision.confidence)})"

    def _nothing_measured(self) -> str:
        scraped = self.over(
            "max", lambda probes: f"sum_over_time(up{{{probes}}}{self._measurement})", up=True
        )
        return f"({scraped} > 0) unless {self._measured()}"

    def _faults(self) -> dict[str, str]:
        """What a run that ends must not show, by the reason for its exclusion."""
        return {
            "scrapes": self._too_few_scrapes(),
            "restart": self._restarted(),
            "clock": self._clock(),
        }

    def _too_few_scrapes(self) -> str:
        timing = self.experiment.timing
        expected = timing.measurement_sec // timing.scrape_interval_sec
        wanted = min(MIN_COVERAGE * expected, expected - 1)
        scraped = self.over(
            "min", lambda probes: f"sum_over_time(up{{{probes}}}{self._measurement})", up=True
        )
        return f"({scraped} < {wanted:g})"

    def _restarted(self) -> str:
        name = metrics.PROCESS_START
        changed = self.over(
            "max", lambda probes: f"changes({name}{{{probes}}}{self._measurement})", up=True
        )
        return f"({changed} > 0)"

    def _clock(self) -> str:
        limit = self.experiment.decision.constraints.clock_error_bound_sec

        def during(operator: str, function: str, metric: metrics.Metric) -> str:
            return self.over(
                operator,
                lambda probes: f"{function}({metric.name}{{{probes}}}{self._measurement})",
            )

        bound = during("max", "max_over_time", metrics.CLOCK_ERROR_BOUND)
        synchronized = during("min", "min_over_time", metrics.CLOCK_SYNCHRONIZED)
        steps = during("max", "changes", metrics.CLOCK_STEPS)
        drift = metrics.EXCHANGE_CLOCK_DRIFT.name
        uncertain = metrics.EXCHANGE_CLOCK_DRIFT_BOUND.name
        proven = self.over(
            "max",
            lambda probes: (
                f"abs({drift}{{{probes}, {self._in_market}}} {self._after})"
                f" - {uncertain}{{{probes}, {self._in_market}}} {self._after}"
            ),
        )
        return (
            f"({bound} > {limit:g} or {synchronized} < 1 or {steps} > 0"
            f" or {proven} > {MAX_DRIFT_RATIO:g}"
            f" or ({self._measured()} unless {bound}))"
        )
