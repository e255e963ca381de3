"""What a replay on this machine added to the recorded latencies, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MS = 1e3


def lateness_sentences(
    stats: Mapping[str, Any], recorded_p99_sec: float | None, relevant_ratio: float
) -> Iterator[str]:
    """How late the frames left, and a warning where that changes what is measured.

    Args:
        stats: counters of the exchange.
        recorded_p99_sec: p99 of the recording's own latencies; None if it has none.
        relevant_ratio: share of p99 from which on a difference counts.
    """
    for site in stats["sites"].values():
        late = site["late_sec"]
        if late is None:
            continue
        yield (
            f"Frames left {late['p50'] * _MS:.3f} ms late at p50 and {late['p99'] * _MS:.3f} ms at "
            "p99; that is added to the recorded latencies."
        )
        if recorded_p99_sec is None or late["p99"] <= relevant_ratio * abs(recorded_p99_sec):
            continue
        yield (
            f"WARNING: the recording's own p99 is {recorded_p99_sec * _MS:.3f} ms, so this replay "
            f"measures this machine too: {late['p99'] / abs(recorded_p99_sec):.0%} of it. Use an "
            "idle machine or a lower --speed, or evaluate the file itself with analyze "
            "--from-recordings."
        )
