"""The bytes of protobuf: what fields are made of.

Two formats of ours are protobuf: Prometheus' own, and OTLP. Their messages are few and fixed, so they are put
together from bytes, field by field, instead of by a library that would have to be a dependency.

A field is a tag and a value. The tag is the number of the field times eight, plus 0 for a varint, 1 for eight
bytes, or 2 for a length and as many bytes.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import math
import struct

pack = struct.Struct("<d").pack


def encoded(number: int) -> bytes:
    """A varint: seven bits in each byte, the lowest first. The eighth bit says that another byte follows."""
    if 0x80 <= number < 0x4000:  # Most counts are of these two sizes, for which this is twice as fast.
        return bytes((number & 0x7F | 0x80, number >> 7))
    if 0x4000 <= number < 0x200000:
        return bytes((number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80, number >> 14))
    result = bytearray()
    while number > 0x7F:
        result.append(number & 0x7F | 0x80)
        number >>= 7
    result.append(number)
    return bytes(result)


SMALL = 1024  # Varints below this, and what begins with them, come from tables.
VARINTS = tuple(map(encoded, range(SMALL)))


def varint(number: int) -> bytes:
    """An unsigned number.

    Raises:
        OverflowError: it has more than 64 bits, or is negative.
    """
    if 0 <= number < SMALL:
        return VARINTS[number]
    if not 0 <= number < 1 << 64:
        raise OverflowError(f"{number} does not fit into an unsigned integer of 64 bits")
    return encoded(number)


def zigzag(number: int) -> bytes:
    """A signed number that is often small (``sint32``, ``sint64``)."""
    return varint(2 * number if number >= 0 else -2 * number - 1)


def int64(number: int) -> bytes:
    """A signed number. A negative one is written as if it were unsigned."""
    return encoded(number if number >= 0 else number % (1 << 64))


def double(value: float) -> bytes:
    """Eight bytes."""
    try:
        return pack(value)
    except struct.error:  # No float can hold this integer. The text formats write +Inf or -Inf for it, too.
        return pack(math.inf if value > 0 else -math.inf)


def field(tag: bytes, content: bytes) -> bytes:
    """A field of this tag with text, bytes or a message."""
    size = len(content)
    return tag + (VARINTS[size] if size < SMALL else varint(size)) + content
