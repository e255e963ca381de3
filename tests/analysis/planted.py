"""Probes that never ran: their scrapes are computed from events and planted in Prometheus."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from latency_sweep.analysis.evidence.never_sent import ChannelLosses
from latency_sweep.contract import metrics
from latency_sweep.contract.experiment import Experiment, default_path, parse
from latency_sweep.contract.missing_ids import MissingIds
from latency_sweep.contract.targets import UNKNOWN
from latency_sweep.contract.timeline import NS_PER_SEC, Run, Timeline
from latency_sweep.lab.simulation.remote_write import History, Native

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from latency_sweep.contract.targets import Target

WARMUP_SEC, MEASUREMENT_SEC, COOLDOWN_SEC, INTERVAL_SEC = 60, 300, 60, 15
NO_LOSSES = ChannelLosses(0, 0, None, MissingIds())
CHANNELS = (("trade", "BTCUSDT"), ("depth@100ms", "BTCUSDT"), ("trade", "ETHUSDT"))


def short_experiment_text(name: str) -> str:
    """The shipped experiment file with short runs."""
    text = default_path().read_text(encoding="utf-8")
    for key, value in (
        ("warmup_sec", WARMUP_SEC),
        ("measurement_sec", MEASUREMENT_SEC),
        ("cooldown_sec", COOLDOWN_SEC),
        ("scrape_interval_sec", INTERVAL_SEC),
        ("name", name),
    ):
        text, found = re.subn(rf"(?m)^( *{key}:) [a-z0-9-]+$", rf"\1 {value}", text)
        assert found == 1, key
    return text


def short_experiment(name: str) -> Experiment:
    """The same, read."""
    return parse(short_experiment_text(name), source=name)


def finished_runs(experiment: Experiment, count: int, now: float) -> list[Run]:
    """The last runs that have ended well before `now`, in order of time."""
    timeline = Timeline.of(experiment.timing)
    run = timeline.run_at(int(now * NS_PER_SEC) - (count + 2) * timeline.cycle_ns)
    runs = [run]
    while len(runs) < count:
        runs.append(timeline.run_after(runs[-1]))
    return runs


@dataclass
class Events:
    """Messages of one channel, in order of their event times (Unix seconds)."""

    times: NDArray[np.float64]
    latencies: NDArray[np.float64]

    @property
    def received(self) -> NDArray[np.float64]:
        return self.times + self.latencies


def poisson_events(
    rng: np.random.Generator, runs: Sequence[Run], *, per_sec: float = 2.0, median: float = 0.02
) -> Events:
    """Log-normal latencies from the first run's warm-up to the last one's end."""
    start, end = runs[0].start_ns / NS_PER_SEC, runs[-1].end_ns / NS_PER_SEC
    times = np.sort(rng.uniform(start, end, rng.poisson(per_sec * (end - start))))
    return Events(times, median * rng.lognormal(0.0, 0.3, times.size))


@dataclass
class PlantedProbe:
    """What a probe would have shown to Prometheus at every scrape.

    Attributes:
        experiment: value of the target label.
        place: the other target labels.
        runs: the runs it took part in.
        channels: its messages by stream and symbol.
        started: when its process started, Unix seconds; counters begin there.
        restarts: when it was restarted, Unix seconds.
        start_told: whether it shows when its process began.
        rejoins: whether it goes on with the current run after a restart.
        scraped: whether the scrape at a moment succeeds.
        omitted: names of metrics that it lacks.
        lost_at: moments at which a message of the first channel is found missing.
        reconnects_at: moments of unplanned reconnects.
        histogram_resets: when its histograms, and nothing else, start again.
        silent_on_loss: channels that cannot show loss.
        counters_appear_late: whether its reconnect counters start with their first event.
        clock_bound: error bound of its clock at a moment, or None.
        synchronized: whether its clock is synchronised at a moment.
        clock_set_at: moments at which its clock was set.
        exchange_offset: exchange's clock minus its own at a moment, known to 1 ms; or None.
        exchange_drift: rate of the exchange's clock at a moment, known to 10 ppm; or None.
        losses: what it says it lost of the first channel in a run; None if it does not tell.
        error_bounds: bound on the lateness of each message's timestamp, seconds, from its event
            time; 0 is exact. None if it does not say.
        timestamps: where its receive timestamps come from; None if it does not say.
        round_trip: of its pings, one with each scrape, seconds; None without pings.
        offset: of its scrapes in the interval, seconds.
        schema: resolution of its histograms at a moment.
        labels: further target labels, or others.
        own: what it says of its place, by label of `feed_probe_info`.
    """

    experiment: str
    place: Target
    runs: Sequence[Run]
    channels: dict[tuple[str, str], Events]
    started: float = 0.0
    restarts: Sequence[float] = ()
    start_told: bool = True
    rejoins: bool = True
    scraped: Callable[[float], bool] = lambda _: True
    omitted: frozenset[str] = frozenset()
    lost_at: Sequence[float] = ()
    reconnects_at: Sequence[float] = ()
    histogram_resets: Sequence[float] = ()
    silent_on_loss: frozenset[tuple[str, str]] = frozenset()
    counters_appear_late: bool = False
    clock_bound: Callable[[float], float | None] = lambda _: 1e-4
    synchronized: Callable[[float], bool] = lambda _: True
    clock_set_at: Sequence[float] = ()
    exchange_offset: Callable[[float], float | None] = lambda _: None
    exchange_drift: Callable[[float], float | None] = lambda _: None
    losses: Callable[[Run], ChannelLosses | None] = lambda _: None
    error_bounds: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None
    timestamps: str | None = None
    round_trip: float | None = None
    offset: float = 7.3
    schema: Callable[[float], int] = lambda _: 8
    labels: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, str] = field(default_factory=dict)
    market: str = "spot"
    scrapes: list[float] = field(default_factory=list)

    def plant(self, history: History) -> None:
        """Add every scrape to the history."""
        begin = self.runs[0].start_ns / NS_PER_SEC
        end = self.runs[-1].end_ns / NS_PER_SEC
        for moment in np.arange(begin + self.offset, end, INTERVAL_SEC).tolist():
            if self.scraped(moment):
                self.scrapes.append(moment)
                self._scrape(history, moment)

    def _scrape(self, history: History, moment: float) -> None:
        labels = {**self.place._asdict(), "experiment": self.experiment, "job": metrics.JOB}
        target = {n: v for n, v in {**labels, **self.labels}.items() if v not in {"", UNKNOWN}}
        born = max((r for r in self.restarts if r <= moment), default=self.started)

        def add(metric: metrics.Metric, value: float | Native, **labels: str) -> None:
            if metric.name not in self.omitted:
                history.add(metric.name, {**target, **labels}, moment, value)

        told = {f"exported_{n}" if n in target else n: v for n, v in self.own.items()}
        add(metrics.PROBE_INFO, 1.0, **told)
        if self.start_told:
            history.add(metrics.PROCESS_START, target, moment, born)

        def since_birth(moments: Sequence[float]) -> int:
            return sum(born < m <= moment for m in moments)

        market = {"market": self.market}
        add(metrics.CONNECTED, 1.0, **market)
        ended = since_birth(self.reconnects_at)
        add(metrics.DISCONNECTED, 0.5 * ended, **market)
        add(metrics.RECONNECTS, 7.0, reason="schedule", **market)
        if ended or not self.counters_appear_late:
            add(metrics.RECONNECTS, ended, reason="connection_lost", **market)
        add(metrics.CLOCK_STEPS, since_birth(self.clock_set_at))
        self._add_clocks(add, moment)
        emptied = max((r for r in self.histogram_resets if r <= moment), default=born)
        for index, ((stream, symbol), events) in enumerate(self.channels.items()):
            feed = {**market, "stream": stream, "symbol": symbol}
            seen = (events.received > born) & (events.received <= moment)
            add(metrics.MESSAGES, float(np.count_nonzero(seen)), **feed)
            _add_newest(add, events.received[seen], feed)
            if (stream, symbol) not in self.silent_on_loss:
                add(metrics.LOST, 0.0 if index else since_birth(self.lost_at), **feed)
            add(metrics.NEGATIVE_LATENCY, 0.0, **feed)
            seen &= events.received > emptied
            for run in self.runs:
                if self._exposes(run, moment, born):
                    counted = seen & in_measurement(events.times, run)
                    native = Native.of(events.latencies[counted], self.schema(moment))
                    add(metrics.LATENCY, native, run=run.label, **feed)
                    _add_losses(add, self.losses(run), run, feed, first=index == 0)
                    self._add_errors(add, moment, events.times[counted], run=run.label, **feed)

    def _add_errors(
        self, add: Callable[..., None], moment: float, times: NDArray[np.float64], **labels: str
    ) -> None:
        if self.error_bounds is None:
            return
        bounds = self.error_bounds(times)
        late = Native.of(bounds[bounds > 0], self.schema(moment))
        add(metrics.TIMESTAMP_ERROR, late, **labels)
        add(metrics.TIMESTAMPS_EXACT, float(np.count_nonzero(bounds == 0)), **labels)

    def _add_clocks(self, add: Callable[..., None], moment: float) -> None:
        if self.timestamps is not None:
            add(metrics.PROBE_INFO, 1.0, timestamps=self.timestamps)
        if self.round_trip is not None:
            trips = np.full(len(self.scrapes), self.round_trip)
            add(metrics.RTT, Native.of(trips, self.schema(moment)), market=self.market)
        bound = self.clock_bound(moment)
        if bound is not None:
            add(metrics.CLOCK_ERROR_BOUND, bound, source="kernel")
        add(metrics.CLOCK_SYNCHRONIZED, float(self.synchronized(moment)), source="kernel")
        apart, drift = self.exchange_offset(moment), self.exchange_drift(moment)
        if apart is not None:
            add(metrics.EXCHANGE_CLOCK_OFFSET, apart, market=self.market)
            add(metrics.EXCHANGE_CLOCK_ERROR_BOUND, 1e-3, market=self.market)
        if drift is not None:
            add(metrics.EXCHANGE_CLOCK_DRIFT, drift, market=self.market)
            add(metrics.EXCHANGE_CLOCK_DRIFT_BOUND, 1e-5, market=self.market)

    def _exposes(self, run: Run, moment: float, born: float) -> bool:
        until = run.end_ns / NS_PER_SEC + WARMUP_SEC
        joined = born < (run.end_ns if self.rejoins else run.measure_start_ns) / NS_PER_SEC
        return run.start_ns / NS_PER_SEC <= moment < until and joined


def _add_newest(
    add: Callable[..., None], received: NDArray[np.float64], feed: dict[str, str]
) -> None:
    if received.size:  # a probe shows no time before the first message
        add(metrics.LAST_MESSAGE, float(received.max()), **feed)


def _add_losses(
    add: Callable[..., None],
    losses: ChannelLosses | None,
    run: Run,
    feed: dict[str, str],
    *,
    first: bool,
) -> None:
    """What is told of one channel: the losses are the first one's."""
    if losses is None:
        return
    losses = losses if first else NO_LOSSES
    feed = {**feed, "run": run.label}
    add(metrics.RUN_LOST, float(losses.lost), **feed)
    add(metrics.RUN_MISSING, float(losses.missing), **feed)
    if losses.followed is not None:
        add(metrics.RUN_FIRST_ID, float(losses.followed.first), **feed)
        add(metrics.RUN_LAST_ID, float(losses.followed.last), **feed)
    for cell, name, value in losses.ids.samples():
        add(metrics.RUN_MISSING_IDS, float(value), cell=str(cell), field=name, **feed)


def in_measurement(times: NDArray[np.float64], run: Run) -> NDArray[np.bool_]:
    """Which event times belong to the measurement of a run."""
    return (times >= run.measure_start_ns / NS_PER_SEC) & (times < run.measure_end_ns / NS_PER_SEC)
