"""What was configured, and where it was said: in arguments, in the environment, in a file, in YAML.

Each of these ways is a source. A source knows the checked value of an option, or that it says nothing about
it. The sources are asked in order, and the first one that says something decides. The caller says what is
done about a wrong value, because ``start()`` raises where auto-instrumentation must not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeAlias

from otel_prom_bridge.configuration.environment import (
    Aliases,
    Given,
    Variables,
    is_alias,
    may_protect,
    may_protect_within,
    misplaced,
    unknown_variables,
)
from otel_prom_bridge.configuration.option import Option
from otel_prom_bridge.configuration.options import (
    ALL_OPTIONS,
    CONFIG_FILE,
    ENDPOINT_OPTIONS,
    HUB_OPTIONS,
    OPTIONS,
    PROFILE,
    READER_OPTIONS,
    RECORDING,
    WORKER,
)
from otel_prom_bridge.diagnostics import logger
from otel_prom_bridge.errors import HIDDEN, ConfigurationError
from otel_prom_bridge.profiles import Profile
from otel_prom_bridge.values.notation import UnknownNameError, unknown
from otel_prom_bridge.values.toml import read_config_file

# An option, and another one without which it makes no sense.
_NEEDS = (
    ("rate_burst", "rate_limit"),
    ("peer_rate_burst", "peer_rate_limit"),
    ("tls_cert_file", "tls_key_file"),
    ("tls_key_file", "tls_cert_file"),
    ("tls_client_ca_file", "tls_cert_file"),
    ("tls_client_allowed_sans", "tls_client_ca_file"),
    ("tls_min_version", "tls_cert_file"),
)
_KEYS = {key for option in ALL_OPTIONS for key in option.keys}
# What is no option, and where it belongs.
_ELSEWHERE = {
    "disable_target_info": "it is 'target_info_enabled' here",
    "resource_attribute_filter": "it is 'resource_constant_labels' here",
    **dict.fromkeys(
        ("registry", "fallback_views"),
        "it is an argument of PrometheusMetricReader, which start() takes as 'reader'",
    ),
    **dict.fromkeys(("reader", "set_global", "sdk_views"), "it is an argument of start() alone"),
    "resource": "it is an argument of start(), and OTEL_RESOURCE_ATTRIBUTES elsewhere",
    **dict.fromkeys(
        ("extends", "parts", "namespace", "families", "instruments", "sources", "dashboard", "budget"),
        "it is for the file of a profile, which 'profile' names",
    ),
}
_OUTSIDE = "this option outside of every table, before the first one"
_NOT_SERVED = "metrics are recorded but not served"


@dataclass(frozen=True, slots=True)
class Settings:
    """What was configured: the endpoint's options by their keys, and the arguments of the reader.

    ``hub`` has the options of a hub by their keys, where one is to be started, and ``worker`` has those of a
    process that pushes to one. ``here`` are the options of which a hub cannot know, since they were given in
    code or in YAML.

    ``recording`` says who takes what is recorded.

    ``problems`` says in words what was wrong and is passed over.

    ``names`` says what the options of the endpoint are called where they were given; errors need it. If
    ``refused`` is not empty, something that was to protect the metrics is wrong, and nothing may be served.
    """

    endpoint: Mapping[str, Any]
    reader: Mapping[str, Any]
    names: Mapping[str, str] = field(default_factory=dict, compare=False)
    refused: tuple[ConfigurationError, ...] = ()
    hub: Mapping[str, Any] = field(default_factory=dict)
    worker: Mapping[str, Any] = field(default_factory=lambda: {item.key: item.default for item in WORKER})
    here: tuple[Option, ...] = field(default=(), compare=False)
    recording: str = "sdk"
    problems: tuple[str, ...] = field(default=(), compare=False)


class _Given(NamedTuple):
    """A value, the name under which it was given, and how near its source is: 0 is the nearest."""

    name: str
    value: Any
    rank: int


Problem: TypeAlias = Callable[[ConfigurationError, str], None]
"""Does something about a wrong value: raises, or goes on as the second argument says."""


class _Source(Protocol):
    """A way in which options come."""

    def said(self, option: Option) -> Iterable[Given]:
        """What it says about an option, the first thing first. Nothing if it says nothing."""
        ...


def raise_error(error: ConfigurationError, instead: str) -> None:
    """Refuse a wrong value."""
    raise error


def log_error(error: ConfigurationError, instead: str) -> None:
    """Log a wrong value and go on without it."""
    logger.error("%s; %s", error, instead)


def from_arguments(given: Mapping[str, object], *, own_reader: bool = False) -> Settings:
    """The settings by the arguments of ``start()``, then by the environment, a file, and the defaults.

    With ``own_reader`` the application brings a configured reader, and only the endpoint is configured here.
    """
    found = _Finding(raise_error)
    arguments = _Mapping(given, keys=lambda option: (option.argument or option.key,))
    found.check_keys(arguments, (CONFIG_FILE, *OPTIONS))
    path = _find(arguments, CONFIG_FILE)
    file = found.file(path)
    if own_reader:
        # A variable is meant for everything in the process, so it is passed over. What the call itself names
        # is meant for what the call starts, so it is refused.
        arguments.refuse(READER_OPTIONS)
        if path is not None:
            file.refuse(READER_OPTIONS)
    found.check_variables()
    sources: list[_Source] = [arguments, Variables(), Aliases(), file]
    return found.settings(sources, (RECORDING, *ENDPOINT_OPTIONS, *WORKER) if own_reader else OPTIONS)


def from_flags(given: Mapping[str, str]) -> Settings:
    """The settings of a hub by the flags of a command, then by the environment, a file, and the defaults.

    Flags are texts by the keys of their options.

    Raises:
        ConfigurationError: one of them is wrong.
    """
    found = _Finding(raise_error)
    flags = _Flags(given)
    file = found.file(_find(flags, CONFIG_FILE))
    found.check_variables()
    return found.settings(
        [flags, Variables(), Aliases(), file], ENDPOINT_OPTIONS + READER_OPTIONS + HUB_OPTIONS
    )


def from_environment(problem: Problem) -> Settings:
    """The settings by environment variables, then the file that one of them names, then the defaults."""
    found = _Finding(problem)
    found.check_variables()
    return found.settings([Variables(), Aliases(), found.file(None)], OPTIONS)


def from_mapping(given: Mapping[str, object], problem: Problem) -> Settings:
    """The settings by the YAML of a declarative configuration, then the defaults.

    Environment variables "MUST be ignored" then, unless the file refers to them. Where the hub is, the
    launcher says and not the user, so these two variables count.
    https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/configuration/sdk-environment-variables.md#declarative-configuration
    """
    found = _Finding(problem)
    yaml = _Mapping(given)
    found.check_keys(yaml, OPTIONS)
    return found.settings([yaml, _Launcher()], OPTIONS)


class _Launcher:
    """The source of what ``otel-prom-bridge run`` tells the processes of the command that it runs."""

    def said(self, option: Option) -> Iterable[Given]:
        """Where the hub is."""
        return Variables().said(option) if option.key in ("hub", "hub_token") else ()


class _Flags:
    """The source of options on a command line."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def said(self, option: Option) -> Iterator[Given]:
        """What stands behind the option's flag."""
        if (text := self._texts.get(option.key)) is not None:
            yield option.flag, partial(option.check.text, option.flag, text)


class _Mapping:
    """The source of options in a mapping. The keys of its errors begin with ``where``."""

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

    @property
    def is_here(self) -> bool:
        """Whether only this process knows it, and it is no file that another one reads, too."""
        return not self._where

    def said(self, option: Option) -> Iterator[Given]:
        """What stands at the option's names in this mapping."""
        for key in self._keys(option):
            if self._values.get(key) is not None:
                yield self._where + key, partial(self._checked, option, key)

    def _checked(self, option: Option, key: str) -> Any:
        try:
            return option.check.value(self._where + key, self._values[key])
        except ConfigurationError as error:
            raise self._misplaced(error, key) or error from None

    def _misplaced(self, error: ConfigurationError, key: str) -> ConfigurationError | None:
        """A better error if it is another option's name within this option that is wrong.

        In TOML everything below ``[exemplars]`` belongs to that table, to the next table or the end.
        """
        value = self._values[key]
        if isinstance(error, UnknownNameError):
            places = {error.name: error.key}
        else:
            below = value if isinstance(value, Mapping) else {}
            places = {name: f"{self._where}{key}.{name}" for name in below}
        outside = _OUTSIDE if self._where else f"this option beside {key!r}, not within it"
        for name, place in places.items():
            if name in _KEYS:
                return ConfigurationError(place, error.value, outside)
        return None

    def unknown(self, options: Iterable[Option]) -> Iterable[tuple[ConfigurationError, bool]]:
        """An error for each name that is no option or misplaced, and whether it may protect something."""
        known = sorted(key for option in options for key in self._keys(option))
        for key in sorted(self._values.keys() - set(known), key=str):
            protects = may_protect(key) or may_protect_within(self._values[key])
            # The value of something about protection may be a password, so it is not shown.
            value = HIDDEN if protects else self._values[key]
            here = next((self._keys(item)[0] for item in options if key in (item.key, item.argument)), "")
            meant = f"it is {here!r} here" if here else _ELSEWHERE.get(key, "")
            yield unknown(key, value, known, "options", at=f"{self._where}{key}", meant=meant), protects
        for key in known:
            for place in misplaced(self._values.get(key), key):
                yield ConfigurationError(self._where + place, HIDDEN, _OUTSIDE), True

    def refuse(self, options: Iterable[Option]) -> None:
        """Raise if it says anything about these options of the reader."""
        for key in (key for option in options for key in self._keys(option)):
            if self._values.get(key) is not None:
                expected = "no option of the reader beside `reader`"
                raise ConfigurationError(self._where + key, self._values[key], expected)


class _Finding:
    """Finds the settings, and reports what is wrong on the way."""

    def __init__(self, problem: Problem) -> None:
        self._deal_with = problem
        self._problems: list[str] = []
        self._refused: list[ConfigurationError] = []

    def settings(self, sources: Sequence[_Source], options: Sequence[Option]) -> Settings:
        """The settings. For each option the first source counts that says something about it."""
        profile = self._profile(sources) if PROFILE in options else None
        if profile is not None:
            sources = [*sources, self._options_of(profile)]
        others = (option for option in options if option is not PROFILE)
        given = _resolved({option.key: found for option in others if (found := self._first(sources, option))})
        for error in _contradictions(given):
            self._refuse(error)
        values = {key: given[key].value if key in given else default for key, default in _defaults(options)}
        endpoint = {option.key: values.pop(option.key) for option in ENDPOINT_OPTIONS}
        hub = {option.key: values.pop(option.key) for option in HUB_OPTIONS if option in options}
        names = {key: found.name for key, found in given.items() if key in endpoint or key in hub}
        recording = values.pop(RECORDING.key, RECORDING.default)
        worker = {option.key: values.pop(option.key, option.default) for option in WORKER}
        arguments = _reader_arguments(values, profile)
        here = _only_here(sources, given, options)
        return Settings(
            endpoint,
            arguments,
            names,
            tuple(self._refused),
            hub,
            worker,
            here,
            recording,
            tuple(self._problems),
        )

    def _profile(self, sources: Sequence[_Source]) -> Profile:
        found = self._first(sources, PROFILE)
        profile: Profile = PROFILE.check.check(PROFILE.default) if found is None else found.value
        return profile

    def _options_of(self, profile: Profile) -> _Mapping:
        options = _Mapping(profile.options, where=profile.place("options."))
        self.check_keys(options, OPTIONS)
        return options

    def file(self, given: tuple[str, Any] | None) -> _Mapping:
        """The file that was given, or the one that the environment names. Without either it is empty."""
        try:
            name, path = given or _find(Variables(), CONFIG_FILE) or ("", None)
            if path is None:
                return _Mapping({})
            file = _Mapping(read_config_file(name, path), where=f"{path}: ")
        except ConfigurationError as error:
            self._refuse(error)  # the file may have been about protection
            return _Mapping({})
        self.check_keys(file, ALL_OPTIONS)
        return file

    def check_keys(self, mapping: _Mapping, options: Iterable[Option]) -> None:
        """Report names that are no options."""
        for error, protects in mapping.unknown(options):
            if protects:
                self._refuse(error)
            else:
                self._problem(error, "ignoring it")

    def check_variables(self) -> None:
        """Report unknown variables that look like ours. They may be another version's, so they are logged."""
        for error, protects in unknown_variables():
            if protects:
                self._refuse(error)
            else:
                self._problems.append(f"{error}; ignoring it")
                logger.warning("%s; ignoring it", error)

    def _first(self, sources: Sequence[_Source], option: Option) -> _Given | None:
        """What the first source says that says something allowed."""
        errors: list[ConfigurationError] = []
        found, instead = None, f"using {option.shown_default}"
        said = ((rank, *pair) for rank, source in enumerate(sources) for pair in source.said(option))
        for rank, name, checked in said:
            try:
                found, instead = _Given(name, checked(), rank), f"using the value of {name}"
                break
            except ConfigurationError as error:
                errors.append(error)
        for wrong in errors:
            if option.protects:
                self._refuse(wrong)
            else:
                self._problem(wrong, instead)
        return found

    def _problem(self, error: ConfigurationError, instead: str) -> None:
        self._problems.append(f"{error}; {instead}")
        self._deal_with(error, instead)

    def _refuse(self, error: ConfigurationError) -> None:
        self._problem(error, _NOT_SERVED)
        self._refused.append(error)


def _find(source: _Source, option: Option) -> tuple[str, Any] | None:
    """The name and the checked value of what a source says first about an option."""
    return next(((name, checked()) for name, checked in source.said(option)), None)


def _only_here(
    sources: Sequence[_Source], given: Mapping[str, _Given], options: Iterable[Option]
) -> tuple[Option, ...]:
    """The options that another process of the same environment would not find."""
    near = {rank for rank, source in enumerate(sources) if isinstance(source, _Mapping) and source.is_here}
    return tuple(option for option in options if option.key in given and given[option.key].rank in near)


def _defaults(options: Iterable[Option]) -> Iterable[tuple[str, Any]]:
    return ((option.key, option.default) for option in options)


def _reader_arguments(values: dict[str, Any], profile: Profile | None) -> dict[str, Any]:
    """The arguments of the reader's constructor. Two have the names that the Python exporter gave them."""
    if profile is not None:
        del values["profile"]
        present = values.pop("present")
        views = profile.views(present, beside=values["views"])
        if profile.fallback:
            values["fallback_views"] = views
        else:
            # The default profile is for the streams about which this profile says nothing.
            values["views"] = [*values["views"], *views]
            default: Profile = PROFILE.check.check(PROFILE.default)
            values["fallback_views"] = default.views(present, beside=values["views"])
        values["disable_target_info"] = not values.pop("target_info_enabled")
        values["resource_attribute_filter"] = values.pop("resource_constant_labels")
    return values


def _resolved(given: Mapping[str, _Given]) -> dict[str, _Given]:
    """What was given, without the values that something nearer makes pointless.

    A variable that a platform sets for all of its processes must not keep ``start(unix_socket=...)`` from its
    socket. The reverse does not hold: a port never replaces a socket silently, because other people can reach
    it. A burst that a general variable sets (``METRICS_…``) counts only beside a rate limit.
    """
    kept = dict(given)
    socket = kept.get("unix_socket")
    for key in ("host", "port"):
        other = kept.get(key)
        if socket is not None and other is not None and (socket.rank < other.rank or is_alias(other.name)):
            del kept[key]
            if socket.rank > other.rank:
                logger.warning("%s: %s counts, so it is passed over", other.name, socket.name)
    burst = kept.get("rate_burst")
    if burst is not None and "rate_limit" not in kept and is_alias(burst.name):
        logger.warning("%s: there is no rate limit that it could be about, so it is passed over", burst.name)
        del kept["rate_burst"]
    return kept


def _contradictions(given: Mapping[str, _Given]) -> Iterator[ConfigurationError]:
    """An error for each option that cannot be beside another, and for each that needs another one."""
    for key in ("host", "port"):
        yield from _exclusive(given, "unix_socket", key)
    for key in given:
        if key.startswith("tls_"):
            yield from _exclusive(given, "web_config", key)
    for key, needed in _NEEDS:
        is_said = key.startswith("tls_") and "web_config" in given  # the error above says it already
        if key in given and needed not in given and not is_said:
            found = given[key]
            yield ConfigurationError(found.name, found.value, f"{needed} beside it, or neither")


def _exclusive(given: Mapping[str, _Given], key: str, other: str) -> Iterator[ConfigurationError]:
    if key in given and other in given:
        found = given[key]
        yield ConfigurationError(
            found.name, found.value, f"no {given[other].name} beside it; give one of the two"
        )
