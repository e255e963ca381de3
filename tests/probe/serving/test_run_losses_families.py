"""What a run lost is exposed with its run, and as long as the run is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from latency_sweep.contract import metrics
from latency_sweep.contract.missing_ids import IdRange, MissingIds
from latency_sweep.contract.timeline import Run
from latency_sweep.probe.measurement.sequence import GRACE_NS
from latency_sweep.probe.serving.run_losses_families import run_losses

if TYPE_CHECKING:
    from latency_sweep.probe.feeds.binance_spot import BinanceSpot
    from latency_sweep.probe.measurement.recorder import Recorder


def exposed(recorder: Recorder, metric: metrics.Metric) -> dict[tuple[str, ...], float]:
    """Samples of the trades by their other labels."""
    (family,) = (f for f in run_losses("spot", recorder.states) if f.name == metric.name)
    return {
        tuple(sample.labels[name] for name in metric.labels[3:]): sample.value
        for sample in family.samples
        if sample.labels["stream"] == "trade"
    }


def test_missing_ids_are_exposed_until_the_next_run_is_measured(
    recorder: Recorder, feed: BinanceSpot, run: Run, frames: Any
) -> None:
    recorder.begin_run(run)
    connection = recorder.receiver(feed, recorder.lines[0], lambda: None)
    sent_ns = run.measure_start_ns
    received = [frames.trade(number, sent_ns) for number in (7, 8, 12)]
    connection.record(received, False, sent_ns + 2_000_000, sent_ns + 3_000_000)
    recorder.expire(sent_ns, time.monotonic_ns() + 2 * GRACE_NS)
    expected = MissingIds()
    expected.add(IdRange(9, 11))
    for metric, value in (
        (metrics.RUN_LOST, 3.0),
        (metrics.RUN_MISSING, 3.0),
        (metrics.RUN_FIRST_ID, 7.0),
        (metrics.RUN_LAST_ID, 12.0),
    ):
        assert exposed(recorder, metric) == {(run.label,): value}
    assert exposed(recorder, metrics.RUN_MISSING_IDS) == {
        (run.label, str(cell), field): value for cell, field, value in expected.samples()
    }
    length = run.end_ns - run.start_ns
    following = Run(*(getattr(run, name) + length for name in Run.__dataclass_fields__))
    recorder.begin_run(following)
    assert exposed(recorder, metrics.RUN_LOST) == {(run.label,): 3.0, (following.label,): 0.0}
    recorder.expire(following.measure_start_ns, time.monotonic_ns())
    assert exposed(recorder, metrics.RUN_LOST) == {(following.label,): 0.0}
    assert exposed(recorder, metrics.RUN_MISSING_IDS) == {}
