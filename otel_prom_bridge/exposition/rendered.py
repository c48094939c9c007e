"""The points of a family as they were rendered, one after the other in one piece.

In pieces of their own, the lines of ten thousand series would be scattered in memory. To put them together
would then cost each scrape more than all the rest, also where nothing changed.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple


class Rendered(NamedTuple):
    """What the points of a family became, and how many bytes each of them."""

    body: bytes
    sizes: array[int]

    def updated(self, changed: Sequence[int], made: Sequence[bytes], *, size: int) -> Rendered:
        """The same for so many points, with what was made of those that ``changed`` and of the last ones.

        ``changed`` are the places of points that were there before, in ascending order.
        """
        known = min(len(self.sizes), size)
        if len(changed) == known:
            return Rendered(b"".join(made), array("I", map(len, made)))
        if not made and known == len(self.sizes):
            return self
        old, sizes = memoryview(self.body), self.sizes[:known]
        pieces: list[bytes | memoryview] = []
        at = 0
        for piece, (before, index) in zip(made, pairwise((-1, *changed)), strict=False):
            until = at + sum(sizes[before + 1 : index])
            pieces += (old[at:until], piece)
            at = until + sizes[index]
            sizes[index] = len(piece)
        last = changed[-1] + 1 if changed else 0
        pieces.append(old[at : at + sum(sizes[last:])])
        pieces += made[len(changed) :]
        sizes.extend(map(len, made[len(changed) :]))
        return Rendered(b"".join(pieces), sizes)

    def each(self) -> list[bytes]:
        """What each of the points became."""
        result, at = [], 0
        for size in self.sizes:
            result.append(self.body[at : at + size])
            at += size
        return result


NOTHING_RENDERED = Rendered(b"", array("I"))
