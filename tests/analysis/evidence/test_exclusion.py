"""When a run must not be used."""

from __future__ import annotations

import pytest

from latency_sweep.analysis.evidence.exclusion import fewest_samples, sample_reasons


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_the_fewest_samples_just_bound_the_p99(confidence: float) -> None:
    needed = fewest_samples(confidence)
    assert 0.99**needed <= (1 - confidence) / 2 < 0.99 ** (needed - 1)


def test_enough_samples_are_no_reason_and_one_fewer_are() -> None:
    assert sample_reasons(368, 0.95) == ()
    (reason,) = sample_reasons(367, 0.95)
    assert reason.startswith("only 367 latency samples")


def test_no_samples_are_another_reasons_business() -> None:
    assert sample_reasons(0, 0.95) == ()
