"""Building blocks of the dashboards' queries: selectors by variable, and what is asked of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from latency_sweep.contract.metrics import JOB, PLANNED

if TYPE_CHECKING:
    from latency_sweep.contract.experiment import Experiment
    from latency_sweep.contract.metrics import Metric

# The window that Grafana makes at least four scrapes long.
WINDOW: Final = "$__rate_interval"
PLACE: Final = ("region", "az_id", "instance_type")
PLACE_NAME: Final = "{{region}} {{az_id}} {{instance_type}}"
# Regular expression of the reasons for which the probe itself replaces a connection.
PLANNED_REASONS: Final = "|".join(PLANNED)

# Recording rules: what the overview of a hundred probes asks for is computed once, by the server.
LATENCY_1M: Final = "place:feed_latency_seconds:rate1m"
P99_1M: Final = "place:feed_latency_seconds:p99_1m"
P50_5M: Final = "place:feed_latency_seconds:p50_5m"
P99_5M: Final = "place:feed_latency_seconds:p99_5m"
P999_5M: Final = "place:feed_latency_seconds:p999_5m"
RECEIVE_DELAY_5M: Final = "place:feed_receive_delay_seconds:rate5m"
MESSAGES_5M: Final = "place:feed_messages:rate5m"
LOST_5M: Final = "place:feed_messages_lost:rate5m"
LOSS_RATIO_5M: Final = "place:feed_messages_lost:ratio5m"
RECONNECTS_1H: Final = "place:feed_reconnects_unplanned:increase1h"


@dataclass(frozen=True, slots=True)
class Selection:
    """What the variables of a dashboard choose.

    Attributes:
        prefix: of the names of the variables that choose a place; empty for the common ones.
        by_instance: whether there is a variable for single instances, too.
    """

    prefix: str = ""
    by_instance: bool = False

    def _targets(self) -> list[str]:
        labels = (*PLACE, "instance") if self.by_instance else PLACE
        return ['experiment="$experiment"', *(f'{n}=~"${self.prefix}{n}"' for n in labels)]

    def target(self, name: str, *matchers: str) -> str:
        """Series of a metric without labels of a feed."""
        return f"{name}{{{','.join([*self._targets(), *matchers])}}}"

    def scrape(self, name: str) -> str:
        """Series that Prometheus itself keeps of each probe, such as `up`."""
        return self.target(name, f'job="{JOB}"')

    def market(self, metric: Metric, *matchers: str) -> str:
        """Series of a metric that belongs to a market."""
        return self.target(metric.name, 'market="$market"', *matchers)

    def recorded(self, name: str) -> str:
        """Series of a recording rule: places, pooled over the streams that decide."""
        return self.target(name, 'market="$market"')

    def feed(self, metric: Metric, *matchers: str) -> str:
        """Series of a metric of single streams and symbols."""
        return self.market(metric, 'stream=~"$stream"', 'symbol=~"$symbol"', *matchers)

    def unplanned(self, metric: Metric) -> str:
        """Reconnects that nobody had planned."""
        return self.market(metric, f'reason!~"{PLANNED_REASONS}"')


def deciding(experiment: Experiment) -> str:
    """Matcher of the streams that decide, whatever their interval."""
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


def share(part: str, rest: str) -> str:
    """`part / (part + rest)`, without a value where both are zero."""
    return f"{part} / ({part} + {rest} > 0)"
