"""Which ids are missing, in a table of fixed size that tells how two places differ.

The table is an invertible Bloom lookup table (Goodrich & Mitzenmacher 2011) of ranges of ids. Its
cells are sums, so that subtracting one table from another leaves the ranges that only one of them
has: what both have cancels, however much that is. The few that remain can be read off again
(Eppstein, Goodrich, Uyeda & Varghese 2011, "What's the difference?"). Removing a range undoes
adding it.

Each cell is four numbers that a float64 holds exactly, so that a sample of Prometheus can carry
them: the number of ranges in it, and the sums modulo 2**53 of their first ids, of their lengths
and of a checksum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# A range is in one cell of each part. Two that share all their cells cannot be told apart: that is
# one case in 5,000 for 20 differences; about 50 fill the table.
PARTS: Final = 5
CELLS_PER_PART: Final = 16
CELLS: Final = PARTS * CELLS_PER_PART
_BITS: Final = CELLS_PER_PART.bit_length() - 1  # of the hash, for the cell in each part
_PARTS: Final = tuple((part * CELLS_PER_PART, part * _BITS) for part in range(PARTS))

FIELDS: Final = ("ranges", "first", "length", "check")
MODULUS: Final = 2**53
_WIDTH: Final = len(FIELDS)
_WORD: Final = 2**64 - 1
_CHECK_SHIFT: Final = 32  # the upper half of the hash is the checksum, the lower one says where


class IdRange(NamedTuple):
    """Consecutive ids.

    Attributes:
        first: the first of them.
        last: the last of them, inclusive.
    """

    first: int
    last: int

    @property
    def length(self) -> int:
        """How many ids."""
        return self.last - self.first + 1


class Difference(NamedTuple):
    """How two tables differ.

    Attributes:
        only_first: ranges that only the first has, in order.
        only_second: ranges that only the second has, in order.
    """

    only_first: tuple[IdRange, ...]
    only_second: tuple[IdRange, ...]


class MissingIds:
    """The table: takes any number of ranges in the same space.

    Ranges of one table do not overlap. Ids are taken modulo 2**53, which no exchange's reach.
    """

    __slots__ = ("_sums", "_used")

    def __init__(self) -> None:
        self._sums = [0] * (CELLS * _WIDTH)  # the modulus is taken when they are read
        self._used = bytearray(CELLS)

    @classmethod
    def of_samples(cls, samples: Mapping[tuple[int, str], int]) -> MissingIds:
        """The table that samples describe: a number for each cell and name of `FIELDS`.

        Raises:
            ValueError: they describe no table.
        """
        table = cls()
        for (cell, field), value in samples.items():
            if not 0 <= cell < CELLS or field not in FIELDS or not 0 <= value < MODULUS:
                raise ValueError(f"no table has {field} {value} in cell {cell}")
            table._sums[cell * _WIDTH + FIELDS.index(field)] = value
            table._used[cell] = 1
        totals = [table._total(part) for part in range(PARTS)]
        if any(total != totals[0] for total in totals):
            raise ValueError("the parts of a table hold different ranges")
        return table

    def samples(self) -> Iterator[tuple[int, str, int]]:
        """Cell, name of the field and value, of every cell that was ever used."""
        for cell, used in enumerate(self._used):
            if used:
                for number, field in enumerate(FIELDS):
                    yield cell, field, self._sums[cell * _WIDTH + number] % MODULUS

    @property
    def ranges(self) -> int:
        """How many ranges it holds."""
        return self._total(0)[0]

    @property
    def ids(self) -> int:
        """How many ids its ranges cover."""
        return self._total(0)[2]

    def add(self, missing: IdRange) -> None:
        """Put a range into the table."""
        self._change(missing.first % MODULUS, missing.length, 1)

    def remove(self, found: IdRange) -> None:
        """Take out a range that was put in."""
        self._change(found.first % MODULUS, found.length, -1)

    def difference(self, other: MissingIds) -> Difference | None:
        """Which ranges only one of two tables has; None if they are too many to be read off."""
        rest = MissingIds()
        rest._sums = [mine - theirs for mine, theirs in zip(self._sums, other._sums, strict=True)]
        found: dict[int, list[IdRange]] = {1: [], -1: []}
        waiting = list(range(CELLS))
        while waiting:
            alone = rest._alone(waiting.pop())
            if alone is None:
                continue
            if len(found[1]) + len(found[-1]) == CELLS:
                return None  # more than fit: what was taken for a range was none
            sign, only = alone
            found[sign].append(only)
            rest._change(only.first, only.length, -sign)
            waiting += _cells(_hash(only.first, only.length))
        if any(value % MODULUS for value in rest._sums):
            return None
        return Difference(tuple(sorted(found[1])), tuple(sorted(found[-1])))

    def _total(self, part: int) -> tuple[int, ...]:
        """Sums over all cells of a part, as many as there are fields."""
        begin, end = (bound * CELLS_PER_PART * _WIDTH for bound in (part, part + 1))
        sums = self._sums
        return tuple(sum(sums[begin + field : end : _WIDTH]) % MODULUS for field in range(_WIDTH))

    def _change(self, first: int, length: int, sign: int) -> None:
        hashed = _hash(first, length)
        check = sign * (hashed >> _CHECK_SHIFT)
        first, length = sign * first, sign * length
        sums, used = self._sums, self._used
        for cell in _cells(hashed):
            used[cell] = 1
            at = cell * _WIDTH
            sums[at] += sign
            sums[at + 1] += first
            sums[at + 2] += length
            sums[at + 3] += check

    def _alone(self, cell: int) -> tuple[int, IdRange] | None:
        """The range that is alone in a cell, and 1 or -1 for where; None if none is."""
        sums, at = self._sums, cell * _WIDTH
        sign = {1: 1, MODULUS - 1: -1}.get(sums[at] % MODULUS)
        if sign is None:
            return None
        first, length, check = (sign * value % MODULUS for value in sums[at + 1 : at + _WIDTH])
        hashed = _hash(first, length)
        if hashed >> _CHECK_SHIFT != check or cell not in _cells(hashed):
            return None
        return sign, IdRange(first, first + length - 1)


def _cells(hashed: int) -> list[int]:
    """The cells that a range is in, by its hash."""
    return [begin + (hashed >> shift) % CELLS_PER_PART for begin, shift in _PARTS]


def _hash(first: int, length: int) -> int:
    return _mix(_mix(first) + length)


def _mix(value: int) -> int:
    """64 bits: the finalizer of SplitMix64 (Steele, Lea & Flood 2014)."""
    value = (value + 0x9E3779B97F4A7C15) & _WORD
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _WORD
    return value ^ (value >> 31)
