"""What may be spent, and in which time: ``budget = { amount = 500, period = "30d", by = "team" }``.

A budget is of the family of the profile that shows costs. Here it is read and checked; the recording rules,
alerts and panels are made of it where dashboards are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.families import is_legacy_label
from otel_prom_bridge.profiles.inheritance import listed
from otel_prom_bridge.profiles.profile import Budget, Family
from otel_prom_bridge.values.checks import FACTOR, TEXT, is_text
from otel_prom_bridge.values.notation import Read, as_table, called, is_list, part, read_at, tables, unknown

_PERIOD = re.compile(r"(\d{1,4})([hdw])")
_SECONDS = {"h": 3600, "d": 86_400, "w": 7 * 86_400}
_LONGEST = 366 * 86_400
_OF_TARGETS = ("job", "instance")
_OF_RULES = ("budget", "severity", "alertname")  # what rules and alerts set themselves
_CURRENCY = re.compile(r"\{?USD\}?")


class BudgetTable(NamedTuple):
    """A budget as it is written.

    ``amount`` is in USD, for each value of the labels ``by``, or for all costs together. ``where`` says which
    costs count, by labels. ``name`` tells several budgets apart.
    """

    amount: float
    period: int
    by: Sequence[str] = ()
    where: Mapping[str, str] = {}
    name: str = ""


def read_budgets(
    value: object, families: Sequence[Family], options: Mapping[str, object]
) -> tuple[Budget, ...]:
    """The budgets that a profile has, one or a list of them.

    Raises ConfigurationError for one that cannot work.
    """
    items = value if is_list(value) else [value]
    if not items:
        return ()
    costs = next(
        (item for item in families if item.type == "counter" and _CURRENCY.fullmatch(item.unit)), None
    )
    if costs is None:
        raise ConfigurationError(
            "", value, "a profile with a counter in USD, such as one that extends 'llmdevops'"
        )
    labels = _labels_of(costs, options)
    read = partial(_budget, costs=costs, labels=labels)
    found = tuple(tables(read)(items) if is_list(value) else [read(value)])
    for budget in found:
        if [other.name for other in found].count(budget.name) > 1:
            raise ConfigurationError(f"[{budget.name!r}]", budget.name, "a 'name' of its own for each budget")
    return found


def _budget(value: object, *, costs: Family, labels: Iterable[str] | None) -> Budget:
    label = partial(_label, labels=labels)
    read: dict[str, Read] = {
        "amount": partial(FACTOR.value, ""),
        "period": _period,
        "by": lambda names: tuple(dict.fromkeys(_own(label("", name)) for name in listed(names))),
        "where": partial(_where, label=label),
        "name": partial(TEXT.value, ""),
    }
    given = as_table(value)
    table: BudgetTable = called(BudgetTable, given, read=read)
    named = f"in {given['period']}"
    if table.by:
        named = f"by {' and '.join(table.by)} {named}"
    return Budget(
        name=table.name or named,
        costs=costs.name,
        amount=table.amount,
        period=table.period,
        by=tuple(table.by),
        where=dict(table.where),
    )


def _period(value: object) -> int:
    matched = _PERIOD.fullmatch(value) if isinstance(value, str) else None
    seconds = int(matched[1]) * _SECONDS[matched[2]] if matched else 0
    if not 3600 <= seconds <= _LONGEST:
        raise ConfigurationError("", value, "a time from '1h' to '366d', in hours, days or weeks: '30d'")
    return seconds


def _labels_of(costs: Family, options: Mapping[str, object]) -> list[str] | None:
    """The labels that series of costs have in Prometheus; None where all attributes become labels."""
    if costs.labels is None:
        return None
    more = (options.get(key) for key in ("common_labels", "context_labels"))
    named = [label for mapping in more if isinstance(mapping, Mapping) for label in mapping]
    return list(dict.fromkeys([*(label.name for label in costs.labels), *map(str, named), *_OF_TARGETS]))


def _label(key: str, value: object, *, labels: Iterable[str] | None) -> str:
    if not isinstance(value, str) or not is_legacy_label(value):
        raise ConfigurationError(key, value, "the name of a label, or a list of them")
    if labels is not None and value not in labels:
        hint = "; options.context_labels has those of the context"
        raise unknown(value, value, labels, "labels that costs have", at=key, hint=hint)
    return value


def _own(label: str) -> str:
    if label in _OF_RULES:
        raise ConfigurationError("", label, "another label: the rules of a budget set this one themselves")
    return label


def _where(value: object, *, label: Any) -> dict[str, str]:
    found = {}
    for name, text in as_table(value).items():
        if not is_text(text):
            raise ConfigurationError(part(name), text, "a string")
        found[read_at(part(name), partial(label, ""), name)] = text
    return found
