"""Exposition of a registry: captured where the metrics are written, rendered in any thread."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from latency_sweep.nativehist import protobuf, text
from latency_sweep.nativehist.negotiation import Format, accepts_gzip, choose_format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

# More effort takes several times as long and saves a few per cent.
_GZIP_LEVEL: Final = 1
_GZIP_FRAMING: Final = zlib.MAX_WBITS | 16  # a gzip header and trailer (zlib's manual)
PIECE_BYTES: Final = 65536
# Compressed between two pauses, in 0.1 ms or so.
_GZIP_BYTES: Final = 8192


@dataclass(frozen=True, slots=True)
class RegistrySnapshot:
    """All metric families of a registry at one moment; itself a collector."""

    families: tuple[Metric, ...]

    def collect(self) -> Iterable[Metric]:
        """The families, as prometheus_client's text formats ask for them."""
        return self.families


def take_snapshot(registry: CollectorRegistry) -> RegistrySnapshot:
    """Capture every metric; fast, to be called where the metrics are written."""
    return RegistrySnapshot(tuple(registry.collect()))


def render(
    snapshot: RegistrySnapshot,
    accept: str | None = None,
    accept_encoding: str | None = None,
    *,
    classic: bool = False,
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a response to a scrape.

    Slow and without side effects: to be called in a worker thread.

    Args:
        snapshot: what to render.
        accept: the request's `Accept` header; protobuf, OpenMetrics and plain text are known.
        accept_encoding: the request's `Accept-Encoding` header; gzip is known.
        classic: whether protobuf carries classic buckets beside the native ones; the text formats
            always have them.
    """
    pieces, headers = render_pieces(snapshot, accept, accept_encoding, classic=classic)
    return b"".join(pieces), headers


def render_pieces(
    snapshot: RegistrySnapshot,
    accept: str | None = None,
    accept_encoding: str | None = None,
    *,
    classic: bool = False,
    pause: Callable[[], None] | None = None,
) -> tuple[list[bytes], dict[str, str]]:
    """The same with the body in pieces of some ten kilobytes.

    Joining or writing the megabytes of a large registry at once would hold up all other threads,
    an event loop's too, for milliseconds.

    Args:
        snapshot: see `render`, as for the next three.
        accept: header.
        accept_encoding: header.
        classic: whether with classic buckets.
        pause: called between stretches of some 0.1 ms, for a thread that shall not keep another
            one from their core; a shortest sleep hands it over.
    """
    form = choose_format(accept)
    if form is Format.PROTOBUF:
        parts = protobuf.encode(snapshot.collect(), classic=classic, pause=pause)
    else:
        parts = text.encode(snapshot.collect(), form)
    headers = {"Content-Type": form.value, "Vary": "Accept, Accept-Encoding"}
    pieces = _joined(parts)
    if accepts_gzip(accept_encoding):
        pieces = _joined(_compressed(pieces, pause))
        headers["Content-Encoding"] = "gzip"
    return list(pieces), headers


def _joined(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Neighbours joined until they are large enough to be worth a piece."""
    some: list[bytes] = []
    size = 0
    for part in parts:
        some.append(part)
        size += len(part)
        if size >= PIECE_BYTES:
            yield b"".join(some)
            some.clear()
            size = 0
    if some:
        yield b"".join(some)


def _compressed(pieces: Iterable[bytes], pause: Callable[[], None] | None) -> Iterator[bytes]:
    """One gzip stream."""
    packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_FRAMING)
    for piece in pieces:
        for start in range(0, len(piece), _GZIP_BYTES):
            yield packer.compress(piece[start : start + _GZIP_BYTES])
            if pause is not None:
                pause()
    yield packer.flush()
