"""Starting the server that the settings describe, with everything in front of it that they ask for.

What is to protect the metrics fails closed. If a token file cannot be read, a certificate has no key, or a
network is not one, ``start()`` raises. Where nothing may be raised, nothing is served.
"""

from __future__ import annotations

import errno
import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from otel_prom_bridge import processes
from otel_prom_bridge.configuration.environment import is_alias
from otel_prom_bridge.configuration.settings import Settings
from otel_prom_bridge.diagnostics import logger
from otel_prom_bridge.endpoint.files.tls import Certificates, Tls, TlsSettings
from otel_prom_bridge.endpoint.files.webconfig import load
from otel_prom_bridge.endpoint.guards import Guards, RateLimit
from otel_prom_bridge.endpoint.health import Health, HealthCheck
from otel_prom_bridge.endpoint.pages import pages_of
from otel_prom_bridge.endpoint.served import Served
from otel_prom_bridge.endpoint.server.limits import ServerLimits
from otel_prom_bridge.endpoint.server.server import MetricsServer, not_serving, start_http_server
from otel_prom_bridge.errors import ConfigurationError, EndpointError

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


def serve(
    source: Served,
    settings: Settings,
    *,
    strict: bool = True,
    ready: Mapping[str, HealthCheck] | None = None,
) -> MetricsServer:
    """Serve a reader as the settings say.

    Of an application with several processes, the first one gets the place that the settings name, and another
    one the next place that is free. ``strict`` is for settings that do not say it, and ``ready`` for settings
    that do not have checks of their own.

    Raises:
        ConfigurationError: something that is to protect the metrics cannot work.
        EndpointError: the address cannot be opened, and the endpoint is strict.
    """
    endpoint = settings.endpoint
    is_lenient = not endpoint["strict"] and processes.is_one_of_several()
    places = _places(endpoint) if is_lenient else _places(endpoint)[:1]
    try:
        return _served(source, settings, places, ready)
    except EndpointError as error:
        # A worker for which no place is left must not keep its server from starting, again and again.
        is_left_out = is_lenient and error.errno == errno.EADDRINUSE
        if (strict if endpoint["strict"] is None else endpoint["strict"]) and not is_left_out:
            raise
        return unserved(settings, _advised(error) if is_left_out else error)


def _advised(error: EndpointError) -> EndpointError:
    return EndpointError(error.errno, f"{error.strerror}. {processes.ONE_FOR_ALL}")


def serve_if_possible(
    source: Served,
    settings: Settings,
    *,
    beside: bool = False,
    ready: Mapping[str, HealthCheck] | None = None,
) -> MetricsServer | None:
    """The same for those who must not raise, unless the settings are strict.

    What is wrong is logged once, and ``is_serving`` of the result is False. If another process of the
    application has the place, it depends on ``beside``: either the next place that is free is taken, or the
    result is None.
    """
    endpoint = settings.endpoint
    problem: Exception | None = None
    try:
        if endpoint["strict"] or not settings.refused:  # what was refused has been logged already
            places = _places(endpoint)
            return _served(source, settings, places if beside else places[:1], ready)
    except Exception as error:
        if endpoint["strict"]:
            raise
        is_taken = isinstance(error, EndpointError) and error.errno == errno.EADDRINUSE
        if is_taken and not beside and processes.is_one_of_several():
            return None
        problem = error
    return unserved(settings, problem)


def unserved(settings: Settings, problem: Exception | None) -> MetricsServer:
    """What there is instead of the endpoint of the settings. The log says why, if a problem is given."""
    endpoint = settings.endpoint
    place = {key: endpoint[key] for key in ("unix_socket", "metrics_path")}
    return not_serving(problem, endpoint["host"], endpoint["port"], **place)


def _served(
    source: Served,
    settings: Settings,
    places: Sequence[Mapping[str, Any]],
    ready: Mapping[str, HealthCheck] | None,
) -> MetricsServer:
    """Serve at the first of the places that nobody else has."""
    for refused in settings.refused:
        raise refused
    endpoint = settings.endpoint
    taken: EndpointError | None = None
    with _named(settings.names):
        tls, guards = _protection(settings)
        answers = _answers(source, settings, ready)
        for place in places:
            try:
                server = start_http_server(
                    source,
                    **place,
                    tls=tls,
                    guards=guards,
                    strict=True,
                    limits=ServerLimits(**{key: endpoint[key] for key in _LIMITS}),
                    **answers,
                )
            except EndpointError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                taken = taken or error
            else:
                if taken is not None:
                    _say_where(server, places[0])
                return server
    assert taken is not None
    raise taken


def _answers(source: Served, settings: Settings, ready: Mapping[str, HealthCheck] | None) -> dict[str, Any]:
    """What is answered at which path, as arguments of the server."""
    endpoint = settings.endpoint
    answers = {key: endpoint[key] for key in _ANSWERS}
    answers["explorer"] = pages_of(
        source, endpoint["explorer"], trace_url=endpoint["trace_url"], problems=settings.problems
    )
    if answers["health"] in (True, None):
        answers["health"] = Health(source, ready=ready)
    return answers


def _say_where(server: MetricsServer, wanted: Mapping[str, Any]) -> None:
    logger.log(
        logging.WARNING if processes.is_first_to_say() else logging.INFO,
        "%s is taken, as it looks by another process of this application; process %d serves what it records "
        "at %s: have both of them scraped. %s",
        wanted.get("unix_socket") or f"port {wanted['port']}",
        os.getpid(),
        server.url,
        processes.ONE_FOR_ALL,
    )


def _places(endpoint: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Where the endpoint is to be, and where it may be if another process of the application is there."""
    path, host, port = endpoint["unix_socket"], endpoint["host"], endpoint["port"]
    most = endpoint["process_ports"]
    if path is not None:
        return [{"unix_socket": path}, {"unix_socket": f"{path}.{os.getpid()}"}][:most]
    last = port if port == 0 else min(port + most - 1, 65535)
    return [{"port": number, "addr": host} for number in range(port, last + 1)]


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
