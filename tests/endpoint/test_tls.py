"""TLS: real handshakes with Python's and OpenSSL's clients, and what happens when files change."""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from certificates import (
    CA,
    CLIENT,
    OTHER_CA,
    SERVER,
    client_context,
    pem,
    private_key,
    write_authority,
    write_pair,
)
from cryptography.hazmat.primitives import serialization

from otel_prom_bridge.endpoint.files import tls as tls_module
from otel_prom_bridge.endpoint.files.tls import CIPHER_SUITES, CIPHER_SUITES_13, CURVES, Tls, TlsSettings
from otel_prom_bridge.errors import ConfigurationError

Later = Callable[[Any], Any]


@pytest.fixture
def settings(tmp_path: Path) -> TlsSettings:
    """A certificate and a key in files."""
    write_authority(tmp_path)
    cert_file, key_file = write_pair(tmp_path)
    return TlsSettings(cert_file=cert_file, key_file=key_file)


@pytest.fixture
def mutual(settings: TlsSettings, tmp_path: Path) -> TlsSettings:
    """The same, with clients verified."""
    ca = str(tmp_path / "ca.pem")
    return replace(settings, client_auth="RequireAndVerifyClientCert", client_ca_file=ca)


@contextmanager
def greeting(tls: Tls) -> Iterator[int]:
    """A server that greets those who may talk to it; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(5)
            try:
                with tls.context().wrap_socket(connection, server_side=True) as talk:
                    if tls.complaint(talk) is None:
                        talk.sendall(b"welcome")
                        talk.recv(1)
            except OSError:
                connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def talk(tls: Tls, context: ssl.SSLContext) -> ssl.SSLSocket | None:
    """The connection of a client that was welcome, closed again; None if it was not."""
    with greeting(tls) as port, socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        try:
            with context.wrap_socket(raw, server_hostname="localhost") as connection:
                # In TLS 1.3 a client hears only now what the server thinks of its certificate.
                return connection if connection.recv(7) == b"welcome" else None
        except OSError:
            return None


def cipher_of(tls: Tls, context: ssl.SSLContext) -> str | None:
    """The cipher suite that was agreed on, or None."""
    with greeting(tls) as port, socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        try:
            with context.wrap_socket(raw, server_hostname="localhost") as connection:
                cipher = connection.cipher()
                return cipher[0] if cipher and connection.recv(7) == b"welcome" else None
        except OSError:
            return None


def older(context: ssl.SSLContext, ciphers: str = "") -> ssl.SSLContext:
    """The client, without TLS 1.3."""
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    if ciphers:
        context.set_ciphers(ciphers)
    return context


def test_a_handshake(settings: TlsSettings) -> None:
    """A client that trusts the CA is welcome, one that does not leaves."""
    tls = Tls(settings)
    assert talk(tls, client_context())
    assert talk(tls, older(client_context()))
    assert not talk(tls, client_context(ca=OTHER_CA))


def test_inline_pem(settings: TlsSettings) -> None:
    """Certificate, key and CA may be given as text."""
    inline = TlsSettings(
        cert=pem(SERVER),
        key=private_key(SERVER),
        client_ca=CA.cert_pem.bytes().decode(),
        client_auth="RequireAndVerifyClientCert",
    )
    assert inline.files == ()
    assert talk(Tls(inline), client_context(CLIENT))
    assert not talk(Tls(inline), client_context())
    assert talk(Tls(replace(settings, key_file="", key=inline.key)), client_context())
    assert talk(
        Tls(replace(settings, cert="not used", key="not used")), client_context()
    )  # as in the toolkit


def test_inline_pem_without_memfd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where there are no files in memory, a file that only we can read is used, and gone at once."""
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    modes: list[int] = []
    check = tls_module._check_readable

    def watch(key: str, path: str) -> None:
        modes.append(os.stat(path).st_mode & 0o777)
        check(key, path)

    monkeypatch.setattr(tls_module, "_check_readable", watch)
    assert talk(Tls(TlsSettings(cert=pem(SERVER), key=private_key(SERVER))), client_context())
    assert modes == [0o600, 0o600]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("certificate", "policy", "welcome"),
    [
        (CLIENT, "RequireAndVerifyClientCert", True),
        (OTHER_CA.issue_cert("scraper.example"), "RequireAndVerifyClientCert", False),
        (None, "RequireAndVerifyClientCert", False),
        (CLIENT, "VerifyClientCertIfGiven", True),
        (OTHER_CA.issue_cert("scraper.example"), "VerifyClientCertIfGiven", False),
        (None, "VerifyClientCertIfGiven", True),
    ],
)
def test_certificates_of_clients(
    mutual: TlsSettings, certificate: trustme.LeafCert | None, policy: str, welcome: bool
) -> None:
    """A client with a certificate of another CA is refused; one without, where certificates are required."""
    tls = Tls(replace(mutual, client_auth=policy))
    assert bool(talk(tls, client_context(certificate))) is welcome
    assert bool(talk(tls, older(client_context(certificate)))) is welcome


@pytest.mark.parametrize(
    ("allowed", "welcome"),
    [
        (("scraper.example",), True),
        (("other.example", "192.0.2.7"), True),
        (("2001:db8::1",), True),
        (("ops@example.com",), True),
        (("other.example",), False),
        (("SCRAPER.EXAMPLE",), False),
        (("*.example", "example", "scraper"), False),
        ((), False),
    ],
)
def test_allowed_names(mutual: TlsSettings, allowed: tuple[str, ...], welcome: bool) -> None:
    """Only a client whose certificate is exactly for one of the allowed names is welcome."""
    tls = Tls(replace(mutual, client_allowed_sans=allowed))
    assert bool(talk(tls, client_context(CLIENT))) is welcome
    assert not talk(tls, client_context())


def test_complaints() -> None:
    """A complaint names what the certificate is for; also one that names nothing, or has not arrived."""

    class Connection:
        def __init__(self, certificate: object) -> None:
            self.certificate = certificate

        def getpeercert(self) -> object:
            if self.certificate is ...:
                raise ValueError("handshake not done yet")
            return self.certificate

    key = private_key(SERVER)
    settings = TlsSettings(cert=pem(SERVER), key=key, client_auth="RequireAndVerifyClientCert")
    free, strict = Tls(settings), Tls(replace(settings, client_allowed_sans=("a", "::1", "uri:x")))
    names = {"subjectAltName": (("DNS", "b"), ("URI", "c"), ("othername", "a"), ("IP Address", "<invalid>"))}
    for certificate in (None, {}, ..., {"subjectAltName": "a"}, {"subjectAltName": (("DNS",), 1)}, names):
        assert free.complaint(Connection(certificate)) is None  # type: ignore[arg-type]
        assert "none of the allowed" in str(strict.complaint(Connection(certificate)))  # type: ignore[arg-type]
    assert "['<invalid>', 'b', 'c']" in str(strict.complaint(Connection(names)))  # type: ignore[arg-type]
    for good in (("DNS", "a"), ("IP Address", "0:0:0:0:0:0:0:1\n"), ("URI", "uri:x")):
        certificate = {"subjectAltName": (("DNS", "b"), good)}
        assert strict.complaint(Connection(certificate)) is None  # type: ignore[arg-type]


def test_versions(settings: TlsSettings) -> None:
    """The oldest and the newest version are as configured."""
    only_13, only_12 = (
        Tls(replace(settings, min_version="TLS13")),
        Tls(replace(settings, max_version="TLS12")),
    )
    assert not talk(only_13, older(client_context()))
    assert talk(only_13, client_context())
    newest = client_context()
    newest.minimum_version = ssl.TLSVersion.TLSv1_3
    assert not talk(only_12, newest)
    assert talk(only_12, client_context())


def openssl(port: int, *options: str) -> str:
    """What OpenSSL's client says of a server."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("no openssl here")
    command = [program, "s_client", "-connect", f"127.0.0.1:{port}", *options]
    run = subprocess.run(command, input=b"Q\n", capture_output=True, timeout=20, check=False)
    return (run.stdout + run.stderr).decode(errors="replace")


@pytest.mark.parametrize("minimum", ["TLS10", "TLS11", "TLS12"])
def test_old_clients(settings: TlsSettings, minimum: str, caplog: pytest.LogCaptureFixture) -> None:
    """OpenSSL's client gets in with TLS 1.2 and not with 1.1; what asks for older versions is told so."""
    with greeting(Tls(replace(settings, min_version=minimum))) as port:
        assert re.search(r"Protocol *: TLSv1\.2", openssl(port, "-tls1_2"))
        assert "Cipher is (NONE)" in openssl(port, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
    settle()
    assert (f"min_version: {minimum} is taken for TLS12" in caplog.text) is (minimum != "TLS12")


def settle() -> None:
    """Wait for the threads that write log lines."""
    for thread in threading.enumerate():
        if thread.name == "otel-prom-bridge-log":
            thread.join()


def test_cipher_suites(settings: TlsSettings) -> None:
    """Only the configured suites are agreed on, in our order or in the client's; TLS 1.3 has its own."""
    gcm = ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")
    tls = Tls(replace(settings, cipher_suites=gcm))
    reverse = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
    assert cipher_of(tls, older(client_context(), reverse)) == "ECDHE-ECDSA-AES256-GCM-SHA384"
    theirs = Tls(replace(settings, cipher_suites=gcm, prefer_server_cipher_suites=False))
    assert cipher_of(theirs, older(client_context(), reverse)) == "ECDHE-ECDSA-AES128-GCM-SHA256"
    assert cipher_of(tls, older(client_context(), "ECDHE-ECDSA-CHACHA20-POLY1305")) is None
    assert cipher_of(tls, client_context()) in CIPHER_SUITES_13
    only_13 = Tls(replace(settings, cipher_suites=("TLS_AES_128_GCM_SHA256",)))
    assert cipher_of(only_13, older(client_context())) is None
    assert cipher_of(only_13, client_context()) in CIPHER_SUITES_13


def test_every_cipher_suite_is_known(settings: TlsSettings) -> None:
    """This OpenSSL knows every suite of the table by its name, and each alone can be configured."""
    for suite, name in CIPHER_SUITES.items():
        context = Tls(replace(settings, cipher_suites=(suite,))).context()
        assert name in {str(cipher["name"]) for cipher in context.get_ciphers()}
    Tls(replace(settings, cipher_suites=(*CIPHER_SUITES, *CIPHER_SUITES_13)))


def test_cipher_suites_that_openssl_does_not_have(
    settings: TlsSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A suite that this machine does not allow is an error, not another suite."""
    monkeypatch.setitem(CIPHER_SUITES, "TLS_RSA_WITH_AES_128_CBC_SHA", "REMOVED-SHA")
    with pytest.raises(ConfigurationError, match=r"^cipher_suites: "):
        Tls(replace(settings, cipher_suites=("TLS_RSA_WITH_AES_128_CBC_SHA",)))


@pytest.mark.parametrize(("curve", "other"), [("CurveP384", "prime256v1"), ("X25519", "secp521r1")])
def test_curves(settings: TlsSettings, curve: str, other: str) -> None:
    """One curve can be chosen; clients without it are refused."""
    tls = Tls(replace(settings, curve_preferences=(curve,)))
    fitting, unfitting = client_context(), client_context()
    fitting.set_ecdh_curve(CURVES[curve])
    unfitting.set_ecdh_curve(other)
    assert talk(tls, fitting)
    assert not talk(tls, unfitting)


def serial(tls: Tls) -> int | None:
    """The number of the certificate that the server shows."""
    with (
        greeting(tls) as port,
        socket.create_connection(("127.0.0.1", port), timeout=5) as raw,
        client_context().wrap_socket(raw, server_hostname="localhost") as connection,
    ):
        return int(str((connection.getpeercert() or {})["serialNumber"]), 16)


def test_a_new_certificate(settings: TlsSettings, tmp_path: Path, later: Later) -> None:
    """New connections get a new certificate within a second after the files were replaced."""
    tls = Tls(settings)
    before, context = serial(tls), tls.context()
    write_pair(tmp_path, CA.issue_cert("localhost"))
    assert tls.context() is context  # the files are looked at once in a second
    after = serial(later(tls))
    assert after != before
    assert tls.context() is later(tls).context() is not context


SPOILED: dict[str, Callable[[Path], object]] = {
    "garbage": lambda path: (path / "server.pem").write_bytes(os.urandom(500)),
    "empty": lambda path: (path / "server.pem").write_text(""),
    "half written": lambda path: (path / "server.pem").write_text(pem(SERVER)[:300]),
    "gone": lambda path: (path / "server.pem").unlink(),
    "another key": lambda path: (path / "server.key").write_bytes(CLIENT.private_key_pem.bytes()),
    "half a key": lambda path: (path / "server.key").write_bytes(SERVER.private_key_pem.bytes()[:100]),
    "a directory": lambda path: ((path / "server.key").unlink(), (path / "server.key").mkdir()),
    "a CA without certificates": lambda path: (path / "ca.pem").write_text("nothing"),
}


@pytest.mark.parametrize("fault", SPOILED)
def test_bad_files(
    mutual: TlsSettings, tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture, later: Later
) -> None:
    """The certificate from before stays in use while files are bad, with one line in the log."""
    tls = Tls(mutual)
    context = tls.context()
    SPOILED[fault](tmp_path)
    for _ in range(3):
        assert later(tls).context() is context
    settle()
    lines = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(lines) == 1
    assert "stays in use" in caplog.text
    assert "PRIVATE" not in caplog.text
    assert tls.problem is not None
    assert talk(tls, client_context(CLIENT))
    if (tmp_path / "server.key").is_dir():
        (tmp_path / "server.key").rmdir()
    write_pair(tmp_path, SERVER)
    (tmp_path / "ca.pem").write_bytes(CA.cert_pem.bytes())
    assert later(tls).context() is not context
    assert tls.problem is None


def test_bad_files_at_the_start(mutual: TlsSettings, tmp_path: Path) -> None:
    """What is only logged later is an error at the start, and shows no key."""
    for fault in ("half written", "another key", "gone", "a CA without certificates"):
        write_pair(tmp_path, SERVER)
        SPOILED[fault](tmp_path)
        with pytest.raises(ConfigurationError) as caught:
            Tls(mutual)
        assert "PRIVATE" not in str(caught.value)


def test_an_encrypted_key(settings: TlsSettings, tmp_path: Path) -> None:
    """A key that needs a password is refused; nobody is asked on the terminal."""
    key = serialization.load_pem_private_key(SERVER.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    (tmp_path / "server.key").write_bytes(encrypted)
    with pytest.raises(ConfigurationError, match="the key is encrypted"):
        Tls(settings)


def test_a_swapped_link(tmp_path: Path, later: Later) -> None:
    """A mounted secret is swapped by a link of its directory; that is seen, too."""
    for name, issued in (("one", SERVER), ("two", CA.issue_cert("localhost"))):
        (tmp_path / name).mkdir()
        write_pair(tmp_path / name, issued)
    link = tmp_path / "data"
    link.symlink_to("one")
    tls = Tls(TlsSettings(cert_file=str(link / "server.pem"), key_file=str(link / "server.key")))
    before = serial(tls)
    (tmp_path / "new").symlink_to("two")
    os.replace(tmp_path / "new", link)
    assert serial(later(tls)) != before


REFUSED: list[tuple[dict[str, object], str]] = [
    ({"cert_file": ""}, r"^cert_file: .* or cert$"),
    ({"key_file": ""}, r"^key_file: .* or key$"),
    ({"cert_file": "/nowhere"}, r"^cert_file: '/nowhere' .*No such file"),
    ({"key_file": "-----BEGIN PRIVATE KEY-----\nQUJD"}, r"^key_file: PEM is not allowed, "),
    ({"client_auth": "RequestClientCert"}, r"ask for a client's certificate without verifying it"),
    ({"client_auth": "RequireAnyClientCert"}, r"ask for a client's certificate without verifying it"),
    ({"client_auth": "RequireClientCert"}, r"ask for a client's certificate without verifying it"),
    ({"client_auth": "Require"}, r"^client_auth: 'Require' .* 'VerifyClientCertIfGiven'"),
    ({"client_ca": "x"}, r"^client_auth: 'NoClientCert' .* there is a client_ca"),
    (
        {"client_auth": "VerifyClientCertIfGiven", "client_ca": "ü"},
        r"^client_ca: what stands there is not allowed",
    ),
    ({"client_auth": "VerifyClientCertIfGiven", "client_ca_file": "/nowhere"}, r"^client_ca_file: "),
    ({"client_allowed_sans": ("a",)}, r"^client_auth: .* would let others in"),
    ({"client_allowed_sans": (), "client_auth": "VerifyClientCertIfGiven"}, r"would let others in"),
    ({"min_version": "SSLv3"}, r"^min_version: 'SSLv3' .* 'TLS12', 'TLS13'$"),
    ({"max_version": "TLS11"}, r"^max_version: 'TLS11' .* nothing older$"),
    ({"min_version": "TLS13", "max_version": "TLS12"}, r"^min_version: 'TLS13' .* at most 'TLS12'$"),
    ({"cipher_suites": ("TLS_RSA_WITH_RC4_128_SHA",)}, r"^cipher_suites: "),
    ({"cipher_suites": ("TLS_AES_128_GCM_SHA256",), "max_version": "TLS12"}, r"^cipher_suites: "),
    ({"curve_preferences": ("P-256",)}, r"^curve_preferences: "),
    ({"client_allowed_sans": "prometheus"}, r"^client_allowed_sans: 'prometheus' .* a list of names"),
    ({"client_allowed_sans": (1,)}, r"^client_allowed_sans: \(1,\) .* a list of names"),
    ({"cipher_suites": "TLS_AES_128_GCM_SHA256"}, r"^cipher_suites: .* a list of names"),
    ({"cipher_suites": None}, r"^cipher_suites: None .* a list of names"),
    ({"curve_preferences": "X25519"}, r"^curve_preferences: 'X25519' .* a list of names"),
    ({"cert_file": 3}, r"^cert_file: 3 is not allowed, expected the path of a file$"),
    ({"key": b"secret"}, r"^key: a value of type bytes is not allowed, expected a string$"),
    ({"client_auth": None}, r"^client_auth: None is not allowed, expected a string$"),
    (
        {"min_version": 12},
        r"^min_version: 12 is not allowed, expected one of 'TLS10', 'TLS11', 'TLS12', 'TLS13'$",
    ),
    ({"prefer_server_cipher_suites": "no"}, r"^prefer_server_cipher_suites: 'no' .* true or false$"),
    ({"curve_preferences": ("X25519", "CurveP256")}, r"^curve_preferences: .* cannot set several$"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_settings_that_cannot_work(settings: TlsSettings, changes: dict[str, object], message: str) -> None:
    """What is wrong or cannot be done is refused with the reason; nothing weaker is done instead."""
    with pytest.raises(ConfigurationError, match=message):
        Tls(replace(settings, **changes))  # type: ignore[arg-type]


def test_settings_as_one_writes_them(tmp_path: Path) -> None:
    """Lists are lists, and files are paths."""
    made = TlsSettings(
        cert_file=tmp_path / "cert.pem",  # type: ignore[arg-type]
        key="key",
        cipher_suites=["TLS_AES_128_GCM_SHA256"],  # type: ignore[arg-type]
    )
    assert (made.cert_file, made.cipher_suites) == (str(tmp_path / "cert.pem"), ("TLS_AES_128_GCM_SHA256",))


def test_clients_of_public_authorities(settings: TlsSettings) -> None:
    """Without a CA, clients are verified with those of the machine, as in Go: not at all is never meant."""
    tls = Tls(replace(settings, client_auth="RequireAndVerifyClientCert"))
    assert tls.context().verify_mode is ssl.CERT_REQUIRED
    assert not talk(tls, client_context(CLIENT))


def test_keys_are_not_shown() -> None:
    """No repr of settings shows the key."""
    settings = TlsSettings(cert=pem(SERVER), key=private_key(SERVER))
    assert "PRIVATE" not in repr((settings, Tls(settings), vars(Tls(settings))))
