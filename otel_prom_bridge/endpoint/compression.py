"""Compressing anew what changed since the last time, and nothing else.

A scrape seldom differs much from the one before, but the bridge's own metrics differ in each. To compress a
body takes ten times as long as all the rest. So it is compressed in blocks that refer to nothing outside of
themselves, and a block whose pieces are the same objects as last time is taken as it was. Together the blocks
are one ordinary member of gzip, which every client reads.

https://www.rfc-editor.org/rfc/rfc1951 (blocks), https://www.rfc-editor.org/rfc/rfc1952 (gzip)
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from functools import reduce
from typing import Any, NamedTuple

from otel_prom_bridge.exposition import Pieces

# Level 1 is seven times faster than zlib's default, and its result is larger by 1 % of the plain size.
_LEVEL = 1
# Twice as much would make the result smaller by a twentieth, and would be compressed anew more often. Blocks
# of a quarter would make it larger by a third.
_BLOCK_SIZE = 32 * 1024
_RAW = -zlib.MAX_WBITS  # no header and no checksum
# "ID1, ID2, CM = 8", no flags, no time, "XFL = 4 - compressor used fastest algorithm", "OS = 255 - unknown".
_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\x04\xff"
_LAST_BLOCK = b"\x03\0"  # an empty one
# Each keeps the pieces of a body until there is another one of its kind, or of so many others.
_MOST_KINDS = 4


class _Block(NamedTuple):
    """Pieces and what they were compressed to, with the checksums of all before it and of that and itself."""

    pieces: tuple[bytes, ...]
    compressed: bytes
    before: int
    checksum: int


class Compression:
    """Compresses bodies, of each kind of which it remembers the last one. Safe to use from any thread.

    So the lines of that one are let go when the next one of this kind is compressed, and not while it is
    rendered. Where nobody asks for this kind again, they stay. A body that is a part of another one would
    take the place of that, so it is for a compression of its own.
    """

    def __init__(self) -> None:
        self._last: dict[str, list[_Block]] = {}

    def gzip(self, pieces: Pieces, *, kind: str) -> bytes:
        """The body that these pieces are, compressed. What did not change are to be the same objects.

        Raises:
            MemoryError: there is not enough memory for it.
            zlib.error: zlib cannot do it.
        """
        blocks = list(_blocks(pieces, self._last.get(kind, [])))
        self._keep(kind, blocks)
        end = struct.pack("<II", blocks[-1].checksum if blocks else 0, pieces.size % 2**32)
        return b"".join((_HEADER, *(block.compressed for block in blocks), _LAST_BLOCK, end))

    def _keep(self, kind: str, blocks: list[_Block]) -> None:
        self._last.pop(kind, None)  # so that it comes last
        self._last[kind] = blocks
        for other in list(self._last)[:-_MOST_KINDS]:
            self._last.pop(other, None)  # another thread may have taken the same one


def _blocks(pieces: Pieces, last: list[_Block]) -> Iterator[_Block]:
    """The blocks of a body; those that are in the last one, too, are not made again."""
    same = list(_beginning(pieces, last))
    yield from same
    known = {_identity(block.pieces): block for block in last[len(same) :]}
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
    checksum = same[-1].checksum if same else 0
    for group in _groups(pieces[sum(len(block.pieces) for block in same) :]):
        block = known.get(_identity(group))
        if block is None or block.before != checksum:
            compressed = _compressed(compressor, group) if block is None else block.compressed
            after = reduce(lambda value, piece: zlib.crc32(piece, value), group, checksum)
            block = _Block(group, compressed, checksum, after)
        checksum = block.checksum
        yield block


def _beginning(pieces: Pieces, last: list[_Block]) -> Iterator[_Block]:
    """The blocks of the last body as far as this one begins as that did: nearly all, if nothing changed."""
    place = 0
    for block in last[:-1]:  # that one may be small, and more belong into it now
        end = place + len(block.pieces)
        if pieces[place:end] != block.pieces:
            return
        yield block
        place = end


def _groups(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, ...]]:
    """The pieces that go into one block, for each block."""
    group: list[bytes] = []
    size = 0
    for piece in pieces:
        group.append(piece)
        size += len(piece)
        if size >= _BLOCK_SIZE:
            yield tuple(group)
            group, size = [], 0
    if group:
        yield tuple(group)


def _identity(pieces: tuple[bytes, ...]) -> tuple[int, ...]:
    return tuple(map(id, pieces))


def _compressed(compressor: Any, pieces: tuple[bytes, ...]) -> bytes:
    # After a full flush, zlib refers to nothing before it, and goes on at the beginning of a byte.
    parts = [*map(compressor.compress, pieces), compressor.flush(zlib.Z_FULL_FLUSH)]
    return b"".join(parts)
