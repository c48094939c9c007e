"""The options, in one table. Every option is one row of facts.

The table says everything about an option. How it is read and checked, its variable and its line in the
documentation follow from its row. So an option means the same whichever way it came, and a wrong value gets
the same answer everywhere: which key, which value, and what is allowed.

The options of the endpoint have the names that are known in the field where there are any: the keys of the
exporter-toolkit's ``web-config.yml``, and the options of ``promhttp``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_PROMETHEUS_HOST,
    OTEL_EXPORTER_PROMETHEUS_PORT,
)

from otel_prom_bridge.configuration.option import Alias, Option
from otel_prom_bridge.endpoint.guards.networks import NETWORKS, PROXIES
from otel_prom_bridge.endpoint.health import HEALTH
from otel_prom_bridge.endpoint.messages import METRICS_PATH, URL_PATH
from otel_prom_bridge.endpoint.scrape import DEFAULT_CACHE_TTL, GZIP_THRESHOLD
from otel_prom_bridge.endpoint.server.limits import ServerLimits
from otel_prom_bridge.endpoint.server.server import DEFAULT_ADDRESS, DEFAULT_PORT
from otel_prom_bridge.explorer.options import EXPLORER, TRACE_URL
from otel_prom_bridge.pipeline.options import DEFAULT_COLLECT_INTERVAL, DEFAULT_SCRAPE_TIMEOUT
from otel_prom_bridge.profiles import GENERATION, PROFILES
from otel_prom_bridge.push.wire import DEFAULT_INTERVAL, HUB, TOKEN
from otel_prom_bridge.translate import TranslationStrategy
from otel_prom_bridge.translate.strategies import STRATEGY
from otel_prom_bridge.values.checks import (
    BOOLEAN,
    BOUND,
    BOUNDS,
    COMMON_LABELS,
    HOST,
    INTERVAL,
    NAMES,
    PATH,
    PATTERNS,
    PORT,
    POSITIVE,
    SECONDS,
    SOCKET,
    STRING,
    TEXT,
    THRESHOLD,
    Check,
    list_of,
    one_of,
)
from otel_prom_bridge.views.bounds import (
    DEFAULT_CLIENT_VALUES,
    DEFAULT_HELP_LENGTH,
    DEFAULT_LABELS,
    DEFAULT_VALUE_LENGTH,
)
from otel_prom_bridge.views.context_labels import CHECK as CONTEXT_LABELS
from otel_prom_bridge.views.kinds import LIMITS
from otel_prom_bridge.views.tenants import DEFAULT_MAX_SERIES
from otel_prom_bridge.views.workers import WORKERS
from otel_prom_bridge.views.written import EXEMPLARS, PRICES, TENANTS, VIEWS

DEFAULT_PROCESS_PORTS = 32


def _off(instead: object) -> Callable[[str], object]:
    """Reads the answer to "is it on?". A yes says nothing; a no means that the option has this value."""
    return lambda text: None if BOOLEAN.check(BOOLEAN.read(text)) else instead


def _rate(value: object) -> float:
    rate: float = SECONDS.check(value)
    if not 1 / rate < math.inf:
        raise ValueError
    return rate


RATE = Check(allowed="a number of requests per second, above zero", check=_rate, read=float)
TLS_VERSION = one_of("TLS12", "TLS13")
CERTIFICATE_NAMES = list_of(
    TEXT, "a list of names, at least one", least=1, example="prometheus.internal,ops@example.com"
)
USERS = list_of(TEXT, "a list of users, by name or number", example="www-data,1000")
DEFAULT_MAX_SOURCES, DEFAULT_MAX_PUSH_SIZE, DEFAULT_LINGER = 1024, 16 * 1024 * 1024, 20
DEFAULT_MAX_SERVICES = 256
_LIMITS = ServerLimits()

CONFIG_FILE = Option(
    "config_file",
    PATH,
    "a TOML file with the options of these tables; not in YAML, and not in the file itself",
    without="none",
)
PROFILE = Option(
    "profile",
    PROFILES,
    "a dialect of metrics: which families there are beside what `views` says, their labels, buckets and"
    " limits; see [profiles](profiles.md)",
    default="semconv",
)
PRESENT = Option(
    "present",
    GENERATION,
    "the names of the generative AI conventions that the profile `semconv` shows, whichever were"
    " recorded: those that producers emit today, the newest ones, or both",
    default="current",
)
# Where the endpoint is, how it answers, and how long it waits.
ENDPOINT = (
    Option(
        "host",
        HOST,
        "the address to listen on; `0.0.0.0` and `::` open it to the network, `systemd` takes the sockets"
        " that systemd opened",
        standard=OTEL_EXPORTER_PROMETHEUS_HOST,
        argument="addr",
        default=DEFAULT_ADDRESS,
    ),
    Option(
        "port",
        PORT,
        "the TCP port; 0 takes a free one",
        standard=OTEL_EXPORTER_PROMETHEUS_PORT,
        default=DEFAULT_PORT,
        aliases=(Alias("METRICS_ENDPOINT_PORT"),),
    ),
    Option(
        "unix_socket",
        SOCKET,
        "a Unix socket to listen on, instead of `host` and `port`",
        without="none",
        protects=True,  # what was to be behind a file's permissions must not be on a port
    ),
    Option(
        "strict",
        BOOLEAN,
        "raise if the address cannot be had; otherwise log that, and record without serving",
        without="`true` with `start()`, else `false`",
    ),
    Option(
        "process_ports",
        POSITIVE,
        "how many ports, from `port` on, the processes of one application may take, one each; 1 is for the"
        " first process only; see [workers.md](workers.md#what-happens-by-itself)",
        default=DEFAULT_PROCESS_PORTS,
    ),
    Option(
        "span_metrics",
        BOOLEAN,
        "metrics of calls, agents and tools from the spans of the process, where their libraries record none",
        default=False,
    ),
    Option(
        "metrics_path",
        URL_PATH,
        "where the metrics are",
        default=METRICS_PATH,
        aliases=(Alias("METRICS_ENDPOINT_PATH"),),
    ),
    Option(
        "cache_ttl",
        INTERVAL,
        "for how many seconds a complete answer is given again",
        without=f"`{DEFAULT_CACHE_TTL}`",
        aliases=(
            Alias("METRICS_CACHE_ENABLED", read=_off(0), note="`false` for 0"),
            Alias("METRICS_CACHE_TTL_MS", read=lambda text: float(text) / 1000, note="milliseconds"),
        ),
    ),
    Option(
        "compression_threshold",
        THRESHOLD,
        "from how many bytes on a body is compressed, for a scraper that takes gzip",
        default=GZIP_THRESHOLD,
        aliases=(
            Alias("METRICS_COMPRESSION_ENABLED", read=_off(False), note="`false` for never"),
            Alias("METRICS_COMPRESSION_MIN_SIZE"),
        ),
    ),
    Option(
        "health",
        HEALTH,
        "answer at `/health` and `/ready`; in Python, a `Health` with checks of one's own, too",
        default=True,
    ),
    Option(
        "explorer",
        EXPLORER,
        "a page at `/` and `/explorer` that shows what is exposed; an address that others reach needs a"
        " guard then; see [explorer.md](explorer.md)",
        default=False,
    ),
    Option(
        "trace_url",
        TRACE_URL,
        "where that page finds the trace of an exemplar",
        without="none",
    ),
    Option(
        "head_timeout",
        SECONDS,
        "how long a client may take for a request, from its first byte to its last",
        default=_LIMITS.head_timeout,
    ),
    Option(
        "handshake_timeout",
        SECONDS,
        "how long it may take for the handshake of TLS",
        default=_LIMITS.handshake_timeout,
    ),
    Option(
        "write_timeout", SECONDS, "how long it may take to receive a response", default=_LIMITS.write_timeout
    ),
    Option(
        "idle_timeout",
        SECONDS,
        "how long a connection is kept between requests; more than the scrape interval",
        default=_LIMITS.idle_timeout,
    ),
    Option(
        "max_connections",
        POSITIVE,
        "how many connections there may be",
        without="a quarter of the file descriptors that the process may have, 512 at most",
    ),
)
# Who may ask.
ACCESS = (
    Option(
        "allow",
        NETWORKS,
        "the networks that may ask; others are not listened to",
        without="all",
        protects=True,
    ),
    Option(
        "trusted_proxies",
        PROXIES,
        "the proxies whose `X-Forwarded-For` is believed",
        without="none",
        protects=True,
    ),
    Option(
        "rate_limit",
        RATE,
        "requests per second of all clients together, but for `/health` and `/ready`; others get 429",
        without="none",
        aliases=(Alias("METRICS_RATE_LIMIT_RPS"),),
        protects=True,
    ),
    Option(
        "rate_burst",
        POSITIVE,
        "how many requests may come at once",
        without="those of one second",
        aliases=(Alias("METRICS_RATE_LIMIT_BURST"),),
        protects=True,
    ),
    Option("peer_rate_limit", RATE, "the same for each client", without="none", protects=True),
    Option(
        "peer_rate_burst", POSITIVE, "the same for each client", without="those of one second", protects=True
    ),
    Option(
        "max_in_flight",
        POSITIVE,
        "how many requests are answered at a time; others get 503",
        default=_LIMITS.max_in_flight,
    ),
    Option(
        "bearer_tokens_file",
        PATH,
        "a file with a token in each line, of which a client needs one; read again when it changes",
        without="none",
        protects=True,
    ),
    Option(
        "health_open",
        BOOLEAN,
        "answer at `/health` and `/ready` without a token or a password, too; not with details",
        default=True,
        protects=True,
    ),
    Option(
        "web_config",
        PATH,
        "a `web-config.yml` as exporters have it: TLS, users, headers, a rate; instead of `tls_*`",
        without="none",
        protects=True,
    ),
    Option(
        "tls_cert_file",
        PATH,
        "a certificate, or a chain of them, in PEM; read again when it changes",
        without="none: plain HTTP",
        protects=True,
    ),
    Option("tls_key_file", PATH, "its key, in PEM and not encrypted", without="none", protects=True),
    Option(
        "tls_client_ca_file",
        PATH,
        "authorities, in PEM; then every client needs a certificate of theirs",
        without="none",
        protects=True,
    ),
    Option(
        "tls_client_allowed_sans",
        CERTIFICATE_NAMES,
        "and one for at least one of these alternative names",
        without="any",
        protects=True,
    ),
    Option("tls_min_version", TLS_VERSION, "the oldest version of TLS", without="`TLS12`", protects=True),
)
# How one process among several hands over what it records.
WORKER = (
    Option(
        "hub",
        HUB,
        "push to the hub there, and serve nothing in this process; `otel-prom-bridge run` sets the variable;"
        " see [workers.md](workers.md)",
        without="none",
    ),
    Option("hub_token", TOKEN, "what that hub wants to be told, over TCP", without="none"),
    Option("push_interval", SECONDS, "seconds between two pushes", default=DEFAULT_INTERVAL),
    Option(
        "flush_on_sigterm",
        BOOLEAN,
        "where nothing handles SIGTERM, push the rest before the process ends from it",
        default=True,
    ),
)
RECORDING = Option(
    "recording",
    one_of("sdk", "direct"),
    "who takes what is recorded: `sdk`, or `direct`, which costs the application less; see"
    " [direct.md](direct.md)",
    default="sdk",
)
# What is shown, and what it is called.
SHOWN = (
    PROFILE,
    PRESENT,
    Option("prefix", STRING, "put before every metric name, with an `_`", default="", without="none"),
    Option(
        "translation_strategy",
        STRATEGY,
        "how names are translated; the declarative configuration's spellings"
        " (`no_translation/development`) are taken, too; with one that keeps dots, native histograms give"
        " every metric [other names](translation.md#native-histograms-and-utf-8-names)",
        default=TranslationStrategy.UNDERSCORE_ESCAPING_WITH_SUFFIXES,
    ),
    Option(
        "views",
        VIEWS,
        "which families the streams become, and what their labels may say; see [view-options](view-"
        "options.md#in-a-file)",
        only_in_files=True,
        default=(),
        without="none",
    ),
    Option("scope_info_enabled", BOOLEAN, "the labels `otel_scope_*` on every series", default=True),
    Option(
        "target_info_enabled",
        BOOLEAN,
        "`target_info`, the info metric with the resource attributes",
        other_keys=("target_info_enabled/development",),
        default=True,
    ),
    Option(
        "resource_constant_labels",
        PATTERNS,
        "resource attributes that become labels of every series, by their keys; what is excluded beats"
        " what is included, and without `included` all are",
        without="none",
    ),
    Option(
        "common_labels",
        COMMON_LABELS,
        "labels of every series of the application that has no value of its own for them, from the"
        " resource; empty where it has no such attribute",
        without="none",
    ),
    Option(
        "gauges",
        WORKERS,
        "what is shown of a gauge that several workers have, where no view says it: each worker's with the"
        " label `worker`, their sum, maximum or minimum, or the newest value",
        default="each",
    ),
    Option(
        "id_labels",
        BOOLEAN,
        "labels also of the ids of users, sessions, requests, traces …, which are labels of exemplars"
        " otherwise",
        default=False,
    ),
    Option(
        "self_metrics",
        BOOLEAN,
        "what the bridge does: `otel_prom_bridge_*` and two `otel_sdk_*` metrics",
        default=True,
    ),
    Option("self_metric_names", NAMES, "other names for some of these metrics", without="their own"),
)
# How much is kept, for how long, and how it is collected.
KEPT = (
    Option(
        "max_series_per_metric",
        POSITIVE,
        "series per metric; what is more goes to one series, `otel_metric_overflow`",
        default=DEFAULT_MAX_SERIES,
        aliases=(Alias("METRICS_CARDINALITY_MAX_PER_METRIC"),),
    ),
    Option(
        "cardinality_limits",
        LIMITS,
        "the same by kind of instrument, for the SDK's table, too; `default` is for kinds not named",
        without="none",
    ),
    Option(
        "max_series",
        POSITIVE,
        "series of all metrics together",
        without="none",
        aliases=(Alias("METRICS_CARDINALITY_MAX_TOTAL"),),
    ),
    Option(
        "max_label_value_length",
        BOUND,
        "characters of a label's value; what is longer is cut",
        default=DEFAULT_VALUE_LENGTH,
    ),
    Option(
        "max_labels",
        BOUND,
        "labels of a series, without those of its scope and resource; what is more is left out",
        default=DEFAULT_LABELS,
    ),
    Option("max_help_length", BOUND, "characters of a help text", default=DEFAULT_HELP_LENGTH),
    Option(
        "max_client_values",
        BOUND,
        "values of a label that clients choose, such as the Host header; later ones are `other`",
        default=DEFAULT_CLIENT_VALUES,
    ),
    Option(
        "max_lines_per_metric",
        BOUND,
        "lines of all series of a histogram, which has one for each bucket and three more",
        without="five for each series of `max_series_per_metric`, at least 10000",
    ),
    Option(
        "seconds_buckets",
        BOOLEAN,
        "buckets for seconds (0.005 to 300) of histograms in seconds of which nobody says the buckets; the"
        " SDK's own begin with 5",
        default=True,
    ),
    Option(
        "prices",
        PRICES,
        "what tokens cost, where nobody says what calls cost: the package's table, that of the package"
        " `genai-prices`, or one of your own",
        default="default",
    ),
    Option(
        "tenant",
        TENANTS,
        "the attribute that names a tenant, and how many series each tenant may have",
        only_in_files=True,
        without="none",
    ),
    Option(
        "context_labels",
        CONTEXT_LABELS,
        "labels of calls, tokens, costs, agents and tools that say for whom they were: a team, a feature; see"
        " [genai.md](genai.md#by-team-tenant-feature)",
        without="none",
    ),
    Option(
        "exemplars",
        EXEMPLARS,
        "which exemplars are kept: `true` for the newest of each bucket, `false` for none",
        default=True,
    ),
    Option("expire_after", SECONDS, "how long a series lives that nobody touches", without="never"),
    Option(
        "scrape_timeout",
        SECONDS,
        "how long a scrape waits for callbacks and collectors",
        default=DEFAULT_SCRAPE_TIMEOUT,
    ),
    Option(
        "collect_interval",
        INTERVAL,
        "after how long without a scrape a collection runs on its own; 0 for never",
        default=DEFAULT_COLLECT_INTERVAL,
    ),
    Option(
        "sdk_max_series",
        POSITIVE,
        "attribute sets that the SDK may hold per instrument between two collections",
        without="20000, or ten times the largest limit here",
    ),
    Option(
        "created_timestamps",
        BOOLEAN,
        "`_created` lines in OpenMetrics: when each counter and histogram began",
        default=False,
    ),
    Option(
        "openmetrics_2",
        BOOLEAN,
        "answer in OpenMetrics 2.0 (experimental) who asks for `version=2.0.0`",
        default=False,
    ),
    Option(
        "exponential_histogram_bounds",
        BOUNDS,
        "the buckets of exponential histograms in text and OpenMetrics",
        without="limits of their own buckets",
    ),
)
# Of a hub, which has all options of an endpoint and of a reader, too.
HUB_OPTIONS = (
    Option(
        "otlp_socket",
        SOCKET,
        "the Unix socket to which the processes of this user push",
        without="one in a folder of its own, in `$XDG_RUNTIME_DIR` or `/tmp`",
        protects=True,
    ),
    Option(
        "otlp_users",
        USERS,
        "other users whose processes may push to that socket, by name or number",
        default=(),
        without="none",
        protects=True,
    ),
    Option(
        "otlp_port",
        PORT,
        "a TCP port of this machine to push to, for exporters that know no Unix sockets; 0 takes a free one;"
        " whoever pushes there needs the hub's token",
        without="none",
        protects=True,
    ),
    Option(
        "otlp_token_file",
        PATH,
        "a file with the token; else it is in `OTEL_PROM_BRIDGE_HUB_TOKEN`, and `run` makes one",
        without="none",
        protects=True,
    ),
    Option(
        "source_timeout",
        SECONDS,
        "how long a process may be silent before its gauges and levels go",
        without="three of its intervals, and 10 at least",
    ),
    Option("max_sources", POSITIVE, "how many processes may push at a time", default=DEFAULT_MAX_SOURCES),
    Option(
        "max_services",
        POSITIVE,
        "how many services may push; what further ones record is shown together, with"
        ' `otel_metric_overflow="true"`',
        default=DEFAULT_MAX_SERVICES,
    ),
    Option(
        "max_push_size",
        POSITIVE,
        "bytes of a push; four times as many when it is unpacked",
        default=DEFAULT_MAX_PUSH_SIZE,
    ),
    Option(
        "linger",
        INTERVAL,
        "how long the hub of `run` serves after the program has ended, for a last scrape",
        default=DEFAULT_LINGER,
    ),
)
ENDPOINT_OPTIONS = ENDPOINT + ACCESS
READER_OPTIONS = SHOWN + KEPT
# What `start()` takes.
OPTIONS = (RECORDING, *ENDPOINT_OPTIONS, *WORKER, *READER_OPTIONS)
# What files and variables may say: one of them may be for a hub and for those that push to it.
ALL_OPTIONS = OPTIONS + HUB_OPTIONS
