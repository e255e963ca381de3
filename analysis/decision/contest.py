"""The contest of candidates over blocks: who is dropped, and who has beaten all that are left.

It sees logarithms of p99 only, so that simulations and sweeps run through the same rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import stats

from latency_sweep.analysis.stats.sequential import Spending, first_rejection

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Shares of what may go wrong, 1 - confidence: for each pair in each direction, since of two equal
# candidates either may be declared faster by chance; and for all eliminations together.
_PAIR_SHARE: Final = 0.4
_ELIMINATION_SHARE: Final = 0.1
_FEWEST_TO_DROP: Final = 3


@dataclass(frozen=True, slots=True)
class ContestRule:
    """How a contest is held.

    Attributes:
        cap: most blocks that it may take.
        margin: a candidate is dropped only if log p99 is larger by more than this.
        confidence: that a winner is right.
    """

    cap: int
    margin: float
    confidence: float = 0.95

    @property
    def alpha(self) -> float:
        """One-sided error probability of each pair over all looks."""
        return _PAIR_SHARE * (1 - self.confidence)

    @property
    def elimination_alpha(self) -> float:
        """Error probability of all eliminations together."""
        return _ELIMINATION_SHARE * (1 - self.confidence)

    @property
    def spending(self) -> Spending:
        """What each pair may spend."""
        return Spending(self.alpha, self.cap)

    def spending_over_days(self, most_days: int) -> Spending:
        """What each pair may spend over days; half, as neighbouring days are somewhat alike."""
        return Spending(self.alpha / 2, most_days)

    @property
    def elimination_looks(self) -> tuple[int, ...]:
        """After how many blocks candidates are dropped: often first, then ever more rarely."""
        looks, size = [], _FEWEST_TO_DROP
        while size <= self.cap:
            looks.append(size)
            size += 1 if size < 4 else 2 if size < 16 else max(4, size // 4)  # noqa: PLR2004
        return tuple(looks)


@dataclass(frozen=True, slots=True)
class Elimination:
    """A candidate that was dropped: its index, whose lead it was, and after how many blocks."""

    candidate: int
    leader: int
    block: int


@dataclass(frozen=True, slots=True)
class ContestResult:
    """How a contest stands.

    Attributes:
        winner: index of the candidate that has beaten all survivors; None if none has.
        blocks: after how many blocks it had, or how many there are.
        leader: index of the candidate with the lowest mean of log p99 of the survivors then.
        survivors: indices of the candidates that were not dropped.
        eliminations: those that were, in order.
        candidate_blocks: blocks that candidates took part in, added up.
    """

    winner: int | None
    blocks: int
    leader: int
    survivors: tuple[int, ...]
    eliminations: tuple[Elimination, ...]
    candidate_blocks: int


def hold(log_p99: Floats, rule: ContestRule, allowance: Floats | None = None) -> ContestResult:
    """Follow a contest from its first block until it is won, or to the last block there is.

    A candidate is dropped when a paired t test against the leader of the moment says that it is
    slower, with the error shared by all looks and all others (Bonferroni), and is slower by more
    than the margin. The last rival is never dropped. The winner must have beaten every survivor by
    the sequential sign-flip test.
    That is one claim about all pairs, each tested at the full level (intersection-union, Berger
    1982). What happens after the contest is won changes nothing.

    Args:
        log_p99: natural logarithm of p99, shape (candidates, blocks), in the order of time; NaN
            where a candidate has no usable block.
        rule: how it is held.
        allowance: how much of a difference systematic errors explain, in the same unit, shape
            (candidates, candidates); none if None.
    """
    number, size = log_p99.shape
    slack = np.zeros((number, number)) if allowance is None else allowance
    alive = list(range(number))
    dropped: list[Elimination] = []
    beaten: dict[tuple[int, int], int | None] = {}
    looks = frozenset(rule.elimination_looks)
    level = rule.elimination_alpha / max(1, len(looks) * (number - 1))
    spent = 0
    leader = 0
    for block in range(1, size + 1):
        spent += len(alive)
        seen = log_p99[:, :block]
        leader = _leader(seen, alive)
        if block in looks:
            for rival in _farthest_first(seen, leader, alive):
                if len(alive) == 2:  # noqa: PLR2004 - a leader and its last rival
                    break
                lead = _paired(seen, leader, rival) - slack[leader, rival]
                if _clearly_positive(lead, level, rule.margin):
                    alive.remove(rival)
                    dropped.append(Elimination(rival, leader, block))
        if block < rule.spending.first:
            continue
        for rival in alive:
            if rival != leader and (leader, rival) not in beaten:
                beaten[leader, rival] = _beaten_at(log_p99, leader, rival, rule, slack)
        rejected = [beaten[leader, rival] for rival in alive if rival != leader]
        if number > 1 and all(at is not None and at <= block for at in rejected):
            return ContestResult(leader, block, leader, tuple(alive), tuple(dropped), spent)
    return ContestResult(None, size, leader, tuple(alive), tuple(dropped), spent)


def _leader(seen: Floats, alive: list[int]) -> int:
    """The lowest mean over the blocks that all have, or else over each one's own."""
    rows = seen[alive]
    common = np.isfinite(rows).all(axis=0)
    if common.any():
        means = rows[:, common].mean(axis=1)
    else:
        known = np.isfinite(rows)
        sums = np.where(known, rows, 0.0).sum(axis=1)
        means = np.where(known.any(axis=1), sums / np.maximum(known.sum(axis=1), 1), np.inf)
    return alive[int(np.argmin(means))]


def _farthest_first(seen: Floats, leader: int, alive: list[int]) -> list[int]:
    """The leader's rivals by what they are behind, the most first."""
    behind = {}
    for rival in alive:
        if rival != leader and (lead := _paired(seen, leader, rival)).size:
            behind[rival] = float(lead.mean())
    return sorted(behind, key=lambda rival: (-behind[rival], rival))


def _paired(seen: Floats, leader: int, rival: int) -> Floats:
    """Rival minus leader in the blocks that both have."""
    differences = seen[rival] - seen[leader]
    return np.asarray(differences[np.isfinite(differences)])


def _clearly_positive(values: Floats, level: float, margin: float) -> bool:
    if values.size < _FEWEST_TO_DROP:
        return False
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    if mean <= margin:
        return False
    if sd == 0:
        return True
    return bool(stats.t.sf(mean / (sd / np.sqrt(values.size)), values.size - 1) < level)


def _beaten_at(
    log_p99: Floats, leader: int, rival: int, rule: ContestRule, slack: Floats
) -> int | None:
    """After how many blocks of the sweep the leader had beaten a rival."""
    differences = log_p99[rival] - log_p99[leader]
    there = np.flatnonzero(np.isfinite(differences))
    at = first_rejection(differences[there] - slack[leader, rival], rule.spending)
    return None if at is None else int(there[at - 1]) + 1


def holds_in_general(
    log_p99: Floats,
    days: NDArray[np.int64],
    winner: int,
    rule: ContestRule,
    *,
    most_days: int,
    allowance: Floats | None = None,
) -> bool:
    """Whether a candidate has beaten all others by what whole days say.

    A level that lasts a day makes its blocks alike, so a day counts once, with the sum of its
    differences, by the same sequential test over days. That takes days for independent; a level
    that wanders over weeks cannot be told from a lasting one by fewer weeks. Others that were
    dropped early were not measured for long, which proves nothing in general.

    Args:
        log_p99: see `hold`.
        days: day number of each block, ascending; the last day must be over.
        winner: index of the candidate.
        rule: gives the error probability.
        most_days: days by which all of it may be spent.
        allowance: see `hold`.
    """
    spending = rule.spending_over_days(most_days)
    others = [k for k in range(len(log_p99)) if k != winner]
    for rival in others:
        differences = log_p99[rival] - log_p99[winner]
        if allowance is not None:
            differences = differences - allowance[winner, rival]
        there = np.isfinite(differences)
        _, day = np.unique(days[there], return_inverse=True)
        sums = np.bincount(day, weights=differences[there])
        if first_rejection(sums, spending) is None:
            return False
    return bool(others)
