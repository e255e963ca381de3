"""Conditions on a summary, such as `p99>20ms`: what makes a measurement fail."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from latency_sweep.probe.summary import wording

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from latency_sweep.probe.summary.records import LatencySummary, ProbeSummary, StreamSummary

SYNTAX: Final = "such as p99>20ms, jitter>=1ms, loss>0.1%, rate<5/s or clock>500us"
_CONDITION: Final = re.compile(
    r"\s*([a-z]+|p\d{1,2}(?:\.\d{1,6})?)\s*(<=|>=|<|>)\s*(\d{1,12}(?:\.\d{1,12})?)\s*(|us|µs|ms|s|%|/s)\s*",
)
_TIME: Final[Mapping[str, float]] = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
_SHARE: Final[Mapping[str, float]] = {"%": 0.01, "": 1.0}
_RATE: Final[Mapping[str, float]] = {"/s": 1.0, "": 1.0}
_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OF_LATENCY: Final[Mapping[str, Callable[[LatencySummary], float | None]]] = {
    "min": lambda found: found.minimum_sec,
    "max": lambda found: found.maximum_sec,
    "mean": lambda found: found.mean_sec,
    "jitter": lambda found: found.jitter_sec,
    "late": lambda found: found.late_p99_sec,
    "exact": lambda found: found.exact_ratio,
}
_OF_STREAM: Final[Mapping[str, Callable[[StreamSummary], float | None]]] = {
    "rate": lambda stream: stream.rate,
    "loss": lambda stream: stream.loss_ratio,
    "own": lambda stream: stream.own_p99_sec,
}
_CLOCK: Final = "clock"


class ConditionError(ValueError):
    """A text is no condition; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class FailCondition:
    """A comparison with a limit. A value that is unknown meets it: nothing shows that it does not.

    Attributes:
        text: as it was given.
        name: `p50`, `p99.9` or any other percentile, `min`, `max`, `mean`, `jitter`, `late`,
            `own`, `loss`, `rate`, `exact` or `clock`.
        comparison: one of `<`, `<=`, `>`, `>=`.
        limit: seconds, messages per second, or a share of 1.
    """

    text: str
    name: str
    comparison: str
    limit: float

    def failures(self, summary: ProbeSummary) -> list[str]:
        """A sentence for each stream, or for the clock, that meets the condition."""
        if self.name == _CLOCK:
            clock = summary.clock
            known = clock is not None and clock.synchronized
            bound = clock.error_bound_sec if clock is not None and known else None
            return self._sentence("the clock's error bound", bound)
        streams = [each for each in summary.streams if self._applies_to(each)]
        if not streams:
            return [f"{self.text}: no stream of these can show it."]
        return [
            sentence
            for stream in streams
            for sentence in self._sentence(f"{self.name} of {stream.name}", self._value(stream))
        ]

    def _applies_to(self, stream: StreamSummary) -> bool:
        if self.name == "loss":
            return stream.lost is not None
        return stream.has_event_time or self.name in {"own", "rate"}

    def _value(self, stream: StreamSummary) -> float | None:
        if self.name in _OF_STREAM:
            return _OF_STREAM[self.name](stream)
        if stream.latency is None:
            return None
        if self.name in _OF_LATENCY:
            return _OF_LATENCY[self.name](stream.latency)
        return stream.latency.histogram.quantile(_quantile(self.name))

    def _sentence(self, what: str, value: float | None) -> list[str]:
        if value is None:
            return [f"{self.text}: {what} is unknown."]
        if not _COMPARE[self.comparison](value, self.limit):
            return []
        return [f"{self.text}: {what} is {self._written(value)}."]

    def _written(self, value: float) -> str:
        units = _units(self.name)
        if units is _SHARE:
            return wording.share(value)
        return wording.rate(value) if units is _RATE else f"{wording.milliseconds(value)} ms"


def parse(text: str) -> FailCondition:
    """Read a condition.

    Raises:
        ConditionError: it is none, or its unit does not fit.
    """
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise ConditionError(f"{text!r} is not a condition {SYNTAX}")
    name, comparison, number, unit = found.groups()
    try:
        units = _units(name)
    except KeyError:
        raise ConditionError(
            f"{name!r} is not measured; use p50, p99, p99.9 or another percentile, min, max, mean, "
            "jitter, late, own, loss, rate, exact or clock"
        ) from None
    if unit not in units:
        wanted = ", ".join(each for each in units if each)
        raise ConditionError(f"{text!r} needs a unit after the number: {wanted}")
    return FailCondition(text.strip(), name, comparison, float(number) * units[unit])


def _units(name: str) -> Mapping[str, float]:
    if name in {"loss", "exact"}:
        return _SHARE
    if name == "rate":
        return _RATE
    if name in {*_OF_LATENCY, "own", _CLOCK} or name[1:2].isdigit():
        return _TIME
    raise KeyError(name)


def _quantile(name: str) -> float:
    return float(name[1:]) / 100
