"""Environment variables: ours, general ones that stand for ours, and those that nobody knows.

A variable with a general name, such as ``METRICS_CACHE_TTL_MS``, may belong to something else in the process.
A value there that makes no sense to the bridge is therefore no mistake: it is logged and passed over. A
variable that begins with the bridge's own prefix can only be meant for the bridge.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from otel_prom_bridge.configuration.option import PREFIX, Option
from otel_prom_bridge.configuration.options import ALL_OPTIONS, CONFIG_FILE, OPTIONS
from otel_prom_bridge.diagnostics import Findings, logger
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.values.notation import nearest

Given: TypeAlias = tuple[str, Callable[[], Any]]
"""The name under which an option was given, and a function that gives its checked value or raises."""

_ALIASES = {alias.variable for option in OPTIONS for alias in option.aliases}
_BY_KEY = {option.key: option for option in (CONFIG_FILE, *ALL_OPTIONS)}
_PROTECTING = {option.key: option for option in ALL_OPTIONS if option.protects}
_SENSITIVE = re.compile(
    "acl|allow|auth|basic|ca_file|cert|cidr|client_ca|credential|deny|network|password|prox|secret|socket|ssl"
    "|tls|token|unix|user|whitelist"
)
# How deep tables within tables are looked into. In YAML a table can contain itself.
_DEEPEST = 8
# Kubernetes sets variables of these names in every container if a service is called otel-prom-bridge.
_KUBERNETES = re.compile(r"service_(host|port.*)|port_\d+_.*")
# It sets this one, too, to a URL.
_PORT = f"{PREFIX}PORT"
# Switches for collectors of metrics. The bridge has none, because instrumentations record the metrics.
_COLLECTORS = tuple(f"METRICS_COLLECTORS_{name}" for name in ("LLM", "AGENT", "PROCESS", "RUNTIME"))
_findings = Findings()


def is_alias(name: str) -> bool:
    """Whether this is the name of a variable that may not be meant for the bridge."""
    return name in _ALIASES


def may_protect(name: object) -> bool:
    """Whether this unknown name may have been meant to limit who may ask. Its value may be secret."""
    text = str(name).lower()
    return bool(_SENSITIVE.search(text) or nearest(text, _PROTECTING, cutoff=0.75))


def may_protect_within(value: object, depth: int = _DEEPEST) -> bool:
    """The same for any name within the value of an unknown name, which may be a table around the options."""
    if isinstance(value, Mapping) and any(map(may_protect, value)):
        return True
    return depth > 0 and any(may_protect_within(below, depth - 1) for _, below in _items(value))


def misplaced(value: object, at: str, depth: int = _DEEPEST) -> Iterator[str]:
    """The places within the value of an option at which another option stands that protects.

    In TOML everything below ``[common_labels]`` belongs to that table, and a label may have any name.
    """
    for key, below in _items(value):
        option = _PROTECTING.get(str(key))
        if option is not None and _fits(option, below):
            yield f"{at}.{key}"
        elif depth and not at.endswith(".rules"):  # one of the rules is called `allow`
            yield from misplaced(below, f"{at}[{key}]" if isinstance(key, int) else f"{at}.{key}", depth - 1)


def _items(value: object) -> Iterable[tuple[object, object]]:
    if isinstance(value, Mapping):
        return value.items()
    return enumerate(value) if isinstance(value, list | tuple) else ()


def _fits(option: Option, value: object) -> bool:
    try:
        option.check.check(value)
    except (ValueError, TypeError, OverflowError):  # a ConfigurationError is a ValueError
        return False
    return value is not None


class Variables:
    """The source of what the options' own variables say."""

    def said(self, option: Option) -> Iterator[Given]:
        """What the option's variables say that are set, in their order."""
        texts = [(name, text) for name in option.variables if (text := _text(name))]
        for number, (name, text) in enumerate(texts):
            yield name, partial(self._checked, option, name, text, texts[number + 1 :])

    def _checked(self, option: Option, name: str, text: str, others: Sequence[tuple[str, str]]) -> Any:
        value = option.check.text(name, text)
        for other, said in others:
            if said != text:
                _findings.report((other, text), "%s: %s counts, so it is passed over", other, name)
        return value


class Aliases:
    """The source of what variables with general names say."""

    def said(self, option: Option) -> Iterator[Given]:
        """What the option's aliases say whose texts make sense. The functions never raise."""
        for alias in option.aliases:
            text = _text(alias.variable)
            if not text:
                continue
            try:
                read = (alias.read or option.check.read)(text)
                value = None if read is None else option.check.check(read)
            except (ValueError, TypeError, OverflowError):
                message = "%s: %r says nothing about %s, so it is passed over"
                logger.warning(message, alias.variable, text, option.key)
                continue
            if value is not None:
                yield alias.variable, partial(_same, value)


def _same(value: Any) -> Any:
    return value


def unknown_variables() -> list[tuple[ConfigurationError, bool]]:
    """An error for each unknown variable with our prefix, and whether it may be about protection.

    The errors show no values. A variable that was reported before is left out, unless it may be about
    protection.
    """
    _notice_collectors()
    known = {name for option in _BY_KEY.values() for name in option.variables}
    found = []
    for name in sorted(os.environ):
        key = name.removeprefix(PREFIX).lower()
        if not name.startswith(PREFIX) or name in known or not _text(name):
            continue
        if _KUBERNETES.fullmatch(key):
            continue
        protects = may_protect(key)
        if protects or _findings.is_new(name):
            found.append((_unknown(name, key), protects))
    return found


def _notice_collectors() -> None:
    for name in _COLLECTORS:
        if _text(name):
            _findings.report(name, "%s: the bridge has no collectors to switch, so it is passed over", name)


def _text(variable: str) -> str:
    # "an empty value MUST be read as unset"
    text = os.environ.get(variable, "").strip()
    return "" if variable == _PORT and "://" in text else text


def _unknown(name: str, key: str) -> ConfigurationError:
    expected = "a variable of docs/configuration.md"
    near = nearest(key, _BY_KEY)
    if near is not None:
        variables = _BY_KEY[near].variables
        there = repr(variables[0]) if variables else f"{near!r} in a file, as it has no variable"
        expected += f" (did you mean {there}?)"
    return ConfigurationError("environment", name, expected)
