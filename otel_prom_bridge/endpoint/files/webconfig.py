"""``web-config.yml``: the file that tells every Prometheus exporter of TLS and passwords.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md

What the toolkit refuses is refused here. Beyond that, this is stricter where the toolkit would do something
that nobody can mean: a ``tls_server_config`` that turns nothing on, versions that exclude each other, a burst
that lets nothing pass, a hash that is none.

The file is read again while the program runs, like the certificates that it names. When the file is bad then,
the toolkit answers every request with 500. Here the last good content stays in use and the log says so once,
because a typo must not blind the monitoring.

Some changes need a restart, because they are taken for a typo as well: those that would take away all users,
what is asked of clients' certificates, or TLS itself, and those that would turn TLS on. A file that an editor
has just emptied, or has not yet written to its end, looks like that. ``rate_limit`` and ``http2`` are read
once, as in the toolkit.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from typing import Any

from otel_prom_bridge.diagnostics import logger
from otel_prom_bridge.endpoint.files.documents import Part, read_document
from otel_prom_bridge.endpoint.files.tls import Certificates, Tls, TlsSettings
from otel_prom_bridge.endpoint.files.watching import Watched
from otel_prom_bridge.endpoint.guards import Guards, RateLimit
from otel_prom_bridge.endpoint.guards.credentials import Users, checked_users, load_bcrypt
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.values.checks import PATH

# The toolkit lets these be set and no others, to keep the exporters alike.
_HEADERS: dict[str, tuple[str, ...]] = {
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
    "Content-Security-Policy": (),
}
_TLS_PATHS = ("cert_file", "key_file", "client_ca_file")
_TLS_TEXTS = ("cert", "key", "client_ca", "client_auth_type", "min_version", "max_version")
_TLS_LISTS = ("client_allowed_sans", "cipher_suites", "curve_preferences")


def load(path: str | os.PathLike[str]) -> WebConfig:
    """The configuration of a ``web-config.yml``, and of what it will become while the program runs.

    Raises:
        ConfigurationError: there is no such file, or something in it cannot work; the message says where.
    """
    return WebConfig(PATH.value("web_config", path))


@dataclass(frozen=True, slots=True, repr=False)
class _Content:
    tls: Tls | None
    users: Users
    headers: tuple[tuple[str, str], ...]
    rate: RateLimit | None


class WebConfig:
    """What a ``web-config.yml`` says at the moment; see :func:`load`."""

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        self._last: _Content | None = None
        self._watched = Watched([self._path], self._read)
        content = self._watched.get()
        self.tls = None if content.tls is None else WebTls(self._watched)
        self.rate = content.rate

    @property
    def problem(self) -> str | None:
        """Why what is in use is older than the files, or None."""
        return self._watched.problem or (self.tls.problem if self.tls is not None else None)

    def users(self) -> Users:
        """The users with the hashes of their passwords. It never raises."""
        return self._watched.get().users

    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers to put on responses. It never raises."""
        return self._watched.get().headers

    def guards(self, **options: Any) -> Guards:
        """Guards with the file's users, headers and rate limit, and these options of :class:`Guards`."""
        given: dict[str, Any] = {"basic_users": self.users, "headers": self.headers}
        if self.rate is not None:
            given["rate_limit"] = self.rate
        for key in given.keys() & options.keys():
            raise ConfigurationError(key, options[key], f"no such option: {self._path} says it")
        return _WebGuards(self._watched, **given, **options)

    def _read(self) -> _Content:
        content = _content(read_document(self._path))
        if self._last is not None:
            self._check_step(self._last, content)
        self._last = content
        return content

    def _check_step(self, old: _Content, new: _Content) -> None:
        if (old.tls is None) != (new.tls is None):
            key, change = "tls_server_config", "turning TLS on or off"
        elif old.users and not new.users:
            key, change = "basic_auth_users", "letting in everybody"
        elif old.tls is not None and new.tls is not None and old.tls.demands - new.tls.demands:
            key, change = "tls_server_config", "asking less of clients' certificates"
        else:
            return
        raise ConfigurationError(f"{self._path}: {key}", change, "no such change without a restart")


class _WebGuards(Guards):
    """Guards that follow the file."""

    def __init__(self, watched: Watched[_Content], **options: Any) -> None:
        super().__init__(**options)
        self._watched = watched

    @property
    def problem(self) -> str | None:
        """Why the tokens or the users in use are older than their files, or None."""
        return self._watched.problem or super().problem


class WebTls(Certificates):
    """The TLS of a ``web-config.yml``; like :class:`Tls`, and it follows the file as well."""

    def __init__(self, watched: Watched[_Content]) -> None:
        self._watched = watched

    @property
    def problem(self) -> str | None:
        """Why the certificates in use are older than their files, or None."""
        return self._current().problem

    @property
    def demands(self) -> frozenset[str]:
        """What is asked of every client; no step takes anything of that away."""
        return self._current().demands

    @property
    def ends(self) -> float | None:
        """When the certificate that is served ends, in seconds since 1970; None if it does not say so."""
        return self._current().ends

    def context(self) -> ssl.SSLContext:
        """The context for a new connection. It never raises."""
        return self._current().context()

    def complaint(self, connection: ssl.SSLObject | ssl.SSLSocket) -> str | None:
        """Why a connection whose handshake is done must be closed, or None. It never raises."""
        return self._current().complaint(connection)

    def _current(self) -> Tls:
        tls = self._watched.get().tls
        assert tls is not None  # no step leads from TLS to none
        return tls


def _content(document: Part) -> _Content:
    parts = document.fields("tls_server_config", "http_server_config", "basic_auth_users", "rate_limit")
    if "basic_auth_users" in document.entries() and not parts["basic_auth_users"].entries():
        logger.warning("%s: basic_auth_users names no user, so nobody needs a password", document.file)
    return _Content(
        tls=_tls(parts["tls_server_config"]),
        users=_users(parts["basic_auth_users"]),
        headers=_headers(parts["http_server_config"]),
        rate=_rate(parts["rate_limit"]),
    )


def _tls(part: Part) -> Tls | None:
    fields = part.fields(*_TLS_PATHS, *_TLS_TEXTS, *_TLS_LISTS, "prefer_server_cipher_suites")
    if all(field.is_missing for field in fields.values()):
        return None
    directory = os.path.dirname(part.file)
    options: dict[str, Any] = {}
    for name in _TLS_PATHS:
        options[name] = (path := fields[name].string()) and os.path.join(directory, path)
    for name in _TLS_TEXTS:
        options[name] = fields[name].string()
    for name in _TLS_LISTS:
        options[name] = fields[name].strings()
    options["prefer_server_cipher_suites"] = fields["prefer_server_cipher_suites"].boolean(default=True)
    if fields["client_allowed_sans"].is_missing:
        options["client_allowed_sans"] = None
    options["client_auth"] = options.pop("client_auth_type") or "NoClientCert"
    for name in ("min_version", "max_version"):
        if fields[name].is_missing:
            del options[name]
    try:
        return Tls(TlsSettings(**options))
    except ConfigurationError as error:
        key = "client_auth_type" if error.key == "client_auth" else error.key
        field = fields.get(key, part)
        if field.is_missing:
            field = Part(part.file, f"{part.key}.{key}", part.node)
        raise field.error(error.value, error.expected) from None


def _users(part: Part) -> Users:
    users = {}
    for name, entry in part.entries().items():
        try:
            users.update(checked_users("", {name: entry.string()}))
        except ConfigurationError as error:
            raise entry.error(error.value, error.expected) from None
    if users:
        load_bcrypt()
    return users


def _headers(part: Part) -> tuple[tuple[str, str], ...]:
    fields = part.fields("http2", "headers")
    fields["http2"].boolean(default=True)  # there is no HTTP/2 here, and every client speaks HTTP/1.1, too
    fields["headers"].fields(*_HEADERS)
    found = []
    for name, entry in fields["headers"].entries().items():
        value, allowed = entry.string(), _HEADERS[name]  # null is an empty text, as in the toolkit
        if allowed and value not in allowed:
            raise entry.error(value, f"one of {', '.join(map(repr, allowed))}")
        if not (value.isascii() and value.isprintable()):
            raise entry.error(value, "printable ASCII in one line")
        if value:
            found.append((name, value))
    return tuple(found)


def _rate(part: Part) -> RateLimit | None:
    fields = part.fields("interval", "burst")
    interval, burst = fields["interval"].seconds(), fields["burst"].whole()
    if not interval:
        return None
    if not burst:
        raise fields["burst"].error(burst, "at least 1: with less, no request would pass")
    return RateLimit(interval=interval, burst=burst)
