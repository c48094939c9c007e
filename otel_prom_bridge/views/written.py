"""How views, rules and limits are written in TOML and YAML, and what Python may give instead.

A mapping stands for a call (see ``values/notation.py``), so whatever a class takes can be written. This
module adds what the two languages lack. None is written as ``name: false``, because TOML has no null, and in
YAML null is what somebody forgot to write. Objects have names: ``status_class``, ``outcome``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

from opentelemetry.sdk.metrics.view import View

from otel_prom_bridge import rules
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.prices import PriceTable
from otel_prom_bridge.values.checks import BOOLEAN, STRING, TEXT, Check, no_word
from otel_prom_bridge.values.notation import (
    Read,
    arguments_of,
    called,
    each,
    first_of,
    is_list,
    listed,
    nearest,
    part,
    read_at,
    required_by,
    unknown,
)
from otel_prom_bridge.views.computations import FirstOf, Outcome
from otel_prom_bridge.views.exemplars import Exemplars
from otel_prom_bridge.views.kinds import INSTRUMENT
from otel_prom_bridge.views.policy import Policy
from otel_prom_bridge.views.tenants import Tenants
from otel_prom_bridge.views.view import ExportView, title_of

# The rules by the names that they have in files, such as "status_class". A list of rules is a Chain.
RULES: Mapping[str, type] = {
    re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower(): rule
    for name in rules.__all__
    if isinstance(rule := getattr(rules, name), type) and rule not in (rules.Rule, rules.Chain)
}

_RULE = "a rule: its name, a mapping of its name to its arguments, or a list of such rules"
_COMPUTATION = (
    "what to compute it from: an attribute key, a list of them, {'first_of': …, 'default': …},"
    " or {'outcome': …}"
)
_PATTERNS = "a pattern, a list of them, or a mapping with 'included' or 'excluded'"
# Most mappings where none belongs come from this mistake.
_QUOTES = "; in TOML, an attribute key with dots is written in quotes"


def _views(value: object) -> tuple[ExportView, ...]:
    if isinstance(value, ExportView | Mapping):
        raise ConfigurationError("", value, f"{VIEWS.allowed}; one is a list, too: [[views]] in TOML")
    if not is_list(value):
        raise TypeError
    views = tuple(read_at(f"[{number}]", _view, item) for number, item in enumerate(value))
    _check_together(views)
    return views


def _check_together(views: tuple[ExportView, ...]) -> None:
    """Refuse a view that no policy can have together with the views before it."""
    if len(views) < 2:
        return
    with suppress(ConfigurationError):
        Policy(views=views)
        return
    for number, view in enumerate(views):
        try:
            Policy(views=views[: number + 1])
        except ConfigurationError as error:
            where = error.key.removeprefix(view.title)
            raise error.renamed(f"[{number}]{where}") from None


def _view(value: object) -> ExportView:
    if isinstance(value, ExportView):
        return value
    if isinstance(value, View):
        expected = "an ExportView; SDK Views are for a MeterProvider, or `sdk_views` of start()"
        raise ConfigurationError("", value, expected)
    if not isinstance(value, Mapping):
        raise ConfigurationError("", value, f"a mapping of {listed(arguments_of(ExportView))}")
    if value.get("name", "") is None:  # null is the default elsewhere, but here it may mean "nothing"
        read_at(".name", _name, None)
    view: ExportView = called(ExportView, value, title=_title(value), read=_VIEW)
    return view


def _title(view: Mapping[Any, object]) -> str:
    """How the errors of the view begin. ``name: false`` is None there, and null is the default."""
    pattern, name = view.get("instrument_name"), view.get("name", "")
    return title_of("*" if pattern is None else pattern, None if name is False else name)


def _name(value: object) -> str | None:
    if value is False:
        return None
    expected = "the name of a family, or false to export nothing"
    if not isinstance(value, str):
        raise ConfigurationError("", value, expected)
    return value


def _label(value: object) -> object:
    if isinstance(value, Mapping):
        raise ConfigurationError("", value, f"a label{_QUOTES}")
    return value


def _label_value(value: object) -> object:
    if not isinstance(value, str):
        raise ConfigurationError("", value, f"a string{_QUOTES if isinstance(value, Mapping) else ''}")
    return value


def _condition(value: object) -> object:
    if isinstance(value, Mapping) and not value.keys() <= {"included", "excluded"}:
        raise ConfigurationError("", value, _PATTERNS + _QUOTES)
    return value


def _computation(value: object) -> object:
    if not isinstance(value, Mapping):
        return value  # the view checks keys and functions
    if "first_of" in value:
        return called(_first_of, value, read=_FIRST_OF)
    if value.keys() != {"outcome"}:
        near = nearest(str(next(iter(value), "")), ("first_of", "outcome"))
        meant = f" (did you mean {near!r}?)" if near else ""
        raise ConfigurationError("", value, _COMPUTATION + meant + _QUOTES)
    given = value["outcome"]
    if given is True or given is None:
        return Outcome()
    if not isinstance(given, Mapping):
        expected = f"true, or a mapping of {listed(arguments_of(Outcome))}"
        raise ConfigurationError(".outcome", given, expected)
    return read_at(".outcome", partial(called, Outcome, title="Outcome"), given)


def _first_of(first_of: tuple[str, ...], default: str | None = None) -> FirstOf:
    return FirstOf(first_of, default)


def _attributes(value: object) -> tuple[str, ...]:
    if not is_list(value) or not value:
        raise ConfigurationError("", value, "a list of attribute keys")
    return tuple(TEXT.value(f"[{number}]", item) for number, item in enumerate(value))


def _rule(value: object) -> object:
    if not is_list(value):
        return _single_rule(value)
    if not value:
        raise ConfigurationError("", value, "at least one rule")
    # A list of rules has no lists in it, because in YAML a list can contain itself.
    chain = (read_at(f"[{number}]", _single_rule, item) for number, item in enumerate(value))
    return rules.Chain(*chain)


def _single_rule(value: object) -> object:
    if callable(value) and not isinstance(value, type):
        return value
    if isinstance(value, str):
        return _rule_by_name(value)
    if not isinstance(value, Mapping) or len(value) != 1:
        several = "; several are a list of such mappings" if isinstance(value, Mapping) and value else ""
        raise ConfigurationError("", value, _RULE + several)
    ((name, given),) = value.items()
    if name not in RULES:
        raise unknown(name, given, RULES, "rules", at=part(name), hint=_QUOTES)
    return read_at(f".{name}", partial(_rule_with_arguments, name), given)


def _rule_by_name(name: str) -> object:
    if name not in RULES:
        raise unknown(name, name, RULES, "rules", at="")
    return _rule_without_arguments(name, name)


def _rule_without_arguments(name: str, value: object) -> object:
    rule = RULES[name]
    if required_by(rule):
        expected = f"the rule with its arguments, {{{name!r}: {{{first_of(rule)!r}: …}}}}"
        raise ConfigurationError("", value, expected)
    return rule()


def _rule_with_arguments(name: str, given: object) -> object:
    if given is True or given is None:
        return _rule_without_arguments(name, given)
    rule = RULES[name]
    if isinstance(given, Mapping):
        return called(rule, given, title=rule.__name__)
    argument = first_of(rule)
    if argument is None:
        names = arguments_of(rule)
        expected = f"true, or a mapping of {listed(names)}" if names else "true, as it has no arguments"
        raise ConfigurationError("", given, expected)
    return called(rule, {argument: given}, title=f"{rule.__name__}.{argument}")


def _tenants(value: object) -> Tenants:
    if isinstance(value, Tenants):
        return value
    if not isinstance(value, Mapping):
        raise TypeError
    tenants: Tenants = called(Tenants, value, title="tenant")
    return tenants


def _exemplars(value: object) -> Exemplars | bool:
    if isinstance(value, Exemplars | bool):
        return value
    if not isinstance(value, Mapping):
        raise TypeError
    exemplars: Exemplars = called(Exemplars, value, title="exemplars")
    return exemplars


def _read_exemplars(text: str) -> object:
    if (value := BOOLEAN.read(text)) is text:
        raise ConfigurationError("", text, f"{EXEMPLARS.allowed}, which only a file can hold")
    return value


def _prices(value: object) -> PriceTable | Literal[False]:
    if isinstance(value, PriceTable):
        return value
    if value is False or value == "false":
        return False
    try:
        if value == "default":
            return PriceTable.default()
        if value == "genai-prices":
            return PriceTable.from_genai_prices()
        if isinstance(value, str | os.PathLike) and str(value).endswith(".toml"):
            return PriceTable.load(Path(value))
    except ConfigurationError as error:
        raise error.renamed("" if error.key == "prices" else f": {error.key}") from None
    raise no_word(value, ("default", "genai-prices"))


PRICES = Check(
    allowed='"default", "genai-prices", the path of a .toml file with prices, or false for no costs',
    example="genai-prices",
    check=_prices,
)
VIEWS = Check(
    allowed=f"a list of views, each a mapping of {listed(arguments_of(ExportView))}",
    check=_views,
)
TENANTS = Check(
    allowed=f"a mapping of {listed(arguments_of(Tenants))}, of which the first two are required",
    check=_tenants,
)
EXEMPLARS = Check(
    allowed=f"true, false, or a mapping of {listed(arguments_of(Exemplars))}",
    example="false",
    check=_exemplars,
    read=_read_exemplars,
)

# The fields whose written form is not what the view takes.
_VIEW: Mapping[str, Read] = {
    "instrument_type": partial(INSTRUMENT.value, ""),
    "name": _name,
    "rename": each(_label, "a mapping of attributes to labels"),
    "labels": each(_label_value, "a mapping of labels to strings"),
    "compute": each(_computation, "a mapping of labels to what they are computed from"),
    "where": each(_condition, "a mapping of attributes to patterns"),
    "rules": each(_rule, "a mapping of attributes to rules"),
    "exemplars": partial(EXEMPLARS.value, ""),
}
_FIRST_OF: Mapping[str, Read] = {"first_of": _attributes, "default": partial(STRING.value, "")}
