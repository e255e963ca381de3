"""PromQL of the dashboards: selectors with variables, records and functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from latency_sweep.contract.metrics import PLANNED
from latency_sweep.contract.monitoring import MONITORING, duration
from latency_sweep.contract.targets import CANDIDATE_LABELS

if TYPE_CHECKING:
    from collections.abc import Callable

    from latency_sweep.contract.experiment import Experiment
    from latency_sweep.contract.metrics import Metric

# The window that Grafana makes at least four scrapes long.
WINDOW: Final = "$__rate_interval"
CANDIDATE: Final = CANDIDATE_LABELS
# Other exporters on the same instances have `up` and the like, too.
PROBES_JOB: Final = 'job=~"$job"'
CANDIDATE_NAME: Final = " ".join(f"{{{{{label}}}}}" for label in CANDIDATE)
# Regular expression of the reasons for which the probe itself replaces a connection.
PLANNED_REASONS: Final = "|".join(PLANNED)

_LIVE, _SHORT, _LONG = (
    duration(seconds)
    for seconds in (
        MONITORING.windows.live_sec,
        MONITORING.windows.short_sec,
        MONITORING.windows.long_sec,
    )
)
# Recording rules, by window: computed once by the server for every view of a hundred probes.
LATENCY_LIVE: Final = f"candidate:feed_latency_seconds:rate{_LIVE}"
P99_LIVE: Final = f"candidate:feed_latency_seconds:p99_{_LIVE}"
P50_SHORT: Final = f"candidate:feed_latency_seconds:p50_{_SHORT}"
P99_SHORT: Final = f"candidate:feed_latency_seconds:p99_{_SHORT}"
P999_SHORT: Final = f"candidate:feed_latency_seconds:p999_{_SHORT}"
RECEIVE_DELAY_SHORT: Final = f"candidate:feed_receive_delay_seconds:rate{_SHORT}"
MESSAGES_SHORT: Final = f"candidate:feed_messages:rate{_SHORT}"
LOST_SHORT: Final = f"candidate:feed_messages_lost:rate{_SHORT}"
LOSS_RATIO_SHORT: Final = f"candidate:feed_messages_lost:ratio{_SHORT}"
RECONNECTS_LONG: Final = f"candidate:feed_reconnects_unplanned:increase{_LONG}"


@dataclass(frozen=True, slots=True)
class TargetSelector:
    """What the variables of a dashboard choose.

    Attributes:
        prefix: of the names of the variables that choose a candidate; empty for the common ones.
        by_instance: whether there is a variable for single instances, too.
    """

    prefix: str = ""
    by_instance: bool = False

    def _targets(self) -> list[str]:
        labels = (*CANDIDATE, "instance") if self.by_instance else CANDIDATE
        return ['experiment="$experiment"', *(f'{n}=~"${self.prefix}{n}"' for n in labels)]

    def matchers(self, *further: str) -> str:
        """Matchers of the targets, and others."""
        return ",".join([*self._targets(), *further])

    def target(self, name: str, *matchers: str) -> str:
        """Series of a metric without labels of a feed."""
        return f"{name}{{{self.matchers(*matchers)}}}"

    def over(self, operator: str, series: Callable[[str], str], *, up: bool = False) -> str:
        """Series of each candidate, aggregated; see `contract.usable_runs.Over`."""
        matchers = self.matchers(PROBES_JOB) if up else self.matchers()
        return aggregate(operator, series(matchers), CANDIDATE)

    def scrape(self, name: str) -> str:
        """Series that every target has, such as `up`, of the probes."""
        return self.target(name, PROBES_JOB)

    def market(self, metric: Metric, *matchers: str) -> str:
        """Series of a metric that belongs to a market."""
        return self.target(metric.name, 'market="$market"', *matchers)

    def recorded(self, name: str) -> str:
        """Series of a recording rule: candidates, pooled over the evidence streams."""
        return self.target(name, 'market="$market"')

    def feed(self, metric: Metric, *matchers: str) -> str:
        """Series of a metric of single streams and symbols."""
        return self.market(metric, 'stream=~"$stream"', 'symbol=~"$symbol"', *matchers)

    def unplanned(self, metric: Metric) -> str:
        """Reconnects that the probe did not schedule."""
        return self.market(metric, f'reason!~"{PLANNED_REASONS}"')


def evidence_matcher(experiment: Experiment) -> str:
    """Matcher of the evidence streams, with any update interval."""
    streams = "|".join(experiment.decision.evidence_streams)
    return f'stream=~"({streams})(@.*)?"'


def aggregate(operator: str, expression: str, by: tuple[str, ...] = ()) -> str:
    """`operator by (labels) (expression)`."""
    labels = f" by ({', '.join(by)}) " if by else ""
    return f"{operator}{labels}({expression})"


def rate(selector: str, by: tuple[str, ...] = (), *, window: str = WINDOW) -> str:
    """Summed rate per second of counters or native histograms."""
    return aggregate("sum", f"rate({selector}[{window}])", by)


def increase(selector: str, by: tuple[str, ...] = (), *, window: str = WINDOW) -> str:
    """Summed increase in a window; extrapolated, for display only."""
    return aggregate("sum", f"increase({selector}[{window}])", by)


def quantile(q: float, histogram: str) -> str:
    """A quantile of a native histogram, seconds."""
    return f"histogram_quantile({q:g}, {histogram})"


def variation(histogram: str) -> str:
    """Coefficient of variation: standard deviation by mean."""
    return f"histogram_stddev({histogram}) / histogram_avg({histogram})"


def with_city(expression: str) -> str:
    """With the region as label `city` too, which tables show as the city's name."""
    return f'label_join({expression}, "city", "", "region")'


def share(part: str, rest: str) -> str:
    """`part / (part + rest)`, without a value where both are zero."""
    return f"{part} / ({part} + {rest} > 0)"
