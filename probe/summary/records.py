"""A probe's numbers at one moment; times are seconds unless a name says otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latency_sweep.contract.metrics import Phase
    from latency_sweep.nativehist.float_histogram import FloatHistogram


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Event time to kernel receive timestamp, of the messages of one stream in one run.

    Attributes:
        histogram: all of them, for any quantile.
        minimum_sec: the smallest.
        p50_sec: median, interpolated in its bucket as PromQL does.
        p99_sec: 99th percentile.
        p999_sec: 99.9th percentile.
        maximum_sec: the largest.
        mean_sec: the mean.
        jitter_sec: mean absolute difference between consecutive messages (RFC 3393); None below
            two messages.
        exact_ratio: share of the messages whose timestamp is that of their last byte, 0 to 1.
        late_p99_sec: bound on how late a timestamp may be: 99 % of all messages are within it;
            0 where at least 99 % are exact.
        late_maximum_sec: the largest of these bounds.
    """

    histogram: FloatHistogram
    minimum_sec: float
    p50_sec: float
    p99_sec: float
    p999_sec: float
    maximum_sec: float
    mean_sec: float
    jitter_sec: float | None
    exact_ratio: float
    late_p99_sec: float
    late_maximum_sec: float


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """One stream of one symbol.

    Attributes:
        stream: as subscribed, `depth@100ms`.
        symbol: upper case.
        has_event_time: whether its messages say when they were sent; without that there is no
            latency.
        messages: of the run's measurement.
        rate: messages per second; None before anything was measured.
        latency: None without a message that has a latency.
        lost: messages missing since the probe started, a lower bound where one covers a range of
            ids; None where ids show no losses.
        loss_ratio: their share of all messages since then, 0 to 1; None without a message.
        own_p50_sec: median from kernel timestamp to the program: the probe's own delay, which is
            not part of the latency.
        own_p99_sec: its 99th percentile.
    """

    stream: str
    symbol: str
    has_event_time: bool
    messages: int
    rate: float | None
    latency: LatencySummary | None
    lost: int | None
    loss_ratio: float | None
    own_p50_sec: float | None
    own_p99_sec: float | None

    @property
    def name(self) -> str:
        """Symbol and stream, as tables show it."""
        return f"{self.symbol} {self.stream}"


@dataclass(frozen=True, slots=True)
class ClockSummary:
    """The local clock.

    Attributes:
        source: who said so.
        synchronized: whether it follows UTC.
        error_bound_sec: bound on its error; None if that is unknown.
    """

    source: str
    synchronized: bool
    error_bound_sec: float | None


@dataclass(frozen=True, slots=True)
class ExchangeClockSummary:
    """The exchange's clock against the local one, from its time endpoint.

    Attributes:
        offset_sec: exchange minus local.
        error_bound_sec: bound on the error of that.
    """

    offset_sec: float
    error_bound_sec: float


@dataclass(frozen=True, slots=True)
class ProbeSummary:
    """What a probe measures.

    Attributes:
        market: which one.
        endpoint: WebSocket base URL.
        timestamps: source of the receive timestamps: `socket`, `capture` or `nic`.
        run: label of the run shown; None if there has been none.
        phase: the probe is in.
        next_phase_sec: until the next one.
        start_at: Unix time of the first event that counts in it; None if there has been no run.
        measured_sec: measured so far of the run shown.
        planned_sec: to be measured of it.
        connected: whether every feed has a connection.
        was_connected: whether every feed ever had one.
        reconnects: replacements of connections that nobody planned, since the probe started.
        streams: in the order of the subscription.
        clock: None before it was read for the first time.
        exchange_clock: None where it is unknown.
        clock_steps: how often the local clock was set.
        negative: messages with a negative latency.
        last_error: detail of the feed's newest error, or None.
    """

    market: str
    endpoint: str
    timestamps: str
    run: str | None
    phase: Phase
    next_phase_sec: float
    start_at: float | None
    measured_sec: float
    planned_sec: float
    connected: bool
    was_connected: bool
    reconnects: int
    streams: tuple[StreamSummary, ...]
    clock: ClockSummary | None
    exchange_clock: ExchangeClockSummary | None
    clock_steps: int
    negative: int
    last_error: str | None

    @property
    def messages(self) -> int:
        """Measured messages of all streams."""
        return sum(stream.messages for stream in self.streams)
