"""A body before it is put together.

Who compresses it, or hands it to a socket, needs the pieces only. To put megabytes together would cost a
scrape of which nothing changed more than all the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property


class Pieces(tuple[bytes, ...]):
    """A body that is put together when somebody asks for it. ``size`` is the number of its bytes."""

    size: int

    def __new__(cls, pieces: Iterable[bytes] = (), *, size: int | None = None) -> Pieces:
        """These pieces; who knows their size already says it."""
        made = super().__new__(cls, pieces)
        made.size = sum(map(len, made)) if size is None else size
        return made

    @cached_property
    def body(self) -> bytes:
        """All of them, one after the other."""
        return b"".join(self)
