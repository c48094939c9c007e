"""The reference page of a profile: everything that its file says, as Markdown for people."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from otel_prom_bridge.profiles.profile import PRESENT, Family, Profile, Source

_PRICED = {None: "", "missing": "without a price, ", "-input": "less the cost as input of the "}
_PRICED["-output"] = "less the cost as output of the "
_PRICED |= {
    "cached-input": "less what costs less of the ",
    "cache_write-input": "what costs more of the ",
    "reasoning-output": "what costs more of the ",
}
_TAKES = {"value": "", "count": "number of points of ", "sum": "sum of "}
# A condition that is longer stands below the table, if several families have it.
_LONG = 60


def reference(profile: Profile, *, given: str) -> str:
    """The page, with families, labels, buckets, instruments and options. One profile always gives the same
    page.

    ``given`` is the name or the path by which the command line found the profile.
    """
    sections = (
        [f"# Profile `{profile.name}`", f"Made by `otel-prom-bridge profile {given}`; do not edit."],
        [profile.description],
        _families(profile),
        _common_labels(profile.options.get("common_labels")),
        _labels(profile),
        _buckets(profile),
        _instruments(profile),
        _options(profile.options),
    )
    return "\n\n".join(text for section in sections for text in section if text) + "\n"


def _families(profile: Profile) -> list[str]:
    generations = any(tuple(family.present) != PRESENT for family in profile.families)
    notes = _notes(profile.families)
    heads = ["family", "type", "unit", "labels", "made of", "buckets"]
    rows = []
    for family in profile.families:
        row = [
            f"`{family.name}`<br>{_cell(family.help)}",
            family.type,
            _cell(family.unit),
            _label_names(family),
            "<br>".join(dict.fromkeys(_source(source, notes) for source in family.sources)),
            _range(family.buckets),
        ]
        rows.append([*row, ", ".join(f"`{item}`" for item in family.present)] if generations else row)
    if generations:
        heads.append("`present`")
    below = [f"- **{note}**: {condition}" for condition, note in notes.items()]
    return ["## Families", *_table(heads, rows), "\n".join(below)]


def _notes(families: Sequence[Family]) -> dict[str, str]:
    """The long conditions that several families have, and how the table calls each of them."""
    found: Counter[str] = Counter()
    for family in families:
        found.update({condition for source in family.sources for condition in _conditions(source)})
    several = [condition for condition, number in found.items() if number > 1 and len(condition) > _LONG]
    return {condition: f"condition {number}" for number, condition in enumerate(sorted(several), 1)}


def _label_names(family: Family) -> str:
    if family.labels is None:
        return "all attributes"
    return _code(label.name for label in family.labels)


def _conditions(source: Source) -> list[str]:
    return [f"`{key}` {_condition(value)}" for key, value in source.where.items()]


def _source(source: Source, notes: Mapping[str, str]) -> str:
    conditions = [notes.get(condition, condition) for condition in _conditions(source)]
    take = source.take or "value"
    priced = _PRICED.get(source.price, "cost of the ")
    return priced + _TAKES.get(take, f"{take} of ") + f"`{source.instrument}`" + _where(conditions)


def _where(conditions: Sequence[str]) -> str:
    return f", where {' and '.join(conditions)}" if conditions else ""


def _condition(value: Any) -> str:
    if isinstance(value, Mapping):
        parts = []
        if value.get("included"):
            parts.append(_condition(value["included"]))
        if value.get("excluded"):
            parts.append(_values("is not", "is none of", value["excluded"]))
        return " and ".join(parts)
    return _values("is", "is one of", value)


def _values(one: str, several: str, value: object) -> str:
    items = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    texts = [f"`{item}`" if item != "" else "empty" for item in items]
    return f"{one if len(texts) == 1 else several} {', '.join(texts)}"


def _common_labels(value: object) -> list[str]:
    if not isinstance(value, Mapping) or not value:
        return []
    rows = [[f"`{label}`", _code([keys] if isinstance(keys, str) else keys)] for label, keys in value.items()]
    return [
        "## Common labels",
        "Every series of the application has these labels. A label is empty if the resource has none of the"
        " attributes in its row. If it has several, the first one counts.",
        *_table(["label", "attributes of the resource"], rows),
    ]


def _labels(profile: Profile) -> list[str]:
    """A table of the labels that a family has. Those of a part that no family has are left out."""
    used = {id(label) for family in profile.families for label in family.labels or ()}
    labels = [label for label in profile.labels.values() if id(label) in used]
    rows = [
        [
            f"`{label.name}`",
            _cell(label.description),
            _code(label.attributes),
            "any number" if label.max_values is None else str(label.max_values),
        ]
        for label in labels
    ]
    if not rows:
        return []
    return [
        "## Labels",
        "Of the attributes in a row, the first that is there counts. A value that a rule does not keep"
        " becomes `other`. The last column counts `other`, and a series without a value, too.",
        *_table(["label", "says", "attributes", "values at most"], rows),
    ]


def _buckets(profile: Profile) -> list[str]:
    """A table of the sets of bounds, each with the families that have it."""
    names: dict[tuple[float, ...], list[str]] = {}
    for family in profile.families:
        if isinstance(family.buckets, tuple):
            names.setdefault(family.buckets, []).append(f"`{family.name}`")
    if not names:
        return []
    rows = [
        [", ".join(map(_number, bounds)), "<br>".join(dict.fromkeys(families))]
        for bounds, families in names.items()
    ]
    return ["## Buckets", *_table(["upper bounds", "families"], rows)]


def _instruments(profile: Profile) -> list[str]:
    rows = [
        [
            f"`{spec.name}`<br>{_cell(spec.description)}",
            spec.type.replace("_", "-"),
            _cell(spec.unit),
            _code(spec.attributes),
            _range(spec.buckets),
        ]
        for spec in profile.own_instruments
    ]
    if not rows:
        return []
    return [
        "## Instruments",
        "These are for what no instrumentation records. `profile.instruments(meter)` makes them.",
        *_table(["instrument", "type", "unit", "attributes", "buckets"], rows),
    ]


def _options(options: Mapping[str, object]) -> list[str]:
    rows = [[f"`{key}`", value] for key, value in _settings(options)]
    if not rows:
        return []
    return [
        "## Options",
        "An option that the application gives, in its code, its environment or a file, comes before these.",
        *_table(["option", "value"], rows),
    ]


def _settings(options: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for key, value in options.items():
        if key == "common_labels":
            continue
        if isinstance(value, Mapping):
            yield key, "<br>".join(f"`{name}`: `{_json(item)}`" for name, item in value.items())
        else:
            yield key, f"`{_json(value)}`"


def _json(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _range(buckets: Sequence[float] | str | None) -> str:
    if not buckets:
        return ""
    if isinstance(buckets, str):
        return buckets
    return f"{_number(buckets[0])} to {_number(buckets[-1])}, {len(buckets)} bounds"


def _number(value: float) -> str:
    return f"{value:,.10g}".replace(",", "_")  # as TOML has it


def _code(names: Iterable[object]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return ["\n".join(f"| {' | '.join(line)} |" for line in lines)]
