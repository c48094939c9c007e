"""The points of a family as they were rendered, one after the other, in pieces of 64 points.

In pieces of their own, the lines of ten thousand series would be scattered in memory. To put them together
would then cost each scrape more than all the rest, also where nothing changed. In one piece, all of it would
have to be copied where one point changed.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate, groupby
from typing import NamedTuple

_AT_ONCE = 64


class Rendered(NamedTuple):
    """What the points of a family became, and how many bytes each of them."""

    pieces: tuple[bytes, ...]
    sizes: array[int]

    def updated(self, changed: Sequence[int], made: Sequence[bytes], *, size: int) -> Rendered:
        """The same for so many points, with what was made of those that ``changed`` and of the last ones.

        ``changed`` are the places of points that were there before, in ascending order.
        """
        known = min(len(self.sizes), size)
        if len(changed) == known:
            return Rendered(_together(made), array("I", map(len, made)))
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
        rest += made[len(changed) :]
        if whole * _AT_ONCE < size:
            sizes = sizes[: whole * _AT_ONCE] + array("I", map(len, rest))
        return Rendered((*pieces, *_together(rest)), sizes)

    def _replaced(self, number: int, group: Iterable[tuple[int, bytes]], sizes: array[int]) -> bytes:
        """A piece with other points in these places, whose sizes are put into ``sizes``."""
        old, at, following = self.pieces[number], 0, number * _AT_ONCE
        parts = []
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


def _together(made: Sequence[bytes]) -> tuple[bytes, ...]:
    return tuple([b"".join(made[at : at + _AT_ONCE]) for at in range(0, len(made), _AT_ONCE)])


NOTHING_RENDERED = Rendered((), array("I"))
