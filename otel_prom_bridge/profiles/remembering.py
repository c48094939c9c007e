"""A profile that is read once, for several readers: what its rules remember belongs to one of them.

To read one of the large profiles and to check its views takes as long as everything else that ``start()``
does. Nothing in it changes afterwards but what ``First`` remembers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from operator import is_not
from typing import Any

from otel_prom_bridge.profiles.profile import Family, Label, Profile
from otel_prom_bridge.rules import Chain, First
from otel_prom_bridge.views.view import ExportView


def with_rules_of_its_own(profile: Profile) -> Profile:
    """The profile with new rules in place of those that remember something. What is equal stays the same."""
    return _Copy().profile(profile)


class _Copy:
    """Makes one copy of a profile. A rule of several families is one rule in the copy, too."""

    def __init__(self) -> None:
        self._known: dict[int, Any] = {}

    def profile(self, profile: Profile) -> Profile:
        labels = {name: self._once(label, self._label) for name, label in profile.labels.items()}
        families = tuple(map(self._family, profile.families))
        if not any(map(is_not, families, profile.families)):
            return profile
        return replace(profile, labels=labels, families=families)

    def _family(self, family: Family) -> Family:
        views = tuple(map(self._view, family.views))
        if not any(map(is_not, views, family.views)):
            return family
        labels = family.labels and tuple(self._once(label, self._label) for label in family.labels)
        return replace(family, views=views, labels=labels)

    def _view(self, view: ExportView) -> ExportView:
        rules = {name: self._once(rule, self._rule) for name, rule in view.rules.items()}
        return view if rules == view.rules else view.with_rules(rules)

    def _label(self, label: Label) -> Label:
        rule = self._once(label.rule, self._rule)
        return label if rule is label.rule else replace(label, rule=rule)

    def _rule(self, rule: Any) -> Any:
        if isinstance(rule, First):
            return replace(rule)
        if isinstance(rule, Chain):
            rules = [self._once(each, self._rule) for each in rule.rules]
            return Chain(*rules) if any(map(is_not, rules, rule.rules)) else rule
        return rule

    def _once(self, item: Any, make: Callable[[Any], Any]) -> Any:
        """What is made of this object, which lives as long as the profile that is copied."""
        if id(item) not in self._known:
            self._known[id(item)] = make(item)
        return self._known[id(item)]
