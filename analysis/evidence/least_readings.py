"""The smallest latencies of each instance, in a run and in each window of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from latency_sweep.analysis.evidence.records import InstanceEvidence
    from latency_sweep.nativehist.float_histogram import FloatHistogram

# An exchange may put a wrong time on single messages: so many, and this share of all, are needed.
FEWEST_MESSAGES: Final = 3
LEAST_SHARE: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Moment:
    """The instances side by side in a run or a window.

    Attributes:
        least: smallest latency that more than single messages have, seconds, by instance.
        claims: the error bound that the instance's clock claims, seconds.
    """

    least: Mapping[int, float]
    claims: Mapping[int, float]

    def below_zero(self) -> dict[int, float]:
        """By how much it is below zero beyond the clock's bound, where it is, seconds."""
        found = {number: -least - self.claims[number] for number, least in self.least.items()}
        return {number: below for number, below in found.items() if below > 0}


class LeastReadings:
    """The smallest latencies of the instances whose clocks claim a bound.

    Args:
        instances: of one run.
        claims: error bounds that clocks claim, seconds, by the instance's number.
    """

    def __init__(self, instances: Sequence[InstanceEvidence], claims: Mapping[int, float]) -> None:
        self._claims = claims
        self._run = self._moment([instances[number].latency for number in claims])
        cut = [instances[number].windows for number in claims]
        same = len({len(windows) for windows in cut}) == 1
        self._windows = [self._moment(part) for part in (zip(*cut, strict=True) if same else ())]

    def _moment(self, histograms: Sequence[FloatHistogram]) -> Moment:
        found = zip(self._claims, map(_least, histograms), strict=True)
        return Moment({number: least for number, least in found if least is not None}, self._claims)

    def of_run(self, number: int) -> float | None:
        """That of the whole run; None with too few messages."""
        return self._run.least.get(number)

    def below_zero(self) -> dict[int, float]:
        """As `Moment.below_zero`, of the whole run."""
        return self._run.below_zero()

    def run(self, *, excluding: Collection[int]) -> Moment:
        """The run, without some of the instances."""
        kept = {n: least for n, least in self._run.least.items() if n not in excluding}
        return Moment(kept, self._claims)

    def moments(self, *, excluding: Collection[int]) -> Iterator[Moment]:
        """The windows of the run, or the run where it is not cut, without some of the instances.

        Each with the windows beside it: a late scrape moves messages from one to the next.
        """
        for middle in range(len(self._windows)) or (0,):
            beside = self._windows[max(0, middle - 1) : middle + 2] or [self._run]
            least: dict[int, float] = {}
            for window in beside:
                for number, value in window.least.items():
                    if number not in excluding:
                        least[number] = min(value, least.get(number, value))
            yield Moment(least, self._claims)


def _least(latency: FloatHistogram) -> float | None:
    """Upper end of the bucket that holds the smallest latency but single ones; None with fewer."""
    observed = float(latency.counts.sum())
    rank = max(FEWEST_MESSAGES, math.ceil(LEAST_SHARE * observed))
    return latency.quantile_at_rank(rank)[1] if rank <= observed else None
