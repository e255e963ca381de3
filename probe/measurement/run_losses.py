"""What is missing of each run, so that `analyze` can compare it with what other places miss.

The counters of the sequence check cannot tell a message that was lost on the way from an id that
was never sent to anybody. Which ids are missing can: see `contract.missing_ids`. A missing id
belongs to the run in which the message after it was sent, so that all places assign it alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.contract.missing_ids import IdRange, MissingIds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.contract.timeline import Run


class RunLosses:
    """What one channel lost of one run.

    Attributes:
        run: which run.
        lost: messages counted as lost, those that arrived later included.
        missing: of these, messages that have not arrived.
        ids: their ids; None while nothing was ever lost.
        followed: first and last id of those that were followed while the run lasted; None until
            that is known not to change any more.
    """

    __slots__ = ("followed", "ids", "lost", "missing", "run")

    def __init__(self, run: Run) -> None:
        self.run = run
        self.lost = 0
        self.missing = 0
        self.ids: MissingIds | None = None
        self.followed: IdRange | None = None


class LossesByRun:
    """The losses of one channel in the runs that are exposed: the current one and the one before.

    Each change names the event time of the message that followed the gap, Unix nanoseconds. What
    belongs to no exposed run is not recorded; the counters have it.
    """

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        self._runs: list[RunLosses] = []

    @property
    def runs(self) -> Sequence[RunLosses]:
        """Those that are exposed, in order of time."""
        return self._runs

    def begin(self, run: Run) -> None:
        """Record another run from its first event on."""
        self._runs.append(RunLosses(run))

    def forget(self, label: str) -> None:
        """Drop a run that is no longer exposed."""
        self._runs = [losses for losses in self._runs if losses.run.label != label]

    def lose(self, missing: IdRange, messages: int, event_ns: int | None) -> None:
        """Count a range of ids as lost.

        Args:
            missing: the ids.
            messages: how many messages they are, one at least.
            event_ns: when the message after them was sent.
        """
        losses = self._at(event_ns)
        if losses is not None:
            if losses.ids is None:
                losses.ids = MissingIds()
            losses.ids.add(missing)
            losses.lost += messages
            losses.missing += messages

    def recover(
        self,
        missing: IdRange,
        rests: Sequence[IdRange],
        messages: int,
        event_ns: int | None,
    ) -> None:
        """Replace a lost range by what is missing of it after a message has arrived.

        Args:
            missing: the range that was lost.
            rests: what is still missing of it, two ranges at most.
            messages: how many messages it is less; negative where it turns out to be more.
            event_ns: as it was given when the range was lost.
        """
        losses = self._at(event_ns)
        if losses is not None and losses.ids is not None:
            losses.ids.remove(missing)
            for rest in rests:
                losses.ids.add(rest)
            losses.missing -= messages
            losses.lost -= min(messages, 0)

    def take_back(self, missing: IdRange, messages: int, event_ns: int | None) -> None:
        """Undo `lose`: nothing was ever missing there."""
        losses = self._at(event_ns)
        if losses is not None and losses.ids is not None:
            losses.ids.remove(missing)
            losses.lost -= messages
            losses.missing -= messages

    def end_before(self, event_ns: int | None, followed: IdRange) -> None:
        """What runs that had ended by an event time have followed does not change any more.

        Args:
            event_ns: when a message after a gap, or of a new numbering, was sent.
            followed: the ids followed until then.
        """
        if event_ns is None:
            return
        for losses in self._runs:
            if losses.run.end_ns <= event_ns and losses.followed is None:
                losses.followed = followed

    def _at(self, event_ns: int | None) -> RunLosses | None:
        if event_ns is None:
            return None
        for losses in self._runs:
            if losses.run.start_ns <= event_ns < losses.run.end_ns:
                return losses
        return None
