"""The options of the endpoint: where it is, how it answers, and who may ask.

The names are those of the field where it has any: the keys of the exporter-toolkit's ``web-config.yml``, the
options of ``promhttp``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypedDict

from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_PROMETHEUS_HOST,
    OTEL_EXPORTER_PROMETHEUS_PORT,
)

from otel_prom_bridge.configuration.endpoint_checks import NAMES, RATE, TLS_VERSION
from otel_prom_bridge.configuration.table import Alias, Option, ours
from otel_prom_bridge.endpoint.guards.networks import NETWORKS, PROXIES
from otel_prom_bridge.endpoint.health import HEALTH, Health
from otel_prom_bridge.endpoint.messages import METRICS_PATH, URL_PATH
from otel_prom_bridge.endpoint.scrape import DEFAULT_CACHE_TTL, GZIP_THRESHOLD
from otel_prom_bridge.endpoint.server.limits import ServerLimits
from otel_prom_bridge.endpoint.server.server import DEFAULT_ADDRESS, DEFAULT_PORT
from otel_prom_bridge.values.checks import (
    BOOLEAN,
    HOST,
    INTERVAL,
    PATH,
    PORT,
    POSITIVE,
    SECONDS,
    SOCKET,
    THRESHOLD,
)

_LIMITS = ServerLimits()


def _off(instead: object) -> Callable[[str], object]:
    """Reads "is it on?": nothing is said by yes, and by no that it is switched off with this value."""
    return lambda text: None if BOOLEAN.check(BOOLEAN.read(text)) else instead


WHERE = (
    Option(
        key="host",
        argument="addr",
        variable=OTEL_EXPORTER_PROMETHEUS_HOST,
        variable_of_ours=ours("host"),
        check=HOST,
        default=DEFAULT_ADDRESS,
        meaning="the address to listen on; `0.0.0.0` and `::` open it to the network, `systemd` takes the"
        " sockets that systemd opened",
    ),
    Option(
        key="port",
        variable=OTEL_EXPORTER_PROMETHEUS_PORT,
        variable_of_ours=ours("port"),
        check=PORT,
        default=DEFAULT_PORT,
        meaning="the TCP port; 0 takes a free one",
        aliases=(Alias(variable="METRICS_ENDPOINT_PORT"),),
    ),
    Option(
        key="unix_socket",
        variable=ours("unix_socket"),
        check=SOCKET,
        without="none",
        meaning="a Unix socket to listen on, instead of `host` and `port`",
        protects=True,  # what was to be behind a file's permissions must not be on a port
    ),
    Option(
        key="strict",
        variable=ours("strict"),
        check=BOOLEAN,
        without="`true` with `start()`, else `false`",
        meaning="raise if the address cannot be had; otherwise log that, and record without serving",
    ),
)
ANSWERS = (
    Option(
        key="metrics_path",
        variable=ours("metrics_path"),
        check=URL_PATH,
        default=METRICS_PATH,
        meaning="where the metrics are",
        aliases=(Alias(variable="METRICS_ENDPOINT_PATH"),),
    ),
    Option(
        key="cache_ttl",
        variable=ours("cache_ttl"),
        check=INTERVAL,
        without=f"`{DEFAULT_CACHE_TTL}`",
        meaning="for how many seconds a complete answer is given again",
        aliases=(
            Alias(variable="METRICS_CACHE_ENABLED", read=_off(0), note="`false` for 0"),
            Alias(variable="METRICS_CACHE_TTL_MS", read=lambda text: float(text) / 1000, note="milliseconds"),
        ),
    ),
    Option(
        key="compression_threshold",
        variable=ours("compression_threshold"),
        check=THRESHOLD,
        default=GZIP_THRESHOLD,
        meaning="from how many bytes on a body is compressed, for a scraper that takes gzip",
        aliases=(
            Alias(variable="METRICS_COMPRESSION_ENABLED", read=_off(False), note="`false` for never"),
            Alias(variable="METRICS_COMPRESSION_MIN_SIZE"),
        ),
    ),
    Option(
        key="health",
        variable=ours("health"),
        check=HEALTH,
        default=True,
        meaning="answer at `/health` and `/ready`; in Python, a `Health` with checks of one's own, too",
    ),
)
GUARDS = (
    Option(
        key="allow",
        variable=ours("allow"),
        check=NETWORKS,
        without="all",
        meaning="the networks that may ask; others are not listened to",
        protects=True,
    ),
    Option(
        key="trusted_proxies",
        variable=ours("trusted_proxies"),
        check=PROXIES,
        without="none",
        meaning="the proxies whose `X-Forwarded-For` is believed",
        protects=True,
    ),
    Option(
        key="rate_limit",
        variable=ours("rate_limit"),
        check=RATE,
        without="none",
        meaning="requests per second of all clients together, but for `/health` and `/ready`; others get 429",
        aliases=(Alias(variable="METRICS_RATE_LIMIT_RPS"),),
        protects=True,
    ),
    Option(
        key="rate_burst",
        variable=ours("rate_burst"),
        check=POSITIVE,
        without="those of one second",
        meaning="how many requests may come at once",
        aliases=(Alias(variable="METRICS_RATE_LIMIT_BURST"),),
        protects=True,
    ),
    Option(
        key="peer_rate_limit",
        variable=ours("peer_rate_limit"),
        check=RATE,
        without="none",
        meaning="the same for each client",
        protects=True,
    ),
    Option(
        key="peer_rate_burst",
        variable=ours("peer_rate_burst"),
        check=POSITIVE,
        without="those of one second",
        meaning="the same for each client",
        protects=True,
    ),
    Option(
        key="max_in_flight",
        variable=ours("max_in_flight"),
        check=POSITIVE,
        default=_LIMITS.max_in_flight,
        meaning="how many requests are answered at a time; others get 503",
    ),
    Option(
        key="bearer_tokens_file",
        variable=ours("bearer_tokens_file"),
        check=PATH,
        without="none",
        meaning="a file with a token in each line, of which a client needs one; read again when it changes",
        protects=True,
    ),
    Option(
        key="health_open",
        variable=ours("health_open"),
        check=BOOLEAN,
        default=True,
        meaning="answer at `/health` and `/ready` without a token or a password, too; not with details",
        protects=True,
    ),
)
TLS = (
    Option(
        key="web_config",
        variable=ours("web_config"),
        check=PATH,
        without="none",
        meaning="a `web-config.yml` as exporters have it: TLS, users, headers, a rate; instead of `tls_*`",
        protects=True,
    ),
    Option(
        key="tls_cert_file",
        variable=ours("tls_cert_file"),
        check=PATH,
        without="none: plain HTTP",
        meaning="a certificate, or a chain of them, in PEM; read again when it changes",
        protects=True,
    ),
    Option(
        key="tls_key_file",
        variable=ours("tls_key_file"),
        check=PATH,
        without="none",
        meaning="its key, in PEM and not encrypted",
        protects=True,
    ),
    Option(
        key="tls_client_ca_file",
        variable=ours("tls_client_ca_file"),
        check=PATH,
        without="none",
        meaning="authorities, in PEM; then every client needs a certificate of theirs",
        protects=True,
    ),
    Option(
        key="tls_client_allowed_sans",
        variable=ours("tls_client_allowed_sans"),
        check=NAMES,
        without="any",
        meaning="and one for at least one of these alternative names",
        protects=True,
    ),
    Option(
        key="tls_min_version",
        variable=ours("tls_min_version"),
        check=TLS_VERSION,
        without="`TLS12`",
        meaning="the oldest version of TLS",
        protects=True,
    ),
)
DEADLINES = (
    Option(
        key="head_timeout",
        variable=ours("head_timeout"),
        check=SECONDS,
        default=_LIMITS.head_timeout,
        meaning="how long a client may take for a request, from its first byte to its last",
    ),
    Option(
        key="handshake_timeout",
        variable=ours("handshake_timeout"),
        check=SECONDS,
        default=_LIMITS.handshake_timeout,
        meaning="how long it may take for the handshake of TLS",
    ),
    Option(
        key="write_timeout",
        variable=ours("write_timeout"),
        check=SECONDS,
        default=_LIMITS.write_timeout,
        meaning="how long it may take to receive a response",
    ),
    Option(
        key="idle_timeout",
        variable=ours("idle_timeout"),
        check=SECONDS,
        default=_LIMITS.idle_timeout,
        meaning="how long a connection is kept between requests; more than the scrape interval",
    ),
    Option(
        key="max_connections",
        variable=ours("max_connections"),
        check=POSITIVE,
        without="a quarter of the file descriptors that the process may have, 512 at most",
        meaning="how many connections there may be",
    ),
)
ENDPOINT_OPTIONS = WHERE + ANSWERS + GUARDS + TLS + DEADLINES


class EndpointOptions(TypedDict, total=False):
    """The endpoint's options but ``addr`` and ``port``, as keyword arguments; None and a missing one are
    the same."""

    unix_socket: str | os.PathLike[str] | None
    strict: bool | None
    metrics_path: str | None
    cache_ttl: float | None
    compression_threshold: int | bool | None
    health: Health | bool | None
    allow: Sequence[str] | None
    trusted_proxies: Sequence[str] | None
    rate_limit: float | None
    rate_burst: int | None
    peer_rate_limit: float | None
    peer_rate_burst: int | None
    max_in_flight: int | None
    bearer_tokens_file: str | os.PathLike[str] | None
    health_open: bool | None
    web_config: str | os.PathLike[str] | None
    tls_cert_file: str | os.PathLike[str] | None
    tls_key_file: str | os.PathLike[str] | None
    tls_client_ca_file: str | os.PathLike[str] | None
    tls_client_allowed_sans: Sequence[str] | None
    tls_min_version: str | None
    head_timeout: float | None
    handshake_timeout: float | None
    write_timeout: float | None
    idle_timeout: float | None
    max_connections: int | None
