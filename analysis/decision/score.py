"""The score: a weighted sum of normalised p99 and normalised stability, lower is better.

    score = w_p99 * (p99 - min p99) / (max p99 - min p99) + w_stability * cv / max cv

Minimum and maximum are taken over the candidates that pass: one very slow candidate would otherwise
make all others look equal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latency_sweep.analysis.decision.verdict import SensitivityRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from latency_sweep.analysis.evidence.records import Candidate
    from latency_sweep.contract.experiment import Weights

    Floats = NDArray[np.float64]

# How far the sensitivity table moves the weights.
_WEIGHT_STEP = 0.1


@dataclass(frozen=True, slots=True)
class Measure:
    """What the score is made of.

    Attributes:
        p99: seconds.
        cv: sd / mean, outliers capped.
        sd: seconds, outliers capped.
    """

    p99: float
    cv: float
    sd: float


@dataclass(frozen=True, slots=True)
class Score:
    """The weighted parts; `total` is their sum."""

    p99_part: float
    stability_part: float

    @property
    def total(self) -> float:
        """The score, 0 to 1 for the candidates that it was normalised over."""
        return self.p99_part + self.stability_part


def scores(measures: Mapping[Candidate, Measure], weights: Weights) -> dict[Candidate, Score]:
    """Score candidates, normalised over all that are given.

    A term whose candidates are all equal is 0 for all, as is stability where no spread is
    positive. A candidate without a finite p99 and cv has no score.
    """
    usable = {c: m for c, m in measures.items() if math.isfinite(m.p99) and math.isfinite(m.cv)}
    if not usable:
        return {}
    p99 = np.array([[m.p99 for m in usable.values()]])
    cv = np.array([[m.cv for m in usable.values()]])
    p99_parts = weights.p99 * normalised_p99(p99)[0]
    cv_parts = weights.stability * normalised_spread(cv)[0]
    return {
        candidate: Score(float(a), float(b))
        for candidate, a, b in zip(usable, p99_parts, cv_parts, strict=True)
    }


def normalised_p99(p99: Floats) -> Floats:
    """(p99 - min) / (max - min) along the last axis; 0 where all are equal."""
    low, high = p99.min(axis=-1, keepdims=True), p99.max(axis=-1, keepdims=True)
    # Halves, because the difference of two huge numbers may be out of range.
    span = high / 2 - low / 2
    part: Floats = np.divide(p99 / 2 - low / 2, span, out=np.zeros_like(p99), where=span > 0)
    return part


def normalised_spread(spread: Floats) -> Floats:
    """Spread / max along the last axis; 0 where none is positive."""
    high = spread.max(axis=-1, keepdims=True)
    part: Floats = np.divide(spread, high, out=np.zeros_like(spread), where=high > 0)
    return part


def best(totals: Mapping[Candidate, float], eligible: frozenset[Candidate]) -> Candidate | None:
    """The eligible candidate with the lowest score; by name where scores are equal."""
    ranked = sorted((totals[c], c.values, c) for c in eligible if c in totals)
    return ranked[0][2] if ranked else None


def sensitivity(
    measures: Mapping[Candidate, Measure], eligible: frozenset[Candidate], weights: Weights
) -> tuple[SensitivityRow, ...]:
    """Who would come first under a changed rule; only eligible candidates may.

    Args:
        measures: of all candidates.
        eligible: those that pass.
        weights: of the experiment.
    """
    passing = {c: m for c, m in measures.items() if c in eligible}
    stability_in_ms = {c: Measure(m.p99, m.sd, m.sd) for c, m in passing.items()}
    rules = [("as configured", weights, passing)]
    for name, step in (("more weight on p99", _WEIGHT_STEP), ("less weight on p99", -_WEIGHT_STEP)):
        p99 = round(min(1.0, max(0.0, weights.p99 + step)), 9)
        changed = weights.model_copy(update={"p99": p99, "stability": round(1 - p99, 9)})
        rules.append((name, changed, passing))
    rules += [
        ("normalised over all candidates, passing or not", weights, dict(measures)),
        ("spread in ms instead of its ratio to the mean", weights, stability_in_ms),
    ]
    firsts = [
        best({c: s.total for c, s in scores(of, by).items()}, eligible) for _, by, of in rules
    ]
    return tuple(
        SensitivityRow(
            name, by.p99, by.stability, first.name if first else None, first != firsts[0]
        )
        for (name, by, _), first in zip(rules, firsts, strict=True)
    )
