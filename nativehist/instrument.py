"""Native histograms as a metric of a prometheus_client registry, which has none of its own."""

from __future__ import annotations

import re
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Final

from prometheus_client import REGISTRY
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from latency_sweep.nativehist.bounds import DEFAULT_ZERO_THRESHOLD, MAX_SCHEMA
from latency_sweep.nativehist.histogram import CapturedHistogram, NativeHistogram
from latency_sweep.nativehist.settings import HistogramSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from prometheus_client import CollectorRegistry

    from latency_sweep.nativehist.snapshot import HistogramSnapshot

_LABEL_NAME: Final = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_RESERVED_LABELS: Final = ("le", "quantile")


class NativeSeries:
    """One captured histogram and its labels; everything else is computed on first use."""

    def __init__(
        self, labelnames: Sequence[str], values: Sequence[str], capture: CapturedHistogram
    ) -> None:
        """Keep the capture and the label values of the series."""
        self._labelnames = labelnames
        self._values = values
        self._capture = capture
        # No cached_property: up to CPython 3.11 all its instances share one lock, on which the
        # scrapes of several registries in a process wait for one another.
        self._snapshot: HistogramSnapshot | None = None

    @property
    def labels(self) -> dict[str, str]:
        """Label values by name."""
        return dict(zip(self._labelnames, self._values, strict=True))

    @property
    def snapshot(self) -> HistogramSnapshot:
        """The histogram, folded in the thread that asks first."""
        if self._snapshot is None:
            self._snapshot = self._capture.resolve()
        return self._snapshot


class NativeHistogramFamily(Metric):
    """A captured family of native histograms.

    `samples` are the classic buckets, sum and count that text formats need. They are made on first
    use, so that collecting the family costs the event loop next to nothing.
    """

    def __init__(
        self, name: str, documentation: str, unit: str = "", series: Sequence[NativeSeries] = ()
    ) -> None:
        """See `prometheus_client.Metric`."""
        super().__init__(name, documentation, "histogram", unit)
        self.series = tuple(series)
        # What the base class put here would shadow the property.
        del self.samples

    @cached_property
    def samples(self) -> list[Sample]:  # type: ignore[override]
        """The text formats' view of the family."""
        return [sample for series in self.series for sample in self._samples_of(series)]

    def without_series(self) -> NativeHistogramFamily:
        """The family with name, help and unit alone."""
        return NativeHistogramFamily(self.name, self.documentation, self.unit)

    def _samples_of(self, series: NativeSeries) -> Iterator[Sample]:
        snapshot, labels = series.snapshot, series.labels
        for bound, count in zip(snapshot.classic_bounds, snapshot.classic_counts, strict=True):
            yield Sample(f"{self.name}_bucket", {**labels, "le": _le(bound)}, count)
        yield Sample(f"{self.name}_bucket", {**labels, "le": "+Inf"}, snapshot.count)
        yield Sample(f"{self.name}_sum", labels, snapshot.sum)
        yield Sample(f"{self.name}_count", labels, snapshot.count)


def _le(bound: float) -> str:
    text: str = floatToGoString(bound)  # type: ignore[no-untyped-call]
    return text


class NativeHistogramMetric:
    """A native histogram for each combination of label values, in a registry; thread-safe."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Sequence[str] = (),
        *,
        registry: CollectorRegistry | None = REGISTRY,
        unit: str = "",
        schema: int = MAX_SCHEMA,
        zero_threshold: float = DEFAULT_ZERO_THRESHOLD,
        max_buckets: int = 0,
        max_zero_threshold: float = 0.0,
        min_reset_sec: float = 0.0,
        classic_bounds: Sequence[float] = (),
    ) -> None:
        """Create the metric and register it.

        Args:
            name: full name, unit included.
            documentation: the help text.
            labelnames: names of the labels, in the order in which `labels` takes values.
            registry: where to register; None for nowhere.
            unit: base unit, the suffix of the name, or empty.
            schema: initial resolution, -4 to 8; see `HistogramSettings` for this and the rest.
            zero_threshold: initial half-width of the zero bucket.
            max_buckets: populated buckets allowed per series, 0 for any number.
            max_zero_threshold: how far the zero bucket may be widened to stay below that.
            min_reset_sec: after how long a series may be reset to stay below that; 0 for never.
            classic_bounds: bounds of the classic buckets for text formats, without infinity.

        Raises:
            ValueError: a name or setting is not valid, or the registry has the name already.
        """
        self._settings = HistogramSettings(
            schema,
            zero_threshold,
            tuple(classic_bounds),
            max_buckets,
            max_zero_threshold,
            min_reset_sec,
        )
        self._labelnames = tuple(labelnames)
        for label in self._labelnames:
            if label in _RESERVED_LABELS or not _LABEL_NAME.fullmatch(label):
                raise ValueError(f"{name}: {label!r} cannot be a label name of a histogram")
        if unit and not name.endswith(f"_{unit}"):
            raise ValueError(f"{name}: the name does not end in its unit, _{unit}")
        self._empty = NativeHistogramFamily(name, documentation, unit)
        self._children: dict[tuple[str, ...], NativeHistogram] = {}
        self._lock = Lock()
        if not self._labelnames:
            self.labels()
        if registry is not None:
            registry.register(self)

    def labels(self, *values: object, **named: object) -> NativeHistogram:
        """The histogram of these label values, made on first use; keep it to observe often.

        Raises:
            ValueError: the labels given are not exactly those of the metric.
        """
        if named and not values and named.keys() == set(self._labelnames):
            values = tuple(named[label] for label in self._labelnames)
            named = {}
        if named or len(values) != len(self._labelnames):
            raise ValueError(
                f"{self._empty.name}: expected a value for each of the labels "
                f"{self._labelnames}, got {(*values, *named)}"
            )
        key = tuple(map(str, values))
        with self._lock:
            child = self._children.get(key)
            if child is None:
                child = self._children[key] = NativeHistogram(self._settings)
            return child

    def remove(self, *values: object) -> None:
        """Stop exposing the series of these label values.

        Raises:
            KeyError: there is no such series.
        """
        with self._lock:
            del self._children[tuple(map(str, values))]

    def remove_matching(self, labels: Mapping[str, str]) -> int:
        """Stop exposing every series that has all these label values; returns how many.

        Raises:
            ValueError: the metric has no label of such a name.
        """
        unknown = labels.keys() - set(self._labelnames)
        if unknown:
            raise ValueError(f"{self._empty.name} has no label {', '.join(sorted(unknown))}")
        wanted = [(self._labelnames.index(label), value) for label, value in labels.items()]
        with self._lock:
            matching = [
                key for key in self._children if all(key[at] == value for at, value in wanted)
            ]
            for key in matching:
                del self._children[key]
        return len(matching)

    def describe(self) -> list[Metric]:
        """Name and type alone, for the registry."""
        return [self._empty]

    def collect(self) -> list[NativeHistogramFamily]:
        """The family with all its series captured.

        A series that is removed meanwhile is in it or is not, but never in part.
        """
        with self._lock:
            children = list(self._children.items())
        series = [
            NativeSeries(self._labelnames, values, child.capture()) for values, child in children
        ]
        empty = self._empty
        return [NativeHistogramFamily(empty.name, empty.documentation, empty.unit, series)]
