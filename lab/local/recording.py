"""What a recording needs of the experiment, so that all of it is measured in one run.

Runs count messages by event time, so the run's measurement has to contain the event time of every
frame as it is replayed: the recorded one, moved by the time between recording and replay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from pydantic import ValidationError

from latency_sweep.contract.experiment import Experiment, Timing, explain
from latency_sweep.contract.recorded_frames import channel_of
from latency_sweep.contract.timeline import NS_PER_SEC, Run, Timeline
from latency_sweep.lab.exchange.sources.replay import read_recording

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Between the start of the measurement and the first event time, and after the last one.
_MARGIN_NS: Final = NS_PER_SEC
# By how much the cool-down may grow to let the run start sooner.
_EXTRA_COOLDOWN_SEC: Final = 60


class RecordingError(Exception):
    """The recording cannot be measured; the message says why, in one sentence."""


class RecordedChannel(NamedTuple):
    """What frames can be of: a stream name without symbol, `depth@100ms`, and a symbol.

    The symbol is in upper case, and empty for a stream of all symbols.
    """

    stream: str
    symbol: str


@dataclass(frozen=True, slots=True)
class RecordingSummary:
    """A recording, as far as the timeline is concerned.

    Attributes:
        file: where it is.
        speed: how many times faster it is replayed than it was recorded.
        frames: how many it holds.
        channels: what its frames are of, in order of appearance.
        earliest_ns: earliest replayed event time after the start of the replay; may be negative.
        latest_ns: latest replayed event time after the start of the replay.
        duration_ns: from the first replayed frame to the last.
        p99_sec: 99th percentile of its latencies; None if no frame has an event time.
    """

    file: Path
    speed: float
    frames: int
    channels: tuple[RecordedChannel, ...]
    earliest_ns: int
    latest_ns: int
    duration_ns: int
    p99_sec: float | None = None

    def adapted(self, experiment: Experiment, ready_by_ns: int) -> Experiment:
        """The experiment with symbols, streams and a timeline to fit the recording.

        The measurement is as long as the recording. Runs start at whole multiples of a run's
        length since 1970; a few more seconds of cool-down can bring a start much nearer.

        Args:
            experiment: the experiment to adapt.
            ready_by_ns: Unix nanoseconds before which no run is wanted.

        Raises:
            RecordingError: none of the experiment's streams were recorded, or no experiment may
                have the recording's length or symbols.
        """
        wanted = experiment.market_data.streams
        kept = [channel for channel in self.channels if channel.stream in wanted]
        if not kept:
            found = dict.fromkeys(channel.stream for channel in self.channels)
            raise RecordingError(
                f"{self.file}: none of the streams {', '.join(wanted)} was recorded, "
                f"but {', '.join(found)}."
            )
        recorded = {channel.stream for channel in kept}
        document = experiment.model_dump(by_alias=True)
        document["market_data"] |= {
            "streams": [stream for stream in wanted if stream in recorded],
            "symbols": list(dict.fromkeys(channel.symbol for channel in kept)),
        }
        timing = document["timing"]
        length_ns = self.latest_ns - self.earliest_ns + 2 * _MARGIN_NS
        timing["measurement_sec"] = math.ceil(length_ns / NS_PER_SEC) + 1
        late_ns = max(0, self.duration_ns - self.latest_ns)
        cooldown_sec = timing["cooldown_sec"] + math.ceil(late_ns / NS_PER_SEC)

        def end_ns(extra_sec: int) -> int:
            timing["cooldown_sec"] = cooldown_sec + extra_sec
            return first_run(Timeline.of(Timing(**timing)), ready_by_ns).end_ns

        try:
            timing["cooldown_sec"] = cooldown_sec + min(range(_EXTRA_COOLDOWN_SEC), key=end_ns)
            return Experiment.model_validate(document)
        except ValidationError as error:
            raise RecordingError(f"{self.file}: cannot be measured: {explain(error)}.") from error

    def start_ns(self, run: Run) -> int:
        """When the replay starts, so that `run` measures all of it; Unix nanoseconds."""
        return run.measure_start_ns + _MARGIN_NS - self.earliest_ns


def first_run(timeline: Timeline, not_before_ns: int) -> Run:
    """The first run whose warm-up starts at `not_before_ns` or later."""
    run = timeline.run_at(not_before_ns)
    return run if run.start_ns >= not_before_ns else timeline.run_after(run)


def inspect(file: Path, *, speed: float, streams: Sequence[str] = ()) -> RecordingSummary:
    """Read a recording.

    Args:
        file: in any format that `Recording` knows.
        speed: how many times faster than recorded it is to be replayed.
        streams: full names of the streams whose raw messages it holds.

    Raises:
        ReplayError: unreadable, a malformed line, or no frame at all.
    """
    frames = read_recording(file, streams)
    first_ns = frames[0].received_ns
    event_ns = [
        round((f.received_ns - first_ns) / speed) + f.event_ns - f.received_ns for f in frames
    ]
    latencies = [f.received_ns - f.event_ns for f in frames if f.received_ns != f.event_ns]
    return RecordingSummary(
        file=file,
        speed=speed,
        frames=len(frames),
        channels=tuple(
            dict.fromkeys(RecordedChannel(*reversed(channel_of(frame.stream))) for frame in frames)
        ),
        earliest_ns=min(event_ns),
        latest_ns=max(event_ns),
        duration_ns=round((frames[-1].received_ns - first_ns) / speed),
        p99_sec=float(np.percentile(latencies, 99)) / NS_PER_SEC if latencies else None,
    )
