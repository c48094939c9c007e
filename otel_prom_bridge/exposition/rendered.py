"""The points of a family as they were rendered, one after the other, in pieces of 64 points.

In pieces of their own, the lines of ten thousand series would be scattered in memory. To put them together
would then cost each scrape more than all the rest, also where nothing changed. In one piece, all of it would
have to be copied where one point changed.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, groupby, islice

_AT_ONCE = 64


class Rendered:
    """What the points of a family became, and how many bytes each of them.

    It is changed in place, so that the old lines go one piece after the other while the new ones come. Where
    that is interrupted, it is of no use any more.
    """

    __slots__ = ("pieces", "sizes")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.sizes = array("I")

    def update(self, changed: Sequence[int], made: Iterator[bytes], *, size: int) -> None:
        """Be of so many points, with what is made of those that ``changed`` and of the last ones.

        ``changed`` are the places of points that were there before, in ascending order. What is made is put
        together at once, so it is in memory only once.
        """
        known = min(len(self.sizes), size)
        if len(changed) == known:
            self._put(0, made)
            return
        # The last piece is made anew where points come or go.
        whole = len(self.pieces) if size == len(self.sizes) else known // _AT_ONCE
        rest = self._each(whole, known)
        for number, group in groupby(zip(changed, made, strict=False), key=_piece_of):
            if number < whole:
                self._replace(number, group)
            else:
                for index, line in group:
                    rest[index - whole * _AT_ONCE] = line
        self._put(whole, chain(rest, made))

    def _replace(self, number: int, group: Iterable[tuple[int, bytes]]) -> None:
        """Put other points into these places of a piece."""
        old, sizes, at, following = self.pieces[number], self.sizes, 0, number * _AT_ONCE
        parts: list[bytes] = []
        for index, line in group:
            until = at + sum(sizes[following:index])
            parts += (old[at:until], line)
            at = until + sizes[index]
            sizes[index] = len(line)
            following = index + 1
        self.pieces[number] = b"".join((*parts, old[at:]))

    def _put(self, number: int, made: Iterator[bytes]) -> None:
        """Have these in the place of everything from this piece on."""
        end = number * _AT_ONCE
        while lines := list(islice(made, _AT_ONCE)):
            self.pieces[number : number + 1] = (b"".join(lines),)
            self.sizes[end : end + _AT_ONCE] = array("I", map(len, lines))
            number, end = number + 1, end + len(lines)
        del self.pieces[number:], self.sizes[end:]

    def _each(self, number: int, until: int) -> list[bytes]:
        """What each point became from this piece on and up to this place."""
        sizes = self.sizes[number * _AT_ONCE : until]
        text = b"".join(self.pieces[number:])
        starts = accumulate(sizes, initial=0)
        return [text[start : start + size] for start, size in zip(starts, sizes, strict=False)]

    @property
    def each(self) -> list[bytes]:
        """What each of the points became."""
        return self._each(0, len(self.sizes))


def _piece_of(item: tuple[int, bytes]) -> int:
    return item[0] // _AT_ONCE
