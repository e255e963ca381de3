"""What a recording needs of the experiment, so that all of it is measured in one run.

Runs count messages by event time, so the run's measurement has to contain the event time of every
frame as it is replayed: the recorded one, moved by the time between recording and replay.
"""

from __future__ import annotations

import gzip
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from deploy.local.exchange.events import TimeUnit
from deploy.local.exchange.replay import read_recording
from probe.contract.experiment import Experiment, Timing
from probe.contract.timeline import NS_PER_SEC, Run, Timeline

if TYPE_CHECKING:
    from pathlib import Path

UnitName = Literal["MILLISECOND", "MICROSECOND"]
# Between the start of the measurement and the first event time, and after the last one.
_MARGIN_NS: Final = NS_PER_SEC
# By how much the cool-down may grow to let the run start sooner.
_EXTRA_COOLDOWN_SEC: Final = 60
_MICROSECOND_EVENT: Final = re.compile(rb'"E":[0-9]{16}[,}]')
_GZIP_MAGIC: Final = b"\x1f\x8b"


class RecordingError(Exception):
    """The recording cannot be measured; the message says why, in one sentence."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording, as far as the timeline is concerned.

    Attributes:
        file: where it is.
        unit: unit of its event times, as the exchange's configuration names it.
        speed: how many times faster it is replayed than it was recorded.
        frames: how many it holds.
        streams: stream names without symbol, `depth@100ms`, in order of appearance.
        symbols: upper case, in order of appearance.
        earliest_ns: earliest replayed event time after the start of the replay; may be negative.
        latest_ns: latest replayed event time after the start of the replay.
        duration_ns: from the first replayed frame to the last.
    """

    file: Path
    unit: UnitName
    speed: float
    frames: int
    streams: tuple[str, ...]
    symbols: tuple[str, ...]
    earliest_ns: int
    latest_ns: int
    duration_ns: int

    def adapted(self, experiment: Experiment, ready_by_ns: int) -> Experiment:
        """The experiment with symbols, streams and a timeline to fit the recording.

        The measurement is as long as the recording. Runs start at whole multiples of a run's
        length since 1970; a few more seconds of cool-down can bring a start much nearer.

        Args:
            experiment: the experiment to adapt.
            ready_by_ns: Unix nanoseconds before which no run is wanted.

        Raises:
            RecordingError: none of the experiment's streams were recorded.
        """
        streams = [s for s in experiment.market_data.streams if s in self.streams]
        if not streams:
            raise RecordingError(
                f"{self.file}: none of the streams {', '.join(experiment.market_data.streams)} "
                f"was recorded, but {', '.join(self.streams)}."
            )
        document = experiment.model_dump(by_alias=True)
        document["market_data"] |= {"streams": streams, "symbols": list(self.symbols)}
        timing = document["timing"]
        length_ns = self.latest_ns - self.earliest_ns + 2 * _MARGIN_NS
        timing["measurement_sec"] = math.ceil(length_ns / NS_PER_SEC) + 1
        late_ns = max(0, self.duration_ns - self.latest_ns)
        cooldown_sec = timing["cooldown_sec"] + math.ceil(late_ns / NS_PER_SEC)

        def end_ns(extra_sec: int) -> int:
            timing["cooldown_sec"] = cooldown_sec + extra_sec
            return first_run(Timeline.of(Timing(**timing)), ready_by_ns).end_ns

        timing["cooldown_sec"] = cooldown_sec + min(range(_EXTRA_COOLDOWN_SEC), key=end_ns)
        return Experiment.model_validate(document)

    def start_ns(self, run: Run) -> int:
        """When the replay starts, so that `run` measures all of it; Unix nanoseconds."""
        return run.measure_start_ns + _MARGIN_NS - self.earliest_ns


def first_run(timeline: Timeline, not_before_ns: int) -> Run:
    """The first run whose warm-up starts at `not_before_ns` or later."""
    run = timeline.run_at(not_before_ns)
    return run if run.start_ns >= not_before_ns else timeline.run_after(run)


def inspect(file: Path, *, speed: float) -> Recording:
    """Read a recording: lines of `<receive stamp, Unix µs> <combined frame>`, plain or gzip.

    Raises:
        ReplayError: unreadable, a malformed line, or no frame at all.
    """
    unit: UnitName = "MICROSECOND" if _has_microseconds(file) else "MILLISECOND"
    frames = read_recording(file, TimeUnit[unit])
    first_ns = frames[0].received_ns
    event_ns = [
        round((f.received_ns - first_ns) / speed) + f.event_ns - f.received_ns for f in frames
    ]
    names = [frame.stream.partition("@") for frame in frames]
    return Recording(
        file=file,
        unit=unit,
        speed=speed,
        frames=len(frames),
        streams=tuple(dict.fromkeys(stream for _, _, stream in names if stream)),
        symbols=tuple(dict.fromkeys(symbol.upper() for symbol, _, stream in names if stream)),
        earliest_ns=min(event_ns),
        latest_ns=max(event_ns),
        duration_ns=round((frames[-1].received_ns - first_ns) / speed),
    )


def _has_microseconds(file: Path) -> bool:
    """Whether the first event time of a recording has 16 digits; False if it cannot be read."""
    try:
        with file.open("rb") as start:
            compressed = start.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        with gzip.open(file) if compressed else file.open("rb") as lines:
            event = next((line for line in lines if b'"E":' in line), b"")
    except (OSError, EOFError):
        return False
    return _MICROSECOND_EVENT.search(event) is not None
