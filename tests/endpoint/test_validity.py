"""When a certificate ends, as the package `cryptography` and OpenSSL have it too."""

from __future__ import annotations

import base64
import subprocess
from datetime import UTC, datetime

from certificates import SERVER, private_key
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from otel_prom_bridge.endpoint.files.validity import not_after

KEY = ec.generate_private_key(ec.SECP256R1())
BEGINS = datetime(1950, 1, 1)


def ending(when: datetime, *, name: str = "localhost", serial: int = 1) -> bytes:
    """A certificate that ends then, in PEM."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, name)])
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(KEY.public_key())
    )
    builder = builder.serial_number(serial).not_valid_before(BEGINS).not_valid_after(when)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


DER = base64.b64decode(b"".join(ending(datetime(2031, 5, 6)).splitlines()[1:-1]))


@settings(max_examples=examples(100), deadline=None)
@given(
    when=st.datetimes(datetime(1951, 1, 1), datetime(9999, 12, 31, 23, 59, 59)),
    name=st.text("aü", min_size=1, max_size=64),
    serial=st.integers(1, 2**159 - 1),
)
def test_any_end(when: datetime, name: str, serial: int) -> None:
    """It is found whatever stands before it, in both of the ways in which years are written."""
    when = when.replace(microsecond=0)
    found = not_after(ending(when, name=name, serial=serial))
    assert found == when.replace(tzinfo=UTC).timestamp()


def test_the_first_one_of_a_file() -> None:
    """The certificate that is served counts, not those that lead to an authority, nor a key before it."""
    first, second = datetime(2031, 5, 6), datetime(2030, 1, 1)
    for before in (b"", private_key(SERVER).encode(), b"Bag Attributes\n  friendlyName: x\n"):
        assert not_after(before + ending(first) + ending(second)) == first.replace(tzinfo=UTC).timestamp()


def test_other_spellings_of_openssl() -> None:
    """What OpenSSL writes and takes as a certificate beside the usual: old names, and trust behind it."""
    when = datetime(2031, 5, 6)
    plain = ending(when)
    trusted = subprocess.run(
        ["openssl", "x509", "-trustout", "-addtrust", "serverAuth"],
        input=plain,
        capture_output=True,
        check=True,
    ).stdout
    assert b"TRUSTED" in trusted
    for text in (trusted, plain.replace(b"CERTIFICATE", b"X509 CERTIFICATE"), plain.replace(b"\n", b"\r\n")):
        assert not_after(text) == when.replace(tzinfo=UTC).timestamp()


@settings(max_examples=examples(300), deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=5),
    length=st.integers(0, 200),
    text=st.binary(),
)
def test_nonsense_is_no_date(changes: list[tuple[int, int]], length: int, text: bytes) -> None:
    """Whatever the bytes are, nothing is raised."""
    der = bytearray(DER)
    for place, byte in changes:
        der[place] = byte
    encoded = base64.b64encode(der[:length])
    found = not_after(b"-----BEGIN CERTIFICATE-----\n" + encoded + b"\n-----END CERTIFICATE-----\n")
    assert isinstance(found, float | None)
    assert not_after(text) is None
