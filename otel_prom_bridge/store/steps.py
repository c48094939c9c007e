"""One attribute set and one series: what became of each attribute, and where each label comes from.

What became of an attribute is not tried again, because some rules remember what they saw. The recorded
attributes are compared with those of the series that they became, and the view says who may have made each
difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from otel_prom_bridge.families import Labels
from otel_prom_bridge.report.facts import Step
from otel_prom_bridge.store.projections import Projection
from otel_prom_bridge.store.series import Series
from otel_prom_bridge.translate.labels import label_name, label_value
from otel_prom_bridge.views.bounds import CLIENT_VALUES
from otel_prom_bridge.views.computations import FirstOf, attributes_of
from otel_prom_bridge.views.writing import written_computation, written_rule


def steps(
    projection: Projection, attributes: Mapping[str, object], series: Series, labels: Labels
) -> list[Step]:
    """How these attributes became the labels of this series."""
    shown = dict(labels)
    found: list[Step] = []
    explained: set[str] = set()
    for key, value in attributes.items():
        step = _step(projection, key, label_value(value), series, shown, explained)
        if step.after is not None:
            explained.add(step.becomes)
        found.append(step)
    found += [
        Step("", None, name, value, _from_elsewhere(projection, name, series))
        for name, value in labels
        if value and name not in explained
    ]
    return found


def _step(
    projection: Projection,
    key: str,
    before: str,
    series: Series,
    shown: Mapping[str, str],
    explained: set[str],
) -> Step:
    why = projection.attribute_map.why_left_out(key)
    if why:
        read = [label for label in read_for(projection, key) if shown.get(label) and label not in explained]
        if not read:
            return Step(key, before, "", None, why)
        return Step(key, before, read[0], shown[read[0]], _made(projection, read[0]))
    label = projection.view.rename.get(key, key)
    if label not in series.attributes:
        return Step(key, before, "", None, _missing(projection, key, series))
    name, after = label_of(projection, key), label_value(series.attributes[label])
    reasons = [f"renamed by the view to {label}"] if label != key else []
    if after != before:
        reasons.append(_changed(projection, key, before, after))
    if name in shown and shown[name] != after:
        reasons.append("joined with others of that name")
    return Step(key, before, name, shown.get(name, after), "; ".join(reasons))


def _changed(projection: Projection, key: str, before: str, after: str) -> str:
    """Who made another value of it."""
    rules = [rule_name(projection.view.rules[name]) for name in names_of(projection, key)]
    if rules:
        return f"by the rule {' and '.join(rules)}"
    label = projection.view.rename.get(key, key)
    if any(fold.rule == CLIENT_VALUES and fold.label == label for fold in projection.folds):
        return "clients choose it, and it had too many values: max_client_values"
    if after.endswith("…") and before.startswith(after[:-1]):
        return "cut: max_label_value_length"
    return "the tenants' list, or another attribute of that label"


def _missing(projection: Projection, key: str, series: Series) -> str:
    """Why the series lacks what should be a label."""
    if series.room.overflowed:
        return "the series is the one past a limit"
    rules = [rule_name(projection.view.rules[name]) for name in names_of(projection, key)]
    if rules:
        return f"the rule {' and '.join(rules)} left it out"
    if projection.view.compute:
        return "a computed label of that name took its place, or max_labels"
    return "max_labels"


def _from_elsewhere(projection: Projection, name: str, series: Series) -> str:
    """Where a label comes from that no attribute became."""
    if name in {shown_as(projection, label) for label in projection.view.compute}:
        return _made(projection, name)
    if name.startswith(("otel_scope_", "otel.scope.")):
        return "from the scope"
    resource = projection.origin.promoted + projection.origin.service
    if name in {label_name(key) for key, _ in resource}:
        return "from the resource"
    if name in map(label_name, projection.origin.common):
        return "from the resource: common_labels"
    if series.room.overflowed:
        return "past a limit, or past the SDK's"
    return "the view gives it to every series, or it says which worker"


def _made(projection: Projection, name: str) -> str:
    """How the label of this name is computed."""
    view = projection.view
    label = next(label for label in view.compute if shown_as(projection, label) == name)
    rule = f"; by the rule {rule_name(view.rules[label])}" if label in view.rules else ""
    return f"computed: {computed(view.compute[label])}{rule}"


def label_of(projection: Projection, key: str) -> str:
    """The label that an attribute becomes, if it becomes one."""
    return shown_as(projection, projection.view.rename.get(key, key))


def read_for(projection: Projection, key: str) -> list[str]:
    """The computed labels that an attribute is read for."""
    found = projection.view.computations().items()
    return [shown_as(projection, label) for label, item in found if key in (attributes_of(item) or ())]


def shown_as(projection: Projection, label: str) -> str:
    """The name in Prometheus of a label that a view makes."""
    return label_name(label) if projection.escapes else label


def names_of(projection: Projection, key: str) -> list[str]:
    """The names under which the view has rules for the values of an attribute."""
    view = projection.view
    return [name for name in dict.fromkeys((key, view.rename.get(key, key))) if name in view.rules]


def rule_name(rule: object) -> str:
    """A rule in a few words."""
    return written_rule(rule) or str(getattr(rule, "__name__", type(rule).__name__))


def computed(compute: object) -> str:
    """What a label is computed from, in a few words."""
    if isinstance(compute, str):
        return f"from {compute}"
    keys = compute.attributes if isinstance(compute, FirstOf) else compute
    if isinstance(keys, Sequence):
        return f"the first of {', '.join(map(str, keys))}"
    return written_computation(compute) or str(getattr(compute, "__name__", type(compute).__name__))
