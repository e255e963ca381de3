"""A sign-flip test that may be looked at after every block, and the interval that inverts it.

Each block gives one difference between two candidates. If the two are equal, a difference could as
well have had the opposite sign, so all patterns of signs are equally likely given the sizes (Fisher
1935). Every pattern makes a path of partial sums, and at each look the boundary is set so that the
share of patterns whose path has crossed by then does not exceed what may be spent by then (Lan &
DeMets 1983, linear spending). The boundary of a look depends on the sizes of the differences up to
that look only: more data never change an earlier decision, and the number of looks costs nothing.

Instead of all 2^n patterns a group of `PATTERNS` of them is used that contains all of them for up
to twelve differences. A group keeps the test exact (Hemerik & Goeman 2018), where patterns drawn at
random would not. Any three signs of the group are independent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

_BITS: Final = 12
PATTERNS: Final = 2**_BITS
# As many differences have signs of their own in the group; later ones repeat them.
MAX_DIFFERENCES: Final = PATTERNS // 2
# Sums that differ by rounding only are equal.
_ROUNDING: Final = 1e-12
# How finely ends of intervals are found, as a share of the spread; far below any noise.
_FINENESS: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Spending:
    """How much error may be spent by when.

    Attributes:
        alpha: one-sided error probability over all looks, 0 to 1.
        cap: number of differences by which all of it may be spent, 1 or more.
        first: number of differences at the first look.
    """

    alpha: float
    cap: int
    first: int = 5

    def patterns(self, size: int) -> int:
        """How many of the `PATTERNS` may have crossed after so many differences."""
        if size < self.first:
            return 0
        share = self.alpha * min(1.0, size / self.cap)
        return math.floor(share * PATTERNS * (1 + _ROUNDING))


def boundaries(differences: ArrayLike, spending: Spending) -> Floats:
    """What the sum of the differences must exceed at each look.

    Args:
        differences: finite numbers in the order of time, shape (n,).
        spending: the error that may be made.

    Returns:
        Shape (n,), in the unit of the differences; infinite where no sum is significant.
    """
    values = np.asarray(differences, dtype=np.float64)
    found = np.full(values.size, np.inf)
    if values.size < spending.first:
        return found
    signs = _signs(values.size)
    slack = _ROUNDING * np.cumsum(np.abs(values))
    path = np.zeros(PATTERNS)
    spent = 0
    for size, value in enumerate(values, start=1):
        path += signs[size - 1] * value
        left = spending.patterns(size) - spent
        if left <= 0:
            continue
        bound = np.partition(path, PATTERNS - left - 1)[PATTERNS - left - 1] + slack[size - 1]
        crossed = path > bound
        number = int(np.count_nonzero(crossed))
        if not number:
            continue  # ties: the fewest that can cross are more than are left
        found[size - 1] = bound
        spent += number
        path[crossed] = -np.inf  # and stays there
    return found


def first_rejection(differences: ArrayLike, spending: Spending) -> int | None:
    """After how many differences a mean above zero was first proven; None if it is not.

    Args:
        differences: finite numbers in the order of time.
        spending: the error that may be made over all looks together.
    """
    values = np.asarray(differences, dtype=np.float64)
    beyond = np.cumsum(values) > boundaries(values, spending)
    return int(np.argmax(beyond)) + 1 if beyond.any() else None


def lower_bound(differences: ArrayLike, spending: Spending) -> float | None:
    """The lower end of the repeated interval of the mean (Jennison & Turnbull 1989).

    The least mean that the look after the last difference does not reject. Over all looks
    together the bound is above the mean with a probability of at most `alpha`.

    Returns:
        In the unit of the differences; None while nothing can be rejected.
    """
    values = np.asarray(differences, dtype=np.float64)
    if not values.size:
        return None

    def rejects(mean: float) -> bool:
        shifted = values - mean
        return bool(shifted.sum() > boundaries(shifted, spending)[-1])

    # Below the least difference all signs are positive, which is as significant as can be.
    spread = float(values.max() - values.min()) or max(abs(float(values[0])), 1.0)
    rejected, kept = float(values.min()) - 1e-6 * spread, float(values.mean())
    if not rejects(rejected):
        return None
    while kept - rejected > _FINENESS * spread:
        middle = (rejected + kept) / 2
        if rejects(middle):
            rejected = middle
        else:
            kept = middle
    return rejected


def fewest_differences(spending: Spending) -> int:
    """From how many differences on anything can be significant."""
    size = spending.first
    # Patterns that agree in all signs seen so far cross together.
    while size < _BITS and spending.patterns(size) < PATTERNS >> size:
        size += 1
    return size


@cache
def _signs(size: int) -> Floats:
    """The signs of each difference in each pattern, shape (size, PATTERNS); a group.

    Pattern p gives difference i the parity of the bits that p and the mask of i have in common.
    The first masks have one bit each, and all have an odd number of them: the sum of three is then
    never zero, and the pattern of all bits reverses every sign.
    """
    index = np.arange(PATTERNS)
    parity = np.array([int(number).bit_count() & 1 for number in index])
    odd = index[parity == 1]
    single = 1 << np.arange(_BITS)
    others = np.random.default_rng(20).permutation(np.setdiff1d(odd, single))
    masks = np.resize(np.concatenate([single, others]), size)
    signs = 1.0 - 2.0 * parity[index[np.newaxis, :] & masks[:, np.newaxis]]
    signs.setflags(write=False)
    return np.asarray(signs)
