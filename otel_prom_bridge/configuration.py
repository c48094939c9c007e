"""The options, in one table, and the ways in which they come: arguments, environment, YAML.

The table says everything about an option; reading, checking and the documentation follow from it. So an
option means the same whichever way it came, and a wrong value has the same answer: which key, which value,
what is allowed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypedDict

from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_PROMETHEUS_HOST,
    OTEL_EXPORTER_PROMETHEUS_PORT,
)

from otel_prom_bridge.checks import (
    BOOLEAN,
    BOUNDS,
    HOST,
    LIMITS,
    PATTERNS,
    PORT,
    POSITIVE,
    STRATEGY,
    STRING,
    Check,
)
from otel_prom_bridge.diagnostics import logger
from otel_prom_bridge.endpoint.server import DEFAULT_ADDRESS, DEFAULT_PORT
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.limits import DEFAULT_MAX_SERIES
from otel_prom_bridge.translate import TranslationStrategy


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option.

    ``key`` is its name in YAML and, unless ``argument`` is another one, in ``start()``. A ``default`` of None
    is described by ``without``.
    """

    key: str
    variable: str
    check: Check
    meaning: str
    default: object = None
    without: str = ""
    argument: str = ""
    other_keys: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """All names in YAML."""
        return (self.key, *self.other_keys)

    @property
    def shown_default(self) -> str:
        """The default as one would write it."""
        if isinstance(self.default, TranslationStrategy):
            return self.default.value
        return self.without or str(self.default).lower()


def _ours(key: str) -> str:
    return f"OTEL_PROM_BRIDGE_{key.upper()}"


ENDPOINT_OPTIONS = (
    Option(
        key="host",
        argument="addr",
        variable=OTEL_EXPORTER_PROMETHEUS_HOST,
        check=HOST,
        default=DEFAULT_ADDRESS,
        meaning="the address to listen on; `0.0.0.0` opens it to the network",
    ),
    Option(
        key="port",
        variable=OTEL_EXPORTER_PROMETHEUS_PORT,
        check=PORT,
        default=DEFAULT_PORT,
        meaning="the TCP port; 0 takes a free one",
    ),
)
READER_OPTIONS = (
    Option(
        key="prefix",
        variable=_ours("prefix"),
        check=STRING,
        default="",
        without="none",
        meaning="put before every metric name, with an `_`",
    ),
    Option(
        key="scope_info_enabled",
        variable=_ours("scope_info_enabled"),
        check=BOOLEAN,
        default=True,
        meaning="the labels `otel_scope_*` on every series",
    ),
    Option(
        key="target_info_enabled",
        other_keys=("target_info_enabled/development",),
        variable=_ours("target_info_enabled"),
        check=BOOLEAN,
        default=True,
        meaning="`target_info`, the info metric with the resource attributes",
    ),
    Option(
        key="resource_constant_labels",
        variable=_ours("resource_constant_labels"),
        check=PATTERNS,
        without="none",
        meaning="resource attributes that become labels of every series, by their keys; what is excluded"
        " beats what is included, and without `included` all are",
    ),
    Option(
        key="translation_strategy",
        variable=_ours("translation_strategy"),
        check=STRATEGY,
        default=TranslationStrategy.UNDERSCORE_ESCAPING_WITH_SUFFIXES,
        meaning="how names are translated; the declarative configuration's spellings"
        " (`no_translation/development`) are taken, too",
    ),
    Option(
        key="max_series_per_metric",
        variable=_ours("max_series_per_metric"),
        check=POSITIVE,
        default=DEFAULT_MAX_SERIES,
        meaning="series per stream; what is more goes to one series, `otel_metric_overflow`",
    ),
    Option(
        key="cardinality_limits",
        variable=_ours("cardinality_limits"),
        check=LIMITS,
        without="none",
        meaning="the same by kind of instrument, for the SDK's table, too; `default` is for kinds not named",
    ),
    Option(
        key="created_timestamps",
        variable=_ours("created_timestamps"),
        check=BOOLEAN,
        default=False,
        meaning="`_created` lines in OpenMetrics: when each counter and histogram began",
    ),
    Option(
        key="exponential_histogram_bounds",
        variable=_ours("exponential_histogram_bounds"),
        check=BOUNDS,
        without="limits of their own buckets",
        meaning="the buckets of exponential histograms in text and OpenMetrics",
    ),
)
OPTIONS = ENDPOINT_OPTIONS + READER_OPTIONS


class ReaderOptions(TypedDict, total=False):
    """The reader's options as keyword arguments; None and a missing one are the same."""

    prefix: str | None
    scope_info_enabled: bool | None
    target_info_enabled: bool | None
    resource_constant_labels: Mapping[str, Sequence[str]] | None
    translation_strategy: TranslationStrategy | str | None
    max_series_per_metric: int | None
    cardinality_limits: Mapping[str, int] | Mapping[type, int] | None
    created_timestamps: bool | None
    exponential_histogram_bounds: Sequence[float] | None


@dataclass(frozen=True, slots=True)
class Settings:
    """What was configured: where to serve, and the arguments of ``PrometheusMetricReader``."""

    host: str
    port: int
    reader: Mapping[str, Any]


Problem: TypeAlias = Callable[[ConfigurationError, str], None]
"""What to do about a wrong value: raise, or go on with what the second argument says."""

_Source: TypeAlias = Callable[[Option], Any]  # the checked value, or None where it is not set


def raise_error(error: ConfigurationError, instead: str) -> None:
    """Refuse a wrong value."""
    raise error


def log_error(error: ConfigurationError, instead: str) -> None:
    """Log a wrong value and go on without it."""
    logger.error("%s; %s", error, instead)


def from_arguments(given: Mapping[str, object], *, own_reader: bool = False) -> Settings:
    """The settings by arguments of ``start()``, then the environment, then the defaults.

    ``own_reader``: the application brings a configured reader, and only the endpoint is left to configure.
    """
    _check_keys(given, {option.argument or option.key for option in OPTIONS}, raise_error)
    for option in READER_OPTIONS if own_reader else ():
        if given.get(option.key) is not None:
            raise ConfigurationError(option.key, given[option.key], "no option of the reader beside `reader`")

    def argument(option: Option) -> Any:
        return _value(option, given, [option.argument or option.key])

    return _settings([argument, _environment], ENDPOINT_OPTIONS if own_reader else OPTIONS, raise_error)


def from_environment(problem: Problem) -> Settings:
    """The settings by environment variables, then the defaults."""
    return _settings([_environment], OPTIONS, problem)


def from_mapping(given: Mapping[str, object], problem: Problem) -> Settings:
    """The settings by the YAML of a declarative configuration, then the defaults.

    Environment variables "MUST be ignored" then, unless the file refers to them.
    https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/configuration/sdk-environment-variables.md#declarative-configuration
    """
    _check_keys(given, {key for option in OPTIONS for key in option.keys}, problem)
    return _settings([lambda option: _value(option, given, option.keys)], OPTIONS, problem)


def _environment(option: Option) -> Any:
    # "an empty value MUST be read as unset"
    text = os.environ.get(option.variable, "").strip()
    return option.check.text(option.variable, text) if text else None


def _value(option: Option, given: Mapping[str, object], keys: Iterable[str]) -> Any:
    for key in keys:
        if given.get(key) is not None:
            return option.check.value(key, given[key])
    return None


def _check_keys(given: Mapping[str, object], known: set[str], problem: Problem) -> None:
    for key in sorted(given.keys() - known):
        names = ", ".join(sorted(known))
        problem(ConfigurationError(key, given[key], f"one of the options {names}"), "ignoring it")


def _settings(sources: Sequence[_Source], options: Sequence[Option], problem: Problem) -> Settings:
    values: dict[str, Any] = {}
    for option in options:
        values[option.key] = option.default
        try:
            found = (source(option) for source in sources)
            values[option.key] = next((value for value in found if value is not None), option.default)
        except ConfigurationError as error:
            problem(error, f"using {option.shown_default}")
    return Settings(values.pop("host"), values.pop("port"), _reader_arguments(values))


def _reader_arguments(values: dict[str, Any]) -> dict[str, Any]:
    """Options → constructor arguments, of which two have the names that the peer gave them."""
    if values:
        values["disable_target_info"] = not values.pop("target_info_enabled")
        values["resource_attribute_filter"] = values.pop("resource_constant_labels")
    return values


def markdown_table() -> str:
    """The table of options for ``docs/configuration.md``."""
    rows = ["| option | environment variable | allowed | default | meaning |", "|---|---|---|---|---|"]
    for option in OPTIONS:
        allowed = option.check.allowed
        if option.check.example:
            allowed += f"; as text `{option.check.example}`"
        allowed = re.sub(r"'([^']+)'", r"`\1`", allowed)
        default = option.without or f"`{option.shown_default}`"
        cells = (f"`{option.key}`", f"`{option.variable}`", allowed, default, option.meaning)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"
