"""The text formats, in pieces.

prometheus_client makes an object of each sample and one string of them all. The classic buckets of
a large registry are hundreds of thousands of samples, which the garbage collector traverses while
the program waits. So the lines of native histograms are written here, a series at a time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from prometheus_client.exposition import generate_latest as generate_text
from prometheus_client.openmetrics.exposition import escape_metric_name
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.utils import floatToGoString

from latency_sweep.nativehist.instrument import NativeHistogramFamily
from latency_sweep.nativehist.negotiation import Format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from latency_sweep.nativehist.instrument import NativeSeries

_END: Final = b"# EOF\n"  # of OpenMetrics
_LE: Final = "le"
_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class _One:
    """A family as the registry that prometheus_client asks for."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> tuple[Metric]:
        """The only family."""
        return (self._family,)


def encode(families: Iterable[Metric], form: Format) -> Iterator[bytes]:
    """Metric families in a text format, in pieces: a family or a series each.

    Args:
        families: what to encode.
        form: `TEXT` or `OPENMETRICS`.
    """
    openmetrics = form is Format.OPENMETRICS
    generate: Callable[[_One], bytes] = generate_openmetrics if openmetrics else generate_text
    for family in families:
        if isinstance(family, NativeHistogramFamily):
            yield generate(_One(family.without_series())).removesuffix(_END)
            for series in family.series:
                yield _series(family.name, series).encode()
        else:
            yield generate(_One(family)).removesuffix(_END)
    if openmetrics:
        yield _END


def _series(name: str, series: NativeSeries) -> str:
    """The lines of one histogram, as prometheus_client writes them: labels by name."""
    name = escape_metric_name(name)
    snapshot, labels = series.snapshot, series.labels
    before = "".join(f"{_label(*label)}," for label in sorted(labels.items()) if label[0] < _LE)
    after = "".join(f",{_label(*label)}" for label in sorted(labels.items()) if label[0] > _LE)
    lines = [
        f'{name}_bucket{{{before}le="{_go_string(bound)}"{after}}} {_go_string(count)}\n'
        for bound, count in zip(snapshot.classic_bounds, snapshot.classic_counts, strict=True)
    ]
    count, plain = _go_string(snapshot.count), _labels(labels)
    lines.append(f'{name}_bucket{{{before}le="+Inf"{after}}} {count}\n')
    lines.append(f"{name}_sum{plain} {_go_string(snapshot.sum)}\n")
    lines.append(f"{name}_count{plain} {count}\n")
    return "".join(lines)


def _labels(labels: Mapping[str, str]) -> str:
    inside = ",".join(_label(*label) for label in sorted(labels.items()))
    return f"{{{inside}}}" if inside else ""


@lru_cache(maxsize=4096)
def _label(name: str, value: str) -> str:
    return f'{name}="{value.translate(_ESCAPES)}"'


@lru_cache(maxsize=4096)
def _go_string(number: float) -> str:
    text: str = floatToGoString(number)  # type: ignore[no-untyped-call]
    return text
