"""When a run must not be used, whatever its source."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.evidence.timestamps import Readings, lateness
from latency_sweep.contract.usable_runs import fewest_samples

if TYPE_CHECKING:
    from latency_sweep.analysis.evidence.records import InstanceEvidence

_EVALUATED_QUANTILE: Final = 0.99


def sample_reasons(samples: float, confidence: float) -> tuple[str, ...]:
    """The reason against a run with too few samples for its p99, if there is one.

    Args:
        samples: latency samples of the run, all instances together.
        confidence: of the decision.
    """
    needed = fewest_samples(confidence)
    if not 0 < samples < needed:  # an empty run has a reason of its own
        return ()
    return (
        (
            f"only {samples:.0f} latency samples, and an interval for p99 at {confidence:.0%} "
            f"confidence needs {needed}"
        ),
    )


def lateness_reasons(instance: InstanceEvidence, equivalence_ratio: float) -> tuple[str, ...]:
    """The reason against a run in which late timestamps can change p99 by more than matters.

    What matters is the experiment's share of p99; where the clock or a bucket resolves less than
    that, it is what they resolve.

    Args:
        instance: what it observed.
        equivalence_ratio: share of p99 below which a difference does not matter.
    """
    late = lateness([Readings(instance.latency, instance.timestamp_errors)], _EVALUATED_QUANTILE)
    if late is None or not instance.latency.counts.size:
        return ()
    p99 = instance.latency.quantile(_EVALUATED_QUANTILE)
    resolved = (instance.clock_error_bound_sec or 0.0) + instance.latency.bucket_width_at(p99)
    allowed = max(equivalence_ratio * p99, resolved)
    if late <= allowed:
        return ()
    part = f"up to {late * 1e3:.3g} ms" if math.isfinite(late) else "any part"
    return (
        (
            f"the host of {instance.instance} was too busy to measure: late timestamps can explain"
            f" {part} of its p99 of {p99 * 1e3:.3g} ms (at most {allowed * 1e3:.2g} ms allowed)"
        ),
    )
