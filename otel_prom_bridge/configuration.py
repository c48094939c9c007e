"""The ways in which options come: arguments, environment, a file, YAML.

Each way is a source, which knows an option's checked value or that it says nothing; the first one that says
something decides. What to do about a wrong value is for the caller to say, since ``start()`` raises where
auto-instrumentation must not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from otel_prom_bridge.config_file import read_config_file
from otel_prom_bridge.diagnostics import logger
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.notation import unknown
from otel_prom_bridge.options import CONFIG_FILE, ENDPOINT_OPTIONS, OPTIONS, READER_OPTIONS, Option


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
    """The settings by arguments of ``start()``, then the environment, a file, the defaults.

    ``own_reader``: the application brings a configured reader, and only the endpoint is left to configure.
    """
    arguments = _Given(given, keys=lambda option: (option.argument or option.key,))
    arguments.check_keys((CONFIG_FILE, *OPTIONS), raise_error)
    file = _file(arguments.value(CONFIG_FILE), raise_error)
    if own_reader:
        # A variable is for all that runs here. What the call names is meant for what it starts.
        arguments.refuse(READER_OPTIONS)
        if arguments.value(CONFIG_FILE) is not None:
            file.refuse(READER_OPTIONS)
    sources = [arguments.value, _environment, file.value]
    return _settings(sources, ENDPOINT_OPTIONS if own_reader else OPTIONS, raise_error)


def from_environment(problem: Problem) -> Settings:
    """The settings by environment variables, then the file that one of them names, then the defaults."""
    return _settings([_environment, _file(None, problem).value], OPTIONS, problem)


def from_mapping(given: Mapping[str, object], problem: Problem) -> Settings:
    """The settings by the YAML of a declarative configuration, then the defaults.

    Environment variables "MUST be ignored" then, unless the file refers to them.
    https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/configuration/sdk-environment-variables.md#declarative-configuration
    """
    yaml = _Given(given)
    yaml.check_keys(OPTIONS, problem)
    return _settings([yaml.value], OPTIONS, problem)


class _Given:
    """A mapping of options; ``where`` is what the keys of its errors begin with."""

    def __init__(
        self,
        values: Mapping[str, object],
        *,
        keys: Callable[[Option], Sequence[str]] = lambda option: option.keys,
        where: str = "",
    ) -> None:
        self._values = values
        self._keys = keys
        self._where = where

    def value(self, option: Option) -> Any:
        """The checked value of an option; None where there is none."""
        for key in self._keys(option):
            if self._values.get(key) is not None:
                return option.check.value(self._where + key, self._values[key])
        return None

    def check_keys(self, options: Iterable[Option], problem: Problem) -> None:
        """Report what is no option."""
        known = sorted(key for option in options for key in self._keys(option))
        for key in sorted(self._values.keys() - set(known), key=str):
            error = unknown(key, self._values[key], known, "options", at=f"{self._where}{key}")
            problem(error, "ignoring it")

    def refuse(self, options: Iterable[Option]) -> None:
        """Raise if it says anything about these options of the reader."""
        for key in (key for option in options for key in self._keys(option)):
            if self._values.get(key) is not None:
                expected = "no option of the reader beside `reader`"
                raise ConfigurationError(self._where + key, self._values[key], expected)


def _file(path: str | None, problem: Problem) -> _Given:
    """The file of this path, or of the environment; an empty one where there is none."""
    key = CONFIG_FILE.key
    try:
        if path is None:
            key, path = CONFIG_FILE.variable, _environment(CONFIG_FILE)
        if path is None:
            return _Given({})
        file = _Given(read_config_file(key, path), where=f"{path}: ")
    except ConfigurationError as error:
        problem(error, "using no file")
        return _Given({})
    file.check_keys(OPTIONS, problem)
    return file


def _environment(option: Option) -> Any:
    # "an empty value MUST be read as unset"
    text = os.environ.get(option.variable, "").strip() if option.variable else ""
    return option.check.text(option.variable, text) if text else None


def _settings(sources: Sequence[_Source], options: Sequence[Option], problem: Problem) -> Settings:
    values = {option.key: _first(sources, option, problem) for option in options}
    return Settings(values.pop("host"), values.pop("port"), _reader_arguments(values))


def _first(sources: Sequence[_Source], option: Option, problem: Problem) -> Any:
    """What the first source says that says something right; else the default."""
    errors: list[ConfigurationError] = []
    value = None
    for source in sources:
        try:
            value = source(option)
        except ConfigurationError as error:
            errors.append(error)
        if value is not None:
            break
    # Arguments raise, so it is a variable that was wrong and a file that has another value.
    instead = option.shown_default if value is None else "the file's"
    for wrong in errors:
        problem(wrong, f"using {instead}")
    return option.default if value is None else value


def _reader_arguments(values: dict[str, Any]) -> dict[str, Any]:
    """Options → constructor arguments, of which two have the names that the peer gave them."""
    if values:
        values["disable_target_info"] = not values.pop("target_info_enabled")
        values["resource_attribute_filter"] = values.pop("resource_constant_labels")
    return values
