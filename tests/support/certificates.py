"""A certificate authority, the files of what it issues, and clients that trust it."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import trustme

CA, OTHER_CA = trustme.CA(), trustme.CA()
SERVER = CA.issue_cert("localhost", "127.0.0.1")
CLIENT = CA.issue_cert("scraper.example", "192.0.2.7", "2001:db8::1", "ops@example.com")


def pem(issued: trustme.LeafCert) -> str:
    """The chain of certificates."""
    return b"".join(blob.bytes() for blob in issued.cert_chain_pems).decode()


def private_key(issued: trustme.LeafCert) -> str:
    """The private key."""
    return issued.private_key_pem.bytes().decode()


def write_pair(folder: Path, issued: trustme.LeafCert = SERVER, name: str = "server") -> tuple[str, str]:
    """Write a certificate and its key, each in the place of what was there, and return their paths."""
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    for path, text in zip(paths, (pem(issued), private_key(issued)), strict=True):
        new = path.with_name(f"{path.name}.new")
        new.write_text(text)
        os.replace(new, path)
    return str(paths[0]), str(paths[1])


def write_authority(folder: Path) -> str:
    """Write the authority's own certificate, and return its path."""
    path = folder / "ca.pem"
    path.write_bytes(CA.cert_pem.bytes())
    return str(path)


def client_context(certificate: trustme.LeafCert | None = None, ca: trustme.CA = CA) -> ssl.SSLContext:
    """The context of a client that trusts the authority and shows this certificate."""
    context = ssl.create_default_context(cadata=ca.cert_pem.bytes().decode())  # others take time
    if certificate is not None:
        certificate.configure_cert(context)
    return context
