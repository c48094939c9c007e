"""Views as one writes them, in Python and in TOML, to be copied.

A view is first turned into the mapping that a file would have, which is read again and compared. So what is
written is never a view that differs from the one that is meant. What has no form in a file, such as a
function of the application's, has none here either.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any, NamedTuple

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.rules import Chain
from otel_prom_bridge.values.notation import is_list
from otel_prom_bridge.views.computations import FirstOf, Outcome
from otel_prom_bridge.views.exemplars import Exemplars
from otel_prom_bridge.views.kinds import INSTRUMENTS_BY_NAME
from otel_prom_bridge.views.view import ExportView
from otel_prom_bridge.views.written import RULES, VIEWS


class Written(NamedTuple):
    """A view in both languages; an empty string where it has no form in that one."""

    python: str
    toml: str


class _Call(NamedTuple):
    """What stands for an object: the name of its class, its name in files, and its arguments."""

    title: str
    name: str
    arguments: Mapping[str, Any]


class _UnwritableError(Exception):
    """Something has no form in a file."""


def without_attributes(view: ExportView, keys: frozenset[str], labels: frozenset[str]) -> ExportView:
    """The view without the labels that these attributes become, and without these computed labels."""
    keep = view.keep if view.keep is None else [key for key in view.keep if key not in keys]
    rename = {key: label for key, label in view.rename.items() if key not in keys}
    compute = {label: value for label, value in view.compute.items() if label not in labels}
    names = keys | labels | {label for key, label in view.rename.items() if key in keys}
    rules = {name: rule for name, rule in view.rules.items() if name not in names}
    given = {label: value for label, value in view.labels.items() if label not in names}
    drop = list(dict.fromkeys((*view.drop, *sorted(keys))))
    return replace(view, keep=keep, rename=rename, compute=compute, rules=rules, labels=given, drop=drop)


def written(view: ExportView) -> Written:
    """The view as one writes it."""
    try:
        form = {item.name: _form(item.name, getattr(view, item.name)) for item in _given(view)}
        # By their texts, since a rule that remembers values equals only itself.
        if repr(VIEWS.value("", [_plain(form)])[0]) != repr(view):
            return Written("", "")
    except (_UnwritableError, ConfigurationError):
        return Written("", "")
    arguments = "".join(f"    {key}={_python(value)},\n" for key, value in form.items())
    lines = "".join(f"{key} = {_toml(_plain(value))}\n" for key, value in form.items())
    return Written(f"ExportView(\n{arguments})", f"[[views]]\n{lines}")


def written_rule(rule: object) -> str:
    """A rule in Python; an empty string where it has no form in a file."""
    try:
        return _python(_rule(rule))
    except _UnwritableError:
        return ""


def written_computation(compute: object) -> str:
    """The same of a computation."""
    try:
        return _python(_computation(compute))
    except _UnwritableError:
        return ""


def _given(view: ExportView) -> list[Any]:
    defaults = ExportView()
    return [item for item in fields(view) if getattr(view, item.name) != getattr(defaults, item.name)]


def _form(key: str, value: object) -> Any:
    match key:
        case "rules":
            return {name: _rule(rule) for name, rule in _mapping(value).items()}
        case "compute":
            return {name: _computation(item) for name, item in _mapping(value).items()}
        case "instrument_type":
            names = {kind: name for name, kind in INSTRUMENTS_BY_NAME.items()}
            return names.get(value, value) if isinstance(value, type) else value
        case "name" if value is None:
            return None
        case "exemplars" if isinstance(value, Exemplars):
            return _call(value, "Exemplars")
        case _:
            return _simple(value)


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise _UnwritableError
    return value


def _simple(value: object) -> Any:
    if isinstance(value, str | int | float):  # booleans, too
        return value
    if isinstance(value, Mapping):
        return {str(key): _simple(item) for key, item in value.items()}
    if is_list(value):
        return [_simple(item) for item in value]
    if isinstance(value, re.Pattern):
        return value.pattern
    if isinstance(value, frozenset | set):
        return sorted(map(str, value))
    raise _UnwritableError


def _rule(rule: object) -> Any:
    if isinstance(rule, Chain):
        return [_rule(item) for item in rule.rules]
    for name, kind in RULES.items():
        if type(rule) is kind:
            return _call(rule, name)
    raise _UnwritableError


def _computation(value: object) -> Any:
    if isinstance(value, Outcome):
        return _call(value, "outcome")
    if isinstance(value, FirstOf):
        return _call(value, "first_of")
    return _simple(value)


def _call(made: object, name: str) -> _Call:
    """The arguments with which an object was made, as far as it has them as attributes."""
    arguments: dict[str, Any] = {}
    for parameter in inspect.signature(type(made)).parameters.values():
        value = getattr(made, parameter.name, parameter.default)
        if value is parameter.empty:
            raise _UnwritableError
        with suppress(TypeError, ValueError):
            if value == parameter.default:
                continue
        arguments[parameter.name] = _simple(value)
    return _Call(type(made).__name__, name, arguments)


def _plain(form: Any) -> Any:
    """The form as a file has it."""
    match form:
        case _Call(name="first_of"):
            found = dict(form.arguments)
            return {"first_of": found.pop("attributes"), **found}
        case _Call(name="Exemplars"):
            return dict(form.arguments)
        case _Call():
            return {form.name: dict(form.arguments) or True}
        case Mapping():
            return {key: _plain(item) for key, item in form.items()}
        case None:  # a view without a name, which exports nothing
            return False
        case list():
            return [_plain(item) for item in form]
        case _:
            return form


def _python(form: Any) -> str:
    match form:
        case _Call():
            given = ", ".join(f"{key}={_python(item)}" for key, item in form.arguments.items())
            return f"{form.title}({given})"
        case Mapping():
            return f"{{{', '.join(f'{key!r}: {_python(item)}' for key, item in form.items())}}}"
        case [*items] if any(isinstance(item, _Call) for item in items):
            return f"Chain({', '.join(map(_python, items))})"
        case [*items]:
            return f"[{', '.join(map(_python, items))}]"
        case _:
            return repr(form)


def _toml(value: Any) -> str:
    match value:
        case Mapping():
            return f"{{ {', '.join(f'{_text(key)} = {_toml(item)}' for key, item in value.items())} }}"
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case str():
            return _text(value)
        case _:
            return json.dumps(value)


def _text(value: str) -> str:
    # A string of JSON is one of TOML, but for the character 127, and pairs of surrogates.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
