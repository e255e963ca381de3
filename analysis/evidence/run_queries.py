"""What Prometheus holds of one run, instance by instance, in exact numbers.

`increase()` extrapolates, so nothing here uses it: totals are last values of cumulative series,
and what happened in a span is the difference of two raw samples. The server adds up symbols and
streams, so that an answer has one histogram for each instance and moment.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from latency_sweep.analysis.evidence.loss_queries import LossReader
from latency_sweep.analysis.evidence.records import InstanceEvidence, OffsetRange, RoundTrips
from latency_sweep.analysis.evidence.timestamps import TimestampErrors
from latency_sweep.contract import metrics
from latency_sweep.contract.timeline import NS_PER_SEC
from latency_sweep.nativehist.float_histogram import FloatHistogram

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from latency_sweep.analysis.evidence.attribution import SourceGroup
    from latency_sweep.analysis.evidence.never_sent import ChannelLosses
    from latency_sweep.analysis.prometheus_api import PrometheusClient, Series
    from latency_sweep.contract.metrics import Metric
    from latency_sweep.contract.targets import Target
    from latency_sweep.contract.timeline import Run

# Windows describe the course of a run and feed the bootstrap; more of them cost transfer only.
MAX_WINDOWS: Final = 20

# One histogram is some 60 kB of JSON: this keeps an answer with all windows below 20 MB.
_INSTANCES_PER_ANSWER: Final = 12
# A scrape may come a little late; after this many intervals it is missing.
_SCRAPES_LOOKED_BACK: Final = 3
_RANGE_SLACK_SEC: Final = 0.001
# Of no counter that a probe has; NaN is none either.
_MOST_COUNTED: Final = 2.0**63
# The 95 % interval of a median of fewer round trips is wider than the quartiles.
_FEWEST_TRIPS: Final = 15
# Label of the probe's information that says where its receive timestamps come from.
_KIND: Final = "timestamps"


@dataclass(frozen=True, slots=True)
class SeriesSelector:
    """Which series count as evidence; attributes as in `records.EvidenceSelection`, and the group.

    Attributes:
        group: names the target labels, and selects and attributes the series.
    """

    experiment: str
    market: str
    streams: tuple[str, ...]
    symbols: tuple[str, ...]
    group: SourceGroup

    def instances(self, *matchers: str) -> str:
        """Selector of series that belong to an instance, `{…}`."""
        return _braces(*self.group.selectors, *matchers)

    def market_wide(self, *matchers: str) -> str:
        """Selector of series that belong to a market."""
        return self.instances(f"market={json.dumps(self.market)}", *matchers)

    def feeds(self, *matchers: str) -> str:
        """Selector of series that belong to one of the streams and symbols."""
        streams = f"stream=~{_alternatives(self.streams, suffix='(@.*)?')}"
        symbols = [f"symbol=~{_alternatives(self.symbols)}"] if self.symbols else []
        return self.market_wide(streams, *symbols, *matchers)


@dataclass(frozen=True, slots=True)
class InstanceRun:
    """What one instance observed in one run, and how well it was scraped; None is "not known".

    Attributes:
        evidence: what it observed.
        complete: whether a scrape after the end of the measurement has the final total.
        torn: whether the cumulative histogram went backwards without a restart being seen.
        restarts: how often its probe was started again.
        scrapes: successful scrapes during the measurement.
        scrapes_expected: how many there should be.
        clock_scrapes: scrapes that carried a clock error bound.
        clock_steps: how often the clock was set in the whole cycle.
        exchange_clock_drift: fastest at which they were proven to drift apart, as a ratio.
        channels: latency samples of each stream and symbol, at its last scrape of the run.
        losses: what it lost of each stream and symbol; empty where the probe does not tell.
    """

    evidence: InstanceEvidence
    complete: bool
    torn: bool
    restarts: int
    scrapes: int
    scrapes_expected: int
    clock_scrapes: int
    clock_steps: int | None = None
    exchange_clock_drift: float | None = None
    channels: Mapping[tuple[str, str], int] = field(default_factory=dict)
    losses: Mapping[tuple[str, str], ChannelLosses] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Counter:
    """A counter to be differenced over the run's cycle.

    Attributes:
        metric: which.
        selector: its series.
        from_zero: count a series that first appears inside the cycle from zero. Right for what
            counts against a candidate; what counts for it starts at its first sample.
    """

    metric: Metric
    selector: str
    from_zero: bool

    @property
    def series(self) -> str:
        """The series as PromQL."""
        return f"{self.metric.name}{self.selector}"


class RunReader:
    """Reads one finished run.

    Args:
        client: the server.
        selector: which series.
        run: the run.
        scrape_interval_sec: of the probes.
        now: the server's clock, Unix seconds.
    """

    def __init__(
        self,
        client: PrometheusClient,
        selector: SeriesSelector,
        run: Run,
        *,
        scrape_interval_sec: float,
        now: float,
    ) -> None:
        self._client = client
        self._selector = selector
        self._by = selector.group.by
        self._interval = scrape_interval_sec
        self._start = run.start_ns / NS_PER_SEC
        self._measure_start = run.measure_start_ns / NS_PER_SEC
        self._measure_end = run.measure_end_ns / NS_PER_SEC
        self._end = run.end_ns / NS_PER_SEC
        self._cycle = self._end - self._start
        self._measurement = self._measure_end - self._measure_start
        # Probes expose a run until the measurement of the next one starts.
        warmup = self._measure_start - self._start
        self._last_exposed = min(now, self._end + warmup)
        self._run = f"run={json.dumps(run.label)}"
        self._notes: dict[str, None] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings of the server so far, without repetition."""
        return tuple(self._notes)

    def read(self) -> dict[Target, InstanceRun]:
        """Everything about the run, for every instance that shows any trace of it.

        Raises:
            PrometheusError: the server could not answer.
        """
        connected = f"{metrics.CONNECTED.name}{self._selector.market_wide()}"
        seen = self._sum(f"count_over_time({connected}{_range(self._cycle)})", self._end)
        totals = self._histograms(
            self._latency(), self._last_exposed - self._measure_end, self._last_exposed
        )
        incomplete = [target for target in seen if target not in totals]
        if incomplete:
            totals |= self._histograms(
                self._latency(self._instances(incomplete)), self._measurement, self._measure_end
            )
        targets = sorted(seen.keys() | totals.keys())
        scrapes = self._sum(
            f"count_over_time({connected}{_range(self._measurement)})", self._measure_end
        )
        restarts = self._restarts()
        boundaries = self._boundaries(
            [target for target in targets if target in totals and target not in restarts]
        )
        counters = self._counters()
        differences = {name: self._difference(c) for name, c in counters.items()}
        clock = self._clock()
        offsets, drift = self._exchange_offsets(), self._exchange_drift()
        errors, kinds = self._timestamp_errors(), self._timestamp_kinds()
        trips = self._round_trips()
        without_loss = self._streams_without_loss()
        channels = self._channels()
        losses = self._losses()
        expected = max(1, int(self._measurement / self._interval))
        result = {}
        for target in targets:
            restarted = restarts.get(target, 0) > 0
            deltas = {name: values.get(target) for name, values in differences.items()}
            latency, windows = totals.get(target, FloatHistogram.empty()), None
            if restarted:
                again = self._started_again(target)
                deltas = {name: self._pieces(target, c, again) for name, c in counters.items()}
                latency = self._latency_in_pieces(target, again)
            elif target in totals:
                windows = _cut(latency, boundaries.get(target, {}), self._window_ends())
            bound, clock_scrapes, synchronized = (values.get(target) for values in clock)
            observed = min(seen.get(target, 0.0) * self._interval, self._cycle)
            disconnected = deltas["disconnected"]
            scraped = int(scrapes.get(target, 0))
            result[target] = InstanceRun(
                evidence=InstanceEvidence(
                    instance=target.instance,
                    az_id=target.az_id,
                    latency=latency,
                    windows=windows or (),
                    messages=_whole(deltas["messages"]),
                    lost=None if target in without_loss else _whole(deltas["lost"]),
                    reconnects=_whole(deltas["reconnects"]),
                    negative=_whole(deltas["negative"]),
                    hours=(
                        None if disconnected is None else max(0.0, observed - disconnected) / 3600
                    ),
                    coverage=min(1.0, scraped / expected),
                    clock_error_bound_sec=bound,
                    clock_synchronized=None if synchronized is None else synchronized >= 1,
                    timestamp_errors=None if restarted else errors.get(target),
                    timestamp_kinds=kinds.get(target, ()),
                    exchange_offset=offsets.get(target),
                    round_trips=trips.get(target),
                ),
                complete=target in totals and target not in incomplete,
                torn=target in totals and not restarted and windows is None,
                restarts=int(restarts.get(target, 0)),
                scrapes=scraped,
                scrapes_expected=expected,
                clock_scrapes=int(clock_scrapes or 0),
                clock_steps=_whole(deltas["clock_steps"]),
                exchange_clock_drift=drift.get(target),
                channels=channels.get(target, {}),
                losses=losses.get(target, {}),
            )
        return result

    def _latency(self, *matchers: str) -> str:
        return f"{metrics.LATENCY.name}{self._selector.feeds(self._run, *matchers)}"

    def _counters(self) -> dict[str, _Counter]:
        feeds = self._selector.feeds()
        market = self._selector.market_wide()
        unplanned = self._selector.market_wide(f'reason!~"{"|".join(metrics.PLANNED)}"')
        return {
            "messages": _Counter(metrics.MESSAGES, feeds, from_zero=False),
            "lost": _Counter(metrics.LOST, feeds, from_zero=True),
            "negative": _Counter(metrics.NEGATIVE_LATENCY, feeds, from_zero=True),
            "reconnects": _Counter(metrics.RECONNECTS, unplanned, from_zero=True),
            "disconnected": _Counter(metrics.DISCONNECTED, market, from_zero=True),
            "clock_steps": _Counter(
                metrics.CLOCK_STEPS, self._selector.instances(), from_zero=True
            ),
        }

    def _difference(self, counter: _Counter) -> dict[Target, float]:
        """Last sample of the cycle minus last sample before it, added up for each instance."""
        series, cycle = counter.series, _range(self._cycle)
        last = f"last_over_time({series}{cycle})"
        first = f"0 * {last}" if counter.from_zero else f"min_over_time({series}{cycle})"
        return self._sum(f"({last} - ({self._before(series)} or {first}))", self._end)

    def _before(self, series: str) -> str:
        """The last sample before the cycle, as old as another cycle at most."""
        return f"last_over_time({series}{_range(self._cycle)} offset {_duration(self._cycle)})"

    def _restarts(self) -> dict[Target, float]:
        """How often the probe was started again, for the instances where it was.

        Its counters fall, or its process tells another start: after a gap in the scrapes counters
        may be greater than before, and not every server knows the start.
        """
        cycle = _range(self._cycle)
        series, started = self._messages(), self._started()
        earliest = f"{self._before(started)} or min_over_time({started}{cycle})"
        # Without a fall inside, the smallest sample is the first.
        found = (
            f"resets({series}{cycle}) > 0",
            f"min_over_time({series}{cycle}) < bool {self._before(series)}",
            # Not changes(): servers differ in what it makes of a series' first sample.
            f"max_over_time({started}{cycle}) > bool ({earliest})",
        )
        return self._floats(f"max {self._by} ({' or '.join(found)}) > 0", self._end)

    def _messages(self) -> str:
        """The counters of the messages of the evidence."""
        return f"{metrics.MESSAGES.name}{self._selector.feeds()}"

    def _started(self) -> str:
        """The series of the time at which each probe's process began."""
        jobs = self._selector.group.of_jobs
        return f"{metrics.PROCESS_START}{self._selector.instances(*jobs)}"

    def _streams_without_loss(self) -> set[Target]:
        """Instances where some stream of the evidence does not say what was lost."""
        cycle, feeds = _range(self._cycle), self._selector.feeds()
        keys = ", ".join((*self._selector.group.names.targets, *metrics.FEED))
        expression = (
            f"count {self._by} (last_over_time({self._messages()}{cycle}) "
            f"unless on ({keys}) last_over_time({metrics.LOST.name}{feeds}{cycle}))"
        )
        return set(self._floats(expression, self._end))

    def _channels(self) -> dict[Target, dict[tuple[str, str], int]]:
        """Latency samples of each stream and symbol."""
        span = self._last_exposed - self._measure_end
        if span <= 0:
            return {}
        last = f"last_over_time({self._latency()}{_range(span)})"
        keys = ", ".join((*self._selector.group.names.targets, *metrics.FEED))
        vector = self._client.query(
            f"sum by ({keys}) (histogram_count({last}))", at=self._last_exposed
        )
        self._notes |= dict.fromkeys(vector.notes)
        counts: defaultdict[Target, dict[tuple[str, str], int]] = defaultdict(dict)
        for sample in vector.floats:
            if not math.isfinite(sample.value):
                continue
            stream, symbol = (sample.labels.get(name, "") for name in ("stream", "symbol"))
            counts[self._target(sample.labels)][stream, symbol] = round(sample.value)
        return counts

    def _losses(self) -> Mapping[Target, Mapping[tuple[str, str], ChannelLosses]]:
        """What was lost of each stream and symbol."""
        reader = LossReader(
            self._client,
            self._selector.group,
            lambda *matchers: self._selector.feeds(self._run, *matchers),
            at=self._last_exposed,
            span=_range(self._last_exposed - self._start),
        )
        losses = reader.read()
        self._notes |= dict.fromkeys(reader.notes)
        return losses

    def _clock(self) -> tuple[dict[Target, float], dict[Target, float], dict[Target, float]]:
        """Largest error bound, scrapes that carried one, and 1 where always synchronised."""
        measurement, instances = _range(self._measurement), self._selector.instances()
        bound = f"{metrics.CLOCK_ERROR_BOUND.name}{instances}{measurement}"
        synchronized = f"{metrics.CLOCK_SYNCHRONIZED.name}{instances}{measurement}"
        return (
            self._floats(f"max {self._by} (max_over_time({bound}))", self._measure_end),
            self._sum(f"count_over_time({bound})", self._measure_end),
            self._floats(f"min {self._by} (min_over_time({synchronized}))", self._measure_end),
        )

    def _exchange_offsets(self) -> dict[Target, OffsetRange]:
        """Where the exchange's clock was against the local one, as far as no error explains."""
        low, high = (
            self._over_measurement(
                function, metrics.EXCHANGE_CLOCK_OFFSET, sign, metrics.EXCHANGE_CLOCK_ERROR_BOUND
            )
            for function, sign in (("max", "-"), ("min", "+"))
        )
        return {target: OffsetRange(low[target], high[target]) for target in low if target in high}

    def _exchange_drift(self) -> dict[Target, float]:
        """How fast the clocks drifted apart, as far as no error of the estimate explains."""
        drift, bound = metrics.EXCHANGE_CLOCK_DRIFT, metrics.EXCHANGE_CLOCK_DRIFT_BOUND
        return self._over_measurement("max", drift, "-", bound, value="abs({})")

    def _over_measurement(
        self, function: str, metric: Metric, sign: str, bound: Metric, *, value: str = "{}"
    ) -> dict[Target, float]:
        """The extreme of a value plus or minus its bound during the measurement."""
        market = self._selector.market_wide()
        step = f"[{_duration(self._measurement)}:{_duration(self._interval)}]"
        end = f"{value.format(metric.name + market)} {sign} ignoring(__name__) {bound.name}{market}"
        expression = f"{function} {self._by} ({function}_over_time(({end}){step}))"
        return self._floats(expression, self._measure_end)

    def _timestamp_errors(self) -> dict[Target, TimestampErrors]:
        """How late the timestamps of the run's messages can be, where the probe says it."""
        span = self._last_exposed - self._measure_end
        if span <= 0:
            return {}
        series = self._selector.feeds(self._run)
        exact = self._sum(
            f"last_over_time({metrics.TIMESTAMPS_EXACT.name}{series}{_range(span)})",
            self._last_exposed,
        )
        name = f"{metrics.TIMESTAMP_ERROR.name}{series}"
        bounds = self._histograms(name, span, self._last_exposed)
        return {
            target: TimestampErrors(
                bounds.get(target, FloatHistogram.empty()), round(exact.get(target, 0.0))
            )
            for target in bounds.keys() | exact.keys()
        }

    def _timestamp_kinds(self) -> dict[Target, tuple[str, ...]]:
        """Where receive timestamps came from during the run."""
        info = f"{metrics.PROBE_INFO.name}{self._selector.instances()}{_range(self._cycle)}"
        keys = ", ".join((*self._selector.group.names.targets, _KIND))
        vector = self._client.query(
            f"group by ({keys}) (last_over_time({info}))", at=self._measure_end
        )
        self._notes |= dict.fromkeys(vector.notes)
        kinds: defaultdict[Target, set[str]] = defaultdict(set)
        for sample in vector.floats:
            kind = sample.labels.get(_KIND)
            if kind:
                kinds[self._target(sample.labels)].add(kind)
        return {target: tuple(sorted(found)) for target, found in kinds.items()}

    def _round_trips(self) -> dict[Target, RoundTrips]:
        """Round trips during the measurement; where the probe began anew, since then."""
        series = f"{metrics.RTT.name}{self._selector.market_wide()}"
        after = self._histograms(series, self._measurement, self._measure_end)
        before = self._histograms(
            series, self._interval * _SCRAPES_LOOKED_BACK, self._measure_start
        )
        found = {}
        for target, cumulative in after.items():
            trips = cumulative
            with suppress(ValueError):  # it was reset
                trips = cumulative - before.get(target, FloatHistogram.empty())
            if trips.counts.size:
                median = trips.quantile(0.5) if trips.count >= _FEWEST_TRIPS else None
                found[target] = RoundTrips(trips.min_bounds()[1], median)
        return found

    def _window_ends(self) -> NDArray[np.float64]:
        """Ends of all windows but the last, which ends with the run's total."""
        count = max(1, min(MAX_WINDOWS, int(self._measurement / self._interval)))
        width = int(self._measurement * 1000 / count) / 1000
        return self._measure_start + width * np.arange(1, count, dtype=np.float64)

    def _boundaries(self, targets: Sequence[Target]) -> dict[Target, dict[float, FloatHistogram]]:
        """The cumulative histogram of each instance at the end of each window."""
        ends = self._window_ends()
        if not ends.size:
            return {}
        width = ends[0] - self._measure_start
        lookback = _range(min(width, self._interval * _SCRAPES_LOOKED_BACK))
        result = {}
        for first in range(0, len(targets), _INSTANCES_PER_ANSWER):
            chosen = targets[first : first + _INSTANCES_PER_ANSWER]
            latency = self._latency(self._instances(chosen))
            matrix = self._client.query_range(
                f"sum {self._by} (last_over_time({latency}{lookback}))",
                start=float(ends[0]),
                end=float(ends[-1]),
                step=float(width),
            )
            self._notes |= dict.fromkeys(matrix.notes)
            for series in matrix.series:
                result[self._target(series.labels)] = dict(series.histograms)
        return result

    def _started_again(self, target: Target) -> NDArray[np.float64]:
        """When the first scrape after each restart was, Unix seconds, in order."""
        found = [s.times[1:][np.diff(s.values) < 0] for s in self._raw(target, self._messages())]
        found += [s.times[1:][np.diff(s.values) > 0] for s in self._raw(target, self._started())]
        moments = np.unique(np.concatenate([np.empty(0), *found]))
        return moments[moments > self._start]

    def _pieces(
        self, target: Target, counter: _Counter, again: NDArray[np.float64]
    ) -> float | None:
        """A counter's difference over the cycle with the restarts of its probe taken out."""
        series = self._raw(target, counter.series)
        if not series:
            return None
        total = 0.0
        for one in series:
            in_cycle = one.times > self._start
            before, inside = one.values[~in_cycle], one.values[in_cycle]
            if not inside.size:
                continue
            first = 0.0 if counter.from_zero else inside[0]
            base = before[-1] if before.size else first
            steps = np.diff(inside, prepend=base)
            # After a restart the counter has counted from zero again.
            anew = (steps < 0) | np.isin(one.times[in_cycle], again)
            total += float(np.where(anew, inside, steps).sum())
        return total

    def _raw(self, target: Target, series: str) -> tuple[Series, ...]:
        chosen = series.replace("{", "{" + self._instances([target]) + ", ", 1)
        matrix = self._client.query_raw(f"{chosen}{_range(2 * self._cycle)}", at=self._end)
        self._notes |= dict.fromkeys(matrix.notes)
        return matrix.series

    def _latency_in_pieces(self, target: Target, again: NDArray[np.float64]) -> FloatHistogram:
        """The sum of the last values that the histograms had before each restart and at the end."""
        ends = [self._start, *again.tolist(), self._last_exposed + _RANGE_SLACK_SEC]
        parts: list[FloatHistogram] = []
        for begin, end in pairwise(ends):
            values = self._histograms(
                self._latency(self._instances([target])), end - begin, end - _RANGE_SLACK_SEC
            )
            parts.extend(values.values())
        return FloatHistogram.merge(*parts)

    def _histograms(self, series: str, span: float, at: float) -> dict[Target, FloatHistogram]:
        """Last values within a span, added up for each instance."""
        if span <= 0:
            return {}
        expression = f"sum {self._by} (last_over_time({series}{_range(span)}))"
        vector = self._client.query(expression, at=at)
        self._notes |= dict.fromkeys(vector.notes)
        return {self._target(sample.labels): sample.value for sample in vector.histograms}

    def _target(self, labels: Mapping[str, str]) -> Target:
        return self._selector.group.target(labels)

    def _instances(self, targets: Sequence[Target]) -> str:
        return self._selector.group.instances(targets)

    def _sum(self, expression: str, at: float) -> dict[Target, float]:
        return self._floats(f"sum {self._by} ({expression})", at)

    def _floats(self, expression: str, at: float) -> dict[Target, float]:
        vector = self._client.query(expression, at=at)
        self._notes |= dict.fromkeys(vector.notes)
        return {
            self._target(sample.labels): sample.value
            for sample in vector.floats
            if math.isfinite(sample.value)
        }


def _cut(
    total: FloatHistogram, cumulative: Mapping[float, FloatHistogram], ends: NDArray[np.float64]
) -> tuple[FloatHistogram, ...] | None:
    """Cut a total at window ends; None if the snapshots are not snapshots of that total.

    Where a scrape is missing the last known snapshot is used: its window is short and the next
    one long, but together they are right.
    """
    known: Callable[[float], FloatHistogram | None] = {
        round(t, 3): h for t, h in cumulative.items()
    }.get
    windows, previous = [], FloatHistogram.empty()
    try:
        for end in ends:
            snapshot = known(round(float(end), 3)) or previous
            windows.append(snapshot - previous)
            previous = snapshot
        windows.append(total - previous)
    except ValueError:
        return None
    return tuple(windows)


def _alternatives(names: Sequence[str], suffix: str = "") -> str:
    choices = "|".join(re.escape(name) for name in names)
    return json.dumps(f"({choices}){suffix}")


def _braces(*matchers: str) -> str:
    return "{" + ", ".join(matchers) + "}"


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


def _range(seconds: float) -> str:
    return f"[{_duration(seconds)}]"


def _whole(value: float | None) -> int | None:
    return None if value is None or not abs(value) < _MOST_COUNTED else round(value)
