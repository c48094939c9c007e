"""TLS: a context that is made from certificates in files, and made again when the files change.

What Python's ``ssl`` cannot do is refused when the settings are made, and the error says why. Nothing is
replaced by something weaker: whoever asks for clients to be verified gets that or an error.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import NamedTuple, NoReturn

from otel_prom_bridge.diagnostics import logger
from otel_prom_bridge.endpoint.files.validity import not_after
from otel_prom_bridge.endpoint.files.watching import Watched
from otel_prom_bridge.errors import HIDDEN, ConfigurationError, Described
from otel_prom_bridge.values.checks import (
    BOOLEAN,
    PATH,
    STRING,
    Check,
    check_fields,
    instance_of,
    list_of,
    one_of,
)

# The names that Go's crypto/tls has for things, as files for exporters use them, and OpenSSL's names.
# https://pkg.go.dev/crypto/tls#CipherSuites
# The last four have no ephemeral keys. Go has not had them by default since 1.22, but files still name them.
CIPHER_SUITES = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
}

# The suites of TLS 1.3 are always on, in Go as in OpenSSL. A file may name them nevertheless.
CIPHER_SUITES_13 = frozenset(
    {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
)

# https://pkg.go.dev/crypto/tls#CurveID
CURVES = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}

_CLIENT_AUTH = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_UNVERIFIED = ("RequestClientCert", "RequireAnyClientCert", "RequireClientCert")
_CIPHER_SUITE = one_of(*CIPHER_SUITES, *CIPHER_SUITES_13)
_CURVE = one_of(*CURVES)
_POLICY = one_of(*_CLIENT_AUTH)
_VERSIONS = {"TLS10": 10, "TLS11": 11, "TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_NAMES = list_of(STRING, "a list of names, like ['prometheus.internal']")
_FILE = Check(allowed=PATH.allowed, check=lambda value: value if value == "" else PATH.check(value))
# Its value may be a key, which no message shows.
_PEM = replace(STRING, secret=True)
_CHECKS = {
    **dict.fromkeys(("cert_file", "key_file", "client_ca_file"), _FILE),
    **dict.fromkeys(("cert", "key", "client_ca"), _PEM),
    "client_auth": STRING,
    **dict.fromkeys(("client_allowed_sans", "cipher_suites", "curve_preferences"), _NAMES),
    **dict.fromkeys(("min_version", "max_version"), one_of(*_VERSIONS)),
    "prefer_server_cipher_suites": BOOLEAN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """How to speak TLS. Certificate and key come from files or as PEM. If there are both, the files count.

    The names of policies, versions, cipher suites and curves are those of Go, as in a ``web-config.yml``.

    Raises:
        ConfigurationError: something is missing, unknown, or cannot be done with Python's ``ssl``.
    """

    cert_file: str = ""
    key_file: str = ""
    cert: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    client_ca_file: str = ""
    client_ca: str = field(default="", repr=False)
    client_auth: str = "NoClientCert"
    client_allowed_sans: tuple[str, ...] | None = None
    min_version: str = "TLS12"
    max_version: str = "TLS13"
    cipher_suites: tuple[str, ...] = ()
    curve_preferences: tuple[str, ...] = ()
    prefer_server_cipher_suites: bool = True

    def __post_init__(self) -> None:
        check_fields(self, _CHECKS)
        if not (self.cert_file or self.cert):
            raise ConfigurationError(
                "cert_file", self.cert_file, "the path of a file with a certificate, or cert"
            )
        if not (self.key_file or self.key):
            raise ConfigurationError("key_file", self.key_file, "the path of a file with the key, or key")
        self._check_clients()
        self._check_versions()
        for name in self.cipher_suites:
            _CIPHER_SUITE.value("cipher_suites", name)
        for name in self.curve_preferences:
            _CURVE.value("curve_preferences", name)
        if len(self.curve_preferences) > 1:
            expected = "one curve, or none for all of them: Python's ssl cannot set several"
            raise ConfigurationError("curve_preferences", list(self.curve_preferences), expected)

    @property
    def files(self) -> tuple[str, ...]:
        """The files that certificates and keys are read from."""
        return tuple(filter(None, (self.cert_file, self.key_file, self.client_ca_file)))

    def _check_clients(self) -> None:
        if self.client_auth in _UNVERIFIED:
            expected = (
                f"{_POLICY.allowed}: Python's ssl cannot ask for a client's certificate without verifying it"
            )
            raise ConfigurationError("client_auth", self.client_auth, expected)
        _POLICY.value("client_auth", self.client_auth)
        if self.client_auth == "NoClientCert" and (self.client_ca_file or self.client_ca):
            expected = "a policy that asks for certificates, because there is a client_ca"
            raise ConfigurationError("client_auth", self.client_auth, expected)
        if self.client_allowed_sans is not None and self.client_auth != "RequireAndVerifyClientCert":
            expected = "'RequireAndVerifyClientCert': without it, client_allowed_sans would let others in"
            raise ConfigurationError("client_auth", self.client_auth, expected)

    def _check_versions(self) -> None:
        if self.max_version in ("TLS10", "TLS11"):
            expected = "'TLS12' or 'TLS13': OpenSSL, as Python comes with it, speaks nothing older"
            raise ConfigurationError("max_version", self.max_version, expected)
        if _VERSIONS[self.min_version] > _VERSIONS[self.max_version]:
            raise ConfigurationError("min_version", self.min_version, f"at most {self.max_version!r}")
        only_13 = self.cipher_suites and not self._older_ciphers
        if only_13 and self.max_version != "TLS13":
            raise ConfigurationError("cipher_suites", list(self.cipher_suites), "one for TLS 1.2 at least")

    @property
    def _older_ciphers(self) -> list[str]:
        return [CIPHER_SUITES[name] for name in self.cipher_suites if name in CIPHER_SUITES]


class Certificates(ABC):
    """Where the context of a connection comes from, and who may connect with which certificate."""

    @property
    @abstractmethod
    def problem(self) -> str | None:
        """Why the certificates in use are older than their files, or None."""

    @property
    def demands(self) -> frozenset[str]:
        """What is asked of every client: a certificate, of certain authorities, for certain names."""
        return frozenset()

    @property
    def ends(self) -> float | None:
        """When the certificate that is served ends, in seconds since 1970; None if nobody knows."""
        return None

    @abstractmethod
    def context(self) -> ssl.SSLContext:
        """The context for a new connection. The server's loop calls it: it must neither block nor raise."""

    @abstractmethod
    def complaint(self, connection: ssl.SSLObject | ssl.SSLSocket) -> str | None:
        """Why a connection whose handshake is done must be closed, or None. It never raises."""


CERTIFICATES = instance_of(
    Certificates, "a Tls, like `Tls(TlsSettings(cert_file=..., key_file=...))`, or None"
)


class _Loaded(NamedTuple):
    context: ssl.SSLContext
    ends: float | None


class Tls(Certificates):
    """The context for new connections, and what may be wrong with a connection after its handshake.

    Raises:
        ConfigurationError: certificates or keys cannot be read. If that happens later, those from before stay
            in use.
    """

    def __init__(self, settings: TlsSettings) -> None:
        self._settings = settings
        allowed = settings.client_allowed_sans
        self._allowed = None if allowed is None else frozenset(allowed)
        if settings.min_version in ("TLS10", "TLS11"):
            logger.warning("min_version: %s is taken for TLS12, the oldest here", settings.min_version)
        self._watched = Watched(settings.files, lambda: _loaded(settings))

    @property
    def problem(self) -> str | None:
        """Why the certificates in use are older than their files, or None."""
        return self._watched.problem

    @property
    def demands(self) -> frozenset[str]:
        """What is asked of every client: a certificate, of certain authorities, for certain names."""
        settings = self._settings
        asked = {
            "certificate": settings.client_auth == "RequireAndVerifyClientCert",
            "authorities": settings.client_ca_file or settings.client_ca,
            "names": settings.client_allowed_sans is not None,
        }
        return frozenset(name for name, is_asked in asked.items() if is_asked)

    @property
    def ends(self) -> float | None:
        """When the certificate that is served ends, in seconds since 1970; None if it does not say so."""
        return self._watched.get().ends

    def context(self) -> ssl.SSLContext:
        """The context for a new connection. It looks at files once a second at most, and never raises."""
        return self._watched.get().context

    def complaint(self, connection: ssl.SSLObject | ssl.SSLSocket) -> str | None:
        """Why a connection whose handshake is done must be closed, or None. It never raises."""
        if self._allowed is None:
            return None
        try:
            certificate = connection.getpeercert()
        except ValueError:  # the handshake is not done
            certificate = None
        names = _alternative_names(certificate or {})
        if self._allowed.isdisjoint(names):
            return f"the client's certificate is for none of the allowed SANs, but for {sorted(names)[:10]}"
        return None


def _alternative_names(certificate: Mapping[str, object]) -> set[str]:
    entries = certificate.get("subjectAltName", ())
    names = set()
    for entry in entries if isinstance(entries, tuple) else ():
        if not isinstance(entry, tuple) or len(entry) != 2:
            continue
        kind, name = entry
        if kind == "IP Address":
            names.add(_canonical(name))
        elif kind in ("DNS", "URI", "email"):
            names.add(name)
    return names


def _canonical(address: str) -> str:
    try:
        return str(ip_address(address.strip()))  # OpenSSL writes 2001:DB8:0:0:0:0:0:1
    except ValueError:
        return address


def _loaded(settings: TlsSettings) -> _Loaded:
    context = _context(settings)
    if not settings.cert_file:
        return _Loaded(context, not_after(settings.cert.encode(errors="replace")))
    with open(settings.cert_file, "rb") as file:
        return _Loaded(context, not_after(file.read()))


def _context(settings: TlsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    # Nothing needs renegotiation, and clients can make a server work with it.
    context.options |= ssl.OP_NO_RENEGOTIATION
    if not settings.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    _set_versions(context, settings)
    for curve in settings.curve_preferences:
        context.set_ecdh_curve(CURVES[curve])
    _load_certificate(context, settings)
    _load_client_ca(context, settings)
    context.verify_mode = _CLIENT_AUTH[settings.client_auth]
    return context


def _set_versions(context: ssl.SSLContext, settings: TlsSettings) -> None:
    oldest = settings.min_version
    ciphers = [CIPHER_SUITES[name] for name in settings.cipher_suites if name in CIPHER_SUITES]
    if ciphers:
        _set_ciphers(context, ciphers)
    elif settings.cipher_suites:
        oldest = "TLS13"  # as in Go: without a cipher suite, there is no older version
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if oldest == "TLS13" else ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion(_VERSIONS[settings.max_version])


def _set_ciphers(context: ssl.SSLContext, ciphers: list[str]) -> None:
    expected = "cipher suites that this machine's OpenSSL has and allows"
    try:
        context.set_ciphers(":".join(ciphers))
    except ssl.SSLError:
        raise ConfigurationError("cipher_suites", ciphers, expected) from None


def _load_certificate(context: ssl.SSLContext, settings: TlsSettings) -> None:
    with ExitStack() as stack:
        cert = settings.cert_file or stack.enter_context(_as_file(settings.cert))
        key = settings.key_file or stack.enter_context(_as_file(settings.key))
        key_name = "cert_file" if settings.cert_file else "cert"
        for name, path in ((key_name, cert), ("key_file" if settings.key_file else "key", key)):
            _check_readable(name, path)
        try:
            context.load_cert_chain(cert, key, password=_no_password)
        except (OSError, ValueError) as error:
            shown = settings.cert_file or Described("the certificate")
            expected = f"a certificate and its key, both in PEM and not encrypted ({_reason(error)})"
            raise ConfigurationError(key_name, shown, expected) from None


def _no_password() -> NoReturn:
    # Without this, OpenSSL would ask for a password on the terminal, and wait.
    raise ValueError("the key is encrypted")


def _load_client_ca(context: ssl.SSLContext, settings: TlsSettings) -> None:
    if settings.client_auth == "NoClientCert":
        return
    if not (settings.client_ca_file or settings.client_ca):
        context.load_default_certs(ssl.Purpose.CLIENT_AUTH)  # as in Go: those of the machine
        return
    key = "client_ca_file" if settings.client_ca_file else "client_ca"
    shown = settings.client_ca_file or HIDDEN
    if settings.client_ca_file:
        _check_readable(key, settings.client_ca_file)
    try:
        if settings.client_ca_file:
            context.load_verify_locations(cafile=settings.client_ca_file)
        else:
            context.load_verify_locations(cadata=settings.client_ca)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(key, shown, f"certificates in PEM ({_reason(error)})") from None


def _check_readable(key: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        shown = path if "-----" not in path else Described("PEM")  # which may be a key
        raise ConfigurationError(key, shown, f"the path of a file that can be read ({reason})") from None


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None)
    return str(reason or error)


@contextmanager
def _as_file(pem: str) -> Iterator[str]:
    """The path of a file that holds the text, because ``ssl`` takes only paths. Nobody else can read it."""
    if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
        descriptor = os.memfd_create("otel-prom-bridge", os.MFD_CLOEXEC)
        with open(descriptor, "wb") as file:
            file.write(pem.encode(errors="replace"))
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
        return
    with tempfile.TemporaryDirectory(prefix="otel-prom-bridge-") as directory:  # for us alone: mode 0700
        path = os.path.join(directory, "pem")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem.encode(errors="replace"))
        yield path
