"""Where a family comes from: its streams, their views, and what became of each attribute.

Nothing here runs unless somebody looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from otel_prom_bridge.families import Labels
from otel_prom_bridge.points import AttributeSet, Stream
from otel_prom_bridge.report.facts import Fate, Recorded, StreamOrigin
from otel_prom_bridge.store.lookup import StreamRecord
from otel_prom_bridge.store.projections import Projection
from otel_prom_bridge.store.series import Series, each
from otel_prom_bridge.store.steps import computed, label_of, names_of, read_for, rule_name, shown_as, steps
from otel_prom_bridge.views.mapped import OVERFLOW_KEY
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


def _fates(record: StreamRecord, projection: Projection) -> Iterator[Fate]:
    view, mapped = projection.view, projection.attribute_map
    for key in keys_of(record):
        why = mapped.why_left_out(key)
        if why:
            read = ", ".join(read_for(projection, key))
            yield Fate(key, read, f"read for {read}" if read else why)
            continue
        reasons = ["renamed by the view"] if key in view.rename else []
        reasons += [f"values by the rule {rule_name(view.rules[name])}" for name in names_of(projection, key)]
        yield Fate(key, label_of(projection, key), "; ".join(reasons))
    for label, compute in view.compute.items():
        reasons = [f"computed: {computed(compute)}"]
        reasons += [f"values by the rule {rule_name(view.rules[label])}"] if label in view.rules else []
        yield Fate("", shown_as(projection, label), "; ".join(reasons))


def _sets(record: StreamRecord, of: frozenset[Series] | None = None) -> Iterator[Mapping[str, object]]:
    """The attribute sets that are remembered, as they were recorded; with ``of`` those of these series."""
    for remembered in (record.by_texts, record.by_items):
        for key, targets in list(remembered.items()):
            if of is None or not of.isdisjoint(each(targets)):
                yield {str(name): _plain(value) for name, value in AttributeSet(key).items()}


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
            yield Recorded(attributes=attributes, steps=tuple(steps(projection, attributes, item, labels)))


def series_of(projections: Iterable[Projection], labels: Labels) -> list[Series]:
    """The series that are shown under these labels."""
    for projection in projections:
        if projection.family is not None:
            slot = projection.family.slot_of(labels)
            return list(each(slot.series)) if slot is not None else []
    return []
