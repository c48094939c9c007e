"""The points of a family as they were rendered, one after the other, in pieces of 64 points.

In pieces of their own, the lines of ten thousand series would be scattered in memory. To put them together
would then cost each scrape more than all the rest, also where nothing changed. In one piece, all of it would
have to be copied where one point changed.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, groupby, islice
from typing import NamedTuple

_AT_ONCE = 64


class Rendered(NamedTuple):
    """What the points of a family became, and how many bytes each of them."""

    pieces: tuple[bytes, ...]
    sizes: array[int]

    def updated(self, changed: Sequence[int], made: Iterator[bytes], *, size: int) -> Rendered:
        """The same for so many points, with what is made of those that ``changed`` and of the last ones.

        ``changed`` are the places of points that were there before, in ascending order. What is made is put
        together at once, so it is in memory only once.
        """
        known = min(len(self.sizes), size)
        if len(changed) == known:
            return _together(made)
        # The last piece is made anew where points come or go.
        whole = len(self.pieces) if size == len(self.sizes) else known // _AT_ONCE
        pieces, sizes = list(self.pieces[:whole]), self.sizes[:known]
        rest = self._each(whole, known)
        for number, group in groupby(zip(changed, made, strict=False), key=_piece_of):
            if number < whole:
                pieces[number] = self._replaced(number, group, sizes)
            else:
                for index, line in group:
                    rest[index - whole * _AT_ONCE] = line
        last = _together(chain(rest, made))
        return Rendered((*pieces, *last.pieces), sizes[: whole * _AT_ONCE] + last.sizes)

    def _replaced(self, number: int, group: Iterable[tuple[int, bytes]], sizes: array[int]) -> bytes:
        """A piece with other points in these places, whose sizes are put into ``sizes``."""
        old, at, following = self.pieces[number], 0, number * _AT_ONCE
        parts: list[bytes] = []
        for index, line in group:
            until = at + sum(sizes[following:index])
            parts += (old[at:until], line)
            at = until + sizes[index]
            sizes[index] = len(line)
            following = index + 1
        return b"".join((*parts, old[at:]))

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


def _together(made: Iterator[bytes]) -> Rendered:
    pieces, sizes = [], array("I")
    while lines := list(islice(made, _AT_ONCE)):
        pieces.append(b"".join(lines))
        sizes.extend(map(len, lines))
    return Rendered(tuple(pieces), sizes)


NOTHING_RENDERED = Rendered((), array("I"))
