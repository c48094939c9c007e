"""Starting the server that the settings describe, with everything in front of it that they ask for.

What is to protect the metrics fails closed. If a token file cannot be read, a certificate has no key, or a
network is not one, ``start()`` raises. Where nothing may be raised, nothing is served.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from otel_prom_bridge.configuration.environment import is_alias
from otel_prom_bridge.configuration.settings import Settings
from otel_prom_bridge.diagnostics import logger
from otel_prom_bridge.endpoint.files.tls import Certificates, Tls, TlsSettings
from otel_prom_bridge.endpoint.files.webconfig import load
from otel_prom_bridge.endpoint.guards import Guards, RateLimit
from otel_prom_bridge.endpoint.served import Served
from otel_prom_bridge.endpoint.server.limits import ServerLimits
from otel_prom_bridge.endpoint.server.server import MetricsServer, not_serving, start_http_server
from otel_prom_bridge.errors import ConfigurationError

_LIMITS = (
    "head_timeout",
    "handshake_timeout",
    "write_timeout",
    "idle_timeout",
    "max_connections",
    "max_in_flight",
)
_ANSWERS = ("metrics_path", "cache_ttl", "compression_threshold", "health")
_OF_GUARDS = ("allow", "trusted_proxies", "bearer_tokens_file", "health_open")


def serve(source: Served, settings: Settings, *, strict: bool = True) -> MetricsServer:
    """Serve a reader as the settings say. ``strict`` counts where the settings do not say it.

    Raises:
        ConfigurationError: something that is to protect the metrics cannot work.
        EndpointError: the address cannot be opened, and the endpoint is strict.
    """
    for error in settings.refused:
        raise error
    endpoint = settings.endpoint
    if endpoint["strict"] is not None:
        strict = endpoint["strict"]
    with _named(settings.names):
        tls, guards = _protection(settings)
        return start_http_server(
            source,
            **_place(endpoint),
            tls=tls,
            guards=guards,
            strict=strict,
            limits=ServerLimits(**{key: endpoint[key] for key in _LIMITS}),
            **{key: endpoint[key] for key in _ANSWERS},
        )


def serve_if_possible(source: Served, settings: Settings) -> MetricsServer:
    """Serve a reader as the settings say, without raising unless the settings are strict.

    If something is wrong, it is logged once, and ``is_serving`` of the result is False.
    """
    endpoint = settings.endpoint
    problem: Exception | None = None
    try:
        if endpoint["strict"] or not settings.refused:  # what was refused has been logged already
            return serve(source, settings, strict=False)
    except Exception as error:
        if endpoint["strict"]:
            raise
        problem = error
    place = {key: endpoint[key] for key in ("unix_socket", "metrics_path")}
    return not_serving(problem, endpoint["host"], endpoint["port"], **place)


def _place(endpoint: Mapping[str, Any]) -> dict[str, Any]:
    if endpoint["unix_socket"] is not None:
        return {"unix_socket": endpoint["unix_socket"]}
    return {"port": endpoint["port"], "addr": endpoint["host"]}


def _protection(settings: Settings) -> tuple[Certificates | None, Guards | None]:
    endpoint = settings.endpoint
    options = _guards(endpoint)
    if endpoint["web_config"] is None:
        return _tls(endpoint), Guards(**options) if options else None
    config = load(endpoint["web_config"])
    name = settings.names.get("rate_limit", "")
    if config.rate is not None and is_alias(name):
        logger.warning("%s: the rate limit of %s counts, so it is passed over", name, endpoint["web_config"])
        del options["rate_limit"]
    return config.tls, config.guards(**options)


def _guards(endpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the guards without those that say what is the default anyway."""
    options = {key: endpoint[key] for key in _OF_GUARDS}
    options["rate_limit"] = _rate(endpoint["rate_limit"], endpoint["rate_burst"])
    options["peer_rate_limit"] = _rate(endpoint["peer_rate_limit"], endpoint["peer_rate_burst"])
    if options["health_open"]:
        del options["health_open"]
    return {key: value for key, value in options.items() if value is not None}


def _rate(per_second: float | None, burst: int | None) -> RateLimit | None:
    if per_second is None:
        return None
    return RateLimit(interval=1 / per_second, burst=burst or max(1, math.ceil(per_second)))


def _tls(endpoint: Mapping[str, Any]) -> Tls | None:
    if endpoint["tls_cert_file"] is None:
        return None
    options = {
        "cert_file": endpoint["tls_cert_file"],
        "key_file": endpoint["tls_key_file"],
        "client_ca_file": endpoint["tls_client_ca_file"],
        "client_auth": endpoint["tls_client_ca_file"] and "RequireAndVerifyClientCert",
        "client_allowed_sans": endpoint["tls_client_allowed_sans"],
        "min_version": endpoint["tls_min_version"],
    }
    with _named({key: f"tls_{key}" for key in options}):
        return Tls(TlsSettings(**{key: value for key, value in options.items() if value is not None}))


@contextmanager
def _named(names: Mapping[str, str]) -> Iterator[None]:
    """Let errors call an option by the name under which it was given."""
    try:
        yield
    except ConfigurationError as error:
        key = "host" if error.key == "addr" else error.key
        raise error.renamed(names.get(key, error.key)) from None
