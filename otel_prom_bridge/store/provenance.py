"""Where a family comes from: its streams, their views, and what became of each attribute.

Nothing here runs unless somebody looks. What became of an attribute is not tried again, because some rules
remember what they saw: the recorded attributes are compared with those of the series that they became, and
the view says who may have made each difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from otel_prom_bridge.families import Labels
from otel_prom_bridge.points import Stream
from otel_prom_bridge.report.inside import Fate, Recorded, Step, StreamOrigin
from otel_prom_bridge.store.lookup import StreamRecord
from otel_prom_bridge.store.projections import Projection
from otel_prom_bridge.store.series import Series
from otel_prom_bridge.translate.labels import label_name, label_value
from otel_prom_bridge.views.bounds import CLIENT_VALUES
from otel_prom_bridge.views.mapping import OVERFLOW_KEY
from otel_prom_bridge.views.view import instrument_names

# So many attribute sets are looked at for the keys that there are, and so many of one series are shown.
_SETS, _SHOWN = 2000, 5


def origin_of(
    record: StreamRecord, projection: Projection, *, tier: str, series: Sequence[Series] = ()
) -> StreamOrigin:
    """Where the series of one view of one stream come from. ``series`` are those to follow step by step."""
    stream, view = record.key, projection.view
    scope = stream.scope
    fields = {"name": scope.name, "version": scope.version, "schema_url": scope.schema_url}
    return StreamOrigin(
        instrument=stream.name,
        kind=kind_of(stream),
        unit=stream.unit,
        description=stream.description,
        scope={**{key: value for key, value in fields.items() if value}, **(scope.attributes or {})},
        service=dict(projection.origin.promoted + projection.origin.service),
        tier=tier,
        view=repr(view),
        take=view.take,
        steps=tuple(_name_steps(projection)),
        attributes=tuple(_fates(record, projection)),
        series=len(projection.series),
        rejected=projection.rejected,
        folds={(fold.label, fold.rule): counter.points for fold, counter in list(projection.folds.items())},
        recorded=tuple(_recorded(record, projection, series)),
    )


def kind_of(stream: Stream) -> str:
    """The kind of the instrument, in the words of the options; of what only Views make, the type."""
    kinds = instrument_names(stream)
    return " or ".join(kinds) or stream.meaning.kind.value


def _name_steps(projection: Projection) -> Iterator[str]:
    view, stream = projection.view, projection.key
    if view.take != "value":
        yield f"the {view.take} of the histogram is shown as a counter"
    if view.price is not None:
        yield f"tokens are shown as what they cost, as {view.price} tokens"
    scale = view.factor(stream.unit)
    if scale is not None:
        yield f"values are multiplied by {float(scale):g}: {stream.unit or 'no unit'} → {view.unit}"
    if view.buckets is not None:
        yield f"buckets: {view.buckets}"
    if view.name:
        yield f"the view names it: {stream.name} → {projection.name}"
    else:
        shown = f" as {view.stream_name}" if view.stream_name else ""
        yield f"the name is translated{shown}: {stream.name} → {projection.name}"


def keys_of(record: StreamRecord) -> list[str]:
    """The keys of the attributes that were recorded, by the sets that are remembered."""
    found: dict[str, None] = {}
    for attributes in islice(_sets(record), _SETS):
        found |= dict.fromkeys(attributes)
    return [key for key in found if key != OVERFLOW_KEY]


def label_of(projection: Projection, key: str) -> str:
    """The label that an attribute becomes, if it becomes one."""
    label = projection.view.rename.get(key, key)
    return label_name(label) if projection.escapes else label


def _fates(record: StreamRecord, projection: Projection) -> Iterator[Fate]:
    view, mapped = projection.view, projection.attribute_map
    for key in keys_of(record):
        why = mapped.why_left_out(key)
        if why:
            yield Fate(key, "", why)
            continue
        reasons = ["renamed by the view"] if key in view.rename else []
        reasons += [f"values by the rule {_name(view.rules[name])}" for name in _names(projection, key)]
        yield Fate(key, label_of(projection, key), "; ".join(reasons))
    for label, compute in view.compute.items():
        yield Fate("", label_name(label) if projection.escapes else label, f"computed: {_computed(compute)}")


def _names(projection: Projection, key: str) -> list[str]:
    """The names under which the view has rules for the values of an attribute."""
    view = projection.view
    return [name for name in dict.fromkeys((key, view.rename.get(key, key))) if name in view.rules]


def _name(rule: object) -> str:
    text = repr(rule) if not callable(rule) or type(rule).__module__.startswith("otel_prom_bridge") else ""
    return text or str(getattr(rule, "__name__", type(rule).__name__))


def _computed(compute: object) -> str:
    if isinstance(compute, str):
        return f"from {compute}"
    if isinstance(compute, Sequence):
        return f"the first of {', '.join(map(str, compute))}"
    return _name(compute)


def _sets(record: StreamRecord, of: frozenset[Series] | None = None) -> Iterator[Mapping[str, object]]:
    """The attribute sets that are remembered, as they were recorded; with ``of`` those of these series."""
    for parts, remembered in ((2, record.by_texts), (3, record.by_items)):
        for key, targets in list(remembered.items()):
            if of is None or not of.isdisjoint(targets):
                size = len(key) // parts
                yield dict(zip(map(str, key[:size]), map(_plain, key[size : 2 * size]), strict=True))


def _plain(value: object) -> object:
    """A value out of a key of ``items_key``, where a sequence stands with the types of its items."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value[: len(value) // 2]]
    return value


def _recorded(record: StreamRecord, projection: Projection, series: Sequence[Series]) -> Iterator[Recorded]:
    own = [item for item in series if item.traits is projection.traits]
    for item in own:
        for attributes in islice(_sets(record, frozenset([item])), _SHOWN):
            labels = item.slot.labels if item.slot is not None else ()
            yield Recorded(attributes=attributes, steps=tuple(_steps(projection, attributes, item, labels)))


def _steps(
    projection: Projection, attributes: Mapping[str, object], series: Series, labels: Labels
) -> Iterator[Step]:
    """How these attributes became the labels of this series."""
    shown, view = dict(labels), projection.view
    explained = set()
    for key, value in attributes.items():
        step = _step(projection, key, label_value(value), series)
        if step.after is not None:
            explained.add(step.becomes)
            final = shown.get(step.becomes)
            if final is not None and final != step.after:
                step = step._replace(
                    after=final, why=f"{step.why}; joined with others of that name".lstrip("; ")
                )
        yield step
    computed = {label_name(label) if projection.escapes else label: label for label in view.compute}
    for name, value in labels:
        if name in explained:
            continue
        if name in computed:
            yield Step("", None, name, value, f"computed: {_computed(view.compute[computed[name]])}")
        elif name.startswith(("otel_scope_", "otel.scope.")):
            yield Step("", None, name, value, "from the scope")
        elif name in {label_name(key) for key, _ in projection.origin.promoted + projection.origin.service}:
            yield Step("", None, name, value, "from the resource")
        elif series.overflowed:
            yield Step("", None, name, value, "past a limit, or past the SDK's")
        else:
            yield Step("", None, name, value, "the view or an option gives it to every series")


def _step(projection: Projection, key: str, before: str, series: Series) -> Step:
    view, name = projection.view, label_of(projection, key)
    why = projection.attribute_map.why_left_out(key)
    if why:
        return Step(key, before, "", None, why)
    label = view.rename.get(key, key)
    if label not in series.attributes:
        return Step(key, before, "", None, _missing(projection, key, series))
    after = label_value(series.attributes[label])
    reasons = [f"renamed by the view to {label}"] if label != key else []
    if after != before:
        rules = [_name(view.rules[rule]) for rule in _names(projection, key)]
        if rules:
            reasons.append(f"by the rule {' and '.join(rules)}")
        elif any(fold.rule == CLIENT_VALUES and fold.label == label for fold in projection.folds):
            reasons.append("clients choose it, and it had too many values: max_client_values")
        elif after.endswith("…") and before.startswith(after[:-1]):
            reasons.append("cut: max_label_value_length")
        else:
            reasons.append("the tenants' list, or another attribute of that label")
    return Step(key, before, name, after, "; ".join(reasons))


def _missing(projection: Projection, key: str, series: Series) -> str:
    if series.overflowed:
        return "the series is the one past a limit"
    rules = [_name(projection.view.rules[name]) for name in _names(projection, key)]
    if rules:
        return f"the rule {' and '.join(rules)} left it out"
    if projection.view.compute:
        return "a computed label of that name took its place, or max_labels"
    return "max_labels"


def series_of(projections: Iterable[Projection], labels: Labels) -> list[Series]:
    """The series that are shown under these labels."""
    for projection in projections:
        if projection.family is not None:
            slot = projection.family.by_labels.get(labels)
            return list(slot.series) if slot is not None else []
    return []
