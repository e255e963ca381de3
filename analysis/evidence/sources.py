"""Who scrapes which probe: the sources of evidence on a server, and what each probe says of itself.

A source is one scraped target as it is stored: all labels but those that the probe itself writes.
A pair of replicas, two jobs or two tenants make several sources of one probe.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.evidence.label_names import EXPERIMENT
from latency_sweep.contract import metrics
from latency_sweep.contract.targets import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from latency_sweep.analysis.evidence.label_names import LabelNames
    from latency_sweep.analysis.prometheus_api import PrometheusClient

Labels = frozenset[tuple[str, str]]

# Where Prometheus keeps a label of the probe that a target label of the same name displaced.
EXPORTED: Final = "exported_"
# What a probe says of its place when nobody told it.
UNTOLD: Final = frozenset({"", "local", UNKNOWN})
_OWN: Final = metrics.PROBE_INFO.labels
_MARKET: Final = metrics.CONNECTED.labels
_NAME: Final = "__name__"


@dataclass(frozen=True, slots=True)
class Source:
    """One scraped target.

    Attributes:
        labels: its target labels.
        samples: how often it was scraped in the span asked for.
        own: what the probe said of itself in that span, by label of `feed_probe_info`: the values
            it was told, without those that say nothing.
    """

    labels: Labels
    samples: int
    own: Mapping[str, frozenset[str]] = field(hash=False)

    def label(self, name: str) -> str:
        """The value of a target label; empty if there is none."""
        return dict(self.labels).get(name, "")


@dataclass(frozen=True, slots=True)
class SourceQuery:
    """Which probes to look for.

    Attributes:
        experiment: its name.
        market: value of the `market` label.
        names: of the target labels.
        labelled: whether targets have a label with the experiment; else the probes say it.
    """

    experiment: str
    market: str
    names: LabelNames
    labelled: bool = True

    @property
    def matcher(self) -> str:
        """Matcher of the experiment's series."""
        value = self.experiment if self.labelled else ""
        return f"{self.names.experiment}={json.dumps(value)}"

    @property
    def info(self) -> str:
        """Selector of what the probes of the experiment say of themselves."""
        label = self.names.experiment if self.labelled else EXPERIMENT
        return f"{metrics.PROBE_INFO.name}{{{label}={json.dumps(self.experiment)}}}"

    @property
    def connected(self) -> str:
        """Selector of a series that every probe has once for the market."""
        market = f"market={json.dumps(self.market)}"
        return f"{metrics.CONNECTED.name}{{{self.matcher}, {market}}}"


def find(
    client: PrometheusClient, query: SourceQuery, *, start: float, end: float
) -> tuple[Source, ...]:
    """The sources that have samples in a span of time, in order of their labels.

    Args:
        client: the server.
        query: which.
        start: Unix seconds.
        end: Unix seconds.

    Raises:
        PrometheusError: the server could not answer.
    """
    span = f"[{max(1, round(1000 * (end - start)))}ms]"
    seen = client.query(f"count_over_time({query.connected}{span})", at=end).floats
    told = client.query(f"last_over_time({query.info}{span})", at=end).floats
    scraped: dict[Labels, int] = {}
    for sample in seen:
        if not math.isfinite(sample.value):
            continue
        labels = _without(sample.labels, (_NAME, *map(_as_stored(sample.labels), _MARKET)))
        scraped[labels] = max(scraped.get(labels, 0), round(sample.value))
    own = _own(scraped, [sample.labels for sample in told])
    return tuple(
        Source(labels, samples, own[labels])
        for labels, samples in sorted(scraped.items(), key=lambda item: sorted(item[0]))
        if query.labelled or query.experiment in own[labels].get(EXPERIMENT, ())
    )


def _own(
    scraped: Iterable[Labels], told: Iterable[Mapping[str, str]]
) -> defaultdict[Labels, dict[str, frozenset[str]]]:
    """What the probe behind each source says of itself."""
    alike: defaultdict[Labels, list[Labels]] = defaultdict(list)
    for labels in scraped:
        alike[_without(dict(labels), _OWN)].append(labels)
    found: defaultdict[Labels, dict[str, frozenset[str]]] = defaultdict(dict)
    shadows = tuple(EXPORTED + name for name in _OWN)
    for info in told:
        for labels in alike[_without(info, (_NAME, *_OWN, *shadows))]:
            target = dict(labels)
            if any(info.get(name) != target[name] for name in _OWN if name in target):
                continue
            values = {
                name: info.get(EXPORTED + name if name in target else name, "") for name in _OWN
            }
            for name, value in values.items():
                if value not in UNTOLD:
                    found[labels][name] = found[labels].get(name, frozenset()) | {value}
    return found


def _as_stored(labels: Mapping[str, str]) -> Callable[[str], str]:
    """The name under which a series keeps a label of the probe."""
    return lambda name: EXPORTED + name if EXPORTED + name in labels else name


def _without(labels: Mapping[str, str], names: Iterable[str]) -> Labels:
    left_out = frozenset(names)
    return frozenset((name, value) for name, value in labels.items() if name not in left_out)
