"""What a contest over random blocks found, as plain data. Ratios are plain numbers (0.05: 5 %)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.results import Interval


@dataclass(frozen=True, slots=True)
class Lead:
    """By how much the leader is faster than a rival.

    Attributes:
        interval: of the mean difference of log p99 over the measured period as a ratio of the
            leader's p99 (0.05: the rival is 5 % slower), valid however often it is looked at and
            widened by the clocks of hosts that were kept. None for an end that is not known.
        blocks: blocks that both took part in until the decision.
        proven_after: after how many blocks of the sweep the leader was proven faster; None if not.
        dropped_after: after how many the rival was dropped; None if it was not.
        beyond_margin: whether the whole interval is beyond the margin.
    """

    interval: Interval
    blocks: int
    proven_after: int | None
    dropped_after: int | None
    beyond_margin: bool


@dataclass(frozen=True, slots=True)
class DroppedCandidate:
    """A candidate that was beaten early.

    Attributes:
        name: of the candidate.
        leader: name of the candidate that led then.
        block: after how many blocks of the sweep.
    """

    name: str
    leader: str
    block: int


@dataclass(frozen=True, slots=True)
class BlockFindings:
    """The contest over blocks at random times.

    Attributes:
        measured: blocks that there are.
        most: blocks by which the question is to be settled.
        rests_on: how many the conclusion rests on, the first ones.
        first: `run` label of the first block.
        last: of the last block that the conclusion rests on.
        days: UTC days on which it rests.
        kept_hosts: whether instances took part in more than one block, so that the conclusion is
            about these instances.
        general: whether the winner is proven faster than all others in general, a day counting
            once.
        fewest_days: days that this takes at least; None if the sweep has too few for it.
        dropped: candidates that were dropped, in order.
        survivors: names of the others.
    """

    measured: int
    most: int
    rests_on: int
    first: str
    last: str
    days: int
    kept_hosts: bool
    general: bool
    fewest_days: int | None
    dropped: tuple[DroppedCandidate, ...]
    survivors: tuple[str, ...]

    @property
    def exhausted(self) -> bool:
        """Whether all blocks are measured."""
        return self.measured >= self.most
