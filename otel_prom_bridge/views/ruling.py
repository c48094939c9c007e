"""What the rules and the computations of a view say, which may be code of the application.

When one of them fails, its label is left out, and the point is counted all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.interrupts import RaisedAgainError, sheltered
from otel_prom_bridge.rules import Chain, Forbid, Redact, Rule
from otel_prom_bridge.translate.labels import label_value
from otel_prom_bridge.views.computations import Computation, attributes_of
from otel_prom_bridge.views.mapped import Fold
from otel_prom_bridge.views.view import ExportView

AnyRule: TypeAlias = Rule | Callable[[str], str | None]
NamedRule: TypeAlias = tuple[str, AnyRule, Fold]


class Ruling:
    """The rules and the computations of one view. ``of_labels`` are for the labels that it makes.

    Rules of attributes come first, then those of labels that the view makes. So each value meets the rules of
    both of its names, and each rule once.
    """

    def __init__(self, view: ExportView, computations: Mapping[str, Computation], findings: Findings) -> None:
        self._view = view
        self._computations = computations
        self._findings = findings
        named = [(name, rule, _rule_name(rule)) for name, rule in view.rules.items()]
        renamed = view.rename
        self.of_attributes: list[NamedRule] = [
            (key, rule, Fold(renamed.get(key, key), by)) for key, rule, by in named if renamed.get(key) != key
        ]
        self.of_labels: list[NamedRule] = [(label, rule, Fold(label, by)) for label, rule, by in named]

    def rule(self, values: dict[str, object], rules: Iterable[NamedRule], folds: list[Fold]) -> None:
        """Apply ``of_attributes`` or ``of_labels`` to what they are about, in place."""
        for name, rule, fold in rules:
            if name in values:
                before = label_value(values[name])
                after = self._value(name, rule, before)
                if after is None:
                    del values[name]
                else:
                    values[name] = after
                if _is_fold(rule, before, after):
                    folds.append(fold)

    def _value(self, label: str, rule: AnyRule, value: str) -> str | None:
        try:
            result = sheltered(rule, value)
        except Exception as error:
            self._report("rule of the label", label, error)
            return None
        return result if result is None else label_value(result)

    def computed(self, label: str, compute: Computation, attributes: Mapping[str, object]) -> object | None:
        """What a computation says."""
        try:
            # The SDK owns the attributes, and nobody may change them.
            return sheltered(compute, MappingProxyType(attributes))
        except Exception as error:
            self._report("computation of the label", label, error)
            return None

    def forbids(self, key: str) -> bool:
        """Whether a rule takes an attribute away, whatever its value is."""
        return bool(self._view.rules) and any(isinstance(rule, Forbid) for rule in self._rules_of(key))

    def beside_labels(self, key: str, value: object) -> tuple[bool, object]:
        """Whether there are rules for an attribute that is no label, and what they make of its value."""
        rules = self._rules_of(key) + self._rules_from(key)
        for rule in rules:
            if value is not None:
                value = self._value(key, rule, label_value(value))
        return bool(rules), value

    def _rules_of(self, key: str) -> list[AnyRule]:
        """The rules for an attribute's values: its own, then the one of the label that it becomes."""
        names = dict.fromkeys((key, self._view.rename.get(key, key)))
        return [self._view.rules[name] for name in names if name in self._view.rules]

    def _rules_from(self, key: str) -> list[AnyRule]:
        """The rules that hide what labels say that are computed from an attribute.

        The attribute itself must not show what these labels hide.
        """
        return [
            rule
            for label, compute in self._computations.items()
            if (rule := self._view.rules.get(label)) is not None
            and _hides(rule)
            and key in (attributes_of(compute) or (key if isinstance(rule, Redact) else "",))
        ]

    def _report(self, what: str, label: str, error: BaseException) -> None:
        error = error.error if isinstance(error, RaisedAgainError) else error
        self._findings.report(
            ("view", self._view.title, label),
            "%s: the %s %r failed with %s, the label is left out",
            # The exception's text is left out: it often is the value that the rule was to hide.
            *(self._view.title, what, label, type(error).__name__),
        )


def _hides(rule: AnyRule) -> bool:
    if isinstance(rule, Chain):
        return any(map(_hides, rule.rules))
    return isinstance(rule, Forbid | Redact)


def _rule_name(rule: object) -> str:
    # This is a label of a self-metric. So there are no arguments, which may be long lists, and no addresses.
    return str(getattr(rule, "__name__", type(rule).__name__))


def _is_fold(rule: AnyRule, before: str, after: str | None) -> bool:
    # A rule with a catch-all folds what falls into that: 200 → 2xx is what such a rule is for. A rule
    # without one folds whatever it changes.
    other = getattr(rule, "other", None)
    if after is None or other is None:
        return after != before
    return bool(after == other != before)
