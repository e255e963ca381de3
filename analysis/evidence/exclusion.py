"""When a run must not be used, whatever its source."""

from __future__ import annotations

import math
from typing import Final

# A run watched for less than this share of its measurement may hide a restart or a bad minute.
MIN_COVERAGE: Final = 0.95

_EVALUATED_QUANTILE: Final = 0.99


def fewest_samples(confidence: float) -> int:
    """How many samples a run needs for a two-sided interval of its p99 to exist.

    The largest of n independent samples lies above the quantile q with probability 1 - q^n, so an
    upper limit at level 1 - alpha/2 needs q^n <= alpha/2 (Hahn and Meeker, Statistical Intervals,
    section 5.2): 368 at 95 %.

    Args:
        confidence: level of the interval, 0.95 for instance.
    """
    return math.ceil(math.log((1 - confidence) / 2) / math.log(_EVALUATED_QUANTILE))


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
