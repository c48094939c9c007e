"""The points of a family as they were rendered, one after the other, in pieces of 64 points.

In pieces of their own, the lines of ten thousand series would be scattered in memory. To put them together
would then cost each scrape more than all the rest, also where nothing changed. In one piece, all of it would
have to be copied where one point changed.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, count, groupby, islice
from operator import add

_AT_ONCE = 64


class Rendered:
    """What the points of a family became, and how many bytes each of them.

    It is changed in place, so that the old lines go one piece after the other while the new ones come, unless
    somebody else has them: where bodies are compressed, the last one stays until the new one is compressed.
    Where a change is interrupted, it is of no use any more.
    """

    __slots__ = ("ends", "pieces")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.ends = array("I")  # where each point ends in its piece

    def update(self, changed: Sequence[int], made: Iterator[bytes], *, size: int) -> None:
        """Be of so many points, with what is made of those that ``changed`` and of the last ones.

        ``changed`` are the places of points that were there before, in ascending order. What is made is put
        together at once, so it is in memory only once.
        """
        known = min(len(self.ends), size)
        if len(changed) == known:
            self._put(0, made)
            return
        groups = groupby(zip(changed, made, strict=False), key=_piece_of)
        if size == len(self.ends):
            for number, group in groups:
                self._replace(number, group)
            return
        # The last piece is made anew where points come or go.
        whole = known // _AT_ONCE
        rest = list(self._each(whole, known))
        for number, group in groups:
            if number < whole:
                self._replace(number, group)
            else:
                for index, line in group:
                    rest[index - whole * _AT_ONCE] = line
        self._put(whole, chain(rest, made))

    def _replace(self, number: int, group: Iterable[tuple[int, bytes]]) -> None:
        """Put other points into these places of a piece."""
        first, ends, at = number * _AT_ONCE, self.ends, 0
        old = memoryview(self.pieces[number])  # of which nothing is copied before it is put together
        parts: list[bytes | memoryview] = []
        grown: dict[int, int] = {}
        for index, line in group:
            start, end = ends[index - 1] if index > first else 0, ends[index]
            parts += (old[at:start], line)
            at = end
            if len(line) != end - start:
                grown[index] = len(line) - (end - start)
        parts.append(old[at:])
        self.pieces[number] = b"".join(parts)
        if grown:
            following = range(first, min(first + _AT_ONCE, len(ends)))
            moved = accumulate(grown.get(index, 0) for index in following)
            ends[first : first + _AT_ONCE] = array("I", map(add, ends[first : first + _AT_ONCE], moved))

    def _put(self, number: int, made: Iterator[bytes]) -> None:
        """Have these in the place of everything from this piece on."""
        end = number * _AT_ONCE
        while lines := list(islice(made, _AT_ONCE)):
            self.pieces[number : number + 1] = (b"".join(lines),)
            self.ends[end : end + _AT_ONCE] = array("I", accumulate(map(len, lines)))
            number, end = number + 1, end + len(lines)
        del self.pieces[number:], self.ends[end:]

    def _each(self, number: int, until: int) -> Iterator[bytes]:
        """What each point became from this piece on and up to this place."""
        for piece, first in zip(self.pieces[number:], count(number * _AT_ONCE, _AT_ONCE), strict=False):
            ends = self.ends[first : min(first + _AT_ONCE, until)]
            yield from map(piece.__getitem__, map(slice, (0, *ends[:-1]), ends))

    @property
    def each(self) -> list[bytes]:
        """What each of the points became."""
        return list(self._each(0, len(self.ends)))


def _piece_of(item: tuple[int, bytes]) -> int:
    return item[0] // _AT_ONCE
