"""Until when a certificate is valid, read from its bytes.

Python's ``ssl`` shows that of the certificates of others only, and a package for it would be a dependency for
one date. So the few fields before it are stepped over. Whatever cannot be read is no date; OpenSSL is who
decides whether a certificate is one.

https://www.rfc-editor.org/rfc/rfc5280#section-4.1
"""

from __future__ import annotations

import binascii
import re
from datetime import UTC, datetime
from typing import NamedTuple

# The names under which OpenSSL takes a certificate. The first of a file is the one that is served, the others
# lead from it to an authority.
_PEM = re.compile(
    rb"-----BEGIN (X509 |TRUSTED |)CERTIFICATE-----\s(.*?)-----END \1CERTIFICATE-----", re.DOTALL
)
_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18


class _Element(NamedTuple):
    tag: int
    start: int
    end: int


def not_after(pem: bytes) -> float | None:
    """When the first certificate in it ends, in seconds since 1970. It never raises."""
    found = _PEM.search(pem)
    if found is None:
        return None
    try:
        der = binascii.a2b_base64(found[2])
        return _seconds(der, _validity(der))
    except (ValueError, IndexError, OverflowError):
        return None


def _validity(der: bytes) -> _Element:
    # Certificate ::= SEQUENCE { tbsCertificate TBSCertificate, ... }
    # TBSCertificate ::= SEQUENCE { version [0], serialNumber, signature, issuer, validity, ... }
    inner = _element(der, _element(der, 0).start)
    field = _element(der, inner.start)
    before = 4 if field.tag == _VERSION else 3  # a certificate of version 1 does not say it
    for _ in range(before):
        field = _element(der, field.end)
    return field


def _seconds(der: bytes, validity: _Element) -> float:
    # Validity ::= SEQUENCE { notBefore Time, notAfter Time }
    if validity.tag != _SEQUENCE:
        raise ValueError("no validity")
    time = _element(der, _element(der, validity.start).end)
    text = der[time.start : time.end].decode("ascii")
    if time.tag == _UTC_TIME:
        # "Where YY is greater than or equal to 50, the year SHALL be interpreted as 19YY."
        text = f"{'19' if text[:2] >= '50' else '20'}{text}"
    elif time.tag != _GENERALIZED_TIME:
        raise ValueError("no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _element(der: bytes, at: int) -> _Element:
    """What begins there: a tag, a length, and so many bytes."""
    tag, length, start = der[at], der[at + 1], at + 2
    if length >= 0x80:  # so many bytes say how many there are
        start += length - 0x80
        length = int.from_bytes(der[at + 2 : start])
    return _Element(tag, start, start + length)
