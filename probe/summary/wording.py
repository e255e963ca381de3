"""Numbers and sentences of a summary, the same in the terminal and on the page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from latency_sweep.contract.metrics import Phase
from latency_sweep.runtime.printable import printable
from latency_sweep.runtime.progress import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from latency_sweep.probe.summary.records import (
        LatencySummary,
        ProbeSummary,
        StreamSummary,
    )

UNKNOWN: Final = "-"
_ERRNO: Final = re.compile(r"\[Errno -?\d+\] ")
_MS: Final = 1e3
_FOUR_DIGITS: Final = 10.0
_THREE_DIGITS: Final = 100.0
_ONE_DIGIT_LESS: Final = 1000.0
_SLOW_RATE: Final = 10.0
_WHOLE: Final = 100.0
# A clock that may be off by more than this share of the median decides what is measured.
_CLOCK_MATTERS: Final = 0.1
_P999_MESSAGES: Final = 1000


class SummaryColumn(NamedTuple):
    """One number of each stream.

    Attributes:
        heading: what it is called.
        explanation: what it is, in a few words.
        of: its text.
        obvious: whether its heading says enough.
    """

    heading: str
    explanation: str
    of: Callable[[StreamSummary], str]
    obvious: bool = False


def milliseconds(seconds: float | None) -> str:
    """A duration in ms with four digits or so, without the unit."""
    if seconds is None:
        return UNKNOWN
    value = seconds * _MS
    size = abs(value)
    if size < _FOUR_DIGITS:
        return f"{value:.3f}"
    if size < _THREE_DIGITS:
        return f"{value:.2f}"
    return f"{value:.1f}" if size < _ONE_DIGIT_LESS else f"{value:.0f}"


def share(ratio: float) -> str:
    """A share as a percentage; only 0 and 1 themselves are written 0% and 100%."""
    if ratio in {0, 1}:
        return f"{ratio:.0%}"
    for digits in range(1, 5):
        text = f"{ratio * 100:.{digits}f}"
        if 0 < float(text) < _WHOLE:
            return f"{text}%"
    return "<0.0001%" if ratio < 0.5 else ">99.9999%"  # noqa: PLR2004


def rate(per_sec: float | None) -> str:
    """Messages per second."""
    if per_sec is None:
        return UNKNOWN
    return f"{per_sec:.2f}/s" if per_sec < _SLOW_RATE else f"{per_sec:.0f}/s"


def loss(stream: StreamSummary) -> str:
    """Messages lost, and their share where there are any."""
    if stream.lost is None or stream.loss_ratio is None:
        return UNKNOWN
    return share(stream.loss_ratio) if stream.lost else "0"


def _of_latency(
    value: Callable[[LatencySummary], float | None],
) -> Callable[[StreamSummary], str]:
    def text(stream: StreamSummary) -> str:
        return UNKNOWN if stream.latency is None else milliseconds(value(stream.latency))

    return text


def _exact(stream: StreamSummary) -> str:
    return UNKNOWN if stream.latency is None else share(stream.latency.exact_ratio)


COLUMNS: Final = (
    SummaryColumn("p50", "median", _of_latency(lambda found: found.p50_sec), obvious=True),
    SummaryColumn("p99", "99th percentile", _of_latency(lambda found: found.p99_sec), obvious=True),
    SummaryColumn(
        "p99.9", "99.9th percentile", _of_latency(lambda found: found.p999_sec), obvious=True
    ),
    SummaryColumn(
        "jitter",
        "mean change of latency between consecutive messages",
        _of_latency(lambda found: found.jitter_sec),
    ),
    SummaryColumn("rate", "messages per second", lambda stream: rate(stream.rate), obvious=True),
    SummaryColumn("loss", "share of the messages since the start that are missing", loss),
    SummaryColumn(
        "own",
        "p99 of the probe's own delay after the timestamp, not part of the latency",
        lambda stream: milliseconds(stream.own_p99_sec),
    ),
    SummaryColumn("exact", "share of receive timestamps that are exact", _exact),
    SummaryColumn(
        "late",
        "bound on how late 99 % of the receive timestamps are",
        _of_latency(lambda found: found.late_p99_sec),
    ),
)
# What there is no room for beside the others in 80 columns; a line below the table has it.
NARROW: Final = COLUMNS[:7]


def legend(columns: Sequence[SummaryColumn]) -> str:
    """What the headings of these columns mean."""
    explained = "; ".join(
        f"{column.heading}: {column.explanation}" for column in columns if not column.obvious
    )
    return (
        "Milliseconds from the exchange's event time to the kernel's receive timestamp. "
        f"{explained}."
    )


_PHASES: Final = {
    Phase.WAIT: "waiting for the next run",
    Phase.WARMUP: "warming up",
    Phase.MEASURE: "measuring",
    Phase.COOLDOWN: "cooling down",
}


def state(summary: ProbeSummary) -> str:
    """What the probe does now, and for how long."""
    if not summary.connected:
        return "not connected" if summary.was_connected else "connecting"
    return f"{_PHASES[summary.phase]}, {duration(summary.next_phase_sec)} left"


def measured(summary: ProbeSummary) -> str:
    """How much was measured of what is planned."""
    done, planned = duration(summary.measured_sec), duration(summary.planned_sec)
    text = f"{summary.messages:,} messages in {done}"
    return text if done == planned else f"{text} of {planned}"


def facts(summary: ProbeSummary) -> list[tuple[str, str]]:
    """What holds for all streams: name and text."""
    found = [
        ("clock", _clock(summary)),
        ("exchange's clock", _exchange_clock(summary)),
        ("timestamps", _timestamps(summary)),
    ]
    untimed = [printable(each.stream) for each in summary.streams if not each.has_event_time]
    if untimed:
        names = ", ".join(dict.fromkeys(untimed))
        found.append(("no latency", f"{names}: messages without event time"))
    return found


def _clock(summary: ProbeSummary) -> str:
    clock = summary.clock
    if clock is None:
        return "not read yet"
    source = printable(clock.source)
    if not clock.synchronized:
        return f"not synchronized, error unknown ({source})"
    if clock.error_bound_sec is None:
        return f"synchronized, error unknown ({source})"
    return f"synchronized, off by at most {milliseconds(clock.error_bound_sec)} ms ({source})"


def _exchange_clock(summary: ProbeSummary) -> str:
    clock = summary.exchange_clock
    if clock is None:
        return "unknown"
    offset, bound = milliseconds(clock.offset_sec), milliseconds(clock.error_bound_sec)
    return f"{offset} ms against the local one, known to {bound} ms"


def _timestamps(summary: ProbeSummary) -> str:
    kind = {
        "socket": "kernel, one per read (socket)",
        "capture": "kernel, of each segment (capture)",
        "nic": "network card (nic)",
    }.get(summary.timestamps, summary.timestamps)
    found = [stream.latency for stream in summary.streams if stream.latency is not None]
    if not found:
        return kind
    messages = sum(latency.histogram.count for latency in found)
    exact = sum(latency.exact_ratio * latency.histogram.count for latency in found) / messages
    text = f"{kind}: {share(exact)} exact"
    if exact < 1:
        within = milliseconds(max(latency.late_p99_sec for latency in found))
        most = milliseconds(max(latency.late_maximum_sec for latency in found))
        text += f", late by at most {within} ms (p99), {most} ms (max)"
    return text


def warnings(summary: ProbeSummary, *, ended: bool) -> list[str]:
    """What makes the numbers doubtful, one sentence each with what to do.

    Args:
        summary: the numbers.
        ended: whether no more messages are measured.
    """
    found = []
    if not summary.connected:
        found.append(no_connection(summary))
    found += _of_clock(summary)
    if summary.negative:
        found.append(
            f"{summary.negative:,} messages have a negative latency: this clock or the exchange's "
            "is wrong by more than the latency."
        )
    if summary.reconnects:
        found.append(f"The connection was lost {summary.reconnects:,} times.")
    if summary.was_connected and summary.measured_sec > 0:
        found += _of_streams(summary, ended=ended)
    return found


def no_connection(summary: ProbeSummary) -> str:
    """Why there is no connection, in a sentence."""
    begin = "lost the connection to" if summary.was_connected else "cannot reach"
    text = f"The probe {begin} {printable(summary.endpoint)}"
    if summary.last_error is None:
        return f"{text}."
    # The number of the error says nothing that its words do not.
    detail = _ERRNO.sub("", printable(summary.last_error))
    return f"{text}: {detail.rstrip('.')}."


def _of_clock(summary: ProbeSummary) -> list[str]:
    clock = summary.clock
    found = []
    if clock is not None and not clock.synchronized:
        found.append(
            "The local clock is not synchronized: every latency may be off by as much as the clock "
            "is. Start chronyd; probe doctor says more."
        )
    elif clock is not None and clock.error_bound_sec is not None:
        medians = [
            stream.latency.p50_sec for stream in summary.streams if stream.latency is not None
        ]
        if medians and clock.error_bound_sec > _CLOCK_MATTERS * abs(min(medians)):
            found.append(
                f"The local clock may be off by {milliseconds(clock.error_bound_sec)} ms, more "
                "than a tenth of the median: compare differences, not absolute values."
            )
    if summary.clock_steps:
        found.append("The local clock was set meanwhile: latencies before and after differ.")
    return found


def _of_streams(summary: ProbeSummary, *, ended: bool) -> list[str]:
    silent = [printable(each.name) for each in summary.streams if not each.messages]
    few = [
        printable(each.name)
        for each in summary.streams
        if each.latency is not None and each.messages < _P999_MESSAGES
    ]
    found = []
    if silent:
        found.append(f"No message yet of {', '.join(silent)}.")
    if few and ended:
        found.append(
            f"Fewer than {_P999_MESSAGES:,} messages of {', '.join(few)}: the p99.9 is about the "
            "largest latency. Measure longer."
        )
    return found
