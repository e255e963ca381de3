"""`--record`: every message as it came, with the receive timestamp of the kernel, into a file.

The event loop only puts what it has read into a queue; a thread of its own writes lines, in the
format of hftbacktest's collector: 19 digits of Unix nanoseconds, a space, the message. The thread
sleeps between batches, and so takes the interpreter's lock a few times a second, not for each
message. Measuring comes first: a queue that is full, or a disk, costs messages of the recording,
which are counted and told, and nothing else.
"""

from __future__ import annotations

import gzip
import sys
import threading
import zlib
from collections import deque
from typing import TYPE_CHECKING, Final

from latency_sweep.probe.settings import SettingsError
from latency_sweep.runtime import logs

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from latency_sweep.probe.net.websocket import Record

_LOG: Final = logs.logger(__name__)
# Messages that may wait for the disk, some 50 MB.
MAX_WAITING: Final = 200_000
# Between two batches; what a killed probe loses is about as much.
_PERIOD_SEC: Final = 0.25
_STOP_WITHIN_SEC: Final = 10.0
_GZIP_LEVEL: Final = 1
# Answers to requests are no messages of a stream.
_ANSWERS: Final = (b'{"result"', b'{"id"', b'{"code"', b'{"error"')
_SUFFIXES: Final = (".gz", ".zst")


class FrameWriter:
    """Writes a recording beside the measurement.

    Attributes:
        path: of the file, whose suffix says how it is compressed.
        written: messages written so far.
        dropped: messages that were not recorded, since the queue or the disk was full.
    """

    def __init__(
        self,
        path: Path,
        on_trouble: Callable[[str], None],
        *,
        max_waiting: int = MAX_WAITING,
        period_sec: float = _PERIOD_SEC,
    ) -> None:
        """Open the file; a recording that is there already is continued.

        Args:
            path: ends with `.gz` or `.zst`.
            on_trouble: told in a sentence when messages are being dropped and when the file cannot
                be written any more, in the thread of whoever offers messages.
            max_waiting: messages that may wait for the disk.
            period_sec: between two batches.

        Raises:
            SettingsError: the suffix is another one, or the file cannot be opened.
        """
        self.path = path
        self.written = 0
        self.dropped = 0
        self._on_trouble = on_trouble
        self._max_waiting = max_waiting
        self._period_sec = period_sec
        self._queue: deque[tuple[int, list[bytes]]] = deque()
        self._offered = 0
        self._taken = 0
        self._overflowing = False
        self._failure: str | None = None
        self._told = False
        self._stopping = threading.Event()
        self._file = _opened(path)
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
        self._thread.start()

    def tapped(self, record: Record) -> Record:
        """What takes the messages of a connection: first to measure them, then for the file."""

        def both(
            frames: list[bytes],
            binary: bool,  # noqa: FBT001 - called by position
            timestamp_ns: int,
            read_ns: int,
            error_ns: int,
        ) -> None:
            try:
                record(frames, binary, timestamp_ns, read_ns, error_ns)
            finally:
                self._offer(frames, timestamp_ns)

        return both

    def stop(self) -> None:
        """Write what waits, and close the file."""
        self._stopping.set()
        self._thread.join(_STOP_WITHIN_SEC)
        waiting = self._offered - self._taken
        if self._thread.is_alive():
            self.dropped += waiting
            self._on_trouble(f"{self.path}: the disk is too slow; {waiting} messages are lost.")
        self._tell_failure()
        extra = {"path": str(self.path), "messages": self.written, "dropped": self.dropped}
        (_LOG.warning if self.dropped else _LOG.info)("recording ended", extra=extra)

    def _offer(self, frames: list[bytes], timestamp_ns: int) -> None:
        count = len(frames)
        if self._failure is not None:
            self.dropped += count
            self._tell_failure()
        elif self._offered - self._taken + count > self._max_waiting:
            self.dropped += count
            if not self._overflowing:
                self._overflowing = True
                self._on_trouble(f"{self.path}: the disk is too slow; messages are dropped.")
        else:
            self._overflowing = False
            self._offered += count
            self._queue.append((timestamp_ns, frames))

    def _tell_failure(self) -> None:
        if self._failure is not None and not self._told:
            self._told = True
            self._on_trouble(
                f"{self.path}: cannot be written: {self._failure}; the recording ends here, the "
                "measurement goes on."
            )

    def _run(self) -> None:
        try:
            with self._file:
                while not self._stopping.wait(self._period_sec):
                    self._write_waiting()
                self._write_waiting()
        except (OSError, zlib.error, zstd.ZstdError) as error:
            self._failure = getattr(error, "strerror", None) or str(error)
            self.dropped += self._offered - self._taken

    def _write_waiting(self) -> None:
        """Write all that waits, in one piece, and so that a reader of the file finds it there."""
        batch = [self._queue.popleft() for _ in range(len(self._queue))]
        if not batch:
            return
        lines = [
            b"%d %b\n" % (at_ns, frame)
            for at_ns, frames in batch
            for frame in frames
            if not frame.startswith(_ANSWERS)
        ]
        self._file.write(b"".join(lines))
        self._file.flush()
        self.written += len(lines)
        self._taken += sum(len(frames) for _, frames in batch)


def _opened(path: Path) -> gzip.GzipFile | zstd.ZstdFile:
    if path.suffix not in _SUFFIXES:
        raise SettingsError(
            f"--record {path}: the name must end with {' or '.join(_SUFFIXES)}, which says how the "
            "file is compressed."
        )
    try:
        if path.suffix == ".gz":
            return gzip.GzipFile(path, "ab", compresslevel=_GZIP_LEVEL)
        return zstd.ZstdFile(path, "ab")
    except OSError as error:
        raise SettingsError(f"--record {path}: cannot be written: {error.strerror}.") from error
