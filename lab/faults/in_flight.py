"""Faults of an established connection: its bytes, its frames, its end."""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from latency_sweep.lab.faults import frames as f
from latency_sweep.lab.faults.fault import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from latency_sweep.lab.faults.proxy import Link

_EVENT_TIME: Final = re.compile(rb'"E":(\d+)')
_TICK_SEC: Final = 0.01
_US_PER_SEC: Final = 1_000_000


class OnConnection(Fault):
    """Affects the existing connections only."""

    lasting = False


class Reset(OnConnection):
    """A TCP reset."""

    def began(self, link: Link) -> None:
        """Reset the probe's side."""
        link.reset()


class HalfOpen(OnConnection):
    """The peer disappears without closing; for the probe the connection stays open."""

    sticky = True

    def began(self, link: Link) -> None:
        """Stop responding."""
        link.vanish()

    def exchange_ended(self, link: Link) -> None:
        """Do not pass it on."""


class Close(OnConnection):
    """A close frame, then the end of the connection."""

    def __init__(self, code: int | None) -> None:
        """Close with `code`, or without one for None."""
        self._code = code

    def began(self, link: Link) -> None:
        """Close."""
        link.send(f.close(self._code))
        link.close()


class Violation(OnConnection):
    """One frame that violates the protocol, instead of the next data frame."""

    def __init__(self, make: Callable[[bytes], bytes]) -> None:
        """`make` turns the frame it replaces into the violation."""
        self._make = make
        self._done: set[Link] = set()

    def downstream(self, link: Link, frames: list[bytes]) -> None:
        """Replace one data frame per connection."""
        for frame in frames:
            if f.is_data(frame) and link not in self._done:
                self._done.add(link)
                link.send(self._make(frame))
            else:
                link.send(frame)


class CutMidFrame(OnConnection):
    """The connection ends in the middle of a frame."""

    def downstream(self, link: Link, frames: list[bytes]) -> None:
        """Send half of the first frame and cut the connection."""
        link.send(frames[0][: len(frames[0]) // 2])
        link.cut()


class EndWithData(OnConnection):
    """The connection ends in the moment in which frames arrive."""

    def __init__(self, end: Callable[[Link], None]) -> None:
        """`end` ends the probe's side."""
        self._end = end
        self._done: set[Link] = set()

    def downstream(self, link: Link, frames: list[bytes]) -> None:
        """Send the frames and end the connection."""
        if link not in self._done:
            self._done.add(link)
            link.send(b"".join(frames))
            self._end(link)

    def exchange_ended(self, link: Link) -> None:
        """The probe's side has its own end."""


class Flood(OnConnection):
    """Thousands of frames that bring nothing, before the next message."""

    def __init__(self, flood: bytes) -> None:
        """Send `flood`, whole frames."""
        self._flood = flood

    def began(self, link: Link) -> None:
        """Send it."""
        link.send(self._flood)


class Withholding(Fault):
    """Holds frames back and sends them when the fault is lifted."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._held: dict[Link, deque[tuple[float, bytes]]] = {}
        self._exchange_gone: set[Link] = set()

    def hold(self, link: Link, frames: list[bytes]) -> deque[tuple[float, bytes]]:
        """Hold frames of a connection; returns all that are held, with arrival times."""
        held = self._held.setdefault(link, deque())
        now = time.monotonic()
        held.extend((now, frame) for frame in frames)
        return held

    @property
    def withholds(self) -> bool:
        """Whether any frame is held."""
        return any(self._held.values())

    def release(self, link: Link) -> None:
        """Send everything that is held, in one write."""
        link.send(b"".join(frame for _, frame in self._held.pop(link, ())))

    def forget(self, link: Link) -> None:
        """Drop everything that is held."""
        self._held.pop(link, None)

    def ended(self, link: Link) -> None:
        """Send what is held, and close if the exchange has closed meanwhile."""
        self.release(link)
        if link in self._exchange_gone:
            link.close()

    def exchange_ended(self, link: Link) -> None:
        """Close only after what is held has been sent."""
        self._exchange_gone.add(link)


class Stall(Withholding):
    """No traffic in either direction, without a close; then everything arrives late."""

    lasting = False

    def __init__(self) -> None:
        """Hold nothing yet."""
        super().__init__()
        self._upstream: dict[Link, list[bytes]] = {}

    def downstream(self, link: Link, frames: list[bytes]) -> None:
        """Hold."""
        self.hold(link, frames)

    def upstream(self, link: Link, frames: list[bytes]) -> None:
        """Hold."""
        self._upstream.setdefault(link, []).extend(frames)

    def ended(self, link: Link) -> None:
        """Release both directions."""
        link.forward(b"".join(self._upstream.pop(link, ())))
        super().ended(link)


class StreamStall(OnConnection):
    """A stalled stream: no more messages, while pings are answered."""

    sticky = True

    def downstream(self, link: Link, frames: list[bytes]) -> None:
        """Pass control frames only."""
        link.send(b"".join(frame for frame in frames if not f.is_data(frame)))


class Quiet(Fault):
    """No connection brings a message, as in a quiet market; pings are answered."""

    def downstream(self, link: Link, frames: list[bytes]) -> None:
        """Pass control frames only."""
        link.send(b"".join(frame for frame in frames if not f.is_data(frame)))


class Backlog(Withholding):
    """Messages are held while pings are answered, and arrive when the probe closes."""

    lasting = False
    sticky = True

    def __init__(self, delay_sec: float) -> None:
        """Release `delay_sec` after the probe's close frame."""
        super().__init__()
        self._delay_sec = delay_sec

    def downstream(self, link: Link, frames: list[bytes]) -> None:
        """Hold all but control frames."""
        self.hold(link, [frame for frame in frames if f.is_data(frame)])
        link.send(b"".join(frame for frame in frames if not f.is_data(frame)))

    def upstream(self, link: Link, frames: list[bytes]) -> None:
        """Delay a close frame, and release what is held just before it."""
        link.forward(b"".join(frame for frame in frames if not f.is_close(frame)))
        for close in filter(f.is_close, frames):
            asyncio.get_running_loop().call_later(self._delay_sec, self._let_go, link, close)

    def _let_go(self, link: Link, close: bytes) -> None:
        self.release(link)
        link.forward(close)

    def exchange_ended(self, link: Link) -> None:
        """Drop what is held and close."""
        self.forget(link)
        link.close()


class Delay(Withholding):
    """Everything from the exchange arrives later by a constant."""

    def __init__(self, delay_sec: float) -> None:
        """Delay by `delay_sec`."""
        super().__init__()
        self._delay_sec = delay_sec

    def downstream(self, link: Link, frames: list[bytes]) -> None:
        """Hold for the delay."""
        self.hold(link, frames)
        asyncio.get_running_loop().call_later(self._delay_sec, self._send_due, link)

    def _send_due(self, link: Link) -> None:
        held = self._held.get(link)
        until = time.monotonic() - self._delay_sec
        while held and held[0][0] <= until + _TICK_SEC:
            link.send(held.popleft()[1])


class Throttle(Withholding):
    """Limited bandwidth; the rest queues up."""

    def __init__(self, bytes_per_sec: float) -> None:
        """Pass `bytes_per_sec`."""
        super().__init__()
        self._bytes_per_sec = bytes_per_sec
        self._busy: set[Link] = set()

    def downstream(self, link: Link, frames: list[bytes]) -> None:
        """Queue."""
        self.hold(link, frames)
        if link not in self._busy:
            self._busy.add(link)
            self._next(link)

    def _next(self, link: Link) -> None:
        held = self._held.get(link)
        if not held:
            self._busy.discard(link)
            return
        frame = held.popleft()[1]
        link.send(frame)
        pause_sec = len(frame) / self._bytes_per_sec
        asyncio.get_running_loop().call_later(pause_sec, self._next, link)


class Join(Withholding):
    """Hundreds of frames arrive in one write."""

    def __init__(self, count: int) -> None:
        """Join at least `count` frames; the rest is sent at the end."""
        super().__init__()
        self._count = count

    def downstream(self, link: Link, frames: list[bytes]) -> None:
        """Hold until there are enough."""
        if len(self.hold(link, frames)) >= self._count:
            self.release(link)


class SingleBytes(Fault):
    """Every byte is a write of its own."""

    def downstream(self, link: Link, frames: list[bytes]) -> None:
        """Write byte by byte."""
        for frame in frames:
            for byte in frame:
                link.send(bytes((byte,)))


class Fragments(Fault):
    """Every message is fragmented, with pings between the fragments."""

    def __init__(self, pieces: int) -> None:
        """Cut into `pieces` fragments."""
        self._pieces = pieces

    def downstream(self, link: Link, frames: list[bytes]) -> None:
        """Fragment."""
        for frame in frames:
            link.send(f.in_fragments(frame, self._pieces) if f.is_data(frame) else frame)


class EveryFrame(Fault):
    """Changes every message."""

    def __init__(self, change: Callable[[bytes], bytes]) -> None:
        """Replace each frame by `change(frame)`; an empty result drops it."""
        self._change = change

    def downstream(self, link: Link, frames: list[bytes]) -> None:
        """Change."""
        link.send(b"".join(self._change(x) if f.is_data(x) else x for x in frames))


class EveryNth(EveryFrame):
    """Changes every n-th message, counted over all streams."""

    def __init__(self, n: int, change: Callable[[bytes], bytes]) -> None:
        """Change every n-th frame."""
        super().__init__(lambda frame: change(frame) if self._is_due() else frame)
        self._n = n
        self._count = 0

    def _is_due(self) -> bool:
        self._count += 1
        return self._count % self._n == 0


class Reorder(Fault):
    """Every n-th message arrives right after its successor in the same stream."""

    def __init__(self, n: int) -> None:
        """Delay every n-th message."""
        self._n = n
        self._count = 0
        self._held: dict[tuple[Link, bytes], bytes] = {}

    def downstream(self, link: Link, frames: list[bytes]) -> None:
        """Swap."""
        for frame in frames:
            if not f.is_data(frame):
                link.send(frame)
                continue
            key = link, _stream_of(frame)
            before = self._held.pop(key, b"")
            self._count += 1
            if not before and self._count % self._n == 0:
                self._held[key] = frame
            else:
                link.send(frame + before)

    def ended(self, link: Link) -> None:
        """Send what is still held."""
        for key in [key for key in self._held if key[0] is link]:
            link.send(self._held.pop(key))


class NoPings(Fault):
    """The server's pings are dropped."""

    def downstream(self, link: Link, frames: list[bytes]) -> None:
        """Drop pings."""
        link.send(b"".join(frame for frame in frames if not f.is_ping(frame)))


class AgeLimit(Fault):
    """A connection is closed without warning at an age limit: the 24 h, scaled."""

    def __init__(self, limit_sec: float) -> None:
        """Close at the age `limit_sec`."""
        self._limit_sec = limit_sec

    def downstream(self, link: Link, frames: list[bytes]) -> None:
        """Pass frames on until then."""
        super().downstream(link, frames)
        if time.monotonic() - link.opened > self._limit_sec:
            link.send(f.close(1001))
            link.close()


def shift_event_time(frame: bytes, seconds: float) -> bytes:
    """The frame with its event time shifted by `seconds`."""

    def later(match: re.Match[bytes]) -> bytes:
        return b'"E":%d' % (int(match.group(1)) + round(seconds * _US_PER_SEC))

    return f.text(_EVENT_TIME.sub(later, f.payload(frame)))


class ClockSteps(Fault):
    """The exchange's clock steps back and forth."""

    def __init__(self, step_sec: float, period_sec: float) -> None:
        """Step by `step_sec` and back, each for `period_sec`."""
        self._step_sec = step_sec
        self._period_sec = period_sec
        self._since = time.monotonic()

    def downstream(self, link: Link, frames: list[bytes]) -> None:
        """Shift event times in every second period."""
        stepped = int((time.monotonic() - self._since) / self._period_sec) % 2 == 0
        for frame in frames:
            shift = stepped and f.is_data(frame)
            link.send(shift_event_time(frame, self._step_sec) if shift else frame)


def _stream_of(frame: bytes) -> bytes:
    """The name of the stream that a combined frame belongs to."""
    return f.payload(frame).split(b'"', 4)[3]
