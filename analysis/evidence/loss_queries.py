"""What the probes say about the losses of one run, channel by channel."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.evidence.never_sent import ChannelLosses
from latency_sweep.contract import metrics
from latency_sweep.contract.missing_ids import IdRange, MissingIds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from latency_sweep.analysis.evidence.attribution import SourceGroup
    from latency_sweep.analysis.prometheus_api import FloatSample, PrometheusClient
    from latency_sweep.contract.metrics import Metric
    from latency_sweep.contract.targets import Target

# A full table is 320 samples of some 300 bytes for each channel: an answer stays below some 20 MB
# with a dozen channels.
_TARGETS_PER_ANSWER: Final = 12


class LossReader:
    """Reads what was lost of one finished run.

    Args:
        client: the server.
        group: whose series, and to which targets they belong.
        series: the selector of the run's series, `{...}`, with more matchers in it.
        at: moment of their last samples, Unix seconds.
        span: how far back these may be, a PromQL range.
    """

    def __init__(
        self,
        client: PrometheusClient,
        group: SourceGroup,
        series: Callable[..., str],
        *,
        at: float,
        span: str,
    ) -> None:
        self._client = client
        self._group = group
        self._series = series
        self._at = at
        self._span = span
        self._notes: dict[str, None] = {}

    @property
    def notes(self) -> Sequence[str]:
        """Warnings of the server so far, without repetition."""
        return tuple(self._notes)

    def read(self) -> Mapping[Target, Mapping[tuple[str, str], ChannelLosses]]:
        """The losses of each instance by stream and symbol.

        Raises:
            PrometheusError: the server could not answer.
        """
        lost = self._by_channel(metrics.RUN_LOST)
        missing = self._by_channel(metrics.RUN_MISSING) if lost else {}
        first, last, tables = {}, {}, {}
        if any(missing.values()):
            first = self._by_channel(metrics.RUN_FIRST_ID)
            last = self._by_channel(metrics.RUN_LAST_ID)
            tables = self._tables(sorted({key[0] for key, count in missing.items() if count}))
        result: defaultdict[Target, dict[tuple[str, str], ChannelLosses]] = defaultdict(dict)
        for key, count in lost.items():
            target, channel = key
            result[target][channel] = ChannelLosses(
                lost=count,
                missing=missing.get(key, count),
                followed=IdRange(first[key], last[key]) if key in first and key in last else None,
                ids=_table(tables.get(key, {})),
            )
        return result

    def _by_channel(self, metric: Metric) -> dict[tuple[Target, tuple[str, str]], int]:
        return {self._key(sample): round(sample.value) for sample in self._last(metric)}

    def _tables(
        self, targets: Sequence[Target]
    ) -> dict[tuple[Target, tuple[str, str]], dict[tuple[int, str], int]]:
        tables: defaultdict[tuple[Target, tuple[str, str]], dict[tuple[int, str], int]]
        tables = defaultdict(dict)
        for begin in range(0, len(targets), _TARGETS_PER_ANSWER):
            matcher = self._group.instances(targets[begin : begin + _TARGETS_PER_ANSWER])
            for sample in self._last(metrics.RUN_MISSING_IDS, matcher, ("cell", "field")):
                cell, field = (sample.labels.get(name, "") for name in ("cell", "field"))
                number = int(cell) if cell.isdecimal() else -1  # of no table
                tables[self._key(sample)][number, field] = round(sample.value)
        return tables

    def _last(
        self, metric: Metric, matcher: str | None = None, more: Sequence[str] = ()
    ) -> Iterator[FloatSample]:
        chosen = self._series(*([] if matcher is None else [matcher]))
        labels = ", ".join((*self._group.names.targets, *metrics.FEED, *more))
        expression = f"max by ({labels}) (last_over_time({metric.name}{chosen}{self._span}))"
        vector = self._client.query(expression, at=self._at)
        self._notes |= dict.fromkeys(vector.notes)
        return (sample for sample in vector.floats if math.isfinite(sample.value))

    def _key(self, sample: FloatSample) -> tuple[Target, tuple[str, str]]:
        labels = sample.labels
        return self._group.target(labels), (labels.get("stream", ""), labels.get("symbol", ""))


def _table(samples: Mapping[tuple[int, str], int]) -> MissingIds:
    """The table that was scraped; an empty one, which then does not fit, if it is damaged."""
    try:
        return MissingIds.of_samples(samples)
    except ValueError:
        return MissingIds()
